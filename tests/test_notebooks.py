"""The notebooks as files: order, form, size, and that they tell nothing of the machine they ran on.

Each rule is a function from a notebook to its faults. A sound small notebook has none, and for each rule there is
a way to break it, so a rule that cannot fail would itself be found.
"""

from __future__ import annotations

import ast
import base64
import copy
import importlib
import importlib.util
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from sigen_utils import figures
from sigen_utils.commands.lesson import for_fork
from sigen_utils.commands.story import COLORS, SHADES, WIDGET, _lighter, digest_of_code, keep_outputs

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NAMES = ["01_data_extraction", "02_vae", "03_gan", "04_comparison", "05_usefulness", "06_what_matters"]
README = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
BADGE = re.search(r"https://colab\.research\.google\.com/github/\S+/notebooks/", README)[0] + "{}.ipynb"
BOOTSTRAP = '"google.colab" in sys.modules'
FOREIGN = re.compile(r"(?<![\w./:~-])/(?:work|home|tmp|root|Users|var|opt|mnt)\b|\b[A-Z]:\\{1,2}\w")
MAX_BYTES, MAX_LINES, CELLS = 1_000_000, 25, range(20, 46)


def code(nb: dict) -> list[dict]:
    """The code cells that hold something."""
    return [cell for cell in nb["cells"] if cell["cell_type"] == "code" and cell["source"].strip()]


def tagged(nb: dict, tag: str) -> list[dict]:
    """The cells that carry `tag`."""
    return [cell for cell in nb["cells"] if tag in cell["metadata"].get("tags", [])]


def python(cell: dict) -> ast.Module:
    """The syntax tree of a code cell without IPython's own lines."""
    return ast.parse("\n".join("" if re.match(r"\s*[%!]", line) else line for line in cell["source"].splitlines()))


def valid(nb: dict, name: str) -> list[str]:
    try:
        nbformat.validate(copy.deepcopy(nb))
    except nbformat.ValidationError as error:
        return [f"no valid notebook: {str(error).splitlines()[0]}"]
    return [] if (nb["nbformat"], nb["nbformat_minor"]) >= (4, 5) else ["nbformat before 4.5, which has no cell IDs"]


def own_ids(nb: dict, name: str) -> list[str]:
    ids = [cell.get("id") for cell in nb["cells"]]
    return [f"cell ID {one!r} more than once or missing" for one in {i for i in ids if not i or ids.count(i) > 1}]


def no_errors(nb: dict, name: str) -> list[str]:
    outputs = [output for cell in code(nb) for output in cell["outputs"]]
    return [f"an output is an error: {o['ename']}" for o in outputs if o["output_type"] == "error"]


def counted_in_order(nb: dict, name: str) -> list[str]:
    counts = [cell["execution_count"] for cell in code(nb)]
    sound = not any(counts) or counts == list(range(1, len(counts) + 1))
    return [] if sound else [f"not run once from top to bottom: execution counts {counts}"]


def of_this_code(nb: dict, name: str) -> list[str]:
    shown = any(cell["outputs"] for cell in code(nb))
    sound = not shown or nb["metadata"].get("executed", {}).get("code") == digest_of_code(nb)
    return [] if sound else ["the outputs are of other code: run `make`, or clear all outputs"]


def small(nb: dict, name: str) -> list[str]:
    size = len(json.dumps(nb, ensure_ascii=False, indent=1).encode())
    return [] if size < MAX_BYTES else [f"{size} bytes; GitHub shows notebooks well up to {MAX_BYTES}"]


def nothing_of_this_machine(nb: dict, name: str) -> list[str]:
    texts = [cell["source"] for cell in nb["cells"]] + [json.dumps(nb["metadata"])]
    for output in (output for cell in code(nb) for output in cell["outputs"]):
        texts += [output.get("text", ""), *output.get("traceback", [])]
        texts += [str(data) for kind, data in output.get("data", {}).items() if not kind.startswith("image/")]
    texts = [re.sub(r"data:[\w/+-]+;base64,[A-Za-z0-9+/=\s]+", "", text) for text in texts]
    return [f"an absolute path: {text[max(0, m.start() - 20):m.end() + 30]!r}"
            for text in texts if (m := FOREIGN.search(text))]  # fmt: skip


