"""What a large photograph takes of memory, as the operating system counts it."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2
import pytest

from sigen_utils.paths import REPO
from sigen_utils.synthesis import SynthesisConfig, synthesize

LIMIT = 1.2e9  # bytes
EXTRACT = """
import resource, sys
from sigen_utils import sheets
result = sheets.extract(sys.argv[1], sys.argv[2], workers=1, progress=None)
print(result.n_signatures, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts in kilobytes on Linux only")
def test_a_photograph_of_48_megapixels_takes_less_than_1200_megabytes(tmp_path):
    (photo,) = synthesize(tmp_path / "sheets", SynthesisConfig(people=12), progress=None, workers=1)
    picture = cv2.imread(str(photo))
    scale = (48e6 / (picture.shape[0] * picture.shape[1])) ** 0.5
    cv2.imwrite(str(photo), cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC))
    command = [sys.executable, "-c", EXTRACT, tmp_path / "sheets", tmp_path / "signatures"]
    environment = os.environ | dict(PYTHONPATH=str(REPO), OMP_NUM_THREADS="1")
    run = subprocess.run(command, cwd=REPO, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    signatures, peak = map(int, run.stdout.split())
    print(f"\n{signatures} signatures of 48 megapixels, peak {peak / 1e9:.2f} GB")
    assert signatures == 48 and peak < LIMIT
