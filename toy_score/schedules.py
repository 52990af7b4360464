r"""Noise schedules: how much signal and how much noise remain at time `t`.

A schedule is two functions of `t` in [0, 1], from data (0) to noise (1):

    x_t = alpha(t) x_0 + sigma(t) eps,    eps ~ N(0, I).

Everything else follows. In Karras' variables, `x / alpha` and `sigma / alpha`, all schedules are one and the same
process run at different speeds (Karras et al. 2022, section 2), so the ratio `sigma / alpha` is the common currency:
`time(ratio)` inverts it, and samplers that think in noise levels run on any schedule.

The discrete ladders of NCSN (L noise levels) and DDPM (T steps) are grids on this axis, not schedules of another kind.
"""

import math
from abc import ABC, abstractmethod
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from toy_score.component import Component

__all__ = ["CLEAN", "DDPM", "VE", "Level", "Schedule"]


class Level(NamedTuple):
    """A point of the time axis with its `alpha` and `sigma`: numbers, or tensors that broadcast against `(n, 1)`."""

    time: float | Tensor
    alpha: float | Tensor
    sigma: float | Tensor

    @property
    def ratio(self) -> float | Tensor:
        """`sigma / alpha`: the noise level in Karras' variables."""
        return self.sigma / self.alpha


CLEAN = Level(0.0, 1.0, 0.0)
"""The data: where the last step of every sampler leads."""


class Schedule(Component, ABC):
    """Signal and noise as functions of `t`; tensors of any shape go in, tensors of that shape come out."""

    t_min: float = 0.0
    """The lowest time at which there is noise to remove; samplers step from here to the data."""

    @abstractmethod
    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """`(alpha, sigma)`: scale of the signal, in (0, 1], and standard deviation of the noise, >= 0."""

    @abstractmethod
    def time(self, ratio: Tensor) -> Tensor:
        """The `t` at which `sigma / alpha` equals `ratio`, clamped to [`t_min`, 1]."""

    @cached_property
    @abstractmethod
    def ladder(self) -> Tensor:
        """The model's own discrete levels: float64 times, descending from 1 to `t_min`."""

    def level(self, t: Tensor) -> Level:
        """The level at time `t`."""
        return Level(t, *self(t))

    def alpha(self, t: Tensor) -> Tensor:
        """Scale of the signal, in (0, 1]."""
        return self(t)[0]

    def sigma(self, t: Tensor) -> Tensor:
        """Standard deviation of the noise, >= 0."""
        return self(t)[1]

    def ratio(self, t: Tensor) -> Tensor:
        """`sigma(t) / alpha(t)`, the noise level in Karras' variables."""
        alpha, sigma = self(t)
        return sigma / alpha

    @cached_property
    def ratios(self) -> tuple[float, float]:
        """The lowest and the highest `sigma / alpha` of the schedule."""
        low, high = self.ratio(torch.tensor([self.t_min, 1.0], dtype=torch.float64)).tolist()
        return low, high


class VE(Schedule):
    """Variance exploding: `alpha = 1`, `sigma(t) = sigma_min (sigma_max / sigma_min)^t`.

    Its ladder of `n_levels` evenly spaced times is NCSN's geometric sequence of noise levels (Song & Ermon 2019,
    section 3.2); in continuous time it is the VE SDE (Song et al. 2021, eq. 9).

    Args:
        sigma_min: the lowest noise level, > 0; below the finest detail of the data.
        sigma_max: the highest; well above the data's diameter, or the prior `N(0, sigma_max^2 I)` is visibly wrong.
        n_levels: L, how many levels the ladder has, >= 2.

    Raises:
        ValueError: if `0 < sigma_min < sigma_max` fails, or `n_levels < 2`.
    """

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 20.0, n_levels: int = 10):
        if not (sigma_min > 0 and math.isfinite(sigma_min)):
            raise ValueError(f"sigma_min must be a positive number, got {sigma_min}; NCSN uses 0.01")
        if not (sigma_min < sigma_max < math.inf):
            raise ValueError(f"sigma_min must be below sigma_max, got {sigma_min} >= {sigma_max}; swap them?")
        if n_levels < 2:
            raise ValueError(f"n_levels must be at least 2, got {n_levels}; NCSN uses 10")
        self.sigma_min, self.sigma_max, self.n_levels = sigma_min, sigma_max, n_levels

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), self.sigma_min * torch.exp(t * math.log(self.sigma_max / self.sigma_min))

    def time(self, ratio: Tensor) -> Tensor:
        return (torch.log(ratio / self.sigma_min) / math.log(self.sigma_max / self.sigma_min)).clamp(0.0, 1.0)

    @cached_property
    def ladder(self) -> Tensor:
        return torch.linspace(1.0, 0.0, self.n_levels, dtype=torch.float64)


