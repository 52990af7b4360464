"""Numbers that are out of range are refused in one way, and so is what has no end."""

import math
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["check_at_least", "check_extent", "check_positive", "check_real", "check_shares"]

MOST = 100_000  # values in a description; those of this project have some hundred


def check_at_least(minimum: float, advice: str = "", /, **values: float) -> None:
    """Every value is at least `minimum` and finite; what to use instead may be said in the error.

    Raises:
        ValueError: otherwise, with the name and the value.
    """
    for name, value in values.items():
        if not minimum <= value < math.inf:
            finite = " and finite" if value == math.inf else ""
            raise ValueError(f"{name} must be at least {minimum}{finite}, got {value}{advice and '; '}{advice}")


def check_positive(advice: str = "", /, **values: float) -> None:
    """Every value is positive and finite; what to use instead may be said in the error.

    Raises:
        ValueError: otherwise, with the name and the value.
    """
    for name, value in values.items():
        if not 0 < value < math.inf:
            finite = " and finite" if value == math.inf else ""
            raise ValueError(f"{name} must be positive{finite}, got {value}{advice and '; '}{advice}")


def check_real(**values: float) -> None:
    """Every value is a finite number.

    Raises:
        ValueError: otherwise, with the name and the value.
    """
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number, got {value}")


def check_shares(**values: float) -> None:
    """Every value is in [0, 1].

    Raises:
        ValueError: otherwise, with the name and the value.
    """
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is a share in [0, 1], got {value}")


def check_extent(value: Any, parts: Callable[[Any], Iterable[Any]], most: int = MOST) -> None:
    """A value has at most so many parts, and parts of parts, each counted wherever it is.

    Forty lists that hold the one before twice are 2^40 values to whoever follows them; here each is visited once.

    Args:
        parts: the parts of a value; none of one that has none.

    Raises:
        ValueError: if there are more, if it is a part of itself, or if it is nested too deeply.
    """
    sizes: dict[int, int | None] = {}  # None: its parts are being counted

    def size(item: Any) -> int:
        key = id(item)
        if key not in sizes:
            sizes[key] = None
            sizes[key] = 1 + sum(map(size, parts(item)))
        counted = sizes[key]
        if counted is None:
            raise ValueError("it is a part of itself")
        if counted > most:
            raise ValueError(f"it has more than {most} values")
        return counted

    try:
        size(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
