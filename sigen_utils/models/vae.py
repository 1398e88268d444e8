"""A convolutional variational autoencoder for 128 x 128 ink.

Bottom-up: configuration, the student reports' plain network, the residual network, the model, its bound,
the prior fitted after training.

References: Kingma & Welling 2014 (the bound, reparameterisation); Bowman et al. 2016 (KL warm-up); Kingma et
al. 2016 (free bits); Burda et al. 2016 (active units); Loaiza-Ganem & Cunningham 2019 (continuous Bernoulli); Lucas et
al. 2019 (collapse of the linear VAE); Ghosh et al. 2020 (a density fitted to the codes after training); Rybkin et
al. 2021 (optimal variance); Sohn et al. 2015 (conditions).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.distributions import ContinuousBernoulli
from torch.nn import functional as F

from .layers import PLACES, DownTower, Spread, UpTower
from .people import Signatures, in_turn

LIKELIHOODS = (
    "bce",  # Bernoulli: ink or none, the right one for binary ink
    "mse",  # Gaussian of the standard deviation `VAEConfig.sigma`
    "optimal_sigma",  # Gaussian of the variance that is best for the batch, so that beta 1 needs no tuning
    "continuous_bernoulli",  # for grey: a Bernoulli form that integrates to one over [0, 1]
)


@dataclass(frozen=True)
class VAEConfig:
    """Everything that fixes a VAE and its loss."""

    architecture: str = "residual"  # "residual" (ours) or "report" (the student reports' plain stack)
    latent_dim: int = 64  # numbers a signature is squeezed into; ...
    detail: int = 0  # ... the last ones are a map of 16 x 16 places, this many channels deep, of what is where
    likelihood: str = "bce"  # one of LIKELIHOODS
    sigma: float = 0.7071  # for "mse"; sqrt(1/2) makes it the plain sum of squared errors of the reports
    beta: float = 1.0  # weight of the KL term (Higgins et al. 2017); 1 is the bound itself
    warmup: float = 0.3  # share of the training over which beta rises from 0 (Bowman et al. 2016)
    free_bits: float = 0.0  # nats a latent may carry before the KL term counts (Kingma et al. 2016)
    widths: tuple[int, ...] = (24, 48, 96, 192)  # channels at 32, 16, 8, 4 pixels
    blocks: int = 1  # residual blocks at each size
    components: int = 20  # of the mixture fitted to the posterior means after training
    n_people: int = 0  # people whose signatures are remembered for `sample_person`; 0 for none
    exemplars: int = 3  # training signatures remembered of each
    moved: bool = True  # samples begin with the code of a signature moved anew, see `people.Signatures.forward`
    conditional: bool = False  # encoder and decoder are told whose signature it is (Sohn et al. 2015)
    bandwidth: float = 0.15  # of the density around the codes, in units of the spread within people

    def __post_init__(self):
        if self.architecture not in ("residual", "report"):
            raise ValueError(f"architecture={self.architecture!r}: choose residual or report")
        if self.likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood={self.likelihood!r}: choose {', '.join(LIKELIHOODS)}")
        object.__setattr__(self, "widths", tuple(self.widths))  # a list when read back from config.json
        if self.conditional and (self.architecture == "report" or not self.n_people):
            raise ValueError("conditional=True needs n_people, and the residual architecture")
        if self.detail and (self.architecture == "report" or self.whole_dim < 1):
            raise ValueError(
                f"detail={self.detail} takes {self.detail * PLACES**2} latents of the residual architecture, and some "
                f"more are to say what is drawn; latent_dim={self.latent_dim} leaves none"
            )

    @property
    def whole_dim(self) -> int:
        """Latents for the signature as a whole, the first ones."""
        return self.latent_dim - self.detail * PLACES**2


MIXTURE_CODES = 4_000  # of a larger set a random part is enough for the mixture

REPORT_VAE = VAEConfig(architecture="report", latent_dim=128, likelihood="mse", warmup=0.0)
"""The student reports' VAE: plain strided convolutions, squared error, no warm-up, learning rate 1e-5."""


