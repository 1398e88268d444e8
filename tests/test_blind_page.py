"""The blind test's page in a real browser: keys and buttons answer, the result is right, the answers are saved."""

import json
from pathlib import Path

import numpy as np
import torch
from test_browser import CHROMIUM, FLAGS, pytestmark  # noqa: F401  where there is no browser, this is skipped too

from sigen_utils.experiments import blind_test


def test_the_blind_test_page_takes_answers_and_saves_them(tmp_path):
    from playwright.sync_api import sync_playwright

    rng = np.random.default_rng(0)
    real, fake = (torch.from_numpy(rng.random((6, 1, 32, 32), dtype=np.float32)) for _ in range(2))
    items = blind_test.make_items(real, fake, n=10, seed=1)
    path = blind_test.write_page(items, tmp_path / "page.html", model="<a model>")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        tab, errors = browser.new_page(), []
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(path.as_uri())
        shown = set()
        for k, item in enumerate(items):
            shown.add(tab.get_attribute("#picture", "src"))
            assert tab.inner_text("#word") == f"{k + 1} of 10"
            right = k >= 2  # two wrong answers
            said = item.genuine == right
            if k % 2:
                tab.keyboard.press("w" if said else "d")
            else:
                tab.click("#written" if said else "#drawn")
        assert len(shown) == 10 and tab.inner_text("#word").startswith("20 % of 10 answers wrong")
        tab.keyboard.press("w")  # nothing more is taken
        with tab.expect_download() as saved:
            tab.click("#save")
        sheet = json.loads(Path(saved.value.path()).read_text())
        browser.close()
    assert not errors and sheet["model"] == "<a model>" and len(sheet["answers"]) == 10
    score = blind_test.score_answers([sheet, sheet])
    assert (score["people"], score["n"], score["wrong"]) == (2, 20, 0.2)
    assert [a["genuine"] for a in sheet["answers"]] == [item.genuine for item in items]
