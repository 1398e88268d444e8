"""Any picture of a signature becomes the same ink, or is named with what to do about it."""

import functools
import io

import cv2
import numpy as np
import pytest
from PIL import Image
from strokes import draw_curve

from sigen_utils import images
from sigen_utils.images import ImageError, Page, clean_signature, normalise_mask, read_pages, read_signatures

RNG = np.random.default_rng(3)
DRAWING = draw_curve(np.random.default_rng(5).random((9, 2)), 3)


def mask(width=6, shape=(220, 420)):
    """A signature, uint8 ``[h, w]``, 255 = ink, well inside the picture."""
    points = np.random.default_rng(1).random((9, 2)) * [0.62, 0.5] + [0.18, 0.25]
    t = np.linspace(0, 8, 300)
    xy = np.stack([np.interp(t, np.arange(9), points[:, k]) for k in (0, 1)], axis=1) * shape[::-1]
    out = np.zeros(shape, np.uint8)
    cv2.polylines(out, [np.round(xy * 16).astype(np.int32)], False, 255, width, cv2.LINE_AA, 4)
    return out


def painted(ink=(40, 40, 50), paper=(240, 238, 230), cover=None):
    cover = (mask() if cover is None else cover)[..., None] / 255
    return np.array(paper) * (1 - cover) + np.array(ink) * cover


def as_picture(pixels):
    return np.clip(pixels + 0.5, 0, 255).astype(np.uint8)


def read(pixels):
    return clean_signature(Page("picture", as_picture(pixels)))


def alike(found, wanted):
    """F1 of ink within a pixel of the other's."""
    near = np.ones((3, 3), np.uint8)
    a, b = found > 0, wanted > 0
    if not a.any() or not b.any():
        return 0.0
    right = (a & (cv2.dilate(b.view(np.uint8), near) > 0)).sum() / a.sum()
    whole = (b & (cv2.dilate(a.view(np.uint8), near) > 0)).sum() / b.sum()
    return 2 * right * whole / (right + whole)


WANTED = normalise_mask(np.where(mask() > 127, 255, 0).astype(np.uint8))


def lined(pixels, places, thick, colour, slope=0.0, across=True):
    layer = np.zeros(pixels.shape[:2], np.uint8)
    height, width = layer.shape
    for place in places:
        ends = [(-5, place - slope * width), (width + 5, place + slope * width)]
        ends = ends if across else [(y, x) for x, y in ends]
        cv2.line(layer, *[tuple(np.round(np.array(end) * 16).astype(int).tolist()) for end in ends], 255, thick,
                 cv2.LINE_AA, 4)  # fmt: skip
    cover = 0.9 * layer[..., None] / 255
    return pixels * (1 - cover) + np.array(colour) * cover


