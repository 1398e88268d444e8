"""Pictures as the protocol sees them: rendered, measured in two feature extractors, strokes counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from . import registering
from .copy_test import Misfits
from .features import FeatureExtractor, SignatureExtractor
from .store import Store, digests
from .strokes import stroke_statistics

VERIFIER = SignatureExtractor.name  # in whose features people are distinguished
USED_IN_TRAINING = {
    FeatureExtractor.name: "no: trained on photographs, and no training or search asks it",
    SignatureExtractor.name: "no: trained on synthetic writers only, and no training or search asks it",
}


@dataclass(frozen=True)
class Seen:
    """Rendered pictures with what was measured of them.

    Attributes
    ----------
    x
        Rendered ink float32 ``[n, 1, 128, 128]``.
    features
        By extractor ``[n, d]``.
    strokes
        `stroke_statistics`.
    """

    x: torch.Tensor
    features: Mapping[str, np.ndarray]
    strokes: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: np.ndarray) -> Seen:
        features = {name: values[index] for name, values in self.features.items()}
        strokes = {name: values[index] for name, values in self.strokes.items()}
        return Seen(self.x[torch.as_tensor(index)], features, strokes)


class Eye:
    """Renders and measures; what was measured once is kept by the pictures' content.

    Parameters
    ----------
    extractors
        Feature extractors; by default both of the project. One of them is named `VERIFIER`.
    render
        What every picture passes; `render.render` by default.
    folder
        Where features and registrations outlive the process; None for nowhere.
    """

    def __init__(
        self,
        extractors: list[FeatureExtractor] | None = None,
        render: Callable[[torch.Tensor], torch.Tensor] | None = None,
        folder: str | Path | None = None,
        device: str | torch.device = "cpu",
    ):
        if render is None:
            from ..render import render
        self.render, self.device = render, device
        self.extractors = extractors or [FeatureExtractor(device), SignatureExtractor(device=device)]
        if VERIFIER not in self.names:
            raise ValueError(f"one of the feature extractors has to be {VERIFIER}, not only {', '.join(self.names)}")
        files = [f"features_{extractor.name}_{extractor.version}.npz" for extractor in self.extractors]
        files.append(f"misfits_{registering.version()}.npz")
        self.stores = [Store(folder and Path(folder) / file) for file in files]
        for extractor, store in zip(self.extractors, self.stores[:-1], strict=True):
            extractor.keep_in(store.values)
        self.misfits = Misfits(self.stores[-1].values, device)

    @property
    def names(self) -> list[str]:
        return [extractor.name for extractor in self.extractors]

    def __call__(self, raw: torch.Tensor, strokes: bool = True, rendered: bool = True) -> Seen:
        """`Seen` of raw ink ``[n, 1, 128, 128]``.

        `strokes` False leaves the counting out, `rendered` False takes the grey pictures as they are.

        Raises
        ------
        ValueError
            If the pictures hold values that are not finite.
        """
        if not torch.isfinite(raw).all():
            raise ValueError("the pictures hold values that are not finite: their model has diverged")
        keys = digests(raw.cpu(), ())
        first = {key: place for place, key in reversed(list(enumerate(keys)))}  # equal pictures once
        place = {key: k for k, key in enumerate(first)}
        once = raw[torch.tensor(list(first.values()), dtype=torch.int64)]
        drawn = self.render if rendered else lambda x: x.float().clamp(0, 1)
        parts = [drawn(part.to(self.device)).cpu() for part in once.split(256)]
        x = torch.cat(parts)[[place[key] for key in keys]] if parts else raw
        features = {extractor.name: extractor.features(x) for extractor in self.extractors}
        return Seen(x, features, stroke_statistics(x) if strokes else {})

    def save(self) -> None:
        """Write the caches."""
        for store in self.stores:
            store.save()
