"""The static page: its graphs compute what torch does, and in a real browser it draws what Python draws."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_browser import CHROMIUM, FLAGS

from sigen_utils import page, paths
from sigen_utils.models.prior import FlowConfig, Person
from sigen_utils.models.prior_vae import PriorConfig, PriorVAE
from sigen_utils.models.vae import VAEConfig
from sigen_utils.render import render
from sigen_utils.training.checkpoint import RunError
from sigen_utils.training.tensors import packed, unpacked

ORT = paths.REPO / "build" / "ort"
needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnx") is None, reason="no onnx (pip install onnx)")


@pytest.fixture(scope="module")
def model() -> PriorVAE:
    """A small one with random weights, rounded as those that are published."""
    torch.manual_seed(0)
    flow = FlowConfig(widths=(16, 32, 32), embedding=32, coarse=4, fine=2)
    vae = VAEConfig(width_fine=16, width_encoder=32, width_decoder=32)
    model = PriorVAE(PriorConfig(vae=vae, flow=flow)).eval()
    with torch.no_grad():
        for value in model.parameters():  # many begin at zero
            value.add_(0.05 * torch.randn_like(value))
        model.vae.to_picture[0].bias.add_(1.0)
        model.vae.decoder[0].weight.mul_(4)
        model.flow.scale.copy_(1 + torch.rand_like(model.flow.scale))
    model.load_state_dict(unpacked(packed(model.state_dict())))
    return model


def run_of(model: PriorVAE, **changed) -> SimpleNamespace:
    return SimpleNamespace(**dict(kind="prior", conditional=False, model=model, run_dir="a run") | changed)


@needs_onnx
def test_the_graphs_compute_what_torch_does_from_a_quarter_of_the_bytes(model, tmp_path):
    ort = pytest.importorskip("onnxruntime", reason="no onnxruntime (pip install onnxruntime)")
    page.export(model, tmp_path)
    ink, z = (torch.rand(3, 1, 128, 128) > 0.9).float(), torch.randn(3, *model.vae.config.shape)
    person = Person(torch.randn(3, model.flow.config.person), torch.tensor([0.0, 1.0, 3.0]))
    flow_inputs = dict(z=z, t=torch.tensor([1.0, 0.5, 0.1]), description=person.description, count=person.count)
    for function, inputs in ((page.encoder, dict(ink=ink)), (page.velocity, flow_inputs),
                             (page.decoder, dict(z=z)), (page.pen, dict(ink=ink))):  # fmt: skip
        file = tmp_path / f"{function.__name__}.onnx"
        found = ort.InferenceSession(str(file)).run(None, {name: value.numpy() for name, value in inputs.items()})
        with torch.no_grad():
            expected = function(model, **inputs)
        for one, other in zip(found, expected if isinstance(expected, tuple) else (expected,), strict=True):
            assert np.abs(one - other.numpy()).max() < 1e-4 * max(1.0, float(other.abs().max())), file.name
    assert (tmp_path / "velocity.onnx").stat().st_size < 0.5 * 4 * sum(p.numel() for p in model.flow.parameters())


@needs_onnx
def test_weights_that_packing_would_change_stay_as_they_are(model, tmp_path):
    ort = pytest.importorskip("onnxruntime", reason="no onnxruntime (pip install onnxruntime)")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        with torch.no_grad():
            for value in model.parameters():
                value.add_(0.01 * torch.randn_like(value))
        page.export(model, tmp_path)
        z = torch.randn(1, *model.vae.config.shape)
        found = ort.InferenceSession(str(tmp_path / "decoder.onnx")).run(["ink"], dict(z=z.numpy()))[0]
        with torch.no_grad():
            assert np.abs(found - page.decoder(model, z)[0].numpy()).max() < 1e-4
    finally:
        model.load_state_dict(before)


def test_directions_are_as_long_as_people_differ(model):
    axes, names = page.directions(model, people=8, steps=2)
    assert axes.shape == (page.DIRECTIONS, model.flow.config.person) and len(names) == page.DIRECTIONS
    lengths = axes.norm(dim=1)
    assert (lengths[:-1] >= lengths[1:]).all() and lengths[0] > 0


def test_a_page_of_people_or_of_another_model_is_refused(model, tmp_path):
    with pytest.raises(RunError, match="it knows people"):
        page.write_site(run_of(model, conditional=True), tmp_path)
    with pytest.raises(RunError, match="holds a vae"):
        page.write_site(run_of(model, kind="vae"), tmp_path)


def test_without_npm_the_error_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="--ort DIR"):
        page.fetch_ort(tmp_path / "ort")
    with pytest.raises(ValueError, match="name the folder dist"):
        page.write_site(run_of(None), tmp_path / "site", ort=str(tmp_path))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def tab(model, tmp_path_factory) -> Iterator:
    """The page in Chromium, loaded from a server that only hands out files; other hosts are refused."""
    for missing, reason in (
        (importlib.util.find_spec("playwright") is None, "no playwright (pip install -r requirements-dev.txt)"),
        (importlib.util.find_spec("onnx") is None, "no onnx (pip install onnx)"),
        (CHROMIUM is None, "no chromium (apt-get install chromium)"),
        (not all((ORT / name).is_file() for name in page.ORT_FILES), "no onnxruntime-web in build/ort (make page)"),
    ):
        if missing:
            pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    site: Path = tmp_path_factory.mktemp("site")
    page.write_site(run_of(model), site, str(ORT), people=8, steps=2)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
            tab = browser.new_context(viewport={"width": 1100, "height": 1000}, color_scheme="light").new_page()
            tab.wrong = []
            here = f"http://127.0.0.1:{server.server_port}/"
            tab.on("request", lambda one: one.url.startswith((here, "blob:", "data:")) or tab.wrong.append(one.url))
            tab.on("pageerror", lambda error: tab.wrong.append(str(error)))
            tab.on("console", lambda said: said.type == "error" and tab.wrong.append(said.text))
            tab.set_default_timeout(150_000)
            tab.goto(here)
            tab.wait_for_function("() => window.sigen")
            settle(tab)
            yield tab
            browser.close()
    finally:
        server.shutdown()
        server.server_close()


def settle(tab) -> None:
    tab.wait_for_function("() => document.body.dataset.state === 'ready'")


def ink_of(tab, canvas: str) -> list[int]:
    """Where a canvas has ink: how much, and the sums of its places."""
    return tab.evaluate("""id => {
        const canvas = document.getElementById(id), found = [0, 0, 0];
        const {data, width} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        for (let i = 3; i < data.length; i += 4) if (data[i] > 127) {
            found[0]++; found[1] += (i >> 2) % width; found[2] += Math.floor((i >> 2) / width);
        }
        return found;
    }""", canvas)  # fmt: skip


def draw(tab, *points: tuple[float, float]) -> None:
    """A stroke of the mouse; points in shares of the pad."""
    tab.locator("#pad").scroll_into_view_if_needed()
    box = tab.locator("#pad").bounding_box()
    for k, (x, y) in enumerate(points):
        tab.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        if not k:
            tab.mouse.down()
    tab.mouse.up()


@pytest.mark.parametrize("references", [0, 2])
def test_the_browser_draws_what_python_draws(tab, model, references):
    noise = torch.randn(1, *model.vae.config.shape)
    known = torch.randn(1, references, model.flow.config.person)
    person = model.flow.people(known, known.new_ones(1, references)) if references else model.flow.nobody_in(1)
    expected = render(model.draw(person, noise=noise))[0, 0].numpy()
    found = tab.evaluate("""async ([noise, description, count]) => {
        const drawn = await sigen.sign({description: Float32Array.from(description), count}, noise);
        return Array.from(drawn.strokes);
    }""", [noise.flatten().tolist(), person.description[0].tolist(), references])  # fmt: skip
    found = np.array(found).reshape(128, 4, 128, 4).mean((1, 3))
    assert 0.01 < expected.mean() < 0.9, "a picture that shows nothing"
    assert np.abs(found - expected).mean() < 1e-3


def test_the_keyboard_brings_new_people_and_more_signatures(tab):
    before = ink_of(tab, "moved")
    tab.focus("#new")
    tab.keyboard.press("Enter")
    settle(tab)
    assert tab.locator("#strip canvas").count() == 1 and ink_of(tab, "moved") != before
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    settle(tab)
    assert tab.locator("#strip canvas").count() == 2
    assert tab.inner_text("#status").startswith("Signed again in")


def test_a_slider_moves_the_picture_and_says_how_quickly(tab):
    before = ink_of(tab, "moved")
    tab.focus("#d0")
    tab.keyboard.press("End")
    settle(tab)
    assert tab.inner_text("output[for=d0]") == "+3.0" and ink_of(tab, "moved") != before
    assert "ms in 2 steps" in tab.inner_text("#status")
    tab.click("#reset")
    settle(tab)
    assert ink_of(tab, "moved") == before  # the same noise, the same person


def test_the_way_between_two_people_has_an_end_at_each(tab):
    tab.focus("#between")
    seen = []
    for key in ("Home", "End"):
        tab.keyboard.press(key)
        settle(tab)
        seen.append(ink_of(tab, "middle"))
    assert seen[0] != seen[1] and tab.inner_text("#share") == "100 %"
    tab.click("#other")
    settle(tab)
    assert ink_of(tab, "middle") != seen[1]


def test_a_drawn_signature_is_normalised_redrawn_and_varied(tab):
    draw(tab, (0.1, 0.5), (0.3, 0.2), (0.5, 0.7), (0.8, 0.4))
    settle(tab)
    assert ink_of(tab, "redrawn")[0] > 0 and tab.locator("#varied canvas").count() == 4
    tab.click("#take")
    settle(tab)
    assert tab.locator("#strip canvas").count() == 1
    tab.click("#clear")
    settle(tab)
    assert ink_of(tab, "redrawn")[0] == ink_of(tab, "pad")[0] == 0 and tab.is_disabled("#vary")
    ink = tab.evaluate("() => Array.from(sigen.inkOf([[[10, 40], [200, 100]], [[120, 30]]]))")
    ink = np.array(ink).reshape(128, 128)
    rows, columns = (np.flatnonzero(ink.any(axis)) for axis in (1, 0))
    assert set(np.unique(ink)) == {0, 1} and np.ptp(columns) + 1 == pytest.approx(116, abs=1)
    assert (columns[0] + columns[-1]) / 2 == pytest.approx(63.5, abs=1)
    assert (rows[0] + rows[-1]) / 2 == pytest.approx(63.5, abs=1)


def test_the_keyboard_draws_a_signature(tab):
    tab.focus("#pad")
    for key in (" ", *["ArrowRight"] * 6, *["ArrowDown"] * 3, " "):
        tab.keyboard.press(key)
    settle(tab)
    assert ink_of(tab, "redrawn")[0] > 0 and tab.is_enabled("#vary")
    tab.keyboard.press("Backspace")
    settle(tab)
    assert tab.is_disabled("#vary")


def test_every_control_has_a_name_and_the_page_is_dark_where_asked(tab):
    nameless = """() => [...document.querySelectorAll('button, input, canvas')].filter(one =>
        !(one.textContent.trim() || one.getAttribute('aria-label') || (one.labels && one.labels.length))).length"""
    assert tab.evaluate(nameless) == 0
    back = "() => getComputedStyle(document.body).backgroundColor"
    light = tab.evaluate(back)
    tab.emulate_media(color_scheme="dark")
    assert tab.evaluate(back) != light
    tab.emulate_media(color_scheme="light")


def test_nothing_went_wrong_and_nobody_else_was_asked(tab):
    assert tab.wrong == []
