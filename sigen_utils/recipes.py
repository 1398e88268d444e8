"""How each model is trained: configurations of the model and of its training, and the functions that train it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .augment import PERSON_MOVES, AugmentConfig
from .data import SignatureSet
from .models import embedding, gan, vae
from .models.autoencoder import AutoencoderConfig
from .models.layers import PLACES
from .models.prior import PriorConfig
from .synthesis import Corpus
from .training.checkpoint import Pretrained, Run
from .training.embedding import EmbeddingTrainer
from .training.gan import GANTrainer
from .training.loop import TrainConfig, fit
from .training.prior import AutoencoderTrainer, CodesConfig, PriorTrainer
from .training.vae import VAETrainer

# How the student reports trained: fixed rates, batch 64, rotation and resized crop, Gaussian noise on the images
REPORT_AUGMENT = AugmentConfig(shear=0.0, elastic=0.0, noise=0.1)
VAE_REPORT = TrainConfig(batch_size=64, learning_rate=1e-5, ema_images=1.0, noise=0.0, reals=REPORT_AUGMENT)
GAN_REPORT = TrainConfig(batch_size=64, checks=8, keep_best=False, reals=REPORT_AUGMENT)


# From random weights; both sides are moved alike, and anew for each batch, or D would know the class by heart. Batches
# are small: a game is played in turns
GAN_ALONE = TrainConfig(batch_size=16, shift=6, reals=PERSON_MOVES)


# Networks that know signatures only have to meet a class. Moved ink has not quite the edges of a pen's: it keeps a VAE
# from learning the class by heart, and where it is all that the decoder is asked for, its edges are what is drawn
VAE_ON = TrainConfig(learning_rate=5e-4, reals=AugmentConfig(probability=0.3))
GAN_ON = TrainConfig(batch_size=16, reals=AugmentConfig(probability=0.0))


def vae_from(start: Run | Pretrained | None, data: SignatureSet) -> tuple[vae.VAEConfig, TrainConfig]:
    """Configurations of our VAE for a class that goes on from `start`: no warm-up, it is warm."""
    people = dict(n_people=data.n_people, exemplars=most_of_a_person(data))
    if start is None:
        return vae.VAEConfig(latent_dim=64 + 4 * PLACES**2, detail=4, **people), TrainConfig()
    return replace(start.model.config, warmup=0.0, **people), VAE_ON


def gan_from(start: Run | Pretrained | None, data: SignatureSet) -> tuple[gan.GANConfig, TrainConfig]:
    """Configurations of our GAN for a class, a VAE-GAN that goes on from `start`; without one, `gan_alone_from`."""
    if start is None:
        return gan_alone_from(data)
    people = dict(n_people=data.n_people, exemplars=most_of_a_person(data))
    sizes = dict(embedding_dim=len(start.judge["describe.weight"])) if start.judge else {}
    return gan.GANConfig.starting_from(replace(start.model.config, **people), **sizes), GAN_ON


def gan_alone_from(data: SignatureSet) -> tuple[gan.GANConfig, TrainConfig]:
    """Configurations of a GAN for a class in which no VAE and no practice has part: both networks begin at random.

    A person is told by a thumbnail of one of the training signatures, moved; half of each batch is the redrawing of
    genuine ones from their own thumbnails (as Isola et al. 2017 pair a game with a loss on pixels), by which G finds
    in seconds where ink belongs, and the game is left with what such a loss cannot say: how strokes look.
    """
    people = dict(n_people=data.n_people, exemplars=most_of_a_person(data), people_by="thumbnails")
    sizes = dict(latent_dim=gan.Thumbnail.WHOLE**2 + 4 * PLACES**2, detail=4)
    game = dict(fidelity=0.01, penalty=0.2, penalty_end=0.1, penalty_every=1, render_fade=(0.0, 0.0), fade_in=0.0)
    return gan.GANConfig(**people, **sizes, **game, spread=0.02), GAN_ALONE


def most_of_a_person(data: SignatureSet) -> int:
    """Training signatures of the person who has most."""
    return int(data.train.labels.bincount().max())


AUTOENCODER = CodesConfig(batch_size=32, learning_rate=2.5e-3, warmup_steps=100, noise=0.0, checks=10)
PRIOR = CodesConfig(batch_size=16, learning_rate=1e-3, rate_end=0.02, ema_images=30_000.0, checks=10)  # 16 writers
PRIOR_MEETS = replace(PRIOR, batch_size=8, learning_rate=2e-4, ema_images=5_000.0, warmup_steps=50, decay_from=0.3)


def fit_autoencoder(data: Corpus | SignatureSet, config: AutoencoderConfig, run_dir: str | Path, **options) -> Run:
    """Train an autoencoder; `options` and the result are those of `fit`."""
    options.setdefault("train", AUTOENCODER)
    return fit(AutoencoderTrainer, data, config, run_dir, **options)


def prior_from(start: Run, data: Corpus | SignatureSet) -> tuple[PriorConfig, CodesConfig]:
    """Configurations of a flow on the codes of the run `start`: on a corpus, or for a class that it meets."""
    n_people = 0 if isinstance(data, Corpus) else data.n_people
    recipe = PRIOR if isinstance(data, Corpus) else PRIOR_MEETS
    if start.kind == "prior":
        return replace(start.model.config, n_people=n_people), recipe
    return PriorConfig(autoencoder=start.model.config, n_people=n_people), recipe


def fit_prior(data: Corpus | SignatureSet, config: PriorConfig, run_dir: str | Path, **options) -> Run:
    """Train a flow on the codes of an autoencoder; `options` and the result are those of `fit`."""
    options.setdefault("train", PRIOR)
    return fit(PriorTrainer, data, config, run_dir, **options)


def fit_vae(data: SignatureSet, config: vae.VAEConfig, run_dir: str | Path, **options) -> Run:
    """Train a VAE; `options` and the result are those of `fit`."""
    options.setdefault("train", VAE_REPORT if config.architecture == "report" else TrainConfig())
    return fit(VAETrainer, data, config, run_dir, **options)


def fit_gan(data: SignatureSet, config: gan.GANConfig, run_dir: str | Path, **options) -> Run:
    """Train a GAN; `options` and the result are those of `fit`."""
    options.setdefault("train", GAN_REPORT if config.recipe == "report" else GAN_ALONE)
    return fit(GANTrainer, data, config, run_dir, **options)


RULER = TrainConfig(
    batch_size=128,
    learning_rate=1e-3,
    ema_images=10_000.0,
    reals=AugmentConfig(rotation=8.0, scale=0.15, shear=0.15, translation=5.0, elastic=1.5),
)


def fit_ruler(data: SignatureSet, config: embedding.EmbeddingConfig, run_dir: str | Path, **options) -> Run:
    """Train the project's own ruler, on a crowd; `options` and the result are those of `fit`."""
    options.setdefault("train", RULER)
    return fit(EmbeddingTrainer, data, config, run_dir, **options)
