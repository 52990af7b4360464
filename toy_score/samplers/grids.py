"""Step grids: the times at which a sampler evaluates the denoiser.

A grid of `n` times descends from the schedule's `t_max`, in float64. All but `Uniform` and `Trailing` choose noise
levels `r = sigma / alpha`, which have the same meaning for all schedules.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from toy_score.checks import check_positive
from toy_score.component import Component
from toy_score.schedules import Schedule

__all__ = ["Angular", "Geometric", "Grid", "Karras", "Trailing", "Uniform"]


class Grid(Component, ABC):
    """The times at which a sampler evaluates the denoiser."""

    @abstractmethod
    def __call__(self, schedule: Schedule, n: int) -> Tensor:
        """`n` times, `(n,)` float64, descending from `t_max`; after the last one there is only the step to the data."""


@dataclass(frozen=True)
class Uniform(Grid):
    """Evenly spaced in time, from `t_max` to `t_min`: DDPM's chain, and NCSN's where time is `log sigma`.

    For schedules whose time is spread over the noise levels, such as DDPM's, VP's and VE's. On `EDM` time is sigma
    itself: nearly all steps are then far above the data.
    """

    def __call__(self, schedule: Schedule, n: int) -> Tensor:
        return torch.linspace(schedule.t_max, schedule.t_min, n, dtype=torch.float64)


@dataclass(frozen=True)
class Trailing(Grid):
    """Evenly spaced in time, the last step, to the data at `t = 0`, as long as the others (Lin et al. 2024, table 2).

    Ten steps of DDPM's 1000 begin at 1000, 900, ..., 100. With so many steps that the last would begin below `t_min`,
    it begins at `t_min`. As `Uniform`, it is not for `EDM`.
    """

    def __call__(self, schedule: Schedule, n: int) -> Tensor:
        return torch.linspace(schedule.t_max, max(schedule.t_max / n, schedule.t_min), n, dtype=torch.float64)


@dataclass(frozen=True)
class Geometric(Grid):
    """Noise levels in geometric progression: NCSN's ladder (Song & Ermon 2019, section 3.2).

    Evenly spaced in `log r`, that is, uniform in the log-SNR, which is `-2 log r`.
    """

    def __call__(self, schedule: Schedule, n: int) -> Tensor:
        low, high = schedule.ratios
        return _times(schedule, high * torch.logspace(0.0, 1.0, n, base=low / high, dtype=torch.float64))


@dataclass(frozen=True)
class Karras(Grid):
    """Evenly spaced in `r^(1 / rho)`: shorter steps at low noise (Karras et al. 2022, eq. 5).

    Args:
        rho: how much low noise is preferred, > 0; the paper's 7. 1 is uniform in `r`; the limit of large `rho` is
            `Geometric`.

    Raises:
        ValueError: if `rho` is not positive.
    """

    rho: float = 7.0

    def __post_init__(self) -> None:
        check_positive("the paper uses 7", rho=self.rho)

    def __call__(self, schedule: Schedule, n: int) -> Tensor:
        low, high = (r ** (1.0 / self.rho) for r in schedule.ratios)
        return _times(schedule, torch.linspace(high, low, n, dtype=torch.float64) ** self.rho)


@dataclass(frozen=True)
class Angular(Grid):
    """Evenly spaced in the angle `phi = arctan(r / scale)`: the cosine schedule's steps, few far from the data.

    Args:
        scale: the noise level at the middle of the grid, > 0; about the standard deviation of the data.

    Raises:
        ValueError: if `scale` is not positive.
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        check_positive("take the data's standard deviation", scale=self.scale)

    def __call__(self, schedule: Schedule, n: int) -> Tensor:
        low, high = (math.atan(r / self.scale) for r in schedule.ratios)
        return _times(schedule, self.scale * torch.linspace(high, low, n, dtype=torch.float64).tan())


def _times(schedule: Schedule, ratios: Tensor) -> Tensor:
    times = schedule.time(ratios)
    times[0] = schedule.t_max  # exactly, whatever the inverse rounds to
    return times