def report_encoder(features: int) -> nn.Sequential:
    """Four strided convolutions 4 x 4, ``[N, 1, 128, 128]`` to ``[N, features]``, as in the student reports."""
    layers: list[nn.Module] = []
    for inside, outside in ((1, 32), (32, 64), (64, 128), (128, 256)):
        layers += [nn.Conv2d(inside, outside, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(256 * 8 * 8, features))


def report_decoder(latent_dim: int) -> nn.Sequential:
    """Its mirror of transposed convolutions, ``[N, latent_dim]`` to ``[N, 1, 128, 128]``."""
    layers: list[nn.Module] = [nn.Linear(latent_dim, 256 * 8 * 8), nn.Unflatten(1, (256, 8, 8))]
    for inside, outside in ((256, 128), (128, 64), (64, 32)):
        layers += [nn.ConvTranspose2d(inside, outside, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1))


class Encoder(nn.Module):
    """Ink ``[N, 1, 128, 128]`` to the mean of every latent and then the log-variances: ``[N, 2 latent_dim]``."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        self.tower = DownTower(config.widths, config.blocks, norm=True)
        self.head = nn.Linear(self.tower.out_features, 2 * config.whole_dim)
        self.detail = nn.Conv2d(config.widths[1], 2 * config.detail, 3, padding=1) if config.detail else None

    def forward(self, x: Tensor) -> Tensor:
        if self.detail is None:
            return self.head(self.tower(x))
        features, places = self.tower.both(x)
        parts = (self.head(features).chunk(2, dim=1), self.detail(places).chunk(2, dim=1))  # (mean, log-variance) each
        return torch.cat([part.flatten(1) for pair in zip(*parts, strict=True) for part in pair], dim=1)


class VAE(nn.Module):
    """Encoder q(z|x), decoder p(x|z) and a prior p(z); shapes in the methods."""

    def __init__(self, config: VAEConfig = VAEConfig()):
        super().__init__()
        self.config = config
        d, k = config.latent_dim, config.components
        if config.architecture == "report":
            self.encoder = report_encoder(2 * d)
            self.decoder = report_decoder(d)
        else:
            self.encoder = Encoder(config)
            self.decoder = UpTower(config.whole_dim, config.widths, config.blocks, norm=True, detail=config.detail)
        if config.conditional:
            self.person = _Told(config.n_people, d)
        # The mixture of `fit_prior`; buffers, so that it travels with the weights. Until then N(0, I).
        self.register_buffer("prior_weights", torch.full((k,), 1 / k))
        self.register_buffer("prior_means", torch.zeros(k, d))
        self.register_buffer("prior_scale", torch.eye(d))  # lower Cholesky factor of the shared covariance
        self.signatures = Signatures(config.n_people, config.exemplars)
        self.within = Spread(config.whole_dim, d - config.whole_dim).requires_grad_(False)  # of one person's codes

    def encode(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Posterior of ink ``[N, 1, 128, 128]``: mean and log-variance, each ``[N, latent_dim]``.

        A conditional model takes into account whose the signatures are, int64 ``[N]``; `n_people` stands for somebody
        it does not know, None for nobody else.
        """
        h = self.encoder(x)
        if self.config.conditional:
            h = h + self.person.to_posterior(self.person.who(y, len(x)))
        mu, logvar = h.chunk(2, dim=1)
        return mu, logvar.clamp(-12, 6)  # beyond that exp() helps nobody and one bad batch could overflow

    def reparameterize(self, mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """z = mu + sigma * eps, eps ~ N(0, I): a sample through which gradients reach mu and logvar."""
        eps = torch.randn(mu.shape, device=mu.device, dtype=mu.dtype, generator=generator)
        return mu + torch.exp(0.5 * logvar) * eps  # [N, latent_dim]

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Logits of ink ``[N, 1, 128, 128]`` for codes ``[N, latent_dim]``; `y` as in `encode`."""
        if self.config.conditional:
            z = z + self.person.to_code(self.person.who(y, len(z)))
        return self.decoder(z)

    def to_ink(self, logits: Tensor) -> Tensor:
        """Expected ink in [0, 1] under the model's likelihood."""
        if self.config.likelihood == "continuous_bernoulli":
            return ContinuousBernoulli(logits=logits.float()).mean
        return torch.sigmoid(logits)

    def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Ink decoded from the posterior mean of `x`, ``[N, 1, 128, 128]``; `y` as in `encode`."""
        return self.to_ink(self.decode(self.encode(x, y)[0], y))

    def sample_prior(self, n: int, generator: torch.Generator | None = None, prior: str = "gaussians") -> Tensor:
        """Codes ``[n, latent_dim]`` from the Gaussians of `fit_prior` or, with `prior` "normal", from N(0, I)."""
        device = self.prior_means.device
        eps = torch.randn(n, self.config.latent_dim, device=device, generator=generator)
        if prior == "normal":
            return eps
        which = torch.multinomial(self.prior_weights, n, replacement=True, generator=generator)
        return self.prior_means[which] + eps @ self.prior_scale.T

    def encode_person(self, y: Tensor, which: Tensor | int = 0, noise: Tensor | None = None) -> Tensor:
        """Codes ``[n, latent_dim]`` of remembered signatures; parameters as of `people.Signatures.forward`."""
        return self.encode(self.signatures(y, which, noise), y)[0]

    def sample_person(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Codes ``[n, latent_dim]`` of the people with indices `y` ``[n]``: near those of their training signatures.

        Of people drawn evenly they are samples of a mixture for everybody, a component a training signature, and of
        each as many as of any other.

        A kernel density around the codes of the signatures, moved anew, with a kernel in the shape of the spread
        within people, `bandwidth` times as wide. A normal distribution around a person's *mean* would be wider and
        simpler, and worse: codes of a person lie on a curved surface, their mean lies off it, and what lies off it is
        decoded to a blur. For the same reason a signature is moved before it is encoded: that is a way along the
        surface, where noise on the code leads off it.
        """
        which = in_turn(y, self.config.exemplars, generator)
        noise = None
        if self.config.moved:
            noise = torch.randn(len(y), self.signatures.numbers, device=y.device, generator=generator)
        some = [slice(k, k + 64) for k in range(0, len(y), 64)]
        codes = [self.encode_person(y[k], which[k], None if noise is None else noise[k]) for k in some]
        return self.sample_around(torch.cat(codes), generator)

    def sample_around(self, codes: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Codes ``[n, latent_dim]`` that differ from given ones as signatures of one person do.

        With codes of anybody's signatures this makes duplicates of them; the person need not be known.
        """
        eps = torch.randn(codes.shape, device=codes.device, generator=generator)
        return codes + self.config.bandwidth * self.within(eps)

    @torch.no_grad()
    def start_from(self, other: VAE) -> None:
        """Begin with the encoder and decoder of a trained VAE of the same shape.

        One with fewer channels of detail, or none, serves one with more: the decoder does not listen to the new ones
        until it has learned what they are good for, so at first nothing is drawn otherwise.

        Raises
        ------
        ValueError
            If the two networks differ in size.
        """
        names = ("architecture", "whole_dim", "widths", "blocks")
        differ = any(getattr(self.config, name) != getattr(other.config, name) for name in names)
        if differ or other.config.detail > self.config.detail or other.config.conditional:
            raise ValueError(
                f"the VAE to start from needs the same {', '.join(names)}, no more detail, and no conditions"
            )
        trained = {name: value for name, value in other.state_dict().items() if name.startswith(("encoder", "decoder"))}
        if other.config.detail < self.config.detail:
            self._widen(trained, other.config.detail)
        self.load_state_dict(self.state_dict() | trained)
        self.within.whole.copy_(other.within.whole)
        self.within.detail[: len(other.within.detail)] = other.within.detail

    def _widen(self, trained: dict[str, Tensor], channels: int) -> None:
        """Put what a network with so many channels of detail has learned of them among this one's, in `trained`."""
        if not channels:
            return
        mine = self.state_dict()
        for name in ("encoder.detail.weight", "encoder.detail.bias"):  # of the mean, then of the log-variance
            mine[name].unflatten(0, (2, -1))[:, :channels] = trained[name].unflatten(0, (2, channels))
            trained[name] = mine[name]
        mine["decoder.detail.weight"][:, :channels] = trained["decoder.detail.weight"]
        trained["decoder.detail.weight"] = mine["decoder.detail.weight"]


class _Told(nn.Module):
    """What a conditional VAE adds to posteriors and codes for a person; nothing at first, so it may start warm."""

    def __init__(self, n_people: int, latent_dim: int):
        super().__init__()
        self.nobody = n_people
        self.to_posterior = nn.Embedding(n_people + 1, 2 * latent_dim)
        self.to_code = nn.Embedding(n_people + 1, latent_dim)
        for table in (self.to_posterior, self.to_code):
            nn.init.zeros_(table.weight)

    def who(self, y: Tensor | None, n: int) -> Tensor:
        """`y`, or `n` times nobody."""
        return torch.full((n,), self.nobody, device=self.to_code.weight.device) if y is None else y


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(q(z|x) || N(0, I)) in nats, one number a latent: ``[N, D]`` (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar)


def reconstruction_loss(logits: Tensor, x: Tensor, config: VAEConfig) -> Tensor:
    """-log p(x|z), summed over pixels: ``[N]`` (nats).

    Parameters
    ----------
    logits, x
        What the decoder puts out, and the ink ``[N, 1, H, W]`` in [0, 1] to be explained.
    config
        Names the likelihood. "bce" and "mse" leave out constants; "optimal_sigma" (Rybkin et al. 2021, eq. 6: the
        variance of a batch is its mean squared error) and "continuous_bernoulli" (Loaiza-Ganem & Cunningham 2019)
        are log densities and may be negative.
    """
    if config.likelihood == "bce":
        return F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)
    if config.likelihood == "continuous_bernoulli":
        return -ContinuousBernoulli(logits=logits.float()).log_prob(x.float()).flatten(1).sum(1)
    error = (torch.sigmoid(logits) - x).square().flatten(1).sum(1)  # [N]
    if config.likelihood == "mse":
        return error / (2 * config.sigma**2)
    pixels = x[0].numel()
    variance = error.detach().float().mean() / pixels + 1e-6  # its gradient vanishes: it is the best one
    return error / (2 * variance) + 0.5 * pixels * torch.log(2 * torch.pi * variance)


def elbo(
    vae: VAE,
    x: Tensor,
    beta: float = 1.0,
    generator: torch.Generator | None = None,
    encoder_input: Tensor | None = None,
    y: Tensor | None = None,
) -> dict[str, Tensor]:
    """The negative evidence lower bound of ink `x`, and its parts.

    Parameters
    ----------
    vae
        The model.
    x
        Ink ``[N, 1, 128, 128]`` in [0, 1] that is to be explained.
    beta
        Weight of the KL term now (the warm-up's value).
    generator
        Randomness of the reparameterisation.
    encoder_input
        What the encoder sees where that is not `x` itself, for instance `x` with noise on it.
    y
        Whose the signatures are, for a conditional model; as in `VAE.encode`.

    Returns
    -------
    dict
        ``loss``, ``reconstruction``, ``kl`` (scalars: summed over pixels or latents, averaged over the batch)
        and ``logits``, ``mu``, ``logvar``. ``loss = reconstruction + beta * max(kl, free bits)``.
    """
    mu, logvar = vae.encode(x if encoder_input is None else encoder_input, y)
    logits = vae.decode(vae.reparameterize(mu, logvar, generator), y)
    reconstruction = reconstruction_loss(logits, x, vae.config).mean()
    kl_per_latent = kl_divergence(mu, logvar).mean(0)  # [D]
    kl = kl_per_latent.sum()
    paid = kl_per_latent.clamp(min=vae.config.free_bits).sum()  # free bits: small ones cost a constant
    return dict(
        loss=reconstruction + beta * paid, reconstruction=reconstruction, kl=kl, logits=logits, mu=mu, logvar=logvar
    )


def beta_at(progress: float, config: VAEConfig) -> float:
    """KL weight when the share `progress` of the training is over: a linear rise, then `config.beta`."""
    return config.beta * min(1.0, progress / config.warmup) if config.warmup else config.beta


def bits_per_pixel(loss: float, pixels: int = 128 * 128) -> float:
    """A bound in nats an image as bits a pixel."""
    return loss / (math.log(2) * pixels)


def linear_active_units(images: Tensor, noise_variance: float) -> tuple[int, Tensor]:
    """How many latents a *linear* VAE would keep in use on these data, and the spectrum that says so.

    At its optimum a linear VAE keeps exactly those principal directions whose variance exceeds that of the pixel
    noise, times beta; the others collapse however it is trained (Lucas et al. 2019, section 4).

    Parameters
    ----------
    images
        Ink uint8 ``[N, H, W]``, N at least 2.
    noise_variance
        beta * sigma^2 of the Gaussian likelihood; the reports' sum of squared errors has sigma^2 = 1/2.

    Returns
    -------
    count, eigenvalues
        The latter float64 ``[min(N, H * W)]``, of the covariance of the pixels, falling.
    """
    x = images.flatten(1).double() / 255
    singular = torch.linalg.svdvals(x - x.mean(0))
    eigenvalues = singular.square() / (len(x) - 1)
    return int((eigenvalues > noise_variance).sum()), eigenvalues


@torch.no_grad()
def posterior_means(vae: VAE, images: Tensor, y: Tensor | None = None, batch_size: int = 256) -> Tensor:
    """Codes float64 ``[N, latent_dim]``, on the CPU, of ink stored as uint8 ``[N, 128, 128]`` (255 = ink).

    `y` as in `VAE.encode`.
    """
    whose = itertools.repeat(None) if y is None else y.split(batch_size)
    parts = zip(images.split(batch_size), whose, strict=False)  # nobody without end
    return torch.cat([vae.encode(part[:, None].float() / 255, who)[0].double().cpu() for part, who in parts])


def active_units(vae: VAE, images: Tensor, threshold: float = 0.01) -> int:
    """Latents whose posterior mean moves with the picture: Var_x(mu_d) > `threshold` (Burda et al. 2016).

    `images` as in `posterior_means`, two or more.
    """
    return int((posterior_means(vae, images).var(0) > threshold).sum())


def log_density(codes: Tensor, centres: Tensor, factor: Tensor, log_weights: Tensor) -> Tensor:
    """log p of codes ``[N, D]`` under a mixture of normal distributions, nats: ``[N]``.

    Parameters
    ----------
    centres, log_weights
        Of the components: ``[k, D]``, and the logarithms ``[k]`` of weights that add up to one.
    factor
        Lower Cholesky factor ``[D, D]`` of the covariance that they share.
    """
    white = torch.linalg.solve_triangular(factor, torch.eye(len(factor)).to(factor), upper=False)
    far = torch.cdist(codes @ white.T, centres @ white.T).square()  # [N, k] Mahalanobis
    normal = white.diagonal().log().sum() - 0.5 * len(factor) * math.log(2 * math.pi)
    return torch.logsumexp(log_weights - 0.5 * far, dim=1) + normal


@torch.no_grad()
def fit_prior(vae: VAE, images: Tensor, y: Tensor | None = None, seed: int = 0, within: Spread | None = None) -> VAE:
    """Fit a Gaussian mixture to the posterior means of `x` and store it in the model's buffers.

    The codes of real signatures fill only a part of N(0, I); a mixture samples from that part (Ghosh et al.
    2020). With `y` signatures of each person and the spread within people are stored too. Deterministic by `seed`.

    Parameters
    ----------
    vae
        A trained model.
    images
        Training ink as uint8 ``[N, 128, 128]``; never held-out signatures.
    y
        Person index of each, int64 ``[N]``, below ``vae.config.n_people``.
    within
        The spread of one person's codes in a larger set, where that is known; see `Spread.fit`.
    """
    from sklearn.mixture import GaussianMixture  # heavy to import, needed once a training

    codes = posterior_means(vae, images, y)
    some = codes[torch.randperm(len(codes), generator=torch.Generator().manual_seed(seed))[:MIXTURE_CODES]]
    k = min(vae.config.components, len(some))
    # One covariance for all components: twenty free ones would need thousands of codes in 64 dimensions
    mixture = GaussianMixture(k, covariance_type="tied", reg_covar=1e-3, random_state=seed, n_init=2)
    mixture.fit(some.numpy())
    vae.prior_weights.zero_()
    vae.prior_weights[:k] = torch.from_numpy(mixture.weights_).to(vae.prior_weights)
    vae.prior_means[:k] = torch.from_numpy(mixture.means_).to(vae.prior_means)
    vae.prior_scale.copy_(torch.linalg.cholesky(torch.from_numpy(mixture.covariances_)))
    if y is not None:
        _fit_people(vae, images, y, codes, within)
    return vae


@torch.no_grad()
def meet(vae: VAE, images: Tensor, y: Tensor, n_people: int, exemplars: int = 3, moved: bool = True) -> VAE:
    """The same networks for other people: a copy that knows their signatures and, of their spread, what these tell.

    Parameters
    ----------
    vae
        A trained model; its ``within`` is what the spread is shrunk towards.
    images, y
        Training ink uint8 ``[N, 128, 128]`` and person indices ``[N]`` below `n_people`.
    exemplars, moved
        Signatures to remember of each person, and whether samples begin with moved ones; see `VAEConfig`.
    """
    other = VAE(replace(vae.config, n_people=n_people, exemplars=exemplars, moved=moved)).to(images.device).eval()
    other.start_from(vae)
    _fit_people(other, images, y, posterior_means(other, images), vae.within)
    return other


def _fit_people(vae: VAE, images: Tensor, y: Tensor, codes: Tensor, known: Spread | None) -> None:
    """Signatures of every person, and the pooled spread of their codes around the people's means."""
    vae.signatures.remember(images, y.to(images.device))
    y = y.cpu()
    count = y.bincount(minlength=vae.config.n_people)[:, None]
    sums = torch.zeros(vae.config.n_people, codes.shape[1], dtype=codes.dtype).index_add_(0, y, codes)
    means = sums / count.clamp(min=1)
    degrees = max(1, len(codes) - int((count > 0).sum()))  # a mean estimated for each person costs one
    vae.within.fit(codes - means[y], degrees, known)
