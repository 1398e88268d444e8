"""Measured values as text: one table of formats, names of models, LaTeX's special characters."""

from __future__ import annotations

import re
from collections.abc import Callable

from .results import ReportError

MISSING, NOT_APPLICABLE = "--", "n/a"
COPIES = ("augmented_copies", "far_copies")  # of training images: scored like a model, but none
LABELS = {  # in the order of the tables; the label stored with the results goes first
    COPIES[0]: "training images, slightly moved",
    COPIES[1]: "training images, moved like samples",
    "report_vae": "report VAE",
    "vae": "residual VAE",
    "vae_pretrained": "pretrained VAE",
    "vae_reference": "residual VAE, full run",
    "report_gan": "report GAN",
    "gan_alone": "thumbnail GAN",
    "gan_alone_reference": "thumbnail GAN, longer run",
    "gan": "VAE-GAN",
    "gan_reference": "VAE-GAN, full run",
}
ABSENT = object()  # what `stored` gives for a value that nobody measured


def significant(digits: int) -> Callable[[float], str]:
    """Formatter to `digits` significant digits; digits before the point are never cut, thousands are set apart."""

    def format_(value: float) -> str:
        if value == 0:
            return "0"
        exponent = int(f"{abs(value):.{digits - 1}e}".split("e")[1])  # after rounding: 9.96 has exponent 1
        return f"{value:,.{max(0, digits - 1 - exponent)}f}"

    return format_


def _share(value: float) -> str:
    return significant(1)(value) if 0.001 <= abs(value) < 0.01 else f"{value:.2f}"


def _rate(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def _percentage(value: float) -> str:
    """Two digits; hundredths of a percent say nothing of shares of a few hundred."""
    return "100" if value >= 99.5 else "0" if abs(value) < 0.05 else significant(2)(value)


FORMATS: dict[str, Callable] = {
    "text": str,
    "count": lambda value: f"{round(value):,}",
    "number": lambda value: f"{value:,}" if isinstance(value, int) else significant(3)(value),
    "setting": lambda value: f"{value:,}" if isinstance(value, int) else f"{value:,g}",  # exact, as configured
    "share": _share,  # of 1: precision, recall, coverage, top-1
    "percent": significant(3),
    "distance": significant(3),
    "floors": significant(2),
    "kernel": significant(2),
    "error": significant(3),  # squared error an image
    "minutes": significant(2),
    "seconds": significant(2),
    "speed": lambda value: f"{round(value):,}" if value >= 10 else significant(2)(value),
    "parameters": lambda value: f"{value / 1e6:.1f} M" if value >= 1e5 else f"{value:,}",
    "rate": _rate,
    "z": lambda value: f"{value:.1f}".replace("-0.0", "0.0"),  # standard scores
    "percentage": lambda value: _percentage(100 * value),  # of a share
}


def stored(results: dict, path: str) -> object:
    """The value at a dotted path; None below a None, `ABSENT` where nothing was stored."""
    value: object = results
    for key in path.split("."):
        if value is None:
            return None
        if not isinstance(value, dict) or key not in value:
            return ABSENT
        value = value[key]
    return value


def plain(results: dict, path: str, kind: str) -> str:
    """The value at a dotted path, rounded by `FORMATS`, as plain text."""
    value = stored(results, path)
    if value is ABSENT:
        return MISSING
    if value is None:
        return NOT_APPLICABLE
    try:
        return FORMATS[kind](value)
    except (TypeError, ValueError) as error:
        raise ReportError(f"results.json: {path} is {value!r}, which is no {kind}") from error


def saved_share(results: dict, path: str) -> str:
    """Percent of an error that is saved, and its interval where there is one: ``40 [7, 74]``."""
    share, *ends = (stored(results, f"{path}.{name}") for name in ("cut", "cut_low", "cut_high"))
    if share is ABSENT:
        return NOT_APPLICABLE
    text = str(round(100 * share))
    return text if ABSENT in ends else f"{text} [{', '.join(str(round(100 * end)) for end in ends)}]"


def is_searched(model: str) -> bool:
    """Whether a model redraws a signature by `gan.invert`: a GAN has no encoder."""
    return "gan" in model


def mean_with_spread(one: tuple[float, float | None] | None, kind: str, sign: str) -> str:
    """A mean and, behind `sign`, the standard deviation, if there is one; `NOT_APPLICABLE` for None."""
    if one is None:
        return NOT_APPLICABLE
    mean, spread = one[0], one[1] or 0.0
    same = spread <= 1e-9 * abs(mean)  # equal values have a spread of rounding errors
    return FORMATS[kind](mean) + ("" if same else f"{sign}{significant(1)(spread)}")


def latex(text: str, kind: str = "text") -> str:
    """Plain text as LaTeX: special characters, thousands, minus signs and powers of ten."""
    if kind == "rate" and (match := re.fullmatch(r"([\d.]+)e(-?\d+)", text)):
        factor = "" if match[1] == "1" else rf"{match[1]}\times"
        return rf"${factor}10^{{{match[2]}}}$"
    text = re.sub(r"[&%$#_{}]", lambda m: "\\" + m[0], text.replace("\\", "/")).replace("~", " ").replace("^", " ")
    text = re.sub(r"(?<=\d),(?=\d{3})", "{,}", text)
    return re.sub(r"(?<![\w.-])-(?=\d)", "$-$", text)


def models_of(results: dict, *sections: str) -> list[str]:
    """Models of the named parts of the results: those of `LABELS` first and in their order, then any other."""
    found = {name for path in sections if isinstance(part := stored(results, path), dict) for name in part}
    return [name for name in LABELS if name in found] + sorted(found - set(LABELS))


def models_compared(results: dict) -> list[str]:
    """The scored models, without the copies."""
    return [model for model in models_of(results, "comparison.models") if model not in COPIES]


def label(results: dict, model: str) -> str:
    """How figures and tables call a model."""
    for section in ("comparison.models", "training"):
        name = stored(results, f"{section}.{model}.label")
        if isinstance(name, str) and name != model and model not in COPIES:
            return name
    return LABELS.get(model, model.replace("_", " "))
