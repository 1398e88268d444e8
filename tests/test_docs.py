"""The pages in words: lines of a readable width, every term explained, every claim of the README with its number."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sigen_utils.commands.story import NOTEBOOKS
from sigen_utils.paths import REPO
from sigen_utils.report.templates import END, START

PAGES = sorted([*REPO.glob("*.md"), *REPO.glob("docs/*.md")])
FIELD = """ablation, affine map, AUC, augmentation, batch normalisation, BCE, bootstrap, checkerboard, coverage, DCGAN,
decoder, ELBO, encoder, F1, flow matching, Fréchet distance, guidance, homography, inversion,
likelihood, logit, mode collapse, nat, overfitting, posterior collapse, precision, recall, prior, R1, R2,
reparameterisation, s-norm, softplus, sigmoid, spectrum, straight-through estimator, SVM, template,
transposed convolution, TTUR, verifier, z-score"""
OURS = """ink, rendering, class, corpus, held-out, strangers, references, code, description, learned prior, from noise,
sampler, recipe, arm, converged, copy test, energy, top-1, spread, duplicates, control, EER, blank page,
registration warps, context coder, replay"""


def glossary() -> dict[str, str]:
    """Every word of the glossary and its meaning; a row may hold several words."""
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", (REPO / "docs" / "glossary.md").read_text(), re.MULTILINE)
    return {word.strip(" `"): text for words, text in rows if words != "word" for word in words.split(", ")}


def prose(name: str) -> list[str]:
    """The text of a notebook by cells, without formulas, code, links and references."""
    cells = json.loads((REPO / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]).split("## References")[0] for cell in cells if cell["cell_type"] == "markdown"]
    nothing = r"\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\]\([^)]*\)"
    return [re.sub(nothing, " ", text, flags=re.DOTALL) for text in texts]


def unexplained(texts: list[str], known: dict[str, str], terms: list[str]) -> list[str]:
    """Terms that the texts use, that are not in a glossary, and that stand in no emphasis where they occur first."""
    missing = []
    for term in terms:
        first = next((text for text in texts if re.search(rf"\b{re.escape(term)}s?\b", text, re.IGNORECASE)), None)
        emphasised = first and re.search(rf"\*[^*]*\b{re.escape(term)}[^*]*\*", first, re.IGNORECASE)
        if first and not emphasised and term.lower() not in {word.lower() for word in known}:
            missing.append(term)
    return missing


def words(text: str) -> list[str]:
    return [word.strip() for word in text.replace("\n", " ").split(",")]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_term_of_a_notebook_is_explained(name):
    assert unexplained(prose(name), glossary(), words(FIELD) + words(OURS)) == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_acronym_of_a_notebook_is_in_the_glossary(name):
    used = {one for text in prose(name) for one in re.findall(r"\b[A-Z]{2,}s?\b", text)}
    assert {one.removesuffix("s") for one in used} - {word.split()[0] for word in glossary()} == set()


def test_the_terms_that_are_looked_for_occur():
    everything = " ".join(text for name in NOTEBOOKS for text in prose(name)).lower()
    assert [term for term in words(FIELD) + words(OURS) if term.lower() not in everything] == []


def test_a_term_that_nobody_explains_is_found():
    texts = ["A *nat* is a unit.", "The logit is large. The AUC of a nat."]
    assert unexplained(texts, {"AUC": "..."}, ["nat", "AUC", "logit", "ELBO"]) == ["logit"]


def test_the_glossary_says_each_word_once_and_in_one_line():
    rows = re.findall(r"^\| (?!word|---)(.+?) \| (.+) \|$", (REPO / "docs" / "glossary.md").read_text(), re.MULTILINE)
    found = [word.lower() for row, _ in rows for word in row.split(", ")]
    assert len(found) == len(set(found)) > 60
    assert all(10 < len(text) <= 120 for _, text in rows)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_wraps_at_120_characters(page: Path):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_to_files(page: Path):
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_is_short_and_its_first_claims_have_their_numbers_in_the_results():
    text = (REPO / "README.md").read_text(encoding="utf-8")
    first, results = text.split("## Two commands")[0], text.split(START)[1].split(END)[0]
    assert len(text.splitlines()) <= 100
    assert {letter for letter in "ABC" if f"({letter})" in first} == set("ABC")
    heads = next(line for line in results.splitlines() if line.startswith("| signs like this"))
    assert all(f"| {letter}: " in heads for letter in "ABC")
    assert all(number in results for number in re.findall(r"(?<![\w.])\d{2,}(?![\w.])", first))
    found = json.loads((REPO / "report" / "generated" / "results.json").read_text())["data"]["truth"]
    assert "finds every signature" in first and found["found"] == found["cells"] and found["misfiled"] == 0
    flat = " ".join(results.split())
    assert f"finds {found['found']} of {found['cells']} signatures and files 0 under another person" in flat
    warps = next(line for line in results.splitlines() if line.startswith("| no model"))
    novelty, copies = warps.split("|")[3].split()[0], warps.split("|")[6].split()[0]
    assert "copying cannot win" in first and float(novelty) < 0.1 and float(copies) < 0.1
