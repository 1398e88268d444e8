"""``results.json``: what the notebooks measured, written whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from .. import paths

SECTIONS = ("provenance", "data", "training", "reconstruction", "questions", "studies")


class ReportError(ValueError):
    """The results or the LaTeX source cannot be used; the message names the file and the remedy."""


def _check(value: object, where: str) -> None:
    """Refuse what JSON cannot hold, naming the place of it."""
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return
    if isinstance(value, float):  # numpy.float64 is one
        if not math.isfinite(value):
            raise ReportError(f"results.json: {where} is {value}; store None for a score that is not defined")
    elif isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ReportError(f"results.json: key {key!r} in {where} is not a string")
            _check(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for k, inner in enumerate(value):
            _check(inner, f"{where}[{k}]")
    else:
        kind = f"{type(value).__module__}.{type(value).__name__}"
        raise ReportError(f"results.json: {where} is a {kind}; convert it with int(), float(), str() or tolist()")


def load_results(root: Path | None = None) -> dict:
    """The measured values of all notebooks, of `paths.results_root` or of another root.

    Raises
    ------
    ReportError
        If there are none yet or the file is not whole JSON; the message names it and the remedy.
    """
    path = (root / "report" / "generated" if root else paths.generated_dir()) / "results.json"
    if not path.exists():
        raise ReportError(f"{paths.display(path)}: no results yet; run the notebooks 01 to 06 first")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReportError(f"{paths.display(path)}: not JSON ({error}); delete it and run the notebooks") from error
    if not isinstance(results, dict):
        raise ReportError(f"{paths.display(path)}: holds no sections; delete it and run the notebooks")
    return results


def update_results(section: str, values: dict, without: Sequence[str] = ()) -> Path:
    """Merge measured values into one section of ``results.json``, whole or not at all.

    Parameters
    ----------
    section
        One of `SECTIONS`.
    values
        JSON values by name. A name replaces what stood there before, with everything below it; other names of
        the section stay. So two notebooks can share ``training``, and a new ``comparison.models`` leaves no
        model of an older run behind. One writer at a time.
    without
        Names of the section that go unless `values` has them: what only some runs measure must not outlive them.

    Raises
    ------
    ReportError
        For an unknown section, NaN or infinity, or a value that JSON cannot hold; nothing is written then.
    """
    if section not in SECTIONS:
        raise ReportError(f"results.json has no section {section!r}; choose one of {', '.join(SECTIONS)}")
    if not isinstance(values, dict):
        raise ReportError(f"results.json: section {section} takes a dict, not a {type(values).__name__}")
    _check(values, section)
    path = paths.generated_dir() / "results.json"
    if path.exists():
        results = load_results()
    else:  # the stored studies take hours: a run of one's own begins with the committed ones
        own = paths.results_root() == paths.REPO / "own"
        results = {name: value for name, value in load_results(paths.REPO).items() if name == "studies"} if own else {}
    kept = {name: value for name, value in results.get(section, {}).items() if name not in without}
    results[section] = {**kept, **values}
    whole = {name: results[name] for name in sorted(results)}  # below that, rows and arms keep their order
    text = json.dumps(whole, indent=2, allow_nan=False, ensure_ascii=False)
    with paths.atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return path
