"""Every path of the project in one place.

All outputs hang below one root, `home()`: the repository itself, or the folder named by the environment
variable ``SIGEN_HOME``, or ``<repository>/.smoke`` in the smoke profile. Figures and numbers of a run in the repository
go to its folder ``own``, so that nobody overwrites the committed ones unawares; ``make results`` puts them there.
``SIGEN_SHEETS`` names another folder of photographs to read.
Functions, not constants: a notebook may choose its profile after the import.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent


def home() -> Path:
    """Root below which everything is written."""
    if os.environ.get("SIGEN_HOME"):
        return Path(os.environ["SIGEN_HOME"]).expanduser().resolve()
    return REPO / ".smoke" if os.environ.get("SIGEN_PROFILE") == "smoke" else REPO


def sheets_dir() -> Path:
    """Folder of photographed sheets: ``SIGEN_SHEETS``, else ``home()/data/sheets``."""
    if os.environ.get("SIGEN_SHEETS"):
        return Path(os.environ["SIGEN_SHEETS"]).expanduser().resolve()
    return home() / "data" / "sheets"


def signatures_dir() -> Path:
    """Folder of extracted signatures, one sub-folder a person, with ``manifest.csv``."""
    return home() / "data" / "signatures"


def runs_dir() -> Path:
    """Folder of training runs (config, history, weights, samples)."""
    return home() / "runs"


def results_root() -> Path:
    """Root of figures and numbers: `home()`, or ``own`` below a repository that is the root by default."""
    return REPO / "own" if home() == REPO and not os.environ.get("SIGEN_HOME") else home()


def figures_dir() -> Path:
    """Folder of the figures that the report shows."""
    return results_root() / "figures"


def report_dir() -> Path:
    """Folder of the report's LaTeX source and PDF."""
    return results_root() / "report"


def generated_dir() -> Path:
    """Folder of ``results.json``, ``numbers.tex`` and the tables made from it."""
    return report_dir() / "generated"


def weights_dir() -> Path:
    """Folder of the committed reference models; read only, therefore always the repository's."""
    return REPO / "weights"


def display(path: str | os.PathLike) -> str:
    """A path as a reader should see it: relative to the root or the repository, never absolute if avoidable."""
    path = Path(path).resolve()
    for root in (home(), REPO):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.name


class WriteError(OSError):
    """A file cannot be written; the message names it and the remedy. What was there before is still whole."""


_FULL = "free some space there, or name another folder (SIGEN_HOME moves everything that is written)"
_CLOSED = "name a folder that you may write to (SIGEN_HOME moves everything that is written)"
_REMEDIES = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EFBIG: _FULL}
_REMEDIES |= {errno.EROFS: _CLOSED, errno.EACCES: _CLOSED, errno.EPERM: _CLOSED}


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """Turn what the operating system says against writing `path` into a `WriteError`."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        remedy = _REMEDIES.get(error.errno, "check that the folder is there and can be written to")
        raise WriteError(f"{path}: cannot be written ({error.strerror or error}); {remedy}") from error


PARTIAL = ".partial-"  # in the name of every file that is not whole yet


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file whole or not at all; WriteError says why not.

    Parameters
    ----------
    path
        The file to make; missing parent folders are made too.

    Yields
    ------
    Path
        A temporary file of the same suffix in the same folder. It replaces `path` when the block ends well
        and is removed when the block raises, so a reader never meets half a file. Only a kill can leave it;
        `sweep` finds it then.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}{PARTIAL}", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)  # mkstemp makes files private; figures and data are meant to be read
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike, value: object) -> Path:
    """Write `value` as JSON by `atomic_write`; return the file."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")
    return Path(path)


def sweep(folder: str | os.PathLike) -> None:
    """Remove what writers killed in the middle of `atomic_write` left in a folder and below.

    Only for a process that is alone in writing there.
    """
    for left in Path(folder).rglob(f".*{PARTIAL}*"):
        left.unlink(missing_ok=True)
