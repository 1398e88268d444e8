"""A phone takes a picture of a page: geometry, light, paper, lens, sensor, JPEG.

The page bends (`bow`), lies a little turned and seen at an angle (a homography), is lit unevenly, has a grain,
creases and dents, and comes out of the phone denoised and sharpened.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .config import SynthesisConfig
from .sheet import MARGIN_X, MARGIN_Y, SCALE, Page

# Paper as phones show it, red green blue: most sheets come out lilac-grey in bad light, some neutral or warm.
_PAPERS = np.array(
    [[169, 166, 193], [162, 160, 184], [155, 155, 153], [178, 176, 186], [186, 182, 172], [170, 170, 188]], float
)
_PAPER_SHARES = [0.35, 0.22, 0.15, 0.10, 0.06, 0.12]


@dataclass(frozen=True)
class View:
    """Where the page's points come to lie in the photograph: p -> homography(p + bow(p))."""

    homography: np.ndarray  # [3, 3], sheet px -> photo px
    bow: np.ndarray  # [2, 3, 3], coefficients of sines over the table, sheet px
    extent: np.ndarray  # [2], width and height of the table, sheet px
    size: tuple[int, int]  # width, height of the photograph

    def _bend(self, points: np.ndarray) -> np.ndarray:
        u, v = (points / self.extent).T
        modes_u = np.stack([np.sin(np.pi * u), np.sin(2 * np.pi * u + 0.6), np.ones_like(u)])
        modes_v = np.stack([np.sin(np.pi * v), np.sin(2 * np.pi * v + 0.4), np.ones_like(v)])
        return np.einsum("dij,in,jn->nd", self.bow, modes_u, modes_v)

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """Sheet px [n, 2] -> photo px [n, 2]."""
        projected = np.hstack([points + self._bend(points), np.ones((len(points), 1))]) @ self.homography.T
        return projected[:, :2] / projected[:, 2:]

    def to_sheet(self, points: np.ndarray) -> np.ndarray:
        """Photo px [n, 2] -> sheet px [n, 2]; the bow is small and smooth, so a few fixed-point steps invert it."""
        flat = np.hstack([points, np.ones((len(points), 1))]) @ np.linalg.inv(self.homography).T
        flat = flat[:, :2] / flat[:, 2:]
        guess = flat.copy()
        for _ in range(6):
            guess = flat - self._bend(guess)
        return guess


def make_view(config: SynthesisConfig, page: Page, rng: np.random.Generator) -> View:
    """Hold the camera over a page, at random within the bounds of `config`."""
    extent = np.array([page.columns[-1], page.rows[-1]])
    scale = rng.uniform(*config.table_width) / extent[0]
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * extent
    turn = rng.uniform(-1, 1)
    turn = np.deg2rad(turn * (config.rotation - config.rotation_least) + np.sign(turn) * config.rotation_least)
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    target = corners @ spin.T * scale
    target += rng.uniform(-1, 1, (4, 2)) * config.perspective * extent[0] * scale
    modes = rng.normal(0, 1, (2, 3, 3)) * np.array([[1.0, 0.4, 0.7], [0.4, 0.15, 0.25], [0.7, 0.25, 0.0]])
    modes *= config.curl / scale / max(np.abs(modes).sum(axis=(1, 2)).max() * 0.45, 1e-9) * rng.uniform(0.4, 1.0)
    homography = cv2.getPerspectiveTransform(corners.astype(np.float32), target.astype(np.float32))
    view = View(homography, modes, extent, (1, 1))
    outline = np.concatenate([np.linspace(corners[i], corners[(i + 1) % 4], 30) for i in range(4)])
    seen = view.to_photo(outline)
    low, high = seen.min(0), seen.max(0)
    if rng.random() < config.tight_share:  # at the outer lines, at most 3 px beside them
        before, after = rng.uniform(-0.5, 4.0, 2), rng.uniform(-0.5, 4.0, 2)
    else:
        before, after = rng.uniform(20, 95, 2), rng.uniform(20, 95, 2)
    if config.crop:  # no part of an outer line is left, however it runs
        top, right, bottom, left = seen.reshape(4, -1, 2)
        low = np.array([left[:, 0].max(), top[:, 1].max()]) + config.crop
        high = np.array([right[:, 0].min(), bottom[:, 1].min()]) - config.crop
        before, after = np.zeros(2), np.zeros(2)
    shift = np.eye(3)
    shift[:2, 2] = before - low
    size = np.ceil(high - low + before + after).astype(int)
    return View(shift @ homography, modes, extent, (int(size[0]), int(size[1])))


