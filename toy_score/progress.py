"""Progress of what may take longer than two seconds: its rate and the time left, where somebody is watching.

That is on a terminal and in a notebook. Elsewhere, as in the log of a cluster, nothing is printed.
"""

import importlib.util
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

__all__ = ["PATIENCE", "bar", "in_notebook", "is_watched", "watched"]

PATIENCE = 2.0
"""Seconds before the bar of something that may be short appears."""

Item = TypeVar("Item")


def in_notebook() -> bool:
    """Whether this runs in a notebook."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and type(ipython.get_ipython()).__name__ == "ZMQInteractiveShell"


def is_watched() -> bool:
    """Whether somebody sees what is written to the standard error: a terminal or a notebook shows it."""
    return in_notebook() or (sys.stderr is not None and sys.stderr.isatty())


def bar(total: int | None, unit: str, what: str | None = None, **options: Any) -> Any:
    """A bar of `tqdm`: `update(n)` moves it, `close()` ends it.

    Args:
        total: number of units; None if it is not known.
        unit: what is counted, in the plural.
        what: stands before the bar.
        options: of `tqdm`; `disable` is False where somebody is watching.
    """
    if in_notebook() and importlib.util.find_spec("ipywidgets"):
        from tqdm.notebook import tqdm
    else:
        from tqdm import tqdm
    options = {"dynamic_ncols": True, "disable": not is_watched(), **options}
    return tqdm(total=total, unit=f" {unit}", desc=what, **options)


def watched(items: Iterable[Item], unit: str, what: str) -> Iterator[Item]:
    """The items one after the other, with a bar that appears after two seconds and vanishes at the end."""
    items = list(items)
    shown = bar(len(items), unit, what, delay=PATIENCE, leave=False)
    try:
        for item in items:
            yield item
            shown.update(1)
    finally:
        shown.close()
