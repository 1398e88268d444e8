"""The plain way of everything that is measured: what a first version does, or what the student reports did.

A Dataset that opens a PNG with Pillow and warps one picture at a time, optimisers by their defaults, the default memory
layout, one pair or one page at a time, the textbook's formula.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import scipy.linalg
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from sigen_utils import registration
from sigen_utils.augment import GRID_POINTS
from sigen_utils.models.baselines import ReportDiscriminator, ReportGenerator, ReportVAE
from sigen_utils.models.prior import PriorVAE
from sigen_utils.render import blur

EULER_STEPS = 20


class OneAtATime(Dataset):
    """One picture at a time: open, warp, convert."""

    def __init__(self, folder: Path):
        self.files = sorted(folder.glob("*.png"))
        self.transform = transforms.Compose(
            [
                transforms.RandomRotation(6, fill=255),
                transforms.RandomResizedCrop(128, scale=(0.8, 1.0), ratio=(0.9, 1.1)),
                transforms.ToTensor(),
                transforms.Lambda(lambda x: ((1 - x) + 0.1 * torch.randn_like(x)).clamp(0, 1)),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, k: int) -> Tensor:
        with Image.open(self.files[k]) as picture:
            return self.transform(picture.convert("L"))


def batches(folder: Path, size: int, device: torch.device) -> Iterator[Tensor]:
    """Batches without end of the PNGs in `folder`, ink ``[size, 1, 128, 128]``."""
    loader = DataLoader(OneAtATime(folder), size, shuffle=True, drop_last=True)
    while True:
        for x in loader:
            yield x.to(device)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def vae_steps(data: Iterator[Tensor], device: torch.device) -> Callable[[], int]:
    """The reports' VAE: Adam, one batch a call."""
    model = ReportVAE().to(device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-5)

    def step() -> int:
        x = next(data)
        loss = model(x)["loss"]
        descend(optimizer, loss)
        loss.item()
        return len(x)

    return step


def gan_steps(data: Iterator[Tensor], device: torch.device) -> Callable[[], int]:
    """The reports' GAN: binary cross-entropy, two Adam optimisers, one batch a call."""
    g, d = ReportGenerator().to(device), ReportDiscriminator().to(device)
    optimizer_g = torch.optim.Adam(g.parameters(), 2e-4, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(d.parameters(), 2e-3, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()

    def step() -> int:
        real = next(data)
        ones, zeros = torch.ones(len(real), device=device), torch.zeros(len(real), device=device)
        fake = torch.sigmoid(g(torch.randn(len(real), 100, device=device)))
        loss_d = bce(d(real), ones) + bce(d(fake.detach()), zeros)
        descend(optimizer_d, loss_d)
        loss_g = bce(d(fake), ones)
        descend(optimizer_g, loss_g)
        loss_d.item(), loss_g.item()
        return len(real)

    return step


def flow_steps(model: PriorVAE, ink: Callable[[], Tensor]) -> Callable[[], int]:
    """The flow: pictures ``ink()`` ``[n, size, 1, 128, 128]`` are encoded anew in each step, AdamW by its defaults."""
    model = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    average, trained = copy.deepcopy(model), list(model.flow.parameters())
    optimizer = torch.optim.AdamW(trained, 1e-3)
    generator = torch.Generator(trained[0].device).manual_seed(0)

    def step() -> int:
        x = ink()
        with torch.no_grad():
            mu, logvar = (part.unflatten(0, x.shape[:2]) for part in model.vae.encode(x.flatten(0, 1)))
        loss = model(mu, logvar, generator)["loss"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        with torch.no_grad():
            for old, new in zip(average.parameters(), model.parameters(), strict=True):
                old.lerp_(new, 0.01)
        loss.item()
        return x.shape[0] * x.shape[1]

    return step


@torch.no_grad()
def sample(model: PriorVAE, n: int, generator: torch.Generator) -> Tensor:
    """New signatures, raw ink ``[n, 1, 128, 128]``: `EULER_STEPS` even steps of Euler's method."""
    flow = model.flow
    z, person = torch.randn(n, *model.config.vae.shape, generator=generator, device=generator.device), None
    z, person = z.to(flow.scale.device), flow.nobody_in(n)
    for now, then in itertools.pairwise(torch.linspace(1, 0, EULER_STEPS + 1, device=z.device)):
        z = z + (then - now) * flow(z, now.expand(n), person)
    return torch.sigmoid(model.vae.decode(z * flow.scale))


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
    """`registration.register` of a pair ``[1, 1, 128, 128]`` at full size: the same grid, steps and stiffness."""
    ways = torch.zeros(1, 2, GRID_POINTS, GRID_POINTS, device=a.device, requires_grad=True)
    optimizer, coarser = torch.optim.Adam([ways], registration.RATE, betas=(0.9, 0.9)), a.shape[-1] // registration.SIDE
    for sigma in registration.SIGMAS:
        near_a, near_b = blur(a, coarser * sigma), blur(b, coarser * sigma)
        for _ in range(registration.STEPS):
            left = (moved(near_a, ways) - near_b).square().sum() / (near_a.square() + near_b.square()).sum()
            stretch = sum(ways.diff(dim=axis).square().mean() for axis in (2, 3))
            descend(optimizer, left + registration.STIFFNESS * stretch)
    return ways.detach()


def table_cells(path: Path) -> list[tuple[int, int, int, int]]:
    """Boxes (left, top, right, bottom) of the cells of a table: threshold, long runs of ink, contours."""
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    height, width = grey.shape
    block = width // 40 | 1
    ink = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, block, 10)
    lines = np.zeros_like(ink)
    for shape in ((width // 20, 1), (1, width // 20)):
        kernel = cv2.getStructuringElement(cv2.MORPH_RECT, shape)
        lines |= cv2.morphologyEx(ink, cv2.MORPH_OPEN, kernel)
    lines = cv2.dilate(lines, np.ones((3, 3), np.uint8), iterations=max(1, width // 500))
    contours, _ = cv2.findContours(255 - lines, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    boxes = [cv2.boundingRect(contour) for contour in contours]
    return [(x, y, x + w, y + h) for x, y, w, h in boxes if width / 20 < w < width / 2 and h > width / 40]
