"""The signature set in memory: reading, splitting, augmenting and rendering, all on one device.

Polarity: in memory ink = 1 and paper = 0; on disk and on screen black ink on white paper.
`to_model` and `to_image` are the only two functions that convert.

References: Simard et al. 2003 (elastic distortion); Karras et al. 2020 (augmentation of both sides).
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from . import paths

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}
SIZE = 128  # pixels a side, the size of every model
CEDAR_NAME = re.compile(r"original_(\d+)_(\d+)\.\w+$")


class DataError(ValueError):
    """A signature folder or file cannot be used; the message names it and the remedy."""


def to_model(image: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Black-on-white uint8 pictures to ink.

    Parameters
    ----------
    image
        uint8 ``[H, W]`` or ``[N, H, W]``, 0 = black ink, 255 = white paper.

    Returns
    -------
    torch.Tensor
        float32 ``[N, 1, H, W]`` in [0, 1], ink = 1.

    Raises
    ------
    TypeError
        If `image` is not uint8: a float picture may already be converted.
    """
    image = torch.as_tensor(image)
    if image.dtype != torch.uint8:
        raise TypeError(f"to_model takes uint8 black-on-white pictures, not {image.dtype}")
    return 1 - image.reshape(-1, 1, *image.shape[-2:]).float() / 255  # [N, 1, H, W]


def to_image(x: torch.Tensor) -> np.ndarray:
    """Ink ``[N, 1, H, W]`` (clipped to [0, 1], ink = 1) to uint8 ``[N, H, W]`` pictures, black on white."""
    x = x.detach().reshape(-1, *x.shape[-2:]).float().clamp(0, 1)
    return (255 - (x * 255).round()).to(torch.uint8).cpu().numpy()


@dataclass(frozen=True)
class SignatureSet:
    """Signatures of several people, as uint8 on one device.

    Attributes
    ----------
    images
        uint8 ``[N, 128, 128]``, ink = 255.
    labels
        int64 ``[N]``, index into `people`.
    people
        Person IDs, sorted; shared by all subsets, so that a label means the same person everywhere.
    files
        One name an image, ``<person>/<file>``.
    is_test
        bool ``[N]``: the held-out side, each person's last signature.
    """

    images: torch.Tensor
    labels: torch.Tensor
    people: list[str]
    files: list[str]
    is_test: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def n_people(self) -> int:
        return len(self.people)

    @property
    def names(self) -> list[str]:
        """ID of the person of each signature."""
        return [self.people[k] for k in self.labels.tolist()]

    @property
    def device(self) -> torch.device:
        return self.images.device

    @property
    def x(self) -> torch.Tensor:
        """Ink as float32 ``[N, 1, 128, 128]`` in [0, 1]."""
        return self.images[:, None].float() / 255

    @property
    def train(self) -> SignatureSet:
        return self.subset(~self.is_test)

    @property
    def test(self) -> SignatureSet:
        return self.subset(self.is_test)

    def subset(self, keep: torch.Tensor) -> SignatureSet:
        """The signatures where the bool mask ``[N]`` or index tensor `keep` says so, in order."""
        index = keep.nonzero()[:, 0] if keep.dtype == torch.bool else keep
        index = index.to(self.device)
        files = [self.files[i] for i in index.tolist()]
        return SignatureSet(self.images[index], self.labels[index], self.people, files, self.is_test[index])

    def to(self, device: str | torch.device) -> SignatureSet:
        return replace(
            self,
            images=self.images.to(device),
            labels=self.labels.to(device),
            is_test=self.is_test.to(device),
        )

    def fingerprint(self) -> str:
        """Twelve hex digits that change when an image, a label or the split changes."""
        digest = hashlib.sha256("\n".join(self.people + self.files).encode())
        for part in (self.images, self.labels, self.is_test):
            digest.update(part.cpu().numpy().tobytes())
        return digest.hexdigest()[:12]

    def thumbnails(self) -> torch.Tensor:
        """Mean ink of every person's training signatures, float32 ``[n_people, 16, 16]`` in [0, 1].

        Coarse enough to survive another library version's rounding, fine enough to tell classes apart:
        `matches` compares them before a stored model is shown beside a data set.
        """
        train = self.train
        pool = SIZE // 16
        small = torch.cat([F.avg_pool2d(part.float() / 255, pool) for part in train.images.split(1024)])
        total = torch.zeros(self.n_people, 16, 16, device=self.device).index_add_(0, train.labels, small)
        return total / train.labels.bincount(minlength=self.n_people).clamp(min=1)[:, None, None]

    def matches(self, people: Sequence[str], thumbnails: torch.Tensor, tolerance: float = 0.15) -> bool:
        """Whether a model trained on `people` with `thumbnails` was trained on this class."""
        if list(people) != self.people:
            return False
        mine = self.thumbnails().cpu()
        return ((mine - thumbnails).norm() / mine.norm().clamp(min=1e-9)).item() < tolerance


