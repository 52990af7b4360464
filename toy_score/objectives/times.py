"""The times at which a batch is perturbed."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from toy_score.checks import check_positive, check_real
from toy_score.component import Component
from toy_score.schedules import Schedule

__all__ = ["AllLevels", "LogNormalSigma", "RandomLevels", "TrainingTimes", "UniformLogSNR", "UniformTimes"]


class TrainingTimes(Component, ABC):
    """The times at which a batch is perturbed."""

    @abstractmethod
    def __call__(self, n: int, schedule: Schedule, generator: Generator) -> Tensor:
        """Times `(m, 1)` for a batch of `n` points; `m` is a multiple of `n`, and point `i mod n` gets time `i`."""


@dataclass(frozen=True)
class AllLevels(TrainingTimes):
    """Every level of the schedule's ladder for every point: `m = L n` rows, one forward pass (NCSN, eq. 6)."""

    def __call__(self, n: int, schedule: Schedule, generator: Generator) -> Tensor:
        ladder = schedule.ladder.to(generator.device, torch.get_default_dtype(), non_blocking=True)
        return ladder.repeat_interleave(n)[:, None]


@dataclass(frozen=True)
class RandomLevels(TrainingTimes):
    """One level of the ladder, uniformly drawn, per point (DDPM, algorithm 1)."""

    def __call__(self, n: int, schedule: Schedule, generator: Generator) -> Tensor:
        ladder = schedule.ladder.to(generator.device, torch.get_default_dtype(), non_blocking=True)
        return ladder[torch.randint(len(ladder), (n,), generator=generator, device=generator.device)][:, None]


@dataclass(frozen=True)
class UniformTimes(TrainingTimes):
    """One time per point, uniform on [`t_min`, `t_max`]; the times of a batch are evenly spread."""

    def __call__(self, n: int, schedule: Schedule, generator: Generator) -> Tensor:
        return (schedule.t_min + (schedule.t_max - schedule.t_min) * even(n, generator))[:, None]


@dataclass(frozen=True)
class UniformLogSNR(TrainingTimes):
    """One level per point, uniform in `log(sigma / alpha)`, and so in the log-SNR; evenly spread over the batch.

    With `SigmaSquared` this is the likelihood weighting `g^2` by importance sampling (Song et al. 2021b, section 5.2):
    a density of `t` proportional to `g^2 / sigma^2 = 2 d log(sigma / alpha) / dt` is uniform in `log(sigma / alpha)`.
    """

    def __call__(self, n: int, schedule: Schedule, generator: Generator) -> Tensor:
        low, high = (math.log(r) for r in schedule.ratios)
        return schedule.time(torch.exp(low + (high - low) * even(n, generator)))[:, None]


@dataclass(frozen=True)
class LogNormalSigma(TrainingTimes):
    """One level per point, `log(sigma / alpha) ~ N(mean, std^2)`, evenly spread over the batch (Karras et al. 2022).

    Args:
        mean: of the logarithm; the paper's -1.2 is for images of standard deviation 0.5.
        std: of the logarithm, > 0; the paper's 1.2.

    Raises:
        ValueError: if `std` is not positive.
    """

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self) -> None:
        check_positive("the paper uses 1.2", std=self.std)
        check_real(mean=self.mean)

    def __call__(self, n: int, schedule: Schedule, generator: Generator) -> Tensor:
        normal = torch.special.ndtri(even(n, generator).clamp(1e-6, 1 - 1e-6))
        return schedule.time(torch.exp(self.mean + self.std * normal))[:, None]


def even(n: int, generator: Generator) -> Tensor:
    """`(i + u) / n`, `(n,)`, with one uniform `u` for the batch: evenly spread over [0, 1).

    This lowers the variance of the loss (Kingma et al. 2021, appendix I.1).
    """
    u = torch.rand(1, generator=generator, device=generator.device)
    return (torch.arange(n, device=generator.device, dtype=u.dtype) + u) / n
