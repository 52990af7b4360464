r"""Tilted distributions: powers of densities and their products.

The target is `prod_i p_i(x)^b_i / Z`, of one or more models: `p^b` (temperature `1 / b`), a product of two models, or
guidance as it is meant, `p(x)^(1-w) p(x | c)^w`. Adding the noisy scores in these proportions does not give the score
of the noisy target: the power of a blurred density is not the blurred power. So samplers that do that are wrong, even
with perfect scores, and `FeynmanKacCorrector` corrects them by weights.

With `B = sum_i b_i`, the denoisers are asked at the noise level `sqrt(B) r`, where `r` is that of the samples: noise of
variance `v` to the power B is noise of variance `v / B`. There the sum of scores is that of the denoiser

    D(z) = sum_i (b_i / B) D_i(z, sqrt(B) r),

exact for one normal distribution. For `B = 1`, as in guidance, this is `Guided`. Multiplying the score at the same
level, `ScaledScore`, is what is often done for a temperature; it is wrong already for a normal distribution.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from toy_score.checks import check_positive
from toy_score.component import Component, as_tuple
from toy_score.denoisers import At, Denoiser
from toy_score.schedules import Level, Levels

__all__ = ["ScaledScore", "Tilt"]


@dataclass(frozen=True)
class Tilt(Component, Denoiser):
    """The sum of the scores of some models, in proportions: the denoiser at the top of this file.

    Args:
        denoisers: of the models; they may have different schedules, and the samples have that of the first.
        exponents: `b`, one for each model; some may be negative, but their sum must be positive.

    Raises:
        ValueError: if the exponents are not as stated, or a denoiser is a bridge.

    Example:
        >>> exact = ExactDenoiser(GaussianMixture(means=[[0.0, 0.0]], stds=1.0), EDM())
        >>> cold = Tilt([exact], [4.0])  # p^4: a quarter of the variance
        >>> x = RungeKutta4(n_steps=8)(cold, n=4000, generator=torch.Generator().manual_seed(0))
        >>> x.std().round(decimals=1)
        tensor(0.5000)
    """

    denoisers: Sequence[Denoiser]
    exponents: Sequence[float]

    def __post_init__(self) -> None:
        self._set(denoisers=as_tuple(self.denoisers), exponents=as_tuple(self.exponents))
        if not self.denoisers or len(self.denoisers) != len(self.exponents):
            raise ValueError(f"there must be one exponent for each of {len(self.denoisers)} denoisers, at least one")
        for denoiser in self.denoisers:
            denoiser.check_gaussian("Tilt")
        if not 0 < self.total < math.inf:
            raise ValueError(f"the exponents must have a positive sum, got {list(self.exponents)}")
        self._set(schedule=self.denoisers[0].schedule)

    @property
    def total(self) -> float:
        """`B`, the sum of the exponents."""
        return sum(self.exponents)

    @property
    def shares(self) -> list[float]:
        """`b_i / B`."""
        return [b / self.total for b in self.exponents]

    def denoise(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        parts = (d.denoise(*self._asked(d, x, level)) for d in self.denoisers)
        return sum((b * D for b, D in zip(self.shares, parts, strict=True)), start=torch.zeros_like(x))

    def noise(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return (x - level.alpha * self.denoise(x, level)) / level.sigma

    def parts(self, x: Tensor, t: At) -> tuple[Tensor, Tensor]:
        """`D_i`, `(m, n, 2)`, and the traces of `dD_i / dz`, `(m, n)`, for each of the models."""
        level = self._level(x, t)
        means, traces = [], []
        for denoiser in self.denoisers:
            y, there = self._asked(denoiser, x, level)
            D, J = denoiser.denoise_jacobian(y, there)
            means.append(D)
            traces.append((there.alpha * (J[:, 0, 0] + J[:, 1, 1])[:, None])[:, 0])
        return torch.stack(means), torch.stack(traces)

    def _asked(self, denoiser: Denoiser, x: Tensor, level: Levels) -> tuple[Tensor, Levels]:
        """The point and the level at which a denoiser is asked."""
        schedule = denoiser.schedule
        there: Level[Tensor] = schedule.level(schedule.time(self.total**0.5 * level.ratio))
        return x * (there.alpha / level.alpha), there


@dataclass(frozen=True)
class ScaledScore(Component, Denoiser):
    """A denoiser with its score multiplied by a number, at the same noise level: `D = z + b (D_0 - z)`.

    Args:
        denoiser: whose score.
        factor: `b`, > 0, an inverse temperature.

    Raises:
        ValueError: if the factor is not positive, or the denoiser is a bridge.
    """

    denoiser: Denoiser
    factor: float

    def __post_init__(self) -> None:
        check_positive(factor=self.factor)
        self.denoiser.check_gaussian("ScaledScore")
        self._set(schedule=self.denoiser.schedule)

    def denoise(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return torch.lerp(x / level.alpha, self.denoiser.denoise(x, level), self.factor)

    def noise(self, x: Tensor, t: At) -> Tensor:
        return self.factor * self.denoiser.noise(x, t)
