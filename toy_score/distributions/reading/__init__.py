"""Reading points from files: tables of text, arrays of numpy, and the dark pixels of a picture."""

from toy_score.distributions.reading.read import read_table
from toy_score.distributions.reading.sheet import Table

__all__ = ["Table", "read_table"]
