r"""Particle methods: weights carried along the reverse chain, and resampling by them.

For a target `p_t h_t` (see `posteriors.Twisted`), a step proposes `x_s ~ q(x_s | x_t)` and multiplies the weight by

    w = p(x_s | x_t) h_s(x_s) / (q(x_s | x_t) h_t(x_t)),

where `p(x_s | x_t)` is the prior's ancestral step. Whatever `h` is between the ends, the weighted particles are those
of the chain `p` times `h_0`: with many particles the samples have the posterior of the prior's own samples. When the
weights have become uneven, the particles are drawn anew in proportion to them.

The particles of a block of rows are one population. A block is the unit in which noise is drawn, so sample i depends on
its seed and its block only, not on the number of samples, chunks or devices. With several particles per sample, the
population is as many times larger, and the last resampling draws the samples from it.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from toy_score.checks import check_at_least
from toy_score.denoisers import Denoiser
from toy_score.posteriors import Twist, Twisted
from toy_score.requests import block_size
from toy_score.samplers.ancestral import forward_step
from toy_score.samplers.base import GridSampler, MultistepSampler, NoiseStream, Start, Trajectory, draw_seed
from toy_score.samplers.grids import Angular, Grid
from toy_score.schedules import Level

__all__ = ["FeynmanKac", "ParticleSampler", "Population", "TwistedDiffusion"]


class Population(NamedTuple):
    """The particles' memory, `(n,)` each.

    Attributes:
        log_w: logarithms of the weights since the last resampling.
        log_mean: logarithm of the mean weight of the block up to there: an estimate of the normalising constant.
        ess: effective sample size of the block before this step's resampling, as a share of its particles.
        ancestors: the row that each particle was before this step's resampling; None if there was none.
        twist: what the denoiser says at the particles; None at the data, or if there is nothing to weight.
    """

    log_w: Tensor
    log_mean: Tensor
    ess: Tensor
    ancestors: Tensor | None = None
    twist: Twist | None = None


class _Several(NoiseStream):
    """Noise for several particles per row: those of a block are one after the other."""

    def __init__(self, seed: int, first: int, n: int, device: torch.device, per_row: int):
        super().__init__(seed, first, n, device)
        self._per_row = per_row

    def _draw(self, law: Callable[..., Tensor]) -> Tensor:
        return torch.cat([super(_Several, self)._draw(law) for _ in range(self._per_row)])


class ParticleSampler(MultistepSampler[Population], GridSampler):
    """Particles with weights; a subclass defines `propose`.

    With a denoiser that has nothing to weight by, not a `Twisted` one, it is ancestral sampling.

    Args:
        n_steps: number of steps, >= 1, as many evaluations.
        grid: at which times they begin.
        threshold: resample a block when its effective sample size is below this share of its particles, in [0, 1].
        per_sample: particles per sample, >= 1; the cost is proportional, the variance due to the weights falls as 1/M.

    Raises:
        ValueError: if an argument is out of range.
    """

    threshold: float
    per_sample: int

    def __post_init__(self) -> None:
        check_at_least(1, n_steps=self.n_steps, per_sample=self.per_sample)
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {self.threshold}; 0.5 is common, 0 never resamples")

    @abstractmethod
    def guided(self, twist: Twist, t: Level) -> Tensor:
        """The clean points that the proposal steps towards, `(n, 2)`."""

    def multistep(
        self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream, memory: Population | None
    ) -> tuple[Tensor, Population]:
        a, b = forward_step(t, s)
        keep = (s.sigma / t.sigma) ** 2
        towards, variance = s.alpha * b / t.sigma**2, b * keep
        z, u = noise.normal(), noise.uniform()[:, 0]
        if not isinstance(denoiser, Twisted):
            return a * keep * x + towards * denoiser.denoise(x, t) + variance**0.5 * z, self._uniform(x)
        now = denoiser.twist(x, t) if memory is None or memory.twist is None else memory.twist
        before = self._uniform(x)._replace(log_w=now.log_h) if memory is None else memory
        shift = towards * (self.guided(now, t) - now.mean)
        x = a * keep * x + towards * now.mean + shift + variance**0.5 * z
        # log p(x_s | x_t) / q(x_s | x_t), two Gaussians whose means differ by the shift
        ratio = -((shift / variance**0.5) * (z + 0.5 * shift / variance**0.5)).sum(dim=-1)
        after = denoiser.twist(x, s)
        log_w = before.log_w + ratio + after.log_h - now.log_h
        population, k = self._resampled(before._replace(log_w=log_w), u, self.threshold)
        if k is None:
            return x, population._replace(twist=after)
        return x[k], population._replace(twist=Twist(*(part[k] for part in after)))

    def multistep_last(
        self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream, memory: Population | None
    ) -> tuple[Tensor, Population]:
        """The prior's denoised points, resampled by their final weights."""
        u = noise.uniform()[:, 0]
        if not isinstance(denoiser, Twisted):
            return denoiser.denoise(x, t), self._uniform(x)
        now = denoiser.twist(x, t) if memory is None or memory.twist is None else memory.twist
        before = self._uniform(x)._replace(log_w=now.log_h) if memory is None else memory
        x = now.mean
        log_w = before.log_w + denoiser.log_h(x) - now.log_h
        population, k = self._resampled(before._replace(log_w=log_w, twist=None), u, math.inf)
        return x if k is None else x[k], population

    @staticmethod
    def _uniform(x: Tensor) -> Population:
        return Population(x.new_zeros(len(x)), x.new_zeros(len(x)), x.new_ones(len(x)))

    def _resampled(self, population: Population, u: Tensor, threshold: float) -> tuple[Population, Tensor | None]:
        """The population after resampling the blocks whose effective size is below a share, and the rows it takes.

        Systematic resampling: one uniform number, that of the block's first row, and evenly spaced steps from it.
        """
        block = self.per_sample * block_size(u.device)
        parts, chosen = [], []
        for first in range(0, len(u), block):
            log_w = population.log_w[first : first + block].double()
            n = len(log_w)
            w = log_w.softmax(dim=0)
            ess = 1.0 / (n * w.square().sum())
            rows, gained = torch.arange(n, device=u.device), torch.zeros_like(log_w)
            if ess < threshold:
                ticks = (torch.arange(n, device=u.device) + u[first].double()) / n
                rows = torch.searchsorted(w.cumsum(dim=0), ticks).clamp(max=n - 1)
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


