"""Stress test of the extraction: one hardship after the other, harder and harder, on sheets whose truth is known.

A condition is a hardship with its grades; each grade is a setting of the synthetic class, drawn anew for every seed as
one sheet, photographed, extracted and compared with the truth. What counts: cells found (intersection over union of
at least 0.8), signatures filed under a wrong person, and whether the extraction *said* that something is wrong where
it is. Grades up to a bar have to be read; the harder ones show where the extraction gives in.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np

from ..paths import atomic_write
from ..synthesis import SynthesisConfig, synthesize
from . import ExtractionConfig, Sheet, SheetError, draw_audit, extract_sheet
from .audit import save_audit
from .doubts import QUIET
from .sheet import NOT_FILED
from .truth import FOUND, overlaps, score_cells

REQUIRED = 0.995  # share of the cells that every grade within the bar has to reach
FLAT = dict(rotation=0.0, perspective=0.0, curl=0.0)
CLEAN = FLAT | dict(tight_share=0.0, shadow=0.0, cast=0.0, texture=0.0, bleed=0.0, noise=0.0, jpeg_quality=95)


@dataclass(frozen=True)
class Grade:
    """One setting: its name on the heat map, what it changes in `SynthesisConfig`, and whether it is within the bar."""

    label: str
    settings: dict
    required: bool = True


@dataclass(frozen=True)
class Condition:
    """A hardship and its grades, the easiest first."""

    name: str
    grades: tuple[Grade, ...]


def _turned(degrees: float) -> dict:
    return dict(rotation=float(degrees), rotation_least=float(degrees))


def _grades(values: Sequence, bar: int, label: Callable, settings: Callable) -> tuple[Grade, ...]:
    """A grade a value; the first `bar` of them are required."""
    return tuple(Grade(label(v), settings(v), k < bar) for k, v in enumerate(values))


# Whatever a condition does not name is as `SynthesisConfig` has it: a phone's photograph of a page that is not flat.
CONDITIONS = (
    Condition("clean reference", (Grade("flat", CLEAN),)),
    Condition("as phones take it", (Grade("typical", {}),)),
    Condition("black-and-white scan", _grades((0, 5, 10), 3, "{}°".format,
                                              lambda v: dict(two_level=True, noise=0.5, shadow=0.05) | _turned(v))),
    Condition("rotation", _grades((0, 5, 10, 12, 15), 3, "{}°".format, _turned)),
    Condition("corner jitter", _grades((0, 2, 4, 6, 8), 4, "{} %".format, lambda v: dict(perspective=v / 100))),
    Condition("shadow over half", _grades((20, 40, 60, 75, 90), 3, "{} %".format, lambda v: dict(half_shadow=v / 100))),
    Condition("size", _grades((75, 50, 40, 30), 2, "{} %".format,
                              lambda v: dict(table_width=(round(8.7 * v), round(10 * v))))),
    Condition("outer lines cropped", _grades((1, 3, 6, 12), 2, "{} px".format, lambda v: FLAT | dict(crop=float(v)))),
    Condition("sideways", _grades((1, 3), 2, lambda v: f"{90 * v}°", lambda v: dict(turn=v))),
    Condition("upside down", (Grade("180°", dict(turn=2)),)),
    Condition("noise and JPEG", _grades(((2, 60), (4, 45), (6, 30), (9, 20), (12, 10)), 3, "{0[0]}, q {0[1]}".format,
                                        lambda v: dict(noise=float(v[0]), jpeg_quality=v[1]))),
    Condition("wavy paper", _grades((4, 8, 12, 20, 30), 3, "{} px".format, lambda v: dict(curl=float(v)))),
    Condition("lines faded", _grades((25, 50, 75, 85, 95), 3, "{} %".format, lambda v: dict(line_fade=v / 100))),
    Condition("rows", _grades((25, 8, 4, 3, 2), 3, str, lambda v: dict(rows_per_sheet=v))),
    Condition("signature columns", _grades((6, 3, 2, 8), 3, str, lambda v: dict(per_person=v))),
    Condition("4 rows, turned", _grades((3, 6, 10, 15), 3, "{}°".format,
                                        lambda v: dict(rows_per_sheet=4) | _turned(v))),
)  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """What became of one sheet.

    Attributes
    ----------
    condition, grade, seed
        Which sheet.
    cells, found
        Cells in the truth, and those found at an intersection over union of at least 0.8.
    flagged
        Of the cells that were not found, those that a flag of the sheet or of the cell, or an error, tells of.
    misfiled, silent
        Signatures filed under a wrong person, and those of them without any flag.
    seconds
        Wall time of the extraction.
    flags
        Flags of the sheet; a number of columns that is right is not counted as one.
    error
        The message, where the sheet was refused.
    """

    condition: str
    grade: str
    seed: int
    cells: int
    found: int
    flagged: int
    misfiled: int
    silent: int
    seconds: float
    flags: tuple[str, ...] = ()
    error: str = ""

    @property
    def lost(self) -> int:
        """Cells that were not found."""
        return self.cells - self.found


def score_photo(path: Path, truth: dict, config: ExtractionConfig | None = None) -> tuple[dict, Sheet | None]:
    """Extract one photograph and compare it with its truth.

    Parameters
    ----------
    path
        The photograph.
    truth
        Its entry of ``truth.json``.
    config
        Settings of the extraction.

    Returns
    -------
    dict
        ``cells, found, flagged, misfiled, silent, seconds, flags, error`` as in `Trial`.
    Sheet or None
        What was extracted; None where the sheet was refused.
    """
    true_quads = np.array([cell["quad"] for cell in truth["cells"]])
    true_people = [cell["person_id"] for cell in truth["cells"]]
    begun = time.perf_counter()
    try:
        sheet = extract_sheet(path, config)
    except SheetError as error:  # nothing found, nothing misfiled, and somebody is asked to look at all of it
        scores = dict(cells=len(true_quads), found=0, flagged=len(true_quads), misfiled=0, silent=0)
        return scores | dict(seconds=time.perf_counter() - begun, flags=(), error=str(error)), None
    seconds = time.perf_counter() - begun
    flags = sheet.flags
    quads = np.clip([cell.quad for cell in sheet.cells], 0, np.array(truth["size"]) - 1.0)  # as the truth is
    nobodys = {*NOT_FILED, "id_unread"}  # kept, but under no person's name
    people = [None if nobodys & set(cell.flags) else cell.person_id for cell in sheet.cells]
    scores = score_cells(quads, people, true_quads, true_people)
    noticed = np.array([bool(flags) or bool(set(cell.flags) - QUIET) for cell in sheet.cells])
    unsaid = [None if seen else person for person, seen in zip(people, noticed, strict=True)]
    _, covered = overlaps(true_quads, quads)
    lost = scores["iou"] < FOUND
    flagged = lost & ((covered.max(axis=1) > 0) & noticed[covered.argmax(axis=1)] | bool(flags))
    silent = score_cells(quads, unsaid, true_quads, true_people)["misfiled"]
    result = {key: int(scores[key]) for key in ("cells", "found", "misfiled")}
    return result | dict(flagged=int(flagged.sum()), silent=int(silent), seconds=seconds, flags=flags, error=""), sheet


def class_of(grade: Grade, seed: int) -> SynthesisConfig:
    """The class of one sheet: 12 people unless the grade says otherwise, with IDs of one to three digits."""
    settings = dict(rows_per_sheet=12) | grade.settings
    return SynthesisConfig(people=settings["rows_per_sheet"], seed=seed, first_id=3 + 88 * (seed % 4), **settings)


def run_trial(condition: str, grade: Grade, seed: int, failures: str | None = None) -> Trial:
    """Draw, photograph and extract one sheet; a sheet that is not read well is kept in the folder `failures`."""
    with tempfile.TemporaryDirectory() as folder:
        photo = synthesize(folder, class_of(grade, seed), progress=None, workers=1)[0]
        truth = json.loads((Path(folder) / "truth.json").read_text(encoding="utf-8"))["sheets"][0]
        scores, sheet = score_photo(photo, truth)
        trial = Trial(condition, grade.label, seed, **scores)
        if failures and (trial.lost or trial.misfiled):
            name = "_".join("".join(c if c.isalnum() else "-" for c in part) for part in (condition, grade.label))
            kept = Path(failures) / f"{name}_{seed}.jpg"
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(photo, kept)
            if sheet is not None:
                save_audit(draw_audit(sheet), kept.with_name(f"{kept.stem}_audit.png"))
    return trial


def _one_thread() -> None:
    cv2.setNumThreads(1)  # one process a core; threads would only wait for each other


def _run(jobs: list[tuple], workers: int) -> Iterator[Trial]:
    if workers <= 1:
        yield from (run_trial(*job) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_one_thread) as pool:
        yield from pool.map(run_trial, *zip(*jobs, strict=True))


@dataclass(frozen=True)
class Summary:
    """One grade over all its seeds; the counts are sums of those of `Trial`, `seconds` is the mean."""

    condition: str
    grade: str
    required: bool
    sheets: int
    cells: int
    found: int
    flagged: int
    misfiled: int
    silent: int
    seconds: float
    errors: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Share of the cells that was found."""
        return self.found / self.cells

    @property
    def faults(self) -> list[str]:
        """What keeps the grade from passing, in words; empty if it passes."""
        found = []
        if self.required and self.share < REQUIRED:
            found.append(f"{self.found} of {self.cells} cells found, {REQUIRED:.1%} required")
        if self.silent:
            found.append(f"{self.silent} signatures under a wrong person without a flag")
        return [f"{self.condition} {self.grade}: {fault}" for fault in found]


