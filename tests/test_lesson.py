"""What teachers get: student notebooks whose checks fail until they are solved, badges and set-up cells of a fork."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import nbformat
import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from sigen_utils import metrics, paths
from sigen_utils.__main__ import main
from sigen_utils.commands.lesson import BEGIN, END, STUB, without_solutions
from sigen_utils.commands.story import NOTEBOOKS
from sigen_utils.experiments import blind_test
from sigen_utils.metrics import few_shot
from sigen_utils.models import prior
from sigen_utils.training import checkpoint

FOLDER = paths.REPO / "notebooks"


def load(name: str) -> dict:
    """A notebook of the repository, as JSON."""
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


def source(cell: dict) -> str:
    return "".join(cell["source"])


def role(cell: dict) -> dict:
    """What nbgrader knows of a cell."""
    return cell["metadata"].get("nbgrader", {})


def exercises(notebook: dict) -> list[tuple[dict, dict]]:
    """The cells to fill in, each with the check after it."""
    cells = notebook["cells"]
    return [(cell, cells[k + 1]) for k, cell in enumerate(cells) if role(cell).get("solution")]


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command writes."""
    out = tmp_path_factory.mktemp("students") / "exercises"
    assert main(["student", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def names() -> dict:
    """What the cells before the exercises have defined, as far as the exercises need it."""
    flow = checkpoint.load_run(paths.weights_dir() / "prior", "cpu").model.flow
    drawing = dict(np=np, torch=torch, itertools=itertools, prior=prior, flow=flow)
    return drawing | dict(cv2=cv2, cdist=cdist, metrics=metrics, few_shot=few_shot, blind_test=blind_test)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_solution_and_no_output_is_left(students, name):
    nb = nbformat.read(students / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)
    nbformat.validate(nb)
    text = (students / f"{name}.ipynb").read_text()
    assert BEGIN not in text and END not in text and "colab-badge" not in text and "executed" not in nb["metadata"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in nb["cells"] if cell["cell_type"] == "code")
    assert [cell["id"] for cell in nb["cells"]] == [cell["id"] for cell in load(name)["cells"]]
    kept = {line for cell in nb["cells"] for line in source(cell).splitlines()}
    original = {line for cell in load(name)["cells"] for line in source(cell).splitlines()}
    assert {line.strip() for line in kept - original} <= set(STUB.splitlines())


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_solutions_and_checks_are_where_nbgrader_looks_for_them(name):
    cells = load(name)["cells"]
    marked = [cell["id"] for cell in cells if BEGIN in source(cell)]
    assert marked == [cell["id"] for cell, _ in exercises(load(name))]
    grades = [role(cell)["grade_id"] for cell in cells if role(cell)]
    assert len(grades) == len(set(grades)) == 2 * len(marked)
    for _, check in exercises(load(name)):
        assert role(check)["grade"] and role(check)["locked"] and role(check)["points"] and BEGIN not in source(check)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_notebook_has_an_exercise_and_checks_fail_before_and_pass_with_the_solution(students, names, name):
    empty = json.loads((students / f"{name}.ipynb").read_text())
    solved = exercises(load(name))
    assert len(solved) == len(exercises(empty)) > 0
    for (filled, check), (stub, same) in zip(solved, exercises(empty), strict=True):
        assert source(check) == source(same)
        scope = dict(names)
        exec(source(stub), scope)
        with pytest.raises(NotImplementedError):
            exec(source(check), scope)
        scope = dict(names)
        exec(source(filled), scope)
        exec(source(check), scope)


def test_the_stub_is_nbgraders_own_and_takes_the_place_and_indent_of_the_solution():
    code = "def f(x):\n    y = 1\n    ### BEGIN SOLUTION\n    if x:\n        y = 2\n    ### END SOLUTION\n    return y"
    cell = dict(cell_type="code", metadata={}, source=code, outputs=[{}], execution_count=3)
    found = without_solutions(dict(metadata={}, cells=[cell]))["cells"][0]
    stub = "    # YOUR CODE HERE\n    raise NotImplementedError()"
    assert source(found) == f"def f(x):\n    y = 1\n{stub}\n    return y"
    assert cell["source"] == code, "the teacher's notebook was changed"


@pytest.mark.parametrize("text", ["### BEGIN SOLUTION\nx", "x\n### END SOLUTION",
                                  "### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION"])  # fmt: skip
def test_a_marker_without_its_partner_is_refused(text):
    with pytest.raises(ValueError, match=r"(BEGIN|END) SOLUTION"):
        without_solutions(dict(metadata={}, cells=[dict(cell_type="code", metadata={}, source=text)]))


def test_a_folder_with_notebooks_is_left_as_it_is(students, capsys):
    before = {path.name: path.read_bytes() for path in students.iterdir()}
    assert main(["student", str(students)]) == 2 == main(["student", str(FOLDER)])
    assert re.search("name an empty folder", capsys.readouterr().err)
    assert before == {path.name: path.read_bytes() for path in students.iterdir()}


# Colab: the set-up cell and the badges


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    subprocess.run(["git", *who, "-C", str(folder), *words], check=True, capture_output=True)


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    """A repository with a branch that holds what the set-up cell needs, and nothing to install."""
    if not shutil.which("git"):
        pytest.skip("needs git")
    folder = tmp_path / "fork"
    (folder / "sigen_utils").mkdir(parents=True)
    (folder / "report" / "generated").mkdir(parents=True)
    git(tmp_path, "init", "-q", "-b", "main", "fork")
    git(folder, "commit", "-q", "--allow-empty", "-m", "empty")
    git(folder, "checkout", "-q", "-b", "course")
    for name in ("sigen_utils/__init__.py", "sigen_utils/colab.py", "report/generated/results.json"):
        shutil.copy(paths.REPO / name, folder / name)
    (folder / "requirements.txt").write_text("# nothing\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "all")
    return folder


COLAB = """
import os, sys, types
mounted = []
google = sys.modules["google"] = types.ModuleType("google")
google.colab = sys.modules["google.colab"] = types.ModuleType("google.colab")
google.colab.drive = types.SimpleNamespace(mount=mounted.append)
exec({cell!r})
print(sys.modules["sigen_utils"].__file__, os.environ["SIGEN_HOME"], *mounted, sep="\\n")
"""


def set_up(fork: Path, content: Path, **fields: str) -> list[str]:
    """Run the set-up cell as Colab does, twice: where the package comes from, SIGEN_HOME, what was mounted."""
    (cell,) = {source(c) for c in load("02_vae")["cells"] if "bootstrap" in c["metadata"].get("tags", [])}
    for name, value in fields.items():
        cell, n = re.subn(rf"^{name} = .*?(?=  # @param)", f"{name} = {value}", cell, flags=re.MULTILINE)
        assert n == 1, f"no form field {name}"
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SIGEN_HOME")}
    env |= dict(SIGEN_REPO=fork.as_uri(), SIGEN_CLONE_DIR=str(content / "sigen"), SIGEN_HOME="", PYTHONNOUSERSITE="1")
    for _ in range(2):  # the second time as after a disconnect
        command = [sys.executable, "-c", COLAB.format(cell=cell)]
        done = subprocess.run(command, cwd=content, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-3:]


def test_the_setup_cell_clones_the_branch_that_its_field_names(fork, tmp_path):
    *said, package, home = set_up(fork, tmp_path, BRANCH='"course"')
    assert Path(package).parent == tmp_path / "sigen" / "sigen_utils" and home == ""
    assert said == ["data and runs end with this machine; KEEP_ON_DRIVE keeps them"]


def test_on_request_everything_is_written_to_drive_and_found_there_again(fork, tmp_path):
    drive = tmp_path / "drive"
    moved = (fork / "sigen_utils" / "colab.py").read_text().replace("/content/drive", str(drive))
    (fork / "sigen_utils" / "colab.py").write_text(moved)
    git(fork, "commit", "-q", "-a", "-m", "another place to mount")
    _, home, mounted = set_up(fork, tmp_path, BRANCH='"course"', KEEP_ON_DRIVE="True")
    assert mounted == str(drive) and Path(home) == drive / "MyDrive" / "sigen"
    kept = Path(home) / "report" / "generated" / "results.json"
    assert kept.read_bytes() == (fork / "report" / "generated" / "results.json").read_bytes()
    kept.write_text("{}")  # what a notebook wrote there
    set_up(fork, tmp_path, BRANCH='"course"', KEEP_ON_DRIVE="True")
    assert kept.read_text() == "{}"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the README and the notebooks that the command may rewrite."""
    shutil.copytree(FOLDER, tmp_path / "notebooks")
    shutil.copy(paths.REPO / "README.md", tmp_path)
    monkeypatch.setattr(paths, "REPO", tmp_path)
    return tmp_path


def test_badges_of_a_fork_and_back(copy, capsys):
    files = [copy / "README.md", *(copy / "notebooks" / f"{name}.ipynb" for name in NOTEBOOKS)]
    before = [file.read_text() for file in files]
    repo, branch = re.search(r"colab\.research\.google\.com/github/(\S+?)/blob/(\S+)/notebooks/", before[0]).groups()
    assert main(["badges", "--repo", "ada/signs", "--branch", "course/2027"]) == 0
    for file in files:
        text = file.read_text()
        names = re.findall(r"colab\.research\.google\.com/github/(\S+?)/notebooks/([\w-]+)\.ipynb", text)
        assert {link for link, _ in names} == {"ada/signs/blob/course/2027"}
        assert {name for _, name in names} == (set(NOTEBOOKS) if file.suffix == ".md" else {file.stem})
        if file.suffix == ".ipynb":
            assert r"REPO = \"ada/signs\"  # @param" in text and r"BRANCH = \"course/2027\"  # @param" in text
    main(["badges", "--repo", repo, "--branch", branch])
    assert [file.read_text() for file in files] == before
    assert main(["badges", "--repo", "no-name"]) == 2 and "owner/name" in capsys.readouterr().err
    assert main(["badges", "--repo", "ada/signs", "--branch", 'x"y']) == 2
    assert [file.read_text() for file in files] == before


@pytest.mark.parametrize("url", ["https://github.com/ada/signs.git", "git@github.com:ada/signs.git",
                                 "https://github.com/ada/signs"])  # fmt: skip
def test_badges_name_the_remote_of_the_checkout_by_default(copy, url, capsys):
    if not shutil.which("git"):
        pytest.skip("needs git")
    git(copy, "init", "-q")
    assert main(["badges"]) == 2 and "--repo owner/name" in capsys.readouterr().err
    git(copy, "remote", "add", "origin", url)
    assert main(["badges"]) == 0
    assert "github/ada/signs/blob/main/notebooks/" in (copy / "README.md").read_text()
