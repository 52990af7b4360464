"""How many examples the properties are tried with: few in the test suite, thousands in `make campaign`.

    TOY_SCORE_EXAMPLES=2000 python -m pytest tests/test_properties.py tests/test_properties_of_tables.py

The examples are the same each time. A failure prints the smallest example that fails.
"""

import math
import os

import torch
from hypothesis import HealthCheck, Phase, settings, strategies as st

EXAMPLES = int(os.environ.get("TOY_SCORE_EXAMPLES", "20"))
SHRINK = os.environ.get("TOY_SCORE_SHRINK", "yes") == "yes"  # `campaign/mutants.py` needs no small example
tried = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink] if SHRINK else [Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
"""The decorator of a property."""

f32, f64 = torch.float32, torch.float64


def powers(low, high):
    """Positive numbers of all sizes from `low` to `high`, evenly spread in their logarithm."""
    return st.floats(math.log(low), math.log(high)).map(math.exp)
