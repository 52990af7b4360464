"""The truth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor
from typing_extensions import Self

from toy_score.component import Component
from toy_score.denoisers.base import At, Denoiser
from toy_score.distributions import Distribution
from toy_score.schedules import Schedule

__all__ = ["ExactDenoiser"]


@dataclass(frozen=True)
class ExactDenoiser(Component, Denoiser):
    """The truth: the closed-form answers of a distribution under a schedule.

    Noise that a schedule adds to scaled data is noise of level `sigma / alpha` on the data itself:
    `score(x, t) = score_sigma/alpha(x / alpha) / alpha`, and `D(x, t)` is the mean at the same rescaled point.
    """

    distribution: Distribution
    schedule: Schedule

    def denoise(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return self.distribution.denoise(x / level.alpha, level.ratio)

    def score(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return self.distribution.score(x / level.alpha, level.ratio) / level.alpha

    def noise(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return -level.sigma * self.score(x, level)

    def conditioned_on(self, label: int | Sequence[float]) -> Self:
        """The truth of one class, or given a condition."""
        return replace(self, distribution=self.distribution.conditioned_on(label))
