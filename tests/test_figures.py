"""Figures: whole pixels, honest labels, the same bytes for the same figure, files whole or not at all."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from sigen_utils import figures, paths
from sigen_utils.figures import curves, grids


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def scribbles(n: int, size: int = 32, seed: int = 0) -> np.ndarray:
    """Stand-ins for signatures: random closed curves, ink = 1, [n, 1, size, size]."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 2 * np.pi, 600)
    x = np.zeros((n, 1, size, size), np.float32)
    for picture in x:
        waves = np.outer(np.arange(1, 5), t)
        curve = rng.normal(size=(2, 4)) @ np.sin(waves) + rng.normal(size=(2, 4)) @ np.cos(waves)
        curve = (curve - curve.min(1, keepdims=True)) / np.ptp(curve, axis=1).max() * (size * 0.8) + size * 0.1
        picture[0, curve[1].astype(int), curve[0].astype(int)] = 1
    return x


def texts(fig: Figure) -> str:
    """Every word that the figure shows, without line breaks."""
    return " ".join(" ".join(t.get_text() for t in fig.findobj(matplotlib.text.Text)).split())


def as_saved(fig: Figure, name: str = "figure") -> np.ndarray:
    return np.asarray(Image.open(figures.save_figure(fig, name, "png")).convert("RGB"))


HISTORY = [
    {"step": i, "minutes": i / 60, "loss": 5 + np.cos(i), "zero": 0.0} | ({"test_loss": 3.0} if i % 10 == 0 else {})
    for i in range(120)
]


@pytest.mark.parametrize(
    "n, ncols, size, width", [(8, 4, 32, 3.5), (23, 8, 28, 7.16), (5, 5, 128, 3.5), (1, 1, 32, 7.16)]
)
@pytest.mark.parametrize("labels", [False, True])
def test_every_pixel_of_a_grid_covers_whole_pixels_of_the_file(n, ncols, size, width, labels):
    x = scribbles(n, size) * np.linspace(0.3, 1, size, dtype=np.float32)  # greys too
    rows = -(-n // ncols)
    extra = {"row_labels": ["a model"] * rows, "column_labels": ["z"] * ncols, "title": "A title"} if labels else {}
    fig = figures.image_grid(x, ncols, width=width, **extra)
    assert fig.get_figwidth() <= width + 0.02
    saved = as_saved(fig)
    canvas = grids._canvas(grids._pictures(x), ncols)
    scale = round((saved.shape[1] * fig.axes[0].get_position().width) / canvas.shape[1])
    assert scale >= 1
    expected = np.kron(canvas, np.ones((scale, scale)))
    shown = 1 - saved[-expected.shape[0] :, -expected.shape[1] :, 0] / 255
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).max() < 0.01


def test_ink_is_black_paper_white_and_uint8_is_taken_as_it_is():
    x = scribbles(4)
    as_ink = as_saved(figures.image_grid(x, 4))
    as_bytes = as_saved(figures.image_grid(np.round(255 * (1 - x)).astype(np.uint8), 4))
    assert np.abs(as_ink.astype(int) - as_bytes).max() <= 2
    assert as_ink.mean() > 200  # mostly paper
    assert as_ink.min() == 0


def test_floats_are_clipped_and_nan_is_not_hidden():
    x = scribbles(2)
    assert np.array_equal(as_saved(figures.image_grid(x * 5 - 1)), as_saved(figures.image_grid(np.sign(x * 5 - 1))))
    x[1] = np.nan
    saved = as_saved(figures.image_grid(x))
    assert (saved == (0xD5, 0x5E, 0x00)).all(-1).any()


def test_tensors_are_taken_too():
    torch = pytest.importorskip("torch")
    x = torch.tensor(scribbles(3), dtype=torch.bfloat16, requires_grad=True)
    assert np.array_equal(as_saved(figures.image_grid(x)), as_saved(figures.image_grid(scribbles(3))))


@pytest.mark.parametrize("bad", [np.zeros((3, 2, 8, 8)), np.zeros((8, 8)), np.zeros((0, 8, 8))])
def test_other_shapes_are_refused(bad):
    with pytest.raises(ValueError, match="pictures must be"):
        figures.image_grid(bad)


