"""Every number of the report as a LaTeX macro ``\\val...``, and which of them its source uses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from .. import paths
from .formatting import (
    FORMATS,
    LABELS,
    MISSING,
    label,
    latex,
    mean_with_spread,
    models_compared,
    models_of,
    plain,
    significant,
    stored,
)
from .results import load_results

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
    "GanWithin": ("comparison.models.gan.within_extractor", "share"),
    "CopiesFloors": ("comparison.models.augmented_copies.frechet_floors", "floors"),
    "MovedFloors": ("comparison.models.far_copies.frechet_floors", "floors"),
    "GanTopOne": ("comparison.models.gan.top1", "share"),
    "AloneFloors": ("comparison.models.gan_alone.frechet_floors", "floors"),
    "AloneCoverage": ("comparison.models.gan_alone.coverage", "share"),
    "AloneTopOne": ("comparison.models.gan_alone.top1", "share"),
    "AloneMinutes": ("training.gan_alone.minutes", "minutes"),
    "AloneFidelity": ("training.gan_alone.reconstruction_weight", "setting"),
    "AloneFullFloors": ("comparison.models.gan_alone_reference.frechet_floors", "floors"),
    "AloneFullCoverage": ("comparison.models.gan_alone_reference.coverage", "share"),
    "AloneFullRecall": ("comparison.models.gan_alone_reference.recall", "share"),
    "AloneFullTopOne": ("comparison.models.gan_alone_reference.top1", "share"),
    "AloneFullMinutes": ("training.gan_alone_reference.minutes", "minutes"),
    "VerifierOne": ("usefulness.duplicates.one.eer", "percentage"),
    "VerifierPeople": ("usefulness.people", "count"),
    "VerifierEach": ("usefulness.train_per_person", "count"),
    "VerifierExtractor": ("usefulness.extractor", "text"),
    "ExtractorPhotographs": ("usefulness.pairs.efflite0_block10.eer", "percentage"),
    "ExtractorOwn": ("usefulness.pairs.signature_crowd.eer", "percentage"),
    "VerifierOneLow": ("usefulness.duplicates.one.eer_low", "percentage"),
    "VerifierOneHigh": ("usefulness.duplicates.one.eer_high", "percentage"),
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
    "CrowdDevice": ("provenance.pretrained.device", "text"),
    "LimitFloors": ("studies.convergence.limits.floors", "setting"),
    "LimitCoverage": ("studies.convergence.limits.coverage", "setting"),
    "Seed": ("provenance.seed", "count"),
    "Profile": ("provenance.profile", "text"),
    "Device": ("provenance.device", "text"),
    "Commit": ("provenance.commit", "text"),
    "Fingerprint": ("provenance.data_fingerprint", "text"),
    "FeatureExtractor": ("comparison.extractor", "text"),
}

SETTINGS: dict[str, tuple[str, str, str]] = {  # macro: (model, field of its config, kind)
    "VaeLatent": ("vae", "latent_dim", "setting"),
    "VaeDetail": ("vae", "detail", "setting"),
    "VaeBeta": ("vae", "beta", "setting"),
    "VaeWarmup": ("vae", "warmup", "setting"),
    "VaeComponents": ("vae", "components", "setting"),
    "VaeBandwidth": ("vae", "bandwidth", "setting"),
    "PretrainedBeta": ("vae_pretrained", "beta", "setting"),
    "PretrainedLatent": ("vae_pretrained", "latent_dim", "setting"),
    "PretrainedBandwidth": ("vae_pretrained", "bandwidth", "setting"),
    "GanLatent": ("gan", "latent_dim", "setting"),
    "GanPenalty": ("gan", "penalty", "setting"),
    "GanPenaltyEnd": ("gan", "penalty_end", "setting"),
    "GanPenaltySigma": ("gan", "penalty_sigma", "setting"),
    "GanRateG": ("gan", "learning_rate_g", "rate"),
    "GanRateD": ("gan", "learning_rate_d", "rate"),
    "ReportGanRateG": ("report_gan", "learning_rate_g", "rate"),
    "ReportGanRateD": ("report_gan", "learning_rate_d", "rate"),
}


def _ranking(results: dict, score: str, kind: str, lowest_first: bool, where: str = "comparison") -> str:
    """``label (value)`` of every model, best first."""
    rows = []
    for model in models_compared(results):
        path = f"{where}.models.{model}.{score}"
        if isinstance(value := stored(results, path), int | float):
            rows.append((value if lowest_first else -value, f"{label(results, model)} ({plain(results, path, kind)})"))
    return ", ".join(text for _, text in sorted(rows, key=lambda row: row[0])) or MISSING


def _named(results: dict, wanted: Callable[[str], bool]) -> str:
    """The labels of the models for which `wanted` holds, or "none"."""
    models = models_compared(results)
    if not models:
        return MISSING
    return ", ".join(label(results, model) for model in models if wanted(model)) or "none"


def _worse_than_blank(results: dict) -> str:
    blank = stored(results, "comparison.baselines.blank")

    def wanted(model: str) -> bool:
        error = stored(results, f"comparison.models.{model}.reconstruction.squared_error")
        return isinstance(error, int | float) and isinstance(blank, int | float) and error >= blank

    return _named(results, wanted)


def _collapsed(results: dict) -> str:
    floor = stored(results, "comparison.floor.coverage")

    def wanted(model: str) -> bool:
        coverage = stored(results, f"comparison.models.{model}.coverage")
        return isinstance(coverage, int | float) and isinstance(floor, int | float) and coverage < floor / 10

    return _named(results, wanted)


def _pairs(results: dict, path: str, pattern: str) -> str:
    """The entries of a dict as text, by name."""
    part = stored(results, path)
    if not isinstance(part, dict):
        return MISSING
    items = sorted((str(k).replace("_", " "), v) for k, v in part.items())
    return ", ".join(pattern.format(k, v) for k, v in items) or "none"


def _flags(results: dict, quiet: bool) -> str:
    """Flags of cells by kind: those that ask for a look, or those that ask for nothing (``quiet``)."""
    from ..sheets.audit import QUIET

    found = stored(results, "data.flags")
    if not isinstance(found, dict):
        return MISSING
    return _pairs({"some": {k: v for k, v in found.items() if (k in QUIET) == quiet}}, "some", "{0} ({1})")


def _saved(results: dict) -> str:
    """``33 to 53``: percent of the one reference's error that 16 duplicates of a person's model save."""
    makers = stored(results, "usefulness.duplicates.models")
    if not isinstance(makers, dict):
        return MISSING
    cuts = [by_number["16"]["cut"] for maker, by_number in makers.items() if maker in LABELS and "16" in by_number]
    ends = dict.fromkeys(FORMATS["percentage"](end) for end in (min(cuts), max(cuts))) if cuts else ()
    return " to ".join(ends) or MISSING


def _converged(results: dict, recipe: str) -> str:
    """``10 of 10`` seeds."""
    entries = stored(results, f"studies.convergence.arms.{recipe}")
    return f"{sum(e['converged'] for e in entries)} of {len(entries)}" if isinstance(entries, list) else MISSING


def _collapsed_seeds(results: dict, recipe: str) -> str:
    """``0 of 10`` seeds."""
    from ..experiments.seeds import collapsed

    entries = stored(results, f"studies.convergence.arms.{recipe}")
    return f"{collapsed(entries)} of {len(entries)}" if isinstance(entries, list) else MISSING


def _over_seeds(results: dict, study: str, arm: str, score: str, kind: str) -> str:
    """``23.5 ± 0.2``: mean and standard deviation over the seeds of an arm."""
    from ..experiments.ablation import means

    found = stored(results, f"studies.{study}")
    one = means(found, [score]).get(arm, [None])[0] if isinstance(found, dict) else None
    return MISSING if one is None else mean_with_spread(one, kind, " ± ")


def _range(results: dict, study: str, arm: str, score: str, kind: str) -> str:
    """``2.9 to 3.3`` over the seeds of an arm."""
    entries = stored(results, f"studies.{study}.arms.{arm}")
    if not isinstance(entries, list):
        return MISSING
    values = [entry[score] for entry in entries if score in entry]
    if not values:
        return MISSING
    return f"{FORMATS[kind](min(values))} to {FORMATS[kind](max(values))}"


def _search(results: dict, kind: str) -> str:
    """The settings that explain most of a search's goal, with their shares."""
    from ..experiments.search import LABELS as SETTING

    shares = stored(results, f"studies.search_{kind}.importance")
    if not isinstance(shares, dict):
        return MISSING
    largest = sorted(shares.items(), key=lambda share: -share[1])[:3]  # a file keeps no order
    return ", ".join(f"{SETTING[k]} ({round(100 * v)} %)" for k, v in largest) or "none, too few trials"


