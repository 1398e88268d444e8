"""Broken and hostile input: each is named with a remedy, in one line, and nothing is written for it.

The corpus is made here by code. What single pictures do is in test_images.py, what folders of signatures lack in
test_data.py, what is wrong with corrections in test_sheets.py.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from killed import train_vae
from PIL import Image
from safetensors.torch import load_file, save_file
from strokes import toy_signatures
from test_data import write_folder

from sigen_utils import widgets
from sigen_utils.__main__ import main
from sigen_utils.images import ImageError, read_pages
from sigen_utils.layouts import find_signatures, pictures_in
from sigen_utils.sheets import SheetError
from sigen_utils.sheets.corrections import read_corrections
from sigen_utils.training import checkpoint

WEIGHTS, CONFIG, HISTORY = checkpoint.WEIGHTS, checkpoint.CONFIG, checkpoint.HISTORY


class Bomb:
    """Prints when it is unpickled."""

    def __reduce__(self):
        return (print, ("a pickle was executed",))


# Pictures


def png(width: int, height: int, rows: bytes = b"", kind: int = 0) -> bytes:
    """A PNG whose header says `width` x `height`, and that holds the compressed `rows`."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


PICTURES = {
    "no_rows.png": png(400, 300),
    "no_pixels.png": png(0, 0),
    "huge.png": png(30_000, 30_000, bytes(1000)),
    "largest.png": png(2**31 - 1, 2**31 - 1),
    "head_only.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01",
    "frames.gif": b"GIF89a\x01\x00\x01\x00\x00\x00\x00",
    "circle.tif": b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00",  # its first page is followed by itself
    "riff.webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    "pages.pdf": b"%PDF-1.7\n1 0 obj<</Type/Pages/Kids[1 0 R]/Count 99999999>>endobj\ntrailer<</Root 1 0 R>>",
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_broken_picture_is_named_with_the_remedy(tmp_path, name):
    (tmp_path / name).write_bytes(PICTURES[name])
    with pytest.raises(ImageError, match=rf"^{name}: .*; \w+") as error:
        read_pages(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("picture", [png(100, 10_000, bytes(101 * 20)), png(20, 20, bytes(21 * 20), kind=3)])
def test_what_pillow_fills_up_is_read_and_shows_no_signature(tmp_path, capsys, picture):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "short.png").write_bytes(picture)  # fewer rows than its header says; a palette without colours
    assert main(["check", str(tmp_path)]) == 1
    assert "1 left out" in capsys.readouterr().out


def test_one_pixel_is_read_and_found_to_show_nothing(tmp_path, capsys):
    (tmp_path / "1").mkdir()
    Image.new("L", (1, 1)).save(tmp_path / "1" / "dot.png")
    assert read_pages(tmp_path / "1" / "dot.png")[0].image.shape == (1, 1, 3)
    assert main(["check", str(tmp_path)]) == 1
    assert "0 read" in capsys.readouterr().out


# Folders


@pytest.fixture
def signatures(tmp_path: Path) -> Path:
    """Two people with three signatures each, in ``<person>/<image>``."""
    write_folder(tmp_path / "signatures", toy_signatures(2, 3))
    return tmp_path / "signatures"


@pytest.mark.skipif(sys.platform == "win32", reason="needs links and pipes")
def test_links_in_circles_and_pipes_are_passed_by(signatures):
    (signatures / "1" / "round").symlink_to(signatures)
    (signatures / "2" / "again").symlink_to(signatures / "2")
    (signatures / "1" / "elsewhere").symlink_to(signatures / "2")  # no circle: read, as a folder of that name
    os.mkfifo(signatures / "1" / "pipe.png")
    os.mkfifo(signatures / "1" / "pipe")
    (signatures / "1" / "broken.png").symlink_to("/nowhere")
    names = [path.relative_to(signatures).as_posix() for path in pictures_in(signatures)]
    assert len([name for name in names if name.count("/") == 1]) == 8 and len(names) == 11
    assert find_signatures(signatures).genuine
    for name in ("pipe.png", "broken.png"):
        with pytest.raises(ImageError, match=name):
            read_pages(signatures / "1" / name)


def test_control_characters_in_names_do_not_reach_the_terminal(signatures, capsys):
    if sys.platform == "win32":
        pytest.skip("Windows allows no such names")
    (signatures / "1").rename(signatures / "one\n\x1b]0;title\x07")
    (signatures / "2" / "1.png").rename(signatures / "2" / "\x1b[31m\r.png")
    (signatures / "2" / "2.png").write_bytes(b"nothing")
    (signatures / "2" / "3.png").unlink()
    main(["check", str(signatures)])
    words = ["train", "vae_alone", "--data", str(signatures), "--run", str(signatures.parent / "run")]
    main([*words, "--steps", "1"])
    printed = "".join(capsys.readouterr())
    assert printed and not set(printed) & {"\x1b", "\x07", "\r"}


@pytest.mark.parametrize("name", ["../../up", "/etc/passwd", "..", "a/../../b", "C:\\up", "\x00", ".", "a\nb"])
def test_no_correction_files_anybody_outside(tmp_path, name):
    file = tmp_path / "corrections.csv"
    file.write_text(f'sheet,row,col,id\nsheet.jpg,1,0,"{name}"\n')
    try:
        found = read_corrections(file)
    except SheetError as error:
        assert "corrections.csv, line" in str(error)
        return
    for person in (person for fixes in found.values() for person in fixes.values()):
        assert Path(person).name == person and person not in ("", ".", "..") and person.isprintable()


# Archives


def archive(tmp_path: Path, kind: str) -> Path:
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
            file.writestr("../../1/1.png", b"x")
        return tmp_path / "a.zip"
    if kind == "tar.gz":
        tarfile.open(tmp_path / "a.tar.gz", "w:gz").close()
        return tmp_path / "a.tar.gz"
    path = tmp_path / f"{kind}.npz"
    if kind == "pickled":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("bits.npy", pickle.dumps(Bomb()))
            file.writestr("x.npy", pickle.dumps(Bomb()))
    if kind == "huge":  # says that it holds 763 GiB
        text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (100000000, 4, 128, 16), }".ljust(117) + b"\n"
        with zipfile.ZipFile(path, "w") as file:
            for name in ("bits.npy", "x.npy"):
                file.writestr(name, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
    if kind == "shapeless":
        np.savez(path, bits=np.uint8(3), x=np.uint8(3), y=np.array(["1"]))
    return path


@pytest.mark.parametrize("model", ["vae_alone", "extractor"])
@pytest.mark.parametrize("kind", ["zip", "tar.gz", "pickled", "huge", "shapeless", "missing"])
def test_an_archive_that_is_no_data_is_refused(tmp_path, capsys, model, kind):
    data = archive(tmp_path, kind)
    before = sorted(tmp_path.rglob("*"))
    assert main(["train", model, "--data", str(data), "--run", str(tmp_path / "run"), "--steps", "1"]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and data.name in printed.err and printed.err.count("\n") == 1
    assert "executed" not in printed.out and sorted(tmp_path.rglob("*")) == before


def test_an_archive_of_photographs_is_to_be_unpacked(tmp_path, capsys):
    words = ["extract", "--sheets", str(archive(tmp_path, "zip")), "--out", str(tmp_path / "out")]
    assert main(words) == 2 and not (tmp_path / "out").exists()
    assert "unpacked" in capsys.readouterr().err


# Runs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run of a VAE."""
    return train_vae(tmp_path_factory.mktemp("run") / "run", 8).run_dir


def config_with(**changes):
    """A function that changes the model in the configuration of a run folder."""

    def change(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        for name, value in changes.items():
            place, _, name = name.rpartition("__")
            (config[place] if place else config)[name] = value
        (folder / CONFIG).write_text(json.dumps(config))

    return change


def tensors_with(change):
    def changed(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        name = next(name for name, value in tensors.items() if value.is_floating_point() and value.dim() > 1)
        save_file(change(tensors, name), folder / WEIGHTS)

    return changed


def written(name: str, content: bytes):
    return lambda folder: (folder / name).write_bytes(content)


DAMAGE = {
    "empty weights": written(WEIGHTS, b""),
    "truncated weights": lambda folder: os.truncate(folder / WEIGHTS, 1000),
    "a header of exabytes": written(WEIGHTS, struct.pack("<Q", 2**62) + b"{}"),
    "a pickle for weights": written(WEIGHTS, pickle.dumps(Bomb())),
    "weights that are no numbers": tensors_with(lambda t, name: t | {name: t[name] * torch.nan}),
    "weights of another shape": tensors_with(lambda t, name: t | {name: torch.zeros(3)}),
    "a missing tensor": tensors_with(lambda t, name: {key: t[key] for key in t if key != name}),
    "one tensor more": tensors_with(lambda t, name: t | dict(more=torch.zeros(3))),
    "an unknown key": config_with(model__evil=1),
    "a wrong type": config_with(model__width_fine="many"),
    "a negative size": config_with(model__width_fine=-4),
    "an absurd size": config_with(model__width_fine=10**9),
    "a model that is text": config_with(model="x"),
    "an unknown kind": config_with(kind="x"),
    "a kind that is a list": config_with(kind=[]),
    "no data": config_with(data={}),
    "a share that is text": config_with(finished=False, share="most"),
    "a list for a config": written(CONFIG, b"[1]"),
    "half a config": written(CONFIG, b'{"kind": '),
    "a config that is no text": written(CONFIG, b"\xff\xfe\x00"),
    "a config of brackets": written(CONFIG, b"[" * 100_000),
    "a history that is none": written(HISTORY, b"nonsense\n3\n"),
    "a history of numbers": written(HISTORY, b"3\n"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_named_with_the_remedy(run, tmp_path, capsys, damage):
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    DAMAGE[damage](broken)
    assert main(["sample", "--run", str(broken), "--n", "1", "--out", str(tmp_path / "drawn.npz")]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {broken}") and printed.err.count("\n") == 1 and len(printed.err) < 700
    assert "train again" in printed.err and "executed" not in printed.out
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


@pytest.mark.parametrize("content", [b"", b"nothing", pickle.dumps(Bomb())], ids=["empty", "text", "pickle"])
def test_a_damaged_state_is_named_and_not_run(run, tmp_path, capsys, content):
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    (broken / checkpoint.STATE).write_bytes(content)
    with pytest.raises(checkpoint.RunError, match=f"{checkpoint.STATE}: damaged, or no state of a training"):
        train_vae(broken, 8)
    assert "executed" not in capsys.readouterr().out
    assert (broken / checkpoint.STATE).read_bytes() == content


# Pages


def test_names_in_widgets_are_text_and_no_markup():
    script = "<img src=x onerror=alert(1)>"
    explorer = widgets.LatentExplorer(
        lambda z: np.zeros((8, 8), np.uint8), np.eye(2), np.ones(2), np.zeros(2), {script: np.zeros(2)}, [script] * 2
    )
    html = [part for part in explorer.widget.children if "HTML" in type(part).__name__]
    assert not [part for part in html if script in part.value]
    assert not any("HTML" in type(slider).__name__ for slider in explorer.sliders)
    assert all(getattr(slider, "description_allow_html", False) is False for slider in explorer.sliders)
