"""The live display of a training: one picture that is replaced, and silence outside a notebook."""

from __future__ import annotations

import io
import json

import IPython
import IPython.display
import numpy as np
import pytest
import torch
from PIL import Image

from sigen_utils.live import Live
from sigen_utils.training import checkpoint

ROWS = {
    "vae": [dict(step=k, images=32 * k, seconds=2.0 * k, loss=900.0 / k, test_loss=950.0 / k) for k in (1, 2, 4)],
    "gan": [dict(step=k, images=32 * k, seconds=2.0 * k, loss=1.0, real_logit=k, fake_logit=-k) for k in (1, 2, 4)],
}


@pytest.fixture(params=ROWS)
def run(request, tmp_path):
    """A run folder in the middle of its training, and the last row of its history."""
    folder = checkpoint.RunFolder(tmp_path / request.param)
    folder.path.mkdir()
    (folder.path / checkpoint.CONFIG).write_text("{}")
    folder.save_samples(4, torch.rand(16, 1, 128, 128))
    rows = ROWS[request.param]
    (folder.path / checkpoint.HISTORY).write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder.path, rows[-1]


def test_it_draws_curves_samples_and_the_time_left(run):
    folder, record = run
    live = Live(folder, 512)
    fig = live.figure(record)
    assert len(fig.axes[0].lines) == 2 and all(len(line.get_xdata()) == 3 for line in fig.axes[0].lines)
    assert fig.axes[1].images[0].get_array().shape == (256, 1024)
    assert live.words(record) == f"{folder.name}: 128 signatures seen, 25%, about 24 s left"
    assert live.words(record | dict(images=512)).endswith("100%, done")
    with Image.open(io.BytesIO(live.png(record))) as picture:
        assert np.asarray(picture.convert("L")).std() > 0 and picture.width > 600


def test_one_picture_is_replaced_and_nothing_is_shown_outside_a_notebook(run, monkeypatch):
    folder, record = run
    shown = []

    class Handle:
        def update(self, picture):
            shown.append(("update", picture))

    def display(picture, display_id=False):
        shown.append(("display", picture))
        return Handle()

    monkeypatch.setattr(IPython.display, "display", display)
    Live(folder, 512)(record)
    assert not shown
    monkeypatch.setattr(IPython, "get_ipython", object)
    live = Live(folder, 512)
    live(record)
    live(record)
    assert [what for what, _ in shown] == ["display", "update"]
    assert all(picture.data.startswith(b"\x89PNG") for _, picture in shown)


def test_without_a_sample_yet_it_still_draws(tmp_path):
    folder = checkpoint.RunFolder(tmp_path / "run")
    folder.path.mkdir()
    (folder.path / checkpoint.HISTORY).write_text(json.dumps(ROWS["vae"][0]) + "\n")
    assert Live(folder.path, 64).png(ROWS["vae"][0]).startswith(b"\x89PNG")