@functools.cache
def kinds():
    """Name -> picture of the same signature."""
    plain, (height, width) = painted(), mask().shape
    y, x = np.mgrid[0:height, 0:width] / width
    shade = (1 - 0.62 * x)[..., None]
    desk = np.where((y < 0.06 + 0.03 * x)[..., None], (60, 45, 40), plain)
    noise = RNG.normal(0, 6, plain.shape)
    corner = plain.copy()
    corner[:7] = 15
    dusty = painted(cover=np.pad(mask(), 150))
    dusty[5:11, 5:11] = dusty[-12:-6, -12:-6] = 60
    hair = painted(cover=np.pad(mask(), 150))
    cv2.line(hair, (60, 40), (120, 70), (120, 120, 120), 1, cv2.LINE_AA)
    small = painted(cover=np.pad(mask(), 700))
    blue = painted(ink=(30, 45, 130))
    ring = np.zeros((height, width), np.uint8)
    cv2.circle(ring, (200, 120), 80, 255, 3, cv2.LINE_AA)
    stamped = np.minimum(plain, 255 - ring[..., None] / 255 * (255 - np.array([80, 100, 210])))
    return {
        "plain": plain,
        "negative": 255 - plain,
        "chalk": painted((220, 225, 220), (40, 80, 60)) * shade,
        "faint": painted((218, 218, 218), (240, 240, 240)),
        "dim": 0.2 * plain,
        "shadow": shade * plain,
        "grain": plain + noise,
        "blue on yellow": painted((50, 60, 160), (240, 220, 90)),
        "desk": desk,
        "dark strip of a scanner": corner,
        "dust": dusty,
        "hair": hair,
        "small in a large picture": small,
        "lined paper": lined(blue, range(20, height, 45), 2, (140, 155, 190), 0.01) * shade,
        "squared paper": lined(lined(blue, range(9, 400, 25), 1, (150, 165, 195)), range(9, 420, 25), 1,
                               (150, 165, 195), across=False),
        "box": lined(lined(plain, (8, height - 9), 2, (60, 60, 60)), (8, width - 9), 2, (60, 60, 60), across=False),
        "stamp": stamped,
    }  # fmt: skip


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_of_picture_gives_the_same_ink(kind):
    found = read(kinds()[kind])
    assert found.problem is None and alike(found.image, WANTED) > 0.93
    assert set(np.unique(found.image)) == {0, 255}


@pytest.mark.parametrize("kind, flag", [
    ("negative", "negative"), ("faint", "faint"), ("lined paper", "rules"), ("dust", "dust"), ("hair", "dust"),
    ("stamp", "stamp"), ("desk", "page_edge"), ("dark strip of a scanner", "page_edge"),
])  # fmt: skip
def test_what_was_done_is_flagged(kind, flag):
    assert flag in read(kinds()[kind]).flags and not read(kinds()["plain"]).flags


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_without_ink_is_named_with_its_remedy(level):
    for pixels in (np.full((60, 90, 3), level), np.full((1, 1, 3), level), level + RNG.normal(0, 2, (200, 300, 3))):
        found = read(pixels)
        assert "blank" in found.flags and not found.image.any()
        assert found.problem.startswith("picture: no ink in it; scan or photograph")


def test_a_solid_area_is_no_signature():
    pixels = np.full((300, 400, 3), 240.0)
    pixels[120:170, 150:220] = 30
    found = read(pixels)
    assert "solid" in found.flags and not found.image.any() and "no strokes" in found.problem


def test_a_pen_keeps_its_straight_strokes_and_underlines():
    cover = mask()
    cv2.line(cover, (60, 190), (370, 184), 255, 6, cv2.LINE_AA)  # not finer than the rest
    found = read(painted(cover=cover))
    assert alike(found.image, normalise_mask(np.where(cover > 127, 255, 0).astype(np.uint8))) > 0.95


def test_two_inks_are_kept_and_flagged():
    cover = np.zeros((220, 420), np.uint8)
    cv2.polylines(cover, [np.int32([[60, 40], [150, 60], [260, 35], [380, 70]])], False, 255, 6, cv2.LINE_AA)
    both = np.minimum(painted(), painted((210, 40, 40), cover=cover))
    found = read(both)
    assert "two_inks" in found.doubts
    assert alike(found.image, normalise_mask(np.where(np.maximum(mask(), cover) > 127, 255, 0).astype(np.uint8))) > 0.93


