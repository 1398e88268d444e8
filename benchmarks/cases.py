"""What is measured: each benchmark is a function that returns its ways by name, "plain" and "ours" first.

Alternatives are imported by name, in their first call, so that nothing but requirements-dev.txt has to be installed.
"""

from __future__ import annotations

import functools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import plain
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from sigen_utils import paths, registration
from sigen_utils.augment import AugmentConfig, augment
from sigen_utils.data import SignatureSet, batch_index
from sigen_utils.metrics.distances import frechet_distance
from sigen_utils.recipes import PRIOR, RECIPES
from sigen_utils.render import blur
from sigen_utils.sheets import ExtractionConfig, extract_sheet
from sigen_utils.sheets.truth import score_cells
from sigen_utils.synthesis import Corpus, CrowdConfig, SynthesisConfig, synthesize
from sigen_utils.training.checkpoint import load_run
from sigen_utils.training.loop import Trainer
from sigen_utils.training.progress import step_generator

BATCH, PEOPLE = 64, 60  # signatures at once; synthetic writers, of four signatures each
UNITS: dict[str, Callable[[float], float]] = {  # a unit -> seconds an item in it
    "images a second": lambda seconds: 1 / seconds,
    "ms a pair": lambda seconds: 1000 * seconds,
    "ms a distance": lambda seconds: 1000 * seconds,
    "seconds a page": lambda seconds: seconds,
}


@dataclass(frozen=True)
class Way:
    """One way of doing the work."""

    run: Callable[[], int]  # does a piece of it; returns how many items that was
    package: str = ""  # what an alternative needs; it may be missing or fail
    notes: Callable[[], dict[str, float]] = dict  # what else is measured of it, once, untimed


Ways = dict[str, Way]


