"""Requests for samples: parts of the endless table of samples that a seed defines.

Sample i of a seed depends on the seed and on i alone. A request may therefore be answered in any order, by any process,
and again after an interruption.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from toy_score.seeds import seed_of

__all__ = ["CPU", "SampleRequest", "block_size", "chunk_size", "draw_seeds", "sample_requests"]


CPU = torch.device("cpu")
CPU_BLOCK, GPU_BLOCK = 4096, 65_536
"""Rows that walk together and whose noise is drawn together. The hidden layers of 4096 rows stay in the cache of a CPU,
which is up to 1.5 times as fast as 20 000 at once; a GPU wants to be filled, and every call costs it as much as a small
network. Either bounds the memory, to some 5 and 100 MB."""


class SampleRequest(NamedTuple):
    """Rows `first ... first + n - 1` of the endless table of samples that `seed` defines."""

    first: int
    n: int
    seed: int


def draw_seeds(seed: int, draws: int) -> list[int]:
    """The seeds of so many independent draws of samples."""
    return [seed_of("samples", seed), *(seed_of("samples", seed, k) for k in range(1, draws))]


def block_size(device: torch.device) -> int:
    """The rows of a block on a device."""
    return CPU_BLOCK if device.type == "cpu" else GPU_BLOCK


def chunk_size(total: int, device: torch.device = CPU) -> int:
    """Samples in a chunk: whole blocks of the device, at most 65 536 rows, about twenty chunks if there can be.

    Which chunks there are does not change the samples, only the progress bar and the memory. A chunk that is less than
    a block would be a walk of its own, and would leave most of the noise of the block unused.
    """
    block = block_size(device)
    return block * min(max(math.ceil(total / 20 / block), 1), GPU_BLOCK // block)


def sample_requests(total: int, seeds: Sequence[int], device: torch.device = CPU) -> Iterator[SampleRequest]:
    """The requests for `total` samples of each seed, in chunks."""
    chunk = chunk_size(total, device)
    for seed in seeds:
        for first in range(0, total, chunk):
            yield SampleRequest(first, min(chunk, total - first), seed)