# --------------------------------------------------------------------------------------------- reading


def _natural(name: str) -> list:
    """Sort key that puts 2 before 10."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name)]


def _find_files(folder: Path) -> list[tuple[str, Path]]:
    """(person, file) pairs of a ``<person>/<image>`` folder or of CEDAR's ``original_<writer>_<n>`` names.

    Such a name says whose it is in a sub-folder too: the folder above all writers is as good as their own.
    """
    pairs = []
    for path in sorted(folder.iterdir(), key=lambda p: _natural(p.name)):
        if path.is_dir() and path.name != "audit":
            inside = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.stem != "id"]
            for p in sorted(inside, key=lambda p: _natural(p.name)):
                match = CEDAR_NAME.match(p.name)
                pairs.append((match[1] if match else path.name, p))
        elif match := CEDAR_NAME.match(path.name):
            pairs.append((match[1], path))
    return pairs


def normalise_ink(grey: np.ndarray, size: int = SIZE, margin: int = 6) -> np.ndarray:
    """A grey picture of one signature to centred binary ink.

    Parameters
    ----------
    grey
        uint8 ``[H, W]``, dark ink on light paper, any size.
    size, margin
        The side of the result and the paper left around the longer side of the ink, in pixels.

    Returns
    -------
    numpy.ndarray
        uint8 ``[size, size]``, 255 = ink, 0 = paper. All zero when the picture has no ink.
    """
    if grey.shape == (size, size) and np.isin(grey, (0, 255)).all():
        return 255 - grey  # already what `extract` writes
    threshold, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    mask = ((grey <= threshold) * 255).astype(np.uint8) if np.ptp(grey) > 25 else np.zeros_like(grey)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    out = np.zeros((size, size), np.uint8)
    if not len(rows):
        return out
    ink = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = (size - 2 * margin) / max(ink.shape)
    width, height = (max(1, round(side * scale)) for side in ink.shape[::-1])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(ink, (width, height), interpolation=interpolation)
    top, left = (size - height) // 2, (size - width) // 2
    # Below one half: averaging thins a stroke of one or two pixels, and a broken stroke is worse than a bold one
    out[top : top + height, left : left + width] = np.where(small > 0.35 * 255, 255, 0)
    return out


def load_signatures(
    folder: str | Path, device: str | torch.device = "cpu", train_per_person: int | None = None
) -> SignatureSet:
    """Read a folder of signatures and hold out each person's last one.

    Parameters
    ----------
    folder
        ``<person>/<image>`` (as `extract` writes it; ``id.png`` is skipped), or files named as CEDAR's
        ``original_<writer>_<n>``. Any size and grey level: pictures are cropped to the ink, scaled and binarised.
        With more than 8 signatures a person the last quarter is held out instead of the last one. An archive
        ``.npz`` of `sample` or `crowd` serves as well.
    device
        Where the set lives.
    train_per_person
        Train on that many of each person's signatures, the first ones, and hold out all others.

    Raises
    ------
    DataError
        If the folder is missing or holds nothing usable, a person has fewer than two signatures, or a file
        cannot be read; the message names it and the remedy.
    """
    folder = Path(folder)
    if folder.suffix == ".npz" and folder.is_file():
        images, names, files = _read_archive(folder)
    else:
        images, names, files = _read_folder(folder)
    people = sorted(set(names), key=_natural)
    place = {person: k for k, person in enumerate(people)}
    labels = torch.tensor([place[name] for name in names])
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    order, count = labels.argsort(stable=True), labels.bincount()
    for person, own in zip(people, order.split(count.tolist()), strict=True):
        if len(own) < 2:
            raise DataError(f"{folder / person}: one signature only; a person needs two or more, one is held out")
        held_out = max(1, len(own) // 4) if train_per_person is None else len(own) - train_per_person
        if not 0 < held_out < len(own):
            raise DataError(f"{folder / person}: cannot train on {train_per_person} of {len(own)}, hold out the others")
        is_test[own[-held_out:]] = True
    return SignatureSet(torch.from_numpy(images), labels, people, files, is_test).to(device)


def _read_folder(folder: Path) -> tuple[np.ndarray, list[str], list[str]]:
    """Pictures uint8 ``[N, 128, 128]``, person and name of each, from a folder; see `load_signatures`."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; run `python -m sigen_utils extract` first or name another one")
    pairs = _find_files(folder)
    if not pairs:
        raise DataError(f"{folder}: no <person>/<image> in it; expected one sub-folder a person with its signatures")
    images = []
    for _, path in pairs:
        try:
            with Image.open(path) as picture:
                grey = np.asarray(picture.convert("L"))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{path}: cannot be read as an image ({error}); replace or remove it") from error
        images.append(normalise_ink(grey))
    return np.stack(images), [who for who, _ in pairs], [f"{who}/{path.name}" for who, path in pairs]


