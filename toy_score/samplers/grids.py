"""Step grids: at which times a sampler asks the denoiser.

Each returns `n` float64 times, descending from `t = 1` to the schedule's `t_min`; they are chosen by noise level
`r = sigma / alpha`, in which all schedules are alike.
"""

import torch
from torch import Tensor

from toy_score.schedules import Schedule

__all__ = ["geometric", "karras"]


def geometric(schedule: Schedule, n: int) -> Tensor:
    """Noise levels in geometric progression: evenly spaced in `log r` (NCSN's ladder; Song & Ermon 2019)."""
    low, high = schedule.ratios
    return _times(schedule, torch.logspace(0.0, 1.0, n, base=low / high, dtype=torch.float64) * high)


def karras(schedule: Schedule, n: int, rho: float = 7.0) -> Tensor:
    """Evenly spaced in `r^(1/rho)`: shorter steps at low noise (Karras et al. 2022, eq. 5)."""
    low, high = (r ** (1.0 / rho) for r in schedule.ratios)
    return _times(schedule, torch.linspace(high, low, n, dtype=torch.float64) ** rho)


def _times(schedule: Schedule, ratios: Tensor) -> Tensor:
    times = schedule.time(ratios)
    times[0] = 1.0  # exactly, whatever the inverse rounds to
    return times