def test_labels_must_fit():
    with pytest.raises(ValueError, match="3 row labels for 2 rows"):
        figures.image_grid(scribbles(8), 4, row_labels=["a", "b", "c"])
    with pytest.raises(ValueError, match="break them"):
        figures.image_grid(scribbles(4), 4, row_labels=["a very long name " * 5], width=figures.COLUMN_WIDTH)


def test_no_text_leaves_the_figure():
    title = "A title much longer than the column is wide, which therefore wraps, and wraps again " * 2
    labels = ["a column with a long name"] * 6
    fig = figures.image_grid(
        scribbles(12), 6, title=title, row_labels=["VAE", "stable\nGAN"], column_labels=labels, width=3.5
    )
    pictures = fig.axes[0].get_window_extent()
    assert len(fig.texts + fig.axes[0].texts) == 9
    for text in fig.texts + fig.axes[0].texts:
        box = text.get_window_extent()
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= fig.bbox.x1 + 1 and box.y1 <= fig.bbox.y1 + 1
        assert box.x1 <= pictures.x0 or box.y0 >= pictures.y1 - 1  # left of the pictures or above them


def test_comparison_takes_the_first_and_fills_up_with_paper():
    a, b = scribbles(5, seed=1), scribbles(2, seed=2)
    fig = figures.comparison_rows({"real": a, "VAE": b}, ncols=4)
    same = figures.image_grid(np.concatenate([a[:4], b, 0 * a[:2]]), 4, row_labels=["real", "VAE"])
    assert np.array_equal(as_saved(fig), as_saved(same))
    with pytest.raises(ValueError, match="agree"):
        figures.comparison_rows({"real": a, "VAE": scribbles(2, 64)})


def test_traversal_renders_each_point_once_and_passes_z0():
    seen = []

    def render(z):
        seen.append(z)
        return np.full((16, 16), 255, np.uint8)

    z0, directions = np.array([1.0, 2.0, 3.0]), np.eye(3)[:2]
    fig = figures.traversal(render, z0, directions, [-1, 0, 2])
    expected = [z0 + v * d for d in directions for v in (-1, 0, 2)]
    assert np.allclose(seen, expected)
    assert all(word in texts(fig) for word in ("direction 1", "direction 2", "-1", "+2"))


def test_panels_keep_shapes_and_equal_heights():
    pictures = {"photograph": np.zeros((60, 90, 3), np.uint8), "mask": np.eye(40) > 0, "a much longer name": np.eye(40)}
    fig = figures.panels(pictures, title="Steps")
    boxes = [ax.get_window_extent() for ax in fig.axes]
    assert np.ptp([box.height for box in boxes]) < 1e-6
    assert [box.width / box.height for box in boxes] == pytest.approx([1.5, 1, 1])
    assert boxes[-1].x1 <= fig.bbox.x1 + 1


def test_a_divider_stands_between_its_columns():
    ink = np.zeros((8, 128, 128), np.float32)
    for where, expected in ((3, [3]), ((2, 6), [2, 6])):
        fig = figures.image_grid(ink, 8, divider=where)
        fig.canvas.draw()
        picture = np.asarray(fig.canvas.buffer_rgba())[..., :3].mean(2)
        dark = np.flatnonzero((picture < 60).mean(0) > 0.9)  # columns of the figure that are black all the way down
        lines = [line.mean() for line in np.split(dark, np.flatnonzero(np.diff(dark) > 1) + 1)]
        assert np.array(lines) / picture.shape[1] * 8 == pytest.approx(expected, abs=0.05)


def test_loss_curves_say_what_they_smooth_and_leave_out():
    fig = figures.loss_curves({"VAE": HISTORY, "GAN": HISTORY}, [("loss", "test_loss"), "zero"], smooth=15, log=True)
    words = texts(fig)
    assert "loss (running mean of 15)" in words
    assert "test loss (" not in words  # too rare to be smoothed
    assert "240 values" in words and "left out" in words
    assert "VAE" in words and "GAN" in words and "minutes" in words
    assert fig.get_figwidth() == figures.TEXT_WIDTH
    assert figures.loss_curves({"VAE": HISTORY}, ["loss"], x="step").get_figwidth() == figures.COLUMN_WIDTH


