"""What notebooks show: a training as one picture that is replaced (curves, fixed samples, time left); prose, source.

An IPython display handle with a PNG, no JavaScript: the same in JupyterLab and in Colab. Outside a notebook `Live` is
silent.
"""

from __future__ import annotations

import inspect
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from . import figures, paths
from .training import checkpoint

CURVES = (  # the first pair that a history has: its keys, by the word for each
    {"D(genuine)": "real_logit", "D(generated)": "fake_logit"},
    {"training": "loss", "held out": "test_loss"},
)


class Live:
    """What `loop.fit` calls after every check, as ``on_check``.

    Parameters
    ----------
    folder
        Of the run; its history and its stored samples are shown.
    images
        Length of the training, signatures seen.
    """

    def __init__(self, folder: str | Path, images: int):
        self.folder, self.images, self.handle = Path(folder), images, None

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Show the training as it is now; `record` is the last row of its history."""
        from IPython import get_ipython
        from IPython.display import Image as Picture
        from IPython.display import display

        if get_ipython() is None:
            return
        picture = Picture(self.png(record), width=720)
        if self.handle is None:
            self.handle = display(picture, display_id=True)
        else:
            self.handle.update(picture)

    def words(self, record: Mapping[str, Any]) -> str:
        """How far the training is."""
        share = min(1.0, record["images"] / self.images)
        left = record["seconds"] * (1 / share - 1)
        until = "done" if share == 1 else f"about {left / 60:.0f} min left" if left > 90 else f"about {left:.0f} s left"
        return f"{self.folder.name}: {record['images']:,} signatures seen, {share:.0%}, {until}"

    def png(self, record: Mapping[str, Any]) -> bytes:
        """The picture: curves on the left, the last stored samples on the right."""
        out = io.BytesIO()
        self.figure(record).savefig(out, format="png", dpi=figures.SCREEN_DPI)
        return out.getvalue()

    @figures.styled
    def figure(self, record: Mapping[str, Any]) -> Figure:
        """The same as a figure, which pyplot does not know."""
        fig = Figure(figsize=(figures.TEXT_WIDTH, 1.9), layout="constrained")
        axes, picture = fig.subplots(1, 2, width_ratios=(1, 1.9))
        history = checkpoint.read_history(self.folder)
        pairs = next(pair for pair in CURVES if any(key in row for row in history for key in pair.values()))
        for word, key, color, line in zip(pairs, pairs.values(), figures.COLORS, figures.LINES, strict=False):
            points = np.array([(row["images"], row[key]) for row in history if key in row]).reshape(-1, 2)
            axes.plot(*points.T, label=word, color=color, linestyle=line, marker="o", markersize=2)
        axes.set_xlim(0, self.images)
        axes.set_xlabel("signatures seen")
        axes.legend(fontsize=6.5)
        if stored := sorted((self.folder / "samples").glob("step_*.png")):
            with Image.open(stored[-1]) as sheet:
                picture.imshow(np.asarray(sheet.convert("L")), cmap="gray", vmin=0, vmax=255)
        picture.set_axis_off()
        fig.suptitle(self.words(record), fontsize=figures.FONT, x=0.01, ha="left")
        return fig


def say(text: str) -> None:
    """Show Markdown that was computed."""
    from IPython.display import Markdown, display

    display(Markdown(text))


def show_source(*objects: Any) -> None:
    """Show packaged source where it is taught, so that no copy of it drifts."""
    say("\n".join(f"```python\n{inspect.getsource(one)}```" for one in objects))


def keep(figure: Figure, name: str) -> None:
    """Store a figure for the report, and show it."""
    from IPython.display import display

    print(paths.display(figures.save_figure(figure, name)))
    display(figure)
