r"""The one interface between models and everything that uses them.

For `x_t = alpha x_0 + sigma eps`, whoever can say `D(x, t) = E[x_0 | x_t = x]` can say all of

    noise(x, t)    = E[eps | x_t = x] = (x - alpha D) / sigma,
    score(x, t)    = grad log p_t(x)  = -noise / sigma          (Tweedie; Vincent 2011, Efron 2011),
    velocity(x, t) = (alpha noise - sigma D) / R,  R^2 = alpha^2 + sigma^2      (Salimans & Ho 2022).

Samplers, metrics and pictures ask these questions of a `Denoiser` and need not know who answers: a trained network,
or, because this is the plane, the truth.
"""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import overload

import torch
from torch import Tensor, nn
from typing_extensions import Self

from toy_score.backbones import Backbone, jacobian
from toy_score.component import Component
from toy_score.distributions import Distribution
from toy_score.distributions.base import column
from toy_score.parameterisations import Conditioning, Parameterisation
from toy_score.schedules import Level, Levels, Schedule

__all__ = ["Denoiser", "ExactDenoiser", "Guided", "NetworkDenoiser", "Rescheduled"]

At = float | Tensor | Level | Levels
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

    def conditioned_on(self, label: int) -> Self:
        """The truth of one class."""
        return replace(self, distribution=self.distribution.conditioned_on(label))