def no_widget_state(nb: dict, name: str) -> list[str]:
    return ["metadata.widgets, which GitHub does not render"] if "widgets" in nb["metadata"] else []


def literal_parameters(nb: dict, name: str) -> list[str]:
    faults = ["a cell that papermill injected"] if tagged(nb, "injected-parameters") else []
    cells = tagged(nb, "parameters")
    if len(cells) != 1:
        return [*faults, f"{len(cells)} cells tagged 'parameters' instead of one"]
    for statement in python(cells[0]).body:
        try:
            sound = isinstance(statement, ast.Assign | ast.AnnAssign)
            ast.literal_eval(statement.value if sound else statement)
        except (TypeError, ValueError):
            sound = False
        if not sound:
            faults.append(f"the parameters cell holds more than literals: {ast.unparse(statement)}")
    return faults


def one_bootstrap(nb: dict, name: str) -> list[str]:
    found = [cell for cell in code(nb) if BOOTSTRAP in cell["source"]]
    return [] if found and found[0] is code(nb)[0] and len(found) == 1 else ["the first code cell is not the bootstrap"]


def short_cells(nb: dict, name: str) -> list[str]:
    lengths = [(len(cell["source"].splitlines()), cell["source"].strip().splitlines()[0]) for cell in code(nb)]
    return [f"a code cell of {n} lines: {first}" for n, first in lengths if n > MAX_LINES]


def fair_length(nb: dict, name: str) -> list[str]:
    n = len(nb["cells"])
    return [] if n in CELLS else [f"{n} cells; {CELLS.start} to {CELLS.stop - 1} make a lesson"]


def titled(nb: dict, name: str) -> list[str]:
    first = nb["cells"][0]
    faults = [] if first["cell_type"] == "markdown" and first["source"].startswith("# ") else ["no title on top"]
    return faults + ([] if BADGE.format(name) in first["source"] else ["no Colab badge that opens this notebook"])


def plain_kernel(nb: dict, name: str) -> list[str]:
    kernel = nb["metadata"].get("kernelspec", {}).get("name")
    return [] if kernel == "python3" else [f"kernel {kernel!r} instead of 'python3', which everybody has"]


def exists(module: str, member: str = "") -> bool:
    """Whether `module` can be imported and, for our own package, has `member`."""
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        return False
    if not module.startswith("sigen_utils"):
        return True
    try:
        found = importlib.import_module(module)
        return not member or hasattr(found, member) or importlib.util.find_spec(f"{module}.{member}") is not None
    except ModuleNotFoundError:
        return False


def imports_resolve(nb: dict, name: str) -> list[str]:
    wanted = set()
    for node in (node for cell in code(nb) for node in ast.walk(python(cell))):
        if isinstance(node, ast.Import):
            wanted |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            wanted |= {(node.module, alias.name) for alias in node.names}
    missing = {(m, n) for m, n in wanted if not m.startswith("google.colab") and not exists(m, n)}
    return [f"nothing to import: {module} {member}".strip() for module, member in sorted(missing)]


RULES: list[Callable[[dict, str], list[str]]] = [
    valid, own_ids, no_errors, counted_in_order, of_this_code, small, nothing_of_this_machine, no_widget_state,
    literal_parameters, one_bootstrap, short_cells, fair_length, titled, plain_kernel, imports_resolve,
]  # fmt: skip


def load(name: str) -> dict:
    """A notebook of the repository."""
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)


def test_the_lesson_is_complete():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(rule, name):
    assert rule(load(name), name) == []


def test_one_bootstrap_cell_for_all():
    sources = {cell["source"].strip() for name in NAMES for cell in code(load(name)) if BOOTSTRAP in cell["source"]}
    assert len(sources) == 1, "the bootstrap cells differ; one text belongs in all notebooks"


# From here on: the rules themselves.


