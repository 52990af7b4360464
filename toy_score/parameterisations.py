r"""What a network predicts, and how it is told the noise level.

Every parameterisation reads the network's output `F` linearly (Karras et al. 2022, table 1, here for any schedule):

    D(x)   = c_skip x + c_out F(c_in x, c),        the denoised point,
    eps(x) = k_skip x + k_out F(c_in x, c),        the noise, where k_skip = (1 - alpha c_skip) / sigma
                                                   and k_out = -alpha c_out / sigma.

The second pair follows from the first by `eps = (x - alpha D) / sigma`, but is written out for each: simplified by
hand, it does not divide a rounding error by a small sigma.

| predicts | c_in | c_skip | c_out | k_skip | k_out |
|---|---|---|---|---|---|
| score (Song & Ermon 2019) | 1 | 1 / alpha | sigma^2 / alpha | 0 | -sigma |
| noise (Ho et al. 2020) | 1 | 1 / alpha | -sigma / alpha | 0 | 1 |
| data | 1 | 0 | 1 | 1 / sigma | -alpha / sigma |
| EDM, with s = sigma / alpha, r^2 = s^2 + sigma_data^2 | 1 / (alpha r) | sigma_data^2 / (alpha r^2) | s sigma_data / r | s / (alpha r^2) | -sigma_data / r |
"""  # noqa: E501

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from toy_score.component import Component

__all__ = [
    "Conditioning",
    "DataPrediction",
    "EDMPreconditioning",
    "LogSigma",
    "NoisePrediction",
    "Parameterisation",
    "ScorePrediction",
    "Sigma",
    "Time",
]


class Parameterisation(Component, ABC):
    """The rows of the table above; `alpha` and `sigma` are tensors that broadcast against `(n, 1)`, `x` is `(n, 2)`."""

    def input(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """What the network is shown: `c_in x`."""
        return x

    @abstractmethod
    def denoise(self, F: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The denoised point, `c_skip x + c_out F`."""

    @abstractmethod
    def noise(self, F: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The noise, `k_skip x + k_out F`."""


class ScorePrediction(Parameterisation):
    """The network predicts the score, as in NCSN."""

    def denoise(self, F: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return (x + sigma * sigma * F) / alpha

    def noise(self, F: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return -sigma * F


class NoisePrediction(Parameterisation):
    """The network predicts the noise, as in DDPM."""

    def denoise(self, F: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return (x - sigma * F) / alpha

    def noise(self, F: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return F


class DataPrediction(Parameterisation):
    """The network predicts the clean point."""

    def denoise(self, F: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return F

    def noise(self, F: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return (x - alpha * F) / sigma


class EDMPreconditioning(Parameterisation):
    """Input and output of the network have unit variance at every noise level (Karras et al. 2022, section 5).

    Args:
        sigma_data: standard deviation of the data per coordinate, > 0; 1.1 for the heart.

    Raises:
        ValueError: if `sigma_data` is not positive.
    """

    def __init__(self, sigma_data: float = 1.0):
        if not sigma_data > 0:
            raise ValueError(f"sigma_data must be positive, got {sigma_data}; take the data's standard deviation")
        self.sigma_data = sigma_data

    def _ratio_and_radius(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        s = sigma / alpha
        return s, torch.sqrt(s * s + self.sigma_data**2)

    def input(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return x / (alpha * self._ratio_and_radius(alpha, sigma)[1])

    def denoise(self, F: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        s, r = self._ratio_and_radius(alpha, sigma)
        return (self.sigma_data**2 / (alpha * r * r)) * x + (s * self.sigma_data / r) * F

    def noise(self, F: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        s, r = self._ratio_and_radius(alpha, sigma)
        return (s / (alpha * r * r)) * x - (self.sigma_data / r) * F


class Conditioning(Component, ABC):
    """The number by which the network is told the noise level."""

    @abstractmethod
    def __call__(self, t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """`(m, 1)` to `(m, 1)`."""


class Sigma(Conditioning):
    """The noise level itself, as the study's NCSN has it."""

    def __call__(self, t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return sigma


class Time(Conditioning):
    """The scaled time `t = i / T`, as the study's DDPM has it."""

    def __call__(self, t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return t


class LogSigma(Conditioning):
    """`log(sigma / alpha) / 4`, even over the orders of magnitude that noise spans (Karras et al. 2022, table 1)."""

    def __call__(self, t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return torch.log(sigma / alpha) / 4
