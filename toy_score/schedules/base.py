r"""Noise schedules: how much signal and how much noise remain at time `t`.

A schedule is two functions of `t`, from data (0) to noise (1):

    x_t = alpha(t) x_0 + sigma(t) eps,    eps ~ N(0, I).

They are the marginals of a stochastic differential equation, `dx = f(t) x dt + g(t) dw` (Song et al. 2021, eq. 5) with

    f = d log alpha / dt,    g^2 = d sigma^2 / dt - 2 f sigma^2 = alpha^2 d(r^2) / dt,    r = sigma / alpha.

In Karras' variables, `x / alpha` and `r`, all schedules are the same process at different speeds (Karras et al. 2022,
section 2). So the ratio `r` has the same meaning for all of them: `time(ratio)` is its inverse, and samplers defined by
noise levels run on any schedule.

The discrete noise levels of NCSN (L levels) and DDPM (T steps), called the *ladder*, are grids on this time axis.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Generic

import torch
from torch import Tensor
from typing_extensions import TypeVar

from toy_score.component import Component

__all__ = ["CLEAN", "Level", "Levels", "Schedule", "check_levels"]


Value = TypeVar("Value", float, Tensor, default=float)


@dataclass(frozen=True)
class Level(Generic[Value]):
    """A point of the time axis with its `alpha` and `sigma`.

    A `Level` holds numbers: one level for all points. `Levels` are tensors that broadcast against `(n, 1)`: a level for
    each point.
    """

    time: Value
    alpha: Value
    sigma: Value

    def __iter__(self) -> Iterator[Value]:
        return iter((self.time, self.alpha, self.sigma))

    @property
    def ratio(self) -> Value:
        """`r = sigma / alpha`: the noise level in Karras' variables."""
        return self.sigma / self.alpha

    @property
    def radius(self) -> Value:
        """`sqrt(alpha^2 + sigma^2)`: 1 where the variance is preserved."""
        return (self.alpha**2 + self.sigma**2) ** 0.5

    @property
    def angle(self: "Level[float]") -> float:
        """`phi = arctan r`, for a level of numbers: from 0 for data towards pi / 2 for noise."""
        return math.atan2(self.sigma, self.alpha)


Levels = Level[Tensor]

EXTREME = 1e30
"""No level of a schedule is above this or below its inverse."""

CLEAN = Level(0.0, 1.0, 0.0)
"""The data: where the last step of every sampler leads."""


class Schedule(Component, ABC):
    """Signal and noise as functions of `t`; tensors of any shape go in, tensors of that shape come out."""

    n_levels: int = 10
    """L: how many noise levels annealed Langevin dynamics takes by default."""

    n_steps: int = 1000
    """T: how many steps a discrete chain over the schedule has by default (Song et al. 2021: 1000)."""

    widest: ClassVar[str] = "sigma_max"
    """The argument that sets the highest noise level; raise it where the prior is wrong."""

    @property
    def t_min(self) -> float:
        """The lowest time at which there is noise to remove; samplers step from here to the data."""
        return 0.0

    @property
    def t_max(self) -> float:
        """The highest time; below 1 where `alpha(1) = 0`, since the data have no influence there."""
        return 1.0

    @abstractmethod
    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """`(alpha, sigma)`: scale of the signal, in (0, 1], and standard deviation of the noise, >= 0."""

    @abstractmethod
    def time_of(self, ratio: Tensor) -> Tensor:
        """The `t` at which `sigma / alpha` equals `ratio`, for any ratio > 0 the formula admits."""

    @abstractmethod
    def drift(self, t: Tensor) -> Tensor:
        """`f(t) = d log alpha / dt`, <= 0, per unit of `t`."""

    @abstractmethod
    def diffusion(self, t: Tensor) -> Tensor:
        """`g(t) >= 0`, with `g^2 = d sigma^2 / dt - 2 f sigma^2`."""

    @cached_property
    def ladder(self) -> Tensor:
        """The levels of discrete training: float64 times, descending from `t_max` to `t_min`."""
        return torch.linspace(self.t_max, self.t_min, self.n_steps, dtype=torch.float64)

    def time(self, ratio: Tensor) -> Tensor:
        """The `t` at which `sigma / alpha` equals `ratio`, clamped to [`t_min`, `t_max`]."""
        return self.time_of(ratio).clamp(self.t_min, self.t_max)

    def level(self, t: Tensor) -> Levels:
        """The levels at times `t`."""
        return Level(t, *self(t))

    def level_at(self, ratio: float) -> Level:
        """The level, of plain numbers, at which `sigma / alpha` is nearest to `ratio`."""
        t = self.time(torch.tensor(ratio, dtype=torch.float64))
        return Level(*(v.item() for v in self.level(t)))

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
        low, high = self.ratio(torch.tensor([self.t_min, self.t_max], dtype=torch.float64)).tolist()
        return low, high

    @cached_property
    def prior_sigma(self) -> float:
        """Standard deviation of the prior `N(0, sigma(t_max)^2 I)`, which samplers start from."""
        return self.sigma(torch.tensor(self.t_max, dtype=torch.float64)).item()


def check_levels(sigma_min: float, sigma_max: float, largest: float = EXTREME) -> None:
    """`1e-30 <= sigma_min < sigma_max <= largest`, so that squares and their inverses are numbers.

    Raises:
        ValueError: otherwise.
    """
    if not sigma_min >= 1.0 / EXTREME:
        bound = f"at least {1.0 / EXTREME:g}" if sigma_min > 0 else "a positive number"
        raise ValueError(f"sigma_min must be {bound}, got {sigma_min}; NCSN uses 0.01")
    if not sigma_min < sigma_max:
        raise ValueError(f"sigma_min must be below sigma_max, got {sigma_min} >= {sigma_max}; swap them?")
    if sigma_max > largest:
        beyond = "; EDM goes beyond" if largest < EXTREME else ""
        raise ValueError(f"sigma_max must be at most {largest:g} on this schedule, got {sigma_max}{beyond}")
