"""The signature set in memory: reading, splitting, batches; all on one device.

Polarity: in memory ink = 1 and paper = 0; on disk and on screen black ink on white paper.
`to_model` and `to_image` are the only two functions that convert.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import warnings
import zipfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from . import images, paths
from .layouts import find_signatures, natural
from .notices import DataNotice, DataWarning

SIZE = images.SIZE  # pixels a side, the size of every model


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


# --------------------------------------------------------------------------------------------- reading


def read_signature(path: str | Path) -> torch.Tensor:
    """The signature in one picture, of its first page, as ink ``[1, 128, 128]`` in {0, 1}.

    Raises
    ------
    DataError
        If the file cannot be read or shows no signature; the message names it and the remedy.
    """
    pictures, problems = _read_picture(Path(path), extracted=False)
    if not pictures:
        raise DataError("; ".join(problems))
    return torch.from_numpy(pictures[0])[None].float() / 255


def load_signatures(
    folder: str | Path, device: str | torch.device = "cpu", train_per_person: int | None = None
) -> SignatureSet:
    """Read a folder of signatures and hold out each person's last one.

    Parameters
    ----------
    folder
        ``<person>/<image>`` (as `extract` writes it; ``id.png`` is skipped), or one of the public layouts of
        `layouts.NAMES`; forgeries are left out. Any picture that `images.read_signatures` reads: it is cropped to the
        ink, scaled and binarised. With more than 8 signatures a person the last quarter is held out instead of the last
        one. An archive ``.npz`` of `sample` or `crowd` serves as well.
    device
        Where the set lives.
    train_per_person
        Train on that many of each person's signatures, the first ones, and hold out all others.

    Raises
    ------
    DataError
        If the folder is missing or holds nothing usable; the message names it and the remedy.

    Warns
    -----
    DataWarning
        Pictures that cannot be read or show no ink, with the remedy, and people with one signature: they are left out.
    DataNotice
        How many forgeries and files that are no pictures were left out.
    """
    folder = Path(folder)
    if folder.suffix == ".npz" and folder.is_file():
        pictures, names, files = _read_archive(folder)
    else:
        pictures, names, files = _read_folder(folder)
    single = {name for name, count in Counter(names).items() if count < 2}
    if single == set(names):
        raise DataError(f"{folder}: one signature a person; a person needs two or more, of which one is held out")
    if single:
        who = ", ".join(images.shown(name) for name in sorted(single, key=natural))
        message = f"{folder}: one signature only of {who}; left out, as one of two would be held out"
        warnings.warn(message, DataWarning, stacklevel=2)
        keep = [k for k, name in enumerate(names) if name not in single]
        pictures, names, files = pictures[keep], [names[k] for k in keep], [files[k] for k in keep]
    people = sorted(set(names), key=natural)
    place = {person: k for k, person in enumerate(people)}
    labels = torch.tensor([place[name] for name in names])
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    order, count = labels.argsort(stable=True), labels.bincount()
    for person, own in zip(people, order.split(count.tolist()), strict=True):
        held_out = max(1, len(own) // 4) if train_per_person is None else len(own) - train_per_person
        if not 0 < held_out < len(own):
            raise DataError(f"{folder / person}: cannot train on {train_per_person} of {len(own)}, hold out the others")
        is_test[own[-held_out:]] = True
    return SignatureSet(torch.from_numpy(pictures), labels, people, files, is_test).to(device)


def load_forgeries(folder: str | Path, people: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The forgeries of a folder that imitate some people.

    Returns
    -------
    images, labels
        Ink uint8 ``[N, 128, 128]`` (255 = ink), and whom each imitates, int64 ``[N]``, an index into `people`.

    Raises
    ------
    DataError
        If there are none that can be read.
    """
    folder = Path(folder)
    found = find_signatures(_folder(folder))
    wanted = [pair for pair in found.forged if pair[0] in set(people)]
    if not wanted:
        raise DataError(f"{folder}: no forgeries of these people; see `layouts` for the names they are known by")
    pictures, names, _ = _read_files(folder, wanted)
    return pictures, np.array([list(people).index(name) for name in names])


def _folder(folder: Path) -> Path:
    if folder.is_file():
        raise DataError(f"{folder}: a file; unpack it if it is an archive, and name the folder with the signatures")
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; run `python -m sigen_utils extract` first or name another one")
    return folder


def _read_folder(folder: Path) -> tuple[np.ndarray, list[str], list[str]]:
    """Pictures uint8 ``[N, 128, 128]``, person and name of each, from a folder; see `load_signatures`."""
    found = find_signatures(_folder(folder))
    if not found.genuine:
        raise DataError(
            f"{folder}: no <person>/<image> in it; expected one sub-folder a person with its signatures"
            + (f" ({found.summary()})" if found.summary() else "")
        )
    if found.summary():
        warnings.warn(f"{folder}: {found.summary()}", DataNotice, stacklevel=3)
    return _read_files(folder, found.genuine)


