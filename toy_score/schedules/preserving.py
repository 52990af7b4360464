r"""Schedules that replace signal by noise at constant variance, `alpha^2 + sigma^2 = 1`, and sub-VP.

All are computed from `log alpha`: `sigma^2 = 1 - alpha^2 = -expm1(2 log alpha)` does not cancel near the data, `f` is
its derivative, and `g^2 = -2 f`.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from toy_score.checks import check_positive
from toy_score.constants import Constant
from toy_score.schedules.base import Schedule, check_levels

__all__ = ["DDPM", "VP", "Cosine", "SubVP"]

NO_SIGNAL = 1e6
"""The noise level `sigma / alpha` at which steep schedules end.

Nothing of the data is left there. At higher levels `alpha` is soon 0 in float32.
"""


class _VariancePreserving(Schedule):
    """What follows from `log alpha` where `alpha^2 + sigma^2 = 1`."""

    @abstractmethod
    def log_alpha(self, t: Tensor) -> Tensor:
        """`log alpha(t)`, <= 0."""

    @abstractmethod
    def time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        """Its inverse."""

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        log_alpha = self.log_alpha(t)
        return log_alpha.exp(), (-torch.expm1(2.0 * log_alpha)).sqrt()

    def time_of(self, ratio: Tensor) -> Tensor:
        return self.time_of_log_alpha(-0.5 * torch.log1p(ratio * ratio))

    def diffusion(self, t: Tensor) -> Tensor:
        return torch.sqrt(-2.0 * self.drift(t))

    @cached_property
    def _time_without_signal(self) -> float:
        """The time, perhaps above 1, at which `sigma / alpha` is `NO_SIGNAL`."""
        return self.time_of(torch.tensor(NO_SIGNAL, dtype=torch.float64)).item()


@dataclass(frozen=True)
class VP(_VariancePreserving):
    """Variance preserving: `log alpha(t) = -t^2 (beta_max - beta_min) / 4 - t beta_min / 2`, `alpha^2 + sigma^2 = 1`.

    DDPM's chain in continuous time, `dx = -beta(t) x / 2 dt + sqrt(beta(t)) dw` with a linear `beta` (Song et al. 2021,
    eqs. 11 and 32-33). The schedule ends at `t = 1`, or where `sigma / alpha` is 1e6 if `beta` rises steeply.

    Args:
        beta_min: `beta(0)`, > 0; the paper's 0.1.
        beta_max: `beta(1)`; the paper's 20.
        sigma_min: the lowest noise level `sigma / alpha` that is trained and sampled, > 0.

    Raises:
        ValueError: if `0 < beta_min < beta_max` fails, or the noise never exceeds `sigma_min`.

    Example:
        >>> alpha, sigma = VP()(torch.tensor([0.1, 0.5, 0.9]))
        >>> alpha
        tensor([0.9467, 0.2812, 0.0170])
        >>> (alpha**2 + sigma**2).round(decimals=4)
        tensor([1., 1., 1.])
    """

    widest: ClassVar[str] = "beta_max"

    beta_min: float = 0.1
    beta_max: float = 20.0
    sigma_min: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.beta_min < self.beta_max < math.inf:
            raise ValueError(
                f"betas must satisfy 0 < beta_min < beta_max, got {self.beta_min} and {self.beta_max}; swap them?"
            )
        check_levels(self.sigma_min, self.ratio(torch.tensor(self.t_max, dtype=torch.float64)).item())

    @property
    def t_max(self) -> float:
        return min(1.0, self._time_without_signal)

    @cached_property
    def t_min(self) -> float:
        return self.time_of(torch.tensor(self.sigma_min, dtype=torch.float64)).item()

    def log_alpha(self, t: Tensor) -> Tensor:
        return -0.25 * (self.beta_max - self.beta_min) * t * t - 0.5 * self.beta_min * t

    def time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        q = torch.sqrt(0.25 * self.beta_min**2 - (self.beta_max - self.beta_min) * log_alpha)
        return -2.0 * log_alpha / (q + 0.5 * self.beta_min)  # the root that does not cancel

    def drift(self, t: Tensor) -> Tensor:
        return -0.5 * (self.beta_min + t * (self.beta_max - self.beta_min))


@dataclass(frozen=True)
class SubVP(VP):
    """Sub-VP: the signal of `VP` with less noise, `sigma = 1 - alpha^2` (Song et al. 2021, eqs. 12 and 29).

    `g^2 = beta (1 - alpha^4)`. The arguments are those of `VP`.

    Example:
        >>> t = torch.tensor([0.1, 0.5, 0.9])
        >>> SubVP().sigma(t), VP().sigma(t)
        (tensor([0.1037, 0.9209, 0.9997]), tensor([0.3221, 0.9597, 0.9999]))
    """

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        log_alpha = self.log_alpha(t)
        return log_alpha.exp(), -torch.expm1(2.0 * log_alpha)

    def time_of(self, ratio: Tensor) -> Tensor:
        # sigma / alpha = 1 / alpha - alpha = -2 sinh(log alpha)
        return self.time_of_log_alpha(-torch.asinh(0.5 * ratio))

    def diffusion(self, t: Tensor) -> Tensor:
        return torch.sqrt(2.0 * self.drift(t) * torch.expm1(4.0 * self.log_alpha(t)))


@dataclass(frozen=True)
class Cosine(_VariancePreserving):
    """The cosine schedule: `alpha(t) = cos(theta(t)) / cos(theta(0))`, `theta(t) = (t + s) / (1 + s) pi / 2`.

    Nichol & Dhariwal 2021, eq. 17. At `t = 1` there is only noise. The paper clips its betas; this schedule ends where
    `sigma / alpha` is `sigma_max`.

    Args:
        s: offset, > 0, without which the first steps would be too small; the paper's 0.008.
        sigma_min: the lowest noise level `sigma / alpha`, > 0.
        sigma_max: the highest, at most 1e6.

    Raises:
        ValueError: if `s` is not positive or `0 < sigma_min < sigma_max <= 1e6` fails.

    Example:
        >>> Cosine().alpha(torch.tensor([0.1, 0.5, 0.9]))
        tensor([0.9859, 0.7027, 0.1552])
    """

    s: float = 0.008
    sigma_min: float = 0.01
    sigma_max: float = 100.0

    def __post_init__(self) -> None:
        check_positive("the paper uses 0.008", s=self.s)
        check_levels(self.sigma_min, self.sigma_max, NO_SIGNAL)

    @cached_property
    def t_min(self) -> float:
        return self.time_of(torch.tensor(self.sigma_min, dtype=torch.float64)).item()

    @cached_property
    def t_max(self) -> float:
        return self.time_of(torch.tensor(self.sigma_max, dtype=torch.float64)).item()

    @property
    def _theta0(self) -> float:
        return self.s / (1.0 + self.s) * math.pi / 2.0

    @property
    def _speed(self) -> float:
        return math.pi / 2.0 / (1.0 + self.s)

    def log_alpha(self, t: Tensor) -> Tensor:
        half = 0.5 * self._speed * t  # cos(theta) - cos(theta0) as a product, which does not cancel near the data
        return torch.log1p(-2.0 * torch.sin(self._theta0 + half) * torch.sin(half) / math.cos(self._theta0))

    def time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        cos0, sin0 = math.cos(self._theta0), math.sin(self._theta0)
        # sin(theta - theta0) and cos(theta - theta0) as sums of positive terms: theta - theta0 cancels near the data.
        rise = -(cos0**2) * torch.expm1(2.0 * log_alpha)  # sin^2(theta) - sin^2(theta0)
        sin = torch.sqrt(sin0**2 + rise)
        sin_step = cos0 * (rise / (sin + sin0) - sin0 * torch.expm1(log_alpha))
        return torch.atan2(sin_step, cos0**2 * log_alpha.exp() + sin0 * sin) / self._speed

    def drift(self, t: Tensor) -> Tensor:
        return -self._speed * torch.tan(self._theta0 + self._speed * t)


@dataclass(frozen=True)
class DDPM(_VariancePreserving):
    """The ladder of `n_steps` steps of DDPM: `alpha(i / T)^2 = prod_{j <= i} (1 - beta_j)`, `sigma^2 = 1 - alpha^2`.

    `beta_1 ... beta_T` rise linearly from `beta_min` to `beta_max` (Ho et al. 2020, section 4). Step `i` of T sits at
    `t = i / T`; between two steps, `log alpha` is interpolated linearly, that is, `beta` is constant. A steep ladder
    ends at the last step where `sigma / alpha` is at most 1e6, since nothing of the data is left beyond.

    Args:
        beta_min: variance of the first step, in (0, 1).
        beta_max: variance of the last step, in (0, 1).
        n_steps: T, >= 2. With few steps raise `beta_max`, or the last level still carries signal.

    Raises:
        ValueError: if `0 < beta_min <= beta_max < 1` fails, or `n_steps < 2`.

    Example:
        >>> schedule = DDPM(n_steps=1000)
        >>> schedule.alpha(torch.tensor([0.001, 0.1, 0.5, 1.0]))  # after 1, 100, 500 and 1000 steps
        tensor([0.9999, 0.9471, 0.2803, 0.0064])
    """

    widest: ClassVar[str] = "beta_max"

    beta_min: float = 1e-4
    beta_max: float = 0.02
    n_steps: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.beta_min <= self.beta_max < 1:
            raise ValueError(
                f"betas must satisfy 0 < beta_min <= beta_max < 1, got {self.beta_min} and {self.beta_max}; swap them?"
            )
        if self.n_steps < 2:
            raise ValueError(f"n_steps must be at least 2, got {self.n_steps}; DDPM uses 1000")

    @property
    def t_min(self) -> float:
        return 1.0 / self.n_steps

    @property
    def t_max(self) -> float:
        return self._last / self.n_steps

    @property
    def _last(self) -> int:
        """The step at which the ladder ends: T unless it is too steep, at least 2."""
        return max(2, min(self.n_steps, math.floor(self.n_steps * self._time_without_signal)))

    @cached_property
    def betas(self) -> Tensor:
        """`beta_1 ... beta_T`, `(T,)` float64."""
        return torch.linspace(self.beta_min, self.beta_max, self.n_steps, dtype=torch.float64)

    @cached_property
    def _log_alpha(self) -> Constant:
        """`log alpha` at `t = 0, 1/T, ..., 1`, `(T + 1,)` float64."""
        return Constant(torch.nn.functional.pad(0.5 * torch.log1p(-self.betas).cumsum(0), (1, 0)))

    def _position(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """`t` in steps, and the step below."""
        position = (t * self.n_steps).clamp(0, self.n_steps)
        return position, position.long().clamp(max=self.n_steps - 1)

    def log_alpha(self, t: Tensor) -> Tensor:
        table, (position, below) = self._log_alpha.like(t), self._position(t)
        return torch.lerp(table[below], table[below + 1], position - below)

    def time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        table = self._log_alpha.like(log_alpha)
        index = torch.searchsorted(-table, -log_alpha.contiguous()).clamp(1, self.n_steps)
        position = index + (log_alpha - table[index]) / (table[index] - table[index - 1])
        return position / self.n_steps

    def drift(self, t: Tensor) -> Tensor:
        # At a step boundary use the beta of the step that ends there; subtracting 1e-3 guards against rounding.
        table, position = self._log_alpha.like(t), self._position(t)[0]
        step = (position - 1e-3).ceil().long().clamp(1, self.n_steps)
        return (table[step] - table[step - 1]) * self.n_steps

    @cached_property
    def ladder(self) -> Tensor:
        return torch.arange(self._last, 0, -1, dtype=torch.float64) / self.n_steps