class NetworkDenoiser(nn.Module, Denoiser):
    """A backbone with a parameterisation, which says what its output means, and a conditioning on the noise level.

    Args:
        backbone: the network.
        schedule: signal and noise over time.
        parameterisation: what the network predicts.
        conditioning: the number that encodes the noise level for the network.
        labels: the class labels that it is conditioned on, `(n,)` or `(1,)`, on its device; see `conditioned_on`.
    """

    def __init__(
        self,
        backbone: Backbone,
        schedule: Schedule,
        parameterisation: Parameterisation,
        conditioning: Conditioning,
        labels: Tensor | None = None,
    ):
        super().__init__()
        self.backbone, self.schedule = backbone, schedule
        self.parameterisation, self.conditioning, self.labels = parameterisation, conditioning, labels

    def conditioned_on(self, labels: int | Tensor) -> Self:
        """The same network, conditioned on a class: one for all points, or one for each, `(n,)`; -1 for none.

        Raises:
            ValueError: for a label that the network does not know.
        """
        n = self.backbone.n_labels
        labels = torch.as_tensor(labels, device=next(self.parameters()).device).reshape(-1)
        if not n:
            raise ValueError("this network knows no labels; train one with backbone.n_labels and data.labels")
        if labels.device.type == "cpu" and not ((labels >= -1) & (labels < n)).all():
            raise ValueError(f"labels go from 0 to {n - 1} (-1: none), got {labels.min()} to {labels.max()}")
        return type(self)(self.backbone, self.schedule, self.parameterisation, self.conditioning, labels)

    def denoise(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return _affine(*self.parameterisation.data(level.alpha, level.sigma), x, self._output(x, level))

    def noise(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return _affine(*self.parameterisation.noise(level.alpha, level.sigma), x, self._output(x, level))

    def score(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return _affine(*self.parameterisation.score(level.alpha, level.sigma), x, self._output(x, level))

    def velocity(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return _affine(*self._velocity_factors(level), x, self._output(x, level))

    def denoise_jacobian(self, x: Tensor, t: At) -> tuple[Tensor, Tensor]:
        level = self._level(x, t)
        return self._jacobian(*self.parameterisation.data(level.alpha, level.sigma), x, level)

    def flows(self, angles: Sequence[float]) -> list[Callable[[Tensor], Tensor]]:
        weights = next(self.parameters())
        exact = torch.promote_types(weights.dtype, torch.float32)
        level = self.level_at_angle(torch.tensor(angles, dtype=exact, device=weights.device)[:, None])
        (skip, out), R = self._velocity_factors(level), level.radius
        c_in, c = R * self.parameterisation.c_in(level.alpha, level.sigma), self._condition(level)

        def slope(k: int, z: Tensor) -> Tensor:
            row = slice(k, k + 1)
            F = self.parameterisation.output(self.backbone, *self._inputs(c_in[row] * z, z, c[row])).to(z.dtype)
            return torch.addcmul(out[row] * F, R[row] * skip[row], z)

        return [functools.partial(slope, k) for k in range(len(angles))]

    def noise_jacobian(self, x: Tensor, t: At) -> tuple[Tensor, Tensor]:
        level = self._level(x, t)
        return self._jacobian(*self.parameterisation.noise(level.alpha, level.sigma), x, level)

    def velocity_jacobian(self, x: Tensor, t: At) -> tuple[Tensor, Tensor]:
        level = self._level(x, t)
        return self._jacobian(*self._velocity_factors(level), x, level)

    def _velocity_factors(self, level: Levels) -> tuple[Tensor, Tensor]:
        _, alpha, sigma = level
        (c_skip, c_out), (k_skip, k_out) = (
            f(alpha, sigma) for f in (self.parameterisation.data, self.parameterisation.noise)
        )
        return (alpha * k_skip - sigma * c_skip) / level.radius, (alpha * k_out - sigma * c_out) / level.radius

    def _jacobian(
        self, skip: Tensor | float, out: Tensor, x: Tensor, level: Levels, c: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`skip x + out F(c_in x, c)` and its derivatives, `skip I + out c_in dF`."""
        c_in, c = self.parameterisation.c_in(level.alpha, level.sigma), self._condition(level) if c is None else c
        F, dF = self.parameterisation.jacobian(self.backbone, *self._inputs(c_in * x, x, c))
        F, dF = F.to(x.dtype), dF.to(x.dtype)
        identity = torch.eye(2, dtype=x.dtype, device=x.device)
        skipped = skip[:, :, None] * identity if isinstance(skip, Tensor) else 0.0
        return _affine(skip, out, x, F), skipped + (out * c_in)[:, :, None] * dF

    def _condition(self, level: Levels) -> Tensor:
        """The number `c` that the network gets for a level, `(1, 1)` or `(n, 1)`."""
        return self.conditioning(*level)

    def _output(self, x: Tensor, level: Levels, c: Tensor | None = None) -> Tensor:
        c_in, c = self.parameterisation.c_in(level.alpha, level.sigma), self._condition(level) if c is None else c
        scaled = x if isinstance(c_in, float) else c_in * x
        return self.parameterisation.output(self.backbone, *self._inputs(scaled, x, c)).to(x.dtype)

    def _inputs(self, scaled: Tensor, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the network is given: points, the number `c` and the labels of all rows, or one for all of them.

        Points and `c` have the dtype of its weights, which need not be that of `x`: a network in bfloat16 or float64
        works with samplers in float32.
        """
        weights = next(self.backbone.parameters(), x)
        scaled, c, labels = scaled.to(weights.dtype), c.to(weights.dtype), self.labels
        if labels is not None and len(labels) not in (1, len(x)):
            labels = labels.repeat(len(x) // len(labels))  # a batch is repeated for each of its noise levels
        if self.backbone.broadcasts:
            return scaled, c, labels
        return scaled, c.expand(len(x), -1), None if labels is None else labels.expand(len(x))


@dataclass(frozen=True)
class Guided(Component, Denoiser):
    """Away from a weaker denoiser: `D = D_weak + weight (D_strong - D_weak)`, and the same for the noise.

    With one network, conditioned on the class and not, this is classifier-free guidance (Ho & Salimans 2022, with
    `weight = 1 + w`); with a smaller or less trained network as the weak one it is autoguidance (Karras et al. 2024).
    `weight = 1` is the strong denoiser. The two may have different schedules: both are evaluated at one noise level.
    """

    strong: Denoiser
    weak: Denoiser
    weight: float
    _weak: Denoiser = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        schedule, weak = self.strong.schedule, self.weak
        self._set(schedule=schedule, _weak=weak if weak.schedule == schedule else Rescheduled(weak, schedule))

    def denoise(self, x: Tensor, t: At) -> Tensor:
        return torch.lerp(self._weak.denoise(x, t), self.strong.denoise(x, t), self.weight)

    def noise(self, x: Tensor, t: At) -> Tensor:
        return torch.lerp(self._weak.noise(x, t), self.strong.noise(x, t), self.weight)


@dataclass(frozen=True)
class Rescheduled(Component, Denoiser):
    """A denoiser seen from another schedule: asked at the same noise level `sigma / alpha`, at the rescaled point."""

    denoiser: Denoiser
    schedule: Schedule

    def denoise(self, x: Tensor, t: At) -> Tensor:
        return self.denoiser.denoise(*self._own(x, t))

    def noise(self, x: Tensor, t: At) -> Tensor:
        return self.denoiser.noise(*self._own(x, t))

    def _own(self, x: Tensor, t: At) -> tuple[Tensor, Levels]:
        level, own = self._level(x, t), self.denoiser.schedule
        there = own.level(own.time(level.ratio))
        return x * (there.alpha / level.alpha), there


def _affine(skip: Tensor | float, out: Tensor, x: Tensor, F: Tensor) -> Tensor:
    """`skip x + out F`."""
    return torch.addcmul(out * F, skip, x) if isinstance(skip, Tensor) else out * F