def _best_trial(results: dict, kind: str) -> str:
    """The least value that a search found, and of how many trials: ``60.3 (30 trials)``."""
    found = stored(results, f"studies.search_{kind}")
    if not isinstance(found, dict) or not found.get("best"):
        return MISSING
    return f"{significant(3)(found['best']['value'])} ({len(found['trials'])} trials)"


def _images(results: dict, study: str, arm: str) -> str:
    """Images seen by one training of an arm."""
    entries = stored(results, f"studies.{study}.arms.{arm}")
    return FORMATS["count"](entries[0]["images"]) if isinstance(entries, list) else MISSING


def _study_costs(results: dict) -> str:
    """Minutes and images of one training of each study."""
    from ..experiments.ablation import KINDS

    names = {f"ablation_{kind}": f"{called} ablation" for kind, called in KINDS.items()}
    names["convergence"] = "convergence"
    found = {words: stored(results, f"studies.{name}.arms.ours") for name, words in names.items()}
    known = {words: one[0] for words, one in found.items() if isinstance(one, list)}
    texts = (f"{words} {significant(2)(e['minutes'])} ({e['images']:,} images)" for words, e in known.items())
    return ", ".join(texts) or MISSING


def _study_commits(results: dict) -> str:
    """The commits of the studies: a study is long, and kept while the rest of the results moves on."""
    found = stored(results, "studies")
    if not isinstance(found, dict):
        return MISSING
    parts = [
        *(one for study in found.values() for one in study.get("sources", {}).values()),
        *(study["provenance"] for study in found.values() if "sources" not in study and "provenance" in study),
    ]
    return ", ".join(sorted({one["commit"] for one in parts})) or MISSING


