"""What a word was probably meant to be."""

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(word: str, known: Iterable[str], likeness: float = 0.5) -> str:
    """`; did you mean NEAREST?` for the nearest of the known words, or nothing if none is near.

    Args:
        likeness: how near it must be, in (0, 1], as in `difflib.get_close_matches`.
    """
    near = difflib.get_close_matches(word, list(known), 1, likeness)
    return f"; did you mean {near[0]}?" if near else ""
