"""The house style: sizes, colours, text that fits, and the one function that writes a figure to disk."""

from __future__ import annotations

import base64
import functools
import io
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
from matplotlib.textpath import TextPath
from PIL import Image

from .. import paths

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
    if not texts:
        return 0.0
    breaks = max(text.count("\n") for text in texts)
    return (1.25 + 1.45 * breaks) * size / 72 + 0.02  # the space between lines comes on top of their height


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
    """Write `fig` to `folder` atomically; the same figure gives the same bytes.

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