class DDPM(Schedule):
    """The ladder of `n_steps` steps of DDPM: `alpha(i / T)^2 = prod_{j <= i} (1 - beta_j)`, `sigma^2 = 1 - alpha^2`.

    `beta_1 ... beta_T` rise linearly from `beta_min` to `beta_max` (Ho et al. 2020, section 4). Step `i` of T sits at
    `t = i / T`; between two steps, `log alpha` is interpolated linearly, that is, `beta` is constant.

    Args:
        beta_min: variance of the first step, in (0, 1).
        beta_max: variance of the last step, in (0, 1).
        n_steps: T, >= 2. With few steps raise `beta_max`, or the last level still carries signal.

    Raises:
        ValueError: if `0 < beta_min <= beta_max < 1` fails, or `n_steps < 2`.
    """

    def __init__(self, beta_min: float = 1e-4, beta_max: float = 0.02, n_steps: int = 1000):
        if not 0 < beta_min <= beta_max < 1:
            raise ValueError(
                f"betas must satisfy 0 < beta_min <= beta_max < 1, got {beta_min} and {beta_max}; swap them?"
            )
        if n_steps < 2:
            raise ValueError(f"n_steps must be at least 2, got {n_steps}; DDPM uses 1000")
        self.beta_min, self.beta_max, self.n_steps = beta_min, beta_max, n_steps
        self.t_min = 1.0 / n_steps
        self._tables: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    @cached_property
    def betas(self) -> Tensor:
        """`beta_1 ... beta_T`, `(T,)` float64."""
        return torch.linspace(self.beta_min, self.beta_max, self.n_steps, dtype=torch.float64)

    @cached_property
    def _log_alpha(self) -> Tensor:
        """`log alpha` at `t = 0, 1/T, ..., 1`, `(T + 1,)` float64."""
        return torch.nn.functional.pad(0.5 * torch.log1p(-self.betas).cumsum(0), (1, 0))

    def _table(self, like: Tensor) -> Tensor:
        key = (like.device, like.dtype)
        if key not in self._tables:
            self._tables[key] = self._log_alpha.to(like)
        return self._tables[key]

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        table = self._table(t)
        position = (t * self.n_steps).clamp(0, self.n_steps)
        below = position.long().clamp(max=self.n_steps - 1)
        log_alpha = torch.lerp(table[below], table[below + 1], position - below)
        return log_alpha.exp(), (-torch.expm1(2.0 * log_alpha)).sqrt()  # 1 - alpha^2 would cancel near t = 0

    def time(self, ratio: Tensor) -> Tensor:
        log_alpha = -0.5 * torch.log1p(ratio * ratio)
        table = self._table(ratio)
        index = torch.searchsorted(-table, -log_alpha.contiguous()).clamp(1, self.n_steps)
        position = index + (log_alpha - table[index]) / (table[index] - table[index - 1])
        return (position / self.n_steps).clamp(self.t_min, 1.0)

    @cached_property
    def ladder(self) -> Tensor:
        return torch.arange(self.n_steps, 0, -1, dtype=torch.float64) / self.n_steps
