"""Curves, and dots with intervals or seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .style import COLORS, COLUMN_WIDTH, FONT, LINES, MARKERS, TEXT_WIDTH, _figure, _legend, _wrap, styled


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


def _draw_curve(ax, x: np.ndarray, y: np.ndarray, log: bool, smooth: int, style: dict) -> tuple[int, int]:
    """One curve, over its unsmoothed self in a pale tone; returns (window used, values that log left out)."""
    hidden = int(np.sum(y <= 0)) if log else 0
    if hidden:
        y = np.where(y > 0, y, np.nan)
    window = smooth if len(y) >= 4 * smooth else 1  # a rarely logged key is shown as it is
    if window > 1:
        ax.plot(x, y, color=style["color"], linestyle="-", linewidth=0.5, alpha=0.3)
        y = _smoothed(y, window)
    ax.plot(x, y, marker="o" if len(y) == 1 else None, **style)
    return window, hidden


def _note(drawn: Sequence[tuple[int, int]]) -> str:
    """What a reader must know about the curves of one key: how they were smoothed, what a log axis hides."""
    window, hidden = max(w for w, _ in drawn), sum(h for _, h in drawn)
    notes = [f"running mean of {window}"] if window > 1 else []
    notes += [f"{hidden} value{'s' * (hidden > 1)} $\\leq$ 0 left out"] if hidden else []
    return f" ({', '.join(notes)})" if notes else ""


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
                style = {"color": COLORS[i % 7], "linestyle": LINES[(j if several else i) % 7]}
                points = _series(rows, x, key)
                if len(points[0]):
                    drawn.append(_draw_curve(ax, *points, log, smooth, style))
                    shown = style | {"linestyle": "-"} if several else style
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
    style = {"color": "0.45", "linewidth": 0.7, "linestyle": (0, (4, 2)), "zorder": 1}
    text = {"textcoords": "offset points", "fontsize": 6.5, "color": "0.3", "va": "bottom"}
    for name, value in (references or {}).items():
        if horizontal:
            ax.axhline(value, **style)
            ax.annotate(name, (0.01, value), (0, 1.5), xycoords=ax.get_yaxis_transform(), ha="left", **text)
        else:
            ax.axvline(value, **style)
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
        style = {"color": COLORS[i % 7], "linestyle": LINES[i % 7]}
        ax.plot(x, y, label=label, marker=MARKERS[i % 7], markersize=3, **style)
        if band and len(x) == 1:
            ax.vlines(x, *band, color=style["color"], linewidth=0.8)
        elif band:
            ax.fill_between(x, *band, color=style["color"], alpha=0.15, linewidth=0)
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


def _row_panels(metrics: Mapping[str, Mapping], references: Mapping | None, width: float):
    """A figure, its panels, one a metric, and the names of the rows that they share."""
    rows = list(dict.fromkeys(row for values in metrics.values() for row in values))
    if not rows:
        raise ValueError("panels of scores need at least one row")
    fig = _figure(width, 0.55 + 0.2 * len(rows) + 0.12 * bool(references))
    return fig, fig.subplots(1, len(metrics), squeeze=False, sharey=True)[0], rows


def _finish_rows(axes, metrics: Mapping, log: Sequence[str], references: Mapping | None, rows: Sequence[str]) -> None:
    """Labels, scales and named constants of the panels of `_row_panels`."""
    for ax, xlabel in zip(axes, metrics, strict=True):
        ax.set(xlabel=xlabel, xscale="log" if xlabel in log else "linear")
        ax.margins(x=0.08)
        ax.tick_params(left=False)
        ax.spines["left"].set_visible(False)
        _references(ax, (references or {}).get(xlabel), horizontal=False)
    axes[0].set(yticks=range(len(rows)), yticklabels=rows, ylim=(len(rows) - 0.5, -0.5))


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
    fig, axes, models = _row_panels(metrics, references, width)
    fig.get_layout_engine().set(wspace=0.05)
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
        ax.grid(False, axis="y")
    _finish_rows(axes, metrics, log, references, models)
    return fig


@styled
def dots_by_seed(
    metrics: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    log: Sequence[str] = (),
    references: Mapping[str, Mapping[str, float]] | None = None,
    width: float = TEXT_WIDTH,
) -> Figure:
    """Scores of repeated trainings, a panel a metric, a row an arm: a pale dot a seed, a bar at their mean.

    Parameters
    ----------
    metrics
        Axis label -> {arm: values, one a seed}. An arm without values leaves its row empty.
    log, references, width
        As in `dot_panels`.
    """
    fig, axes, arms = _row_panels(metrics, references, width)
    for ax, values in zip(axes, metrics.values(), strict=True):
        for row, arm in enumerate(arms):
            seeds = np.asarray(values.get(arm, ()), float)
            ax.plot(seeds, [row] * len(seeds), "o", color=COLORS[0], alpha=0.5, markersize=4)
            if len(seeds):
                ax.plot(seeds.mean(), row, "|", color=COLORS[1], markersize=9, markeredgewidth=1.6)
    _finish_rows(axes, metrics, log, references, arms)
    return fig
