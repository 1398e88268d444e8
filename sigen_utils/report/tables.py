"""The tables of the report in LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from .. import paths
from .formatting import (
    ABSENT,
    COPIES,
    FORMATS,
    LABELS,
    MISSING,
    NOT_APPLICABLE,
    is_searched,
    label,
    latex,
    mean_with_spread,
    models_of,
    plain,
    saved_share,
    stored,
)
from .results import load_results


def _tabular(columns: str, header: list[str], rows: Iterable[list[str] | None]) -> str:
    """A booktabs table; None among the rows is a rule."""
    lines = [rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule", " & ".join(header) + r" \\", r"\midrule"]
    lines += [r"\midrule" if row is None else " & ".join(row) + r" \\" for row in rows]
    return "\n".join(["% Written by sigen_utils/report from results.json", *lines, r"\bottomrule", r"\end{tabular}"])


def _cells(results: dict, prefix: str, columns: Iterable[tuple[str, str]]) -> list[str]:
    return [latex(plain(results, f"{prefix}.{name}", kind), kind) for name, kind in columns]


def data_table(results: dict) -> str:
    """The data set: what was read, what was found, and how that compares with the truth where it is known."""
    source = {"synthetic": "synthetic sheets", "photographs": "photographed sheets"}
    rows = [["Source", latex(source.get(str(stored(results, "data.source")), MISSING))]]
    fields = [
        ("Sheets", "n_sheets", "count"),
        ("People", "n_people", "count"),
        ("Signatures", "n_signatures", "count"),
        ("Training / held out", "n_train n_test", "count"),
        ("Cells flagged for review", "n_flagged", "count"),
        ("Extraction, seconds", "extract_seconds", "seconds"),
    ]
    if isinstance(stored(results, "data.truth"), dict):
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
    names = [
        n for n in ("learning_rate_g", "learning_rate_d") if stored(results, f"training.{model}.{n}") is not ABSENT
    ]
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
    rows.insert(1 + sum(name in models for name in COPIES), None)
    return _tabular("lrrrrrrrrrrr", header, rows)


def reconstruction_table(results: dict) -> str:
    """Held-out reconstruction beside answers that need no model."""
    blank = stored(results, "comparison.baselines.blank")
    rows: list[list[str] | None] = []
    names = [
        ("blank page", "blank"),
        ("mean training image", "mean_image"),
        ("mean of the person's others", "same_person_mean"),
        ("nearest other of the person", "nearest_same_person"),
        ("itself, moved by half a pixel", "moved_half_pixel"),
    ]
    for name, key in names:
        error = stored(results, f"comparison.baselines.{key}")
        share = MISSING
        if isinstance(error, int | float) and isinstance(blank, int | float) and blank:
            share = FORMATS["percent"](100 * error / blank)
        rows.append([name, *_cells(results, "comparison.baselines", [(key, "error")]), share, NOT_APPLICABLE])
    rows.append(None)
    for model in models_of(results, "comparison.models"):
        prefix = f"comparison.models.{model}.reconstruction"
        if isinstance(stored(results, prefix), dict):
            columns = [("squared_error", "error"), ("percent_of_blank", "percent"), ("f1", "share")]
            name = latex(label(results, model)) + (", by search" if is_searched(model) else "")
            rows.append([name, *_cells(results, prefix, columns)])
    return _tabular("lrrr", ["Answer", "Squared error", r"\% of blank", "Ink $F_1$"], rows)


def stroke_table(results: dict) -> str:
    """Distance of each stroke statistic's distribution from that of the real ink."""
    places = {"genuine halves": "comparison.floor.stroke"}
    places |= {label(results, m): f"comparison.models.{m}.stroke" for m in models_of(results, "comparison.models")}
    known = {name: part for name, path in places.items() if isinstance(part := stored(results, path), dict)}
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
    more = stored(results, f"{part}.genuine")
    for n in sorted(more, key=int) if isinstance(more, dict) else ():
        rows.append([f"{n} genuine signatures", *verifier(f"{part}.genuine.{n}"), *[NOT_APPLICABLE] * 4])
    rows.append(None)
    makers = stored(results, f"{part}.models")
    controls = [m for m in makers if m not in LABELS] if isinstance(makers, dict) else []
    scored = models_of(results, "usefulness.classification")
    for model in [*controls, *(m for m in scored if m != "genuine")]:
        known = isinstance(makers, dict) and model in makers
        cells = verifier(f"{part}.models.{model}.{most}") if known else [NOT_APPLICABLE] * 2
        cells += [latex(saved_share(results, f"{part}.models.{model}.{most}")) if known else NOT_APPLICABLE]
        if model in controls:
            cells += [NOT_APPLICABLE] * 3
        else:
            signs = isinstance(stored(results, f"usefulness.accepted.{model}"), float)
            cells += _cells(results, "usefulness.accepted", [(model, "percentage")]) if signs else [NOT_APPLICABLE]
            columns = [("train_on_these", "share"), ("score", "number")]
            cells += _cells(results, f"usefulness.classification.{model}", columns)
        rows.append([latex(label(results, model)), *cells])
    header = ["One reference and", r"EER, \%", r"95\,\%", r"Saved, \%", r"Accepted, \%", "Learned from", "Score"]
    return _tabular("lrrrrrr", header, rows)


ABLATION = [
    ("percent_of_blank", "percent"),
    ("frechet_floors", "floors"),
    ("recall", "share"),
    ("coverage", "share"),
    ("top1", "share"),
    ("within_extractor", "share"),
    ("nearest_train", "share"),
    ("stroke_width", "share"),
    ("stroke_components", "share"),
]


def ablation_table(results: dict) -> str:
    """Every arm of the ablations: mean over the seeds and, where there are several, the standard deviation."""
    from ..experiments.ablation import KINDS, means

    rows: list[list[str] | None] = []
    for kind, called in KINDS.items():
        found = stored(results, f"studies.ablation_{kind}")
        if not isinstance(found, dict):
            continue
        rows += [None] if rows else []
        for name, scores in means(found, [column for column, _ in ABLATION]).items():
            cells = [mean_with_spread(one, form, r"\,$\pm$\,") for one, (_, form) in zip(scores, ABLATION, strict=True)]
            rows.append([latex(f"{called}: {name}"), str(len(found["arms"][name])), *cells])
    header = ["Arm", "Seeds", r"\% of blank $\downarrow$", r"FD/floor $\downarrow$", "Recall", "Coverage", "Top-1"]
    header += ["Within", "Nearest", "Width", "Comp."]
    return _tabular("l" + "r" * (len(header) - 1), header, rows or [[MISSING] * len(header)])


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
