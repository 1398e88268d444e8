"""Whose signature a file is, in the folders that people have."""

import numpy as np
import pytest
from PIL import Image
from test_images import as_picture, painted

from sigen_utils.__main__ import main
from sigen_utils.data import DataError, load_forgeries, load_signatures
from sigen_utils.layouts import find_signatures
from sigen_utils.notices import DataNotice, DataWarning

PICTURE = Image.fromarray(as_picture(painted()))


def folder(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith((".db", ".txt", ".csv", ".docx")) or "/._" in name:
            (root / name).write_bytes(b"\x00\x05\x16\x07 no picture")
        else:
            PICTURE.save(root / name, format="PNG")
    return root


LAYOUTS = {  # layout -> (files, people, genuine, forged)
    "CEDAR": (["full_org/original_1_1.png", "full_org/original_2_1.png", "full_forg/forgeries_1_1.png"],
              ["1", "2"], 2, 1),
    "BHSig260": (["001/B-S-1-G-01.tif", "001/B-S-1-G-02.tif", "001/B-S-1-F-01.tif", "002/B-S-2-G-01.tif"],
                 ["B-S-1", "B-S-2"], 3, 1),
    "both scripts of BHSig260": (["Hindi/001/H-S-1-G-01.tif", "Bengali/001/B-S-1-G-01.tif"],
                                 ["B-S-1", "H-S-1"], 2, 0),
    "GPDS": (["001/c-001-01.jpg", "001/c-001-02.jpg", "001/cf-001-01.jpg", "002/c-002-01.jpg"], ["001", "002"], 3, 1),
    "MCYT": (["0000/0000v00.bmp", "0000/0000f00.bmp"], ["0000"], 1, 1),
    "SigComp 2009": (["NFI-00101001.png", "NFI-00201002.png", "NFI-00301001.png"], ["001", "002"], 2, 1),
    "SigComp 2009 by folders": (["real/00101001.png", "forge/02101001.png"], ["001"], 1, 1),
    "SigComp 2011": (["Genuine/001_01.PNG", "Genuine/002_1.PNG", "Forgeries/0119001_01.png"], ["001", "002"], 2, 1),
    "SigComp 2011 as handed out": (["Dutch/TrainingSet/Offline Genuine/001_01.PNG", "Ref(115)/002_1.png",
                                    "Dutch/TrainingSet/Offline Forgeries/0119001_01.png"], ["001", "002"], 2, 1),
    "UTSig": (["Genuine/1/1.tif", "Genuine/2/1.tif", "Skilled/1/1.tif", "Opposite Hand/1/1.tif", "Simple/2/1.tif"],
              ["1", "2"], 2, 3),
    "Kaggle": (["train/049/01_049.png", "train/049_forg/01_0114049.PNG", "test/050/01_050.png",
                "train/051/051_01.PNG", "train/051_forg/0119051_01.png"], ["049", "050", "051"], 3, 2),
    "nested": (["1/genuine/a.png", "1/forged/a.png", "2/Genuine/a.png", "2/skilled/b.png"], ["1", "2"], 2, 2),
    "above": (["genuine/ann/1.png", "genuine/bob/1.png", "forged/ann/1.png"], ["ann", "bob"], 2, 1),
    "marked files": (["ann/1.png", "ann/forged_1.png", "bob/2-fake.png", "bob/3.png"], ["ann", "bob"], 2, 2),
    "own numbers": (["2012345/2012345_1.png", "2012345/2012345_2.png", "20231105/20231105.png", "7/001_01.png"],
                    ["7", "2012345", "20231105"], 4, 0),
    "sessions": (["ann/session 1/1.png", "ann/session 2/1.png", "bob/session 1/1.png"], ["ann", "bob"], 3, 0),
    "one name in two classes": (["class A/1/1.png", "class B/1/1.png", "class B/2/1.png"],
                                ["2", "class A_1", "class B_1"], 3, 0),
    "left by computers": (["1/1.png", "1/._1.png", "__MACOSX/1/1.png", ".ipynb_checkpoints/1-checkpoint.png",
                           "1/.ipynb_checkpoints/1-checkpoint.png", "1/Thumbs.db", "1/id.png", "audit/a.png",
                           "@eaDir/1.png"], ["1"], 1, 0),
    "suffixes": (["1/1.PNG", "1/2.jfif", "1/3.JPG", "1/4"], ["1"], 4, 0),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_people_and_forgeries_are_told(tmp_path, layout):
    files, people, genuine, forged = LAYOUTS[layout]
    found = find_signatures(folder(tmp_path, files))
    assert sorted({who for who, _ in found.genuine}) == sorted(people)
    assert (len(found.genuine), len(found.forged)) == (genuine, forged)
    assert {who for who, _ in found.forged} <= set(people)
    assert (" left out" in found.summary()) == bool(forged)


def test_files_that_are_no_pictures_are_counted(tmp_path):
    found = find_signatures(folder(tmp_path, ["1/1.png", "1/a.docx", "2/b.docx", "notes.txt"]))
    assert found.summary() == "2 files that are no pictures left out (2 .docx)"


def test_forgeries_are_left_out_of_the_set_and_can_be_had(tmp_path):
    names = [f"{who}/{kind}/{k}.png" for who in "12" for kind in ("genuine", "forged") for k in range(2)]
    root = folder(tmp_path, names)
    with pytest.warns(DataNotice, match="4 forgeries of 2 people left out"):
        read = load_signatures(root)
    assert len(read) == 4 and read.people == ["1", "2"]
    pictures, whom = load_forgeries(root, read.people)
    assert pictures.shape == (4, 128, 128) and pictures.any() and whom.tolist() == [0, 0, 1, 1]
    with pytest.raises(DataError, match="no forgeries of these people"):
        load_forgeries(root, ["3"])


def test_a_blank_or_broken_picture_is_named_and_the_others_are_read(tmp_path):
    root = folder(tmp_path, [f"{who}/{k}.png" for who in "12" for k in range(3)])
    Image.new("L", (300, 200), 255).save(root / "1" / "0.png")
    (root / "2" / "1.png").write_bytes((root / "2" / "1.png").read_bytes()[:90])
    with pytest.warns(DataWarning, match="2 pictures left out. 1/0.png: no ink in it; .* 2/1.png: damaged"):
        read = load_signatures(root)
    assert read.files == ["1/1.png", "1/2.png", "2/0.png", "2/2.png"] and read.images.flatten(1).any(1).all()


def test_check_says_what_was_read_and_its_status_what_was_not(tmp_path, capsys):
    root = folder(tmp_path / "data", ["1/1.png", "1/2.png", "2/1.png", "2/forged/1.png"])
    assert main(["check", str(root), "--out", str(tmp_path / "contact.png")]) == 0
    said = capsys.readouterr().out
    assert "good 1            1/1.png" in said and "2 people, 3 signatures; 1 forgery of one person left out" in said
    assert np.asarray(Image.open(tmp_path / "contact.png")).std() > 5
    Image.new("L", (200, 100), 0).save(root / "2" / "2.png")
    assert main(["check", str(root)]) == 1
    assert "2/2.png  no ink in it; scan or photograph" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "nowhere")]) == 2


def test_a_command_on_incomplete_data_goes_on_and_its_status_says_so(tmp_path, capsys, monkeypatch):
    root = folder(tmp_path, [f"{who}/{k}.png" for who in "12" for k in range(3)])
    (root / "1" / "0.png").write_bytes(b"")
    monkeypatch.setattr("sigen_utils.commands.evidence.verify", lambda args: load_signatures(args.data) and 0)
    assert main(["verify", "--data", str(root)]) == 1
    assert "1/0.png: an empty file; copy it again" in capsys.readouterr().err
