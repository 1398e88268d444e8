"""Figures: grids of signatures, curves, intervals, and the one function that writes them to disk.

Every function takes plain arrays, applies ``sigen.mplstyle`` to its own figure, and returns the figure at
the size at which the paper prints it, so that no font is ever rescaled. Pictures given as floats are ink
(1 = ink, 0 = paper), pictures given as uint8 are black ink on white paper; both are drawn black on white.
"""

from __future__ import annotations

import base64
import functools
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage, BboxImage
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from matplotlib.transforms import Bbox
from PIL import Image

from sigen_utils import paths

STYLE = Path(__file__).with_name("sigen.mplstyle")
COLUMN_WIDTH = 3.5  # inches: one column of an IEEE page
TEXT_WIDTH = 7.16  # inches: both columns
MAX_CELL = 1.3  # inches: a signature printed larger than this wastes the page
FONT = 8.0  # points, as in sigen.mplstyle
SCREEN_DPI, PRINT_DPI = 100, 300  # the least a grid is shown at, and what a file should be close to
# Okabe & Ito (2008), without the yellow that vanishes on white; vermilion also marks what is wrong
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (3, 1)), (0, (1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def use_style() -> None:
    """Load ``sigen.mplstyle`` for the figures that a reader makes with matplotlib directly."""
    plt.style.use(STYLE)


def styled(function: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the house style whatever the reader's own settings are."""

    @functools.wraps(function)
    def draw(*args, **kwargs):
        with plt.style.context(STYLE):
            figure = function(*args, **kwargs)
            interactive = matplotlib.is_interactive()
        # The first figure loads a notebook's backend, which turns interactive mode on. The context has just undone
        # that with the style, and later figures would not appear at the end of their cell.
        matplotlib.interactive(interactive)
        return figure

    return draw


class ShownOnce(Figure):
    """A figure that a notebook shows once, at its exact size, however the cell ends.

    A pyplot figure that is also a cell's last value appears twice, and the inline backend crops it, so that
    the page shows something else than the file. This one leaves pyplot as soon as it has been shown.
    """

    def _ipython_display_(self) -> None:
        from IPython.display import display

        picture = base64.b64encode(_png_bytes(self, self.dpi)).decode("ascii")
        plt.close(self)
        display({"image/png": picture, "text/plain": "<figure>"}, raw=True)


def _figure(width: float, height: float, **settings) -> Figure:
    return plt.figure(figsize=(width, height), FigureClass=ShownOnce, **settings)


def _by_hand() -> PlaceHolderLayoutEngine:
    """No automatic layout. (``layout="none"`` holds only until the first savefig under constrained layout.)"""
    return PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True)


def _text_width(text: str, size: float) -> float:
    """Width in inches of the longest line of `text` set at `size` points."""
    font = FontProperties(size=size)
    lines = [line for line in text.split("\n") if line.strip()]
    return max((TextPath((0, 0), line, prop=font).get_extents().width for line in lines), default=0.0) / 72


def _lines_tall(texts: Sequence[str], size: float) -> float:
    """Inches that the tallest of `texts` needs at `size` points; 0 without any."""
    return max((text.count("\n") + 1 for text in texts), default=0) * 1.25 * size / 72 + 0.02 * bool(texts)


def _wrap(text: str, width: float, size: float) -> str:
    """`text` broken at spaces so that each line fits into `width` inches at `size` points."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and _text_width(longer, size) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return "\n".join(lines)


def _pictures(x) -> np.ndarray:
    """`x` as uint8 (black on white) or float in [0, 1] (ink = 1), [N, H, W]; tensors are brought here."""
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        x = x.float() if x.is_floating_point() else x
    x = np.asarray(x)
    if x.ndim == 4 and x.shape[1] == 1:
        x = x[:, 0]
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"pictures must be [N, 1, H, W] or [N, H, W] with N > 0, got shape {x.shape}")
    return x if x.dtype == np.uint8 else np.clip(x.astype(np.float32), 0.0, 1.0)


def _tones(picture: np.ndarray) -> dict:
    """Colours that draw `picture` as black ink on white, with NaN in vermilion, to be seen."""
    cmap = plt.get_cmap("gray" if picture.dtype == np.uint8 else "gray_r").with_extremes(bad=COLORS[1])
    return {"cmap": cmap, "norm": plt.Normalize(0, 255 if picture.dtype == np.uint8 else 1)}


def _canvas(x: np.ndarray, ncols: int) -> np.ndarray:
    """All of `x` [N, H, W] in one array, row by row, between thin grey lines; cells left over stay paper."""
    paper, line = (255, 205) if x.dtype == np.uint8 else (0.0, 0.2)
    n, h, w = x.shape
    gap, nrows = max(1, h // 128), -(-n // ncols)
    canvas = np.full((nrows * (h + gap) + gap, ncols * (w + gap) + gap), line, dtype=x.dtype)
    for i in range(nrows * ncols):
        top, left = gap + (i // ncols) * (h + gap), gap + (i % ncols) * (w + gap)
        canvas[top : top + h, left : left + w] = x[i] if i < n else paper
    return canvas


def _check_labels(labels: Sequence[str] | None, expected: int, what: str) -> list[str]:
    labels = [str(label) for label in labels] if labels is not None else []
    if labels and len(labels) != expected:
        raise ValueError(f"{len(labels)} {what} labels for {expected} {what}s")
    return labels


def _grid_axes(canvas: np.ndarray, margin: float, head: float, span: float):
    """Axes that show `canvas` `span` inches wide, pixel on pixel, right of `margin` and below `head` inches.

    The figure's dpi follows from the pixels; it is an integer, so that inches times dpi, and any multiple of
    it, are whole pixels. A hundredth of a pixel more keeps matplotlib's truncation from eating a column, and
    the picture is told its corners in whole pixels: older versions resample it for a fraction of one.
    """
    scale = max(1, math.ceil(SCREEN_DPI * span / canvas.shape[1]))
    h, w = canvas.shape[0] * scale, canvas.shape[1] * scale
    dpi = math.ceil(w / span)
    total_w, total_h = math.ceil(margin * dpi) + w, math.ceil(head * dpi) + h
    fig = _figure((total_w + 0.01) / dpi, (total_h + 0.01) / dpi, dpi=dpi, layout=_by_hand())
    ax = fig.add_axes((1 - w / total_w, 0, w / total_w, h / total_h))
    ax.set_axis_off()
    picture = BboxImage(lambda _: Bbox(np.round(ax.bbox.get_points())), interpolation="nearest", **_tones(canvas))
    picture.set_data(canvas)
    ax.add_artist(picture)
    return ax


@styled
def image_grid(
    x,
    ncols: int | None = None,
    *,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    divider: int | Sequence[int] = (),
    title: str | None = None,
    width: float = TEXT_WIDTH,
) -> Figure:
    """A grid of signatures in which every pixel of `x` covers a whole number of pixels of the figure.

    Parameters
    ----------
    x
        Pictures [N, 1, H, W] or [N, H, W]: floats are ink (1) on paper (0) and are clipped to [0, 1], uint8
        is black on white. NaN is drawn in vermilion.
    ncols
        Pictures a row; by default up to 8.
    row_labels, column_labels
        One for each row and column; ``"\\n"`` breaks a line. A column label wraps to its column, and shrinks if
        a word is too long for it.
    divider
        Columns left of a black line, for instance the genuine ones; several for several lines.
    title
        Set above the grid, wrapped to its width.
    width
        Inches at most; the grid is narrower when it has few columns (a picture is at most 1.3 in wide).

    Raises
    ------
    ValueError
        For another shape, for a wrong number of labels, and for row labels that leave no room.
    """
    x = _pictures(x)
    ncols = min(len(x), 8) if ncols is None else ncols
    if ncols < 1:
        raise ValueError(f"ncols must be at least 1, got {ncols}")
    rows = _check_labels(row_labels, -(-len(x) // ncols), "row")
    columns = _check_labels(column_labels, ncols, "column")
    margin = max(_text_width(label, FONT) for label in rows) + 0.1 if rows else 0.0
    if margin > width / 2:
        raise ValueError(f"row labels need {margin:.1f} of {width:.1f} in; break them with \\n")
    span = min(width - margin, ncols * MAX_CELL)  # inches for the pictures
    cell = 0.95 * span / ncols
    columns = [_wrap(label, cell, FONT) for label in columns]
    widest = max((_text_width(label, FONT) for label in columns), default=0.0)
    small = max(5.0, FONT * min(1.0, cell / widest)) if widest else FONT
    title = _wrap(title, margin + span, FONT) if title else ""
    head = _lines_tall(columns, small) + _lines_tall([title] if title else [], FONT)

    ax = _grid_axes(_canvas(x, ncols), margin, head, span)
    place = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
    for i, label in enumerate(rows):
        at = (0, 1 - (i + 0.5) / len(rows))
        ax.annotate(label, at, (-3.5, 0), size=FONT, ha="right", va="center", **place)
    for i, label in enumerate(columns):
        ax.annotate(label, ((i + 0.5) / ncols, 1), (0, 2), size=small, ha="center", va="bottom", **place)
    for left in [divider] if isinstance(divider, int) else divider:
        ax.plot([left / ncols] * 2, [0, 1], color="black", linestyle="-", linewidth=1.5, transform=ax.transAxes,
                clip_on=False)  # fmt: skip
    if title:
        ax.figure.text(0, 1, title, size=FONT, ha="left", va="top")
    return ax.figure


def comparison_rows(rows: Mapping[str, np.ndarray], ncols: int | None = None, **settings) -> Figure:
    """One row of pictures a model (or training step, or augmentation), its name on the left.

    Parameters
    ----------
    rows
        Label -> pictures as in `image_grid`, all of one size and dtype. The first `ncols` of each are shown,
        never a choice; a row with fewer is filled up with paper.
    ncols
        Pictures a row; by default as many as the longest row has, at most 10.
    settings
        Passed on to `image_grid` (`column_labels`, `title`, `width`).
    """
    pictures = [_pictures(x) for x in rows.values()]
    if not pictures:
        raise ValueError("comparison_rows needs at least one row")
    if len({(x.shape[1:], x.dtype == np.uint8) for x in pictures}) > 1:
        raise ValueError("the rows must agree in picture size and in kind (all ink floats or all uint8)")
    ncols = min(10, max(len(x) for x in pictures)) if ncols is None else ncols
    paper = 255 if pictures[0].dtype == np.uint8 else 0
    grid = np.full((len(pictures), ncols, *pictures[0].shape[1:]), paper, pictures[0].dtype)
    for row, x in zip(grid, pictures, strict=True):
        row[: len(x)] = x[:ncols]
    return image_grid(grid.reshape(-1, *grid.shape[2:]), ncols, row_labels=list(rows), **settings)


def traversal(
    render: Callable[[np.ndarray], np.ndarray],
    z0: np.ndarray,
    directions: np.ndarray,
    values: Sequence[float],
    *,
    row_labels: Sequence[str] | None = None,
    **settings,
) -> Figure:
    """What each latent direction does: a row each, a column a value: ``render(z0 + value * direction)``.

    Parameters
    ----------
    render
        z [latent_dim] -> picture [H, W] (uint8 black on white, or ink in [0, 1]).
    z0
        The point in the middle, [latent_dim].
    directions
        [k, latent_dim], each as long as one step of `values` should be (e.g. one standard deviation).
    values
        Steps along each direction; they label the columns.
    row_labels, settings
        As in `image_grid`; rows are called "direction 1", ... by default.
    """
    directions = np.atleast_2d(np.asarray(directions, dtype=np.float32))
    z0 = np.asarray(z0, dtype=np.float32)
    pictures = np.stack([render(z0 + np.float32(value) * d) for d in directions for value in values])
    labels = row_labels if row_labels is not None else [f"direction {i + 1}" for i in range(len(directions))]
    settings.setdefault("column_labels", [f"{value:+g}" if value else "0" for value in values])
    return image_grid(pictures, len(values), row_labels=labels, **settings)


def _shelves(pictures: Mapping[str, np.ndarray], ncols: int, gap: float, width: float, head: float):
    """Rows of equally tall pictures below `head`: [(x, y, w, h, picture, name)], and the inches used."""
    items = [(np.asarray(p), name) for name, p in pictures.items()]
    placed, y = [], head
    for start in range(0, len(items), ncols):
        row = [(p if p.dtype == np.uint8 else p.astype(float), n) for p, n in items[start : start + ncols]]
        aspects = [p.shape[1] / p.shape[0] for p, _ in row]
        tall = min((width - gap * (len(row) - 1)) / sum(aspects), 2.4)
        names = [_wrap(name, tall * aspect, FONT) for (_, name), aspect in zip(row, aspects, strict=True)]
        x, y = 0.0, y + max(name.count("\n") + 1 for name in names) * 1.35 * FONT / 72
        for (picture, _), name, aspect in zip(row, names, aspects, strict=True):
            placed.append((x, y, tall * aspect, tall, picture, name))
            x += tall * aspect + gap
        y += tall + 0.06
    return placed, min(width, max(x + w for x, _, w, *_ in placed) + 0.01), y


@styled
def panels(
    pictures: Mapping[str, np.ndarray],
    *,
    ncols: int | None = None,
    title: str | None = None,
    width: float = TEXT_WIDTH,
    arrows: bool = False,
) -> Figure:
    """Pictures of any size side by side, equally tall, each under its title: the stages of a pipeline.

    Parameters
    ----------
    pictures
        Title -> [H, W] or [H, W, 3]; uint8 as it is, floats and booleans as ink.
    ncols
        Pictures a row (all of them by default).
    title
        Above everything.
    width
        Inches of the whole figure.
    arrows
        Draw an arrow from each picture to the next one of its row.
    """
    if not pictures:
        raise ValueError("panels needs at least one picture")
    gap, ncols = 0.22 if arrows else 0.08, ncols or len(pictures)
    title = _wrap(title, width, FONT) if title else ""
    head = _lines_tall([title], 1.15 * FONT) if title else 0.0
    placed, used, tall = _shelves(pictures, ncols, gap, width, head)
    fig = _figure(used, tall, layout=_by_hand())
    for x, y, w, h, picture, name in placed:
        ax = fig.add_axes((x / used, 1 - (y + h) / tall, w / used, h / tall))
        ax.imshow(picture, **_tones(picture), interpolation="antialiased", aspect="auto")
        ax.set_axis_off()
        frame = {"fill": False, "edgecolor": "0.7", "linewidth": 0.5, "clip_on": False}
        ax.add_patch(plt.Rectangle((0, 0), 1, 1, transform=ax.transAxes, **frame))
        fig.text(x / used, 1 - (y - 0.03) / tall, name, size=FONT, ha="left", va="bottom")
        if arrows and x > 0:
            at = ((x - gap / 2) / used, 1 - (y + h / 2) / tall)
            fig.text(*at, "$\\rightarrow$", size=11, ha="center", va="center")
    if title:
        fig.text(0, 1, title, size=FONT, ha="left", va="top")
    return fig


def _series(history: Sequence[Mapping], x: str, key: str) -> tuple[np.ndarray, np.ndarray]:
    """The finite-x points of `key` over `x`; rows that were logged without either are skipped."""
    rows = [row for row in history if row.get(x) is not None and row.get(key) is not None]
    return np.array([row[x] for row in rows], float), np.array([row[key] for row in rows], float)


def _smoothed(y: np.ndarray, window: int) -> np.ndarray:
    """Centred running mean that ignores NaN; towards the ends the window narrows instead of leaning inwards."""
    at, n = np.arange(len(y)), len(y)
    half = np.clip(np.minimum(at, at[::-1]), window // 8, window // 2)  # an eighth: the last point is not noise
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, n)
    total = np.concatenate([[0.0], np.cumsum(np.where(np.isfinite(y), y, 0.0))])
    count = np.concatenate([[0], np.cumsum(np.isfinite(y))])
    k = count[high] - count[low]
    return np.where(k > 0, (total[high] - total[low]) / np.maximum(k, 1), np.nan)


def _draw_curve(ax, x: np.ndarray, y: np.ndarray, log: bool, smooth: int, look: dict) -> tuple[int, int]:
    """One curve, over its unsmoothed self in a pale tone; returns (window used, values that log left out)."""
    hidden = int(np.sum(y <= 0)) if log else 0
    if hidden:
        y = np.where(y > 0, y, np.nan)
    window = smooth if len(y) >= 4 * smooth else 1  # a rarely logged key is shown as it is
    if window > 1:
        ax.plot(x, y, color=look["color"], linestyle="-", linewidth=0.5, alpha=0.3)
        y = _smoothed(y, window)
    ax.plot(x, y, marker="o" if len(y) == 1 else None, **look)
    return window, hidden


def _note(drawn: Sequence[tuple[int, int]]) -> str:
    """What a reader must know about the curves of one key: how they were smoothed, what a log axis hides."""
    window, hidden = max(w for w, _ in drawn), sum(h for _, h in drawn)
    notes = [f"running mean of {window}"] if window > 1 else []
    notes += [f"{hidden} value{'s' * (hidden > 1)} $\\leq$ 0 left out"] if hidden else []
    return f" ({', '.join(notes)})" if notes else ""


def _legend(fig: Figure, width: float, entries: Mapping[str, object] | None = None) -> None:
    """One legend below all panels, where it hides no curve; none if it would only name a single curve."""
    found = dict(entries or {})
    for ax in fig.axes if entries is None else ():
        handles, labels = ax.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    if len(found) > 1:
        longest = max(_text_width(label, 7) for label in found) + 0.45
        ncols = max(1, min(len(found), int(width / longest)))
        fig.legend(found.values(), found.keys(), loc="outside lower center", ncols=ncols)


@styled
def loss_curves(
    histories: Mapping[str, Sequence[Mapping]],
    keys: Sequence[str | tuple[str, ...]],
    *,
    x: str = "minutes",
    log: bool = False,
    smooth: int = 1,
    names: Mapping[str, str] | None = None,
    width: float | None = None,
    height: float = 1.9,
) -> Figure:
    """Training curves: a panel a key (or group of keys), a colour a run.

    Parameters
    ----------
    histories
        Label -> rows of ``history.jsonl``. A row without a key is skipped, so evaluations may be rarer.
    keys
        What each panel shows. A tuple draws several keys in one panel, apart by line style, e.g.
        ``("loss", "test_loss")``.
    x
        The key on the horizontal axis, "minutes" or "step".
    log
        Logarithmic vertical axis; values at or below 0 are left out and counted in the label.
    smooth
        Points of the running mean, said in the label; the raw curve stays visible behind it. A key with fewer
        than four windows of points is drawn as it is.
    names
        Key -> words for axes and legend.
    width, height
        Inches of the figure (one panel: a column, more: the text width) and of the row of panels.

    Raises
    ------
    ValueError
        If no run has a key; the message lists what there is.
    """
    groups = [(key,) if isinstance(key, str) else tuple(key) for key in keys]
    words = {key: key.replace("_", " ") for group in groups for key in group} | dict(names or {})
    known = sorted({name for rows in histories.values() for row in rows for name in row})
    missing = [key for key in (x, *(key for group in groups for key in group)) if key not in known]
    if missing or not groups:
        raise ValueError(f"nothing was logged as {missing or 'keys'}; the histories hold {known}")
    width = width or (COLUMN_WIDTH if len(groups) == 1 else TEXT_WIDTH)
    several = max(map(len, groups)) > 1  # then line styles tell keys apart, otherwise they repeat the colours
    fig = _figure(width, height + 0.15 * several + 0.15 * (len(histories) > 1))
    entries, by_style = {}, {}  # the legend: a colour a run; a style a word, with what was drawn under it
    for ax, group in zip(fig.subplots(1, len(groups), squeeze=False)[0], groups, strict=True):
        for j, key in enumerate(group):
            drawn = []
            for i, (label, rows) in enumerate(histories.items()):
                look = {"color": COLORS[i % 7], "linestyle": LINES[(j if several else i) % 7]}
                points = _series(rows, x, key)
                if len(points[0]):
                    drawn.append(_draw_curve(ax, *points, log, smooth, look))
                    shown = look | {"linestyle": "-"} if several else look
                    entries.setdefault(label, Line2D([], [], **shown))
            if len(group) == 1:
                ax.set_ylabel(_wrap(words[key] + _note(drawn), height - 0.5, FONT))
            else:  # panels share words such as "training": one entry for all of them
                by_style.setdefault((words[key], LINES[j % 7]), []).extend(drawn)
        ax.set(xlabel=x, yscale="log" if log else "linear")
    for (word, style), drawn in by_style.items():
        entries[word + _note(drawn)] = Line2D([], [], color="0.3", linestyle=style)
    _legend(fig, width, entries)
    return fig


def _references(ax, references: Mapping[str, float] | None, horizontal: bool) -> None:
    """Named constants (a blank page's error, the real-vs-real floor): thin grey lines with their names."""
    look = {"color": "0.45", "linewidth": 0.7, "linestyle": (0, (4, 2)), "zorder": 1}
    text = {"textcoords": "offset points", "fontsize": 6.5, "color": "0.3", "va": "bottom"}
    for name, value in (references or {}).items():
        if horizontal:
            ax.axhline(value, **look)
            ax.annotate(name, (0.01, value), (0, 1.5), xycoords=ax.get_yaxis_transform(), ha="left", **text)
        else:
            ax.axvline(value, **look)
            ax.annotate(name, (value, 1), (0, 1.5), xycoords=ax.get_xaxis_transform(), ha="center", **text)


@styled
def metric_over_time(
    series: Mapping[str, tuple],
    *,
    ylabel: str,
    xlabel: str = "minutes",
    log: bool = False,
    references: Mapping[str, float] | None = None,
    width: float = COLUMN_WIDTH,
    height: float = 2.0,
) -> Figure:
    """A score against training time (or images seen), one marked line a model, with constants to compare to.

    Parameters
    ----------
    series
        Label -> (x, y) or (x, y, low, high); the last two are drawn as a band, around a single point as a bar.
    ylabel, xlabel, log
        Axes; `log` is for the score.
    references
        Name -> value of a horizontal line, e.g. ``{"blank page": 959}``.
    width, height
        Inches.
    """
    if not series:
        raise ValueError("metric_over_time needs at least one series")
    fig = _figure(width, height + 0.16 * math.ceil(len(series) / 3))
    ax = fig.subplots()
    for i, (label, (x, y, *band)) in enumerate(series.items()):
        look = {"color": COLORS[i % 7], "linestyle": LINES[i % 7]}
        ax.plot(x, y, label=label, marker=MARKERS[i % 7], markersize=3, **look)
        if band and len(x) == 1:
            ax.vlines(x, *band, color=look["color"], linewidth=0.8)
        elif band:
            ax.fill_between(x, *band, color=look["color"], alpha=0.15, linewidth=0)
    ax.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear")
    _references(ax, references, horizontal=True)
    _legend(fig, width)
    return fig


def _interval(label: str, value) -> tuple[float, float, float]:
    """(value, low, high) from a number or a triple; a None bound counts as the value itself."""
    value, low, high = (value, None, None) if np.ndim(value) == 0 else value
    low, high = value if low is None else low, value if high is None else high
    if not low <= value <= high:
        raise ValueError(f"{label}: the interval [{low}, {high}] does not hold its value {value}")
    return float(value), float(low), float(high)


@styled
def dot_panels(
    metrics: Mapping[str, Mapping[str, float | tuple]],
    *,
    log: Sequence[str] = (),
    references: Mapping[str, Mapping[str, float]] | None = None,
    number: str = "{:.3g}",
    width: float = TEXT_WIDTH,
) -> Figure:
    """Scores of several models, a panel a metric: a dot, its interval, its number; models share the rows.

    Parameters
    ----------
    metrics
        Axis label -> {model: value or (value, low, high)}. A model missing in a metric leaves its row empty.
    log
        The axis labels that get a logarithmic axis.
    references
        Axis label -> {name: value of a vertical line}.
    number
        Format of the printed value.
    width
        Inches.

    Raises
    ------
    ValueError
        For an interval that does not hold its value, and for values at or below 0 on a logarithmic axis.
    """
    models = list(dict.fromkeys(model for values in metrics.values() for model in values))
    if not models:
        raise ValueError("dot_panels needs at least one value")
    fig = _figure(width, 0.55 + 0.2 * len(models) + 0.12 * bool(references))
    fig.get_layout_engine().set(wspace=0.05)
    axes = fig.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
    for ax, (xlabel, values) in zip(axes, metrics.items(), strict=True):
        for row, model in enumerate(models):
            if model not in values:
                continue
            value, low, high = _interval(model, values[model])
            if xlabel in log and low <= 0:
                raise ValueError(f"{xlabel}: {model} reaches {low}; a logarithmic axis cannot show that")
            color = COLORS[row % 7]
            ax.plot([low, high], [row, row], color=color, linestyle="-", linewidth=1.4, solid_capstyle="butt")
            ax.plot(value, row, color=color, marker=MARKERS[row % 7], markersize=4.5, linestyle="none")
            text = number.format(value)
            ax.text(1.02, row, text, transform=ax.get_yaxis_transform(), va="center", fontsize=7)
        ax.set(xlabel=xlabel, xscale="log" if xlabel in log else "linear")
        ax.margins(x=0.08)
        ax.grid(False, axis="y")
        ax.tick_params(left=False)
        ax.spines["left"].set_visible(False)
        _references(ax, (references or {}).get(xlabel), horizontal=False)
    axes[0].set(yticks=range(len(models)), yticklabels=models, ylim=(len(models) - 0.5, -0.5))
    return fig


def dot_plot(
    values: Mapping[str, float | tuple],
    xlabel: str,
    *,
    log: bool = False,
    references: Mapping[str, float] | None = None,
    number: str = "{:.3g}",
    width: float = COLUMN_WIDTH,
) -> Figure:
    """One panel of `dot_panels`: label -> value or (value, low, high)."""
    return dot_panels({xlabel: values}, log=[xlabel] if log else [], references={xlabel: references or {}},
                      number=number, width=width)  # fmt: skip


@styled
def bar_plot(
    values,
    *,
    xlabel: str,
    ylabel: str,
    log: bool = False,
    references: Mapping[str, float] | None = None,
    width: float = COLUMN_WIDTH,
    height: float = 1.8,
) -> Figure:
    """Bars over an index (e.g. the KL divergence of each latent); several series are drawn as outlines.

    Parameters
    ----------
    values
        [k], or label -> [k].
    xlabel, ylabel, log
        Axes; `log` is for the bars.
    references
        Name -> value of a horizontal line.
    width, height
        Inches.
    """
    series = values if isinstance(values, Mapping) else {"": values}
    fig = _figure(width, height + 0.16 * (len(series) > 1))
    ax = fig.subplots()
    for i, (label, bars) in enumerate(series.items()):
        bars = np.asarray(bars, float)
        edges = np.arange(len(bars) + 1) + 0.5
        look = {"edgecolor": COLORS[i % 7], "linestyle": LINES[i % 7]}
        if len(series) == 1:
            look = {"fill": True, "facecolor": COLORS[0], "alpha": 0.75}
        ax.stairs(bars, edges, label=label or None, **look)
    ax.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear")
    ax.margins(x=0.01)
    ax.grid(False, axis="x")
    _references(ax, references, horizontal=True)
    _legend(fig, width)
    return fig


def _png_bytes(fig: Figure, dpi: float) -> bytes:
    """`fig` as an opaque PNG (grey if it has no colour) that notes its resolution and nothing else."""
    raw, out = io.BytesIO(), io.BytesIO()
    with plt.style.context(STYLE):
        fig.savefig(raw, format="png", dpi=dpi, facecolor="white", transparent=False)
    pixels = np.asarray(Image.open(raw).convert("RGB"))
    grey = np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2])
    picture = Image.fromarray(np.ascontiguousarray(pixels[..., 0]) if grey else pixels)
    picture.save(out, format="PNG", dpi=(dpi, dpi), optimize=True)
    return out.getvalue()


def save_figure(fig: Figure, name: str, kind: str | None = None, folder: Path | None = None) -> Path:
    """Write `fig` to `folder`, whole or not at all; the same figure gives the same bytes.

    Parameters
    ----------
    fig
        The figure; it stays open.
    name
        File name without suffix: letters, digits, ``_`` and ``-``.
    kind
        "pdf" (vector) or "png" (the multiple of the figure's own resolution that is nearest to 300 dpi).
        By default PNG if the figure holds a picture, else PDF.
    folder
        Where; ``figures_dir()`` by default.

    Returns
    -------
    Path
        The file.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"{name!r} is no figure name: letters, digits, '_' and '-', no folder, no suffix")
    kind = kind or ("png" if fig.findobj(lambda part: isinstance(part, AxesImage | BboxImage)) else "pdf")
    if kind not in ("pdf", "png"):
        raise ValueError(f"kind must be 'pdf' or 'png', got {kind!r}")
    target = (paths.figures_dir() if folder is None else Path(folder)) / f"{name}.{kind}"
    with paths.atomic_write(target) as temporary:
        if kind == "png":
            temporary.write_bytes(_png_bytes(fig, fig.dpi * max(1, round(PRINT_DPI / fig.dpi))))
        else:
            unsigned = {"Creator": None, "Producer": None, "CreationDate": None}
            with plt.style.context(STYLE):  # savefig.bbox "standard": a tight box would rescale the fonts
                fig.savefig(temporary, format="pdf", metadata=unsigned, facecolor="white", transparent=False)
    return target