PHRASES: dict[str, Callable[[dict], str]] = {  # sentences' parts that follow the numbers, whichever way they come out
    "RankFloors": lambda r: _ranking(r, "frechet_floors", "floors", lowest_first=True),
    "RankCoverage": lambda r: _ranking(r, "coverage", "share", lowest_first=False),
    "WorseThanBlank": _worse_than_blank,
    "LowCoverage": _collapsed,
    "OursConverged": lambda r: _converged(r, "ours"),
    "ReportConverged": lambda r: _converged(r, "report"),
    "ReportDead": lambda r: _collapsed_seeds(r, "report"),
    "NoiseDead": lambda r: _collapsed_seeds(r, "from noise"),
    "NoiseConverged": lambda r: _converged(r, "from noise"),
    "NoiseFloors": lambda r: _range(r, "convergence", "from noise", "frechet_floors", "floors"),
    "NoiseCoverage": lambda r: _range(r, "convergence", "from noise", "coverage", "share"),
    "OursConvergedFloors": lambda r: _range(r, "convergence", "ours", "frechet_floors", "floors"),
    "ReportConvergedFloors": lambda r: _range(r, "convergence", "report", "frechet_floors", "floors"),
    "VaeSeeds": lambda r: _over_seeds(r, "ablation_vae", "ours", "percent_of_blank", "percent"),
    "ScratchSeeds": lambda r: _over_seeds(r, "ablation_vae", "from random weights", "percent_of_blank", "percent"),
    "NoiseArm": lambda r: _over_seeds(r, "ablation_alone", "ours", "frechet_floors", "floors"),
    "NoGameArm": lambda r: _over_seeds(r, "ablation_alone", "redrawing without the game", "frechet_floors", "floors"),
    "NoRedrawArm": lambda r: _over_seeds(r, "ablation_alone", "the game without redrawing", "frechet_floors", "floors"),
    "GaussiansArm": lambda r: _over_seeds(r, "ablation_vae", "20 Gaussians", "frechet_floors", "floors"),
    "NormalArm": lambda r: _over_seeds(r, "ablation_vae", "N(0, I)", "frechet_floors", "floors"),
    "KernelArm": lambda r: _over_seeds(r, "ablation_vae", "ours", "frechet_floors", "floors"),
    "VaeGanArm": lambda r: _over_seeds(r, "ablation_gan", "ours", "frechet_floors", "floors"),
    "NoPenaltyArm": lambda r: _over_seeds(r, "ablation_gan", "no penalty", "frechet_floors", "floors"),
    "EqualRatesArm": lambda r: _over_seeds(r, "ablation_gan", "equal rates", "frechet_floors", "floors"),
    "AnchoredArm": lambda r: _over_seeds(r, "ablation_gan", "anchored", "frechet_floors", "floors"),
    "AnchoredWidth": lambda r: _over_seeds(r, "ablation_gan", "anchored", "stroke_width", "share"),
    "VaeGanWidth": lambda r: _over_seeds(r, "ablation_gan", "ours", "stroke_width", "share"),
    "ReportConvergedImages": lambda r: _images(r, "convergence", "report"),
    "SecondExtractor": lambda r: _ranking(r, "frechet_floors", "floors", True, "usefulness.second_extractor"),
    "Saved": _saved,
    "SearchVaeBest": lambda r: _best_trial(r, "vae"),
    "SearchGanBest": lambda r: _best_trial(r, "gan"),
    "SearchVae": lambda r: _search(r, "vae"),
    "SearchGan": lambda r: _search(r, "gan"),
    "StudyMinutes": _study_costs,
    "StudyCommits": _study_commits,
    "Flags": lambda r: _flags(r, quiet=False),
    "QuietFlags": lambda r: _flags(r, quiet=True),
    "Versions": lambda r: _pairs(r, "provenance.versions", "{0} {1}"),
}