class Setting:
    """What benchmarks share: a device, a folder to write to, and synthetic signatures, drawn when they are needed."""

    def __init__(self, device: torch.device, folder: Path):
        self.device, self.folder = device, folder

    @functools.cached_property
    def corpus(self) -> Corpus:
        drawn = Corpus.draw(CrowdConfig(writers=PEOPLE, per_writer=4), progress=None)
        return Corpus(drawn.bits, held_out=4)

    @functools.cached_property
    def signatures(self) -> SignatureSet:
        every = torch.arange(len(self.corpus))
        images, people = (255 * self.corpus.ink(every)[:, 0]).to(torch.uint8), [str(k) for k in range(PEOPLE)]
        return SignatureSet(images, every // 4, people, [f"{k // 4}/{k % 4}.png" for k in every], every % 4 == 3)

    def batches(self) -> Iterator[Tensor]:
        """`plain.batches` of the training signatures, from files."""
        folder = self.folder / "png"
        if not folder.exists():
            (folder / "all").mkdir(parents=True)
            for k, picture in enumerate(self.signatures.train.images.numpy()):
                Image.fromarray(255 - picture).save(folder / "all" / f"{k}.png")
        return plain.batches(folder, BATCH, self.device)


def steps_of(trainer: Trainer) -> Callable[[], int]:
    """The steps of a trainer, as `Trainer.fit` makes them."""

    def step() -> int:
        index = batch_index(trainer.n_items, trainer.config.batch_size, trainer.steps_done, 0)
        trainer.step(index.to(trainer.device), 0.5, step_generator(0, 0, trainer.steps_done, trainer.device))
        trainer.steps_done += 1
        return trainer.batch

    return step


def augment_ways(setting: Setting) -> Ways:
    from_files, held = setting.batches(), setting.signatures.train.images.to(setting.device)
    generator, config = torch.Generator(setting.device).manual_seed(0), AugmentConfig(noise=0.1)
    far = dict(degrees=config.rotation, translate=2 * (config.translation / 128,))
    far |= dict(scale=(1 - config.scale, 1 + config.scale), shear=math.degrees(math.atan(config.shear)))
    bilinear = dict(interpolation=InterpolationMode.BILINEAR)
    parts = [v2.RandomAffine(**far, **bilinear), v2.ElasticTransform(**bilinear), v2.GaussianNoise(0, config.noise)]
    torchvision = v2.Compose(parts)

    @functools.cache
    def kornia() -> Callable[[Tensor], Tensor]:
        k, p = import_module("kornia.augmentation"), config.probability
        noise = k.RandomGaussianNoise(0.0, config.noise, p=p)
        return torch.nn.Sequential(k.RandomAffine(**far, p=p), k.RandomElasticTransform(p=p), noise)

    def warped(warp: Callable[[Tensor], Tensor]) -> Callable[[], int]:
        return lambda: len(warp(held[torch.randint(len(held), (BATCH,), device=held.device)][:, None].float() / 255))

    return {
        "plain": Way(lambda: len(next(from_files))),
        "ours": Way(warped(lambda x: augment(x, config, generator))),
        "torchvision v2, a picture at a time": Way(warped(lambda x: torch.stack([torchvision(one) for one in x]))),
        "torchvision v2, one warp for all of a batch": Way(warped(torchvision)),
        "kornia": Way(warped(lambda x: kornia()(x).clamp(0, 1)), "kornia"),
    }


def report_ways(setting: Setting, recipe: str, plain_steps: Callable) -> Ways:
    made, data = RECIPES[recipe], setting.signatures
    ours = steps_of(made.trainer(data, made.model, made.train, setting.device))
    return {"plain": Way(plain_steps(setting.batches(), setting.device)), "ours": Way(ours)}


def flow_ways(setting: Setting) -> Ways:
    start, data = load_run(paths.REPO / PRIOR, setting.device), setting.corpus
    recipe = RECIPES["corpus_prior"].for_class(data, start)
    ours, halved = (recipe.trainer(data, recipe.model, recipe.train, setting.device, start=start.model) for _ in "ab")
    halved.dtype = torch.bfloat16

    def ink() -> Tensor:
        writers = torch.randperm(data.train.n_writers)[: BATCH // data.per_writer]
        index = writers[:, None] * data.per_writer + torch.arange(data.per_writer)
        return data.ink(index.flatten(), setting.device).unflatten(0, index.shape)

    ways = {"plain": Way(plain.flow_steps(ours.model, ink)), "ours": Way(steps_of(ours))}
    if ours.dtype == torch.float32:  # what `device.precision` decides against
        ways["ours in bfloat16"] = Way(steps_of(halved))
    return ways


def sample_ways(setting: Setting) -> Ways:
    ours, contiguous = (load_run(paths.REPO / PRIOR, setting.device).model for _ in "ab")
    contiguous.to(memory_format=torch.contiguous_format)
    generator = torch.Generator(setting.device).manual_seed(0)
    return {
        "plain": Way(lambda: len(plain.sample(contiguous, BATCH, generator))),
        "ours": Way(lambda: len(ours.new(BATCH, 1, generator))),
    }


def features(n: int = 736, d: int = 112) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of made-up features ``[n, d]`` that are correlated and lie apart."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / d**0.5 + rng.normal(size=d) for _ in range(2))
    return a, b


def frechet_ways(setting: Setting) -> Ways:
    a, b = features()

    def fidelity() -> float:
        moments = [dict(mu=x.mean(0), sigma=np.cov(x.T)) for x in (a, b)]
        return next(iter(import_module("torch_fidelity.metric_fid").fid_statistics_to_metric(*moments, False).values()))

    def clean() -> float:
        moments = (f(x) for x in (a, b) for f in (lambda x: x.mean(0), lambda x: np.cov(x.T)))
        return import_module("cleanfid.fid").frechet_distance(*moments)

    def way(distance: Callable[[], float], package: str = "") -> Way:
        return Way(lambda: len([distance()]), package, lambda: {"distance": distance()})

    ways = {"plain": way(lambda: plain.frechet(a, b)), "ours": way(lambda: frechet_distance(a, b))}
    return ways | {"torch-fidelity": way(fidelity, "torch-fidelity"), "clean-fid": way(clean, "clean-fid")}


def registration_ways(setting: Setting) -> Ways:
    x = setting.corpus.ink(torch.arange(len(setting.corpus)), setting.device).unflatten(0, (-1, 4)).transpose(0, 1)
    a, b = x.flatten(0, 1), x.roll(-1, 0).flatten(0, 1)

    def way(register: Callable[[], Tensor]) -> Way:
        return Way(lambda: len(register()), notes=lambda: left(register()[:8]))

    def left(displacements: Tensor) -> dict[str, float]:
        soft_a, soft_b = blur(a[:8], 3.0), blur(b[:8], 3.0)
        before, after = ((s - soft_b).square().sum() for s in (soft_a, plain.moved(soft_a, displacements)))
        return {"difference left": (after / before).item()}

    return {
        "plain": way(lambda: plain.register(a[:8], b[:8])),
        "ours": way(lambda: registration.register(a, b)[0]),
    }


def page_ways(setting: Setting, megapixels: int) -> Ways:
    """Ways to find the cells of one synthetic sheet, on one core."""
    cv2.setNumThreads(1)
    import_module("threadpoolctl").threadpool_limits(1)  # of scikit-learn; it stays: pages are measured last
    sheets, path = setting.folder / "sheets", setting.folder / f"{megapixels}.jpg"
    if not sheets.exists():
        synthesize(sheets, SynthesisConfig(people=12), progress=None)
    truth = json.loads((sheets / "truth.json").read_text())["sheets"][0]
    with Image.open(sheets / truth["file"]) as photo:
        scale = (1e6 * megapixels / (photo.width * photo.height)) ** 0.5
        size = (round(photo.width * scale), round(photo.height * scale))
        photo.resize(size, Image.Resampling.BICUBIC).save(path)
    true = [scale * np.array(cell["quad"]) for cell in truth["cells"]]

    def img2table() -> list[np.ndarray]:
        tables = import_module("img2table.document").Image(src=str(path)).extract_tables()
        boxes = (cell.bbox for table in tables for row in table.content.values() for cell in row)
        return [corners(box.x1, box.y1, box.x2, box.y2) for box in boxes]

    def corners(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
        return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])

    def alone() -> dict[str, float]:
        command = [sys.executable, Path(__file__).with_name("first_page.py"), path]
        one_core = os.environ | dict(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=one_core).stdout)

    def way(find: Callable[[], list[np.ndarray]], package: str = "", more: Callable[[], dict] = dict) -> Way:
        def notes() -> dict[str, float]:
            found = find()
            return {"cells found": score_cells(found, [None] * len(found), true, true)["found"], "of": len(true)}

        return Way(lambda: len([find()]), package, lambda: notes() | more())

    return {
        "plain": way(lambda: [corners(*box) for box in plain.table_cells(path)]),
        "ours": way(lambda: [cell.quad for cell in extract_sheet(path, ExtractionConfig()).cells], more=alone),
        "img2table": way(img2table, "img2table"),
    }


