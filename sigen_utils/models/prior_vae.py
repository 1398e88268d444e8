"""A VAE with a learned prior: it draws signatures by new people, by known people, and by strangers from references."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .prior import MAX_REFERENCES, STEPS, Flow, FlowConfig, Person, flow_matching_loss
from .vae import VAE, VAEConfig


@dataclass(frozen=True)
class PriorConfig:
    """A VAE with a learned prior: its two parts, and how many people it knows."""

    vae: VAEConfig = field(default_factory=VAEConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    n_people: int = 0

    def __post_init__(self):
        if isinstance(self.vae, dict):  # when read back from config.json
            object.__setattr__(self, "vae", VAEConfig(**self.vae))
        if isinstance(self.flow, dict):
            object.__setattr__(self, "flow", FlowConfig(**self.flow))
        if self.vae.channels != self.flow.channels:
            raise ValueError(f"codes of {self.vae.channels} channels, a flow of {self.flow.channels}")


class PriorVAE(nn.Module):
    """A VAE and the flow that draws its codes: new people, known people, strangers from references.

    It holds no pictures. Of a known person it keeps the mean output of the reference encoder, 640 numbers.
    """

    def __init__(self, config: PriorConfig = PriorConfig()):
        super().__init__()
        self.config = config
        self.vae = VAE(config.vae).requires_grad_(False)
        self.flow = Flow(config.flow)
        self.register_buffer("people", torch.zeros(config.n_people, config.flow.person))
        self.register_buffer("references", torch.zeros(config.n_people))  # how many each was taken from

    def forward(self, mu: Tensor, logvar: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """`flow_matching_loss` of posteriors, mean and log-variance each ``[n, size, channels, 16, 16]``."""
        z = self.vae.reparameterize(mu, logvar, generator)
        return flow_matching_loss(self.flow, z, mu, generator)

    @torch.no_grad()
    def describe(self, x: Tensor) -> Tensor:
        """Descriptions ``[N, person]`` of signatures, ink ``[N, 1, 128, 128]``."""
        return torch.cat([self.flow.describe(self.vae.encode(part)[0]) for part in x.split(64)])

    @torch.no_grad()
    def remember(self, x: Tensor, y: Tensor) -> None:
        """Keep the mean description of each person's signatures, ink ``[N, 1, 128, 128]`` of people `y` ``[N]``."""
        count = y.bincount(minlength=self.config.n_people)
        total = torch.zeros_like(self.people).index_add_(0, y, self.describe(x))
        self.people.copy_(total / count.clamp(min=1)[:, None])
        self.references.copy_(count)

    @torch.no_grad()
    def draw(
        self, person: Person, generator: torch.Generator | None = None, steps: int = STEPS, noise: Tensor | None = None
    ) -> Tensor:
        """Raw ink ``[N, 1, 128, 128]``, a signature by each of `person`; `noise` as in `Flow.sample`."""
        n, out = len(person.count), []
        for k in range(0, n, 64):
            part = Person(person.description[k : k + 64], person.count[k : k + 64])
            some = None if noise is None else noise[k : k + 64]
            z = self.flow.sample(len(part.count), generator, part, steps, some)
            out.append(torch.sigmoid(self.logits(z, part)))
        return torch.cat(out)

    def logits(self, z: Tensor, person: Person) -> Tensor:
        """Logits of ink ``[N, 1, 128, 128]`` for codes `z` ``[N, channels, 16, 16]`` of `person`."""
        return self.vae.decode(z)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Ink in [0, 1] decoded from the posterior mean of `x`, ``[N, 1, 128, 128]``."""
        mu = self.vae.encode(x)[0]
        return torch.sigmoid(self.logits(mu, self.flow.people(self.flow.describe(mu)[:, None], mu.new_ones(len(x), 1))))

    def new(self, people: int, per_person: int, generator: torch.Generator | None = None) -> Tensor:
        """Signatures of people who do not exist, raw ink ``[people * per_person, 1, 128, 128]``, person by person.

        The first signature of each is drawn without references, the others with those before it as references, so
        that they are one person's.
        """
        drawn: list[Tensor] = []
        described: list[Tensor] = []
        for _ in range(per_person):
            person = self.flow.nobody_in(people)
            if described:
                known = torch.stack(described[:MAX_REFERENCES], dim=1)
                person = self.flow.people(known, known.new_ones(known.shape[:2]))
            drawn.append(self.draw(person, generator))
            described.append(self.describe(drawn[-1]))
        return torch.stack(drawn, dim=1).flatten(0, 1)

    def known(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Signatures of the people with indices `y` ``[n]`` that the model keeps, raw ink ``[n, 1, 128, 128]``."""
        return self.draw(self.person(y), generator)

    def person(self, y: Tensor) -> Person:
        """The people with indices `y` ``[n]`` that the model keeps."""
        y = y.to(self.people.device)
        return Person(self.people[y], self.references[y])

    def like(self, references: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A signature by the writer of each set of references, ink ``[n, k, 1, 128, 128]``: ``[n, 1, 128, 128]``."""
        return self.draw(self.writer(references), generator)

    def writer(self, references: Tensor) -> Person:
        """The writer of each set of references, ink ``[n, k, 1, 128, 128]``."""
        n, k = references.shape[:2]
        described = self.describe(references.flatten(0, 1)).unflatten(0, (n, k))
        return self.flow.people(described, described.new_ones(n, k))
