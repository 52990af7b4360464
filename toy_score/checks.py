"""Numbers that are out of range are refused in one way."""

import math

__all__ = ["check_at_least", "check_positive"]


def check_at_least(minimum: float, /, **values: float) -> None:
    """Every value is at least `minimum`.

    Raises:
        ValueError: otherwise, with the name and the value.
    """
    for name, value in values.items():
        if not minimum <= value < math.inf:
            raise ValueError(f"{name} must be at least {minimum}, got {value}")


def check_positive(**values: float) -> None:
    """Every value is positive and finite.

    Raises:
        ValueError: otherwise, with the name and the value.
    """
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive, got {value}")
