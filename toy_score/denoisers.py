r"""The one interface between models and everything that uses them.

For `x_t = alpha x_0 + sigma eps`, whoever can say `D(x, t) = E[x_0 | x_t = x]` can say all of

    noise(x, t)    = E[eps | x_t = x] = (x - alpha D) / sigma,
    score(x, t)    = grad log p_t(x)  = -noise / sigma          (Tweedie; Vincent 2011, Efron 2011),
    velocity(x, t) = alpha noise - sigma D                      (Salimans & Ho 2022).

Samplers, metrics and pictures ask these questions of a `Denoiser` and need not know who answers: a trained network,
or, because this is the plane, the truth.
"""

from abc import ABC, abstractmethod

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
        t = as_time(t, x)
        return self.schedule.alpha(t) * self.noise(x, t) - self.schedule.sigma(t) * self.denoise(x, t)


class ExactDenoiser(Component, Denoiser):
    """The truth: the closed-form answers of a distribution under a schedule.

    Noise that a schedule adds to scaled data is noise of level `sigma / alpha` on the data itself:
    `score(x, t) = score_sigma/alpha(x / alpha) / alpha`, and `D(x, t)` is the mean at the same rescaled point.
    """

    def __init__(self, distribution: Distribution, schedule: Schedule):
        self.distribution, self.schedule = distribution, schedule

    def denoise(self, x: Tensor, t: float | Tensor) -> Tensor:
        t = as_time(t, x)
        alpha = self.schedule.alpha(t)
        return self.distribution.denoise(x / alpha, self.schedule.sigma(t) / alpha)

    def score(self, x: Tensor, t: float | Tensor) -> Tensor:
        t = as_time(t, x)
        alpha = self.schedule.alpha(t)
        return self.distribution.score(x / alpha, self.schedule.sigma(t) / alpha) / alpha

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

    def output(self, x: Tensor, t: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The network's raw answer `F`, with `alpha` and `sigma` at `t`."""
        t = as_time(t, x)
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        F = self.backbone(self.parameterisation.c_in(alpha, sigma) * x, self.conditioning(t, alpha, sigma))
        return F, alpha, sigma

    def denoise(self, x: Tensor, t: float | Tensor) -> Tensor:
        F, alpha, sigma = self.output(x, t)
        c_skip, c_out = self.parameterisation.denoise(alpha, sigma)
        return c_skip * x + c_out * F

    def noise(self, x: Tensor, t: float | Tensor) -> Tensor:
        F, alpha, sigma = self.output(x, t)
        c_skip, c_out = self.parameterisation.noise(alpha, sigma)
        return c_skip * x + c_out * F


def as_time(t: float | Tensor, x: Tensor) -> Tensor:
    """`t` as a tensor of the dtype and on the device of `x`, of shape `(1, 1)` or `(n, 1)`."""
    return torch.as_tensor(t, dtype=x.dtype, device=x.device).reshape(-1, 1)