def _read_archive(path: Path) -> tuple[np.ndarray, list[str], list[str]]:
    """The same from an archive of `sample` or `crowd`; pickled contents are refused."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            images, names = archive["x"], archive["y"].astype(str).tolist()
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not an archive of `sample` or `crowd` ({error}); make it again") from error
    if images.dtype != np.uint8 or images.shape[1:] != (SIZE, SIZE) or len(images) != len(names):
        raise DataError(f"{path}: x is {images.dtype} {images.shape}, not uint8 [N, {SIZE}, {SIZE}] with a name each")
    # In place, a signature at a time: a crowd is a gigabyte
    for picture in images:
        picture[...] = (picture > 127) * np.uint8(255)
    return images, names, [f"{name}/{k}" for k, name in enumerate(names)]


def ensure_signatures(profile, workers: int | None = None, progress=print) -> Path:
    """The extracted signatures, made first where they are missing.

    With no photographs in `paths.sheets_dir` a synthetic class is drawn and photographed there, and said so.

    Parameters
    ----------
    profile
        A `Profile`; its `people` and `per_person` size the synthetic class.

    Raises
    ------
    DataError
        If no sheet could be extracted.
    """
    from . import extraction, synthesis  # heavy, and only needed the first time

    out = paths.signatures_dir()
    if (out / "manifest.csv").exists():
        return out
    sheets = paths.sheets_dir()
    if not sheets.is_dir() or not any(p.suffix.lower() in IMAGE_SUFFIXES for p in sheets.iterdir()):
        progress(f"no photographs in {paths.display(sheets)}: drawing a synthetic class of {profile.people} people")
        config = synthesis.SynthesisConfig(people=profile.people, per_person=profile.per_person)
        synthesis.synthesize(sheets, config, progress=progress, workers=workers)
    result = extraction.extract(sheets, out, extraction.ExtractionConfig(), workers=workers, progress=progress)
    if not result.n_signatures:
        raise DataError(f"{sheets}: no signature could be extracted; {'; '.join(result.errors) or 'no sheet found'}")
    return out


# ------------------------------------------------------------------------------------------ augmentation


@dataclass(frozen=True)
class AugmentConfig:
    """How far a training signature may be changed; each is the half-width of a uniform range."""

    rotation: float = 6.0  # degrees
    scale: float = 0.10  # relative size, each axis on its own: the resized crop
    shear: float = 0.10  # horizontal shift a unit of height
    translation: float = 4.0  # pixels
    elastic: float = 2.0  # pixels, standard deviation of a smooth displacement on a 5 x 5 grid
    noise: float = 0.0  # standard deviation of Gaussian noise, clipped to valid ink
    probability: float = 0.9  # of changing an image at all

    def times(self, strength: float) -> AugmentConfig:
        """The same moves, `strength` times as far."""
        far = ("rotation", "scale", "shear", "translation", "elastic")
        return replace(self, **{name: strength * getattr(self, name) for name in far})


# In these proportions signatures of one person differ, and about as far where three are known of each: chosen on other
# synthetic classes; `people.reach` says how far it is for the people at hand. Place and size are fixed by `move_ink`
PERSON_MOVES = AugmentConfig(rotation=12.0, scale=0.25, shear=0.25, elastic=1.2, probability=1.0)


BEND_POINTS = 5  # a side of the grid whose displacements bend a picture
MOVE_NUMBERS = 7 + 2 * BEND_POINTS**2  # of noise that decide the move of a picture


@functools.cache
def _spread(size: int, device: torch.device) -> torch.Tensor:
    """Bicubic interpolation from `BEND_POINTS` places to `size` pixels as a matrix ``[size, BEND_POINTS]``."""
    identity = torch.eye(BEND_POINTS, device=device)[None, None]
    return F.interpolate(identity, (size, BEND_POINTS), mode="bicubic", align_corners=True)[0, 0]


def augment(x: torch.Tensor, config: AugmentConfig, generator: torch.Generator | None = None) -> torch.Tensor:
    """Rotate, scale, shear, shift, bend and disturb each image on its own; differentiable in `x`.

    Parameters
    ----------
    x
        Ink ``[N, 1, H, W]`` in [0, 1]; paper is 0, so what comes in from outside the picture is paper.
    config
        Ranges.
    generator
        Source of randomness on the device of `x`.

    Returns
    -------
    torch.Tensor
        ``[N, 1, H, W]``, same dtype and device.
    """
    on, affine, bend = _moves(x, config, _move_noise(x, generator))
    grid = _affine_grid(affine, x)
    out = _look_up(x, grid if bend is None else grid + bend)
    if config.noise:
        noise = torch.randn(out.shape, device=x.device, generator=generator, dtype=out.dtype)
        out = (out + config.noise * on[:, None, None, None] * noise).clamp(0, 1)
    return out


def shift(x: torch.Tensor, most: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Each picture shifted by whole pixels, up to `most` in each direction; edges stay as they are.

    Paper comes in from outside. Takes and returns ink ``[N, 1, H, W]``; differentiable in `x`.
    """
    n, _, height, width = x.shape
    by = torch.randint(-most, most + 1, (n, 2), device=x.device, generator=generator)
    affine = torch.eye(2, 3, device=x.device).repeat(n, 1, 1)
    affine[:, :, 2] = by * 2 / torch.tensor([width, height], device=x.device)
    grid = _affine_grid(affine, x).to(x.dtype)
    return F.grid_sample(x, grid, mode="nearest", padding_mode="zeros", align_corners=False)