@dataclass(frozen=True)
class Benchmark:
    """What is measured, in words and in `UNITS`, and its ways in a `Setting`."""

    name: str
    unit: str
    what: str
    ways: Callable[[Setting], Ways]


_SPEED, _TRAINING = "images a second", f"end to end, batches of {BATCH}"
_VAE, _GAN = (
    functools.partial(report_ways, recipe=recipe, plain_steps=steps)
    for recipe, steps in (("report_vae", plain.vae_steps), ("report_gan", plain.gan_steps))
)
BENCHMARKS = [
    Benchmark("augment", _SPEED, f"a batch of {BATCH}, augmented; plain also opens its files", augment_ways),
    Benchmark("report_vae", _SPEED, f"training of the reports' VAE, {_TRAINING}", _VAE),
    Benchmark("report_gan", _SPEED, f"training of the reports' GAN, {_TRAINING}", _GAN),
    Benchmark("prior_step", _SPEED, f"training of the flow, the learned prior, batches of {BATCH}", flow_ways),
    Benchmark("sample", _SPEED, f"{BATCH} new signatures by {PRIOR}", sample_ways),
    Benchmark("frechet", "ms a distance", "Fréchet distance of two sets of 736 features of length 112", frechet_ways),
    Benchmark("registration", "ms a pair", f"{4 * PEOPLE} pairs of signatures (plain: 8)", registration_ways),
]
for size in (1, 48):
    what = f"the cells of a sheet of {size} megapixels, on one core; ours also reads IDs and ink"
    ways = functools.partial(page_ways, megapixels=size)
    BENCHMARKS.append(Benchmark(f"sheet_{size}mp", "seconds a page", what, ways))
