"""Settings from the command line: ``key=value`` strings applied to a frozen dataclass."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any


def parse_overrides(config: Any, pairs: Sequence[str]) -> Any:
    """A frozen dataclass with ``key=value`` strings applied; values are read as JSON, else kept as text.

    Raises
    ------
    ValueError
        For an unknown key, naming the known ones; for a value of another kind.
    """
    known = [field.name for field in dataclasses.fields(config)]
    changes: dict[str, Any] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key not in known:
            raise ValueError(f"--set {pair}: no such setting; choose one of {', '.join(known)}")
        try:
            changes[key] = json.loads(value)
        except json.JSONDecodeError:
            changes[key] = _number_or_text(value)
        was = getattr(config, key)
        kinds = (dict,) if dataclasses.is_dataclass(was) else (int, float) if isinstance(was, float) else (type(was),)
        kinds = (list, tuple) if isinstance(was, tuple) else kinds
        if not isinstance(changes[key], kinds) or isinstance(changes[key], bool) != isinstance(was, bool):
            raise ValueError(f"--set {pair}: {key} is {json.dumps(_plain(was))} now, and has to stay of that kind")
    return dataclasses.replace(config, **changes)


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value


def _number_or_text(value: str) -> float | str:
    try:
        return float(value)  # JSON knows 0.3 but not .3
    except ValueError:
        return value