def test_loss_curves_name_what_was_not_logged():
    with pytest.raises(ValueError, match=r"\['los'\].*'loss'.*'test_loss'"):
        figures.loss_curves({"VAE": HISTORY}, ["los"])
    with pytest.raises(ValueError, match="hours"):
        figures.loss_curves({"VAE": HISTORY}, ["loss"], x="hours")


def test_smoothing_keeps_constants_and_straight_lines_and_skips_gaps():
    line = np.arange(50.0)
    assert np.allclose(curves._smoothed(np.full(50, 7.0), 9), 7)
    assert np.allclose(curves._smoothed(line, 9)[1:-1], line[1:-1])
    line[20] = np.nan
    assert np.isfinite(curves._smoothed(line, 9)).all()
    assert np.isnan(curves._smoothed(np.full(9, np.nan), 5)).all()


def test_scores_are_drawn_where_they_are():
    values = {"VAE": (15.0, 13.0, 17.0), "GAN": 5.0}
    name = "Fréchet distance"
    fig = figures.dot_panels({name: values}, log=[name], references={name: {"real": 1.0}})
    drawn = [tuple(line.get_xdata()) for line in fig.axes[0].lines]
    assert (13.0, 17.0) in drawn and (15.0,) in drawn and (5.0,) in drawn
    assert fig.axes[0].get_xscale() == "log"
    assert all(word in texts(fig) for word in ("VAE", "GAN", "15", "real", "Fréchet distance"))


def test_impossible_intervals_are_refused():
    with pytest.raises(ValueError, match="GAN: the interval"):
        figures.dot_panels({"score": {"GAN": (5, 6, 7)}})
    with pytest.raises(ValueError, match="logarithmic"):
        figures.dot_panels({"score": {"GAN": (5, 0, 7)}}, log=["score"])


def test_a_model_without_a_score_keeps_its_row():
    fig = figures.dot_panels({"precision": {"VAE": 0.5, "GAN": 0.9}, "top-1": {"GAN": (0.7, 0.6, 0.8)}})
    assert len(fig.axes) == 2
    assert len(fig.axes[1].texts) == 1


def test_metric_and_bars_show_their_data():
    fig = figures.metric_over_time(
        {"VAE": ([1, 2], [4.0, 3.0], [3.5, 2.5], [4.5, 3.5])}, ylabel="error", references={"blank page": 9.0}
    )
    assert list(fig.axes[0].lines[0].get_ydata()) == [4.0, 3.0]
    assert "blank page" in texts(fig)
    dot = figures.metric_over_time(
        {"VAE": ([5], [2.0], [1.5], [3.0])}, ylabel="floors", log=True, references={"one": 1}
    )
    (bar,) = dot.axes[0].collections
    assert bar.get_segments()[0].tolist() == [[5.0, 1.5], [5.0, 3.0]] and dot.axes[0].get_ylim()[0] < 1.0


MAKE_BOTH = """
import sys, numpy as np
sys.path.insert(0, {repo!r})
from sigen_utils import figures
x = np.random.default_rng(0).random((6, 32, 32))
figures.save_figure(figures.image_grid(x, 3, title="Grid"), "again_grid")
rows = [dict(step=i, loss=1 / (i + 1)) for i in range(50)]
figures.save_figure(figures.loss_curves({{"a": rows, "b": rows}}, ["loss"], x="step", log=True), "again_curve")
"""


def test_the_same_figure_is_the_same_file_in_another_process_too():
    program = MAKE_BOTH.format(repo=str(paths.REPO))
    exec(program, {})
    here = [(paths.figures_dir() / f"again_{n}").read_bytes() for n in ("grid.png", "curve.pdf")]
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"PYTHONHASHSEED": "7"})
    assert here == [(paths.figures_dir() / f"again_{n}").read_bytes() for n in ("grid.png", "curve.pdf")]
    png, pdf = here
    assert not re.search(rb"CreationDate|/Producer|/Creator", pdf)
    assert b"Type3" not in pdf  # IEEE refuses these fonts
    assert b"Software" not in png and b"tIME" not in png


