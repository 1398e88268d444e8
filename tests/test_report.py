"""The report: what is stored, how it is rounded, that every macro, figure and reference meets its other half."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from sigen_utils import paths, render, report

FIGURES = {  # what the notebooks export
    "sheet_audit.png", "extraction_steps.png", "class_contact.png", "augmentation.png",
    "vae_curves.pdf", "vae_reconstructions.png", "vae_samples.png", "vae_interpolation.png", "vae_traversal.png",
    "gan_curves.pdf", "gan_progress.png", "gan_samples.png", "gan_person.png",
    "comparison_panel.png", "scores.pdf", "nearest_neighbours.png", "reconstruction_baselines.pdf", "defects.pdf",
    "duplicates.pdf", "quality_at_cost.pdf", "beta.pdf", "seeds.pdf", "convergence.pdf", "search_vae.pdf",
    "search_gan.pdf",
}  # fmt: skip


def scores(**changes) -> dict:
    strokes = {
        name: {"mean": 1.0, "w1_sd": 0.25} for name in ("ink", "components", "specks", "width", "grey", "aspect")
    }
    base = dict(
        n=40, frechet=8.0, frechet_floors=2.0, frechet_low=7.0, frechet_high=9.0, kernel=0.01, kernel_floors=3.0,
        precision=0.5, recall=0.25, density=0.75, coverage=0.5, top1=0.5, nearest_train=0.5, copying_z=-0.04,
        within_extractor=0.95, within_pixels=1.25,
        stroke=strokes, reconstruction=None,
    )  # fmt: skip
    return {**base, **changes}


def sample_results() -> dict:
    """Made-up values of the right kinds; none of them was measured."""
    reconstruction = dict(squared_error=300.0, percent_of_blank=30.0, f1=0.5)
    bad = dict(squared_error=1100.0, percent_of_blank=110.0, f1=0.1)
    run = dict(steps=1000, minutes=2.0, images_per_second=50.0, parameters=2_000_000, batch_size=32)
    labels = dict(report_vae="report VAE", vae="residual VAE", report_gan="report GAN", gan="VAE-GAN")
    models = {
        "augmented_copies": scores(label="augmented_copies", frechet_floors=1.1),
        "report_vae": scores(label=labels["report_vae"], frechet_floors=123.4, coverage=0.0, reconstruction=bad),
        "vae": scores(label=labels["vae"], reconstruction=reconstruction),
        "report_gan": scores(label=labels["report_gan"], frechet_floors=200.0, coverage=0.004, top1=None),
        "gan": scores(label=labels["gan"], frechet_floors=1.96, coverage=0.75),
    }
    rates = {"report_gan": dict(learning_rate_g=2e-4, learning_rate_d=2e-3), "gan": dict(learning_rate_g=3e-4)}
    truth = dict(cells=48, found=48, min_iou=0.9, ids_right=12, misfiled=0, ink_recall=0.9, ink_precision=0.9)
    rate = dict(eer=0.03, eer_low=0.01, eer_high=0.05, threshold=1.0)
    classified = dict(train_on_these=0.9, test_on_these=0.95, score=20.0)
    saved = {"16": dict(**rate, cut=0.4, cut_low=-0.1, cut_high=0.7)}
    useful = dict(
        extractor="a_extractor", people=12, train_per_person=3,
        duplicates=dict(one=rate, genuine={"2": rate, "3": rate},
                        models={"moved copies of the one": saved, "gan": saved}),
        accepted=dict(genuine=0.95, gan=0.99),
        classification=dict(genuine=classified, gan=classified,
                            report_gan=dict(train_on_these=None, test_on_these=None, score=1.0)),
        pairs=dict(efflite0_block10=rate, signature_crowd=rate),
    )  # fmt: skip
    return dict(
        usefulness=useful,
        provenance=dict(
            commit="0000000", profile="cpu", seed=0, device="a_test & more", versions=dict(python="3", torch="2"),
            data_fingerprint="000000000000",
        ),
        data=dict(
            source="synthetic", n_sheets=1, n_people=12, n_signatures=48, n_train=36, n_test=12, n_flagged=2,
            flags=dict(id_unread=2), extract_seconds=1.25, truth=truth,
        ),
        training={m: dict(label=labels[m], **run, **rates.get(m, dict(learning_rate=1e-3))) for m in labels},
        comparison=dict(
            extractor="a_extractor", n=24, floor=scores(frechet=4.0, kernel=0.001), models=models,
            baselines=dict(blank=1000.0, mean_image=800.0, same_person_mean=820.0, nearest_same_person=1400.0,
                           moved_half_pixel=200.0),
        ),
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
    with pytest.raises(report.ReportError, match="no section 'comparsion'"):
        report.update_results("comparsion", {})


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


# ------------------------------------------------------------------------------------------------ formatting


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("count", 12328, "12,328"),
        ("count", 0, "0"),
        ("floors", 5.04, "5.0"),
        ("floors", 9.96, "10"),
        ("floors", 243.6, "244"),
        ("floors", 0.0, "0"),
        ("distance", 4.1234, "4.12"),
        ("distance", 1012.4, "1,012"),
        ("kernel", -0.01234, "-0.012"),
        ("share", 0.5, "0.50"),
        ("share", 0.0047, "0.005"),
        ("share", 0.0, "0.00"),
        ("percent", 43.56, "43.6"),
        ("percent", 105.5, "106"),
        ("rate", 2e-4, "2e-4"),
        ("rate", 1.5e-3, "1.5e-3"),
        ("parameters", 2_712_345, "2.7 M"),
        ("parameters", 512, "512"),
        ("setting", 0.05, "0.05"),
        ("setting", 10.0, "10"),
        ("minutes", 0.034, "0.034"),
    ],
)
def test_rounding(kind, value, text):
    assert report.FORMATS[kind](value) == text


def test_a_spread_is_shown_unless_it_is_that_of_rounding():
    equal = (1.61, 2e-16)  # what the spread of five times 1.61 can come out as
    pairs = (equal, (1.61, 0.04), (1.61, None), (0.0, 0.0), (0.0, 0.2), None)
    shown = [report.formatting.mean_with_spread(one, "floors", " ± ") for one in pairs]
    assert shown == ["1.6", "1.6 ± 0.04", "1.6", "0", "0 ± 0.2", "n/a"]


def test_latex_of_numbers_and_text():
    assert report.latex("12,328") == "12{,}328"
    assert report.latex("2e-4", "rate") == r"$2\times10^{-4}$"
    assert report.latex("1e-5", "rate") == r"$10^{-5}$"
    assert report.latex("-0.012") == "$-$0.012"
    assert report.latex(report.MISSING) == "--"
    assert report.latex("a_b & 50 % #1") == r"a\_b \& 50 \% \#1"
    assert report.latex("2e4") == "2e4"  # a commit, not a rate


def test_absent_and_inapplicable_values_are_told_apart():
    some = {"a": {"b": None}}
    assert report.plain(some, "a.c", "count") == report.MISSING
    assert report.plain(some, "a.b", "share") == report.NOT_APPLICABLE
    assert report.plain(some, "a.b.c", "share") == report.NOT_APPLICABLE  # nothing below a null
    with pytest.raises(report.ReportError, match=r"a\.b is 'many'"):
        report.plain({"a": {"b": "many"}}, "a.b", "count")


# ------------------------------------------------------------------------------- macros, figures, references


def test_every_macro_is_defined_and_used(results):
    assert report.undefined_macros() == []
    assert report.unused_macros() == []
    numbers = report.write_numbers().read_text()
    assert set(re.findall(r"\\newcommand\{\\(\w+)\}", numbers)) == report.defined_macros()
    assert all(name.isalpha() for name in report.defined_macros())  # TeX takes letters only


def test_macro_helpers_see_a_difference_and_ignore_comments():
    tex = "\\valNSheets{} \\valTypo{} 100\\% % \\valNPeople"
    assert report.undefined_macros(tex) == ["valTypo"]
    assert "valNPeople" in report.unused_macros(tex) and "valNSheets" not in report.unused_macros(tex)


def test_no_result_is_typed_into_the_source():
    """Digits in the text are constants of a method; a decimal number would be a result or should be a macro."""
    tex = (paths.REPO / "report" / "main.tex").read_text()
    body = re.sub(r"(?<!\\)%.*", "", tex).split(r"\begin{abstract}")[1]
    body = re.sub(r"\\(?:cite|ref|path|texttt)\{[^}]*\}|[\d.]+\\(?:columnwidth|textwidth|textheight)", "", body)
    assert set(re.findall(r"\d*\.\d+", body)) <= {"1.96", f"{render.INK:g}", f"{render.LINK:g}"}


def test_every_figure_is_one_that_the_notebooks_export_and_is_referred_to():
    used = report.figures_used()
    assert used and len(used) == len(set(used)) and set(used) <= FIGURES
    tex = (paths.REPO / "report" / "main.tex").read_text()
    labels = re.findall(r"\\label\{([^}#]+)\}", tex) + re.findall(r"\\sigenfigure\{[^}]+\}\{([^}#]+)\}", tex)
    for name in labels:
        if name.startswith(("fig:", "tab:")):
            assert f"\\ref{{{name}}}" in tex, f"{name} is never mentioned"
    assert set(re.findall(r"\\ref\{([^}]+)\}", tex)) <= set(labels)


def test_every_table_is_shown():
    tex = (paths.REPO / "report" / "main.tex").read_text()
    assert set(re.findall(r"\\sigentable\{(\w+)\}", tex)) == set(report.TABLES)


def test_references_are_cited_and_defined():
    folder = paths.REPO / "report"
    cited = {k.strip() for group in re.findall(r"\\cite\{([^}]+)\}", (folder / "main.tex").read_text())
             for k in group.split(",")}  # fmt: skip
    defined = re.findall(r"@(?!IEEEtran)\w+\{(\w+),", (folder / "refs.bib").read_text())
    assert len(defined) == len(set(defined))
    assert cited == set(defined)


def test_phrases_follow_the_numbers(results):
    macros = dict(re.findall(r"\\newcommand\{\\val(\w+)\}\{(.*)\}", report.write_numbers().read_text()))
    assert macros["RankFloors"].startswith("VAE-GAN (2.0), residual VAE (2.0), report VAE (123)")
    assert "moved" not in macros["RankFloors"]  # copies are no model
    assert macros["WorseThanBlank"] == "report VAE"
    assert macros["LowCoverage"] == "report VAE, report GAN"
    assert (macros["Flags"], macros["QuietFlags"]) == ("id unread (2)", "none")
    assert macros["Saved"] == "40" and macros["SecondExtractor"] == report.MISSING
    assert macros["Device"] == r"a\_test \& more"
    assert macros["ReportGanRateD"] == r"$2\times10^{-3}$"
    results["comparison"]["models"]["report_vae"]["reconstruction"]["squared_error"] = 999.0
    assert r"\newcommand{\valWorseThanBlank}{none}" in report.write_numbers(results).read_text()


def test_switches_choose_by_the_results(results):
    assert r"\newcommand{\valIfSynthetic}[2]{#1}" in report.write_numbers(results).read_text()
    results["data"].update(source="photographs", truth=None)
    text = report.write_numbers(results).read_text()
    assert r"\newcommand{\valIfSynthetic}[2]{#2}" in text and r"\newcommand{\valIfTruth}[2]{#2}" in text


# ------------------------------------------------------------------------------------------- tables, README


def table_of(name: str) -> list[list[str]]:
    text = (paths.generated_dir() / "tables" / f"{name}.tex").read_text()
    rows = [line.removesuffix(r"\\").split("&") for line in text.splitlines() if "&" in line]
    return [[cell.strip() for cell in row] for row in rows]


def test_tables_hold_the_values_and_are_rectangular(results):
    assert {path.stem for path in report.write_tables()} == set(report.TABLES)
    for name in report.TABLES:
        assert len({len(row) for row in table_of(name)}) == 1, name
    rows = {row[0]: row[1:] for row in table_of("comparison")}
    assert rows["genuine halves"][:3] == ["4.00", "[7.00, 9.00]", "1"]
    assert "training images, slightly moved" in rows  # whatever label was stored for it
    assert rows["report GAN"][9] == report.NOT_APPLICABLE  # unconditional: no top-1
    assert {row[0]: row for row in table_of("training")}["report GAN"][3] == "2e-4 / 2e-3"
    rows = {row[0]: row[1:] for row in table_of("reconstruction")}
    assert rows["nearest other of the person"] == ["1{,}400", "140", "n/a"]
    assert rows["report VAE"] == ["1{,}100", "110", "0.10"] and "VAE-GAN" not in rows
    assert table_of("data")[5] == ["Training / held out", "36 / 12"]


@pytest.mark.parametrize("gone", ["models", "training", "comparison", "data", "provenance", "everything"])
def test_missing_parts_print_dashes(home, gone):
    results = {} if gone == "everything" else sample_results()
    results.pop(gone, None)
    if gone == "models":
        for section in (results["training"], results["comparison"]["models"]):
            section.pop("gan")
            section.pop("report_vae")
    numbers = report.write_numbers(results).read_text()
    assert set(re.findall(r"\\newcommand\{\\(\w+)\}", numbers)) == report.defined_macros()
    report.write_tables(results)
    assert report.readme_table(results).startswith("| Samples |")
    if gone in ("models", "comparison", "everything"):
        assert r"\newcommand{\valGanFloors}{--}" in numbers


def test_the_readme_shows_the_committed_results(tmp_path):
    results = json.loads((paths.REPO / "report/generated/results.json").read_text())
    copy = shutil.copy(paths.REPO / "docs" / "results.md", tmp_path / "results.md")
    assert report.update_readme(copy, results) is False, "python -m sigen_utils report"


def test_readme_is_updated_between_its_markers_only(results, home):
    readme = home / "README.md"
    marks = "<!-- results:begin -->\nold\n<!-- results:end -->\nmiddle\n<!-- studies:begin -->\n<!-- studies:end -->\n"
    readme.write_text(f"# a\n{marks}last\n")
    assert report.update_readme(readme) is True
    text = readme.read_text()
    assert text.startswith("# a\n<!-- results:begin -->\n| Samples |") and text.endswith("studies:end -->\nlast\n")
    assert (
        "old" not in text
        and "middle" in text
        and "make studies" in text
        and "| report GAN | 200 [1.8, 2.2] | 0.50 |" in text
    )
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    assert len(tables) == 3 and all(len({line.count("|") for line in t.splitlines()}) == 1 for t in tables)
    assert "| VAE-GAN | 3.0 | 0.95 | 1.25 | 0.50 | 0.0 | 0.25 (" in tables[1]
    assert "| one and 16: VAE-GAN | 3.0 [1.0, 5.0] | 40 [-10, 70] | 99 | 0.90 |" in tables[2]
    assert report.update_readme(readme) is False  # the same results give the same file
    readme.write_text("no markers")
    with pytest.raises(report.ReportError, match="needs one line"):
        report.update_readme(readme)


# ------------------------------------------------------------------------------------------------------- PDF


def draw_figures() -> None:
    """Grey stand-ins for every figure of the report, wide and narrow ones."""
    import matplotlib.pyplot as plt

    paths.figures_dir().mkdir(parents=True)
    for k, name in enumerate(report.figures_used()):
        fig = plt.figure(figsize=(7.16 if k % 2 else 3.5, 2.0), facecolor="0.9")
        fig.savefig(paths.figures_dir() / name, dpi=40)
        plt.close(fig)


def test_missing_figures_are_named(results):
    with pytest.raises(report.ReportError, match=r"sheet_audit\.png.*notebooks 01 to 06"):
        report.build_pdf()


def test_without_tex_one_line_says_what_to_install(results, monkeypatch):
    draw_figures()
    monkeypatch.setattr(report.pdf.shutil, "which", lambda name: None)
    said = []
    assert report.build_pdf(progress=said.append) is None
    assert len(said) == 1 and "apt-get install" in said[0]
    assert (paths.generated_dir() / "numbers.tex").exists()  # the sources are complete all the same
    assert (paths.report_dir() / "refs.bib").exists()


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
def test_the_report_typesets_cleanly_and_alike_twice(results):
    draw_figures()
    said = []
    pdf = report.build_pdf(progress=said.append)
    assert said == []  # no overfull box beyond 5 pt, no undefined reference
    assert pdf == paths.report_dir() / "report.pdf" and pdf.read_bytes().startswith(b"%PDF")
    assert not (paths.report_dir() / "build").exists()
    first = pdf.read_bytes()
    report.build_pdf(progress=said.append)
    assert pdf.read_bytes() == first


@needs_tex
def test_a_tex_error_is_reported_with_its_line_and_keeps_the_old_pdf(results, monkeypatch):
    draw_figures()
    (paths.report_dir() / "report.pdf").write_text("the old one")
    monkeypatch.setitem(report.NUMBERS, "Seed", ("provenance.seed", "text"))
    monkeypatch.setitem(report.FORMATS, "text", lambda value: "ok")
    monkeypatch.setattr(report.macros, "latex", lambda text, kind="text": r"\nosuchmacro")
    with pytest.raises(report.ReportError, match=r"(?s)main\.tex does not typeset.*nosuchmacro"):
        report.build_pdf()
    assert (paths.report_dir() / "report.pdf").read_text() == "the old one"


def test_ablations_are_told_as_means_with_spreads():
    arm = dict(
        percent_of_blank=24.0, f1=0.97, active=1.0, frechet_floors=3.0, recall=0.9, coverage=0.98, top1=0.9,
        within_extractor=1.0, nearest_train=0.5, stroke_width=0.2, stroke_components=0.1, minutes=0.6, images=3200,
        converged=True,
    )  # fmt: skip
    other, game = arm | dict(percent_of_blank=26.0, frechet_floors=4.0, converged=False), dict(arm)
    del game["percent_of_blank"], game["f1"], game["active"]
    arm["curve"], other["curve"] = [[0.1, 320, 50.0], [0.6, 3200, 24.0]], [[0.1, 320, 50.0], [0.6, 3200, 70.0]]
    found = sample_results()
    found["studies"] = dict(
        ablation_vae=dict(
            arms={"ours": [arm, other], "beta 4": [other]},
            sources={name: dict(command=f"ablate {name}", commit="abc000") for name in ("ours", "beta 4")},
        ),
        ablation_gan=dict(arms={"no penalty": [game]}),
        ablation_alone=dict(arms={"ours": [game]}),
        convergence=dict(arms=dict(ours=[arm, other], report=[other]), limits=dict(floors=10.0, coverage=0.5)),
        search_gan=dict(importance=dict(learning_rate_g=0.6, images=0.4)),
    )
    table = report.ablation_table(found)
    ours, beta, game_row = (next(row for row in table.splitlines() if row.startswith(name))
                            for name in ("VAE: ours", "VAE: beta 4", "VAE-GAN: no penalty"))  # fmt: skip
    assert ours.split(" & ")[1:3] == ["2", r"25.0\,$\pm$\,1"] and r"\pm" not in beta
    assert game_row.split(" & ")[2] == "n/a" != game_row.split(" & ")[3]
    again, changed = re.findall(r"(?:^\|.*\n)+", report.studies_tables(found) + "\n", re.M)
    assert "(0.60 min, 3,200 images) | 2 | 1 of 2 | 0 of 2 | 3.5 ± 0.7 | 0.98 | 0.90 | 25.0 ± 1 |" in again
    assert "| VAE: beta 4 | 1 | 4.0 | 0.98 | 0.90 | 26.0 |" in changed and "| GAN: ours | 1 | 3.0 |" in changed
    assert "| VAE-GAN: no penalty | 1 | 3.0 |" in changed
    found["studies"]["search_gan"]["provenance"] = dict(commit="abc123+")
    phrases = {name: make(found) for name, make in report.PHRASES.items()}
    told = phrases["StudyCommits"].split(", ")
    assert told == ["abc000", "abc123+"]
    assert "Measured by `ablate ours` (commit abc000), `ablate beta 4` (commit abc000)." in report.studies_tables(found)
    assert (phrases["OursConverged"], phrases["ReportConverged"]) == ("1 of 2", "0 of 1")
    assert (phrases["ReportDead"], phrases["NoiseDead"]) == ("0 of 1", "--")
    found["studies"]["convergence"]["arms"]["from noise"] = [other | dict(coverage=0.05)]
    assert report.PHRASES["NoiseDead"](found) == "1 of 1" and report.PHRASES["NoiseFloors"](found) == "4.0 to 4.0"
    assert phrases["OursConvergedFloors"] == "3.0 to 4.0" and phrases["VaeSeeds"] == "25.0 ± 1"
    assert phrases["SearchGan"] == "rate of G (60 %), images seen (40 %)" and phrases["SearchVae"] == "--"
    assert report.ablation_table(sample_results()).count("--") >= 11
