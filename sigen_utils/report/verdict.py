"""A run of one's own beside the committed results: the same or not, and fit to take their place or not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import t

from ..experiments.studies import CONVERGED, SCORES
from .results import SECTIONS, ReportError

OURS = ("vae", "gan")  # rows that have to converge; the others show what goes wrong, too
COMPARED = {  # columns by table
    "new": ("efflite0_block10/frechet", "efflite0_block10/coverage", "signature_crowd/novelty_auc"),
    "known": ("signature_crowd/energy", "signature_crowd/top1", "copy_auc"),
}


def same(own: Mapping[str, Any], committed: Mapping[str, Any]) -> bool:
    """Whether a stored score is one that the committed trainings would give again.

    With several committed trainings: inside the 95 % interval for one more (Student's t). Else inside the committed
    interval over people.
    """
    seeds = np.asarray(committed.get("seeds") or [])
    low, high = committed["low"], committed["high"]
    if len(seeds) > 1:
        n = len(seeds)
        half = float(t.ppf(0.975, n - 1) * seeds.std(ddof=1) * math.sqrt(1 + 1 / n))
        low, high = seeds.mean() - half, seeds.mean() + half
    slack = 1e-3 * max(1.0, abs(committed["value"]))  # another processor rounds otherwise
    return low - slack <= own["value"] <= high + slack


def verdicts(own: Mapping[str, Any], committed: Mapping[str, Any]) -> list[str]:
    """A line a row: one's own scores beside the committed ones, and whether they are the same by `same`."""
    fingerprints = [results.get("provenance", {}).get("data_fingerprint") for results in (own, committed)]
    if "questions" not in own or fingerprints[0] != fingerprints[1]:
        return ["no comparison with the committed results: they are of other signatures"]
    lines, count = ["yours / committed (committed: report/generated/results.json)"], [0, 0]
    for table, columns in COMPARED.items():
        for row, about in own["questions"][table]["rows"].items():
            beside = committed["questions"][table]["rows"].get(row)
            if beside is None:
                continue
            cells, differ = [], []
            for column in columns:
                mine, theirs = about["scores"].get(column), beside["scores"].get(column)
                if mine is not None and theirs is not None:
                    cells.append(f"{column.split('/')[-1]} {mine['value']:.2f} / {theirs['value']:.2f}")
                    differ += [] if same(mine, theirs) else [column.split("/")[-1]]
            count[bool(differ)] += 1
            verdict = f"differs: {', '.join(differ)}" if differ else "same"
            lines.append(f"{table:6}{about['label']:34}{'   '.join(cells):72}{verdict}")
    return [*lines, f"{count[0]} rows are the same within the interval, {count[1]} differ"]


def refuse_unfit(results: Mapping[str, Any]) -> None:
    """Raise ReportError unless these results may take the place of the committed ones."""
    lacking = [name for name in SECTIONS if name not in results]
    if lacking:
        raise ReportError(f"results.json: no section {', '.join(lacking)}; run all notebooks first, `make`")
    if (profile := results["provenance"].get("profile")) not in ("cpu", "gpu"):
        raise ReportError(f"results of the {profile} profile are no results; run `make` in the cpu or gpu profile")
    short = [name for name, run in results["questions"].get("runs", {}).items() if run.get("share", 1.0) < 1]
    if short:
        raise ReportError(f"undertrained: {', '.join(short)}; train them to the end, without --minutes")
    for row in OURS:
        scores = results["questions"]["new"]["rows"][row]["scores"]
        found = {name: scores[SCORES[name]]["value"] for name in CONVERGED}
        if found["frechet"] > CONVERGED["frechet"] or found["coverage"] < CONVERGED["coverage"]:
            text = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
            raise ReportError(f"{row} has not converged ({text}); its results take nobody's place")
