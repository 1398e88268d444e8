"""A hundred kills of all that takes long: bit-equal to what nobody killed. `make test-long` prints the counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from killed import JOBS

from sigen_utils.paths import REPO

pytestmark = [pytest.mark.long, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]


@pytest.mark.parametrize("job", JOBS)
def test_a_hundred_kills_change_nothing(job):
    command = [sys.executable, REPO / "tests" / "killed.py", job, "100"]
    run = subprocess.run(command, cwd=REPO, capture_output=True, text=True, env=os.environ | dict(PYTHONPATH=str(REPO)))
    assert run.returncode == 0, run.stdout + run.stderr
    counts = json.loads(run.stdout.splitlines()[-1])
    print(f"\n{job}: {counts}")
    assert counts["kills"] == 100 and counts["equal"] == counts["rounds"], run.stdout
