"""Commands for teachers: the notebooks without the solutions of their exercises, and badges for a fork.

Each takes the parsed arguments and returns the process's status.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import subprocess
from pathlib import Path

from .story import NOTEBOOKS

BEGIN, END = "BEGIN SOLUTION", "END SOLUTION"  # nbgrader's markers
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"  # and what it puts in their place
BADGE = re.compile(
    r"(https://colab\.research\.google\.com/github/)[^/\s]+/[^/\s]+(/blob/)\S+?(/notebooks/[\w-]+\.ipynb)"
)
FIELD = r'((?:"|\\n){} = \\")[^"\\]*(\\"  # @param )'  # a form field of a set-up cell, as it stands in the file


def student(args: argparse.Namespace) -> int:
    """Write the notebooks without solutions and outputs into a folder that holds none of them yet."""
    from .. import paths

    out = Path(args.out).expanduser().resolve()
    if taken := [name for name in NOTEBOOKS if (out / f"{name}.ipynb").exists()]:
        raise ValueError(f"{out}: {taken[0]}.ipynb is there already; name an empty folder")
    for name in NOTEBOOKS:
        notebook = json.loads((paths.REPO / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
        with paths.atomic_write(out / f"{name}.ipynb") as temporary:
            temporary.write_text(_text(without_solutions(notebook)), encoding="utf-8")
    print(f"{len(NOTEBOOKS)} notebooks -> {out}")
    return 0


def without_solutions(notebook: dict) -> dict:
    """A copy of a notebook, read from JSON, as students get it.

    What stands between the markers gives way to nbgrader's stub, outputs are cleared, and the badge is left out,
    because it would open the notebook with the solutions.

    Raises
    ------
    ValueError
        If a marker has no partner.
    """
    notebook = copy.deepcopy(notebook)
    notebook["metadata"].pop("executed", None)
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
            source = _stubbed(source)
        elif BADGE.search(source):
            source = "\n".join(line for line in source.split("\n") if not BADGE.search(line))
            source = re.sub(r"\n{3,}", "\n\n", source)
        cell["source"] = source.splitlines(keepends=True)
    return notebook


def badges(args: argparse.Namespace) -> int:
    """Let the badges of the README and the notebooks, and the notebooks' set-up cells, name a fork and its branch."""
    from .. import paths

    repo = args.repo or _origin(paths.REPO)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise ValueError(f"--repo {repo!r}: not owner/name")
    if not re.fullmatch(r"\w[\w./-]*", args.branch):
        raise ValueError(f"--branch {args.branch!r}: not a name of a branch")
    for file in (paths.REPO / "README.md", *(paths.REPO / "notebooks" / f"{name}.ipynb" for name in NOTEBOOKS)):
        text = file.read_text(encoding="utf-8")
        with paths.atomic_write(file) as temporary:
            temporary.write_text(for_fork(text, repo, args.branch), encoding="utf-8")
    print(f"badges and set-up cells: {repo}, branch {args.branch}")
    return 0


def for_fork(text: str, repo: str, branch: str) -> str:
    """The text of a page or of a notebook's file with badges and form fields of another repository."""
    text = BADGE.sub(rf"\g<1>{repo}\g<2>{branch}\g<3>", text)
    for field, value in (("REPO", repo), ("BRANCH", branch)):
        text = re.sub(FIELD.format(field), rf"\g<1>{value}\g<2>", text)
    return text


def _origin(folder: Path) -> str:
    """owner/name of the GitHub repository that a checkout was cloned from."""
    command = ["git", "-C", str(folder), "remote", "get-url", "origin"]
    url = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    found = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(\.git)?/?$", url)
    if not found:
        raise ValueError("this checkout has no remote `origin` on GitHub; name the repository: --repo owner/name")
    return found[1]


def _stubbed(source: str) -> str:
    """Code whose solutions are replaced by the stub, indented as the first marker is."""
    lines, inside = [], False
    for line in source.split("\n"):
        if BEGIN in line:
            if inside:
                raise ValueError(f"{BEGIN} twice in a row: {line.strip()}")
            indent, inside = line[: len(line) - len(line.lstrip())], True
            lines += [indent + one for one in STUB.split("\n")]
        elif END in line:
            if not inside:
                raise ValueError(f"{END} without {BEGIN}")
            inside = False
        elif not inside:
            lines.append(line)
    if inside:
        raise ValueError(f"{BEGIN} without {END}")
    return "\n".join(lines)


def _text(notebook: dict) -> str:
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
