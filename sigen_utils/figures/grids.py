"""Grids of pictures, at whole pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import BboxImage
from matplotlib.transforms import Bbox

from .style import (
    COLORS,
    FONT,
    MAX_CELL,
    SCREEN_DPI,
    TEXT_WIDTH,
    _by_hand,
    _figure,
    _lines_tall,
    _text_width,
    _wrap,
    styled,
)  # fmt: skip


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
    the picture gets its corners in integer pixels: older versions resample it for a fraction of one.
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
    """One row of pictures a model, training step or augmentation, its name on the left.

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
        Inches of the figure.
    """
    if not pictures:
        raise ValueError("panels needs at least one picture")
    gap, ncols = 0.08, ncols or len(pictures)
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
    if title:
        fig.text(0, 1, title, size=FONT, ha="left", va="top")
    return fig