def test_the_kind_follows_the_content_and_nothing_is_see_through():
    grid, curve = figures.image_grid(scribbles(2)), figures.loss_curves({"a": HISTORY}, ["loss"])
    picture = figures.save_figure(grid, "auto")
    assert picture.suffix == ".png" and figures.save_figure(curve, "auto").suffix == ".pdf"
    assert Image.open(picture).mode in ("L", "RGB")
    assert Image.open(picture).info["dpi"][0] == pytest.approx(300, rel=0.34)  # the nearest whole multiple
    assert plt.fignum_exists(grid.number)  # saving closes nothing


def test_the_readers_settings_cannot_crop_or_restyle_a_file():
    wanted = figures.save_figure(figures.loss_curves({"a": HISTORY}, ["loss"]), "wanted").read_bytes()
    with plt.rc_context({"savefig.bbox": "tight", "font.size": 20, "axes.facecolor": "pink", "pdf.fonttype": 3}):
        got = figures.save_figure(figures.loss_curves({"a": HISTORY}, ["loss"]), "got").read_bytes()
    assert got == wanted
    media = re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", got)
    assert float(media[1]) == pytest.approx(72 * figures.COLUMN_WIDTH)


@pytest.mark.parametrize("name", ["", "a/b", "a.png", "../a", "ä"])
def test_names_with_folders_or_suffixes_are_refused(name):
    with pytest.raises(ValueError, match="no figure name"):
        figures.save_figure(plt.figure(), name)


def test_a_failing_save_leaves_the_old_file(monkeypatch):
    fig = figures.image_grid(scribbles(2))
    path = figures.save_figure(fig, "kept")
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="no space"):
        figures.save_figure(fig, "kept")
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.glob("*kept*")] == ["kept.png"]


def test_a_notebook_shows_a_figure_once(monkeypatch):
    display = pytest.importorskip("IPython.display")
    shown = []
    monkeypatch.setattr(display, "display", lambda data, **how: shown.append(data))
    fig = figures.image_grid(scribbles(2))
    fig._ipython_display_()
    assert len(shown) == 1 and set(shown[0]) == {"image/png", "text/plain"}
    assert not plt.fignum_exists(fig.number)  # else the inline backend would show it a second time


def test_use_style_sets_the_columns_fonts():
    with plt.rc_context():
        figures.use_style()
        assert plt.rcParams["font.size"] == 8 == figures.FONT
        assert plt.rcParams["figure.figsize"][0] == figures.COLUMN_WIDTH
        assert plt.rcParams["savefig.bbox"] in (None, "standard")
        cycle = plt.rcParams["axes.prop_cycle"].by_key()["color"]
        assert [c.lstrip("#") for c in cycle] == [c.lstrip("#") for c in figures.COLORS]


def test_every_way_to_end_a_cell_shows_each_figure_once(monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.delenv("MPLBACKEND")  # the kernel's own, inline
    monkeypatch.setenv("PYTHONPATH", str(paths.REPO))
    first = "import matplotlib.pyplot as plt, numpy as np\nfrom sigen_utils.figures import *\nx = np.eye(8)[None]"
    endings = {
        "fig = image_grid(x)": 1,
        "image_grid(x)": 1,
        "fig = image_grid(x)\nsave_figure(fig, 'cell');": 1,
        "fig = image_grid(x)\nfig": 1,
        "fig = image_grid(x)\nplt.show()": 1,
        "for _ in range(2):\n    image_grid(x)": 2,
    }
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in (first, *endings)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = {cell.source: sum("image/png" in o.get("data", {}) for o in cell.outputs) for cell in notebook.cells[1:]}
    assert shown == endings


def test_dots_by_seed_show_every_seed_and_the_mean():
    fig = figures.dots_by_seed({"distance": {"ours": [1.0, 3.0], "other": [10.0]}, "coverage": {"ours": [0.5]}},
                               log=["distance"], references={"distance": {"blank page": 58.0}})  # fmt: skip
    left, right = fig.axes
    assert [list(line.get_xdata()) for line in left.lines][:4] == [[1.0, 3.0], [2.0], [10.0], [10.0]]
    assert left.get_xscale() == "log" and right.get_xscale() == "linear"
    with pytest.raises(ValueError, match="at least one row"):
        figures.dots_by_seed({"distance": {}})
