"""What is measured: a registry of benchmarks, each a function that returns its ways by name, "plain" and "ours" first.

A way does a piece of work and returns how many items that was. Alternatives are imported only here, by name, so that
nothing but requirements-dev.txt has to be installed.
"""

from __future__ import annotations

import functools
import importlib
import json
import math
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import plain
import torch
from PIL import Image
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

try:
    import resource
except ModuleNotFoundError:  # Windows does not tell the peak this way
    resource = None

BATCH = 64
PEOPLE = 60  # of four signatures each
UNITS: dict[str, Callable[[float], float]] = {  # a unit -> seconds an item in it
    "images a second": lambda seconds: 1 / seconds,
    "ms a pair": lambda seconds: 1000 * seconds,
    "ms a distance": lambda seconds: 1000 * seconds,
    "seconds a page": lambda seconds: seconds,
}


@dataclass(frozen=True)
class Way:
    """One way of doing the work: ``run()`` returns how many items it did; `problem` says why it cannot run."""

    run: Callable[[], int] | None = None
    notes: Callable[[], dict[str, float]] = dict  # what else is measured of it, once, untimed
    problem: str = ""


def optional(package: str, make: Callable[[], Callable[[], int] | Way]) -> Way:
    """The way that `make` returns, or the one that says that it needs `package`."""
    try:
        way = make()
    except ModuleNotFoundError:
        return Way(problem=f"not installed: pip install {package}")
    except Exception as error:
        return Way(problem=f"failed: {type(error).__name__}: {error}")
    return way if isinstance(way, Way) else Way(way)


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
        ink = self.corpus.ink(torch.arange(len(self.corpus)))[:, 0]
        labels = torch.arange(PEOPLE).repeat_interleave(4)
        files = [f"{k // 4}/{k % 4}.png" for k in range(len(ink))]
        people = [str(k) for k in range(PEOPLE)]
        return SignatureSet((255 * ink).to(torch.uint8), labels, people, files, torch.arange(len(ink)) % 4 == 3)

    def batches(self):
        """`plain.batches` of the training signatures, from files."""
        folder = self.folder / "png"
        if not folder.exists():
            folder.mkdir()
            for k, picture in enumerate(self.signatures.train.images.numpy()):
                Image.fromarray(255 - picture).save(folder / f"{k}.png")
        return plain.batches(folder, BATCH, self.device)


@dataclass(frozen=True)
class Benchmark:
    name: str
    unit: str
    what: str
    ways: Callable[[Setting], dict[str, Way]]


BENCHMARKS: list[Benchmark] = []


def benchmark(name: str, unit: str, what: str):
    """Register a function that returns the ways of a benchmark."""

    def register(ways: Callable[[Setting], dict[str, Way]]) -> Callable[[Setting], dict[str, Way]]:
        BENCHMARKS.append(Benchmark(name, unit, what, ways))
        return ways

    return register


def steps_of(trainer: Trainer) -> Callable[[], int]:
    """The steps of a trainer, as `Trainer.fit` makes them."""

    def step() -> int:
        index = batch_index(trainer.n_items, trainer.config.batch_size, trainer.steps_done, 0)
        trainer.step(index.to(trainer.device), 0.5, step_generator(0, 0, trainer.steps_done, trainer.device))
        trainer.steps_done += 1
        return trainer.batch

    return step


@benchmark("augment", "images a second", f"load and augment a batch of {BATCH}")
def augment_ways(setting: Setting) -> dict[str, Way]:
    from_files, held = setting.batches(), setting.signatures.train.images.to(setting.device)
    generator, config = torch.Generator(setting.device).manual_seed(0), AugmentConfig(noise=0.1)
    shift, scale, degrees = 2 * (config.translation / 128,), (1 - config.scale, 1 + config.scale), config.rotation
    shear = math.degrees(math.atan(config.shear))

    def of_batch(warp: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], int]:
        def run() -> int:
            index = torch.randint(len(held), (BATCH,), device=setting.device)
            return len(warp(held[index][:, None].float() / 255))

        return run

    options = dict(interpolation=InterpolationMode.BILINEAR)
    torchvision = v2.Compose(
        [
            v2.RandomAffine(degrees, shift, scale, shear, **options),
            v2.ElasticTransform(**options),
            v2.GaussianNoise(0.0, config.noise),
        ]
    )

    def kornia() -> Callable[[], int]:
        k = importlib.import_module("kornia.augmentation")
        warps = [k.RandomAffine(degrees, shift, scale, shear, p=config.probability)]
        warps += [k.RandomElasticTransform(p=config.probability), k.RandomGaussianNoise(0.0, config.noise, p=1.0)]
        warp = torch.nn.Sequential(*warps)
        return of_batch(lambda x: warp(x).clamp(0, 1))

    return {
        "plain": Way(lambda: len(next(from_files))),
        "ours": Way(of_batch(lambda x: augment(x, config, generator))),
        "torchvision v2, a picture at a time": Way(of_batch(lambda x: torch.stack([torchvision(one) for one in x]))),
        "torchvision v2, one warp for the whole batch": Way(of_batch(torchvision)),
        "kornia": optional("kornia", kornia),
    }