@pytest.fixture
def sound() -> dict:
    """A small notebook that keeps all rules."""
    new = nbformat.v4
    cells = [new.new_markdown_cell(f"# Title\n[![Colab](badge.svg)]({BADGE.format('02_vae')})")]
    cells += [new.new_code_cell(f"import sys\nif {BOOTSTRAP}:\n    pass", execution_count=1)]
    literals = 'seed = 0  # why\nprofile: str = ""'
    cells += [new.new_code_cell(literals, metadata={"tags": ["parameters"]}, execution_count=2)]
    stream = new.new_output("stream", text="written to figures/vae.pdf, see https://example.org/home/x, 3/4 of it")
    picture = new.new_output("display_data", {"image/png": "aGVs/tmp/bG8=", "text/plain": "<Figure>"})
    cells += [new.new_code_cell("%matplotlib inline\nfrom sigen_utils import paths\nfrom pathlib import Path",
                                execution_count=3, outputs=[stream, picture])]  # fmt: skip
    cells += [new.new_markdown_cell("text") for _ in range(20)]
    kernel = {"name": "python3", "display_name": "Python 3"}
    nb = new.new_notebook(cells=cells, metadata={"kernelspec": kernel, "executed": {}})
    nb.metadata.executed.code = digest_of_code(nb)
    return nbformat.reads(nbformat.writes(nb), as_version=nbformat.NO_CONVERT)


FAULTS: dict[str, list[Callable[[dict], object]]] = {
    "valid": [lambda nb: nb["cells"][1].pop("outputs"), lambda nb: nb.update(nbformat_minor=4)],
    "own_ids": [lambda nb: nb["cells"][2].update(id=nb["cells"][1]["id"]), lambda nb: nb["cells"][2].pop("id")],
    "no_errors": [lambda nb: nb["cells"][3]["outputs"].append(
        nbformat.v4.new_output("error", ename="ValueError", evalue="", traceback=[]))],
    "counted_in_order": [lambda nb: nb["cells"][3].update(execution_count=7),
                         lambda nb: nb["cells"][1].update(execution_count=None)],
    "of_this_code": [lambda nb: nb["cells"][3].update(source="x = 2"), lambda nb: nb["metadata"].pop("executed")],
    "small": [lambda nb: nb["cells"][0].update(source="x" * MAX_BYTES)],
    "nothing_of_this_machine": [
        lambda nb: nb["cells"][3]["outputs"][0].update(text="see /home/ada/x.py:3: UserWarning"),
        lambda nb: nb["cells"][3].update(source='open("/tmp")'),
        lambda nb: nb["cells"][3]["outputs"][1]["data"].update({"text/plain": r"'C:\\Users\\ada'"}),
        lambda nb: nb["metadata"].update(papermill={"input_path": "/home/student/01.ipynb"}),
    ],
    "no_widget_state": [lambda nb: nb["metadata"].update(widgets={})],
    "literal_parameters": [
        lambda nb: nb["cells"][2]["metadata"].update(tags=[]),
        lambda nb: nb["cells"][2].update(source="seed = int(0)"),
        lambda nb: nb["cells"][2].update(source="import os"),
        lambda nb: nb["cells"][3]["metadata"].update(tags=["injected-parameters"]),
    ],
    "one_bootstrap": [lambda nb: nb["cells"][1].update(source="import sys"),
                      lambda nb: nb["cells"].insert(1, nb["cells"][3])],
    "short_cells": [lambda nb: nb["cells"][3].update(source="x = 1\n" * (MAX_LINES + 1))],
    "fair_length": [lambda nb: nb["cells"].pop() and nb.update(cells=nb["cells"][:10]),
                    lambda nb: nb.update(cells=nb["cells"] * 3)],
    "titled": [lambda nb: nb["cells"][0].update(source="Title"), lambda nb: nb["cells"].reverse(),
               lambda nb: nb["cells"][0].update(source=nb["cells"][0]["source"].replace("02_vae", "03_gan"))],
    "plain_kernel": [lambda nb: nb["metadata"]["kernelspec"].update(name="my-env"), lambda nb: nb["metadata"].clear()],
    "imports_resolve": [lambda nb: nb["cells"][3].update(source="import no_such_module_anywhere"),
                        lambda nb: nb["cells"][3].update(source="from sigen_utils import no_such_name"),
                        lambda nb: nb["cells"][3].update(source="from sigen_utils.no_such import name")],
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_passes_a_sound_notebook(rule, sound):
    assert rule(sound, "02_vae") == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_finds_a_fault(rule, sound):
    for fault in FAULTS[rule.__name__]:
        broken = copy.deepcopy(sound)
        fault(broken)
        assert rule(broken, "02_vae"), "the rule passed a broken notebook"


def test_all_badges_and_setup_cells_name_one_repository():
    owner, branch = re.search(r"github/([^/]+/[^/]+)/blob/(\S+)/notebooks/", BADGE).groups()
    badges = re.findall(r"https://colab\.research\.google\.com/github/\S+/notebooks/", README)
    assert len(badges) == len(NAMES) and set(badges) == {BADGE.removesuffix("{}.ipynb")}
    for name in NAMES:
        setup = code(load(name))[0]["source"]
        assert setup.startswith("# @title ") and f'REPO = "{owner}"  # @param ' in setup
        assert f'BRANCH = "{branch}"  # @param ' in setup and "KEEP_ON_DRIVE = False  # @param " in setup


def test_whose_fork_a_setup_cell_names_is_no_change_of_code():
    nb = load("02_vae")
    other = json.loads(for_fork(json.dumps(nb), "ada/signs", "class-of-2027"))
    assert "ada/signs" in code(other)[0]["source"] and BADGE.format("02_vae") not in other["cells"][0]["source"]
    assert digest_of_code(other) == digest_of_code(nb)
    code(other)[0]["source"] += "\nx = 1"
    assert digest_of_code(other) != digest_of_code(nb)


@pytest.mark.parametrize("colored", [True, False])
def test_a_heavy_picture_keeps_the_colours_of_its_thin_lines(colored):
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 1), np.uint8)  # what greys fill a palette with
    pixels = np.repeat(noise, 3, axis=2)
    lines = [tuple(bytes.fromhex(color[1:])) for color in figures.COLORS] if colored else []
    for row, color in enumerate(lines):
        pixels[20 * row + 10] = color
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    light = _lighter(base64.b64encode(out.getvalue()).decode())
    with Image.open(io.BytesIO(base64.b64decode(light))) as picture:
        kept, shades = np.asarray(picture.convert("RGB")).astype(int), len(picture.getcolors())
    assert len(light) < len(base64.b64encode(out.getvalue())) and shades <= (COLORS if colored else SHADES)
    assert all(np.abs(kept[20 * row + 10] - color).max() <= 8 for row, color in enumerate(lines))


