"""From ``results.json`` to the report: macros, tables, the README's table and the PDF.

No number is typed into the report. The notebooks store what they measured with `update_results`; this module
rounds each value by one table (`FORMATS`) and writes it as a LaTeX macro ``\\val...`` or as a table cell. A value
that was never measured prints as ``--``, a score that does not apply as ``n/a``, so a partial run still typesets.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from . import paths

SECTIONS = ("provenance", "data", "training", "comparison", "usefulness", "studies")
MISSING, NOT_APPLICABLE = "--", "n/a"
TRAP = "augmented_copies"  # of training images: scored like a model, but none
LABELS = {  # in the order of the tables; the label stored with the results goes first
    TRAP: "moved training images",
    "report_vae": "report VAE",
    "vae": "residual VAE",
    "vae_pretrained": "residual VAE, pretrained",
    "vae_reference": "residual VAE, full run",
    "report_gan": "report GAN",
    "gan": "stabilised GAN",
    "gan_reference": "stabilised GAN, full run",
}
APT = "apt-get install -y --no-install-recommends latexmk texlive-latex-recommended texlive-publishers \
texlive-fonts-recommended"
_ABSENT = object()


class ReportError(ValueError):
    """The results or the LaTeX source cannot be used; the message names the file and the remedy."""


# ---------------------------------------------------------------------------------------------- results.json


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


def load_results() -> dict:
    """The measured values of all notebooks.

    Raises
    ------
    ReportError
        If there are none yet or the file is not whole JSON; the message names it and the remedy.
    """
    path = paths.generated_dir() / "results.json"
    if not path.exists():
        raise ReportError(f"{paths.display(path)}: no results yet; run the notebooks 01 to 06 first")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReportError(f"{paths.display(path)}: not JSON ({error}); delete it and run the notebooks") from error
    if not isinstance(results, dict):
        raise ReportError(f"{paths.display(path)}: holds no sections; delete it and run the notebooks")
    return results


def update_results(section: str, values: dict) -> Path:
    """Merge measured values into one section of ``results.json``, whole or not at all.

    Parameters
    ----------
    section
        One of `SECTIONS`.
    values
        JSON values by name. A name replaces what stood there before, with everything below it; other names of
        the section stay. So two notebooks can share ``training``, and a new ``comparison.models`` leaves no
        model of an older run behind. One writer at a time.

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
    results = load_results() if path.exists() else {}
    results[section] = {**results.get(section, {}), **values}
    text = json.dumps(results, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    with paths.atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------------------ formatting


def _significant(digits: int) -> Callable[[float], str]:
    """Formatter to `digits` significant digits; digits before the point are never cut, thousands are set apart."""

    def format_(value: float) -> str:
        if value == 0:
            return "0"
        exponent = int(f"{abs(value):.{digits - 1}e}".split("e")[1])  # after rounding: 9.96 has exponent 1
        return f"{value:,.{max(0, digits - 1 - exponent)}f}"

    return format_


def _share(value: float) -> str:
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.01 else _significant(1)(value)


def _rate(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def _percentage(value: float) -> str:
    """Two digits; hundredths of a percent say nothing of shares of a few hundred."""
    return "100" if value >= 99.5 else "0" if abs(value) < 0.05 else _significant(2)(value)


FORMATS: dict[str, Callable] = {
    "text": str,
    "count": lambda value: f"{round(value):,}",
    "number": lambda value: f"{value:,}" if isinstance(value, int) else _significant(3)(value),
    "setting": lambda value: f"{value:,}" if isinstance(value, int) else f"{value:,g}",  # exact, as configured
    "share": _share,  # of 1: precision, recall, coverage, top-1
    "percent": _significant(3),
    "distance": _significant(3),
    "floors": _significant(2),
    "kernel": _significant(2),
    "error": _significant(3),  # squared error an image
    "minutes": _significant(2),
    "seconds": _significant(2),
    "speed": lambda value: f"{round(value):,}" if value >= 10 else _significant(2)(value),
    "parameters": lambda value: f"{value / 1e6:.1f} M" if value >= 1e5 else f"{value:,}",
    "rate": _rate,
    "z": lambda value: f"{value:.1f}".replace("-0.0", "0.0"),  # standard scores
    "percentage": lambda value: _percentage(100 * value),  # of a share
}


def _get(results: dict, path: str) -> object:
    """The value at a dotted path; None below a None, `_ABSENT` where nothing was stored."""
    value: object = results
    for key in path.split("."):
        if value is None:
            return None
        if not isinstance(value, dict) or key not in value:
            return _ABSENT
        value = value[key]
    return value


def plain(results: dict, path: str, kind: str) -> str:
    """The value at a dotted path, rounded by `FORMATS`, as plain text."""
    value = _get(results, path)
    if value is _ABSENT:
        return MISSING
    if value is None:
        return NOT_APPLICABLE
    try:
        return FORMATS[kind](value)
    except (TypeError, ValueError) as error:
        raise ReportError(f"results.json: {path} is {value!r}, which is no {kind}") from error


def latex(text: str, kind: str = "text") -> str:
    """Plain text as LaTeX: special characters, thousands, minus signs and powers of ten."""
    if kind == "rate" and (match := re.fullmatch(r"([\d.]+)e(-?\d+)", text)):
        factor = "" if match[1] == "1" else rf"{match[1]}\times"
        return rf"${factor}10^{{{match[2]}}}$"
    text = re.sub(r"[&%$#_{}]", lambda m: "\\" + m[0], text.replace("\\", "/")).replace("~", " ").replace("^", " ")
    text = re.sub(r"(?<=\d),(?=\d{3})", "{,}", text)
    return re.sub(r"(?<![\w.-])-(?=\d)", "$-$", text)


def models_of(results: dict, *sections: str) -> list[str]:
    """Models of the named parts of the results: those of `LABELS` first and in their order, then any other."""
    found = {name for path in sections if isinstance(part := _get(results, path), dict) for name in part}
    return [name for name in LABELS if name in found] + sorted(found - set(LABELS))


def _contestants(results: dict) -> list[str]:
    """The scored models, without the trap."""
    return [model for model in models_of(results, "comparison.models") if model != TRAP]


def label(results: dict, model: str) -> str:
    """How figures and tables call a model."""
    for section in ("comparison.models", "training"):
        name = _get(results, f"{section}.{model}.label")
        if isinstance(name, str) and name != model and model != TRAP:
            return name
    return LABELS.get(model, model.replace("_", " "))


# ---------------------------------------------------------------------------------------------------- macros

NUMBERS: dict[str, tuple[str, str]] = {  # macro without \val: (place in results.json, kind)
    "NSheets": ("data.n_sheets", "count"),
    "NPeople": ("data.n_people", "count"),
    "NSignatures": ("data.n_signatures", "count"),
    "NTrain": ("data.n_train", "count"),
    "NTest": ("data.n_test", "count"),
    "NFlagged": ("data.n_flagged", "count"),
    "TruthCells": ("data.truth.cells", "number"),
    "TruthFound": ("data.truth.found", "number"),
    "TruthIou": ("data.truth.min_iou", "share"),
    "TruthIds": ("data.truth.ids_right", "number"),
    "TruthMisfiled": ("data.truth.misfiled", "number"),
    "TruthRecall": ("data.truth.ink_recall", "share"),
    "TruthPrecision": ("data.truth.ink_precision", "share"),
    "NCompared": ("comparison.n", "count"),
    "FloorFrechet": ("comparison.floor.frechet", "distance"),
    "FloorCoverage": ("comparison.floor.coverage", "share"),
    "FloorRecall": ("comparison.floor.recall", "share"),
    "FloorTopOne": ("comparison.floor.top1", "share"),
    "ReportVaeFloors": ("comparison.models.report_vae.frechet_floors", "floors"),
    "VaeFloors": ("comparison.models.vae.frechet_floors", "floors"),
    "ReportGanFloors": ("comparison.models.report_gan.frechet_floors", "floors"),
    "GanFloors": ("comparison.models.gan.frechet_floors", "floors"),
    "VaeCoverage": ("comparison.models.vae.coverage", "share"),
    "ReportGanCoverage": ("comparison.models.report_gan.coverage", "share"),
    "GanCoverage": ("comparison.models.gan.coverage", "share"),
    "GanRecall": ("comparison.models.gan.recall", "share"),
    "GanTopOne": ("comparison.models.gan.top1", "share"),
    "VerifierOne": ("usefulness.duplicates.one.eer", "percentage"),
    "VerifierPeople": ("usefulness.people", "count"),
    "VerifierEach": ("usefulness.train_per_person", "count"),
    "VerifierRuler": ("usefulness.ruler", "text"),
    "RulerPhotographs": ("usefulness.pairs.efflite0_block10.eer", "percentage"),
    "RulerOwn": ("usefulness.pairs.signature_crowd.eer", "percentage"),
    "GanSaved": ("usefulness.duplicates.models.gan.16.cut", "percentage"),
    "MovedSaved": ("usefulness.duplicates.models.moved copies of the one.16.cut", "percentage"),
    "BlankError": ("comparison.baselines.blank", "error"),
    "MeanError": ("comparison.baselines.mean_image", "error"),
    "NearestError": ("comparison.baselines.nearest_same_person", "error"),
    "ReportVaeError": ("comparison.models.report_vae.reconstruction.squared_error", "error"),
    "VaeError": ("comparison.models.vae.reconstruction.squared_error", "error"),
    "ReportVaePercent": ("comparison.models.report_vae.reconstruction.percent_of_blank", "percent"),
    "VaePercent": ("comparison.models.vae.reconstruction.percent_of_blank", "percent"),
    "GanMinutes": ("training.gan.minutes", "minutes"),
    "VaeMinutes": ("training.vae.minutes", "minutes"),
    "PretrainedVaePercent": ("comparison.models.vae_pretrained.reconstruction.percent_of_blank", "percent"),
    "PretrainedVaeFloors": ("comparison.models.vae_pretrained.frechet_floors", "floors"),
    "CrowdVaeMinutes": ("provenance.pretrained.vae.minutes", "minutes"),
    "CrowdVaeImages": ("provenance.pretrained.vae.images", "count"),
    "CrowdGanMinutes": ("provenance.pretrained.gan.minutes", "minutes"),
    "CrowdGanImages": ("provenance.pretrained.gan.images", "count"),
    "Crowd": ("provenance.pretrained.crowd", "text"),
    "LimitFloors": ("studies.convergence.limits.floors", "setting"),
    "LimitCoverage": ("studies.convergence.limits.coverage", "setting"),
    "Seed": ("provenance.seed", "count"),
    "Profile": ("provenance.profile", "text"),
    "Device": ("provenance.device", "text"),
    "Commit": ("provenance.commit", "text"),
    "Fingerprint": ("provenance.data_fingerprint", "text"),
    "Ruler": ("comparison.ruler", "text"),
}

SETTINGS: dict[str, tuple[str, str, str]] = {  # macro: (model, field of its config, kind)
    "VaeLatent": ("vae", "latent_dim", "setting"),
    "VaeWarmup": ("vae", "warmup", "setting"),
    "VaeComponents": ("vae", "components", "setting"),
    "VaeBandwidth": ("vae", "bandwidth", "setting"),
    "VaeVersions": ("vae", "versions", "setting"),
    "GanLatent": ("gan", "latent_dim", "setting"),
    "GanPenalty": ("gan", "penalty", "setting"),
    "GanPenaltyEnd": ("gan", "penalty_end", "setting"),
    "GanPenaltyEvery": ("gan", "penalty_every", "setting"),
    "GanPenaltySigma": ("gan", "penalty_sigma", "setting"),
    "GanFadeIn": ("gan", "fade_in", "setting"),
    "GanFidelity": ("gan", "fidelity", "setting"),
    "GanRateG": ("gan", "learning_rate_g", "rate"),
    "GanRateD": ("gan", "learning_rate_d", "rate"),
    "ReportGanRateG": ("report_gan", "learning_rate_g", "rate"),
    "ReportGanRateD": ("report_gan", "learning_rate_d", "rate"),
}


def _defaults(model: str):
    """The configuration a model has where the run did not record another value."""
    from . import gan, vae  # bring torch along, which readers of results do not need

    return {"vae": vae.VAEConfig(), "gan": gan.GANConfig(), "report_gan": gan.REPORT_GAN}[model]


def _ranking(results: dict, score: str, kind: str, lowest_first: bool) -> str:
    """``label (value)`` of every model, best first."""
    rows = []
    for model in _contestants(results):
        path = f"comparison.models.{model}.{score}"
        if isinstance(value := _get(results, path), int | float):
            rows.append((value if lowest_first else -value, f"{label(results, model)} ({plain(results, path, kind)})"))
    return ", ".join(text for _, text in sorted(rows, key=lambda row: row[0])) or MISSING


def _named(results: dict, wanted: Callable[[str], bool]) -> str:
    """The labels of the models for which `wanted` holds, or "none"."""
    models = _contestants(results)
    if not models:
        return MISSING
    return ", ".join(label(results, model) for model in models if wanted(model)) or "none"


def _worse_than_blank(results: dict) -> str:
    blank = _get(results, "comparison.baselines.blank")

    def wanted(model: str) -> bool:
        error = _get(results, f"comparison.models.{model}.reconstruction.squared_error")
        return isinstance(error, int | float) and isinstance(blank, int | float) and error >= blank

    return _named(results, wanted)


def _collapsed(results: dict) -> str:
    floor = _get(results, "comparison.floor.coverage")

    def wanted(model: str) -> bool:
        coverage = _get(results, f"comparison.models.{model}.coverage")
        return isinstance(coverage, int | float) and isinstance(floor, int | float) and coverage < floor / 10

    return _named(results, wanted)


def _pairs(results: dict, path: str, pattern: str) -> str:
    """The entries of a dict as text, by name."""
    part = _get(results, path)
    if not isinstance(part, dict):
        return MISSING
    items = sorted((str(k).replace("_", " "), v) for k, v in part.items())
    return ", ".join(pattern.format(k, v) for k, v in items) or "none"


def _converged(results: dict, recipe: str) -> str:
    """``10 of 10`` seeds."""
    entries = _get(results, f"studies.convergence.arms.{recipe}")
    return f"{sum(e['converged'] for e in entries)} of {len(entries)}" if isinstance(entries, list) else MISSING


def _over_seeds(results: dict, study: str, arm: str, score: str, kind: str) -> str:
    """``23.5 (0.2)``: mean and standard deviation over the seeds of an arm."""
    from .ablation import means

    found = _get(results, f"studies.{study}")
    one = means(found, [score]).get(arm, [None])[0] if isinstance(found, dict) else None
    if one is None:
        return MISSING
    return FORMATS[kind](one[0]) + (f" ({_significant(1)(one[1])})" if one[1] is not None else "")


def _range(results: dict, study: str, arm: str, score: str, kind: str) -> str:
    """``2.9 to 3.3`` over the seeds of an arm."""
    entries = _get(results, f"studies.{study}.arms.{arm}")
    if not isinstance(entries, list):
        return MISSING
    values = [entry[score] for entry in entries]
    return f"{FORMATS[kind](min(values))} to {FORMATS[kind](max(values))}"


def _search(results: dict, kind: str) -> str:
    """The settings that explain most of a search's goal, with their shares."""
    from .study import LABELS as SETTING

    shares = _get(results, f"studies.search_{kind}.importance")
    if not isinstance(shares, dict):
        return MISSING
    largest = sorted(shares.items(), key=lambda share: -share[1])[:3]  # a file keeps no order
    return ", ".join(f"{SETTING[k]} ({round(100 * v)} %)" for k, v in largest) or "none, too few trials"


def _study_costs(results: dict) -> str:
    """Minutes and images of one training of each study."""
    names = dict(ablation_vae="VAE ablation", ablation_gan="GAN ablation", convergence="convergence")
    found = {words: _get(results, f"studies.{name}.arms.ours") for name, words in names.items()}
    known = {words: one[0] for words, one in found.items() if isinstance(one, list)}
    texts = (f"{words} {_significant(2)(e['minutes'])} ({e['images']:,} images)" for words, e in known.items())
    return ", ".join(texts) or MISSING


PHRASES: dict[str, Callable[[dict], str]] = {  # sentences' parts that follow the numbers, whichever way they come out
    "RankFloors": lambda r: _ranking(r, "frechet_floors", "floors", lowest_first=True),
    "RankCoverage": lambda r: _ranking(r, "coverage", "share", lowest_first=False),
    "WorseThanBlank": _worse_than_blank,
    "LowCoverage": _collapsed,
    "OursConverged": lambda r: _converged(r, "ours"),
    "ReportConverged": lambda r: _converged(r, "report"),
    "OursConvergedFloors": lambda r: _range(r, "convergence", "ours", "frechet_floors", "floors"),
    "ReportConvergedFloors": lambda r: _range(r, "convergence", "report", "frechet_floors", "floors"),
    "VaeSeeds": lambda r: _over_seeds(r, "ablation_vae", "ours", "percent_of_blank", "percent"),
    "ScratchSeeds": lambda r: _over_seeds(r, "ablation_vae", "from random weights", "percent_of_blank", "percent"),
    "SearchVae": lambda r: _search(r, "vae"),
    "SearchGan": lambda r: _search(r, "gan"),
    "StudyMinutes": _study_costs,
    "Flags": lambda r: _pairs(r, "data.flags", "{0} ({1})"),
    "Versions": lambda r: _pairs(r, "provenance.versions", "{0} {1}"),
}

SWITCHES: dict[str, Callable[[dict], bool]] = {  # \valIfX{text when it holds}{text when not}
    "IfSynthetic": lambda r: _get(r, "data.source") != "photographs",
    "IfTruth": lambda r: isinstance(_get(r, "data.truth"), dict),
    "IfPretrained": lambda r: isinstance(_get(r, "provenance.pretrained"), dict),
    "IfReference": lambda r: any(m.endswith("_reference") for m in models_of(r, "training", "comparison.models")),
}


def defined_macros() -> set[str]:
    """Names of all macros of ``numbers.tex``, without the backslash."""
    return {"val" + name for table in (NUMBERS, SETTINGS, PHRASES, SWITCHES) for name in table}


def used_macros(tex: str | None = None) -> set[str]:
    """Names of the ``\\val...`` macros that `tex` (the report's source where None) uses."""
    return set(re.findall(r"\\(val[A-Z][A-Za-z]*)", _source(tex)))


def undefined_macros(tex: str | None = None) -> list[str]:
    """Macros that the report uses and `write_numbers` does not define."""
    return sorted(used_macros(tex) - defined_macros())


def unused_macros(tex: str | None = None) -> list[str]:
    """Macros that `write_numbers` defines and the report does not use."""
    return sorted(defined_macros() - used_macros(tex))


def _source(tex: str | None = None) -> str:
    """LaTeX source without its comments."""
    tex = (paths.REPO / "report" / "main.tex").read_text(encoding="utf-8") if tex is None else tex
    return re.sub(r"(?<!\\)%.*", "", tex)


def write_numbers(results: dict | None = None) -> Path:
    """Write ``generated/numbers.tex``, one macro a line, from `results` (``results.json`` where None)."""
    results = load_results() if results is None else results
    lines = ["% Written by sigen_utils/report.py from results.json; changes here are lost."]
    macros = {name: latex(plain(results, *entry), entry[1]) for name, entry in NUMBERS.items()}
    for name, (model, field, kind) in SETTINGS.items():
        text = plain(results, f"training.{model}.{field}", kind)
        macros[name] = latex(FORMATS[kind](getattr(_defaults(model), field)) if text == MISSING else text, kind)
    macros.update({name: latex(make(results)) for name, make in PHRASES.items()})
    lines += [rf"\newcommand{{\val{name}}}{{{text}}}" for name, text in macros.items()]
    lines += [rf"\newcommand{{\val{name}}}[2]{{#{1 if holds(results) else 2}}}" for name, holds in SWITCHES.items()]
    path = paths.generated_dir() / "numbers.tex"
    with paths.atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# ---------------------------------------------------------------------------------------------------- tables


def _tabular(columns: str, header: list[str], rows: Iterable[list[str] | None]) -> str:
    """A booktabs table; None among the rows is a rule."""
    lines = [rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule", " & ".join(header) + r" \\", r"\midrule"]
    lines += [r"\midrule" if row is None else " & ".join(row) + r" \\" for row in rows]
    return "\n".join(["% Written by sigen_utils/report.py from results.json", *lines, r"\bottomrule", r"\end{tabular}"])


def _cells(results: dict, prefix: str, columns: Iterable[tuple[str, str]]) -> list[str]:
    return [latex(plain(results, f"{prefix}.{name}", kind), kind) for name, kind in columns]


def data_table(results: dict) -> str:
    """The data set: what was read, what was found, and how that compares with the truth where it is known."""
    source = {"synthetic": "synthetic sheets", "photographs": "photographed sheets"}
    rows = [["Source", latex(source.get(str(_get(results, "data.source")), MISSING))]]
    fields = [
        ("Sheets", "n_sheets", "count"),
        ("People", "n_people", "count"),
        ("Signatures", "n_signatures", "count"),
        ("Training / held out", "n_train n_test", "count"),
        ("Cells flagged for review", "n_flagged", "count"),
        ("Extraction, seconds", "extract_seconds", "seconds"),
    ]
    if isinstance(_get(results, "data.truth"), dict):
        fields += [
            ("Cells drawn / found", "truth.cells truth.found", "number"),
            ("Smallest overlap of a cell with its truth", "truth.min_iou", "share"),
            ("Printed IDs read right", "truth.ids_right", "number"),
            ("Signatures filed under another person", "truth.misfiled", "number"),
            ("Ink recall / precision", "truth.ink_recall truth.ink_precision", "share"),
        ]
    for name, keys, kind in fields:
        rows.append([name, " / ".join(_cells(results, "data", [(key, kind) for key in keys.split()]))])
    return _tabular("lr", ["Quantity", "Value"], rows)


def _rates(results: dict, model: str) -> str:
    """Learning rates of generator and discriminator, or the one there is; in the short form, for a narrow column."""
    names = [n for n in ("learning_rate_g", "learning_rate_d") if _get(results, f"training.{model}.{n}") is not _ABSENT]
    cells = [plain(results, f"training.{model}.{name}", "rate") for name in names or ["learning_rate"]]
    return " / ".join(dict.fromkeys(cells))  # said once where both networks have the same


def training_table(results: dict) -> str:
    """Set-up and cost of every model."""
    header = ["Model", "Param.", "Batch", "Rate, G / D", "Steps", "Min.", "Img/s"]
    rows = []
    for model in models_of(results, "training"):
        before = _cells(results, f"training.{model}", [("parameters", "parameters"), ("batch_size", "count")])
        after = [("steps", "count"), ("minutes", "minutes"), ("images_per_second", "speed")]
        cost = _cells(results, f"training.{model}", after)
        rows.append([latex(label(results, model)), *before, _rates(results, model), *cost])
    return _tabular("lrrlrrr", header, rows)


SCORES = [
    ("precision", "share"),
    ("recall", "share"),
    ("density", "share"),
    ("coverage", "share"),
    ("top1", "share"),
    ("nearest_train", "share"),
]


def comparison_table(results: dict) -> str:
    """All scores of all models over the floor of one half of the genuine signatures against the other."""

    def row(prefix: str, name: str, floors: list[str]) -> list[str]:
        ends = [plain(results, f"{prefix}.frechet_{end}", "distance") for end in ("low", "high")]
        interval = latex(f"[{ends[0]}, {ends[1]}]") if set(ends) != {MISSING} else MISSING
        frechet, kernel = _cells(results, prefix, [("frechet", "distance"), ("kernel", "kernel")])
        scores = _cells(results, prefix, SCORES)
        return [latex(name), frechet, interval, floors[0], kernel, floors[1], *scores]

    header = ["Samples", r"FD $\downarrow$", r"95\,\% interval", r"FD/floor $\downarrow$", r"KD $\downarrow$"]
    header += [r"KD/floor $\downarrow$", "Prec.", "Recall", "Density", "Coverage", "Top-1", "Nearest"]
    rows: list[list[str] | None] = [row("comparison.floor", "genuine halves", ["1", "1"])]
    models = models_of(results, "comparison.models")
    for model in models:
        prefix = f"comparison.models.{model}"
        floors = _cells(results, prefix, [("frechet_floors", "floors"), ("kernel_floors", "floors")])
        rows.append(row(prefix, label(results, model), floors))
    rows.insert(2 if TRAP in models else 1, None)
    return _tabular("lrrrrrrrrrrr", header, rows)


def reconstruction_table(results: dict) -> str:
    """Held-out reconstruction beside answers that need no model."""
    blank = _get(results, "comparison.baselines.blank")
    rows: list[list[str] | None] = []
    names = [
        ("blank page", "blank"),
        ("mean training image", "mean_image"),
        ("mean of the person's others", "same_person_mean"),
        ("nearest other of the person", "nearest_same_person"),
        ("itself, moved by half a pixel", "moved_half_pixel"),
    ]
    for name, key in names:
        error = _get(results, f"comparison.baselines.{key}")
        share = MISSING
        if isinstance(error, int | float) and isinstance(blank, int | float) and blank:
            share = FORMATS["percent"](100 * error / blank)
        rows.append([name, *_cells(results, "comparison.baselines", [(key, "error")]), share, NOT_APPLICABLE])
    rows.append(None)
    for model in models_of(results, "comparison.models"):
        prefix = f"comparison.models.{model}.reconstruction"
        if isinstance(_get(results, prefix), dict):
            columns = [("squared_error", "error"), ("percent_of_blank", "percent"), ("f1", "share")]
            rows.append([latex(label(results, model)), *_cells(results, prefix, columns)])
    return _tabular("lrrr", ["Answer", "Squared error", r"\% of blank", "Ink $F_1$"], rows)


def stroke_table(results: dict) -> str:
    """Distance of each stroke statistic's distribution from that of the real ink."""
    places = {"genuine halves": "comparison.floor.stroke"}
    places |= {label(results, m): f"comparison.models.{m}.stroke" for m in models_of(results, "comparison.models")}
    known = {name: part for name, path in places.items() if isinstance(part := _get(results, path), dict)}
    names = list(dict.fromkeys(statistic for part in known.values() for statistic in part))
    columns = [(f"{name}.w1_sd", "floors") for name in names]
    rows = [[latex(name), *_cells(results, places[name], columns)] for name in known]
    header = ["Samples", *(latex(name.replace("_", " ")) for name in names)]
    return _tabular("l" + "r" * len(names), header, rows)


def usefulness_table(results: dict) -> str:
    """A verifier with one genuine reference and 16 duplicates, and a classifier that learns from them."""
    part, most = "usefulness.duplicates", "16"

    def verifier(path: str) -> list[str]:
        ends = [plain(results, f"{path}.{end}", "percentage") for end in ("eer_low", "eer_high")]
        return [*_cells(results, path, [("eer", "percentage")]), latex(f"[{ends[0]}, {ends[1]}]")]

    rows: list[list[str] | None] = []
    real = _cells(results, "usefulness.classification.genuine", [("train_on_these", "share"), ("score", "number")])
    accepted = _cells(results, "usefulness.accepted", [("genuine", "percentage")])
    rows.append(["one genuine signature", *verifier(f"{part}.one"), NOT_APPLICABLE, *accepted, *real])
    more = _get(results, f"{part}.genuine")
    for n in sorted(more, key=int) if isinstance(more, dict) else ():
        rows.append([f"{n} genuine signatures", *verifier(f"{part}.genuine.{n}"), *[NOT_APPLICABLE] * 4])
    rows.append(None)
    makers = _get(results, f"{part}.models")
    controls = [m for m in makers if m not in LABELS] if isinstance(makers, dict) else []
    scored = models_of(results, "usefulness.classification")
    for model in [*controls, *(m for m in scored if m != "genuine")]:
        known = isinstance(makers, dict) and model in makers
        cells = verifier(f"{part}.models.{model}.{most}") if known else [NOT_APPLICABLE] * 2
        cells += (
            _cells(results, f"{part}.models.{model}.{most}", [("cut", "percentage")]) if known else [NOT_APPLICABLE]
        )
        if model in controls:
            cells += [NOT_APPLICABLE] * 3
        else:
            signs = isinstance(_get(results, f"usefulness.accepted.{model}"), float)
            cells += _cells(results, "usefulness.accepted", [(model, "percentage")]) if signs else [NOT_APPLICABLE]
            columns = [("train_on_these", "share"), ("score", "number")]
            cells += _cells(results, f"usefulness.classification.{model}", columns)
        rows.append([latex(label(results, model)), *cells])
    header = ["One reference and", r"EER, \%", r"95\,\%", r"Saved, \%", r"Accepted, \%", "Learned from", "Score"]
    return _tabular("lrrrrrr", header, rows)


ABLATION = [
    ("percent_of_blank", "percent"),
    ("f1", "share"),
    ("active", "share"),
    ("frechet_floors", "floors"),
    ("recall", "share"),
    ("coverage", "share"),
    ("top1", "share"),
    ("within_ruler", "share"),
    ("nearest_train", "share"),
    ("stroke_width", "share"),
    ("stroke_components", "share"),
]


def ablation_table(results: dict) -> str:
    """Every arm of the two ablations: mean over the seeds and, where there are several, the standard deviation."""
    from .ablation import means

    rows: list[list[str] | None] = []
    for kind in ("vae", "gan"):
        found = _get(results, f"studies.ablation_{kind}")
        if not isinstance(found, dict):
            continue
        rows += [None] if rows else []
        for name, scores in means(found, [column for column, _ in ABLATION]).items():
            cells = [_with_spread(one, form) for one, (_, form) in zip(scores, ABLATION, strict=True)]
            rows.append([latex(f"{kind.upper()}: {name}"), str(len(found["arms"][name])), *cells])
    header = ["Arm", "Seeds", r"\% of blank $\downarrow$", r"Ink $F_1$", "Active", r"FD/floor $\downarrow$", "Recall"]
    header += ["Coverage", "Top-1", "Within", "Nearest", "Width", "Comp."]
    return _tabular("lrrrrrrrrrrrr", header, rows or [[MISSING] * len(header)])


def _with_spread(one: tuple[float, float | None] | None, kind: str) -> str:
    if one is None:
        return NOT_APPLICABLE
    return FORMATS[kind](one[0]) + (rf"\,$\pm$\,{_significant(1)(one[1])}" if one[1] else "")


TABLES: dict[str, Callable[[dict], str]] = {
    "data": data_table,
    "training": training_table,
    "comparison": comparison_table,
    "reconstruction": reconstruction_table,
    "strokes": stroke_table,
    "usefulness": usefulness_table,
    "ablation": ablation_table,
}


def write_tables(results: dict | None = None) -> list[Path]:
    """Write ``generated/tables/<name>.tex`` for all of `TABLES` from `results` (``results.json`` where None)."""
    results = load_results() if results is None else results
    written = []
    for name, make in TABLES.items():
        path = paths.generated_dir() / "tables" / f"{name}.tex"
        with paths.atomic_write(path) as temporary:
            temporary.write_text(make(results) + "\n", encoding="utf-8")
        written.append(path)
    return written


def readme_table(results: dict | None = None) -> str:
    """The main results as a Markdown table, with a line that says where they come from."""
    results = load_results() if results is None else results
    header = ["Samples", "Fréchet distance, floors [95 %] ↓", "Precision ↑", "Recall ↑", "Coverage ↑", "Person top-1 ↑"]
    header += ["Held-out squared error, % of a blank page ↓", "Training, minutes", "Parameters"]
    scores = [("precision", "share"), ("recall", "share"), ("coverage", "share"), ("top1", "share")]
    rows = [["genuine halves", "1", *(plain(results, f"comparison.floor.{n}", k) for n, k in scores)]]
    rows[0] += [NOT_APPLICABLE] * 3
    for model in models_of(results, "comparison.models", "training"):
        columns = [*scores, ("reconstruction.percent_of_blank", "percent")]
        cells = [_in_floors(results, model)]
        cells += [plain(results, f"comparison.models.{model}.{name}", kind) for name, kind in columns]
        cost = [plain(results, f"training.{model}.{n}", n) for n in ("minutes", "parameters")]
        rows.append([label(results, model), *cells, *cost])
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    source = {"synthetic": "the synthetic class", "photographs": "photographed sheets"}
    where = [plain(results, f"data.{name}", "count") for name in ("n_people", "n_signatures")]
    run = [plain(results, f"provenance.{name}", "text") for name in ("profile", "device", "commit")]
    note = (
        f"{source.get(str(_get(results, 'data.source')), MISSING)}, {where[0]} people, {where[1]} signatures; "
        f"{plain(results, 'comparison.n', 'count')} samples a model; profile {run[0]} on {run[1]}, commit {run[2]}."
    )
    return f"{_markdown(lines)}\n\nMeasured on {note}{_readme_variation(results)}{_readme_usefulness(results)}"


def _in_floors(results: dict, model: str) -> str:
    """Fréchet distance of a model over its floor, with the interval."""
    floor, text = (
        _get(results, "comparison.floor.frechet"),
        plain(results, f"comparison.models.{model}.frechet_floors", "floors"),
    )
    ends = [_get(results, f"comparison.models.{model}.frechet_{end}") for end in ("low", "high")]
    if not (isinstance(floor, int | float) and floor and all(isinstance(end, int | float) for end in ends)):
        return text
    return f"{text} [{', '.join(FORMATS['floors'](end / floor) for end in ends)}]"


def _readme_variation(results: dict) -> str:
    """A second table: are they new, as varied as a person's own, and drawn as with a pen?"""
    where = "comparison.models"
    models = [m for m in models_of(results, where) if isinstance(_get(results, f"{where}.{m}.stroke"), dict)]
    if not models:
        return ""

    def row(name: str, prefix: str, kernel: str) -> list[str]:
        strokes = _get(results, f"{prefix}.stroke")
        off = {part: one["w1_sd"] for part, one in strokes.items()} if isinstance(strokes, dict) else {}
        worst = max(off, key=off.get) if off else None
        columns = [
            ("within_ruler", "share"),
            ("within_pixels", "share"),
            ("nearest_train", "share"),
            ("copying_z", "z"),
        ]
        cells = [plain(results, f"{prefix}.{column}", kind) for column, kind in columns]
        return [name, kernel, *cells, f"{_share(off[worst])} ({worst.replace('_', ' ')})" if worst else NOT_APPLICABLE]

    rows = [row("genuine halves", "comparison.floor", "1")]
    rows += [
        row(label(results, m), f"{where}.{m}", plain(results, f"{where}.{m}.kernel_floors", "floors")) for m in models
    ]
    header = [
        "Samples",
        "Kernel distance, floors ↓",
        "Spread within a person, ruler (real: 1)",
        "the same, pixels (real: 1)",
    ]
    header += ["Nearer to a training signature than held-out ones (real: .50)", "Copying z (copies: below -2)"]
    header += ["Stroke statistic furthest from real, sd ↓"]
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return f"\n\nAre they new, as varied as a person's own signatures, and drawn as with a pen?\n\n{_markdown(lines)}"


def _markdown(lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _readme_usefulness(results: dict) -> str:
    """A second table under the first: what a verifier and a classifier gain; nothing where that was not measured."""
    study = _get(results, "usefulness.duplicates")
    if not isinstance(study, dict):
        return ""

    def row(name: str, path: str, accepted: str = "", classified: str = "") -> list[str]:
        eer = [plain(results, f"{path}.{end}", "percentage") for end in ("eer", "eer_low", "eer_high")]
        cut = _get(results, f"{path}.cut")
        cells = [f"{eer[0]} [{eer[1]}, {eer[2]}]", NOT_APPLICABLE if cut is _ABSENT else f"{round(100 * cut)}"]
        cells += [plain(results, accepted, "percentage") if accepted else NOT_APPLICABLE]
        return [name, *cells, plain(results, classified, "share") if classified else NOT_APPLICABLE]

    where = "usefulness.duplicates"
    genuine = ("usefulness.accepted.genuine", "usefulness.classification.genuine.train_on_these")
    rows = [row("one genuine signature", f"{where}.one", *genuine)]
    rows += [row(f"{n} genuine signatures", f"{where}.genuine.{n}") for n in sorted(study["genuine"], key=int)]
    for model in sorted(study["models"], key=lambda m: (m in LABELS, list(LABELS).index(m) if m in LABELS else 0)):
        more = (f"usefulness.accepted.{model}", f"usefulness.classification.{model}.train_on_these")
        name = f"one and 16: {label(results, model)}"
        rows.append(row(name, f"{where}.models.{model}.16", *(more if model in LABELS else ())))
    header = ["The verifier knows", "Equal error rate, % [95 %] ↓", "Error saved, % ↑"]
    header += ["Samples accepted, %", "Accuracy of a classifier trained on these ↑"]
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    ruler = plain(results, "usefulness.ruler", "text")
    return f"\n\nWhat generated signatures are good for (ruler `{ruler}`, intervals over people):\n\n{_markdown(lines)}"


def update_readme(path: str | Path, results: dict | None = None) -> bool:
    """Replace what stands between ``<!-- results:begin -->`` and ``<!-- results:end -->`` by `readme_table`.

    Returns
    -------
    bool
        Whether the file changed.

    Raises
    ------
    ReportError
        If the file does not hold exactly one such pair.
    """
    path = Path(path)
    begin, end = "<!-- results:begin -->", "<!-- results:end -->"
    text = path.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ReportError(f"{paths.display(path)}: needs one line {begin} and, below it, one line {end}")
    head, tail = text.split(begin)[0], text.split(end)[1]
    new = f"{head}{begin}\n{readme_table(results)}\n{end}{tail}"
    if new == text:
        return False
    with paths.atomic_write(path) as temporary:
        temporary.write_text(new, encoding="utf-8")
    return True


# ------------------------------------------------------------------------------------------------------- PDF


def figures_used(tex: str | None = None) -> list[str]:
    """File names that the report includes, by ``\\sigenfigure`` or plain ``\\includegraphics``, in order."""
    return re.findall(r"\\(?:sigenfigure|includegraphics)(?:\[[^\]]*\])?\{([^}#]+)\}", _source(tex))


def overfull_boxes(log: str, points: float = 5.0) -> list[str]:
    """Lines of a TeX log that tell of boxes more than `points` too wide or too high."""
    lines = re.findall(r"^Overfull \\[hv]box \([\d.]+pt too (?:wide|high)\).*$", log, re.M)
    return [line for line in lines if float(re.search(r"\(([\d.]+)pt", line)[1]) > points]


def tex_errors(log: str, context: int = 4) -> str:
    """The errors of a TeX log with the lines that follow each, else the log's last lines."""
    lines = log.splitlines()
    starts = [k for k, line in enumerate(lines) if line.startswith("!") or re.match(r"[^\s:]+\.\w+:\d+: ", line)]
    picked = [line for k in starts[-3:] for line in lines[k : k + context]] or lines[-15:]
    return "\n".join(picked)


def _gather_sources() -> Path:
    """The folder to compile in, with ``main.tex`` and ``refs.bib`` in it and every figure at hand."""
    source, target = paths.REPO / "report", paths.report_dir()
    if source.resolve() != target.resolve():
        for name in ("main.tex", "refs.bib"):
            with paths.atomic_write(target / name) as temporary:
                shutil.copyfile(source / name, temporary)
    missing = [name for name in figures_used() if not (paths.figures_dir() / name).is_file()]
    if missing:
        where = paths.display(paths.figures_dir())
        raise ReportError(f"{where}: no {', '.join(missing)}; the notebooks 01 to 06 make them, run those first")
    return target


def build_pdf(progress: Callable[[str], None] = print) -> Path | None:
    """Typeset the report from ``results.json`` and the figures to ``report/report.pdf``.

    Numbers and tables are written anew first, so the PDF cannot disagree with the results. The same inputs give
    the same bytes: no date enters.

    Parameters
    ----------
    progress
        Told about boxes more than 5 pt too wide, unresolved references, or a missing TeX.

    Returns
    -------
    Path or None
        The PDF; None where latexmk or pdflatex is not installed.

    Raises
    ------
    ReportError
        If there are no results, a figure is missing or TeX stops at an error (with the log's lines about it).
    """
    write_numbers()
    write_tables()
    target = _gather_sources()
    if not (shutil.which("latexmk") and shutil.which("pdflatex")):
        progress(f"no PDF: latexmk or pdflatex is not installed; on Debian or Ubuntu: {APT}")
        return None
    build = target / "build"
    shutil.rmtree(build, ignore_errors=True)  # a fresh build: nothing of an earlier, broken one can leak in
    build.mkdir()
    # Lines of the log unbroken, and a fixed clock
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1", "max_print_line": "1000"}
    command = ["latexmk", "-norc", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "-outdir=build", "main.tex"]
    run = subprocess.run(
        command, cwd=target, env=environment, capture_output=True, text=True, errors="replace", timeout=600
    )
    log_file = build / "main.log"
    log = log_file.read_text(encoding="utf-8", errors="replace") if log_file.exists() else run.stdout + run.stderr
    if run.returncode or not (build / "main.pdf").exists():
        hint = f"\nA file that is not found belongs to a TeX package: {APT}" if "not found" in log else ""
        raise ReportError(f"{paths.display(target / 'main.tex')} does not typeset:\n{tex_errors(log)}{hint}")
    for line in overfull_boxes(log) + re.findall(r"^LaTeX Warning: .*undefined.*$", log, re.M):
        progress(f"report: {line}")
    pdf = target / "report.pdf"
    with paths.atomic_write(pdf) as temporary:
        shutil.copyfile(build / "main.pdf", temporary)
    shutil.rmtree(build)
    return pdf
