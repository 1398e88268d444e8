"""What every test stands on: an own root for everything written, a headless plot, one thread, fixed seeds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch

matplotlib.use("Agg")
torch.set_num_threads(1)  # many small operations: threads would only wait for each other, and sums would vary


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty ``SIGEN_HOME`` for the tests of one module; nothing they write reaches the repository.

    Set for the tests in this folder only: notebooks checked in the same call choose their root themselves.
    """
    root = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGEN_HOME", str(root))
        patch.setenv("SIGEN_PROFILE", "smoke")
        patch.delenv("SIGEN_SHEETS", raising=False)
        for threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            patch.setenv(threads, "1")  # for the programs that tests start
        patch.setenv("MPLBACKEND", "Agg")
        yield root


@pytest.fixture(autouse=True)
def seeds() -> None:
    """The same random numbers in every run, whatever ran before."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