def summarise(trials: Sequence[Trial], condition: Condition, grade: Grade) -> Summary:
    """Add up the sheets of one grade."""
    own = [t for t in trials if (t.condition, t.grade) == (condition.name, grade.label)]
    sums = {key: sum(getattr(t, key) for t in own) for key in ("cells", "found", "flagged", "misfiled", "silent")}
    seconds = float(np.mean([t.seconds for t in own]))
    errors = [t.error for t in own if t.error]
    return Summary(condition.name, grade.label, grade.required, len(own), **sums, seconds=seconds, errors=errors)


def stress(
    out_dir: str | os.PathLike,
    seeds: int = 3,
    workers: int | None = None,
    conditions: Sequence[Condition] | None = None,
    progress: Callable[[str], None] | None = print,
) -> list[Summary]:
    """Run the stress test.

    Writes ``stress.json``, the heat map ``stress.pdf`` and ``stress.png``, and into ``failures/`` every photograph that
    was not read well, with its audit figure.

    Parameters
    ----------
    out_dir
        Folder to write into; made if it is not there. The ``failures/`` of an earlier run are removed.
    seeds
        Sheets a grade, with seeds 0 ... seeds - 1.
    workers
        Processes; None for one a core.
    conditions
        What to try; None for `CONDITIONS`.
    progress
        Called with a line of the table a grade, as the grades are done; None for silence.

    Returns
    -------
    list of Summary
        A grade each, in the order of `conditions`.

    Raises
    ------
    ValueError
        For less than one seed.
    """
    if seeds < 1:
        raise ValueError(f"seeds={seeds}: at least one sheet a grade is needed")
    out_dir, workers = Path(out_dir), workers or os.cpu_count() or 1
    say = progress or (lambda line: None)
    failures = out_dir / "failures"
    shutil.rmtree(failures, ignore_errors=True)
    conditions = CONDITIONS if conditions is None else conditions
    pairs = [(condition, grade) for condition in conditions for grade in condition.grades]
    jobs = [(condition.name, grade, seed, str(failures)) for condition, grade in pairs for seed in range(seeds)]
    say(HEADER)
    begun, trials, results = time.perf_counter(), [], []
    for trial in _run(jobs, workers):
        trials.append(trial)
        if len(trials) % seeds == 0:
            results.append(summarise(trials[-seeds:], *pairs[len(results)]))
            say(table_row(results[-1]))
    _write(out_dir, trials, results, seeds, workers, time.perf_counter() - begun)
    save_heat_map(results, out_dir)
    return results


