"""Schedules that keep the signal, `alpha = 1`, and raise the noise."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from toy_score.schedules.base import Schedule, check_levels

__all__ = ["EDM", "VE"]


@dataclass(frozen=True)
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

    Example:
        >>> VE(sigma_min=0.1, sigma_max=10.0).sigma(torch.tensor([0.0, 0.5, 1.0]))
        tensor([ 0.1000,  1.0000, 10.0000])
    """

    sigma_min: float = 0.01
    sigma_max: float = 20.0
    n_levels: int = 10

    def __post_init__(self) -> None:
        check_levels(self.sigma_min, self.sigma_max)
        if self.n_levels < 2:
            raise ValueError(f"n_levels must be at least 2, got {self.n_levels}; NCSN uses 10")

    @cached_property
    def _log_range(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), self.sigma_min * torch.exp(t * self._log_range)

    def time_of(self, ratio: Tensor) -> Tensor:
        return torch.log(ratio / self.sigma_min) / self._log_range

    def drift(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def diffusion(self, t: Tensor) -> Tensor:
        return self.sigma(t) * math.sqrt(2.0 * self._log_range)

    @cached_property
    def ladder(self) -> Tensor:
        return torch.linspace(1.0, 0.0, self.n_levels, dtype=torch.float64)


@dataclass(frozen=True)
class EDM(Schedule):
    """The schedule of EDM: `alpha = 1`, `sigma(t) = sigma_max t`, so that the flow's trajectories are nearly straight.

    The sampler's grid chooses the steps (Karras et al. 2022, table 1 and section 3).

    Args:
        sigma_min: the lowest noise level, > 0; the paper's 0.002 is for images.
        sigma_max: the highest; the paper's 80.

    Raises:
        ValueError: if `0 < sigma_min < sigma_max` fails.

    Example:
        >>> schedule = EDM(sigma_min=0.02, sigma_max=80.0)
        >>> schedule.sigma(torch.tensor([0.25, 0.5, 1.0]))
        tensor([20., 40., 80.])
        >>> schedule.time(torch.tensor(20.0))  # the inverse
        tensor(0.2500)
    """

    sigma_min: float = 0.01
    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        check_levels(self.sigma_min, self.sigma_max)

    @property
    def t_min(self) -> float:
        return self.sigma_min / self.sigma_max

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), self.sigma_max * t

    def time_of(self, ratio: Tensor) -> Tensor:
        return ratio / self.sigma_max

    def drift(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def diffusion(self, t: Tensor) -> Tensor:
        return self.sigma_max * torch.sqrt(2.0 * t)
