"""Nothing is sent or fetched, and what a model drew says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from killed import train_vae
from PIL import Image

from sigen_utils import widgets
from sigen_utils.paths import REPO

CLOSED = """
import importlib, pkgutil, socket, sys
from pathlib import Path

def refused(*where, **how):
    raise AssertionError(f"a connection was opened: {where}")

socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refused
import sigen_utils
for module in pkgutil.walk_packages(sigen_utils.__path__, "sigen_utils."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from killed import train_vae
from sigen_utils.__main__ import main
out = Path(sys.argv[1])
assert main(["synthesize", "--out", str(out / "sheets"), "--people", "3", "--per-person", "2", "--workers", "1"]) == 0
main(["extract", "--sheets", str(out / "sheets"), "--out", str(out / "signatures"), "--workers", "1"])
train_vae(out / "run", 4)
assert main(["doctor"]) == 0
print("done")
"""


def test_import_synthesis_extraction_and_training_open_no_connection(tmp_path):
    path = os.pathsep.join((str(REPO), str(REPO / "tests")))
    command = [sys.executable, "-c", CLOSED, tmp_path]
    run = subprocess.run(command, cwd=REPO, capture_output=True, text=True, env=os.environ | dict(PYTHONPATH=path))
    assert run.stdout.endswith("done\n"), run.stdout + run.stderr
    assert list((tmp_path / "signatures").glob("*/1.png"))


def test_pictures_that_a_model_drew_say_so(tmp_path):
    files = [*train_vae(tmp_path / "run", 4).run_dir.rglob("*.png"), tmp_path / "widget.png"]
    files[-1].write_bytes(widgets.png(np.zeros((8, 8), np.uint8)))
    assert len(files) > 1
    for file in map(Path, files):
        with Image.open(file) as picture:
            assert picture.info["Software"].startswith("sigen ")
            assert "no person has signed this" in picture.info["synthetic"]
