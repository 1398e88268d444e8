"""Stand-in signatures for the tests: smooth random curves, alike for one person, different between people."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from sigen_utils.data import SignatureSet


def draw_curve(points: np.ndarray, thickness: int = 2) -> np.ndarray:
    """uint8 ``[128, 128]``, 255 = ink: a smooth line through control points ``[n, 2]`` in [0, 1]."""
    t = np.linspace(0, len(points) - 1, 200)
    xy = np.stack([np.interp(t, np.arange(len(points)), points[:, k]) for k in (0, 1)], axis=1)
    kernel = np.hanning(31) / np.hanning(31).sum()
    xy = np.stack([np.convolve(np.pad(xy[:, k], 15, mode="edge"), kernel, "valid") for k in (0, 1)], axis=1)
    picture = np.zeros((128, 128), np.uint8)
    cv2.polylines(picture, [np.round(14 + xy * 100).astype(np.int32)], False, 255, thickness)
    return picture


def toy_signatures(people: int = 6, per_person: int = 4, seed: int = 0) -> SignatureSet:
    """A small signature set, deterministic by `seed`; the last of every person is held out."""
    rng = np.random.default_rng(seed)
    images, labels, files = [], [], []
    for person in range(people):
        shape = rng.random((7, 2))
        for k in range(per_person):
            images.append(draw_curve(np.clip(shape + 0.03 * rng.standard_normal(shape.shape), 0, 1)))
            labels.append(person)
            files.append(f"{person + 1}/{k + 1}.png")
    labels = torch.tensor(labels)
    is_test = torch.arange(len(labels)) % per_person == per_person - 1
    return SignatureSet(torch.from_numpy(np.stack(images)), labels, [str(p + 1) for p in range(people)], files, is_test)
