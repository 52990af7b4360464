"""The truth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from toy_score.component import Component
from toy_score.denoisers.base import At, Denoiser
from toy_score.distributions import Distribution
from toy_score.schedules import Schedule

__all__ = ["ExactDenoiser"]


@dataclass(frozen=True)
class ExactDenoiser(Component, Denoiser):
    """The truth: the closed-form answers of a distribution under a schedule.

    Noise that a schedule adds to scaled data is noise of level `r = sigma / alpha` on the data itself: `score(x, t) =
    score_r(x / alpha) / alpha`, and `D(x, t)` is the mean at the same rescaled point.

    Example:
        >>> exact = ExactDenoiser(Heart(), EDM(sigma_min=0.02, sigma_max=500.0))
        >>> level = exact.schedule.level_at(0.5)
        >>> exact.denoise(torch.tensor([[3.0, 0.0]]), level)
        tensor([[2.1000, 0.6000]])
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

    def velocity(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        R = torch.hypot(level.alpha, level.sigma)
        score, D = self.distribution.score_and_denoise(x / level.alpha, level.ratio)
        noise = -level.sigma * (score / level.alpha)
        return level.alpha / R * noise - level.sigma / R * D

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """A subclass with a score, noise or denoised point of its own has the velocity that is made of them."""
        super().__init_subclass__(**kwargs)
        if not {"score", "noise", "denoise"}.isdisjoint(vars(cls)) and "velocity" not in vars(cls):
            cls.velocity = Denoiser.velocity  # type: ignore[method-assign]

    def conditioned_on(self, label: int | Sequence[float]) -> Self:
        """The truth of one class, or given a condition."""
        return replace(self, distribution=self.distribution.conditioned_on(label))
