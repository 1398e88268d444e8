"""The plain way of what is measured: what a first version does, or what the student reports did.

A Dataset that opens a PNG with Pillow and warps one picture at a time, optimisers by their defaults, the default memory
layout, one pair at a time, the textbook's formula.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import scipy.linalg
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from sigen_utils import registration
from sigen_utils.augment import GRID_POINTS
from sigen_utils.models.baselines import ReportDiscriminator, ReportGenerator, ReportVAE
from sigen_utils.models.prior_vae import PriorVAE
from sigen_utils.render import blur

WARPS = [
    transforms.RandomRotation(6, fill=255),
    transforms.RandomResizedCrop(128, scale=(0.8, 1.0), ratio=(0.9, 1.1)),
    transforms.ToTensor(),
    transforms.Lambda(lambda x: ((1 - x) + 0.1 * torch.randn_like(x)).clamp(0, 1)),
]


def opened(path: str) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("L")


def batches(folder: Path, size: int, device: torch.device) -> Iterator[Tensor]:
    """Batches without end of the PNGs in ``folder/<any>``, ink ``[size, 1, 128, 128]``, a picture at a time."""
    pictures = ImageFolder(folder, transforms.Compose(WARPS), loader=opened)
    loader = DataLoader(pictures, size, shuffle=True, drop_last=True)
    while True:
        for x, _ in loader:
            yield x.to(device)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, most: float = math.inf) -> float:
    """One step down a loss, the gradient's norm clipped to `most`; waits for the device."""
    optimizer.zero_grad()
    loss.backward()
    if most < math.inf:
        nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], most)
    optimizer.step()
    return loss.item()


def vae_steps(data: Iterator[Tensor], device: torch.device) -> Callable[[], int]:
    """The reports' VAE: Adam, one batch a call."""
    model = ReportVAE().to(device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-5)

    def step() -> int:
        x = next(data)
        descend(optimizer, model(x)["loss"])
        return len(x)

    return step


def gan_steps(data: Iterator[Tensor], device: torch.device) -> Callable[[], int]:
    """The reports' GAN: binary cross-entropy, two Adam optimisers, one batch a call."""
    g, d, bce = ReportGenerator().to(device), ReportDiscriminator().to(device), nn.BCEWithLogitsLoss()
    adam_g = torch.optim.Adam(g.parameters(), 2e-4, betas=(0.5, 0.999))
    adam_d = torch.optim.Adam(d.parameters(), 2e-3, betas=(0.5, 0.999))

    def step() -> int:
        real = next(data)
        ones, zeros = torch.ones(len(real), device=device), torch.zeros(len(real), device=device)
        fake = torch.sigmoid(g(torch.randn(len(real), 100, device=device)))
        descend(adam_d, bce(d(real), ones) + bce(d(fake.detach()), zeros))
        descend(adam_g, bce(d(fake), ones))
        return len(real)

    return step


def flow_steps(model: PriorVAE, ink: Callable[[], Tensor]) -> Callable[[], int]:
    """The flow: pictures ``ink()`` ``[n, size, 1, 128, 128]`` are encoded anew in each step, AdamW by its defaults."""
    model = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    average, optimizer = copy.deepcopy(model), torch.optim.AdamW(model.flow.parameters(), 1e-3)
    generator = torch.Generator(model.people.device).manual_seed(0)

    def step() -> int:
        x = ink()
        with torch.no_grad():
            mu, logvar = (part.unflatten(0, x.shape[:2]) for part in model.vae.encode(x.flatten(0, 1)))
        descend(optimizer, model(mu, logvar, generator)["loss"], most=1.0)
        with torch.no_grad():
            for old, new in zip(average.parameters(), model.parameters(), strict=True):
                old.lerp_(new, 0.01)
        return x.shape[0] * x.shape[1]

    return step


@torch.no_grad()
def sample(model: PriorVAE, n: int, generator: torch.Generator, steps: int = 20) -> Tensor:
    """New signatures, raw ink ``[n, 1, 128, 128]``, in even steps of Euler's method."""
    z = torch.randn(n, *model.config.vae.shape, generator=generator, device=generator.device)
    nobody = model.flow.nobody_in(n)
    for now, then in itertools.pairwise(torch.linspace(1, 0, steps + 1, device=z.device)):
        z = z + (then - now) * model.flow(z, now.expand(n), nobody)
    return torch.sigmoid(model.vae.decode(z * model.flow.scale))


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """The formula as it is written, of features ``[n, d]`` and ``[m, d]``."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    offset = a.mean(0) - b.mean(0)
    return float(offset @ offset + np.trace(cov_a + cov_b - 2 * scipy.linalg.sqrtm(cov_a @ cov_b).real))


def moved(a: Tensor, ways: Tensor) -> Tensor:
    """Pictures ``[N, 1, H, H]``, each place looked up where `ways` ``[N, 2, k, k]`` say, in pixels."""
    still = F.affine_grid(torch.eye(2, 3, device=a.device).expand(len(a), 2, 3), list(a.shape), align_corners=False)
    large = F.interpolate(ways * (2 / a.shape[-1]), a.shape[-2:], mode="bicubic", align_corners=True)
    return F.grid_sample(a, still + large.permute(0, 2, 3, 1), align_corners=False)


def register(a: Tensor, b: Tensor) -> Tensor:
    """`registration.register` of pairs ``[N, 1, 128, 128]``, one by one at full size; the rest is the same."""
    if len(a) > 1:
        return torch.cat([register(*pair) for pair in zip(a.split(1), b.split(1), strict=True)])
    ways = torch.zeros(1, 2, GRID_POINTS, GRID_POINTS, device=a.device, requires_grad=True)
    adam, coarser = torch.optim.Adam([ways], registration.RATE, betas=(0.9, 0.9)), a.shape[-1] // registration.SIDE
    for sigma in registration.SIGMAS:
        near_a, near_b = blur(a, coarser * sigma), blur(b, coarser * sigma)
        for _ in range(registration.STEPS):
            left = (moved(near_a, ways) - near_b).square().sum() / (near_a.square() + near_b.square()).sum()
            stretch = sum(ways.diff(dim=axis).square().mean() for axis in (2, 3))
            descend(adam, left + registration.STIFFNESS * stretch)
    return ways.detach()


def table_cells(path: Path) -> list[tuple[int, int, int, int]]:
    """Boxes (left, top, right, bottom) of the cells of a table: threshold, long runs of ink, contours."""
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    width, square = grey.shape[1], np.ones((3, 3), np.uint8)
    ink = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, width // 40 | 1, 10)
    runs = [cv2.getStructuringElement(cv2.MORPH_RECT, size) for size in ((width // 20, 1), (1, width // 20))]
    lines = np.maximum(*(cv2.morphologyEx(ink, cv2.MORPH_OPEN, run) for run in runs))
    lines = cv2.dilate(lines, square, iterations=max(1, width // 500))
    boxes = map(cv2.boundingRect, cv2.findContours(255 - lines, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0])
    return [(x, y, x + w, y + h) for x, y, w, h in boxes if width / 20 < w < width / 2 and h > width / 40]
