"""The schedule of flow matching and rectified flow: a straight line from data to noise."""

from dataclasses import dataclass

import torch
from torch import Tensor

from toy_score.schedules.base import Schedule, check_levels

__all__ = ["LinearFlow"]

LARGEST = 1e12
"""The highest noise level whose time, in float64, differs from 1 by more than rounding."""


@dataclass(frozen=True)
class LinearFlow(Schedule):
    """The straight line from data to noise: `alpha(t) = 1 - t`, `sigma(t) = t`.

    It is the path of rectified flow (Liu et al. 2023) and of flow matching (Lipman et al. 2023, with time reversed). At
    `t = 1` there is only noise; the schedule ends where `sigma / alpha` is `sigma_max`.

    Args:
        sigma_min: the lowest noise level `sigma / alpha`, > 0.
        sigma_max: the highest, at most 1e12.

    Raises:
        ValueError: if `0 < sigma_min < sigma_max <= 1e12` fails.

    Example:
        >>> alpha, sigma = LinearFlow()(torch.tensor([0.1, 0.5, 0.9]))
        >>> alpha, sigma
        (tensor([0.9000, 0.5000, 0.1000]), tensor([0.1000, 0.5000, 0.9000]))
    """

    sigma_min: float = 0.01
    sigma_max: float = 100.0

    def __post_init__(self) -> None:
        check_levels(self.sigma_min, self.sigma_max, LARGEST)

    @property
    def t_min(self) -> float:
        return self.sigma_min / (1.0 + self.sigma_min)

    @property
    def t_max(self) -> float:
        return self.sigma_max / (1.0 + self.sigma_max)

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        # In float32 the end of a schedule with a very large `sigma_max` rounds to 1, where alpha would be 0.
        return (1.0 - t).clamp(min=1.0 - self.t_max), t

    def time_of(self, ratio: Tensor) -> Tensor:
        return ratio / (1.0 + ratio)

    def drift(self, t: Tensor) -> Tensor:
        return -1.0 / self.alpha(t)

    def diffusion(self, t: Tensor) -> Tensor:
        return torch.sqrt(2.0 * t / self.alpha(t))
