"""Weights of the noise levels: of the squared error of the noise at each level."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from toy_score.component import Component
from toy_score.denoisers import Denoiser, NetworkDenoiser
from toy_score.schedules import Levels

__all__ = ["LikelihoodWeighting", "OutputWeighting", "SigmaSquared", "Weighting"]


class Weighting(Component, ABC):
    """The weight of the squared error of the noise at each noise level."""

    @abstractmethod
    def __call__(self, denoiser: Denoiser, level: Levels) -> Tensor | float:
        """The weight at a level of tensors `(m, 1)`: `(m, 1)`, or a number."""


@dataclass(frozen=True)
class SigmaSquared(Weighting):
    """`sigma^2` for the score, and so 1 for the noise: NCSN's and DDPM's."""

    def __call__(self, denoiser: Denoiser, level: Levels) -> Tensor | float:
        return 1.0


@dataclass(frozen=True)
class LikelihoodWeighting(Weighting):
    """`g^2` for the score, and so `g^2 / sigma^2` for the noise.

    With times uniform in `t` the loss then bounds the negative log-likelihood (Song et al. 2021b, theorem 1). The
    weight is large near the data; `UniformLogSNR` with `SigmaSquared` has the same expectation, up to a factor, and
    less variance.
    """

    def __call__(self, denoiser: Denoiser, level: Levels) -> Tensor | float:
        return (denoiser.schedule.diffusion(level.time) / level.sigma).square()


@dataclass(frozen=True)
class OutputWeighting(Weighting):
    """Weight 1 for the squared error of the network's output `F`, and so `1 / k_out^2` for the noise.

    With `EDMPreconditioning` this is EDM's `lambda(sigma)` (Karras et al. 2022, table 1), with `FlowPrediction` the
    loss of flow matching, with `DataPrediction` the squared error of the denoised point.
    """

    def __call__(self, denoiser: Denoiser, level: Levels) -> Tensor | float:
        if not isinstance(denoiser, NetworkDenoiser):
            raise TypeError("OutputWeighting weighs the output of a network; choose SigmaSquared for other denoisers")
        return denoiser.parameterisation.noise(level.alpha, level.sigma)[1].square().reciprocal()
