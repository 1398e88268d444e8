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

from .augment import AugmentConfig
from .data import SignatureSet
from .models.baselines import ReportVAEConfig
from .models.embedding import EmbeddingConfig
from .models.gan import GANConfig
from .models.prior_gan import PriorGANConfig
from .models.prior_vae import PriorConfig
from .models.vae import VAEConfig
from .synthesis import Corpus
from .training.checkpoint import Run
from .training.embedding import EmbeddingTrainer
from .training.gan import GANTrainer, PriorGANTrainConfig, PriorGANTrainer
from .training.loop import TrainConfig, Trainer, fit
from .training.prior import PriorTrainConfig, PriorTrainer
from .training.vae import ModelTrainConfig, ReportVAETrainer, VAETrainer

PRIOR = "weights/prior"  # a start: the committed run of ``corpus_prior``


@dataclass(frozen=True)
class Recipe:
    """How one model is made."""

    name: str
    trainer: type[Trainer]
    model: Any  # the configuration of the network
    train: TrainConfig
    images: Mapping[str, int]  # signatures seen in the training, by profile
    start: str | None = None  # what it continues from: committed weights or another recipe's run; None: random weights
    people: bool = False  # whether the model knows the people of the class

    def for_class(self, data: SignatureSet | Corpus, start: Run | None = None) -> Recipe:
        """The recipe for the people of `data`, and of the size of the networks `start` that it continues from."""
        changes: dict[str, Any] = dict(n_people=data.n_people) if self.people else {}
        if start is not None:
            known = {one.name for one in fields(self.model)}
            begun = start.model.config
            sizes = dict(vae=begun) if isinstance(begun, VAEConfig) else dict(vae=begun.vae, flow=begun.flow)
            changes |= {name: size for name, size in sizes.items() if name in known}
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
        start: Run | None = None,
        **options,
    ) -> Run:
        """Train this recipe of `for_class` on `images` signatures; `options` and the result are those of `loop.fit`."""
        options |= dict(steps=self.steps(images), train=self.train, start=start, recipe=self.name)
        return fit(self.trainer, data, self.model, run_dir, **options)


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

_REPORTED_GAN = GANConfig(
    network="dcgan",
    side=128,
    norm_d=True,
    penalty=0.0,
    augment_generated=False,
    ema_images=1.0,
    rates=(2e-4, 2e-3),
    adam_betas=(0.5, 0.999),
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        # As reported
        Recipe(
            "report_vae",
            ReportVAETrainer,
            ReportVAEConfig(),
            ModelTrainConfig(**_REPORTS, learning_rate=1e-5, ema_images=1.0, warmup_steps=0),
            images=dict(smoke=128, cpu=16_000, gpu=384_000),
        ),
        Recipe(
            "report_gan",
            GANTrainer,
            _REPORTED_GAN,
            TrainConfig(**_REPORTS, rate_end=1.0, checks=8),
            images=dict(smoke=128, cpu=12_800, gpu=384_000),
        ),
        # On the class alone, from random weights
        Recipe(
            "vae_alone",
            VAETrainer,
            VAEConfig(),
            ModelTrainConfig(batch_size=32, learning_rate=2.5e-3, checks=10),
            images=dict(smoke=128, cpu=16_000, gpu=200_000),
        ),
        Recipe(
            "prior_alone",
            PriorTrainer,
            PriorConfig(),
            PriorTrainConfig(batch_size=16, learning_rate=1e-3, rate_end=0.02, checks=10, replay_writers=0),
            images=dict(smoke=64, cpu=12_800, gpu=400_000),
            start="vae_alone",
            people=True,
        ),
        Recipe(
            "gan_alone",
            GANTrainer,
            GANConfig(),
            TrainConfig(batch_size=16, augment=AugmentConfig(shear=0.0, elastic=0.0), checks=8),
            images=dict(smoke=64, cpu=24_000, gpu=640_000),
        ),
        # From the committed weights: the models of the lesson
        Recipe(
            "vae",
            PriorTrainer,
            PriorConfig(),
            PriorTrainConfig(
                batch_size=8,
                learning_rate=2e-4,
                rate_end=0.02,
                ema_images=5_000.0,
                checks=10,
                warmup_steps=50,
                decay_from=0.3,
            ),
            images=dict(smoke=64, cpu=9_600, gpu=32_000),
            start=PRIOR,
            people=True,
        ),
        Recipe(
            "gan",
            PriorGANTrainer,
            PriorGANConfig(),
            PriorGANTrainConfig(batch_size=8, augment=AugmentConfig(elastic=0.0), checks=5),
            images=dict(smoke=32, cpu=2_400, gpu=20_000),
            start="vae",
            people=True,
        ),
        # On a corpus of synthetic writers, for `weights/`; as long on every machine
        Recipe(
            "corpus_vae",
            VAETrainer,
            VAEConfig(),
            ModelTrainConfig(batch_size=32, learning_rate=2.5e-3, checks=10),
            images=dict(smoke=64, cpu=60_000, gpu=60_000),
        ),
        Recipe(
            "corpus_decoder",
            VAETrainer,
            VAEConfig(least_noise=0.0, train_encoder=False),
            ModelTrainConfig(batch_size=32, learning_rate=1e-3, checks=10),
            images=dict(smoke=64, cpu=20_000, gpu=20_000),
            start="corpus_vae",
        ),
        Recipe(
            "corpus_prior",
            PriorTrainer,
            PriorConfig(),
            PriorTrainConfig(batch_size=16, learning_rate=1e-3, rate_end=0.02, ema_images=30_000.0, checks=10),
            images=dict(smoke=128, cpu=512_000, gpu=20_000_000),
            start="corpus_decoder",
        ),
        Recipe(
            "corpus_gan_alone",
            GANTrainer,
            GANConfig(),
            TrainConfig(batch_size=16, checks=8, augment=AugmentConfig(probability=0.0)),
            images=dict(smoke=64, cpu=192_000, gpu=2_000_000),
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
        ),
    )
}
"""Every recipe by its name."""

# The repair of the reports' GAN from noise, a field at a time; every step keeps those before it
REPAIRS: tuple[tuple[str, str, Any], ...] = (
    ("smaller batches", "train.batch_size", 16),
    ("balanced rates", "model.rates", GANConfig().rates),
    ("no pixel noise", "train.augment.noise", 0.0),
    ("no lattice", "model.network", "resampled"),
    ("half the size", "model.side", GANConfig().side),
    ("no norm in D", "model.norm_d", False),
    ("R1 + R2", "model.penalty", GANConfig().penalty),
    ("no momentum in Adam", "model.adam_betas", GANConfig().adam_betas),
    ("both sides augmented", "model.augment_generated", True),
    ("averaged weights", "model.ema_images", GANConfig().ema_images),
    ("falling rates", "train.rate_end", TrainConfig().rate_end),
)


def repair_steps() -> dict[str, Recipe]:
    """The recipes ``as reported`` and after each of `REPAIRS`, by name; the last one is that of ``gan_alone``."""
    steps = {"as reported": RECIPES["report_gan"]}
    for name, field, value in REPAIRS:
        steps[name] = list(steps.values())[-1].changed(field, value)
    return steps
