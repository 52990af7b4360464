r"""What a network predicts, and how it is conditioned on the noise level.

Every parameterisation reads the network's output `F` linearly (Karras et al. 2022, table 1, here for any schedule):

    D(x)   = c_skip x + c_out F(c_in x, c),        the denoised point,
    eps(x) = k_skip x + k_out F(c_in x, c),        the noise, where k_skip = (1 - alpha c_skip) / sigma
                                                   and k_out = -alpha c_out / sigma.

The second pair follows from the first by `eps = (x - alpha D) / sigma`, but is simplified by hand for each, so that no
rounding error is divided by a small sigma. The velocity on the circle, `(alpha eps - sigma D) / R`, follows from both; EDM's
is `s (1 - sigma_data^2) / (q^2 R)` and `-sigma_data R / (alpha q)`. With `R^2 = alpha^2 + sigma^2`, `s = sigma / alpha` and `q^2 = s^2 +
sigma_data^2`:

| predicts | c_in | c_skip | c_out | k_skip | k_out |
|---|---|---|---|---|---|
| score (Song & Ermon 2019) | 1 | 1 / alpha | sigma^2 / alpha | 0 | -sigma |
| noise (Ho et al. 2020) | 1 | 1 / alpha | -sigma / alpha | 0 | 1 |
| data | 1 | 0 | 1 | 1 / sigma | -alpha / sigma |
| velocity (alpha eps - sigma x0) / R (Salimans & Ho 2022) | 1 | alpha / R^2 | -sigma / R | sigma / R^2 | alpha / R |
| flow eps - x0 (Lipman et al. 2023; Liu et al. 2023) | 1 | 1 / (alpha + sigma) | -sigma / (alpha + sigma) | 1 / (alpha + sigma) | alpha / (alpha + sigma) |
| EDM (Karras et al. 2022) | 1 / (alpha q) | sigma_data^2 / (alpha q^2) | s sigma_data / q | s / (alpha q^2) | -sigma_data / q |
"""  # noqa: E501

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from toy_score.backbones import Backbone, jacobian
from toy_score.checks import check_positive
from toy_score.component import Component

__all__ = [
    "Conditioning",
    "DataPrediction",
    "EDMPreconditioning",
    "Energy",
    "FlowPrediction",
    "LogSigma",
    "NoisePrediction",
    "Parameterisation",
    "ScorePrediction",
    "Sigma",
    "Time",
    "VelocityPrediction",
]

Pair = tuple[Tensor | float, Tensor]
"""The factors of `x` and of `F`; a factor that is always 0 is the number 0.0."""


