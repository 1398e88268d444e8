"""The folder of one training: what is in it, how it is written without loss, how a model is read back.

``config.json``         what was asked for: model, training, data, versions
``history.jsonl``       one line a logged step
``last.safetensors``    weights of the model that samples (averaged over the last steps)
``finished``            empty; there when all the others are as they will stay
``last.state.pt``       everything else an exact resume needs; tensors and numbers only, read with ``weights_only``
``samples/``            pictures of fixed noise at a few moments of the training
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor, nn

from .. import paths
from ..augment import PERSON_WARPS, warp_ink
from ..data import SignatureSet, to_image, to_model
from ..models.autoencoder import Autoencoder, AutoencoderConfig
from ..models.baselines import ReportGANConfig, ReportGenerator, ReportVAE
from ..models.embedding import Embedding, EmbeddingConfig
from ..models.gan import GANConfig, Generator, invert
from ..models.prior import PriorConfig, PriorVAE
from ..models.vae import VAE, VAEConfig, reconstruction_loss
from ..overrides import parse_overrides

WEIGHTS, STATE, CONFIG, HISTORY = "last.safetensors", "last.state.pt", "config.json", "history.jsonl"
CARD, FINISHED = "card.json", "finished"
OUTCOME = ("finished", "share")  # of a config: how far the training came, no part of what was asked for
NETWORKS = {  # a config's kind -> the kind of model, its network and that one's configuration
    "vae": ("vae", VAE, VAEConfig),
    "gan": ("gan", Generator, GANConfig),
    "report_vae": ("vae", ReportVAE, VAEConfig),
    "report_gan": ("gan", ReportGenerator, ReportGANConfig),
    "ruler": ("ruler", Embedding, EmbeddingConfig),
    "autoencoder": ("autoencoder", Autoencoder, AutoencoderConfig),
    "prior": ("prior", PriorVAE, PriorConfig),
}
STEP, PACKED_FROM = ".step", 4096  # of `packed`: what the steps of rows are called, numbers below which nothing is won
# What a trained model depends on, with the scores by which a GAN's moment is chosen
CODE = ("augment.py", "data.py", "device.py", "recipes.py", "registration.py", "render.py")
CODE += ("models/*.py", "training/*.py", "metrics/distances.py", "metrics/features.py")


class RunError(ValueError):
    """A run folder cannot be used; the message names it and the remedy."""


def code_fingerprint() -> str:
    """Twelve hex digits that change with the code a trained model depends on."""
    package = Path(__file__).parent.parent
    files = [path for pattern in CODE for path in sorted(package.glob(pattern))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


class RunFolder:
    """Writes one run, each file whole or not at all."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def begin(self, config: dict, resume: bool, restart: bool) -> dict[str, Any] | None:
        """Prepare the folder; return the state to resume from, or None for a fresh start.

        Raises
        ------
        RunError
            If the folder holds a run and `resume` is False, or one of another configuration and `restart` is
            False. With `restart` the other run is moved aside to ``<name>.replaced``.
        """
        path = self.path / CONFIG
        if path.exists():
            there, new = json.loads(path.read_text()), json.loads(json.dumps(config))
            there = {name: value for name, value in there.items() if name not in OUTCOME}
            if there != new:
                if not restart:
                    differs = ", ".join(sorted(k for k in there.keys() | new.keys() if there.get(k) != new.get(k)))
                    raise RunError(
                        f"{self.path}: holds another run (it differs in {differs}); delete it or name another folder"
                    )
                self._move_aside()
            elif not resume:
                raise RunError(f"{self.path}: holds a run already; continue it with --resume or name another folder")
        if not path.exists():
            with paths.atomic_write(path) as temporary:
                temporary.write_text(json.dumps(config, indent=1))
        return self._read_state()

    def _move_aside(self) -> None:
        old = self.path.with_name(self.path.name + ".replaced")
        if old.exists():
            shutil.rmtree(old)
        self.path.rename(old)

    def _read_state(self) -> dict[str, Any] | None:
        state_file = self.path / STATE
        if not state_file.exists():
            (self.path / HISTORY).unlink(missing_ok=True)
            return None
        state = torch.load(state_file, map_location="cpu", weights_only=True)
        records = [r for r in read_history(self.path) if r["step"] <= state["step"]]
        with paths.atomic_write(self.path / HISTORY) as temporary:  # lines after the checkpoint are done again
            temporary.write_text("".join(json.dumps(r) + "\n" for r in records))
        return state

    def log(self, record: dict) -> None:
        """Append one line to the history."""
        with open(self.path / HISTORY, "a") as file:
            file.write(json.dumps(record) + "\n")

    def save(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Write weights, then state: a kill in between leaves the older state, which is still consistent."""
        save_tensors(self.path / WEIGHTS, weights)
        with paths.atomic_write(self.path / STATE) as temporary:
            torch.save(state, temporary)

    def finish(self, steps: int) -> None:
        """Say that nothing more will be written, and in the config what share of the `steps` asked for was made."""
        path, done = self.path / CONFIG, read_history(self.path)[-1]["step"]
        outcome = dict(finished=done >= steps, share=round(min(1.0, done / steps), 4))
        with paths.atomic_write(path) as temporary:
            temporary.write_text(json.dumps(json.loads(path.read_text()) | outcome, indent=1))
        with paths.atomic_write(self.path / FINISHED) as temporary:
            temporary.touch()

    def save_samples(self, step: int, x: Tensor, ncols: int = 8) -> None:
        """Write ink ``[n, 1, 128, 128]`` as one picture ``samples/step_<step>.png``, `ncols` in a row."""
        pictures, ncols = to_image(x), min(ncols, len(x))
        paper = np.full((-len(pictures) % ncols, *pictures.shape[1:]), 255, np.uint8)  # fills the last row
        pictures = np.concatenate([pictures, paper])
        rows = [np.concatenate(list(pictures[i : i + ncols]), axis=1) for i in range(0, len(pictures), ncols)]
        with paths.atomic_write(self.path / "samples" / f"step_{step:07d}.png") as temporary:
            Image.fromarray(np.concatenate(rows)).save(temporary)


def save_tensors(path: str | Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as one safetensors file, whole or not at all.

    The library's `save_file` makes a temporary file of its own beside the one it is given, which a kill would
    leave behind under a name nobody knows; written from memory there is only ours, which `paths.sweep` finds.
    """
    with paths.atomic_write(path) as temporary:
        temporary.write_bytes(serialise({name: value.detach().cpu().contiguous() for name, value in tensors.items()}))


def read_history(run_dir: str | Path) -> list[dict]:
    """The logged steps of a run; a last line cut short by a kill is left out."""
    path = Path(run_dir) / HISTORY
    if not path.exists():
        return []
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1] if line]  # what follows the last newline was never finished


