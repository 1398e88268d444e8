"""A crowd: any number of synthetic writers as finished ink, without sheets and photographs.

Networks are pretrained on it. Its writers have a seed of their own, so none of them is in a class, and they vary more
than a class does: in pens, because other photographs and scanners leave other strokes, and in length, because a form
with more room than a cell is signed with the full name.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from ..paths import atomic_write, display
from ..processes import can_spawn
from . import ink
from .config import SynthesisConfig
from .sheet import signature_strokes, stored_ink
from .writers import NAMED, make_writer, with_surname

BLOCK = 50  # writers a task
SCALE = 2.0  # canvas pixels a pixel of the strokes; after shrinking to 116 px finer canvases look the same


@dataclass(frozen=True)
class CrowdConfig:
    """How many writers, and how far their ink may differ from a class's."""

    writers: int = 12_000
    per_writer: int = 6
    seed: int = 1_000_003  # classes have small seeds: no writer of a crowd is in one
    pen: float = 0.45  # standard deviation of the log of a pen's width ...
    pen_bias: float = -0.15  # ... around this, 0 being the usual width of a class's pens
    surnames: float = 0.5  # share of those who write a name who write a second one behind it
    threshold: tuple[float, float] = (0.10, 0.55)  # of ink's coverage; low leaves bold strokes, as a blurred photo does

    def __post_init__(self):
        if not 0 <= self.surnames <= 1 or self.pen < 0:
            raise ValueError("CrowdConfig: surnames is a share between 0 and 1, pen is not negative")
        if self.writers < 2 or self.per_writer < 2:
            raise ValueError("CrowdConfig: a crowd has at least 2 writers and 2 signatures a writer")


def draw_crowd(
    config: CrowdConfig = CrowdConfig(),
    workers: int | None = None,
    progress: Callable[[str], None] | None = print,
) -> tuple[np.ndarray, np.ndarray]:
    """The signatures of a crowd.

    Parameters
    ----------
    config
        Size, seed and variety.
    workers
        Processes; default one a core. The result does not depend on it.
    progress
        Called with a line now and then; None for silence.

    Returns
    -------
    images, labels
        uint8 ``[N, 128, 128]``, 255 = ink, 0 = paper, and int64 ``[N]``, the number of the writer from 0.
    """
    images = np.empty((config.writers * config.per_writer, 128, 128), np.uint8)
    done = 0
    for packed in draw_blocks(config, workers, progress):
        images[done : done + len(packed)] = np.unpackbits(packed, axis=-1) * np.uint8(255)
        done += len(packed)
    return images, np.repeat(np.arange(config.writers), config.per_writer)


def draw_blocks(
    config: CrowdConfig, workers: int | None = None, progress: Callable[[str], None] | None = print
) -> Iterator[np.ndarray]:
    """The same in blocks of writers, in order, a bit a pixel: uint8 ``[n, 128, 16]``."""
    workers = max(1, workers or os.cpu_count() or 1)
    blocks = [range(k, min(k + BLOCK, config.writers)) for k in range(0, config.writers, BLOCK)]
    with contextlib.ExitStack() as stack:
        draw = map
        if can_spawn():
            spawn = multiprocessing.get_context("spawn")
            draw = stack.enter_context(ProcessPoolExecutor(workers, mp_context=spawn)).map
        for k, packed in enumerate(draw(_draw_block, [config] * len(blocks), blocks), 1):
            if progress and k % 20 == 0:
                progress(f"  {min(k * BLOCK, config.writers)} of {config.writers} writers")
            yield packed


def _draw_block(config: CrowdConfig, writers: range) -> np.ndarray:
    """Signatures of some writers, a bit a pixel: uint8 [n, 128, 16]."""
    cv2.setNumThreads(1)
    cohort = SynthesisConfig(seed=config.seed)
    pictures = []
    for person in writers:
        writer = make_writer(cohort, person)
        rng = np.random.default_rng((config.seed, person))
        wider = float(np.clip(np.exp(rng.normal(config.pen_bias, config.pen)), 0.3, 2.0))
        writer = replace(writer, pen=replace(writer.pen, width=writer.pen.width * wider))
        low, high = np.log(config.threshold)
        threshold = float(np.exp(rng.uniform(low, high)))
        if writer.form in NAMED and rng.random() < config.surnames:
            writer = with_surname(writer, rng)
        for repetition in range(1, config.per_writer + 1):
            coverage, _ = ink.deposit(signature_strokes(cohort, writer, repetition), SCALE)
            pictures.append(stored_ink(1.6 * coverage >= threshold, SCALE) > 0)
    return np.packbits(np.array(pictures), axis=-1)


def write_crowd(path: str | os.PathLike, config: CrowdConfig = CrowdConfig(), workers: int | None = None) -> Path:
    """Draw a crowd into one file ``.npz``: ``x`` uint8 ``[N, 128, 128]`` (ink = 255) and ``y``, the writer of each.

    The format is that of `sample`; `data.load_signatures` reads it.
    """
    images, labels = draw_crowd(config, workers)
    path = Path(path).with_suffix(".npz")
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, x=images, y=labels.astype(str))
    print(f"{len(images)} signatures of {config.writers} writers -> {display(path)}")
    return path
