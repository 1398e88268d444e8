"""The tables of the README in Markdown, between marks."""

from __future__ import annotations

from pathlib import Path

from .. import paths
from .formatting import (
    FORMATS,
    LABELS,
    MISSING,
    NOT_APPLICABLE,
    is_searched,
    label,
    mean_with_spread,
    models_of,
    plain,
    saved_share,
    stored,
)
from .results import ReportError, load_results


def readme_table(results: dict | None = None) -> str:
    """The main results as a Markdown table, with a line that says where they come from."""
    results = load_results() if results is None else results
    header = ["Samples", "Fréchet distance, floors ↓", "Precision ↑", "Recall ↑", "Coverage ↑", "Person top-1 ↑"]
    header += ["Held-out squared error, % of a blank page ↓ (* by search)", "Training, minutes", "Parameters"]
    scores = [("precision", "share"), ("recall", "share"), ("coverage", "share"), ("top1", "share")]
    rows = [["genuine halves", "1", *(plain(results, f"comparison.floor.{n}", k) for n, k in scores)]]
    rows[0] += [NOT_APPLICABLE] * 3
    for model in models_of(results, "comparison.models", "training"):
        prefix = f"comparison.models.{model}"
        cells = [_with_interval(results, prefix, "frechet_floors", "floors", "comparison.floor.frechet")]
        cells += [_with_interval(results, prefix, name, kind) for name, kind in scores]
        again = plain(results, f"{prefix}.reconstruction.percent_of_blank", "percent")
        cells += [again + " *" * (is_searched(model) and again not in (MISSING, NOT_APPLICABLE))]
        cost = [plain(results, f"training.{model}.{n}", n) for n in ("minutes", "parameters")]
        rows.append([label(results, model), *cells, *cost])
    source = {"synthetic": "the synthetic class", "photographs": "photographed sheets"}
    where = [plain(results, f"data.{name}", "count") for name in ("n_people", "n_signatures")]
    run = [plain(results, f"provenance.{name}", "text") for name in ("profile", "device", "commit")]
    note = (
        f"{source.get(str(stored(results, 'data.source')), MISSING)}, {where[0]} people, {where[1]} signatures; "
        f"{plain(results, 'comparison.n', 'count')} a side, 95 % intervals in brackets; "
        f"profile {run[0]} on {run[1]}, commit {run[2]}."
    )
    return f"{_markdown(header, rows)}\n\nMeasured on {note}{_readme_variation(results)}{_readme_usefulness(results)}"


def _with_interval(results: dict, prefix: str, name: str, kind: str, unit: str | None = None) -> str:
    """``2.4 [2.2, 2.6]``; the ends of ``x_floors`` are those of ``x`` over the value at `unit`."""
    text, per = plain(results, f"{prefix}.{name}", kind), 1.0 if unit is None else stored(results, unit)
    ends = [stored(results, f"{prefix}.{name.removesuffix('_floors')}_{end}") for end in ("low", "high")]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in (per, *ends)) or not per:
        return text
    return f"{text} [{', '.join(FORMATS[kind](end / per) for end in ends)}]"


def _readme_variation(results: dict) -> str:
    """A second table: are they new, as varied as a person's own, and drawn as with a pen?"""
    where = "comparison.models"
    models = [m for m in models_of(results, where) if isinstance(stored(results, f"{where}.{m}.stroke"), dict)]
    if not models:
        return ""

    def row(name: str, prefix: str, kernel: str) -> list[str]:
        strokes = stored(results, f"{prefix}.stroke")
        off = {part: one["w1_sd"] for part, one in strokes.items()} if isinstance(strokes, dict) else {}
        worst = max(off, key=off.get) if off else None
        columns = [
            ("within_extractor", "share"),
            ("within_pixels", "share"),
            ("nearest_train", "share"),
            ("copying_z", "z"),
        ]
        cells = [_with_interval(results, prefix, column, kind) for column, kind in columns]
        furthest = f"{FORMATS['share'](off[worst])} ({worst.replace('_', ' ')})" if worst else NOT_APPLICABLE
        return [name, kernel, *cells, furthest]

    rows = [row("genuine halves", "comparison.floor", "1")]
    for model in models:
        prefix = f"{where}.{model}"
        rows.append(row(label(results, model), prefix, plain(results, f"{prefix}.kernel_floors", "floors")))
    header = ["Samples", "Kernel distance, floors ↓"]
    header += ["Spread within a person, feature extractor (real: 1)", "the same, pixels (real: 1)"]
    header += ["Nearer to a training signature than held-out ones (real: .50)", "Copying z (copies: below -2)"]
    header += ["Stroke statistic furthest from real, sd ↓"]
    question = "Are they new, as varied as a person's own signatures, and drawn as with a pen?"
    return f"\n\n{question}\n\n{_markdown(header, rows)}"


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _readme_usefulness(results: dict) -> str:
    """A third table: what a verifier and a classifier gain; nothing where that was not measured."""
    study = stored(results, "usefulness.duplicates")
    if not isinstance(study, dict):
        return ""

    def row(name: str, path: str, accepted: str = "", classified: str = "") -> list[str]:
        eer = [plain(results, f"{path}.{end}", "percentage") for end in ("eer", "eer_low", "eer_high")]
        cells = [f"{eer[0]} [{eer[1]}, {eer[2]}]", saved_share(results, path)]
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
    header = ["The verifier knows", "Equal error rate, % [95 %] ↓", "Error saved, % [95 %, of the same people] ↑"]
    header += ["Samples accepted, %", "Accuracy of a classifier trained on these ↑"]
    extractor = plain(results, "usefulness.extractor", "text")
    title = f"What generated signatures are good for (feature extractor `{extractor}`, intervals over people):"
    return f"\n\n{title}\n\n{_markdown(header, rows)}"