SOFTENED = 8192  # the most signatures whose soft pictures are kept in memory, 32 KB each
STILL = 1e-4  # of a picture's half: what is moved less far is not moved
STROKE = 2.0  # pixels, standard deviation of the window in which a stroke's direction is found, ...
ALONG = 2.0  # ... and of the average along it, ...
STEPS = 4  # ... which goes so many steps of a pixel either way
LEVELS = 0.25, 0.7  # between these a moved picture is parted into ink and paper, by the level that leaves ...
INK_KEPT = 1.02  # ... so much of the ink. This and what is above was chosen on other synthetic classes


@torch.no_grad()
def move_ink(
    x: torch.Tensor,
    config: AugmentConfig,
    generator: torch.Generator | None = None,
    noise: torch.Tensor | None = None,
    soft: torch.Tensor | None = None,
) -> torch.Tensor:
    """Binary ink turned, stretched, sheared and bent into binary ink of the same size at the same place.

    What `augment` leaves is another kind of picture than a signature of the set: grey at every edge, and anywhere in
    the frame. A decoder that is asked for it learns to draw strokes of one or two pixels as broad grey ones. Here, as
    on its way into the set, the moved ink is cropped, scaled to the longer side that it had, put where it was and made
    binary; `config.translation` and the part of `config.scale` that both axes have in common cancel out.

    Parameters
    ----------
    x
        Ink ``[N, 1, H, W]``, 0 or 1.
    config
        Ranges; ``noise`` is not for binary ink and is not used.
    generator
        Source of randomness on the device of `x`.
    noise
        ``[N, MOVE_NUMBERS]`` from N(0, I) that decides the moves; None lets the generator draw it.
    soft
        `soften` of `x`, where that is known; it takes longer than all the rest.

    Returns
    -------
    torch.Tensor
        ``[N, 1, H, W]``, 0 or 1, same dtype and device.
    """
    with _exact(x):
        grid, step, far = _move_grid(x, config, _move_noise(x, generator) if noise is None else noise)
        moved = _look_up(soften(x) if soft is None else soft.to(x.dtype), grid)
        moved = (moved > _level(moved, INK_KEPT * x.flatten(1).sum(1) / step)).to(x.dtype)
    return torch.where((far > STILL).view(-1, 1, 1, 1), moved, x)  # what is not moved keeps its corners


