"""The base of all losses, and the context in which a loss is computed."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from toy_score.component import Component
from toy_score.denoisers import Denoiser
from toy_score.objectives.weightings import Weighting
from toy_score.schedules import Levels

__all__ = ["Context", "Loss", "Objective"]


@dataclass(frozen=True)
class Context:
    """What a loss may use besides the denoiser that is trained.

    Attributes:
        x0: clean points, `(n, 2)`.
        t: times, `(m, 1)`, where m is a multiple of n; row i belongs to point `i mod n`.
        generator: source of all random numbers of the loss.
        eps: the noise of each row, `(m, 2)`; independent normal noise is drawn if None. In flows between two
            distributions, the source point of each pair, `(n, 2)`.
        truth: the exact denoiser of the data on the same schedule; None if it is unknown.
        averaged: the denoiser with the averaged weights after the last update of the average, conditioned like the
            trained one; None without an average.
        step: optimizer steps done before this one, >= 0.
    """

    x0: Tensor
    t: Tensor
    generator: Generator
    eps: Tensor | None = None
    truth: Denoiser | None = None
    averaged: Denoiser | None = None
    step: int = 0


class Loss(Component, ABC):
    """A loss per row; training minimises its mean."""

    @abstractmethod
    def __call__(self, denoiser: Denoiser, context: Context) -> Tensor:
        """Loss of each row, `(m,)`."""


class Objective(Loss):
    """A loss per noisy point, the mean over the two coordinates, weighted by noise level; training minimises its mean.

    Each objective is a frozen dataclass with these fields or some of them:

    Args:
        weighting: of the noise levels.
        antithetic: use each point with `eps` and with `-eps` at the same level, in two rows. At small sigma the
            network's outputs for the two rows are almost equal, so the noise of the target cancels in the gradient
            (antithetic variates; Hammersley & Morton 1956).
    """

    weighting: Weighting
    antithetic: bool = False

    def __call__(self, denoiser: Denoiser, context: Context) -> Tensor:
        """Loss of each row, `(m,)`, or `(2 m,)` with antithetic noise."""
        x0, t, eps = self.rows(context)
        if len(t) != len(x0):
            x0 = x0.repeat(len(t) // len(x0), 1)
        if eps is None:
            eps = torch.randn(x0.shape, generator=context.generator, device=x0.device, dtype=x0.dtype)
        if self.antithetic:
            x0, t, eps = x0.repeat(2, 1), t.repeat(2, 1), torch.cat([eps, -eps])
        level = denoiser.schedule.level(t)
        loss = self.loss(denoiser, level.alpha * x0 + level.sigma * eps, level, eps, context)
        weight = self.weighting(denoiser, level)
        return loss if isinstance(weight, float) else loss * weight[:, 0]

    def rows(self, context: Context) -> tuple[Tensor, Tensor, Tensor | None]:
        """The clean points that are made noisy, `(n, 2)`, the times, `(m, 1)`, and the noise if it is given."""
        return context.x0, context.t, context.eps

    @abstractmethod
    def loss(self, denoiser: Denoiser, x: Tensor, level: Levels, eps: Tensor, context: Context) -> Tensor:
        """Loss of each noisy point `x = alpha x_0 + sigma eps`, `(m,)`, before it is weighted."""
