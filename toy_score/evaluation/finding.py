"""One thing that the doctor looked at."""

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """One thing the doctor looked at.

    Attributes:
        name: what.
        text: the result, in one line with its figures.
        good: whether it is well.
        advice: what to do if it is not.
    """

    name: str
    text: str
    good: bool
    advice: str = ""

    def __str__(self) -> str:
        return f"{'good' if self.good else 'WARNING':<9}{self.name}: {self.text_with_advice()}"

    def text_with_advice(self) -> str:
        """The text, with the advice where it is needed."""
        return self.text if self.good else f"{self.text}; {self.advice}"