HEADER = f"{'condition':<20}{'grade':>9}  {'bar':<4}{'cells':>6}{'found':>7}{'share':>8}{'flagged':>9}{'misfiled':>9}" \
         f"{'silent':>8}{'s/sheet':>9}"  # fmt: skip


def table_row(result: Summary) -> str:
    """One line of the plain table; `flagged` counts those of the lost cells that somebody is asked to look at."""
    flagged = f"{result.flagged}/{result.cells - result.found}"
    return (
        f"{result.condition:<20}{result.grade:>9}  {'yes' if result.required else 'no':<4}{result.cells:>6}"
        f"{result.found:>7}{result.share:>8.1%}{flagged:>9}{result.misfiled:>9}{result.silent:>8}{result.seconds:>9.2f}"
        f"{'  <- fails' if result.faults else ''}"
    )


def _write(out_dir: Path, trials, results, seeds: int, workers: int, seconds: float) -> None:
    versions = dict(python=platform.python_version(), numpy=np.__version__, opencv=cv2.__version__)
    machine = dict(system=platform.platform(), processor=_processor(), cores=os.cpu_count(), workers=workers)
    content = dict(
        seeds=list(range(seeds)), n_sheets=len(trials), n_cells=sum(t.cells for t in trials), iou=FOUND,
        required=REQUIRED, seconds=round(seconds, 1), versions=versions, machine=machine,
        grades=[asdict(r) | {"share": r.share} for r in results], sheets=[asdict(t) for t in trials],
    )  # fmt: skip
    with atomic_write(out_dir / "stress.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _processor() -> str:
    """Name of the processor, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        return names[0] if names else platform.machine()
    return platform.processor() or platform.machine()


def save_heat_map(results: Sequence[Summary], out_dir: Path) -> list[Path]:
    """Conditions by grades, cells found in percent, as ``stress.pdf`` and ``stress.png``; a frame marks the bar."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import BoundaryNorm, ListedColormap

    from ..figures import STYLE, save_figure

    names = list(dict.fromkeys(r.condition for r in results))
    rows = [[r for r in results if r.condition == name] for name in names]
    widest = max(len(row) for row in rows)
    shades = ListedColormap(["#8C2D04", "#D55E00", "#F4B183", "#FBE3CF", "#CFE8F5"])
    norm = BoundaryNorm([0, 50, 90, 99, 100 * REQUIRED, 100.1], shades.N)
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(figsize=(0.95 * widest + 1.3, 0.3 * len(rows) + 0.45))
        for y, row in enumerate(rows):
            for x, result in enumerate(row):
                percent = 100 * result.share
                dark = percent < 90
                style = dict(facecolor=shades(norm(percent)), edgecolor="white", linewidth=1.0)
                axes.add_patch(plt.Rectangle((x, y), 1, 1, **style))
                if result.required:
                    axes.add_patch(plt.Rectangle((x + 0.03, y + 0.08), 0.94, 0.84, fill=False, ec="black", lw=0.7))
                text = f"{result.grade}:  {_percent(percent)}" + (f", {result.silent} !" if result.silent else "")
                axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=7, color="white" if dark else "k")
        axes.set(xlim=(0, widest), ylim=(len(rows), 0), xticks=[], yticks=np.arange(len(rows)) + 0.5, yticklabels=names)
        axes.set_title(f"cells found in percent, sheets a grade: {results[0].sheets}; framed: required; !: misfiled")
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[["left", "bottom"]].set_visible(False)
    files = [save_figure(figure, "stress", kind, folder=out_dir) for kind in ("pdf", "png")]
    plt.close(figure)
    return files


def _percent(value: float) -> str:
    """A percentage that says 100 only where nothing is missing."""
    return "100" if value == 100 else f"{np.floor(10 * value) / 10:.1f}"