def _level(soft: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """The level ``[N, 1, 1, 1]`` above which `soft` ``[N, 1, H, W]`` has so many `pixels` ``[N]``; within `LEVELS`."""
    low, high = (torch.full_like(pixels, level) for level in LEVELS)
    for _ in range(7):  # halves: to four thousandths
        middle = (low + high) / 2
        too_many = (soft > middle.view(-1, 1, 1, 1)).flatten(1).sum(1) > pixels
        low, high = torch.where(too_many, middle, low), torch.where(too_many, high, middle)
    return ((low + high) / 2).view(-1, 1, 1, 1)


@torch.no_grad()
def soften(x: torch.Tensor) -> torch.Tensor:
    """Binary ink as a soft picture that it may have been cut from, edges straight where a pen's were.

    A line that is not quite level is a staircase in binary ink, and a staircase that is turned and made binary again is
    a ragged edge, which no pen has. So ink is averaged along the stroke that it belongs to (a line integral
    convolution, Cabral & Leedom 1993), in the direction that the structure tensor of its surroundings names, and the
    less the less these agree upon one. Across the stroke it is sharpened, lest a stroke of one pixel that falls between
    two is lost.

    Parameters
    ----------
    x
        Ink ``[N, 1, H, W]``, 0 or 1.

    Returns
    -------
    torch.Tensor
        ``[N, 1, H, W]``, somewhat below 0 to above 1, same dtype and device.
    """
    parts = x.split(32)  # more at once would fall out of a processor's cache
    with _exact(x):
        return torch.cat([sharpen(_along_strokes(part), gain=3.0, sigma=0.7) for part in parts]) if len(x) else x


def soften_all(ink: Callable[[torch.Tensor], torch.Tensor], n: int) -> torch.Tensor | None:
    """`soften` of n signatures, ``ink(index)`` ``[k, 1, H, W]`` of int64 ``[k]``: ``[n, 1, H, W]`` in half precision.

    None of more than `SOFTENED`: those of a crowd would be too much to keep.
    """
    if n > SOFTENED:
        return None
    parts = [soften(ink(index)).half() for index in torch.arange(n).split(256)]
    with _exact(parts[0]):  # mixed precision knows no way to join halves on a CPU
        return torch.cat(parts)


def _along_strokes(x: torch.Tensor) -> torch.Tensor:
    """Each pixel of `x` ``[N, 1, H, W]`` as the weighted mean of `STEPS` pixels before and behind it on its stroke."""
    n, _, height, width = x.shape
    near = F.pad(_blur(x, 0.8), [1] * 4, mode="replicate")
    rows = 3 * near[..., :-2, :] + 10 * near[..., 1:-1, :] + 3 * near[..., 2:, :]  # a Scharr operator, both ways
    columns = 3 * near[..., :-2] + 10 * near[..., 1:-1] + 3 * near[..., 2:]
    dx, dy = (rows[..., 2:] - rows[..., :-2]) / 32, (columns[..., 2:, :] - columns[..., :-2, :]) / 32
    a, b, size = _blur(torch.cat([dx * dx - dy * dy, 2 * dx * dy, dx * dx + dy * dy]), STROKE).split(n)
    seen = size > 1e-6  # beyond it there is nothing but rounding errors, of which some are too small to be fast
    a, b = a.where(seen, 0.0), b.where(seen, 0.0)
    length = (a * a + b * b).sqrt()
    agreed = (length / size.clamp(min=1e-6)).clamp(max=1).square()
    # Twice the angle of the gradient, as its sign means nothing
    field = torch.cat([x, a / length.clamp(min=1e-6), b / length.clamp(min=1e-6), agreed], 1)

    def tangent(field: torch.Tensor) -> torch.Tensor:
        """A quarter turn on from half of the angle that the field has the cosine and the sine of."""
        cos, sin = field[:, 1:2], field[:, 2:3]
        cos = cos / (cos * cos + sin * sin).sqrt().clamp(min=1e-6)
        half_sin, half_cos = (((1 + sign * cos).clamp(min=0) / 2).sqrt() for sign in (-1, 1))
        return torch.cat([-torch.copysign(half_sin, sin), half_cos], 1)

    still = _affine_grid(torch.eye(2, 3, device=x.device).expand(n, 2, 3), x)
    pixel = 2 / torch.tensor([width, height], device=x.device)
    total, weights = x.clone(), torch.ones_like(x)
    for sign in (1.0, -1.0):
        place, ahead, trust = still, sign * tangent(field), agreed
        for k in range(1, STEPS + 1):
            place = place + ahead.permute(0, 2, 3, 1) * pixel
            here = F.grid_sample(field, place, mode="bilinear", padding_mode="border", align_corners=False)
            step = tangent(here)
            ahead = torch.where((step * ahead).sum(1, keepdim=True) < 0, -step, step)
            trust = torch.minimum(trust, here[:, 3:])
            weight = math.exp(-0.5 * (k / ALONG) ** 2) * trust
            total, weights = total + weight * here[:, :1], weights + weight
    return total / weights


def _blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of pictures ``[N, 1, H, W]``; what is beyond the frame is as at its edge."""
    down, across = (_blurring(size, sigma, x.device).to(x.dtype) for size in x.shape[2:])
    with _exact(x):  # as two matrix products, many times as fast as a convolution of one channel
        return down @ x @ across.T


@functools.cache
@torch.inference_mode(False)  # it is kept, and may be asked for first where nothing is to be learned
def _blurring(size: int, sigma: float, device: torch.device) -> torch.Tensor:
    """Gaussian blur of a line of `size` pixels as a matrix ``[size, size]``, float32."""
    radius = math.ceil(3 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1).double() / sigma) ** 2)
    to = torch.arange(size)[:, None].expand(size, 2 * radius + 1)
    seen = (to + torch.arange(-radius, radius + 1)).clamp(0, size - 1)
    out = torch.zeros(size, size, dtype=torch.float64)
    return out.index_put_((to, seen), (taps / taps.sum()).expand_as(seen), accumulate=True).float().to(device)


def _exact(x: torch.Tensor) -> torch.autocast:
    """No rounding to 16 bits: places keep their fractions of a pixel, levels part ink from paper, in a training as
    outside.
    """
    return torch.autocast(x.device.type, enabled=False)


def move_guess(logits: torch.Tensor, ink: torch.Tensor, config: AugmentConfig, noise: torch.Tensor) -> torch.Tensor:
    """A model's logits moved as `move_ink` moves the ink that they stand for; differentiable in `logits`.

    What decides between ink and paper is moved and not what was decided, so that edges stay as crisp as they are drawn.

    Parameters
    ----------
    logits
        Of ink, ``[N, 1, H, W]``.
    ink
        What they are drawn as, 0 or 1, the same shape; its box is kept.
    config, noise
        As of `move_ink`.

    Returns
    -------
    torch.Tensor
        ``[N, 1, H, W]``.
    """
    with torch.no_grad(), _exact(ink):
        grid, *_ = _move_grid(ink, config, noise)
    return F.grid_sample(logits, grid.to(logits.dtype), mode="bilinear", padding_mode="border", align_corners=False)


def _move_grid(
    x: torch.Tensor, config: AugmentConfig, noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where `move_ink` looks in the ink `x`, place by place ``[N, H, W, 2]``; the length of its steps ``[N]``; how far
    the farthest place is from where it was ``[N]``.
    """
    _, affine, bend = _moves(x, config, noise)
    still = _affine_grid(torch.eye(2, 3, device=x.device).expand(len(x), 2, 3), x)
    back = torch.linalg.inv_ex(affine[:, :, :2])[0].mT  # of row vectors; without a wait for the device

    def bent(at: torch.Tensor) -> torch.Tensor:
        """How far the bend moves the places `at` ``[N, H, W, 2]``; beyond the frame as at its edge."""
        if bend is None:
            return torch.zeros_like(at)
        return F.grid_sample(bend.permute(0, 3, 1, 2), at, padding_mode="border", align_corners=False).permute(
            0, 2, 3, 1
        )

    # Moves say for each place of the result where in `x` to look; where ink goes is the inverse, by two fixed-point
    # steps, as the bend is slight
    shifted = (still - affine[:, None, None, :, 2]).flatten(1, 2)
    place = shifted @ back
    place = (shifted - bent(place.view_as(still)).flatten(1, 2)) @ back
    (low, high), (new_low, new_high) = (_box(x, where) for where in (still, place.view_as(still)))
    scale = ((new_high - new_low).amax(1) / (high - low).amax(1).clamp(min=1 / x.shape[-1])).view(-1, 1, 1, 1)
    scale = scale.clamp(0.5, 2.0)  # of ink it is near 1; a picture without any has no size to keep
    middle, new_middle = ((a + b).view(-1, 1, 1, 2) / 2 for a, b in ((low, high), (new_low, new_high)))
    place = new_middle + scale * (still - middle)
    grid = (place.flatten(1, 2) @ affine[:, :, :2].mT).view_as(still) + affine[:, None, None, :, 2] + bent(place)
    step = scale.view(-1) * torch.linalg.matrix_norm(affine[:, :, :2]) / 2**0.5  # root mean square of both axes
    return grid, step, (grid - still).abs().amax((1, 2, 3))


def _move_noise(x: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    return torch.randn(len(x), MOVE_NUMBERS, device=x.device, generator=generator)


def _moves(
    x: torch.Tensor, config: AugmentConfig, noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Whether each picture is moved ``[N]``, its affine move ``[N, 2, 3]`` and its bend ``[N, H, W, 2]``, if any.

    In the units of `torch.nn.functional.grid_sample`: from a place of the result to the place in `x`. Even
    distributions come from `noise` ``[N, MOVE_NUMBERS]`` by way of its own distribution function.
    """
    n, _, height, width = x.shape
    noise, bend = noise.float().split([7, 2 * BEND_POINTS**2], dim=1)
    even = torch.erf(noise / 2**0.5).unbind(1)  # in (-1, 1)
    on = ((even[0] + 1) / 2 < config.probability).float()
    angle = even[1] * on * config.rotation * (torch.pi / 180)
    scale_x, scale_y = (1 + e * on * config.scale for e in even[2:4])
    shear, shift_x, shift_y = even[4] * on * config.shear, *(e * on * config.translation * 2 / width for e in even[5:7])
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [
        cos / scale_x,
        (shear * cos - sin) / scale_x,
        shift_x,
        sin / scale_y,
        (shear * sin + cos) / scale_y,
        shift_y,
    ]
    affine = torch.stack(rows, 1).reshape(n, 2, 3)
    if not config.elastic:
        return on, affine, None
    bend = bend.reshape(n, 2, BEND_POINTS, BEND_POINTS) * on[:, None, None, None]
    # Bicubic interpolation is linear and separable: two small matrix products, many times as fast as the call
    down, across = _spread(height, x.device), _spread(width, x.device)
    bend = down @ (bend * (config.elastic * 2 / width)) @ across.T
    return on, affine, bend.permute(0, 2, 3, 1)


def _affine_grid(affine: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Where in `x` ``[N, 1, H, W]`` affine moves ``[N, 2, 3]`` look, place by place: ``[N, H, W, 2]`` in [-1, 1]."""
    return F.affine_grid(affine, list(x.shape), align_corners=False)


def _look_up(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    return F.grid_sample(x, grid.to(x.dtype), mode="bilinear", padding_mode="zeros", align_corners=False)


def _box(x: torch.Tensor, place: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lowest and highest of the places ``[N, H, W, 2]`` of the pixels that are ink, each ``[N, 2]``; 0 without ink."""
    paper = x[:, 0, :, :, None] < 0.5
    low = place.masked_fill(paper, torch.inf).amin((1, 2))
    high = place.masked_fill(paper, -torch.inf).amax((1, 2))
    return torch.where(low.isinf(), 0.0, low), high.nan_to_num(neginf=0.0)


def batch_index(n: int, batch_size: int, step: int, seed: int, rank: int = 0, world: int = 1) -> torch.Tensor:
    """Indices of the batch of one step: epoch-wise permutations without state, so that a resume is exact.

    Step `step` takes the next ``batch_size * world`` places of an endless row of seeded permutations of
    ``range(n)``; rank `rank` of `world` gets every `world`-th of them. Returns int64 ``[batch_size]``.
    """
    start = step * batch_size * world
    places = torch.arange(start + rank, start + batch_size * world, world)
    epochs = places // n
    permutations = {
        e: torch.randperm(n, generator=torch.Generator().manual_seed(seed * 1_000_003 + e))
        for e in range(int(epochs[0]), int(epochs[-1]) + 1)
    }
    return torch.stack([permutations[int(e)][p] for e, p in zip(epochs, places % n, strict=True)])


# --------------------------------------------------------------------------------------------- rendering


INK = 0.85  # of sharpened grey: above it is ink ...
LINK = 0.3  # ... and above this it is where it joins two pieces of ink to one


def sharpen(x: torch.Tensor, gain: float = 4.0, sigma: float = 2.0) -> torch.Tensor:
    """Grey ink with its contrast to the surroundings raised, so that one level, `INK`, parts ink from paper.

    A model that is unsure where a stroke runs paints it paler and wider than it is: below one half where strokes are
    thin, above it between two that run close together. What tells a stroke is that it is darker than what is around
    it: x + gain (x - blurred x). Of binary ink 1 stays at least 1 and 0 at most 0, so any level between leaves it as
    it is; `INK` lies above one half because a stroke is blurred by doubt about its place, and a blurred one is wide.

    Parameters
    ----------
    x
        Ink ``[N, 1, H, W]`` in [0, 1].
    gain, sigma
        Weight of the contrast, and standard deviation of the blur in pixels.

    Returns
    -------
    torch.Tensor
        ``[N, 1, H, W]``, not limited to [0, 1]; differentiable.
    """
    return x + gain * (x - _blur(x, sigma))


def find_ink(x: torch.Tensor, link: bool = True) -> torch.Tensor:
    """Where a model's grey guess is ink: what `sharpen` lifts above `INK`, and what joins two pieces of that.

    A thin stroke that a model is nearly sure of falls to pieces at one level, and at a lower one all of them would be
    wide. So what lies above `LINK` is ink where it touches two pieces of ink that do not hang together: hysteresis, as
    Canny 1986 follows an edge, except that a faint end stays off. Binary ink is found as it is.

    Takes ink ``[N, 1, H, W]`` in [0, 1] and returns bool ``[N, 1, H, W]`` on its device; without `link` only what is
    above `INK`.
    """
    dark = sharpen(x.detach().float())[:, 0]
    if not link:
        return (dark > INK)[:, None]
    dark = dark.cpu().numpy()
    out = dark > INK
    faint = (dark > LINK) & ~out
    for k in np.flatnonzero(faint.any((1, 2))):
        out[k] |= _links(out[k], faint[k])
    return torch.from_numpy(out)[:, None].to(x.device)


def _links(ink: np.ndarray, faint: np.ndarray) -> np.ndarray:
    """Those components of `faint` that touch two components of `ink` or more; bool ``[H, W]`` all three."""
    around = np.ones((3, 3), np.uint8)
    _, piece = cv2.connectedComponents(ink.view(np.uint8), ltype=cv2.CV_16U)
    n, link = cv2.connectedComponents(faint.view(np.uint8))
    # Number of the last and (counted from the far end) of the first piece beside each pixel; none is 0
    last, first = (cv2.dilate(numbered, around)[faint] for numbered in (piece, np.where(ink, ~piece, 0)))
    beside = np.zeros((2, n), np.uint16)
    np.maximum.at(beside[0], link[faint], last)
    np.maximum.at(beside[1], link[faint], first)
    joins = (beside[1] > 0) & (beside[0] != ~beside[1])
    return joins[link]


PEN = 0.45  # of ink blurred as a pen's edge is: above it a place is ink. Below one half, as the blur takes as much
# off a thin stroke as it would add to a thick one's inside
SUBPIXELS = 4  # a side of a pixel, at which edges are drawn
SPECK = 6  # pixels: smaller pieces of ink are dust


@functools.cache
def _pen_taps(device: torch.device) -> torch.Tensor:
    """Weights ``[SUBPIXELS**2, 1, 7, 7]`` by which each part of a pixel sees the pixels around it.

    Bilinear enlargement, then a Gaussian blur with a standard deviation of half a pixel, in one.
    """
    sigma, radius, reach = SUBPIXELS / 2, 2 * SUBPIXELS, 3  # both in parts of a pixel, then in pixels
    gauss = torch.exp(-0.5 * (torch.arange(-radius, radius + 1).double() / sigma) ** 2)
    impulse = torch.zeros(1, 1, 2 * reach + 3, dtype=torch.float64)
    impulse[0, 0, reach + 1] = 1
    large = F.interpolate(impulse, scale_factor=SUBPIXELS, mode="linear", align_corners=False)
    seen = F.conv1d(large, (gauss / gauss.sum()).view(1, 1, -1), padding=radius)[0, 0]
    line = seen[SUBPIXELS:-SUBPIXELS].view(2 * reach + 1, SUBPIXELS).flip(0).T  # [part, pixel]
    return torch.einsum("ai,bj->abij", line, line).reshape(-1, 1, 2 * reach + 1, 2 * reach + 1).float().to(device)


def pen_parts(ink: torch.Tensor) -> torch.Tensor:
    """How much of a pen each part of each pixel gets: `ink` ``[N, 1, H, W]`` to ``[N, SUBPIXELS**2, H, W]``.

    Where it is above `PEN` the part is ink. Linear, and on the device of `ink`.
    """
    taps = _pen_taps(ink.device).to(ink.dtype)
    with _exact(ink):
        return F.conv2d(F.pad(ink, [taps.shape[-1] // 2] * 4, mode="replicate"), taps)


def pen(ink: torch.Tensor) -> torch.Tensor:
    """Strokes with anti-aliased edges, ``[N, 1, H, W]``, of binary ink: `render` of it, dust included."""
    return (pen_parts(ink) > PEN).to(ink.dtype).mean(1, keepdim=True)


def render(x: torch.Tensor, link: bool = True) -> torch.Tensor:
    """What a pen leaves on paper: crisp strokes with anti-aliased edges, without haze or dust.

    A model's output is a grey guess; paper knows ink and no ink. The picture is made binary (`find_ink`) as the
    extraction leaves real ink, enlarged, lightly blurred and thresholded (which rounds the staircase of its edges),
    freed of specks and shrunk by area averaging. Starting from binary ink gives real and generated signatures the
    same texture, so that no score can tell them by their edges; every model and the reals are shown and scored
    through this one function.

    Parameters
    ----------
    x
        Ink ``[N, 1, H, W]`` in [0, 1].
    link
        Whether faint ink that joins two pieces is drawn, see `find_ink`.

    Returns
    -------
    torch.Tensor
        float32 ``[N, 1, H, W]`` in [0, 1] on the device of `x`.
    """
    parts = pen_parts(find_ink(x, link).float()) > PEN
    fine = F.pixel_shuffle(parts.to(torch.uint8), SUBPIXELS)[:, 0].cpu().numpy()
    for picture in fine:
        _, components, stats, _ = cv2.connectedComponentsWithStats(picture, connectivity=8)
        dust = stats[:, cv2.CC_STAT_AREA] < SPECK * SUBPIXELS**2
        dust[0] = False  # component 0 is the paper
        if dust.any():
            picture[dust[components]] = 0
    return F.avg_pool2d(torch.from_numpy(fine)[:, None].to(x.device).float(), SUBPIXELS)
