"""The canvas and the upload button: what is drawn reaches Python, and a page without a kernel says so."""

from __future__ import annotations

import base64
import io
import sys
from datetime import UTC, datetime
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from test_browser import CHROMIUM, FLAGS, pytestmark

from sigen_utils import data, figures
from sigen_utils.drawing import HEIGHT, PREFIX, WIDTH, OwnSignature, uploaded

in_a_browser = pytest.mark.skipif(any(mark.args[0] for mark in pytestmark), reason="no browser")
del pytestmark


def png(ink: bool = True) -> bytes:
    """A picture of a signature, or an empty sheet."""
    picture, out = np.full((HEIGHT, WIDTH), 255, np.uint8), io.BytesIO()
    if ink:
        x = np.arange(60, 440)
        for thick in range(5):
            picture[(120 + 60 * np.sin(x / 25)).astype(int) + thick, x] = 0
    Image.fromarray(picture).save(out, format="PNG")
    return out.getvalue()


class Answer:
    """Reads a picture as the notebook does, and keeps the ink."""

    def __init__(self, tmp_path):
        self.file, self.ink = tmp_path / "picture", []

    def __call__(self, content: bytes) -> Figure:
        self.file.write_bytes(content)
        self.ink.append(data.read_signature(self.file))
        return figures.comparison_rows({"this signature": self.ink[-1][None]}, 1)


@pytest.fixture
def own(tmp_path) -> OwnSignature:
    return OwnSignature(Answer(tmp_path))


def test_a_drawing_and_an_upload_of_one_picture_are_read_alike(own):
    own.field.value = "1 " + PREFIX + base64.b64encode(png()).decode()
    own.field.value = "2 " + PREFIX + base64.b64encode(png()).decode()  # the same once more is an answer once more
    about = dict(name="a.png", type="image/png", size=len(png()), last_modified=datetime.now(UTC))
    own.upload.set_trait("value", (about | dict(content=memoryview(png())),))
    first, *others = own.answer.ink
    assert len(others) == 2 and all((one == first).all() for one in others)
    assert first.shape[-2:] == (128, 128) and 0.01 < first.mean() < 0.5
    assert bytes(own.image.value).startswith(b"\x89PNG") and own.image.layout.display is None and own.said.value == ""


@pytest.mark.parametrize("value", ["1 nothing", "1 " + PREFIX + "%%%", "1 " + PREFIX + "A" * 3_000_000])
def test_what_is_no_drawing_is_refused_with_a_way_out(own, value):
    own.field.value = value
    assert own.answer.ink == [] and "upload a picture instead" in own.said.value


def test_a_picture_without_ink_gets_a_sentence_and_no_old_answer(own):
    own.show(png())
    own.show(png(ink=False))
    assert len(own.answer.ink) == 1 and own.image.layout.display == "none" and len(own.said.value) > 10


def test_both_generations_of_upload_widgets_are_understood():
    assert uploaded(({"content": memoryview(b"new")},)) == b"new" == uploaded({"f.png": {"content": b"new"}})


def test_colab_gets_a_callback_of_its_own(tmp_path, monkeypatch):
    google, colab, called = ModuleType("google"), ModuleType("google.colab"), {}
    colab.output = SimpleNamespace(register_callback=called.__setitem__)
    monkeypatch.setitem(sys.modules, "google", google)
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    one, two = OwnSignature(Answer(tmp_path)), OwnSignature(Answer(tmp_path))
    assert set(called) == {one.key, two.key} and one.key in one.page and one.key != two.key
    called[one.key](PREFIX + base64.b64encode(png()).decode())
    assert len(one.answer.ink) == 1 and not two.answer.ink


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS, timeout=300_000)
        yield browser
        browser.close()


@pytest.fixture
def tab(browser):
    tab = browser.new_page()
    tab.set_default_timeout(150_000)
    yield tab
    tab.close()


def touch(tab, points) -> None:
    """A finger on the screen, as the browser itself makes one."""
    client = tab.context.new_cdp_session(tab)
    for kind, at in [("touchStart", points[0]), *[("touchMove", p) for p in points[1:]], ("touchEnd", None)]:
        there = [] if at is None else [dict(x=at[0], y=at[1])]
        client.send("Input.dispatchTouchEvent", dict(type=kind, touchPoints=there))


def mouse(tab, points) -> None:
    tab.mouse.move(*points[0])
    tab.mouse.down()
    for point in points[1:]:
        tab.mouse.move(*point)
    tab.mouse.up()


def sign(tab, hand, strokes: int = 2) -> None:
    box = tab.locator("canvas").bounding_box()
    for k in range(strokes):
        x, y = box["x"] + 60 + 150 * k, box["y"] + 60
        hand(tab, [(x, y), (x + 40, y + 120), (x + 80, y + 10), (x + 120, y + 110)])


def use(tab) -> str:
    tab.get_by_role("button", name="Use this drawing").click()
    return tab.get_by_role("status").inner_text()


@in_a_browser
@pytest.mark.parametrize("hand", [mouse, touch])
def test_what_is_drawn_arrives_as_a_signature(own, tab, hand):
    tab.set_content(f'{own.page}<div class="{own.key}"><input></div>')
    assert "Nothing is drawn" in use(tab)
    sign(tab, hand)
    assert "Sent" in use(tab)
    first = tab.input_value(f".{own.key} input")
    own.field.value = first
    with Image.open(io.BytesIO(base64.b64decode(first.partition(PREFIX)[2]))) as picture:
        pixels = np.asarray(picture.convert("L"))
    rows, columns = np.nonzero(pixels < 128)
    assert pixels.shape == (HEIGHT, WIDTH)
    assert (columns.min(), columns.max()) == pytest.approx((60, 330), abs=6)
    assert (rows.min(), rows.max()) == pytest.approx((60, 180), abs=6)
    assert len(own.answer.ink) == 1 and own.said.value == ""
    use(tab)
    assert tab.input_value(f".{own.key} input") != first  # pressed twice, two answers
    tab.get_by_role("button", name="Clear").click()
    assert "Nothing is drawn" in use(tab)


@in_a_browser
def test_in_colab_the_kernels_own_function_is_called(own, tab):
    kernel = "{invokeFunction: async (...all) => { window.got = all; }}"
    tab.set_content(f"<script>window.google = {{colab: {{kernel: {kernel}}}}}</script>{own.page}")
    sign(tab, mouse)
    assert "Sent" in use(tab)
    name, (picture,), _ = tab.evaluate("() => window.got")
    assert name == own.key and picture.startswith(PREFIX)
    tab.evaluate("() => { google.colab.kernel.invokeFunction = async () => { throw new Error('gone'); }; }")
    use(tab)
    tab.wait_for_function("() => document.querySelector('[role=status]').textContent.includes('upload a picture')")


@in_a_browser
def test_a_page_without_kernel_or_without_javascript_says_what_to_do(own, tab, browser):
    tab.set_content(own.page)
    sign(tab, mouse, 1)
    assert "upload a picture" in use(tab)
    plain = browser.new_page(java_script_enabled=False)
    plain.set_content(own.page)
    assert "upload a picture" in plain.get_by_role("status").inner_text()
    plain.close()