def _read_files(folder: Path, pairs: list[tuple[str, Path]]) -> tuple[np.ndarray, list[str], list[str]]:
    """The same of (person, file) pairs; what cannot be read is named and left out."""
    extracted = (folder / "manifest.csv").is_file()
    with images.quietly(), ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda pair: _read_picture(pair[1], extracted), pairs)
        pictures, names, files, bad = [], [], [], []
        for (who, path), (pages, problems) in zip(pairs, results, strict=True):
            bad += [f"{images.shown(who)}/{problem}" for problem in problems]
            pictures += pages
            names += [who] * len(pages)
            files += [f"{who}/{path.name}" + (f"#{k + 1}" if k else "") for k in range(len(pages))]
    if not pictures:
        raise DataError(f"{folder}: no picture of {len(pairs)} shows a signature. " + "; ".join(bad[:5]))
    if bad:
        named = "; ".join(bad[:20]) + (f"; and {len(bad) - 20} more" if len(bad) > 20 else "")
        message = f"{folder}: {len(bad)} {'pictures' if len(bad) > 1 else 'picture'} left out. {named}"
        warnings.warn(message, DataWarning, stacklevel=4)
    return np.stack(pictures), names, files


def _read_picture(path: Path, extracted: bool) -> tuple[list[np.ndarray], list[str]]:
    """Ink uint8 ``[128, 128]`` of every page of a file, and what is wrong with the others."""
    if extracted:  # what `extract` has written is taken as it is
        with contextlib.suppress(OSError), Image.open(path) as picture:  # said below, with the remedy
            grey = np.asarray(picture)
            if grey.shape == (SIZE, SIZE) and np.isin(grey, (0, 255)).all():
                return [255 - grey], []
    try:
        pages = images.read_signatures(path)
    except images.ImageError as error:
        return [], [str(error)]
    return [page.image for page in pages if not page.problem], [page.problem for page in pages if page.problem]


def _read_archive(path: Path) -> tuple[np.ndarray, list[str], list[str]]:
    """The same from an archive of `sample` or `crowd`; pickled contents are refused."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            pictures, names = np.asarray(archive["x"]), np.atleast_1d(archive["y"]).astype(str).tolist()
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not an archive of `sample` or `crowd` ({error}); make it again") from error
    if pictures.dtype != np.uint8 or pictures.shape[1:] != (SIZE, SIZE) or len(pictures) != len(names):
        raise DataError(
            f"{path}: x is {pictures.dtype} {pictures.shape}, not uint8 [N, {SIZE}, {SIZE}] with a name each"
        )
    # In place, a signature at a time: a crowd is a gigabyte
    for picture in pictures:
        picture[...] = (picture > 127) * np.uint8(255)
    return pictures, names, [f"{name}/{k}" for k, name in enumerate(names)]


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
    return _extracted(paths.sheets_dir(), paths.signatures_dir(), profile, 0, workers, progress)


def ensure_unseen(profile, workers: int | None = None, progress=print) -> Path:
    """Signatures of another synthetic class, photographed and extracted once: people that no model has seen."""
    out = paths.home() / "data" / ".signatures_unseen"
    return _extracted(paths.home() / "build" / "sheets_unseen", out, profile, 1, workers, progress)


def _extracted(folder: Path, out: Path, profile, seed: int, workers: int | None, progress) -> Path:
    from . import sheets, synthesis  # heavy, and only needed the first time

    if (out / "manifest.csv").exists():
        return out
    if needs_sheets(folder):
        progress(f"no photographs in {paths.display(folder)}: drawing a synthetic class of {profile.people} people")
        config = synthesis.SynthesisConfig(people=profile.people, per_person=profile.per_person, seed=seed)
        synthesis.synthesize(folder, config, progress=progress, workers=workers)
    result = sheets.extract(folder, out, sheets.ExtractionConfig(), workers=workers, progress=progress)
    if not result.n_signatures:
        raise DataError(f"{folder}: no signature could be extracted; {'; '.join(result.errors) or 'no sheet found'}")
    return out


def needs_sheets(folder: Path) -> bool:
    """Whether a synthetic class has to be drawn into `folder`: no photographs, or a synthesis that was interrupted."""
    if not folder.is_dir() or not any(p.is_file() and images.is_picture(p) for p in folder.rglob("*")):
        return True
    return (folder / "masks").is_dir() and not (folder / "truth.json").is_file()  # which is written last


def batch_index(n: int, batch_size: int, step: int, seed: int, rank: int = 0, world: int = 1) -> torch.Tensor:
    """Indices of the batch of one step: epoch-wise permutations without state, so that a resume is exact.

    Step `step` takes the next ``batch_size * world`` places of an endless row of seeded permutations of
    ``range(n)``; rank `rank` of `world` gets every `world`-th of them. Returns int64 ``[batch_size]``.
    """
    start = step * batch_size * world
    places = torch.arange(start + rank, start + batch_size * world, world)
    epochs = places // n
    index = torch.empty_like(places)
    for epoch in epochs.unique().tolist():
        of_epoch = epochs == epoch
        index[of_epoch] = _permutation(n, seed * 1_000_003 + epoch)[places[of_epoch] % n]
    return index


@functools.lru_cache(maxsize=4)
def _permutation(n: int, seed: int) -> torch.Tensor:
    """Those of the last epochs are kept: a crowd's takes longer to draw than a step's own batch to find."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))
