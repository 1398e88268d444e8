"""The review page: every doubt with its picture; what is decided there settles it in the next extraction."""

from __future__ import annotations

import io

import numpy as np
import pytest
from forms import Form, draw
from PIL import Image

from sigen_utils import sheets
from sigen_utils.review import ACCEPT, SKIP, Review

CONFIG = sheets.ExtractionConfig(audit=False)
NAME = "a<b>&1.png"


@pytest.fixture
def folders(tmp_path):
    folder, out = tmp_path / "sheets", tmp_path / "out"
    folder.mkdir()
    draw(Form(rows=3, columns="id sig sig", ids=("", "", ""))).save(folder / NAME)
    sheets.extract(folder, out, CONFIG, workers=1, progress=None)
    return folder, out


def test_decisions_are_written_and_followed(folders):
    folder, out = folders
    review = Review(folder, out)
    unread = [line for line in review.lines if line[0]["col"] == "0" and "cannot be read" in line[0]["note"]]
    assert len(unread) == 3 and all(b"PNG" in bytes(box.children[1].value) for box in review.widget.children[:3])
    for word, (_, choice, text) in zip("xyz", unread, strict=True):
        choice.value, text.value = (SKIP if word == "z" else ACCEPT), word
    review.write()
    result = sheets.extract(folder, out, CONFIG, workers=1, progress=None)
    assert result.n_people == 2 and (out / "x").is_dir() and not (out / "z").exists()
    assert not any("cannot be read" in doubt for doubt in result.doubts)
    assert len(Review(folder, out).known) == 3  # what was decided stays


def test_a_row_that_was_set_aside_is_shown_where_it_lies(tmp_path):
    folder, out = tmp_path / "sheets", tmp_path / "out"
    folder.mkdir()
    drawn = draw(Form(rows=6, columns="id sig sig", absent=(2,)))
    drawn.save(folder / "1.png")
    sheets.extract(folder, out, CONFIG, workers=1, progress=None)
    (doubt, _, text), *others = Review(folder, out).lines
    assert not others and (doubt["row"], doubt["id"], text.value) == ("2", "skip", "")
    (picture,) = [part for part in Review(folder, out).widget.children[0].children if hasattr(part, "format")]
    shown = Image.open(io.BytesIO(bytes(picture.value)))
    wanted = Image.fromarray(drawn.image[190:260, 7:412]).resize(shown.size)  # its ID, and ABSENT twice
    assert np.abs(np.asarray(shown, int) - np.asarray(wanted, int)).mean() < 12


def test_nothing_in_doubt_is_said(tmp_path):
    folder, out = tmp_path / "sheets", tmp_path / "out"
    folder.mkdir()
    draw(Form(rows=3, columns="id sig sig")).save(folder / "1.png")
    sheets.extract(folder, out, CONFIG, workers=1, progress=None)
    review = Review(folder, out)
    assert not review.lines and "Nothing" in review.said.value
    assert review.write().read_text(encoding="utf-8").split() == ["sheet,row,col,id"]


def test_names_are_escaped_and_wrong_ids_refused(folders):
    folder, out = folders
    review = Review(folder, out)
    assert all("a<b>" not in box.children[0].value for box in review.widget.children[:3])
    _, choice, text = review.lines[-1]
    choice.value, text.value = ACCEPT, "../up"
    with pytest.raises(sheets.SheetError, match="cannot name a folder"):
        review.write()
    assert "cannot name" in review.said.value and not (folder / "corrections.csv").exists()
