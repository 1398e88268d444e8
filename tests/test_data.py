"""The signature set: polarity, splitting, batches, and what it says to bad input."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from strokes import toy_signatures

from sigen_utils import data
from sigen_utils.data import DataError, batch_index, load_signatures, needs_sheets


def write_folder(root, signatures):
    """Signatures as `extract` files them: with a manifest, which says that they are ink already."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "manifest.csv").write_text("sheet,row,col,person_id,file\n")
    for picture, name in zip(signatures.images.numpy(), signatures.files, strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - picture).save(root / name)


def test_conversion_is_its_own_inverse_and_ink_is_one():
    picture = np.full((3, 8, 8), 255, np.uint8)
    picture[:, 2:4] = 0
    ink = data.to_model(picture)
    assert ink.shape == (3, 1, 8, 8) and ink[0, 0, 2, 0] == 1 and ink[0, 0, 0, 0] == 0
    assert (data.to_image(ink) == picture).all()


def test_conversion_refuses_floats():
    with pytest.raises(TypeError, match="uint8"):
        data.to_model(np.zeros((8, 8), np.float32))


def test_round_trip_through_a_folder(tmp_path):
    toy = toy_signatures()
    write_folder(tmp_path, toy)
    Image.new("L", (30, 10), 255).save(tmp_path / "1" / "id.png")
    read = load_signatures(tmp_path)
    assert read.people == toy.people and read.files == toy.files
    assert (read.images == toy.images).all() and (read.is_test == toy.is_test).all()
    assert read.fingerprint() == toy.fingerprint()


def test_split_holds_out_the_last_of_every_person():
    toy = toy_signatures(5, 4)
    assert len(toy.train) == 15 and len(toy.test) == 5
    assert not set(toy.train.files) & set(toy.test.files)
    assert toy.test.labels.tolist() == list(range(5)) and all(name.endswith("/4.png") for name in toy.test.files)


def test_foreign_pictures_are_cropped_scaled_and_centred(tmp_path):
    toy = toy_signatures(2, 2)
    for picture, name in zip(toy.images.numpy(), toy.files, strict=True):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        large = np.full((300, 500), 230, np.uint8)  # grey paper, ink off the centre
        large[20:148, 350:478] = np.where(picture, 40, 230)
        Image.fromarray(large).save((tmp_path / name).with_suffix(".jpg"), quality=90)
    ink = load_signatures(tmp_path).images[0].numpy()
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    assert 114 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 118
    assert abs(rows.mean() - 63.5) < 8 and set(np.unique(ink)) == {0, 255}


def test_cedar_names_are_understood(tmp_path):
    toy, folder = toy_signatures(2, 3), tmp_path / "full_org"
    folder.mkdir()
    for k, picture in enumerate(toy.images.numpy()):
        Image.fromarray(255 - picture).save(folder / f"original_{k // 3 + 1}_{k % 3 + 1}.png")
    forged = tmp_path / "full_forg"
    forged.mkdir()
    shutil.copy(folder / "original_1_1.png", forged / "forgeries_1_1.png")
    for place in (folder, tmp_path):  # the folder above too, which else would be one person called full_org
        read = load_signatures(place)
        assert read.people == ["1", "2"] and read.is_test.tolist() == [False, False, True] * 2


@pytest.mark.parametrize("damage, message", [
    ("missing", "no such folder"),
    ("empty", "no <person>/<image>"),
    ("single", "one signature a person"),
    ("archive", "not an archive"),
    ("truncated", "2.png: damaged or truncated .* copy the file again"),
])  # fmt: skip
def test_bad_folders_are_named(tmp_path, damage, message):
    root = tmp_path / "signatures"
    if damage == "archive":
        root = tmp_path / "signatures.npz"
        np.savez(root, x=np.zeros((2, 128, 128), np.uint8), y=np.array(["1", "1"]))
        root.write_bytes(root.read_bytes()[:-40])
    elif damage != "missing":
        root.mkdir()
    if damage == "single":
        write_folder(root, toy_signatures(1, 1))
    if damage == "truncated":  # one bad picture of many is left out with a warning; here there is no other
        write_folder(root, toy_signatures(1, 2))
        for picture in root.glob("1/*.png"):
            picture.write_bytes(picture.read_bytes()[: picture.stat().st_size // 2])
    with pytest.raises(DataError, match=message) as error:
        load_signatures(root)
    assert "signatures" in str(error.value)


def test_whoever_has_one_signature_is_left_out_and_named(tmp_path):
    write_folder(tmp_path, toy_signatures(3, 2))
    (tmp_path / "2" / "1.png").unlink()
    with pytest.warns(UserWarning, match="one signature only of 2; left out"):
        read = load_signatures(tmp_path)
    assert read.people == ["1", "3"] and read.files == ["1/1.png", "1/2.png", "3/1.png", "3/2.png"]


def test_an_interrupted_synthesis_is_drawn_again(tmp_path):
    assert needs_sheets(tmp_path / "nowhere") and needs_sheets(tmp_path)
    (tmp_path / "sheet_01.jpg").write_bytes(b"a photograph")
    assert not needs_sheets(tmp_path)
    (tmp_path / "masks").mkdir()
    assert needs_sheets(tmp_path), "its truth is written last"
    (tmp_path / "truth.json").write_text("{}")
    assert not needs_sheets(tmp_path)


def test_batches_cover_every_signature_once_an_epoch_and_split_over_processes():
    n, batch = 23, 5
    one = torch.cat([batch_index(n, 2 * batch, step, seed=3) for step in range(23)])
    assert all(sorted(one[i : i + n].tolist()) == list(range(n)) for i in range(0, len(one) - n + 1, n))
    parts = [batch_index(n, batch, 4, seed=3, rank=r, world=2) for r in range(2)]
    assert torch.stack(parts, 1).flatten().equal(batch_index(n, 2 * batch, 4, seed=3))


def test_the_split_can_be_set(tmp_path):
    write_folder(tmp_path, toy_signatures())
    few = load_signatures(tmp_path, train_per_person=1)
    assert few.train.labels.bincount().tolist() == [1] * few.n_people
    assert len(few) == len(load_signatures(tmp_path)) and [f for f in few.train.files if not f.endswith("1.png")] == []
    with pytest.raises(DataError, match="cannot train on 0"):
        load_signatures(tmp_path, train_per_person=0)
    with pytest.raises(DataError, match="hold out the others"):
        load_signatures(tmp_path, train_per_person=40)
