r"""Ancestral sampling: run the forward chain backwards, one conditional law at a time.

Between two levels `t` and a lower `s`, the forward process is `x_t = a x_s + N(0, b I)` with `a = alpha_t / alpha_s`,
`b = sigma_t^2 - a^2 sigma_s^2`. Given `x_0`, the reverse is Gaussian (Ho et al. 2020, eqs. 6 and 7, for any schedule):

    mean     = a (sigma_s / sigma_t)^2 x_t + alpha_s (b / sigma_t^2) x_0,
    variance = b (sigma_s / sigma_t)^2.

The sampler puts the denoised point in the place of `x_0`.
"""

from typing import Literal

import torch
from torch import Tensor

from toy_score.denoisers import Denoiser
from toy_score.samplers.base import NoiseStream, Sampler
from toy_score.schedules import Level, Schedule

__all__ = ["DDPMAncestral"]


class DDPMAncestral(Sampler):
    """DDPM's sampler (Ho et al. 2020, algorithm 2), over the levels of any schedule.

    Args:
        variance: of the reverse step, one of the two that section 3.2 of the paper gives: `forward` is `b`, which for
            DDPM's ladder is `beta_t`, exact for normal data of unit variance; `posterior` is `b (sigma_s / sigma_t)^2`,
            exact for data in a single point. The last step, to the data, adds no noise.
        n_steps: number of steps, >= 2: that many levels, evenly chosen from the schedule's ladder, or, where the
            ladder has fewer, evenly spaced in time. All levels of the ladder if None.

    Raises:
        ValueError: for an unknown variance, or `n_steps < 2`.
    """

    def __init__(self, variance: Literal["posterior", "forward"] = "posterior", n_steps: int | None = None):
        if variance not in ("posterior", "forward"):
            raise ValueError(f"unknown variance {variance!r}; choose posterior or forward")
        if n_steps is not None and n_steps < 2:
            raise ValueError(f"n_steps must be at least 2, got {n_steps}; DDPM uses 1000")
        self.variance, self.n_steps = variance, n_steps

    def times(self, schedule: Schedule) -> Tensor:
        ladder = schedule.ladder
        if self.n_steps is None:
            return ladder
        if self.n_steps <= len(ladder):
            return ladder[torch.linspace(0, len(ladder) - 1, self.n_steps, dtype=torch.float64).round().long()]
        return torch.linspace(1.0, schedule.t_min, self.n_steps, dtype=torch.float64)

    def nfe(self, schedule: Schedule) -> int:
        return len(self.times(schedule))

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        a = t.alpha / s.alpha
        b = t.sigma**2 - (a * s.sigma) ** 2
        keep = (s.sigma / t.sigma) ** 2
        mean = a * keep * x + (s.alpha * b / t.sigma**2) * denoiser.denoise(x, t)
        if s.sigma == 0.0:
            return mean
        return mean + (b * keep if self.variance == "posterior" else b) ** 0.5 * noise.normal()
