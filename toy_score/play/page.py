"""The page: one file of HTML, style, JavaScript and numbers, which needs nothing else."""

from pathlib import Path

__all__ = ["mathematics"]

FOLDER = Path(__file__).parent
MATHEMATICS = ("special.js", "distributions.js", "schedules.js", "networks.js", "samplers.js", "measure.js")
DRAWING = ("view.js", "app.js")


def mathematics() -> str:
    """The part of the JavaScript that computes, and knows no browser."""
    return _script(MATHEMATICS)


def _script(names: tuple[str, ...]) -> str:
    return "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names)
