"""What a word was probably meant to be."""

import difflib
from collections.abc import Iterable, Sequence

__all__ = ["did_you_mean", "shown"]

MANY = 20  # words that a message names


def did_you_mean(word: str, known: Iterable[str], likeness: float = 0.5) -> str:
    """`; did you mean NEAREST?` for the nearest of the known words, or nothing if none is near.

    Args:
        likeness: how near it must be, in (0, 1], as in `difflib.get_close_matches`.
    """
    near = difflib.get_close_matches(word, list(known), 1, likeness)
    return f"; did you mean {near[0]}?" if near else ""


def shown(words: Sequence[str], numbered: bool = False) -> str:
    """The words in a message, `sea, land`, or with their numbers, `0 = sea, 1 = land`; of many the first."""
    listed = [f"{k} = {word}" if numbered else word for k, word in enumerate(words[:MANY])]
    return ", ".join([*listed, f"and {len(words) - MANY} more"] if len(words) > MANY else listed)
