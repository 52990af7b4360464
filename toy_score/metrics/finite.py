"""Figures that are not finite: null in JSON, and an error that names them."""

import math
from typing import Any

__all__ = ["check_finite", "finite_or_null"]


def finite_or_null(figures: Any) -> Any:
    """The same dictionaries and lists with None for nan and infinity, for which JSON has no literal."""
    if isinstance(figures, dict):
        return {key: finite_or_null(value) for key, value in figures.items()}
    if isinstance(figures, list | tuple):
        return [finite_or_null(value) for value in figures]
    return None if isinstance(figures, float) and not math.isfinite(figures) else figures


def check_finite(figures: Any) -> None:
    """Raise a FloatingPointError that names the figures that are nan or infinite, as `likelihood.nll`."""
    names = _not_finite(figures)
    if names:
        listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        raise FloatingPointError(f"not finite: {listed}; the network, the sampler or the truth gives nan or infinity")


def _not_finite(figures: Any, name: str = "") -> list[str]:
    if isinstance(figures, dict | list | tuple):
        items = figures.items() if isinstance(figures, dict) else enumerate(figures)
        return [entry for key, value in items for entry in _not_finite(value, f"{name}.{key}" if name else str(key))]
    return [name] if isinstance(figures, float) and not math.isfinite(figures) else []
