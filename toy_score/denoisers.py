r"""The one interface between models and everything that uses them.

For `x_t = alpha x_0 + sigma eps`, whoever can say `D(x, t) = E[x_0 | x_t = x]` can say all of

    noise(x, t)    = E[eps | x_t = x] = (x - alpha D) / sigma,
    score(x, t)    = grad log p_t(x)  = -noise / sigma          (Tweedie; Vincent 2011, Efron 2011),
    velocity(x, t) = alpha noise - sigma D                      (Salimans & Ho 2022).

Samplers, metrics and pictures ask these questions of a `Denoiser` and need not know who answers: a trained network,
or, because this is the plane, the truth.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from toy_score.backbones import Backbone
from toy_score.component import Component
from toy_score.distributions import Distribution
from toy_score.parameterisations import Conditioning, Parameterisation
from toy_score.schedules import Level, Schedule

__all__ = ["Denoiser", "ExactDenoiser", "NetworkDenoiser"]

At = float | Tensor | Level
"""When a denoiser is asked: a time, or a level, which spares working out `alpha` and `sigma` again."""


class Denoiser(ABC):
    """Answers for noisy points `x`, `(n, 2)`, at `t`: a time, as a number or a tensor `(n, 1)`, or a `Level`."""

    schedule: Schedule

    @abstractmethod
    def denoise(self, x: Tensor, t: At) -> Tensor:
        """`E[x_0 | x_t = x]`, `(n, 2)`."""

    @abstractmethod
    def noise(self, x: Tensor, t: At) -> Tensor:
        """`E[eps | x_t = x]`, `(n, 2)`.

        Not derived from `denoise` here: at small sigma that would cancel most digits, so each kind has a formula.
        """

    def score(self, x: Tensor, t: At) -> Tensor:
        """`grad log p_t(x)`, `(n, 2)`."""
        return -self.noise(x, t) / self._level(x, t).sigma

    def velocity(self, x: Tensor, t: At) -> Tensor:
        """`alpha noise - sigma denoise`, `(n, 2)`: the slope of the flow for `alpha^2 + sigma^2 = 1`."""
        level = self._level(x, t)
        return level.alpha * self.noise(x, level) - level.sigma * self.denoise(x, level)

    def _level(self, x: Tensor, t: At) -> Level:
        """`t` as a level of tensors `(1, 1)` or `(n, 1)`, of the dtype and on the device of `x`."""
        if isinstance(t, Level):
            return Level(*(_column(value, x) for value in t))
        return self.schedule.level(_column(t, x))


class ExactDenoiser(Component, Denoiser):
    """The truth: the closed-form answers of a distribution under a schedule.

    Noise that a schedule adds to scaled data is noise of level `sigma / alpha` on the data itself:
    `score(x, t) = score_sigma/alpha(x / alpha) / alpha`, and `D(x, t)` is the mean at the same rescaled point.
    """

    def __init__(self, distribution: Distribution, schedule: Schedule):
        self.distribution, self.schedule = distribution, schedule

    def denoise(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return self.distribution.denoise(x / level.alpha, level.ratio)

    def score(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return self.distribution.score(x / level.alpha, level.ratio) / level.alpha

    def noise(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return -level.sigma * self.score(x, level)


class NetworkDenoiser(nn.Module, Denoiser):
    """A backbone, read through a parameterisation: what its output means, and how it is told the noise level."""

    def __init__(
        self,
        backbone: Backbone,
        schedule: Schedule,
        parameterisation: Parameterisation,
        conditioning: Conditioning,
    ):
        super().__init__()
        self.backbone, self.schedule = backbone, schedule
        self.parameterisation, self.conditioning = parameterisation, conditioning

    def denoise(self, x: Tensor, t: At) -> Tensor:
        return self._read(self.parameterisation.denoise, x, t)

    def noise(self, x: Tensor, t: At) -> Tensor:
        return self._read(self.parameterisation.noise, x, t)

    def _read(self, read: Callable[..., Tensor], x: Tensor, t: At) -> Tensor:
        t, alpha, sigma = self._level(x, t)
        F = self.backbone(self.parameterisation.input(x, alpha, sigma), self.conditioning(t, alpha, sigma))
        return read(F, x, alpha, sigma)


def _column(value: float | Tensor, x: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=x.dtype, device=x.device).reshape(-1, 1)
