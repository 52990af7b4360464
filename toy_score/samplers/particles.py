r"""Particles: samples with weights, which are drawn anew in proportion to their weights when these are uneven.

Resampling adds noise of its own. It is systematic, evenly spaced steps through the summed weights, and the particles
stand in the order of a curve through the plane: so each region gets its share of the offspring, up to one, and nearly
no noise is added (Gerber, Chopin & Whiteley 2019). Then the samples are shuffled.

The particles of a block of rows are one population. A block is the unit in which noise is drawn, so sample i depends on
its seed and its block only, not on the number of samples, chunks or devices. With several particles per sample, the
population is as many times larger, and the last resampling draws the samples from it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from toy_score.checks import check_at_least
from toy_score.denoisers import Denoiser
from toy_score.requests import block_size
from toy_score.samplers.base import GridSampler, MultistepSampler, NoiseStream, Start, Trajectory, draw_seed
from toy_score.samplers.grids import Angular, Grid

__all__ = ["ParticleSampler", "Population"]


class Population(NamedTuple):
    """The particles' memory, `(n,)` each.

    Attributes:
        log_w: logarithms of the weights since the last resampling.
        log_mean: logarithm of the mean weight of the block up to there: an estimate of the normalising constant.
        ess: effective sample size of the block before this step's resampling, as a share of its particles.
        ancestors: the row that each particle was before this step's resampling; None if there was none.
        evaluation: what the denoiser says at the particles, for the next step; None at the data.
    """

    log_w: Tensor
    log_mean: Tensor
    ess: Tensor
    ancestors: Tensor | None = None
    evaluation: Any = None


class _Several(NoiseStream):
    """Noise for several particles per row: those of a block are one after the other."""

    def __init__(self, seed: int, first: int, n: int, device: torch.device, per_row: int):
        super().__init__(seed, first, n, device)
        self._per_row = per_row

    def _draw(self, law: Callable[..., Tensor]) -> Tensor:
        return torch.cat([super(_Several, self)._draw(law) for _ in range(self._per_row)])


@dataclass(frozen=True)
class ParticleSampler(MultistepSampler[Population], GridSampler):
    """Particles with weights, in blocks; a subclass defines the steps, `multistep` and `multistep_last`.

    Args:
        n_steps: number of steps, >= 1, as many evaluations.
        grid: at which times they begin.
        threshold: resample a block when its effective sample size is below this share of its particles, in [0, 1].
        per_sample: particles per sample, M >= 1. The cost is proportional to M, and the variance of averages over a
            block falls as 1 / M, with enough of them below that of independent samples.

    Raises:
        ValueError: if an argument is out of range.
    """

    n_steps: int = 256
    grid: Grid = Angular()
    threshold: float = 0.5
    per_sample: int = 2

    def __post_init__(self) -> None:
        check_at_least(1, n_steps=self.n_steps, per_sample=self.per_sample)
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {self.threshold}; 0.5 is common, 0 never resamples")

    def block(self, x: Tensor) -> int:
        """The particles of a block, on the device of `x`."""
        return self.per_sample * block_size(x.device)

    @staticmethod
    def unweighted(x: Tensor) -> Population:
        """Particles of equal weights."""
        return Population(x.new_zeros(len(x)), x.new_zeros(len(x)), x.new_ones(len(x)))

    def resampled(
        self, population: Population, x: Tensor, u: Tensor, threshold: float
    ) -> tuple[Population, Tensor | None]:
        """The population after resampling the blocks whose effective size is below a share, and the rows it takes.

        Args:
            population: its weights.
            x: where the particles are, `(n, 2)`.
            u: uniform numbers, `(n, 2)`: the first of a block is where its steps begin, the second ones shuffle.
            threshold: the share; every block is resampled if it is above 1.
        """
        block = self.block(u)
        parts, chosen = [], []
        for first in range(0, len(u), block):
            log_w = population.log_w[first : first + block].double()
            there = log_w.isfinite()  # not so of particles that have left for infinity, as some do with a network
            log_w = torch.where(there | ~there.any(), log_w.nan_to_num(0.0, 0.0, 0.0), -math.inf)
            n = len(log_w)
            w = log_w.softmax(dim=0)
            ess = 1.0 / (n * w.square().sum())
            rows, gained = torch.arange(n, device=u.device), torch.zeros_like(log_w)
            if ess < threshold:
                order = along_a_curve(x[first : first + n])
                ticks = (torch.arange(n, device=u.device) + u[first, 0].double()) / n
                taken = torch.searchsorted(w[order].cumsum(dim=0), ticks).clamp(max=n - 1)
                shuffled = u[first : first + n : self.per_sample, 1].argsort()  # those of a sample stay together
                rows = order[taken].view(-1, self.per_sample)[shuffled].flatten()
                gained += log_w.logsumexp(dim=0) - math.log(n)
                log_w = torch.zeros_like(log_w)
            gained += population.log_mean[first : first + n]
            parts.append(torch.stack([log_w, gained, ess.expand(n)]).to(u.dtype))
            chosen.append(rows + first)
        log_w, log_mean, ess = torch.cat(parts, dim=1)
        k = torch.cat(chosen)
        moved = bool((k != torch.arange(len(k), device=k.device)).any())
        return Population(log_w, log_mean, ess, k if moved else None), k if moved else None

    # Whole blocks, whatever part of them is asked for

    def __call__(
        self,
        denoiser: Denoiser,
        n: int,
        generator: Generator | None = None,
        first: int = 0,
        start: Start | None = None,
    ) -> Tensor:
        """As for every sampler; whole blocks are sampled, so a few samples cost as much as 4096 of them."""
        if n < 1:
            raise ValueError(f"the number of samples must be at least 1, got {n}")
        seed, device = draw_seed(generator)
        block, begin = block_size(device), start or self.start
        chunks = []
        for k in range(first // block, -(-(first + n) // block)):
            noise = self.stream(seed, k * block, block, device)
            x = self.walk(denoiser, begin(denoiser.schedule, noise), noise)[:: self.per_sample]
            chunks.append(x[max(first - k * block, 0) : first + n - k * block])
        return torch.cat(chunks)

    def trajectory(
        self, denoiser: Denoiser, n: int, generator: Generator | None = None, every: int = 1, skip: int = 0
    ) -> Trajectory:
        """As for every sampler, for at most a block of samples; the path of a sample is that of its ancestors."""
        device = generator.device if generator is not None else torch.device("cpu")
        if n > block_size(device):
            raise ValueError(f"{type(self).__name__} records at most {block_size(device)} paths, got {n}")
        path = super().trajectory(denoiser, block_size(device), generator, every, skip)
        return Trajectory(path.x[:, :: self.per_sample][:, :n], path.ratio, path.alpha)

    def stream(self, seed: int, first: int, n: int, device: torch.device) -> NoiseStream:
        return _Several(seed, first, n, device, self.per_sample)

    def ancestry(self, positions: list[Tensor], memory: Population | None) -> list[Tensor]:
        k = None if memory is None else memory.ancestors
        return positions if k is None else [x[k] for x in positions]


def along_a_curve(x: Tensor) -> Tensor:
    """The rows of points `(n, 2)` in an order in which neighbours are near: up and down in strips of as many points."""
    by_x = x[:, 0].argsort()
    strip = torch.empty_like(by_x)
    n_strips = max(math.isqrt(len(x)) // 2, 1)
    strip[by_x] = torch.arange(len(x), device=x.device) * n_strips // len(x)
    height = x[:, 1].argsort().argsort() / len(x)  # ranks, whatever the unit of length
    return (strip + torch.where(strip % 2 == 0, height, 1.0 - height)).argsort()