class Parameterisation(Component, ABC):
    """The rows of the table above; `alpha` and `sigma` are tensors that broadcast against `(n, 1)`."""

    def c_in(self, alpha: Tensor, sigma: Tensor) -> Tensor | float:
        """The factor of `x` in the network's input."""
        return 1.0

    @abstractmethod
    def data(self, alpha: Tensor, sigma: Tensor) -> Pair:
        """`(c_skip, c_out)`."""

    @abstractmethod
    def noise(self, alpha: Tensor, sigma: Tensor) -> Pair:
        """`(k_skip, k_out)`."""

    def score(self, alpha: Tensor, sigma: Tensor) -> Pair:
        """The factors for the score, `(-k_skip / sigma, -k_out / sigma)`."""
        k_skip, k_out = self.noise(alpha, sigma)
        return -k_skip / sigma, -k_out / sigma

    def velocity(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The factors for the velocity on the circle, `(alpha eps - sigma D) / R`."""
        (c_skip, c_out), (k_skip, k_out) = self.data(alpha, sigma), self.noise(alpha, sigma)
        R = torch.hypot(alpha, sigma)
        return (alpha * k_skip - sigma * c_skip) / R, (alpha * k_out - sigma * c_out) / R

    def output(self, backbone: Backbone, x: Tensor, c: Tensor, labels: Tensor | None = None) -> Tensor:
        """`F`, `(n, 2)`: the network's output for its input `x`, which is already multiplied by `c_in`."""
        return backbone(x, c, labels)

    def jacobian(self, backbone: Backbone, x: Tensor, c: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`F`, `(n, 2)`, and `dF_i / dx_j`, `(n, 2, 2)`."""
        return backbone.jacobian(x, c, labels)


@dataclass(frozen=True)
class ScorePrediction(Parameterisation):
    """The network predicts the score, as in NCSN."""

    def data(self, alpha: Tensor, sigma: Tensor) -> Pair:
        return 1.0 / alpha, sigma * sigma / alpha

    def noise(self, alpha: Tensor, sigma: Tensor) -> Pair:
        return 0.0, -sigma

    def score(self, alpha: Tensor, sigma: Tensor) -> Pair:
        return 0.0, torch.ones_like(sigma)


@dataclass(frozen=True)
class NoisePrediction(Parameterisation):
    """The network predicts the noise, as in DDPM."""

    def data(self, alpha: Tensor, sigma: Tensor) -> Pair:
        return 1.0 / alpha, -sigma / alpha

    def noise(self, alpha: Tensor, sigma: Tensor) -> Pair:
        return 0.0, torch.ones_like(sigma)


@dataclass(frozen=True)
class DataPrediction(Parameterisation):
    """The network predicts the clean point."""

    def data(self, alpha: Tensor, sigma: Tensor) -> Pair:
        return 0.0, torch.ones_like(alpha)

    def noise(self, alpha: Tensor, sigma: Tensor) -> Pair:
        return 1.0 / sigma, -alpha / sigma


@dataclass(frozen=True)
class VelocityPrediction(Parameterisation):
    """The network predicts the velocity on the circle, `(alpha eps - sigma x_0) / sqrt(alpha^2 + sigma^2)`."""

    def data(self, alpha: Tensor, sigma: Tensor) -> Pair:
        R = torch.hypot(alpha, sigma)
        return alpha / R**2, -sigma / R

    def noise(self, alpha: Tensor, sigma: Tensor) -> Pair:
        R = torch.hypot(alpha, sigma)
        return sigma / R**2, alpha / R


@dataclass(frozen=True)
class FlowPrediction(Parameterisation):
    """The network predicts the velocity of the straight line, `eps - x_0`, as in flow matching."""

    def data(self, alpha: Tensor, sigma: Tensor) -> Pair:
        total = alpha + sigma
        return 1.0 / total, -sigma / total

    def noise(self, alpha: Tensor, sigma: Tensor) -> Pair:
        total = alpha + sigma
        return 1.0 / total, alpha / total


@dataclass(frozen=True)
class EDMPreconditioning(Parameterisation):
    """Input and output of the network have unit variance at every noise level (Karras et al. 2022, section 5).

    Args:
        sigma_data: standard deviation of the data per coordinate, > 0; 1.1 for the heart.

    Raises:
        ValueError: if `sigma_data` is not positive.
    """

    sigma_data: float = 1.0

    def __post_init__(self) -> None:
        check_positive("take the data's standard deviation", sigma_data=self.sigma_data)

    def _ratio_and_radius(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        s = sigma / alpha
        return s, torch.sqrt(s * s + self.sigma_data**2)

    def c_in(self, alpha: Tensor, sigma: Tensor) -> Tensor | float:
        return 1.0 / (alpha * self._ratio_and_radius(alpha, sigma)[1])

    def data(self, alpha: Tensor, sigma: Tensor) -> Pair:
        s, q = self._ratio_and_radius(alpha, sigma)
        return self.sigma_data**2 / (alpha * q * q), s * self.sigma_data / q

    def noise(self, alpha: Tensor, sigma: Tensor) -> Pair:
        s, q = self._ratio_and_radius(alpha, sigma)
        return s / (alpha * q * q), -self.sigma_data / q

    def velocity(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        s, q = self._ratio_and_radius(alpha, sigma)
        R = torch.hypot(alpha, sigma)
        return (1.0 - self.sigma_data**2) * s / (q * q * R), -self.sigma_data * R / (alpha * q)


@dataclass(frozen=True)
class Energy(EDMPreconditioning):
    """As `EDMPreconditioning`, with `F` the gradient of a scalar: the score is then the gradient of an energy.

    A network with a vector as output need not be a conservative field; the gradient of a scalar `e` always is (Salimans
    & Ho 2021). Here `F = grad e` with `e` the sum of the network's two outputs; the learned energy is `-log p = (k_skip
    |x|^2 / 2 + k_out e(c_in x) / c_in) / sigma`, up to a constant at each level.
    """

    def output(self, backbone: Backbone, x: Tensor, c: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.func.grad(lambda z: backbone(z, c, labels).sum())(x)

    def jacobian(self, backbone: Backbone, x: Tensor, c: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return jacobian(lambda z: self.output(backbone, z, c, labels), x)


class Conditioning(Component, ABC):
    """The number that conditions the network on the noise level."""

    @abstractmethod
    def __call__(self, t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """`(m, 1)` to `(m, 1)`."""


@dataclass(frozen=True)
class Sigma(Conditioning):
    """The noise level itself, as in the original study's NCSN."""

    def __call__(self, t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return sigma


@dataclass(frozen=True)
class Time(Conditioning):
    """The time, for DDPM `i / T`, as in the original study's DDPM."""

    def __call__(self, t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return t


@dataclass(frozen=True)
class LogSigma(Conditioning):
    """`log(sigma / alpha) / 4`, which covers all orders of magnitude of the noise evenly (Karras et al. 2022, table
    1)."""

    def __call__(self, t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return torch.log(sigma / alpha) / 4
