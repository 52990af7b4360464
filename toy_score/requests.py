"""Requests for samples: parts of the endless table of samples that a seed defines.

Sample i of a seed depends on the seed and on i alone. A request may therefore be answered in any order, by any process,
and again after an interruption.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from toy_score.seeds import seed_of

__all__ = ["SampleRequest", "chunk_size", "draw_seeds", "sample_requests"]


class SampleRequest(NamedTuple):
    """Rows `first ... first + n - 1` of the endless table of samples that `seed` defines."""

    first: int
    n: int
    seed: int


def draw_seeds(seed: int, draws: int) -> list[int]:
    """The seeds of so many independent draws of samples."""
    return [seed_of("samples", seed), *(seed_of("samples", seed, k) for k in range(1, draws))]


def chunk_size(total: int) -> int:
    """Samples in a chunk: whole blocks of noise, at most 16, about twenty chunks if there can be.

    Which chunks there are does not change the samples, only the progress bar and the memory.
    """
    return 4096 * min(max(math.ceil(total / 20 / 4096), 1), 16)


def sample_requests(total: int, seeds: Sequence[int]) -> Iterator[SampleRequest]:
    """The requests for `total` samples of each seed, in chunks."""
    chunk = chunk_size(total)
    for seed in seeds:
        for first in range(0, total, chunk):
            yield SampleRequest(first, min(chunk, total - first), seed)
