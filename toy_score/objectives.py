r"""What is minimised, and at which noise levels.

Denoising score matching (Vincent 2011) with the weight `sigma^2` that Song & Ermon (2019, section 4.2) choose is the
plain noise-prediction loss of DDPM (Ho et al. 2020, eq. 14): with `score = -noise / sigma`,

    sigma^2 |score_theta(x_t, t) - (-eps / sigma)|^2 = |noise_theta(x_t, t) - eps|^2,   x_t = alpha x_0 + sigma eps.

Its minimum is not zero but `2 - sigma^2 E|score|^2`; what exceeds it is exactly `sigma^2 E|score_theta - score|^2`.
"""

from abc import ABC, abstractmethod

import torch
from torch import Generator, Tensor

from toy_score.component import Component
from toy_score.denoisers import Denoiser
from toy_score.schedules import Schedule

__all__ = ["AllLevels", "DenoisingScoreMatching", "Objective", "RandomLevels", "TrainingTimes", "UniformTimes"]


class TrainingTimes(Component, ABC):
    """At which times a batch is perturbed."""

    @abstractmethod
    def __call__(self, n: int, schedule: Schedule, generator: Generator) -> Tensor:
        """Times `(m, 1)` for a batch of `n` points; `m` is a multiple of `n`, and point `i mod n` gets time `i`."""


class AllLevels(TrainingTimes):
    """Every level of the schedule's ladder for every point: `m = L n` rows, one forward pass (NCSN, eq. 6)."""

    def __call__(self, n: int, schedule: Schedule, generator: Generator) -> Tensor:
        ladder = schedule.ladder.to(generator.device, torch.get_default_dtype())
        return ladder.repeat_interleave(n)[:, None]


class RandomLevels(TrainingTimes):
    """One level of the ladder, uniformly drawn, per point (DDPM, algorithm 1)."""

    def __call__(self, n: int, schedule: Schedule, generator: Generator) -> Tensor:
        ladder = schedule.ladder.to(generator.device, torch.get_default_dtype())
        return ladder[torch.randint(len(ladder), (n,), generator=generator, device=generator.device)][:, None]


class UniformTimes(TrainingTimes):
    """One time per point, uniform on [`t_min`, 1] and evenly spread over the batch.

    The n times are `(i + u) / n` with one uniform `u`: every part of the axis is visited in every batch, which lowers
    the variance of the loss (Kingma et al. 2021, appendix I.1).
    """

    def __call__(self, n: int, schedule: Schedule, generator: Generator) -> Tensor:
        u = torch.rand(1, generator=generator, device=generator.device)
        unit = (torch.arange(n, device=generator.device, dtype=u.dtype) + u) / n
        return (schedule.t_min + (1.0 - schedule.t_min) * unit)[:, None]


class Objective(Component, ABC):
    """A loss per row whose mean is minimised."""

    @abstractmethod
    def __call__(self, denoiser: Denoiser, x0: Tensor, t: Tensor, generator: Generator) -> Tensor:
        """Loss of each row, `(m,)`, for clean points `x0`, `(n, 2)`, and times `t`, `(m, 1)`, m a multiple of n."""


class DenoisingScoreMatching(Objective):
    """`|noise_theta(alpha x_0 + sigma eps, t) - eps|^2 / 2`: the mean over the two coordinates."""

    def __call__(self, denoiser: Denoiser, x0: Tensor, t: Tensor, generator: Generator) -> Tensor:
        if len(t) != len(x0):
            x0 = x0.repeat(len(t) // len(x0), 1)
        eps = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
        level = denoiser.schedule.level(t)
        x = level.alpha * x0 + level.sigma * eps
        return (denoiser.noise(x, level) - eps).square().mean(dim=-1)
