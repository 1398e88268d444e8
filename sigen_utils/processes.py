"""Whether worker processes can be started from where a function is called."""

from __future__ import annotations

import ast
import sys
import warnings
from pathlib import Path


def can_spawn() -> bool:
    """Whether a script may start workers, which import it anew: it must guard what it runs.

    Warns
    -----
    UserWarning
        Where the script that runs has no ``if __name__ == "__main__":``. Its workers would run it again instead of
        doing their part, and die of it.
    """
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if not file or getattr(main, "__spec__", None) is not None:  # a notebook or prompt; python -m
        return True
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8", errors="replace"))
    except (OSError, SyntaxError, ValueError):  # not a Python source: workers cannot run it either
        return True
    names = (node for part in tree.body if isinstance(part, ast.If) for node in ast.walk(part.test))
    if any(isinstance(node, ast.Name) and node.id == "__name__" for node in names):
        return True
    message = (
        f'{Path(file).name} has no `if __name__ == "__main__":`, so no workers are started and one process does all; '
        "put what the script runs under that line to use more"
    )
    warnings.warn(message, stacklevel=3)
    return False