REPEATED = {  # trainings with several seeds: study and arm, and how they are called
    ("ablation_vae", "ours"): "VAE, going on from `weights/pretrained`",
    ("ablation_vae", "from random weights"): "VAE from random weights",
    ("ablation_vae", "as reported"): "the reports' VAE",
    ("convergence", "ours"): "VAE-GAN, going on from the pretrained VAE, at its *last* step",
    ("convergence", "from noise"): "thumbnail GAN, at its last step",
    ("convergence", "report"): "the reports' GAN, at its last step",
}
STUDIED = (  # columns of both tables: score, format, head
    ("frechet_floors", "floors", "Fréchet distance, floors ↓"),
    ("coverage", "share", "coverage ↑"),
    ("top1", "share", "person top-1 ↑"),
    ("percent_of_blank", "percent", "held-out error, % of a blank page ↓"),
)


def studies_tables(results: dict | None = None) -> str:
    """The same training with several seeds, and with one ingredient changed at a time, as two Markdown tables."""
    from ..experiments.ablation import KINDS, means
    from ..experiments.seeds import collapsed

    results = load_results() if results is None else results
    again, changed, sources = [], [], []
    columns, forms = zip(*((column, form) for column, form, _ in STUDIED), strict=True)

    def cells(found: dict, arm: str) -> list[str]:
        scores = means(found, columns)[arm]
        return [mean_with_spread(one, form, " ± ") for one, form in zip(scores, forms, strict=True)]

    for (study, arm), name in REPEATED.items():
        found = stored(results, f"studies.{study}")
        entries = found["arms"].get(arm) if isinstance(found, dict) else None
        if not entries:
            continue
        cost = f"{FORMATS['minutes'](entries[0]['minutes'])} min, {entries[0]['images']:,} images"
        good = sum(entry.get("converged", _settled(entry["curve"])) for entry in entries)
        verdicts = [f"{some} of {len(entries)}" for some in (good, collapsed(entries))]
        again.append([f"{name} ({cost})", str(len(entries)), *verdicts, *cells(found, arm)])
    for kind, called in KINDS.items():
        found = stored(results, f"studies.ablation_{kind}")
        if isinstance(found, dict):
            arms = [arm for arm in means(found, columns) if arm != "ours"]
            rows = [(arm, str(len(found["arms"][arm]))) for arm in ["ours", *arms] if arm in found["arms"]]
            changed += [[f"{called}: {arm}", seeds, *cells(found, arm)] for arm, seeds in rows]
    for study in (*(f"ablation_{kind}" for kind in KINDS), "convergence"):
        if isinstance(found := stored(results, f"studies.{study}"), dict):
            sources += [f"`{one['command']}` (commit {one['commit']})" for one in found.get("sources", {}).values()]
    sources = list(dict.fromkeys(sources))  # arms that were measured together share one
    if not sources:
        return "Nothing was measured yet: `make studies`."
    heads = [head for _, _, head in STUDIED]
    return "\n\n".join(
        [
            _markdown(["the same training again", "seeds", "converge", "collapse", *heads], again),
            "One ingredient changed at a time:",
            _markdown(["arm", "seeds", *heads], changed),
            f"Mean ± standard deviation over the seeds. Measured by {', '.join(sources)}.",
        ]
    )


def _settled(curve: list[list[float]]) -> bool:
    """Whether a VAE's curve of (minutes, images, % of blank) ends below a blank page, at most 5 % above its lowest."""
    errors = [error for *_, error in curve]
    return errors[-1] < 100 and errors[-1] <= 1.05 * min(errors)


BLOCKS = {"results": readme_table, "studies": studies_tables}


def update_readme(path: str | Path, results: dict | None = None) -> bool:
    """Replace what stands between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->`` for each of `BLOCKS`.

    Returns
    -------
    bool
        Whether the file changed.

    Raises
    ------
    ReportError
        If the file does not hold exactly one such pair of each.
    """
    path = Path(path)
    text = new = path.read_text(encoding="utf-8")
    for name, make in BLOCKS.items():
        begin, end = (f"<!-- {name}:{which} -->" for which in ("begin", "end"))
        if new.count(begin) != 1 or new.count(end) != 1 or new.index(begin) > new.index(end):
            raise ReportError(f"{paths.display(path)}: needs one line {begin} and, below it, one line {end}")
        head, tail = new.split(begin)[0], new.split(end)[1]
        new = f"{head}{begin}\n{make(results)}\n{end}{tail}"
    if new == text:
        return False
    with paths.atomic_write(path) as temporary:
        temporary.write_text(new, encoding="utf-8")
    return True
