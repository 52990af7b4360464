"""Pairs of data points and source points, made before the training, so that no step waits for a coupling.

The optimal transport of a batch takes longer than the step that uses it. So a pool of pairs is made once and drawn from
in random order: each pass over it is a new permutation. Everything is a pure function of seeds.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from toy_score.couplings import Coupling
from toy_score.data import Batch
from toy_score.denoisers import Denoiser
from toy_score.distributions import Distribution
from toy_score.progress import watched
from toy_score.samplers import NoiseStream, Sampler
from toy_score.schedules import Schedule
from toy_score.seeds import seed_of

__all__ = ["PairPool", "of_flow", "paired", "pairs_of_data"]


def paired(x0: Tensor, source: Distribution, coupling: Coupling, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Data points, `(n, 2)`, and source points in pairs, `(n, 2)` each."""
    x1 = source.sample(len(x0), generator).to(x0)
    rows0, rows1 = coupling(x0, x1, generator)
    return x0[rows0], x1[rows1]


def pairs_of_data(
    batch: Callable[[int], Batch], source: Distribution, coupling: Coupling, n: int, seed: int
) -> tuple[Tensor, Tensor]:
    """`n` pairs by a coupling, `(n, 2)` each, on the CPU.

    Args:
        batch: batch `k` of the data, a pure function of `k`; the first ones are paired.
        source, coupling: what is paired with them, and how.
        n: how many pairs, >= 1.
        seed: of the source points and the coupling.
    """
    parts: list[Tensor] = []
    while sum(map(len, parts)) < n:
        parts.append(batch(len(parts)).x.cpu())
    generator = torch.Generator().manual_seed(seed_of("pairs", seed))
    size = getattr(coupling, "size", n)
    pairs = [
        paired(x0, source, coupling, generator)
        for x0 in watched(torch.cat(parts)[:n].split(size), "parts", f"pairs by {type(coupling).__name__}")
    ]
    x0, x1 = (torch.cat(points) for points in zip(*pairs, strict=True))
    return x0, x1


def of_flow(denoiser: Denoiser, sampler: Sampler, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """`n` samples of a flow and the source points from which they started, `(n, 2)` each: a coupling of its own.

    Raises:
        ValueError: if the sampler does not follow the flow alone.
    """
    if not sampler.follows_flow:
        raise ValueError(
            f"the pairs of a flow are made by a solver of the flow, not by {type(sampler).__name__}; train the first "
            "model with --model.sampler Heun"
        )
    start: list[Tensor] = []

    def begin(schedule: Schedule, noise: NoiseStream) -> Tensor:
        start.append(sampler.begin(denoiser, noise))
        return start[-1]

    x0 = sampler(denoiser, n, torch.Generator().manual_seed(seed), start=begin)
    return x0, torch.cat(start) / denoiser.schedule.prior_sigma


class PairPool:
    """Pairs, from which batches are drawn.

    Args:
        x0, x1: data points and source points in pairs, `(n, 2)` each.
        seed: of the order.
    """

    def __init__(self, x0: Tensor, x1: Tensor, seed: int):
        self._x0, self._x1, self._seed = x0, x1, seed
        self._order = -1, torch.empty(0, dtype=torch.long)

    def __call__(self, step: int, n: int) -> tuple[Tensor, Tensor]:
        """The `n` pairs of a step, `(n, 2)` each."""
        per_epoch = max(len(self._x0) // n, 1)
        epoch, number = divmod(step, per_epoch)
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(seed_of("order of pairs", self._seed, epoch))
            order = torch.randperm(len(self._x0), generator=generator).to(self._x0.device)
            self._order = epoch, order.repeat(math.ceil(n / len(order)))
        rows = self._order[1][number * n : (number + 1) * n]
        return self._x0[rows], self._x1[rows]
