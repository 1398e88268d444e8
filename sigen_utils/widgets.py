"""The latent explorer: sliders, people and buttons around a pure function that draws one signature.

It knows no model. A caller hands it ``render``, and the same class serves a VAE, whose people are places in the
latent space, and a GAN, whose people are conditions beside it. Only what ipywidgets 7.7.1 (Google Colab) and 8
(JupyterLab) share is used: PNG bytes in an ``Image``, changed by ``FloatSlider.observe``.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence

import ipywidgets
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from sigen_utils import figures
from sigen_utils.images import synthetic_note

NOBODY = -1  # what the pickers hold when no person is chosen


def png(picture: np.ndarray, size: int = 384) -> bytes:
    """PNG of a black-on-white picture, each pixel repeated a whole number of times.

    Parameters
    ----------
    picture
        uint8 [H, W].
    size
        Pixels that the longer side should come close to without exceeding; never shrunk.

    Raises
    ------
    ValueError
        If `picture` is not uint8 [H, W]: an explorer that draws something else hides a wrong `render`.
    """
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim != 2:
        raise ValueError(
            f"render must return uint8 [H, W], black on white; got {picture.dtype} {list(picture.shape)}. "
            "data.to_image makes that from a model's ink"
        )
    scale = max(1, size // max(picture.shape))
    out = io.BytesIO()
    # level 1: the encoder runs at every slider step, and the bytes go no further than the next process
    large = Image.fromarray(picture.repeat(scale, 0).repeat(scale, 1))
    large.save(out, format="PNG", compress_level=1, pnginfo=synthetic_note())
    return out.getvalue()


class LatentExplorer:
    """Sliders along latent directions, a person picker, interpolation between two people, random, reset.

    The picture is ``render(z)`` with ``z = base + sum_i slider_i * scales_i * directions_i``. The base is
    `mean`, or the chosen person, or a point on the line between two people.

    Parameters
    ----------
    render
        Pure function z float32 [latent_dim] -> uint8 [H, W], black on white. With `conditional`, it is called
        as ``render(z, condition)``.
    directions
        [k, latent_dim], one slider each; e.g. the principal axes of the posterior means.
    scales
        [k], what one slider unit is along each direction; e.g. the standard deviation there.
    mean
        [latent_dim], where everything starts.
    people
        Name -> vector: a place in the latent space [latent_dim], or, with `conditional`, a condition of any
        length, e.g. an embedding. None leaves the pickers out.
    names
        What each direction does, as the slider says it; "direction 1", ... by default.
    conditional
        The people are conditions of `render` and no places: they no longer move z, and one is always chosen.
    draw
        ``draw(rng) -> z [latent_dim]``: what Random shows (e.g. a sample of the prior). By default Random sets
        the sliders to standard normal values.
    limit, step
        Range of the sliders, -limit to limit, and their step.
    size
        Pixels that the picture's longer side should come close to.
    seed
        Of the Random button.

    Attributes
    ----------
    widget
        The box to show; the explorer also shows itself as a cell's last value.
    sliders, person, other, blend, random_button, reset_button, image, timing
        Its parts. `person` and `other` hold the index of a person, or -1.

    Raises
    ------
    ValueError
        For shapes that do not fit together, and if `render` returns anything but uint8 [H, W].
    """

    def __init__(
        self,
        render: Callable[..., np.ndarray],
        directions: np.ndarray,
        scales: np.ndarray,
        mean: np.ndarray,
        people: Mapping[str, np.ndarray] | None = None,
        names: Sequence[str] | None = None,
        *,
        conditional: bool = False,
        draw: Callable[[np.random.Generator], np.ndarray] | None = None,
        limit: float = 3.0,
        step: float = 0.1,
        size: int = 384,
        seed: int = 0,
    ):
        self.render, self.draw, self.conditional, self.limit, self.size = render, draw, conditional, limit, size
        self.mean = np.asarray(mean, dtype=np.float32)
        self.steps = self._scaled(directions, scales)
        self.people = {str(name): np.asarray(v, dtype=np.float32) for name, v in (people or {}).items()}
        self.names = [str(n) for n in names] if names else [f"direction {i + 1}" for i in range(len(self.steps))]
        self._check()
        self._codes = list(self.people.values())
        self._start = self.mean  # the base while nobody is chosen; Random may move it
        self._rng = np.random.default_rng(seed)
        self._busy = False  # several controls change at once: one picture at the end, not one for each
        self._build(step)
        self._draw()

    def _scaled(self, directions: np.ndarray, scales: np.ndarray) -> np.ndarray:
        """What one unit of each slider adds to z, float32 [k, latent_dim]."""
        directions, scales = np.asarray(directions, dtype=np.float32), np.asarray(scales, dtype=np.float32)
        k = len(scales) if scales.ndim == 1 else 0
        if self.mean.ndim != 1 or k == 0 or directions.shape != (k, self.mean.size):
            raise ValueError(
                "directions must be [k, latent_dim], scales [k] and mean [latent_dim]; "
                f"got {directions.shape}, {scales.shape} and {self.mean.shape}"
            )
        if not all(np.isfinite(a).all() for a in (directions, scales, self.mean)):
            raise ValueError("directions, scales and mean must be finite")
        return directions * scales[:, None]

    def _check(self) -> None:
        k, dim = len(self.steps), self.mean.size
        if len(self.names) != k:
            raise ValueError(f"{len(self.names)} names for {k} directions")
        shapes = {v.shape for v in self.people.values()}
        if len(shapes) > 1 or (shapes and not self.conditional and shapes != {(dim,)}):
            raise ValueError(f"every person must be a vector of one length ({dim} in the latent space), got {shapes}")
        if self.conditional and not self.people:
            raise ValueError("conditional=True needs people: they are the conditions")

    def _build(self, step: float) -> None:
        """Make the controls and wire them up."""
        wide = ipywidgets.Layout(width="420px")
        style = {"description_width": "130px"}
        self.sliders = [
            ipywidgets.FloatSlider(0.0, min=-self.limit, max=self.limit, step=step, description=name,
                                   readout_format="+.1f", layout=wide, style=style)
            for name in self.names
        ]  # fmt: skip
        named = [(name, i) for i, name in enumerate(self.people)]
        nobody = [("nobody", NOBODY)]
        self.person = ipywidgets.Dropdown(
            options=named if self.conditional else nobody + named, description="person", layout=wide, style=style
        )
        self.other = ipywidgets.Dropdown(options=nobody + named, description="interpolate to", layout=wide, style=style)
        self.blend = ipywidgets.FloatSlider(0.0, min=0.0, max=1.0, step=0.05, description="blend", disabled=True,
                                            readout_format=".2f", layout=wide, style=style)  # fmt: skip
        self.random_button = ipywidgets.Button(description="Random")
        self.reset_button = ipywidgets.Button(description="Reset")
        # flex 0 0 auto: a narrow cell scrolls, it does not squeeze the picture off its whole pixels
        self.image = ipywidgets.Image(format="png", layout=ipywidgets.Layout(flex="0 0 auto", margin="0"))
        self.timing = ipywidgets.Label()
        for control in (*self.sliders, self.person, self.other, self.blend):
            control.observe(self._changed, names="value")
        self.random_button.on_click(lambda _: self.random())
        self.reset_button.on_click(lambda _: self.reset())
        pickers = [self.person, self.other, self.blend] if self.people else []
        indent = ipywidgets.Layout(margin="6px 0 0 134px")  # below the sliders' own left end
        buttons = ipywidgets.HBox([self.random_button, self.reset_button], layout=indent)
        # a border on the image itself would be taken from its pixels
        frame = ipywidgets.Layout(border="1px solid #ccc", flex="0 0 auto", align_self="flex-start")
        left = ipywidgets.VBox([ipywidgets.Box([self.image], layout=frame), self.timing])
        left.layout.flex = "0 0 auto"
        self.widget = ipywidgets.HBox([left, ipywidgets.VBox([*pickers, *self.sliders, buttons])])

    def _changed(self, change) -> None:
        if not self._busy:
            if change["owner"] is self.person:
                self._start = self.mean  # "nobody" is the mean again, no earlier random draw
            self._draw()

    def _base(self) -> np.ndarray:
        """The chosen person, blended with the other one; the start while nobody is chosen."""
        base = self._start if self.person.value == NOBODY else self._codes[self.person.value]
        if self.other.value == NOBODY:
            return base
        t = np.float32(self.blend.value)
        return (1 - t) * base + t * self._codes[self.other.value]

    @property
    def z(self) -> np.ndarray:
        """The latent on show, float32 [latent_dim]."""
        values = np.array([slider.value for slider in self.sliders], dtype=np.float32)
        return (self._start if self.conditional else self._base()) + values @ self.steps

    @property
    def condition(self) -> np.ndarray | None:
        """What `render` gets beside z: the blended people if `conditional`, else None."""
        return self._base() if self.conditional else None

    def _picture(self, z: np.ndarray) -> np.ndarray:
        return self.render(z, self.condition) if self.conditional else self.render(z)

    def _draw(self) -> None:
        """Render once and show it with the time it took."""
        self.blend.disabled = self.other.value == NOBODY
        start = time.perf_counter()
        try:
            picture = self._picture(self.z)
            took = time.perf_counter() - start
            data = png(picture, self.size)
        except Exception as error:  # shown where the user looks (a kernel hides errors of callbacks), then raised
            self.timing.value = f"no picture: {type(error).__name__}: {error}"
            raise
        scale = max(1, self.size // max(picture.shape))
        self.image.width, self.image.height = str(picture.shape[1] * scale), str(picture.shape[0] * scale)
        self.image.value = data
        self.timing.value = f"decoded in {1000 * took:.1f} ms"

    def set(
        self,
        values: Sequence[float] | None = None,
        person: str | None = None,
        other: str | None = None,
        blend: float = 0.0,
    ) -> None:
        """Move all controls at once and draw once; what is not named goes to its neutral position.

        Parameters
        ----------
        values
            Slider positions [k], within the sliders' range.
        person, other
            Names in `people`.
        blend
            0 = person, 1 = other.

        Raises
        ------
        ValueError
            For a wrong number of values, one out of range, or an unknown person.
        """
        values = [0.0] * len(self.sliders) if values is None else [float(v) for v in values]
        if len(values) != len(self.sliders) or not all(abs(v) <= self.limit for v in values):
            raise ValueError(f"values must be {len(self.sliders)} numbers from {-self.limit} to {self.limit}: {values}")
        if not 0 <= blend <= 1:
            raise ValueError(f"blend must be from 0 to 1, got {blend}")
        for name in (person, other):
            if name is not None and name not in self.people:
                raise ValueError(f"nobody is called {name!r}; there are {', '.join(list(self.people)[:10])} ...")
        order = list(self.people)
        chosen = order.index(person) if person is not None else self.person.options[0][1]
        self._busy = True
        try:
            self.person.value = chosen
            self.other.value = order.index(other) if other is not None else NOBODY
            self.blend.value = blend
            for slider, value in zip(self.sliders, values, strict=True):
                slider.value = value
        finally:
            self._busy = False
        self._draw()

    def random(self) -> None:
        """A random signature: one of `draw`, or of the chosen person with random slider positions."""
        person = list(self.people)[self.person.value] if self.person.value != NOBODY else None
        if self.draw is None:
            step = self.sliders[0].step
            values = np.round(self._rng.standard_normal(len(self.sliders)) / step) * step
            self.set(np.clip(values, -self.limit, self.limit), person)
        else:
            self._start = np.asarray(self.draw(self._rng), dtype=np.float32)
            self.set(person=person if self.conditional else None)

    def reset(self) -> None:
        """Back to the beginning: all sliders 0, nobody (or the first person) chosen, the mean as start."""
        self._start = self.mean
        self.set()

    def contact_sheet(self, values: Sequence[float] = (-3, -2, -1, 0, 1, 2, 3), **settings) -> Figure:
        """The sliders as a still picture, for pages without a kernel: a row a direction, a column a position.

        It starts from the base on show (the mean, or the people chosen), with all other sliders at 0.
        `settings` go to `figures.image_grid` (`title`, `width`).
        """
        z = self._start if self.conditional else self._base()
        settings.setdefault("row_labels", self.names)
        return figures.traversal(self._picture, z, self.steps, values, **settings)

    def _ipython_display_(self) -> None:
        from IPython.display import display  # present wherever ipywidgets is

        display(self.widget)
