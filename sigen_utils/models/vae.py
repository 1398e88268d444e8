"""A convolutional variational autoencoder for 128 x 128 ink.

Bottom-up: configuration, the networks, the model, its bound, the prior fitted after training.

References: Kingma & Welling 2014 (the bound, reparameterisation); Bowman et al. 2016 (KL warm-up); Burda et al. 2016
(active units); Loaiza-Ganem & Cunningham 2019 (continuous Bernoulli); Lucas et al. 2019 (collapse of the linear VAE);
Ghosh et al. 2020 (a density fitted to the codes after training); Rybkin et al. 2021 (optimal variance).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.distributions import ContinuousBernoulli
from torch.nn import functional as F

from .layers import PLACES, DownTower, UpTower, WithinClassNoise
from .people import Signatures, in_turn

LIKELIHOODS = (
    "bce",  # Bernoulli, for binary ink
    "mse",  # Gaussian of the standard deviation `VAEConfig.sigma`
    "optimal_sigma",  # Gaussian of the best variance for the batch, so that beta 1 needs no tuning
    "continuous_bernoulli",  # for grey: a Bernoulli form that integrates to one over [0, 1]
)


@dataclass(frozen=True)
class VAEConfig:
    """Everything that fixes a VAE and its loss."""

    latent_dim: int = 64  # numbers of a code
    detail: int = 0  # channels of the 16 x 16 map that the last of them are
    likelihood: str = "bce"  # one of LIKELIHOODS
    sigma: float = 0.7071  # for "mse"; sqrt(1/2) makes it the plain sum of squared errors of the reports
    beta: float = 1.0  # weight of the KL term (Higgins et al. 2017); 1 is the bound itself
    warmup: float = 0.3  # share of the training over which beta rises from 0 (Bowman et al. 2016)
    widths: tuple[int, ...] = (24, 48, 96, 192)  # channels at 32, 16, 8, 4 pixels
    blocks: int = 1  # residual blocks at each size
    components: int = 20  # of the mixture fitted to the posterior means after training
    n_people: int = 0  # people whose training signatures are stored for `sample_person`
    exemplars: int = 3  # stored training signatures of each person
    warped: bool = True  # samples begin with the code of a warped signature, see `people.Signatures.forward`
    bandwidth: float = 0.15  # of the kernel density around codes, in units of the within-class covariance

    def __post_init__(self):
        if self.likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood={self.likelihood!r}: choose {', '.join(LIKELIHOODS)}")
        object.__setattr__(self, "widths", tuple(self.widths))  # a list when read back from config.json
        if self.detail and self.whole_dim < 1:
            raise ValueError(
                f"detail={self.detail} takes {self.detail * PLACES**2} latents, and some more are needed; "
                f"latent_dim={self.latent_dim} leaves none"
            )

    @property
    def whole_dim(self) -> int:
        """Latents that are no map, the first ones."""
        return self.latent_dim - self.detail * PLACES**2


MIXTURE_CODES = 4_000  # at most so many codes are used to fit the mixture


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

    default_prior = "gaussians"  # of samples of nobody in particular, see `sample_prior`

    def __init__(self, config: VAEConfig = VAEConfig()):
        super().__init__()
        self.config = config
        d, k = config.latent_dim, config.components
        self.encoder, self.decoder = self.networks(config)
        # The mixture of `fit_prior`; buffers, so that it travels with the weights. Until then N(0, I).
        self.register_buffer("prior_weights", torch.full((k,), 1 / k))
        self.register_buffer("prior_means", torch.zeros(k, d))
        self.register_buffer("prior_scale", torch.eye(d))  # lower Cholesky factor of the shared covariance
        self.signatures = Signatures(config.n_people, config.exemplars)
        self.within = WithinClassNoise(config.whole_dim, d - config.whole_dim).requires_grad_(False)

    @staticmethod
    def networks(config: VAEConfig) -> tuple[nn.Module, nn.Module]:
        """The encoder, to ``[N, 2 latent_dim]``, and the decoder, from ``[N, latent_dim]``."""
        return Encoder(config), UpTower(config.whole_dim, config.widths, config.blocks, norm=True, detail=config.detail)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior of ink ``[N, 1, 128, 128]``: mean and log-variance, each ``[N, latent_dim]``."""
        mu, logvar = self.encoder(x).chunk(2, dim=1)
        return mu, logvar.clamp(-12, 6)  # beyond that one bad batch could overflow exp()

    def reparameterize(self, mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """z = mu + sigma * eps, eps ~ N(0, I): a sample through which gradients reach mu and logvar."""
        eps = torch.randn(mu.shape, device=mu.device, dtype=mu.dtype, generator=generator)
        return mu + torch.exp(0.5 * logvar) * eps  # [N, latent_dim]

    def decode(self, z: Tensor) -> Tensor:
        """Logits of ink ``[N, 1, 128, 128]`` for codes ``[N, latent_dim]``."""
        return self.decoder(z)

    def to_ink(self, logits: Tensor) -> Tensor:
        """Expected ink in [0, 1] under the model's likelihood."""
        if self.config.likelihood == "continuous_bernoulli":
            return ContinuousBernoulli(logits=logits.float()).mean
        return torch.sigmoid(logits)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Ink decoded from the posterior mean of `x`, ``[N, 1, 128, 128]``."""
        return self.to_ink(self.decode(self.encode(x)[0]))

    def sample_prior(self, n: int, generator: torch.Generator | None = None, prior: str = "gaussians") -> Tensor:
        """Codes ``[n, latent_dim]`` from the Gaussians of `fit_prior` or, with `prior` "normal", from N(0, I)."""
        device = self.prior_means.device
        eps = torch.randn(n, self.config.latent_dim, device=device, generator=generator)
        if prior == "normal":
            return eps
        which = torch.multinomial(self.prior_weights, n, replacement=True, generator=generator)
        return self.prior_means[which] + eps @ self.prior_scale.T

    def encode_person(self, y: Tensor, which: Tensor | int = 0, noise: Tensor | None = None) -> Tensor:
        """Codes ``[n, latent_dim]`` of stored signatures; parameters as of `people.Signatures.forward`."""
        return self.encode(self.signatures(y, which, noise))[0]

    def sample_person(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Codes ``[n, latent_dim]`` of the people with indices `y` ``[n]``, near those of their training signatures.

        A kernel density around the codes of warped training signatures. The kernel has the within-class covariance,
        scaled by `bandwidth`. A normal distribution around a person's *mean* code would be simpler and worse: codes of
        a person lie on a curved surface, and codes off the surface are decoded to a blur. A signature is warped before
        it is encoded for the same reason: warps follow the surface, noise on the code leaves it.
        """
        which = in_turn(y, self.config.exemplars, generator)
        noise = None
        if self.config.warped:
            noise = torch.randn(len(y), self.signatures.numbers, device=y.device, generator=generator)
        some = [slice(k, k + 64) for k in range(0, len(y), 64)]
        codes = [self.encode_person(y[k], which[k], None if noise is None else noise[k]) for k in some]
        return self.sample_around(torch.cat(codes), generator)

    def sample_around(self, codes: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Given codes ``[n, latent_dim]`` plus noise with the within-class covariance, scaled by `bandwidth`.

        With codes of anybody's signatures this makes duplicates; the person need not be known.
        """
        eps = torch.randn(codes.shape, device=codes.device, generator=generator)
        return codes + self.config.bandwidth * self.within(eps)

    @torch.no_grad()
    def start_from(self, other: VAE) -> None:
        """Begin with the encoder and decoder of a trained VAE of the same shape.

        Raises
        ------
        ValueError
            If the two networks differ in size.
        """
        names = ("latent_dim", "detail", "widths", "blocks")
        if any(getattr(self.config, name) != getattr(other.config, name) for name in names):
            raise ValueError(f"the VAE to start from needs the same {', '.join(names)}")
        self.encoder.load_state_dict(other.encoder.state_dict())
        self.decoder.load_state_dict(other.decoder.state_dict())
        self.within.load_state_dict(other.within.state_dict())


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(q(z|x) || N(0, I)) in nats, one number a latent: ``[N, D]`` (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar)


def reconstruction_loss(logits: Tensor, x: Tensor, config: VAEConfig) -> Tensor:
    """-log p(x|z), summed over pixels: ``[N]`` (nats).

    Parameters
    ----------
    logits, x
        Output of the decoder, and ink ``[N, 1, H, W]`` in [0, 1].
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
    variance = error.detach().float().mean() / pixels + 1e-6  # no gradient: at the optimum it vanishes
    return error / (2 * variance) + 0.5 * pixels * torch.log(2 * torch.pi * variance)


def elbo(
    vae: VAE,
    x: Tensor,
    beta: float = 1.0,
    generator: torch.Generator | None = None,
    encoder_input: Tensor | None = None,
) -> dict[str, Tensor]:
    """The negative evidence lower bound of ink `x`, and its parts.

    Parameters
    ----------
    vae
        The model.
    x
        Ink ``[N, 1, 128, 128]`` in [0, 1].
    beta
        Weight of the KL term now (the warm-up's value).
    generator
        Randomness of the reparameterisation.
    encoder_input
        What the encoder sees instead of `x`, for instance `x` with noise.

    Returns
    -------
    dict
        ``loss``, ``reconstruction``, ``kl`` (scalars: summed over pixels or latents, averaged over the batch)
        and ``logits``, ``mu``, ``logvar``. ``loss = reconstruction + beta * kl``.
    """
    mu, logvar = vae.encode(x if encoder_input is None else encoder_input)
    logits = vae.decode(vae.reparameterize(mu, logvar, generator))
    reconstruction = reconstruction_loss(logits, x, vae.config).mean()
    kl = kl_divergence(mu, logvar).mean(0).sum()
    return dict(
        loss=reconstruction + beta * kl, reconstruction=reconstruction, kl=kl, logits=logits, mu=mu, logvar=logvar
    )


def beta_at(progress: float, config: VAEConfig) -> float:
    """KL weight when the share `progress` of the training is over: a linear rise, then `config.beta`."""
    return config.beta * min(1.0, progress / config.warmup) if config.warmup else config.beta


def bits_per_pixel(loss: float, pixels: int = 128 * 128) -> float:
    """A bound in nats per image as bits per pixel."""
    return loss / (math.log(2) * pixels)


def linear_active_units(images: Tensor, noise_variance: float) -> tuple[int, Tensor]:
    """How many latents a *linear* VAE would use on these data, and the spectrum of the data.

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
def posterior_means(vae: VAE, images: Tensor, batch_size: int = 256) -> Tensor:
    """Codes float64 ``[N, latent_dim]``, on the CPU, of ink stored as uint8 ``[N, 128, 128]`` (255 = ink)."""
    parts = images.split(batch_size)
    return torch.cat([vae.encode(part[:, None].float() / 255)[0].double().cpu() for part in parts])


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
def fit_prior(
    vae: VAE, images: Tensor, y: Tensor | None = None, seed: int = 0, within: WithinClassNoise | None = None
) -> VAE:
    """Fit a Gaussian mixture to the posterior means of `x` and store it in the model's buffers.

    The codes of real signatures fill only a part of N(0, I); a mixture samples from that part (Ghosh et al. 2020).
    With `y` training signatures of each person and the within-class covariance are stored too. Deterministic by `seed`.

    Parameters
    ----------
    vae
        A trained model.
    images
        Training ink as uint8 ``[N, 128, 128]``; never held-out signatures.
    y
        Person index of each, int64 ``[N]``, below ``vae.config.n_people``.
    within
        The within-class covariance of a larger set, where that is known; see `WithinClassNoise.fit`.
    """
    from sklearn.mixture import GaussianMixture  # heavy to import, needed once a training

    codes = posterior_means(vae, images)
    some = codes[torch.randperm(len(codes), generator=torch.Generator().manual_seed(seed))[:MIXTURE_CODES]]
    k = min(vae.config.components, len(some))
    # One covariance for all components: twenty would need thousands of codes
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
def meet(vae: VAE, images: Tensor, y: Tensor, n_people: int, exemplars: int = 3, warped: bool = True) -> VAE:
    """A copy of the networks for other people: it stores their signatures and their within-class covariance.

    Parameters
    ----------
    vae
        A trained model; the covariance is shrunk towards its own.
    images, y
        Training ink uint8 ``[N, 128, 128]`` and person indices ``[N]`` below `n_people`.
    exemplars, warped
        Signatures to store of each person, and whether samples begin with warped ones; see `VAEConfig`.
    """
    other = VAE(replace(vae.config, n_people=n_people, exemplars=exemplars, warped=warped)).to(images.device).eval()
    other.start_from(vae)
    _fit_people(other, images, y, posterior_means(other, images), vae.within)
    return other


def _fit_people(vae: VAE, images: Tensor, y: Tensor, codes: Tensor, known: WithinClassNoise | None) -> None:
    """Store signatures of every person, and the pooled covariance of codes around the people's means."""
    vae.signatures.remember(images, y.to(images.device))
    y = y.cpu()
    count = y.bincount(minlength=vae.config.n_people)[:, None]
    sums = torch.zeros(vae.config.n_people, codes.shape[1], dtype=codes.dtype).index_add_(0, y, codes)
    means = sums / count.clamp(min=1)
    degrees = max(1, len(codes) - int((count > 0).sum()))  # a mean estimated for each person costs one
    vae.within.fit(codes - means[y], degrees, known)
