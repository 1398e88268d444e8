"""Every recipe in one table: a network, its training, what it continues from, and for how many images.

`RECIPES` is the table. `Recipe.for_class` adds the number of people of a class, `Recipe.fit` trains. An
arm of an ablation is a recipe with one field changed (`Recipe.changed`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from .augment import PERSON_WARPS, AugmentConfig
from .data import SignatureSet
from .models.autoencoder import AutoencoderConfig
from .models.baselines import ReportGANConfig
from .models.embedding import EmbeddingConfig
from .models.gan import SIZES, GANConfig, Thumbnail
from .models.layers import PLACES
from .models.prior import PriorConfig
from .models.vae import VAEConfig
from .synthesis import Corpus
from .training.baselines import ReportGANTrainer, ReportVAETrainer
from .training.checkpoint import Pretrained, Run
from .training.embedding import EmbeddingTrainer
from .training.gan import GANTrainer
from .training.loop import TrainConfig, Trainer, fit
from .training.prior import AutoencoderTrainer, CodesConfig, PriorTrainer
from .training.vae import VAETrainer

PRETRAINED = "weights/pretrained"  # a start: the committed networks, `checkpoint.load_pretrained`
LEARNED_PRIOR = "weights/prior"  # a start: the committed run of ``corpus_prior``


@dataclass(frozen=True)
class Recipe:
    """How one model is made."""

    name: str
    trainer: type[Trainer]
    model: Any  # the configuration of the network
    train: TrainConfig
    images: Mapping[str, int]  # signatures seen in the training, by profile
    start: str | None = None  # what it continues from: committed weights or another recipe's run; None: random weights
    people: bool = True  # whether the model knows the people of the class
    prior: str | None = None  # of a VAE's samples, see `Run.sample`

    def for_class(self, data: SignatureSet | Corpus, start: Run | Pretrained | None = None) -> Recipe:
        """The recipe for the people of `data`, and of the size of the networks `start` that it continues from."""
        known = {one.name for one in fields(self.model)}
        changes: dict[str, Any] = {}
        if self.people:
            changes |= dict(n_people=data.n_people)
        if self.people and "exemplars" in known:
            changes |= dict(exemplars=int(data.train.labels.bincount().max()))
        if start is not None:
            changes |= _sizes(start.model.config, known)
        if start is not None and start.discriminator is not None and "embedding_dim" in known:
            changes |= dict(embedding_dim=len(start.discriminator["describe.weight"]))
        return replace(self, model=replace(self.model, **changes))

    def changed(self, field: str, value: Any) -> Recipe:
        """The same recipe with one field changed, named by its place: ``model.beta``, ``train.augment.probability``.

        Raises
        ------
        ValueError
            If there is no such field, or it has this value already.
        """
        return _changed(self, field, value)

    def steps(self, images: int) -> int:
        """Steps that see at least so many images."""
        return math.ceil(images / (self.train.batch_size * self.trainer.signatures))

    def fit(
        self,
        data: SignatureSet | Corpus,
        run_dir: str | Path,
        images: int,
        start: Run | Pretrained | None = None,
        **options,
    ) -> Run:
        """Train this recipe of `for_class` on `images` signatures; `options` and the result are those of `loop.fit`."""
        options |= dict(steps=self.steps(images), train=self.train, start=start, recipe=self.name)
        return fit(self.trainer, data, self.model, run_dir, **options)


def _sizes(start: Any, known: set[str]) -> dict[str, Any]:
    """What a network with the fields `known` takes over from the configuration of the one that it continues from."""
    if isinstance(start, AutoencoderConfig):
        return dict(autoencoder=start)
    names = ("autoencoder", "flow") if isinstance(start, PriorConfig) else SIZES
    return {name: getattr(start, name) for name in names if name in known}


def _changed(config: Any, field: str, value: Any) -> Any:
    first, _, rest = field.partition(".")
    if first not in {one.name for one in fields(config)}:
        raise ValueError(f"{type(config).__name__} has no field {first!r}")
    was = getattr(config, first)
    new = _changed(was, rest, value) if rest else value
    if new == was:
        raise ValueError(f"{field} is {value!r} already")
    return replace(config, **{first: new})


# The reports trained at fixed rates, on pictures that were turned, cropped at random and given Gaussian noise
_REPORTS = dict(batch_size=64, augment=AugmentConfig(shear=0.0, elastic=0.0, noise=0.1))

# From random weights: half of each batch is the reconstruction of genuine signatures from their own thumbnails (a loss
# on pixels beside the adversarial one, Isola et al. 2017). It soon says where ink belongs; the adversarial loss says
# how strokes look. Real and generated signatures are warped alike, or D would memorise the class
_FROM_NOISE = GANConfig(
    conditioning="thumbnails",
    n_people=1,
    latent_dim=Thumbnail.WHOLE**2 + 4 * PLACES**2,
    detail=4,
    noise_scale=0.02,
    reconstruction_weight=0.01,
    ema_images=10_000.0,
    learning_rate_g=3e-4,
    learning_rate_d=4e-4,
)

# The size of the committed networks
_LARGE = dict(latent_dim=128 + 4 * PLACES**2, detail=4, widths=(40, 80, 128, 192))

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "report_vae",
            ReportVAETrainer,
            VAEConfig(latent_dim=128, likelihood="mse", warmup=0.0),
            TrainConfig(**_REPORTS, learning_rate=1e-5, ema_images=1.0, noise=0.0),
            images=dict(smoke=128, cpu=48_000, gpu=384_000),
            people=False,
        ),
        Recipe(
            "vae",
            VAETrainer,
            VAEConfig(latent_dim=64 + 4 * PLACES**2, detail=4),
            TrainConfig(),
            images=dict(smoke=128, cpu=37_000, gpu=384_000),
        ),
        # Warped ink keeps a VAE from memorising the class, but its edges are not quite a pen's: a decoder trained on
        # nothing else would draw such edges
        Recipe(
            "vae_pretrained",
            VAETrainer,
            VAEConfig(**_LARGE, beta=0.02, warmup=0.0),  # it starts trained
            TrainConfig(learning_rate=5e-4, augment=AugmentConfig(probability=0.3)),
            images=dict(smoke=128, cpu=28_800, gpu=384_000),
            start=PRETRAINED,
        ),
        Recipe(
            "report_gan",
            ReportGANTrainer,
            ReportGANConfig(),
            TrainConfig(**_REPORTS, checks=8, keep_best=False),
            images=dict(smoke=128, cpu=46_400, gpu=384_000),
            people=False,
        ),
        Recipe(
            "gan_alone",
            GANTrainer,
            _FROM_NOISE,
            TrainConfig(batch_size=16, shift=6, augment=PERSON_WARPS),
            images=dict(smoke=32, cpu=16_400, gpu=640_000),
        ),
        Recipe(
            "gan",
            GANTrainer,
            GANConfig(**_LARGE),
            TrainConfig(batch_size=16, augment=replace(PERSON_WARPS, probability=0.0)),
            images=dict(smoke=64, cpu=2_400, gpu=16_000),
            start="vae_pretrained",
        ),
        # On a corpus of synthetic writers, for `weights/`; as long on every machine
        Recipe(
            "corpus_vae",
            VAETrainer,
            VAEConfig(**_LARGE, beta=0.02, components=1),
            TrainConfig(batch_size=256, learning_rate=1.5e-3, ema_images=50_000.0),
            images=dict(smoke=512, cpu=2_700_000, gpu=2_700_000),
        ),
        Recipe(
            "corpus_gan",
            GANTrainer,
            GANConfig(**_LARGE, warped=False, ema_images=5_000.0, learning_rate_d=4e-4),
            TrainConfig(batch_size=32, augment=AugmentConfig(elastic=0.0), watch=False),
            images=dict(smoke=64, cpu=40_000, gpu=40_000),
            start="corpus_vae",
            people=False,
        ),
        Recipe(
            "autoencoder",
            AutoencoderTrainer,
            AutoencoderConfig(),
            CodesConfig(batch_size=32, learning_rate=2.5e-3, warmup_steps=100, noise=0.0, checks=10),
            images=dict(smoke=64, cpu=60_000, gpu=60_000),
            people=False,
        ),
        Recipe(
            "corpus_prior",
            PriorTrainer,
            PriorConfig(),
            CodesConfig(batch_size=16, learning_rate=1e-3, rate_end=0.02, ema_images=30_000.0, checks=10),  # 16 writers
            images=dict(smoke=128, cpu=294_400, gpu=20_000_000),
            start="autoencoder",
            people=False,
        ),
        Recipe(
            "prior",
            PriorTrainer,
            PriorConfig(),
            CodesConfig(
                batch_size=8,
                learning_rate=2e-4,
                rate_end=0.02,
                ema_images=5_000.0,
                checks=10,
                warmup_steps=50,
                decay_from=0.3,
            ),
            images=dict(smoke=64, cpu=32_000, gpu=32_000),
            start=LEARNED_PRIOR,
        ),
        Recipe(
            "extractor",
            EmbeddingTrainer,
            EmbeddingConfig(),
            TrainConfig(
                batch_size=128,
                learning_rate=1e-3,
                ema_images=10_000.0,
                augment=AugmentConfig(rotation=8.0, scale=0.15, shear=0.15, translation=5.0, elastic=1.5),
            ),
            images=dict(smoke=256, cpu=200_000, gpu=200_000),
            people=False,
        ),
    )
}
"""Every recipe by its name."""
