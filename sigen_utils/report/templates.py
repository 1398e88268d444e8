"""Templates of the report and of the tables in Markdown: no number is typed, each comes from ``results.json``.

``report/main.tex.j2`` becomes the report, ``sigen_utils/report/*.md.j2`` become ``docs/results.md`` and the table of
the README. Names are strict: a template that asks for a value that was not measured stops with its name. In LaTeX a
value is written ``\\VAR{...}`` and a block ``\\BLOCK{...}``, as braces and per cents have a meaning there.

Reference: Jinja (the templating engine, with strict undefined names).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from .. import paths, provenance
from .results import ReportError, load_results

HERE = Path(__file__).parent
START, END = "<!-- results: written by `python -m sigen_utils report` -->", "<!-- /results -->"
NOTHING = "-"  # a score that does not apply to a row


def environment(latex: bool) -> jinja2.Environment:
    """Jinja with strict names and the filters of this module; for LaTeX with other delimiters."""
    from ..experiments.studies import CONVERGED  # it stores results itself

    marks: dict[str, Any] = {}
    if latex:
        marks = dict(
            block_start_string=r"\BLOCK{", block_end_string="}", variable_start_string=r"\VAR{",
            variable_end_string="}", comment_start_string=r"\#{", comment_end_string="}", line_comment_prefix="%%",
        )  # fmt: skip
    loader = jinja2.FileSystemLoader([paths.REPO / "report", HERE])
    found = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, **marks
    )
    found.filters |= dict(
        number=number, share=share, interval=interval, percent=percent, thousands=thousands, escape_latex=escape_latex
    )
    found.globals |= dict(cell=cell, plain=plain, rate=rate, like_rows=like_rows, sentences=_sentences)
    found.globals |= dict(spread=spread, converged=CONVERGED)
    return found


def render_template(name: str, results: Mapping[str, Any] | None = None) -> str:
    """The template `name` filled with results, by default those stored.

    Raises
    ------
    ReportError
        If it asks for a value that was not measured.
    """
    results = load_results() if results is None else results
    try:
        text = environment(name.endswith(".tex.j2")).get_template(name).render(**results)
    except jinja2.UndefinedError as error:
        raise ReportError(f"{name}: {error.message} in results.json; run the notebooks 01 to 06 first") from error
    return wrapped(text) if name.endswith(".md.j2") else text


def wrapped(text: str, width: int = 120) -> str:
    """Markdown whose prose and list items are at most `width` characters wide; tables and headings stay as they are."""
    lines = []
    for line in text.split("\n"):
        if len(line) <= width or line.startswith(("|", "#")):
            lines.append(line)
        else:
            inner = "  " if line.startswith("- ") else ""
            lines += textwrap.wrap(line, width, subsequent_indent=inner, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def write_markdown(results: Mapping[str, Any] | None = None) -> list[Path]:
    """Write ``docs/results.md`` whole, and the README's table between its marks."""
    out = [paths.REPO / "docs" / "results.md", paths.REPO / "README.md"]
    readme, block = out[1].read_text(encoding="utf-8"), render_template("readme.md.j2", results)
    if START not in readme or END not in readme:
        raise ReportError(f"README.md: the marks {START} and {END} are not in it")
    before, after = readme.split(START)[0], readme.split(END)[1]
    texts = [render_template("results.md.j2", results), f"{before}{START}\n\n{block.strip()}\n\n{END}{after}"]
    for path, text in zip(out, texts, strict=True):
        with paths.atomic_write(path) as temporary:
            temporary.write_text(text.rstrip() + "\n", encoding="utf-8")
    return out


# ------------------------------------------------------------------------------------------- filters


def number(value: float | None, digits: int = 2) -> str:
    """A number with so many decimals; `NOTHING` for None."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def share(value: float | None, digits: int = 0) -> str:
    """A share in per cent, with its sign in the words of a sentence."""
    return NOTHING if value is None else f"{100 * value:.{digits}f} %"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and range of a study's seeds, ``1.23 [1.01, 1.40]``."""
    low, high = (f"{end(values):.{digits}f}" for end in (min, max))
    return f"{sum(values) / len(values):.{digits}f} [{low}, {high}]"


def interval(score: Mapping[str, float] | None, digits: int = 2) -> str:
    """``1.23 [1.01, 1.40]`` of a stored score; `NOTHING` for None."""
    if score is None:
        return NOTHING
    if score["low"] == score["high"]:
        return number(score["value"], digits)
    return f"{score['value']:.{digits}f} [{score['low']:.{digits}f}, {score['high']:.{digits}f}]"


def percent(score: Mapping[str, float] | None, digits: int = 1) -> str:
    """`interval` of a rate, in per cent, without the sign."""
    return interval(score and {key: 100 * score[key] for key in ("value", "low", "high")}, digits)


def thousands(value: float) -> str:
    """``12,345``."""
    return f"{value:,.0f}"


def rate(table: Mapping[str, Any], row: str, score: str) -> str:
    """`percent` of an error rate in table C; `NOTHING` for a row that is not in it."""
    return percent(table["rows"].get(row, {}).get("scores", {}).get(score))


def like_rows(table: Mapping[str, Any], k: int = 16) -> list[str]:
    """Rows of table C: nothing added, genuine ones, the control, and every source of `k` duplicates."""
    first = [row for row in table["rows"] if row == "none" or row.startswith("genuine") or row.endswith("(control)")]
    return first + [row for row in table["rows"] if row.endswith(f", {k}")]


def cell(table: Mapping[str, Any] | None, row: str, score: str, digits: int = 2) -> str:
    """`interval` of a score in a table of ``metrics.questions.evaluate``; row "genuine" is its own row."""
    return interval(_found(table, row, score), digits)


def plain(table: Mapping[str, Any] | None, row: str, score: str, digits: int = 2) -> str:
    """The value of `cell` without its interval."""
    found = _found(table, row, score)
    return number(found and found["value"], digits)


def _found(table: Mapping[str, Any] | None, row: str, score: str) -> Mapping[str, float] | None:
    if table is None:
        return None
    scores = table["genuine"] if row == "genuine" else table["rows"].get(row, {}).get("scores", {})
    return scores.get(score)


def _sentences(table: Mapping[str, Any], scores: Sequence[str]) -> list[str]:
    from ..metrics.questions import sentences  # scores are heavy to import

    return sentences(table, scores)


def escape_latex(text: str) -> str:
    """Plain text for LaTeX."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {c: "\\" + c for c in "&%$#_{}"}
    return re.sub("|".join(map(re.escape, special)), lambda found: special[found[0]], text)


def write_report_source(results: Mapping[str, Any] | None = None) -> Path:
    """Write ``report/generated/main.tex``, with the commit it was made at."""
    results = load_results() if results is None else results
    path = paths.generated_dir() / "main.tex"
    with paths.atomic_write(path) as temporary:
        text = render_template("main.tex.j2", dict(results) | dict(commit=provenance.commit()))
        temporary.write_text(text, encoding="utf-8")
    return path