@dataclass(frozen=True)
class Run:
    """A trained model and where it came from."""

    model: nn.Module  # one of the networks of `NETWORKS`, in eval mode
    kind: str  # "vae", "gan" or "ruler"
    config: dict
    history: list[dict]
    people: list[str]
    run_dir: Path

    @property
    def discriminator(self) -> dict[str, Tensor] | None:
        """The pretrained discriminator where this run went on from the pretrained networks, whose codes it shares."""
        start = load_pretrained() if self.config.get("start") else None
        return start.discriminator if start and self.config["start"] == start.fingerprint() else None

    @property
    def conditional(self) -> bool:
        """Whether a person can be asked for."""
        return getattr(self.model.config, "n_people", 0) > 0

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def fingerprint(self) -> str:
        """Twelve hex digits that change with the run's weights."""
        return hashlib.sha256((self.run_dir / WEIGHTS).read_bytes()).hexdigest()[:12]

    def person_index(self, person: str) -> int:
        """Index of a person ID; RunError names the remedy if it is not one of the training's."""
        if person not in self.people:
            known = f"{self.people[0]} ... {self.people[-1]}" if self.people else "none"
            raise RunError(f"{self.run_dir}: person {person!r} was not in the training set; known IDs: {known}")
        return self.people.index(person)

    @torch.inference_mode()
    def decode(self, z: Tensor, y: Tensor | None = None, batch_size: int = 64) -> Tensor:
        """Raw ink ``[n, 1, 128, 128]`` of a VAE's codes ``[n, latent_dim]``, or of a GAN's noise and people ``[n]``."""
        out = []
        for start in range(0, len(z), batch_size):
            part = z[start : start + batch_size].to(self.device)
            who = None if y is None else y[start : start + batch_size].to(self.device)
            if self.kind == "vae":
                out.append(self.model.to_ink(self.model.decode(part)))
            else:
                out.append(self.model.guess(part, who))
        return torch.cat(out)

    @torch.inference_mode()
    def sample(
        self, n: int, person: str | None = None, seed: int = 0, prior: str | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """New signatures.

        Parameters
        ----------
        n
            How many.
        person
            Whose; None draws people evenly. An unconditional model has no choice and returns no people.
        seed
            Seed of the draw; the same seed gives the same signatures on the same device.
        prior
            Of a VAE's codes. "mixture" (default where it knows people): a component around every signature that it
            remembers, of everybody or, with `person`, of one. "gaussians": the few of `vae.fit_prior`. "normal": N(0,
            I), as the student reports sampled (their VAE's default). Only the first knows people.

        Returns
        -------
        (x, y)
            Raw ink float ``[n, 1, 128, 128]`` in [0, 1] (pass it through `render.render`), and the person index
            int64 ``[n]`` or None.
        """
        if prior not in (None, "mixture", "gaussians", "normal"):
            raise ValueError(f"prior={prior!r}: choose mixture, gaussians or normal")
        if prior == "mixture" and not self.conditional:
            raise RunError(f"{self.run_dir}: this model remembers nobody's signatures, so it has no such mixture")
        generator = torch.Generator().manual_seed(seed)
        y, own = None, prior in (None, "mixture")
        if self.conditional and own:
            places = torch.randperm(self.model.config.n_people, generator=generator)
            y = places.repeat(n // len(places) + 1)[:n]  # evenly, in a seeded order
            if person is not None:
                y = torch.full((n,), self.person_index(person))
        elif person is not None:
            raise RunError(f"{self.run_dir}: this model does not know people, so it cannot sign as {person!r}")
        if self.kind == "vae":
            generator = torch.Generator(self.device).manual_seed(seed + 1)
            if y is not None and own:
                z = self.model.sample_person(y.to(self.device), generator)
            else:
                z = self.model.sample_prior(n, generator, prior or self.model.default_prior)
        else:
            z = self.model.noise(n, y, generator)
        return self.decode(z, y).float().clamp(0, 1), y

    @property
    def reconstructs(self) -> bool:
        """Whether `reconstruct` works: a VAE encodes, our GAN projects, the reports' GAN can do neither."""
        return isinstance(self.model, VAE | Generator)

    @torch.no_grad()
    def reconstruct(self, x: Tensor, people: Sequence[str] | None = None, batch_size: int = 64) -> Tensor:
        """Ink ``[N, 1, 128, 128]`` drawn again: by a VAE from the posterior mean, by a GAN after `gan.invert`.

        `people` says whose each signature is; a GAN that knows people needs it.
        """
        if not self.reconstructs:
            raise RunError(f"{self.run_dir}: this model has no encoder, nor logits to project with")
        y = None
        if self.kind == "gan" and self.conditional:
            if people is None or len(people) != len(x):
                raise RunError(f"{self.run_dir}: say whose each signature is (people), the model draws people")
            y = torch.tensor([self.person_index(person) for person in people], device=self.device)
        out = []
        for start in range(0, len(x), batch_size):
            part = x[start : start + batch_size].to(self.device)
            if self.kind == "vae":
                out.append(self.model.reconstruct(part).float())
                continue
            e = None if y is None else self.nearest_codes(part, y[start : start + batch_size])
            out.append(torch.sigmoid(self.model.net(invert(self.model, part, e)).float()))
        return torch.cat(out)

    @torch.no_grad()
    def nearest_codes(self, x: Tensor, y: Tensor) -> Tensor:
        """Codes ``[n, latent_dim]`` a projection of `x` ``[n, 1, 128, 128]`` by the people `y` ``[n]`` starts from.

        Of the codes of the person the one that the GAN, without noise, draws most alike.
        """
        model = self.model
        codes = torch.stack([model.encode_person(y, k) for k in range(model.config.exemplars)], 1)  # [n, k, latent_dim]
        still = torch.zeros_like(codes[:, 0])
        logits = (model.net(model.code(still, code)) for code in codes.unbind(1))
        losses = torch.stack([reconstruction_loss(drawn, x, VAEConfig()) for drawn in logits])
        return codes[torch.arange(len(x), device=x.device), losses.argmin(0)]

    def snapshots(self) -> list[tuple[int, Tensor]]:
        """(step, ink ``[n, 1, 128, 128]``) of the fixed noise at each kept moment of the training."""
        out = []
        for path in sorted((self.run_dir / "samples").glob("step_*.png")):
            with Image.open(path) as picture:
                sheet = torch.from_numpy(np.asarray(picture.convert("L")).copy())
            rows = sheet.unfold(0, 128, 128).unfold(1, 128, 128)  # [rows, columns, 128, 128]
            out.append((int(path.stem.split("_")[1]), to_model(rows.reshape(-1, 128, 128).contiguous())))
        return out

    def thumbnails(self) -> Tensor | None:
        """The class the model was trained on, as `SignatureSet.thumbnails`; None for a run without them."""
        path = self.run_dir / "class.safetensors"
        return load_file(path)["thumbnails"] if path.exists() else None


def build_model(kind: str, config: dict) -> nn.Module:
    """The network that samples (or measures), from the ``model`` part of a run's config."""
    _, network, settings = NETWORKS[kind]
    return network(settings(**config))


def load_run(run_dir: str | Path, device: str | torch.device = "cpu") -> Run:
    """Read a run back, ready to sample.

    Raises
    ------
    RunError
        If the folder is not a run, is incomplete, or its weights do not fit its configuration. Only safetensors
        and JSON are read: nothing here can run code hidden in a download.
    """
    run_dir = Path(run_dir)
    if not (run_dir / CONFIG).exists():
        raise RunError(f"{run_dir}: no {CONFIG} in it; name a folder made by `python -m sigen_utils train`")
    if not (run_dir / WEIGHTS).exists():
        raise RunError(f"{run_dir}: no {WEIGHTS} yet; the training ended before its first checkpoint, resume it")
    if not any((run_dir / name).exists() for name in (FINISHED, CARD)):  # a VAE's prior is fitted at the end
        raise RunError(f"{run_dir}: its training was stopped half-way; go on with the same command and --resume")
    try:
        config = json.loads((run_dir / CONFIG).read_text())
        model = build_model(config["kind"], config["model"])
        model.load_state_dict(load_tensors(run_dir / WEIGHTS))
    except (SafetensorError, RuntimeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise RunError(
            f"{run_dir}: config or weights are damaged or of another version ({error}); train again"
        ) from error
    model.eval().to(device)
    return Run(model, NETWORKS[config["kind"]][0], config, read_history(run_dir), config["data"]["people"], run_dir)


def reconfigured(run: Run, pairs: Sequence[str]) -> Run:
    """The same weights with ``key=value`` settings of the model applied, of those that only sampling uses.

    Raises
    ------
    RunError, ValueError
        If the weights do not fit the new configuration; for an unknown key.
    """
    if not pairs:
        return run
    settings = dataclasses.asdict(parse_overrides(run.model.config, pairs))
    model = build_model(run.config["kind"], settings)
    try:
        model.load_state_dict(run.model.state_dict())
    except RuntimeError as error:
        raise RunError(f"{run.run_dir}: its weights are those of other settings ({error}); train again") from error
    return dataclasses.replace(run, model=model.eval().to(run.device), config=run.config | dict(model=settings))


def publish(run: Run, folder: str | Path, card: dict) -> None:
    """Write what others need to sample from a run, small enough to commit.

    Weights in eight bits (`packed`), the thumbnails of the class, the history, the configuration, and `card`, what
    else a reader wants to know. The configuration comes last, so that a folder without it is not taken for a run.

    Parameters
    ----------
    run
        A complete run.
    folder
        Where to; files of an earlier publication are replaced.
    card
        JSON-serialisable, for instance device, minutes and scores.

    Raises
    ------
    RunError
        If the run does not hold the thumbnails of its class, without which nobody can tell whether it fits.
    """
    thumbnails = run.thumbnails()
    if thumbnails is None:
        raise RunError(f"{run.run_dir}: no class.safetensors in it; train again with this version")
    history = "".join(json.dumps(record) + "\n" for record in run.history)
    tensors = {WEIGHTS: packed(run.model.state_dict()), "class.safetensors": dict(thumbnails=thumbnails)}
    _publish(Path(folder), tensors, {HISTORY: history, CARD: card, CONFIG: run.config})


def publish_of_corpus(run: Run, folder: str | Path, card: dict) -> None:
    """Write a network that was trained on a corpus of synthetic writers, without their names.

    What measures keeps half precision, for scores of years should agree; a prior is `packed`.
    """
    config = run.config | dict(data=run.config["data"] | dict(people=[]))
    smaller = halved if run.kind == "ruler" else packed
    history = "".join(json.dumps(record) + "\n" for record in run.history)
    _publish(Path(folder), {WEIGHTS: smaller(run.model.state_dict())}, {HISTORY: history, CARD: card, CONFIG: config})


def halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict, what is floating in it in half precision, on the CPU."""
    state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}


def packed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in about a quarter of its size, on the CPU; `unpacked` reads it.

    Each row of a matrix or kernel (all that shares an index of the first dimension) becomes signed bytes and, under
    the name with `STEP` after it, the float that one step of them is worth; rows are symmetric about zero, as in
    Jacob et al. 2018, sec. 3. The largest error is half a step, 1/254 of the row's largest weight. What is small or
    has one dimension stays in half precision, what is no float stays as it is.
    """
    out = {}
    for name, value in halved(state).items():
        if not value.is_floating_point() or value.dim() < 2 or value.numel() < PACKED_FROM:
            out[name] = value
            continue
        rows = state[name].detach().cpu().float().flatten(1)
        step = (rows.abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
        out[name] = (rows / step[:, None]).round().to(torch.int8).reshape(value.shape).contiguous()
        out[name + STEP] = step
    return out


def unpacked(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict that `packed` was given, to within its rounding; any other one as it is."""
    out = {name: value for name, value in state.items() if not name.endswith(STEP)}
    for name in state.keys() - out.keys():
        rows = name.removesuffix(STEP)
        out[rows] = (state[rows].float().flatten(1) * state[name][:, None]).reshape(state[rows].shape)
    return out


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, packed or not."""
    return unpacked(load_file(path))


def _publish(folder: Path, tensors: dict[str, dict], texts: dict[str, Any]) -> None:
    """Write files of tensors, then texts (JSON unless they are text already) in their order, CONFIG last."""
    (folder / CONFIG).unlink(missing_ok=True)
    for name, state in tensors.items():
        save_tensors(folder / name, state)
    for name, content in texts.items():
        with paths.atomic_write(folder / name) as temporary:
            temporary.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))


OF_A_CROWD = ("prior_", "signatures")  # parts of a VAE that are of no use to a class; how a person's codes spread is


@dataclass(frozen=True)
class Pretrained:
    """Networks that know signatures before they meet a class: trained on a crowd of synthetic writers.

    Attributes
    ----------
    model
        The VAE, without people.
    discriminator
        State dict of a discriminator that has learned, from the crowd, what ink and whose hand it sees (people are
        described to it by codes of `model`); None where there is only a VAE.
    card
        What they were trained on, how long, and where.
    """

    model: VAE
    discriminator: dict[str, Tensor] | None
    card: dict
    folder: Path

    def fingerprint(self) -> str:
        """Twelve hex digits that change with any of the weights."""
        files = sorted(self.folder.glob("*.safetensors"))
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]

    @torch.inference_mode()
    def duplicate(self, x: Tensor, seed: int = 0) -> Tensor:
        """Raw ink ``[n, 1, 128, 128]`` of another signature like each of `x`, by people it has never seen."""
        device = next(self.model.parameters()).device
        generator, out = torch.Generator(device).manual_seed(seed), []
        for part in x.split(64):
            moved = warp_ink(part.to(device), PERSON_WARPS, generator)
            codes = self.model.sample_around(self.model.encode(moved)[0], generator)
            out.append(self.model.to_ink(self.model.decode(codes)).float())
        return torch.cat(out)


def discriminator_of(gan_run: Run) -> dict[str, Tensor]:
    """State dict of the discriminator that a GAN's run ended with; it lies with what a resume needs."""
    return torch.load(gan_run.run_dir / STATE, map_location="cpu", weights_only=True)["parts"]["discriminator"]


def publish_pretrained(vae_run: Run, discriminator: dict[str, Tensor] | None, folder: str | Path, card: dict) -> None:
    """Write a VAE trained on a crowd, without its writers, and a discriminator's state dict; see `Pretrained`.

    The configuration comes last, so that a folder without it is not taken for complete.
    """
    parts = dict(vae={k: v for k, v in vae_run.model.state_dict().items() if not k.startswith(OF_A_CROWD)})
    if discriminator is not None:
        parts |= dict(discriminator=discriminator)
    people = ("n_people", "exemplars", "warped", "bandwidth", "components")  # who they were, how a class is drawn
    config = {k: v for k, v in vae_run.config["model"].items() if k not in people}
    tensors = {f"{name}.safetensors": packed(state) for name, state in parts.items()}
    _publish(Path(folder), tensors, {CARD: card, CONFIG: config})


def load_pretrained(folder: str | Path | None = None) -> Pretrained | None:
    """The committed pretrained networks (or those in `folder`); None where the repository has none.

    Raises
    ------
    RunError
        If `folder` is named and is none, or its files are damaged.
    """
    where = Path(folder or paths.weights_dir() / "pretrained")
    if not (where / CONFIG).exists():
        if folder is None:
            return None
        raise RunError(f"{where}: no {CONFIG} in it; name a folder made by `publish-pretrained`")
    try:
        model = VAE(VAEConfig(**json.loads((where / CONFIG).read_text())))
        missing, other = model.load_state_dict(load_tensors(where / "vae.safetensors"), strict=False)
        if other or (missing := [name for name in missing if not name.startswith(OF_A_CROWD)]):
            raise RuntimeError(f"not there: {missing}, of no network here: {other}")
        discriminator, file = None, where / "discriminator.safetensors"
        if file.exists():
            discriminator = {key: value.float() for key, value in load_tensors(file).items()}
        card = json.loads((where / CARD).read_text())
    except (SafetensorError, OSError, RuntimeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise RunError(f"{where}: config or weights are damaged or of another version ({error})") from error
    return Pretrained(model.eval(), discriminator, card, where)


def load_reference(
    name: str, data: SignatureSet, device: str | torch.device = "cpu", beyond: Run | None = None
) -> Run | None:
    """The committed model `name`, or None where there is none that was trained on this class.

    Nor is it given where the run `beyond` was trained on nearly as many images: it would be the same model twice.
    """
    folder = paths.weights_dir() / name
    if not (folder / CONFIG).exists():
        return None
    run = load_run(folder, device)
    thumbnails = run.thumbnails()
    if thumbnails is None or not data.matches(run.people, thumbnails):
        return None
    seen = [one.history[-1]["images"] if one and one.history else 0 for one in (run, beyond)]
    return run if beyond is None or seen[0] > 1.5 * seen[1] else None


def config_dict(kind: str, model: Any, training: Any, data, extra: dict | None = None) -> dict:
    """What ``config.json`` holds: enough to tell whether two runs are the same work."""
    return dict(
        kind=kind,
        model=dataclasses.asdict(model),
        training=dataclasses.asdict(training),
        data=dict(people=data.people, fingerprint=data.fingerprint(), n_train=int((~data.is_test).sum())),
        code=code_fingerprint(),
        **(extra or {}),
    )