def _page_maps(view: View) -> tuple[np.ndarray, np.ndarray]:
    """For every photo pixel the page pixel it shows, float32 [H, W] each: exact every 8 px, linear between."""
    width, height = view.size
    step = 8
    xs, ys = np.arange(0, width + step, step), np.arange(0, height + step, step)
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(float)
    page = (view.to_sheet(grid) + [MARGIN_X, MARGIN_Y]) * SCALE
    page = page.reshape(len(ys), len(xs), 2).astype(np.float32)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32) / step, np.arange(height, dtype=np.float32) / step)
    fine = cv2.remap(page, x, y, cv2.INTER_LINEAR)
    return np.ascontiguousarray(fine[..., 0]), np.ascontiguousarray(fine[..., 1])


def _clouds(shape, size: float, rng) -> np.ndarray:
    """Smooth unit noise over a picture of `shape`, with features of about `size` px."""
    coarse = (int(shape[0] / size) + 3, int(shape[1] / size) + 3)
    noise = cv2.resize(rng.normal(0, 1, coarse).astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    return noise / (noise.std() + 1e-6)


def _light(config: SynthesisConfig, shape, rng) -> np.ndarray:
    """Brightness of the light over the picture, about 1: a gradient, soft blobs, and the edge of a shadow."""
    height, width = shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(shape)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * (x - 0.4) + np.sin(angle) * (y - 0.5)
    light = 1 - 0.45 * config.shadow * along - 0.10 * config.shadow * _clouds(shape, 0.5 * max(shape), rng)
    angle, place, soft = rng.uniform(0, 2 * np.pi), rng.uniform(-0.1, 0.5), rng.uniform(0.05, 0.3)
    edge = (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5) - place) / soft
    depth = config.shadow * rng.uniform(0.2, 1.0)
    light = light * (1 - depth / (1 + np.exp(-4 * edge)))
    if config.half_shadow:  # the photographer's own: its edge runs through the middle and is hardly soft
        angle, soft = rng.uniform(0, 2 * np.pi), rng.uniform(0.002, 0.015)
        across = np.cos(angle) * (x - x[0, -1] / 2) + np.sin(angle) * (y - y[-1, 0] / 2)
        light = light * (1 - config.half_shadow / (1 + np.exp(-np.clip(across / soft, -50, 50))))
    return light


def _relief(config: SynthesisConfig, shape, dents: np.ndarray, rng) -> np.ndarray:
    """Shading of the paper, in shares of its brightness: fibres, creases, dents of the pen on the back."""
    fibre = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), 1.1)
    coarse = _clouds(shape, 14, rng)
    relief = 0.0075 * fibre / fibre.std() + 0.004 * coarse
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    for _ in range(int(rng.poisson(4))):  # creases: a soft ridge along a bent line, lit from one side
        angle, cx, cy = rng.uniform(0, np.pi), rng.uniform(0, shape[1]), rng.uniform(0, shape[0])
        across = np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)
        along = -np.sin(angle) * (x - cx) + np.cos(angle) * (y - cy)
        across = across + rng.normal(0, 0.0006) * along * along
        soft, length = rng.uniform(3, 12), rng.uniform(40, 260)
        relief += rng.normal(0, 0.022) * across / soft * np.exp(-((across / soft) ** 2) - (along / length) ** 2)
    angle = rng.uniform(0, 2 * np.pi)
    height = cv2.GaussianBlur(dents, (0, 0), 1.3)
    slope = np.cos(angle) * cv2.Sobel(height, cv2.CV_32F, 1, 0) + np.sin(angle) * cv2.Sobel(height, cv2.CV_32F, 0, 1)
    return config.texture * (relief + 0.075 * np.clip(slope, -1.5, 1.5))