@benchmark("report_vae", "images a second", f"train the reports' VAE, batches of {BATCH}, end to end")
def vae_ways(setting: Setting) -> dict[str, Way]:
    return {
        "plain": Way(plain.vae_steps(setting.batches(), setting.device)),
        "ours": Way(steps_of(trainer_of("report_vae", setting))),
    }


@benchmark("report_gan", "images a second", f"train the reports' GAN, batches of {BATCH}, end to end")
def gan_ways(setting: Setting) -> dict[str, Way]:
    return {
        "plain": Way(plain.gan_steps(setting.batches(), setting.device)),
        "ours": Way(steps_of(trainer_of("report_gan", setting))),
    }


def trainer_of(name: str, setting: Setting) -> Trainer:
    """The trainer of a recipe on the synthetic signatures."""
    recipe = RECIPES[name]
    return recipe.trainer(setting.signatures, recipe.model, recipe.train, setting.device)


@benchmark("prior_step", "images a second", f"train the flow, the learned prior, on {BATCH} signatures a step")
def flow_ways(setting: Setting) -> dict[str, Way]:
    start, data = load_run(paths.REPO / PRIOR, setting.device), setting.corpus
    recipe = RECIPES["corpus_prior"].for_class(data, start)

    def trainer() -> Trainer:
        return recipe.trainer(data, recipe.model, recipe.train, setting.device, start=start.model)

    def ink() -> torch.Tensor:
        writers = torch.randperm(data.train.n_writers)[: BATCH // data.per_writer]
        index = writers[:, None] * data.per_writer + torch.arange(data.per_writer)
        return data.ink(index.flatten(), setting.device).unflatten(0, index.shape)

    ours = trainer()
    ways = {"plain": Way(plain.flow_steps(ours.model, ink)), "ours": Way(steps_of(ours))}
    if ours.dtype == torch.float32:  # what `device.precision` decided against
        halved = trainer()
        halved.dtype = torch.bfloat16
        ways["ours, but in bfloat16"] = Way(steps_of(halved))
    return ways


@benchmark("sample", "images a second", f"draw {BATCH} new signatures by {PRIOR}")
def sample_ways(setting: Setting) -> dict[str, Way]:
    ours, first = (load_run(paths.REPO / PRIOR, setting.device).model for _ in range(2))
    first.to(memory_format=torch.contiguous_format)
    generator = torch.Generator(setting.device).manual_seed(0)
    return {
        "plain": Way(lambda: len(plain.sample(first, BATCH, generator))),
        "ours": Way(lambda: len(ours.new(BATCH, 1, generator))),
    }


def features(n: int = 736, d: int = 112, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of made-up features ``[n, d]`` that are correlated and lie apart."""
    rng = np.random.default_rng(seed)
    a, b = (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / d**0.5 + rng.normal(size=d) for _ in range(2))
    return a, b


@benchmark("frechet", "ms a distance", "the Frechet distance of 736 features of length 112")
def frechet_ways(setting: Setting) -> dict[str, Way]:
    a, b = features()

    def of_moments(module: str, distance: Callable) -> Callable[[], Way]:
        def make() -> Way:
            found = importlib.import_module(module)

            def value() -> float:
                return distance(found, *(f(x) for x in (a, b) for f in (lambda x: x.mean(0), lambda x: np.cov(x.T))))

            return way(value)

        return make

    def way(value: Callable[[], float]) -> Way:
        return Way(lambda: 1 if value() > 0 else 0, lambda: {"distance": value()})

    def fidelity(module, mean_a, cov_a, mean_b, cov_b) -> float:
        found = module.fid_statistics_to_metric(dict(mu=mean_a, sigma=cov_a), dict(mu=mean_b, sigma=cov_b), False)
        return next(iter(found.values()))

    clean = of_moments("cleanfid.fid", lambda module, *moments: module.frechet_distance(*moments))
    return {
        "plain": way(lambda: plain.frechet(a, b)),
        "ours": way(lambda: frechet_distance(a, b)),
        "torch-fidelity": optional("torch-fidelity", of_moments("torch_fidelity.metric_fid", fidelity)),
        "clean-fid": optional("clean-fid", clean),
    }


@benchmark("registration", "ms a pair", f"register signatures of one person, {4 * PEOPLE} pairs")
def registration_ways(setting: Setting) -> dict[str, Way]:
    few = 8  # pairs a call of the plain way
    x = setting.corpus.ink(torch.arange(len(setting.corpus)), setting.device).unflatten(0, (-1, 4)).transpose(0, 1)
    a, b = x.flatten(0, 1), x.roll(-1, 0).flatten(0, 1)

    def left(displacements: torch.Tensor) -> dict[str, float]:
        """The share of the difference between blurred pictures that is left, of the first few pairs."""
        soft_a, soft_b = blur(a[:few], 3.0), blur(b[:few], 3.0)
        before, after = ((s - soft_b).square().sum() for s in (soft_a, plain.moved(soft_a, displacements[:few])))
        return {"difference left": (after / before).item()}

    def one_by_one() -> torch.Tensor:
        return torch.cat([plain.register(a[k : k + 1], b[k : k + 1]) for k in range(few)])

    return {
        "plain": Way(lambda: len(one_by_one()), lambda: left(one_by_one())),
        "ours": Way(lambda: len(registration.register(a, b)[0]), lambda: left(registration.register(a, b)[0])),
    }


def first_page(path: Path) -> dict[str, float]:
    """Seconds of the first page that a new process reads, and its peak memory in MB; NaN where no system tells."""
    cv2.setNumThreads(1)
    started = time.perf_counter()
    extract_sheet(path, ExtractionConfig())
    seconds, peak, status = time.perf_counter() - started, math.nan, Path("/proc/self/status")
    if status.is_file():  # getrusage would count what the parent held when it started this process
        peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line) / 2**10
    elif resource:  # bytes on macOS, kilobytes elsewhere
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {"first page (s)": seconds, "peak MB": peak}


def page_ways(setting: Setting, megapixels: int) -> dict[str, Way]:
    """Ways to find the cells of one synthetic sheet, on one core. Ours reads IDs and ink as well."""
    cv2.setNumThreads(1)
    sheets, path = setting.folder / "sheets", setting.folder / f"{megapixels}.jpg"
    if not sheets.exists():
        synthesize(sheets, SynthesisConfig(people=12), progress=None)
    truth = json.loads((sheets / "truth.json").read_text())["sheets"][0]
    with Image.open(sheets / truth["file"]) as photo:
        scale = (1e6 * megapixels / (photo.width * photo.height)) ** 0.5
        size = (round(photo.width * scale), round(photo.height * scale))
        photo.resize(size, Image.Resampling.BICUBIC).save(path)
    cells = [scale * np.array(cell["quad"]) for cell in truth["cells"]]

    def found(quads: list) -> dict[str, float]:
        score = score_cells(quads, [None] * len(quads), cells, [""] * len(cells))
        return {"cells found": score["found"], "of": len(cells)}

    def corners(boxes) -> list:
        return [((x0, y0), (x1, y0), (x1, y1), (x0, y1)) for x0, y0, x1, y1 in boxes]

    def ours() -> dict[str, float]:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
            first = fresh.submit(first_page, path).result()
        return found([cell.quad for cell in extract_sheet(path, ExtractionConfig()).cells]) | first

    def img2table() -> Way:
        module = importlib.import_module("img2table.document")

        def boxes() -> list:
            tables = module.Image(src=str(path)).extract_tables()
            every = [cell.bbox for table in tables for row in table.content.values() for cell in row]
            return [(box.x1, box.y1, box.x2, box.y2) for box in every]

        return Way(lambda: len([boxes()]), lambda: found(corners(boxes())))

    return {
        "plain": Way(lambda: len([plain.table_cells(path)]), lambda: found(corners(plain.table_cells(path)))),
        "ours": Way(lambda: len([extract_sheet(path, ExtractionConfig())]), ours),
        "img2table": optional("img2table", img2table),
    }


for megapixels in (1, 48):
    what = f"find the cells of a sheet of {megapixels} megapixels, on one core; ours also reads IDs and ink"
    benchmark(f"sheet_{megapixels}mp", "seconds a page", what)(functools.partial(page_ways, megapixels=megapixels))
