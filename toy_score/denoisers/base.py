"""What every denoiser answers."""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import overload

import torch
from torch import Tensor

from toy_score.backbones import jacobian
from toy_score.distributions import Distribution
from toy_score.distributions.base import column
from toy_score.schedules import Level, Levels, Schedule

__all__ = ["At", "Denoiser"]

At = float | Tensor | Level | Levels
"""When a denoiser is asked: a time, or a level, which spares working out `alpha` and `sigma` again."""


class Denoiser(ABC):
    """Answers for noisy points `x`, `(n, 2)`, at `t`: a time, as a number or a tensor `(n, 1)`, or a `Level`."""

    schedule: Schedule

    source: Distribution | None = None
    """The distribution at the other end of the path, where samples begin; None: standard normal noise."""

    @abstractmethod
    def denoise(self, x: Tensor, t: At) -> Tensor:
        """`E[x_0 | x_t = x]`, `(n, 2)`."""

    @abstractmethod
    def noise(self, x: Tensor, t: At) -> Tensor:
        """`E[eps | x_t = x]`, `(n, 2)`.

        Not derived from `denoise` here: at small sigma that would cancel most digits, so each kind has a formula.
        """

    def score(self, x: Tensor, t: At) -> Tensor:
        """`grad log p_t(x)`, `(n, 2)`.

        Raises:
            ValueError: if samples begin at a source, so that `noise` is a mean source point, unless the score is known.
        """
        if self.source is not None:
            raise ValueError(
                f"{type(self).__name__} has no score: its source need not be normal; ask for denoise or noise"
            )
        return -self.noise(x, t) / self._level(x, t).sigma

    def check_gaussian(self, use: str) -> None:
        """Whether the denoiser removes Gaussian noise, as `use`, which is named in the error, needs.

        Raises:
            ValueError: if samples begin at a source: the flow of a bridge says nothing about noisy data.
        """
        if self.source is not None:
            raise ValueError(
                f"{use} needs a denoiser of Gaussian noise; {type(self).__name__} is a bridge from {self.source!r}, "
                "use an ExactDenoiser or a model without a source"
            )

    def velocity(self, x: Tensor, t: At) -> Tensor:
        """`(alpha noise - sigma denoise) / R`, `(n, 2)`, with `R^2 = alpha^2 + sigma^2`."""
        level = self._level(x, t)
        R = torch.hypot(level.alpha, level.sigma)
        return level.alpha / R * self.noise(x, level) - level.sigma / R * self.denoise(x, level)

    def denoise_jacobian(self, x: Tensor, t: At) -> tuple[Tensor, Tensor]:
        """`denoise(x, t)`, `(n, 2)`, and its derivatives `d D_i / d x_j`, `(n, 2, 2)`."""
        return jacobian(lambda z: self.denoise(z, t), x)

    def noise_jacobian(self, x: Tensor, t: At) -> tuple[Tensor, Tensor]:
        """`noise(x, t)`, `(n, 2)`, and its derivatives `d noise_i / d x_j`, `(n, 2, 2)`."""
        return jacobian(lambda z: self.noise(z, t), x)

    def velocity_jacobian(self, x: Tensor, t: At) -> tuple[Tensor, Tensor]:
        """`velocity(x, t)`, `(n, 2)`, and its derivatives `d velocity_i / d x_j`, `(n, 2, 2)`."""
        return jacobian(lambda z: self.velocity(z, t), x)

    def flow(self, angle: float | Tensor, z: Tensor) -> Tensor:
        """Slope `dz / dphi` of the probability flow on the circle, `(n, 2)`: the velocity.

        In `z = x / R`, with `cos(phi) = alpha / R` and `sin(phi) = sigma / R`, all schedules are one, state and
        slope are of the size of the data or of unit noise all the way, and the flow is as smooth as it can be made
        (Salimans & Ho 2022, appendix D). `angle`, that is `phi`, is a number or a tensor `(n, 1)`.
        """
        level = self.level_at_angle(angle)
        return self.velocity(level.radius * z, level)

    def flows(self, angles: Sequence[float]) -> list[Callable[[Tensor], Tensor]]:
        """The slope `flow` at each of several angles, as functions of `z`; what they have in common is computed
        once."""
        return [functools.partial(self.flow, angle) for angle in angles]

    @overload
    def level_at_angle(self, angle: float) -> Level: ...

    @overload
    def level_at_angle(self, angle: Tensor) -> Levels: ...

    def level_at_angle(self, angle: float | Tensor) -> Level | Levels:
        """The schedule's level at which `sigma / alpha = tan(angle)`: of numbers, or of tensors `(n, 1)`."""
        if isinstance(angle, Tensor):
            return self.schedule.level(self.schedule.time(angle.tan()))
        return self.schedule.level_at(math.tan(angle))

    def _level(self, x: Tensor, t: At) -> Levels:
        """`t` as a level of tensors `(1, 1)` or `(n, 1)`, of the dtype and on the device of `x`."""
        if isinstance(t, Level):
            return Level(column(t.time, x), column(t.alpha, x), column(t.sigma, x))
        return self.schedule.level(column(t, x))