@dataclass(frozen=True)
class TwistedDiffusion(ParticleSampler):
    """The twisted diffusion sampler (Wu et al. 2023): the corrected denoiser proposes, the weights do the rest.

    Exact for many particles, whatever rule corrects the denoiser; the rule decides how many are needed.

    Args:
        n_steps: number of steps, >= 1, as many evaluations.
        grid: at which times they begin.
        threshold: resample a block when its effective sample size is below this share of its particles, in [0, 1].
        per_sample: particles per sample, >= 1; the cost is proportional, the variance due to the weights falls as 1/M.
    """

    n_steps: int = 256
    grid: Grid = Angular()
    threshold: float = 0.5
    per_sample: int = 1

    def guided(self, twist: Twist, t: Level) -> Tensor:
        return twist.mean + t.ratio**2 * twist.gradient


@dataclass(frozen=True)
class FeynmanKac(ParticleSampler):
    """Feynman-Kac steering (Singhal et al. 2025): the prior proposes, and all correction is by the weights.

    It needs no gradient of `h_t`, and many more particles than `TwistedDiffusion`.

    Args:
        n_steps: number of steps, >= 1, as many evaluations.
        grid: at which times they begin.
        threshold: resample a block when its effective sample size is below this share of its particles, in [0, 1].
        per_sample: particles per sample, >= 1; the cost is proportional, the variance due to the weights falls as 1/M.
    """

    n_steps: int = 256
    grid: Grid = Angular()
    threshold: float = 0.5
    per_sample: int = 1

    def guided(self, twist: Twist, t: Level) -> Tensor:
        return twist.mean