SWITCHES: dict[str, Callable[[dict], bool]] = {  # \valIfX{text when it holds}{text when not}
    "IfSynthetic": lambda r: stored(r, "data.source") != "photographs",
    "IfTruth": lambda r: isinstance(stored(r, "data.truth"), dict),
    "IfPretrained": lambda r: isinstance(stored(r, "provenance.pretrained"), dict),
    "IfAloneFull": lambda r: isinstance(stored(r, "comparison.models.gan_alone_reference"), dict),
    "IfNoiseSeeds": lambda r: isinstance(stored(r, "studies.convergence.arms.from noise"), list),
    "IfReference": lambda r: any(m.endswith("_reference") for m in models_of(r, "training", "comparison.models")),
}


def defined_macros() -> set[str]:
    """Names of all macros of ``numbers.tex``, without the backslash."""
    return {"val" + name for table in (NUMBERS, SETTINGS, PHRASES, SWITCHES) for name in table}


def used_macros(tex: str | None = None) -> set[str]:
    """Names of the ``\\val...`` macros that `tex` (the report's source where None) uses."""
    return set(re.findall(r"\\(val[A-Z][A-Za-z]*)", latex_source(tex)))


def undefined_macros(tex: str | None = None) -> list[str]:
    """Macros that the report uses and `write_numbers` does not define."""
    return sorted(used_macros(tex) - defined_macros())


def unused_macros(tex: str | None = None) -> list[str]:
    """Macros that `write_numbers` defines and the report does not use."""
    return sorted(defined_macros() - used_macros(tex))


def latex_source(tex: str | None = None) -> str:
    """LaTeX source without its comments."""
    tex = (paths.REPO / "report" / "main.tex").read_text(encoding="utf-8") if tex is None else tex
    return re.sub(r"(?<!\\)%.*", "", tex)


def write_numbers(results: dict | None = None) -> Path:
    """Write ``generated/numbers.tex``, one macro a line, from `results` (``results.json`` where None)."""
    results = load_results() if results is None else results
    lines = ["% Written by sigen_utils/report from results.json; changes here are lost."]
    macros = {name: latex(plain(results, *entry), entry[1]) for name, entry in NUMBERS.items()}
    for name, (model, field, kind) in SETTINGS.items():
        macros[name] = latex(plain(results, f"training.{model}.{field}", kind), kind)
    macros.update({name: latex(make(results)) for name, make in PHRASES.items()})
    lines += [rf"\newcommand{{\val{name}}}{{{text}}}" for name, text in macros.items()]
    lines += [rf"\newcommand{{\val{name}}}[2]{{#{1 if holds(results) else 2}}}" for name, holds in SWITCHES.items()]
    path = paths.generated_dir() / "numbers.tex"
    with paths.atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
