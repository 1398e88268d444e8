"""A run of one's own beside the committed results."""

from __future__ import annotations

import argparse
import copy
import json
import shutil
from pathlib import Path

import pytest

from sigen_utils import paths, report
from sigen_utils.commands import story
from sigen_utils.report.results import load_results
from sigen_utils.report.verdict import refuse_unfit, same, verdicts

FRECHET = "efflite0_block10/frechet"


@pytest.fixture
def committed() -> dict:
    return load_results(paths.REPO)


def score_of(results: dict, row: str) -> dict:
    return results["questions"]["new"]["rows"][row]["scores"][FRECHET]


def test_the_committed_results_are_the_same_as_themselves(committed):
    lines = verdicts(committed, committed)
    assert lines[-1].endswith(" 0 differ") and sum(line.endswith("same") for line in lines) > 10


def test_a_score_outside_of_what_further_trainings_give_differs(committed):
    own = copy.deepcopy(committed)
    score_of(own, "vae")["value"] = 158.0
    lines = verdicts(own, committed)
    assert lines[-1].endswith(" 1 differ")
    assert [line for line in lines if line.endswith("differs: frechet") and "VAE, learned prior" in line]


def test_several_trainings_say_what_another_one_may_score():
    trained = dict(value=2.0, low=1.0, high=3.0, seeds=[1.9, 2.0, 2.1])
    assert same(dict(value=2.3), trained) and not same(dict(value=2.9), trained)  # 2.0 +- 4.3 x .1 x sqrt(4 / 3)
    once = dict(value=2.0, low=1.0, high=3.0)
    assert same(dict(value=2.9), once) and not same(dict(value=3.1), once)


def test_other_signatures_are_not_compared(committed):
    own = copy.deepcopy(committed)
    own["provenance"]["data_fingerprint"] = "of somebody else"
    assert verdicts(own, committed) == ["no comparison with the committed results: they are of other signatures"]


@pytest.mark.parametrize("spoil, why", [
    (lambda own: own.pop("questions"), "no section questions"),
    (lambda own: own["provenance"].update(profile="smoke"), "smoke profile"),
    (lambda own: own["questions"]["runs"]["vae"].update(share=0.31), "undertrained: vae"),
    (lambda own: score_of(own, "gan").update(value=158.0), "gan has not converged"),
])  # fmt: skip
def test_an_unfit_run_takes_nobodys_place(committed, spoil, why):
    refuse_unfit(committed)
    spoil(committed)
    with pytest.raises(report.ReportError, match=why):
        refuse_unfit(committed)


def test_results_of_a_clone_lie_beside_the_committed_ones(monkeypatch):
    for name in ("SIGEN_HOME", "SIGEN_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    assert paths.home() == paths.REPO and paths.figures_dir() == paths.REPO / "own" / "figures"
    monkeypatch.setenv("SIGEN_HOME", str(paths.REPO))  # as `make report` says it
    assert paths.report_dir() == paths.REPO / "report"


def test_regenerating_replaces_numbers_figures_and_outputs_or_nothing(tmp_path, monkeypatch, committed):
    """In a small repository: one notebook, one figure."""
    repo = tmp_path / "clone"
    for name in ("report/generated", "figures", "notebooks", "own/report/generated", "own/figures", "runs/notebooks"):
        (repo / name).mkdir(parents=True)
    name = story.NOTEBOOKS[0]
    source = Path(paths.REPO / "notebooks" / f"{name}.ipynb")
    notebook = json.loads(source.read_text())
    for cell in story._code(notebook):
        cell["outputs"], cell["execution_count"] = [], None
    (repo / "notebooks" / source.name).write_text(json.dumps(notebook))
    shutil.copy(source, repo / "runs" / "notebooks" / source.name)
    own = copy.deepcopy(committed)
    own["data"]["n_people"] = 185
    (repo / "own/report/generated/results.json").write_text(json.dumps(own))
    (repo / "report/generated/results.json").write_text(json.dumps(committed))
    (repo / "own/figures/gallery.png").write_bytes(b"new")
    (repo / "own/figures/another.png").write_bytes(b"not committed")
    (repo / "figures/gallery.png").write_bytes(b"old")
    monkeypatch.setattr(paths, "REPO", repo)
    monkeypatch.setattr(story, "NOTEBOOKS", (name,))
    monkeypatch.setenv("SIGEN_HOME", "")
    monkeypatch.setenv("SIGEN_PROFILE", "cpu")
    made = []
    monkeypatch.setattr(report, "write_markdown", lambda: made.append(paths.results_root()))
    monkeypatch.setattr(report, "build_pdf", lambda: made.append(paths.report_dir()))

    score_of(own, "vae")["value"] = 158.0
    (repo / "own/report/generated/results.json").write_text(json.dumps(own))
    with pytest.raises(report.ReportError, match="has not converged"):
        story.regenerate(argparse.Namespace())
    assert (repo / "figures/gallery.png").read_bytes() == b"old" and not made

    score_of(own, "vae")["value"] = 2.0
    (repo / "own/report/generated/results.json").write_text(json.dumps(own))
    ran = repo / "runs" / "notebooks" / source.name
    ran.rename(ran.with_suffix(".away"))
    with pytest.raises(report.ReportError, match="not executed as it is now"):
        story.regenerate(argparse.Namespace())
    assert (repo / "figures/gallery.png").read_bytes() == b"old" and not made
    ran.with_suffix(".away").rename(ran)
    assert story.regenerate(argparse.Namespace()) == 0
    assert [path.name for path in (repo / "figures").iterdir()] == ["gallery.png"]
    assert (repo / "figures/gallery.png").read_bytes() == b"new"
    assert load_results(repo)["data"]["n_people"] == 185 and made == [repo, repo / "report"]
    shown = json.loads((repo / "notebooks" / source.name).read_text())
    assert any(cell["outputs"] for cell in story._code(shown))
