"""The report: what is stored, what templates ask for, and that every figure and reference meets its other half."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from sigen_utils import paths, report
from sigen_utils.experiments.comparison import LABELS
from sigen_utils.metrics import few_shot
from sigen_utils.report import templates

FIGURES = {  # that the notebooks export and the report shows
    "extraction_steps.png", "comparison_panel.png", "study_repair.pdf", "study_samples.png", "study_gan.pdf",
    "faults.png", "duplicates.pdf",
}  # fmt: skip
PHOTOGRAPHS, WRITERS = "efflite0_block10", "signature_crowd"
TRIVIAL = dict(blank="blank page", mean_image="mean image", copies="copies", warps="registration warps",
               mean_of_two="mean of two codes", nearest_writer="nearest synthetic writer",
               fresh_writers="fresh synthetic writers")  # fmt: skip


def score(value: float, spread: float = 0.25) -> dict[str, float]:
    return dict(value=value, low=value - spread, high=value + spread)


def table(names: list[str], labels: dict[str, str]) -> dict:
    """A table of `metrics.questions.evaluate` with a value of its own in every cell; no two rows are ranked."""
    rows = {
        row: dict(label=label, scores={name: score(1 + k + j / 100) for j, name in enumerate(names)})
        for k, (row, label) in enumerate(labels.items())
    }
    return dict(goals=dict.fromkeys(names, "genuine 1"), genuine={name: score(1.0) for name in names}, rows=rows,
                rank={name: [] for name in names})  # fmt: skip


def sample_results() -> dict:
    """Made-up values of the right kinds; none of them was measured."""
    scores = (
        "frechet", "kernel", "precision", "recall", "coverage", "novelty_auc", "top1", "within", "between",
    )  # fmt: skip
    of = [f"{e}/{s}" for e in (PHOTOGRAPHS, WRITERS) for s in scores]
    strokes = [f"stroke_{name}" for name in ("ink", "components", "specks", "width", "grey", "aspect")]
    new = table([*of, "near_tenth", "collisions", *strokes], LABELS | TRIVIAL)
    copy = ("copy_auc", "copy_z", "copy_auc_leave_one_out", "copy_z_leave_one_out", "copy_below_median",
            "copy_below_tenth", "copy_margin_auc")  # fmt: skip
    knows = [row for row in (LABELS | TRIVIAL) if row in ("prior_alone", "vae", "gan", *TRIVIAL)]
    known = table(
        [*(f"{e}/{s}" for e in (PHOTOGRAPHS, WRITERS) for s in ("energy", "top1", "within")), *copy],
        {row: (LABELS | TRIVIAL)[row] for row in knows},
    )
    sources = [(LABELS | TRIVIAL)[row] for row in ("prior_alone", "vae", "gan", "copies", "warps")]
    rates = [f"{name}/{kind}" for name in few_shot.VERIFIERS for kind in few_shot.THRESHOLDS]
    names = ["none", "genuine, 2 in all", "16 times the mean of 2 genuine (control)"]
    names += [f"{source}, {k}" for source in sources for k in few_shot.DUPLICATES]
    like = table(rates, {name: name for name in names}) | dict(genuine={})
    for about in like["rows"].values():
        about["scores"] = {name: score(0.05, 0.01) for name in rates}
        about["saved"] = {name: score(0.4) for name in rates}
    entry = dict(seed=0, frechet=20.0, coverage=0.2, recall=0.1, novelty=0.9, strokes=0.4, converged=True, minutes=1.0)
    about = dict(commit="0000000", seed=0, device="a_test & more", data_fingerprint="000000000000",
                 versions=dict(python="3", torch="2"), platform="Linux")  # fmt: skip
    study = dict(images=640, n=48, scores={}, command="ablate repair", provenance=about)
    study["arms"] = {"as reported": [entry, dict(seed=1, diverged=True)], "R1 + R2": [entry]}
    drawn = dict(squared_error=300.0, percent_of_blank=30.0, f1=0.5, searched=False)
    truth = dict(cells=48, found=48, min_iou=0.9, ids_right=12, misfiled=0, ink_recall=0.9, ink_precision=0.9)
    known["references"] = like["references"] = 3
    return dict(
        provenance=about,
        data=dict(source="synthetic", n_sheets=1, n_people=12, n_signatures=48, n_train=36, n_test=12, n_flagged=2,
                  flags=dict(id_unread=2), extract_seconds=1.25, truth=truth),
        training={},
        reconstruction=dict(
            models={m: dict(label=label, **drawn) for m, label in LABELS.items()},
            baselines=dict(blank=1000.0, mean_image=800.0, nearest_same_person=1400.0),
        ),
        questions=dict(
            new=new, known=known, like=like, extractors={PHOTOGRAPHS: {}, WRITERS: {}},
            n=dict(people=12, training=36, held_out=12, known=36, unseen=[14, 4], samples_of_a_person=8,
                   strangers=[14, 4]),
            likelihood=dict(context_10=score(800.0), context_20=score(700.0), vae=score(1400.0)),
            runs={m: dict(label=label, images=640, minutes=1.0, parameters=400_000, start=None)
                  for m, label in LABELS.items()},
        ),
        studies=dict(repair=study, gan=study, an_older_one=dict(arms={})),
    )  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGEN_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def results(home):
    stored = sample_results()
    for section, values in stored.items():
        report.update_results(section, values)
    return stored


# ---------------------------------------------------------------------------------------------- results.json


def test_results_are_merged_by_name(home):
    report.update_results("training", {"vae": {"steps": 1, "minutes": 1.5}})
    report.update_results("training", {"gan": {"steps": 2}})
    report.update_results("training", {"vae": {"steps": 3}})  # replaces the model with all below it
    assert report.load_results() == {"training": {"vae": {"steps": 3}, "gan": {"steps": 2}}}
    report.update_results("training", {"gan": {"steps": 4}}, without=["vae", "gan", "never there"])
    assert report.load_results() == {"training": {"gan": {"steps": 4}}}


def test_rows_and_arms_keep_their_order(home):
    report.update_results("studies", {"repair": {"arms": {"as reported": [], "R1 + R2": [], "averaged weights": []}}})
    report.update_results("data", {"n_people": 3})
    assert list(report.load_results()["studies"]["repair"]["arms"]) == ["as reported", "R1 + R2", "averaged weights"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "is nan; store None"),
        (float("inf"), "is inf"),
        (np.float64("nan"), "is nan"),
        (np.float32(1.0), "float32; convert"),
        (np.arange(3), "ndarray; convert"),
        ({1: 2}, "key 1"),
        (object(), "object; convert"),
    ],
)
def test_values_that_json_cannot_hold_are_refused_and_nothing_changes(home, value, words):
    path = report.update_results("data", {"n_people": 3})
    before = path.read_bytes()
    with pytest.raises(report.ReportError, match=words) as error:
        report.update_results("data", {"deep": [{"inner": value}]})
    assert "data.deep[0].inner" in str(error.value)
    assert path.read_bytes() == before


def test_unknown_section_is_refused(home):
    with pytest.raises(report.ReportError, match="no section 'comparison'"):
        report.update_results("comparison", {})


def test_a_failing_write_leaves_the_old_results(home, monkeypatch):
    path = report.update_results("data", {"n_people": 3})
    monkeypatch.setattr(json, "dumps", lambda *a, **k: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        report.update_results("data", {"n_people": 4})
    monkeypatch.undo()
    assert json.loads(path.read_text())["data"]["n_people"] == 3
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]


def test_missing_or_broken_results_name_the_remedy(home):
    with pytest.raises(report.ReportError, match="run the notebooks"):
        report.load_results()
    paths.generated_dir().mkdir(parents=True)
    (paths.generated_dir() / "results.json").write_text('{"data": ')
    with pytest.raises(report.ReportError, match=r"results\.json: not JSON"):
        report.load_results()


# ------------------------------------------------------------------------------------------------ templates


def test_numbers_as_readers_see_them():
    one = dict(value=1.0, low=0.8, high=1.25)
    assert templates.interval(one) == "1.00 [0.80, 1.25]" and templates.interval(None) == templates.NOTHING
    assert templates.interval(dict(value=-9.51, low=-9.51, high=-9.51), 1) == "-9.5"
    assert templates.percent(dict(value=0.016, low=0.0, high=0.032)) == "1.6 [0.0, 3.2]"
    assert templates.thousands(12345.6) == "12,346" and templates.share(0.256) == "26 %"
    assert templates.escape_latex("a_b & 50 % ~") == r"a\_b \& 50 \% \textasciitilde{}"


@pytest.mark.parametrize("name", ["main.tex.j2", "results.md.j2", "readme.md.j2"])
@pytest.mark.parametrize("gone", ["questions", "provenance"])
def test_a_value_that_was_not_measured_is_named(name, gone):
    results = sample_results() | dict(commit="0000000")
    del results[gone]
    with pytest.raises(report.ReportError, match=f"{re.escape(name)}: '{gone}' is undefined.*run the notebooks"):
        report.render_template(name, results)


def test_the_tables_in_markdown_hold_the_values_and_are_rectangular():
    results = sample_results()
    for name in ("results.md.j2", "readme.md.j2"):
        text = report.render_template(name, results)
        tables = re.findall(r"(?:^\|.*\n)+", text + "\n", re.M)
        assert tables and all(len({line.count("|") for line in t.splitlines()}) == 1 for t in tables), name
        assert all(t.splitlines()[1].startswith("|---") for t in tables), name
        assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 120, name
    assert text.count("\n| ") <= 7 and r"\*" in text  # the README: six rows and a heading
    vae = next(line for line in text.splitlines() if line.startswith("| **VAE, learned prior"))
    assert cell_of(results, "new", "vae", f"{WRITERS}/novelty_auc") in vae and "5.0 [4.0, 6.0]" in vae
    noise = next(line for line in text.splitlines() if line.startswith("| GAN from noise"))
    assert noise.count(f"| {templates.NOTHING} ") == 3  # it knows no people


def test_wrapping_changes_no_word_no_table_and_no_list():
    item, row, prose = "- " + "word " * 60, "| " + "cell " * 60 + "|", "(a, b-c) " * 40
    text = templates.wrapped("\n".join([item, row, "", prose, "short"]))
    assert text.split() == "\n".join([item, row, "", prose, "short"]).split()
    assert row in text.split("\n") and sum(line.startswith("- ") for line in text.split("\n")) == 1
    assert all(line.startswith(("- ", "  ")) for line in text.split("\n| ")[0].split("\n"))
    assert templates.wrapped(text) == text


def cell_of(results: dict, key: str, row: str, name: str) -> str:
    return templates.interval(results["questions"][key]["rows"][row]["scores"][name])


def test_no_row_of_a_table_is_lost():
    results = sample_results()
    full = report.render_template("results.md.j2", results)
    tex = report.render_template("main.tex.j2", results | dict(commit="0000000"))
    for key in ("new", "known"):
        for row, about in results["questions"][key]["rows"].items():
            first = next(iter(about["scores"]))
            assert cell_of(results, key, row, first) in full, row
            assert templates.escape_latex(about["label"]) in tex, row
    assert all(f"| {row} |" in full for row in results["questions"]["like"]["rows"])
    assert "### repair" in full and "an_older_one" not in full


def test_the_readme_changes_between_its_marks_only(tmp_path, monkeypatch):
    monkeypatch.setattr(templates.paths, "REPO", tmp_path)
    (tmp_path / "docs").mkdir()
    readme = tmp_path / "README.md"
    readme.write_text(f"# a\n{templates.START}\nold\n{templates.END}\nlast\n")
    report.write_markdown(sample_results())
    text = readme.read_text()
    assert text.startswith("# a\n") and text.endswith("\nlast\n") and "old" not in text and "VAE, learned prior" in text
    report.write_markdown(sample_results())
    assert readme.read_text() == text
    readme.write_text("no marks")
    with pytest.raises(report.ReportError, match="are not in it"):
        report.write_markdown(sample_results())


def test_the_readme_has_its_marks():
    text = (paths.REPO / "README.md").read_text()
    assert text.count(templates.START) == text.count(templates.END) == 1


# ------------------------------------------------------------------------------- figures, references


def test_no_result_is_typed_into_the_template():
    """Digits in the text are constants of a method; a decimal number would be a result and has to be a value."""
    body = (paths.REPO / "report" / "main.tex.j2").read_text().split(r"\begin{abstract}")[1]
    body = re.sub(r"\\(?:VAR|BLOCK|cite|ref|path|texttt)\{[^}]*\}", "", body)
    assert set(re.findall(r"\d*\.\d+", body)) <= {".5"}


def test_every_figure_is_one_that_the_notebooks_export_and_is_referred_to():
    tex = (paths.REPO / "report" / "main.tex.j2").read_text()
    used = report.figures_used(tex)
    assert used and len(used) == len(set(used)) and set(used) == FIGURES
    labels = re.findall(r"\\label\{([^}#]+)\}", tex) + re.findall(r"\\sigenfigure\{[^}]+\}\{([^}#]+)\}", tex)
    for name in labels:
        if name.startswith(("fig:", "tab:")):
            assert f"\\ref{{{name}}}" in tex, f"{name} is never mentioned"
    assert set(re.findall(r"\\ref\{([^}]+)\}", tex)) <= set(labels)


def test_references_are_cited_and_defined():
    folder = paths.REPO / "report"
    cited = {k.strip() for group in re.findall(r"\\cite\{([^}]+)\}", (folder / "main.tex.j2").read_text())
             for k in group.split(",")}  # fmt: skip
    defined = re.findall(r"@(?!IEEEtran)\w+\{(\w+),", (folder / "refs.bib").read_text())
    assert len(defined) == len(set(defined))
    assert cited == set(defined)


# ------------------------------------------------------------------------------------------------------- PDF


def draw_figures() -> None:
    """Grey stand-ins for every figure of the report, wide and narrow ones."""
    import matplotlib.pyplot as plt

    paths.figures_dir().mkdir(parents=True)
    for k, name in enumerate(sorted(FIGURES)):
        fig = plt.figure(figsize=(7.16 if k % 2 else 3.5, 2.0), facecolor="0.9")
        fig.savefig(paths.figures_dir() / name, dpi=40)
        plt.close(fig)


def test_missing_figures_are_named(results):
    with pytest.raises(report.ReportError, match=r"extraction_steps\.png.*notebooks 01 to 06"):
        report.build_pdf()


def test_without_tex_one_line_says_what_to_install(results, monkeypatch):
    draw_figures()
    monkeypatch.setattr(report.pdf.shutil, "which", lambda name: None)
    said = []
    assert report.build_pdf(progress=said.append) is None
    assert len(said) == 1 and "apt-get install" in said[0]
    assert (paths.generated_dir() / "main.tex").exists()  # the sources are complete all the same
    assert (paths.generated_dir() / "refs.bib").exists()


def test_log_reading():
    log = "\n".join(
        [
            r"Overfull \hbox (4.9pt too wide) in paragraph at lines 1--2",
            r"Overfull \hbox (5.1pt too wide) in paragraph at lines 3--4",
            r"Overfull \vbox (12.0pt too high) has occurred while \output is active",
            "! Undefined control sequence.",
            r"l.7 \valTypo",
        ]
    )
    assert [re.search(r"[\d.]+", line)[0] for line in report.overfull_boxes(log)] == ["5.1", "12.0"]
    assert "valTypo" in report.tex_errors(log) and "Overfull" not in report.tex_errors(log)


needs_tex = pytest.mark.skipif(
    not (shutil.which("latexmk") and shutil.which("pdflatex")), reason="needs latexmk and pdflatex"
)


@needs_tex
def test_the_report_typesets_cleanly_alike_twice_and_on_eight_pages(results):
    draw_figures()
    said = []
    pdf = report.build_pdf(progress=said.append)
    assert said == []  # no overfull box beyond 5 pt, no undefined reference
    assert pdf == paths.report_dir() / "report.pdf" and pdf.read_bytes().startswith(b"%PDF")
    assert not (paths.generated_dir() / "build").exists()
    first = pdf.read_bytes()
    report.build_pdf(progress=said.append)
    assert pdf.read_bytes() == first
    pages = [int(n) for n in re.findall(rb"/Type\s*/Pages.*?/Count (\d+)", first, re.S)]
    assert not pages or max(pages) <= 8


@needs_tex
def test_a_tex_error_is_reported_with_its_line_and_keeps_the_old_pdf(results, monkeypatch):
    draw_figures()
    (paths.report_dir() / "report.pdf").write_text("the old one")
    monkeypatch.setattr(templates, "render_template", lambda *a: r"\documentclass{article}\begin{document}\nosuchmacro")
    with pytest.raises(report.ReportError, match=r"(?s)main\.tex does not typeset.*nosuchmacro"):
        report.build_pdf()
    assert (paths.report_dir() / "report.pdf").read_text() == "the old one"
