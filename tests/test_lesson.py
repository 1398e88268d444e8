"""What teachers get: student notebooks whose checks fail until the exercises are solved."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from sigen_utils import paths
from sigen_utils.__main__ import main
from sigen_utils.commands.lesson import BEGIN, END, STUB, without_solutions
from sigen_utils.commands.story import NOTEBOOKS
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
    return dict(np=np, torch=torch, itertools=itertools, prior=prior, flow=flow)


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


@pytest.mark.parametrize("name", [name for name in NOTEBOOKS if exercises(load(name))])
def test_checks_fail_before_and_pass_with_the_solution(students, names, name):
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
