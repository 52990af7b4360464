r"""Langevin dynamics: a random walk that follows the score.

At a noise level `r`, the chain `y <- y + (step / 2) score + sqrt(step) z` has, for small steps, `p_r` as its stationary
distribution. Here `y = x / alpha` and `score = (D - y) / r^2`, so the chains run on any schedule; on VE they are
exactly those of the papers. Chains are independent: no norm is taken over a batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from toy_score.checks import check_at_least, check_positive
from toy_score.denoisers import Denoiser
from toy_score.samplers.base import NoiseStream, Sampler
from toy_score.samplers.grids import Geometric
from toy_score.schedules import CLEAN, Level, Schedule

__all__ = ["AnnealedLangevin", "Langevin", "langevin_step"]


def langevin_step(denoiser: Denoiser, x: Tensor, t: Level, step: float, noise: NoiseStream) -> Tensor:
    """`y + (step / 2) score_r(y) + sqrt(step) z`, in `y = x / alpha`; one evaluation."""
    score = t.alpha * denoiser.score(x, t)  # of y
    return x + t.alpha * (0.5 * step * score + step**0.5 * noise.normal())


class _LangevinSampler(Sampler):
    """The common part of the two: the start, and steps that keep `y` from level to level."""

    uniform_start: float | None

    def start(self, schedule: Schedule, noise: NoiseStream) -> Tensor:
        if self.uniform_start is None:
            return super().start(schedule, noise)
        return self.uniform_start * (2.0 * noise.uniform() - 1.0)

    def step_size(self, schedule: Schedule, t: Level) -> float:
        """The size of a step at a level."""
        raise NotImplementedError

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        x = langevin_step(denoiser, x, t, self.step_size(denoiser.schedule, t), noise)
        return x * (s.alpha / t.alpha)

    def last(self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream) -> Tensor:
        return self.step(denoiser, x, t, CLEAN, noise)


@dataclass(frozen=True)
class AnnealedLangevin(_LangevinSampler):
    """Langevin dynamics over decreasing noise levels (Song & Ermon 2019, algorithm 1).

    At each level `sigma_i`, `steps_per_level` steps of size `eps sigma_i^2 / sigma_L^2`, where `sigma_L` is the lowest.

    Args:
        steps_per_level: T >= 1.
        eps: step size at the lowest level, > 0. The chain is stable for `eps < 4 sigma_L^2` and, being unadjusted, ends
            too wide: by a factor `1 / (1 - eps / (4 sigma_L^2))` in the variance that noise contributes.
        n_levels: L >= 2 levels in geometric progression; the number of the schedule if None.
        uniform_start: start uniform on the square `[-w, w]^2` instead of from the schedule's prior.

    Raises:
        ValueError: if an argument is out of range.
    """

    steps_per_level: int = 100
    eps: float = 1e-4
    n_levels: int | None = None
    uniform_start: float | None = None

    def __post_init__(self) -> None:
        check_positive("NCSN's toy uses 1e-4 with sigma_min = 0.01", eps=self.eps)
        if self.n_levels is not None and self.n_levels < 2:
            raise ValueError(f"n_levels must be at least 2, got {self.n_levels}; Langevin has one level, NCSN 10")
        check_at_least(1, steps_per_level=self.steps_per_level)

    def times(self, schedule: Schedule) -> Tensor:
        levels = Geometric()(schedule, schedule.n_levels if self.n_levels is None else self.n_levels)
        return levels.repeat_interleave(self.steps_per_level)

    def step_size(self, schedule: Schedule, t: Level) -> float:
        return self.eps * (t.ratio / schedule.ratios[0]) ** 2


@dataclass(frozen=True)
class Langevin(_LangevinSampler):
    """Plain Langevin dynamics at one noise level (Song & Ermon 2019, eq. 4): it mixes badly between far modes.

    Args:
        n_steps: number of steps, >= 1.
        eps: step size, > 0, stable below `4 sigma^2` at the noise level `sigma`.
        sigma: the noise level `sigma / alpha` at which the chain stays; the schedule's lowest if None.
        uniform_start: start uniform on the square `[-w, w]^2` instead of from the schedule's prior.

    Raises:
        ValueError: if an argument is out of range.
    """

    n_steps: int = 1000
    eps: float = 1e-4
    sigma: float | None = None
    uniform_start: float | None = None

    def __post_init__(self) -> None:
        check_positive(eps=self.eps)
        if self.sigma is not None:
            check_positive("leave it out for the schedule's lowest", sigma=self.sigma)
        check_at_least(1, n_steps=self.n_steps)

    def times(self, schedule: Schedule) -> Tensor:
        ratio = schedule.ratios[0] if self.sigma is None else self.sigma
        return schedule.time(torch.tensor([ratio], dtype=torch.float64)).repeat(self.n_steps)

    def step_size(self, schedule: Schedule, t: Level) -> float:
        return self.eps
