r"""Score matching: denoising, explicit, implicit and sliced.

Denoising score matching (Vincent 2011) with the weight `sigma^2` that Song & Ermon (2019, section 4.2) choose is the
plain noise-prediction loss of DDPM (Ho et al. 2020, eq. 14): with `score = -noise / sigma`,

    sigma^2 |score_theta(x_t, t) - (-eps / sigma)|^2 = |noise_theta(x_t, t) - eps|^2,   x_t = alpha x_0 + sigma eps.

Its minimum is not zero but `2 - sigma^2 E|score|^2`, and the excess over the minimum is exactly
`sigma^2 E|score_theta - score|^2`. The other objectives have the same excess. Except for explicit score matching they
also have the same mean, by Stein's lemma `E[noise_theta . eps] = sigma E[tr d noise_theta / dx]`.
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from toy_score.backbones import forward_derivative
from toy_score.denoisers import Denoiser
from toy_score.objectives.base import Context, Objective
from toy_score.objectives.weightings import SigmaSquared, Weighting
from toy_score.schedules import Levels

__all__ = ["DenoisingScoreMatching", "ExplicitScoreMatching", "ImplicitScoreMatching", "SlicedScoreMatching"]


@dataclass(frozen=True)
class DenoisingScoreMatching(Objective):
    """`|noise_theta - eps|^2 / 2` (Vincent 2011)."""

    weighting: Weighting = SigmaSquared()
    antithetic: bool = False

    def loss(self, denoiser: Denoiser, x: Tensor, level: Levels, eps: Tensor, context: Context) -> Tensor:
        return (denoiser.noise(x, level) - eps).square().mean(dim=-1)


@dataclass(frozen=True)
class ExplicitScoreMatching(Objective):
    """`|noise_theta - noise|^2 / 2` against the exact noise, for distributions with a known score.

    Given `x`, the target is not random.
    """

    weighting: Weighting = SigmaSquared()
    antithetic: bool = False

    def loss(self, denoiser: Denoiser, x: Tensor, level: Levels, eps: Tensor, context: Context) -> Tensor:
        truth = context.truth
        if truth is None:
            raise ValueError("explicit score matching needs the exact score, known for the data modules of toy_score")
        return (denoiser.noise(x, level) - truth.noise(x, level)).square().mean(dim=-1)


class _NoTarget(Objective):
    """Score matching with the divergence of the network in the place of a target (Hyvarinen 2005).

    Args:
        noise_free: match the score of the data without noise, `|score_theta|^2 / 2 + div score_theta` at clean points,
            with the network conditioned on the schedule's lowest level (Song & Ermon 2019, section 3.1). The score is
            learned at that level only, so sample with `Langevin`.
        weighting: of the noise levels.
    """

    noise_free: bool

    def __call__(self, denoiser: Denoiser, context: Context) -> Tensor:
        if not self.noise_free:
            return super().__call__(denoiser, context)
        x0 = context.x0
        level = denoiser.schedule.level(torch.full_like(x0[:, :1], denoiser.schedule.t_min))
        x = level.alpha * x0
        noise, divergence = self.divergence(denoiser, x, level, context.generator)
        sigma = level.sigma[:, 0]
        return (0.5 * noise.square().sum(dim=-1) - sigma * divergence) / sigma**2

    def loss(self, denoiser: Denoiser, x: Tensor, level: Levels, eps: Tensor, context: Context) -> Tensor:
        noise, divergence = self.divergence(denoiser, x, level, context.generator)
        return 0.5 * noise.square().sum(dim=-1) - level.sigma[:, 0] * divergence + 1.0

    @abstractmethod
    def divergence(self, denoiser: Denoiser, x: Tensor, level: Levels, generator: Generator) -> tuple[Tensor, Tensor]:
        """The noise, `(m, 2)`, and its divergence or an unbiased estimate of it, `(m,)`."""


@dataclass(frozen=True)
class ImplicitScoreMatching(_NoTarget):
    """`|noise_theta|^2 / 2 - sigma div noise_theta + 1`, the divergence exact (Hyvarinen 2005).

    The constant makes its mean equal to that of `DenoisingScoreMatching`.
    """

    noise_free: bool = False
    weighting: Weighting = SigmaSquared()

    def divergence(self, denoiser: Denoiser, x: Tensor, level: Levels, generator: Generator) -> tuple[Tensor, Tensor]:
        noise, jacobian = denoiser.noise_jacobian(x, level)
        return noise, jacobian.diagonal(dim1=1, dim2=2).sum(dim=1)


@dataclass(frozen=True)
class SlicedScoreMatching(_NoTarget):
    """As `ImplicitScoreMatching`, the divergence estimated along one random direction (Song et al. 2019).

    `div f` is the mean of `v . (df / dx) v` over `v` with entries +1 and -1, which takes one forward-mode product.
    """

    noise_free: bool = False
    weighting: Weighting = SigmaSquared()

    def divergence(self, denoiser: Denoiser, x: Tensor, level: Levels, generator: Generator) -> tuple[Tensor, Tensor]:
        v = 2.0 * torch.randint(2, x.shape, generator=generator, device=x.device).to(x) - 1.0
        noise, slope = forward_derivative(lambda z: denoiser.noise(z, level), x, v)
        return noise, (v * slope).sum(dim=1)