def test_outputs_are_kept_without_what_is_of_the_machine(sound, tmp_path):
    new, cell = nbformat.v4, sound["cells"][3]
    stderr = new.new_output("stream", name="stderr", text="/home/ada/x.py:3: UserWarning")
    widget = new.new_output("display_data", {WIDGET: {"model_id": "1"}, "text/plain": "Explorer()"})
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)).save(out, format="PNG")
    heavy = new.new_output("display_data", {"image/png": base64.b64encode(out.getvalue()).decode()})
    done_heavy = dict(heavy["data"])
    done, kept = copy.deepcopy(sound), list(cell["outputs"])
    done["cells"][3]["outputs"] += [stderr, widget, heavy]
    done["metadata"]["papermill"] = {"input_path": "/home/ada/01.ipynb"}
    for one in code(sound):
        one.update(outputs=[], execution_count=None)
    executed, source = tmp_path / "executed.ipynb", tmp_path / "source.ipynb"
    nbformat.write(done, executed), nbformat.write(sound, source)
    keep_outputs(executed, source)
    found = nbformat.read(source, as_version=nbformat.NO_CONVERT)
    *light, picture = found["cells"][3]["outputs"]
    assert len(picture["data"]["image/png"]) < 0.5 * len(done_heavy["image/png"])
    assert light == kept and [one["execution_count"] for one in code(found)] == [1, 2, 3]
    assert [fault for rule in RULES for fault in rule(found, "02_vae")] == []
    done["cells"][3]["source"] += "\nx = 1"
    nbformat.write(done, executed)
    with pytest.raises(ValueError, match="run it again"):
        keep_outputs(executed, source)
    assert nbformat.read(source, as_version=nbformat.NO_CONVERT) == found
