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
from toy_score.schedules import Schedule

__all__ = ["Denoiser", "ExactDenoiser", "NetworkDenoiser"]


class Denoiser(ABC):
    """Answers for a noisy point `x`, `(n, 2)`, at time `t`, a number or a tensor that broadcasts against `(n, 1)`."""

    schedule: Schedule

    @abstractmethod
    def denoise(self, x: Tensor, t: float | Tensor) -> Tensor:
        """`E[x_0 | x_t = x]`, `(n, 2)`."""

    @abstractmethod
    def noise(self, x: Tensor, t: float | Tensor) -> Tensor:
        """`E[eps | x_t = x]`, `(n, 2)`.

        Not derived from `denoise` here: at small sigma that would cancel most digits, so each kind has a formula.
        """

    def score(self, x: Tensor, t: float | Tensor) -> Tensor:
        """`grad log p_t(x)`, `(n, 2)`."""
        return -self.noise(x, t) / self.schedule.sigma(as_time(t, x))

    def velocity(self, x: Tensor, t: float | Tensor) -> Tensor:
        """`alpha noise - sigma denoise`, `(n, 2)`: the slope of the flow for `alpha^2 + sigma^2 = 1`."""
        alpha, sigma = self.schedule(as_time(t, x))
        return alpha * self.noise(x, t) - sigma * self.denoise(x, t)


class ExactDenoiser(Component, Denoiser):
    """The truth: the closed-form answers of a distribution under a schedule.

    Noise that a schedule adds to scaled data is noise of level `sigma / alpha` on the data itself:
    `score(x, t) = score_sigma/alpha(x / alpha) / alpha`, and `D(x, t)` is the mean at the same rescaled point.
    """

    def __init__(self, distribution: Distribution, schedule: Schedule):
        self.distribution, self.schedule = distribution, schedule

    def denoise(self, x: Tensor, t: float | Tensor) -> Tensor:
        alpha, sigma = self.schedule(as_time(t, x))
        return self.distribution.denoise(x / alpha, sigma / alpha)

    def score(self, x: Tensor, t: float | Tensor) -> Tensor:
        alpha, sigma = self.schedule(as_time(t, x))
        return self.distribution.score(x / alpha, sigma / alpha) / alpha

    def noise(self, x: Tensor, t: float | Tensor) -> Tensor:
        return -self.schedule.sigma(as_time(t, x)) * self.score(x, t)


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

    def denoise(self, x: Tensor, t: float | Tensor) -> Tensor:
        return self._read(self.parameterisation.denoise, x, t)

    def noise(self, x: Tensor, t: float | Tensor) -> Tensor:
        return self._read(self.parameterisation.noise, x, t)

    def _read(self, read: Callable[..., Tensor], x: Tensor, t: float | Tensor) -> Tensor:
        t = as_time(t, x)
        alpha, sigma = self.schedule(t)
        F = self.backbone(self.parameterisation.input(x, alpha, sigma), self.conditioning(t, alpha, sigma))
        return read(F, x, alpha, sigma)


def as_time(t: float | Tensor, x: Tensor) -> Tensor:
    """`t` as a tensor of the dtype and on the device of `x`, of shape `(1, 1)` or `(n, 1)`."""
    return torch.as_tensor(t, dtype=x.dtype, device=x.device).reshape(-1, 1)