def test_a_fine_stroke_stays_whole_however_large_the_scan():
    for width, scale in ((1, 6), (2, 8)):
        large = cv2.resize(mask(width), None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        found = read(painted(cover=np.where(large > 100, 255, 0).astype(np.uint8)))
        pieces = cv2.connectedComponents((found.image > 0).view(np.uint8), connectivity=8)[0] - 1
        assert pieces == 1 and alike(found.image, WANTED) > 0.9
    wide = np.zeros((90, 2400), np.uint8)
    x = np.arange(40, 2360)
    cv2.polylines(wide, [np.stack([x, 45 + 30 * np.sin(x / 90)], 1).astype(np.int32)], False, 255, 2)
    assert cv2.connectedComponents((normalise_mask(wide) > 0).view(np.uint8), connectivity=8)[0] == 2


def test_a_small_binary_picture_is_cropped_and_stored_ink_is_left_alone():
    corner = np.full((128, 128), 255, np.uint8)
    corner[4:52, 6:54][cv2.resize(DRAWING, (48, 48), interpolation=cv2.INTER_AREA) > 60] = 0
    found = images.normalise_signature(corner)
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    assert max(np.ptp(rows), np.ptp(columns)) >= 108
    stored = normalise_mask(mask())
    for picture in (255 - stored, stored):  # black on white, and the negative that some sets keep
        assert (images.normalise_signature(picture) == stored).all()


def test_strokes_are_even_and_stay_connected():
    inks = []
    for width, scale in ((1, 1.0), (3, 1.0), (9, 0.5)):
        drawn = np.zeros((200, 400), np.uint8)
        u = np.linspace(0, 1, 200)
        line = np.stack([60 + 280 * scale * u, 100 + 60 * scale * np.sin(9 * u)], 1).round().astype(np.int32)
        cv2.polylines(drawn, [line], False, 255, width)
        inks.append(normalise_mask(drawn))
    for ink in inks:
        assert cv2.connectedComponents((ink > 0).view(np.uint8), connectivity=8)[0] == 2
    areas = [float((ink > 0).sum()) for ink in inks]
    assert max(areas) < 1.8 * min(areas)
    assert not normalise_mask(np.zeros((50, 80), np.uint8)).any()


def saved(tmp_path, name, picture, **options):
    picture.save(tmp_path / name, **options)
    return tmp_path / name


@functools.cache
def encodings():
    """Name -> (picture, options): one drawing in every form that files have."""
    grey = as_picture(painted())[..., 0]
    plain, cover = Image.fromarray(as_picture(painted())), mask()
    clear = np.dstack([np.zeros((*cover.shape, 3), np.uint8), cover])
    white = np.dstack([np.full((*cover.shape, 3), 255, np.uint8), cover])
    sideways = Image.Exif()
    sideways[0x0112] = 6
    palette = Image.fromarray((cover > 127).astype(np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 0, 0, 0])
    return {
        "alpha_black.png": (Image.fromarray(clear), {}),
        "alpha_white.png": (Image.fromarray(white), {}),
        "alpha_white.webp": (Image.fromarray(white), dict(lossless=True)),
        "palette.png": (palette, dict(transparency=0)),
        "deep.png": (Image.fromarray(grey.astype(np.uint16) * 257), {}),
        "twelve_bits.tif": (Image.fromarray(grey.astype(np.uint16) * 16), {}),
        "shares.tif": (Image.fromarray((grey / 255).astype(np.float32)), {}),
        "cmyk.jpg": (plain.convert("CMYK"), {}),
        "bilevel.tif": (Image.fromarray(grey).point(lambda v: 255 * (v > 140)).convert("1"), {}),
        "sideways.jpg": (plain.transpose(Image.ROTATE_90), dict(exif=sideways)),
        "sideways.tif": (plain.transpose(Image.ROTATE_90), dict(exif=sideways)),
        "capital.JPG": (plain, {}),
        "windows.jfif": (plain, dict(format="JPEG")),
        "lies.jpg": (plain, dict(format="PNG")),
        "no_suffix": (plain, dict(format="PNG")),
        "Ünï 名 .png": (plain, {}),
    }


@pytest.mark.parametrize("name", encodings())
def test_every_encoding_gives_the_same_ink(tmp_path, name):
    picture, options = encodings()[name]
    (found,) = read_signatures(saved(tmp_path, name, picture, **options))
    assert alike(found.image, WANTED) > 0.93 and images.is_picture(tmp_path / name)


def test_all_pages_and_the_fullest_frame_are_read(tmp_path):
    plain = Image.fromarray(as_picture(painted()))
    blank = Image.new("RGB", plain.size, "white")
    pages = read_pages(saved(tmp_path, "scan.tif", plain, save_all=True, append_images=[blank, plain]))
    assert [page.name for page in pages] == ["scan.tif", "scan.tif#2", "scan.tif#3"]
    assert all(page.image.shape == (220, 420, 3) and page.image.dtype == np.uint8 for page in pages)
    (drawn,) = read_signatures(saved(tmp_path, "drawn.gif", blank, save_all=True, append_images=[plain]))
    assert alike(drawn.image, WANTED) > 0.93 and "an animation" in drawn.notes[0]


@pytest.mark.parametrize("name, content, message", [
    ("gone.png", None, "no such file"),
    ("empty.png", b"", "an empty file; copy it again"),
    ("page.jpg", b"<!DOCTYPE html><html>", "a web page"),
    ("pointer.png", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ("._1.png", b"\x00\x05\x16\x07\x00\x02", "macOS metadata"),
    ("noise.png", b"hello", "not a readable picture"),
    ("half.jpg", "half", "damaged or truncated"),
    ("IMG.HEIC", b"\x00\x00\x00\x18ftypheic" + bytes(40), "IMG.HEIC: "),
    ("line\nbreak.png", b"hello", r"line\\nbreak.png"),
])  # fmt: skip
def test_what_is_no_picture_is_named_with_the_remedy(tmp_path, name, content, message):
    if content == "half":
        buffer = io.BytesIO()
        Image.fromarray(as_picture(painted())).save(buffer, "JPEG")
        content = buffer.getvalue()[: len(buffer.getvalue()) // 2]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=message):
        read_pages(tmp_path / name)


@pytest.mark.parametrize("name, start, module, commands", [
    ("IMG.HEIC", b"\x00\x00\x00\x18ftypheic" + bytes(40), "pillow_heif", ("pip install pillow-heif", "heif-convert")),
    ("scan.pdf", b"%PDF-1.7\n", "pypdfium2", ("pip install pypdfium2", "pdftoppm")),
])  # fmt: skip
def test_without_its_reader_a_format_comes_with_the_commands(tmp_path, monkeypatch, name, start, module, commands):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    (tmp_path / name).write_bytes(start)
    with pytest.raises(ImageError) as error:
        read_pages(tmp_path / name)
    assert all(command in str(error.value) for command in commands)


@pytest.mark.parametrize("name, module", [("IMG.HEIC", "pillow_heif"), ("scan.pdf", "pypdfium2")])
def test_with_its_reader_a_format_is_read(tmp_path, name, module):
    reader = pytest.importorskip(module)
    plain = Image.fromarray(as_picture(painted()))
    if module == "pillow_heif":
        reader.register_heif_opener()
        plain.save(tmp_path / name, format="HEIF")
    else:
        plain.save(tmp_path / name, save_all=True, append_images=[plain])
    found = read_signatures(tmp_path / name)
    assert len(found) == (2 if module == "pypdfium2" else 1)
    assert all(alike(page.image, WANTED) > 0.93 for page in found)


def test_too_many_pixels_are_refused_before_decoding(tmp_path):
    path = saved(tmp_path, "large.png", Image.new("1", (3000, 3000)))
    with pytest.raises(ImageError, match="9 megapixels, the limit is 1"):
        read_pages(path, max_pixels=1_000_000)
    with pytest.raises(ImageError, match="far too many pixels"):
        read_pages(saved(tmp_path, "bomb.png", Image.new("1", (20_000, 20_000))))


def test_a_contact_sheet_shows_every_picture():
    page, ink = as_picture(painted()), WANTED
    sheet = images.contact_sheet([(page, ink, "a.png", "good")] * 7)
    assert sheet.size == (1800, 360) and np.asarray(sheet).std() > 5
