"""Where a result comes from: commit, versions, device, data."""

from __future__ import annotations

import os
import platform
import subprocess

import cv2
import matplotlib
import numpy
import PIL
import sklearn
import torch

from . import paths
from .data import SignatureSet
from .device import precision

PACKAGES = dict(torch=torch, numpy=numpy, opencv=cv2, matplotlib=matplotlib, pillow=PIL) | {"scikit-learn": sklearn}


def commit() -> str:
    """The commit of this checkout, with a plus if the package has changed since; "unknown" outside a repository."""
    git = ["git", "-C", str(paths.REPO)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "--", "sigen_utils"], capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def provenance(data: SignatureSet, seed: int) -> dict[str, object]:
    """``commit, seed, data_fingerprint, versions, device, platform`` of results that are measured now on `data`."""
    device = data.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{os.cpu_count()} CPU cores"
    versions = {"python": platform.python_version()} | {name: str(m.__version__) for name, m in PACKAGES.items()}
    return dict(
        commit=commit(),
        seed=seed,
        data_fingerprint=data.fingerprint(),
        versions=versions,
        device=f"{name}, {str(precision(device)).removeprefix('torch.')}",  # what a minute holds depends on both
        platform=f"{platform.system()} {platform.machine()}",
    )