def _desk(shape, rng) -> np.ndarray:
    """What lies beyond the page: a table top, float32 [H, W, 3] in grey levels, blue green red."""
    colours = np.array([[70, 95, 130], [60, 62, 66], [150, 150, 146], [95, 120, 150]], float)
    base = colours[rng.integers(len(colours))] * rng.uniform(0.8, 1.15)
    grain = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), sigmaX=14, sigmaY=0.9)
    return (base * (1 + 0.12 * (grain / grain.std())[..., None] * 0.4)).astype(np.float32)


def take_photo(
    config: SynthesisConfig, page: Page, view: View, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Photograph a page.

    Returns
    -------
    photo, label
        uint8 [H, W, 3] blue green red, before JPEG; and uint16 [H, W], the signature whose ink covers a pixel
        at least 40 %, numbered as in `Page.label`.
    """
    map_x, map_y = _page_maps(view)
    shape = map_x.shape

    def see(layer, how=cv2.INTER_LINEAR, border=0):
        return cv2.remap(layer, map_x, map_y, how, borderMode=cv2.BORDER_CONSTANT, borderValue=border)

    soft = 0.42 * SCALE  # the lens, and the anti-aliasing that halving the size needs
    absorb = see(cv2.GaussianBlur(page.absorb, (0, 0), soft), border=(0, 0, 0))
    back = see(cv2.GaussianBlur(page.back, (0, 0), 1.2 * SCALE))
    coverage = see(cv2.GaussianBlur(page.coverage, (0, 0), 0.3 * SCALE))
    label = np.where(coverage >= 102, see(page.label, cv2.INTER_NEAREST), 0).astype(np.uint16)
    inside = np.ones((page.absorb.shape[0] - 6, page.absorb.shape[1] - 6), np.float32)
    on_page = see(cv2.blur(np.pad(inside, 3), (3, 3)))

    paper = _PAPERS[rng.choice(len(_PAPERS), p=_PAPER_SHARES)] * rng.uniform(0.94, 1.06)
    paper = paper.mean() + config.cast * (paper - paper.mean() + rng.normal(0, 2.0, 3))
    light = _light(config, shape, rng) * (1 + _relief(config, shape, back, rng))
    colour = 1 + 0.006 * config.cast * np.stack([_clouds(shape, 400, rng) for _ in range(3)], axis=-1)
    picture = paper[::-1].astype(np.float32) * colour * (light * (1 - config.bleed * 0.8 * back))[..., None]
    picture *= np.exp(-absorb)
    if on_page.min() < 1:
        desk = _desk(shape, rng) * light[..., None]
        picture = on_page[..., None] * picture + (1 - on_page[..., None]) * desk
    sharp = picture + 0.55 * (picture - cv2.GaussianBlur(picture, (0, 0), 1.4))  # phones sharpen
    grain = cv2.GaussianBlur(rng.normal(0, 1, (*shape, 3)).astype(np.float32), (0, 0), 0.7)
    sharp += config.noise * (0.5 * grain + 0.9 * grain.mean(axis=2, keepdims=True)) / 0.38
    photo = np.clip(np.rint(sharp), 0, 255).astype(np.uint8)
    return (_black_or_white(photo) if config.two_level else photo), label


def _black_or_white(photo: np.ndarray) -> np.ndarray:
    """What an office scanner makes of a page: black where it is a fifth darker than the paper around, else white."""
    grey = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)
    paper = cv2.blur(cv2.dilate(grey, np.ones((15, 15), np.uint8)), (31, 31)).astype(np.float32)
    return np.repeat(np.where(grey < 0.8 * paper, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
