r"""Training objectives: the loss, the noise levels, and their weights.

Denoising score matching (Vincent 2011) with the weight `sigma^2` that Song & Ermon (2019, section 4.2) choose is the
plain noise-prediction loss of DDPM (Ho et al. 2020, eq. 14): with `score = -noise / sigma`,

    sigma^2 |score_theta(x_t, t) - (-eps / sigma)|^2 = |noise_theta(x_t, t) - eps|^2,   x_t = alpha x_0 + sigma eps.

Its minimum is not zero but `2 - sigma^2 E|score|^2`; the excess over it is exactly `sigma^2 E|score_theta - score|^2`.
The other objectives have the same excess, and here the same mean: `E[noise_theta . eps] = sigma E[tr d noise_theta /
dx]` (Stein's lemma) turns one into the other.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from toy_score.backbones import forward_derivative
from toy_score.component import Component
from toy_score.denoisers import Denoiser, NetworkDenoiser
from toy_score.schedules import Levels, Schedule

__all__ = [
    "AllLevels",
    "Context",
    "DenoisingScoreMatching",
    "ExplicitScoreMatching",
    "ImplicitScoreMatching",
    "LikelihoodWeighting",
    "LogNormalSigma",
    "Objective",
    "OutputWeighting",
    "RandomLevels",
    "SigmaSquared",
    "SlicedScoreMatching",
    "TrainingTimes",
    "UniformLogSNR",
    "UniformTimes",
    "Weighting",
]


class TrainingTimes(Component, ABC):
    """The times at which a batch is perturbed."""

    @abstractmethod
    def __call__(self, n: int, schedule: Schedule, generator: Generator) -> Tensor:
        """Times `(m, 1)` for a batch of `n` points; `m` is a multiple of `n`, and point `i mod n` gets time `i`."""


@dataclass(frozen=True)
class AllLevels(TrainingTimes):
    """Every level of the schedule's ladder for every point: `m = L n` rows, one forward pass (NCSN, eq. 6)."""

    def __call__(self, n: int, schedule: Schedule, generator: Generator) -> Tensor:
        ladder = schedule.ladder.to(generator.device, torch.get_default_dtype(), non_blocking=True)
        return ladder.repeat_interleave(n)[:, None]


@dataclass(frozen=True)
class RandomLevels(TrainingTimes):
    """One level of the ladder, uniformly drawn, per point (DDPM, algorithm 1)."""

    def __call__(self, n: int, schedule: Schedule, generator: Generator) -> Tensor:
        ladder = schedule.ladder.to(generator.device, torch.get_default_dtype(), non_blocking=True)
        return ladder[torch.randint(len(ladder), (n,), generator=generator, device=generator.device)][:, None]


@dataclass(frozen=True)
class UniformTimes(TrainingTimes):
    """One time per point, uniform on [`t_min`, `t_max`] and evenly spread over the batch."""

    def __call__(self, n: int, schedule: Schedule, generator: Generator) -> Tensor:
        return (schedule.t_min + (schedule.t_max - schedule.t_min) * even(n, generator))[:, None]


@dataclass(frozen=True)
class UniformLogSNR(TrainingTimes):
    """One level per point, uniform in `log(sigma / alpha)`, that is, in the log-SNR, and evenly spread over the batch.

    With `SigmaSquared` this is the likelihood weighting `g^2`, importance-sampled (Song et al. 2021b, section 5.2): the
    density of `t` proportional to `g^2 / sigma^2 = 2 d log(sigma / alpha) / dt` is the uniform one in `log r`.
    """

    def __call__(self, n: int, schedule: Schedule, generator: Generator) -> Tensor:
        low, high = (math.log(r) for r in schedule.ratios)
        return schedule.time(torch.exp(low + (high - low) * even(n, generator)))[:, None]


@dataclass(frozen=True)
class LogNormalSigma(TrainingTimes):
    """One level per point, `log(sigma / alpha) ~ N(mean, std^2)`, evenly spread over the batch (Karras et al. 2022).

    Args:
        mean: of the logarithm; the paper's -1.2 is for images of standard deviation 0.5.
        std: of the logarithm, > 0; the paper's 1.2.

    Raises:
        ValueError: if `std` is not positive.
    """

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise ValueError(f"std must be positive, got {self.std}; the paper uses 1.2")

    def __call__(self, n: int, schedule: Schedule, generator: Generator) -> Tensor:
        normal = torch.special.ndtri(even(n, generator).clamp(1e-6, 1 - 1e-6))
        return schedule.time(torch.exp(self.mean + self.std * normal))[:, None]


def even(n: int, generator: Generator) -> Tensor:
    """`(i + u) / n`, `(n,)`, with one uniform `u`: every part of [0, 1) is visited in every batch.

    This lowers the variance of the loss (Kingma et al. 2021, appendix I.1).
    """
    u = torch.rand(1, generator=generator, device=generator.device)
    return (torch.arange(n, device=generator.device, dtype=u.dtype) + u) / n


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
    """The squared error of the network's own output `F` counts: `1 / k_out^2` for the noise.

    With `EDMPreconditioning` it is EDM's `lambda(sigma)` (Karras et al. 2022, table 1), with `FlowPrediction` the loss
    of flow matching, with `DataPrediction` the squared error of the denoised point.
    """

    def __call__(self, denoiser: Denoiser, level: Levels) -> Tensor | float:
        if not isinstance(denoiser, NetworkDenoiser):
            raise TypeError("OutputWeighting weighs the output of a network; choose SigmaSquared for other denoisers")
        return denoiser.parameterisation.noise(level.alpha, level.sigma)[1].square().reciprocal()


@dataclass(frozen=True)
class Context:
    """What a loss may use besides the denoiser that is trained.

    Attributes:
        x0: clean points, `(n, 2)`.
        t: times, `(m, 1)`, m a multiple of n; row i is of point `i mod n`.
        generator: source of all random numbers of the loss.
        eps: the noise of each row, `(m, 2)`, the other end of its pair; independent normal noise is drawn if None.
        truth: the exact denoiser of the data on the same schedule, if it is known.
        averaged: the denoiser with the averaged weights, conditioned as the trained one; None without an average. It is
            that of the last update of the average.
        step: optimizer steps done before this one, >= 0.
    """

    x0: Tensor
    t: Tensor
    generator: Generator
    eps: Tensor | None = None
    truth: Denoiser | None = None
    averaged: Denoiser | None = None
    step: int = 0


class Objective(Component, ABC):
    """A loss per row whose mean is minimised: the mean over the two coordinates, weighted by noise level.

    Each objective is a frozen dataclass with these fields, or with some of them:

    Args:
        weighting: of the noise levels.
        antithetic: use each point with `eps` and with `-eps` at the same level, in two rows. At small sigma the
            network's outputs for both are nearly the same, so the noise of the target cancels in the gradient
            (antithetic variates; Hammersley & Morton 1956).
    """

    weighting: Weighting
    antithetic: bool = False

    def __call__(self, denoiser: Denoiser, context: Context) -> Tensor:
        """Loss of each row, `(m,)`, or `(2 m,)` with antithetic noise."""
        x0, t, eps = context.x0, context.t, context.eps
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

    @abstractmethod
    def loss(self, denoiser: Denoiser, x: Tensor, level: Levels, eps: Tensor, context: Context) -> Tensor:
        """Loss of each noisy point `x = alpha x_0 + sigma eps`, `(m,)`, before it is weighted."""


@dataclass(frozen=True)
class DenoisingScoreMatching(Objective):
    """`|noise_theta - eps|^2 / 2` (Vincent 2011)."""

    weighting: Weighting = SigmaSquared()
    antithetic: bool = False

    def loss(self, denoiser: Denoiser, x: Tensor, level: Levels, eps: Tensor, context: Context) -> Tensor:
        return (denoiser.noise(x, level) - eps).square().mean(dim=-1)


@dataclass(frozen=True)
class ExplicitScoreMatching(Objective):
    """`|noise_theta - noise|^2 / 2` against the exact noise: its only variance is that of `x`. Only distributions with
    a known score allow it."""

    weighting: Weighting = SigmaSquared()
    antithetic: bool = False

    def loss(self, denoiser: Denoiser, x: Tensor, level: Levels, eps: Tensor, context: Context) -> Tensor:
        truth = context.truth
        if truth is None:
            raise ValueError("explicit score matching needs the exact score, known for the data modules of toy_score")
        return (denoiser.noise(x, level) - truth.noise(x, level)).square().mean(dim=-1)


class _NoTarget(Objective):
    """Score matching without a target, by the divergence of the network (Hyvarinen 2005).

    Args:
        noise_free: match the score of the data without noise, `|score_theta|^2 / 2 + div score_theta` at clean points,
            with the network conditioned on the schedule's lowest level (Song & Ermon 2019, section 3.1). The learned
            score is for `Langevin` at that level only.
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

    With the constant its mean equals that of `DenoisingScoreMatching`.
    """

    noise_free: bool = False
    weighting: Weighting = SigmaSquared()

    def divergence(self, denoiser: Denoiser, x: Tensor, level: Levels, generator: Generator) -> tuple[Tensor, Tensor]:
        noise, jacobian = denoiser.noise_jacobian(x, level)
        return noise, jacobian.diagonal(dim1=1, dim2=2).sum(dim=1)


@dataclass(frozen=True)
class SlicedScoreMatching(_NoTarget):
    """As `ImplicitScoreMatching`, the divergence estimated along one random direction (Song et al. 2019).

    `div f` is the mean of `v . (df / dx) v` over `v` with entries +1 and -1: one forward-mode product.
    """

    noise_free: bool = False
    weighting: Weighting = SigmaSquared()

    def divergence(self, denoiser: Denoiser, x: Tensor, level: Levels, generator: Generator) -> tuple[Tensor, Tensor]:
        v = 2.0 * torch.randint(2, x.shape, generator=generator, device=x.device).to(x) - 1.0
        noise, slope = forward_derivative(lambda z: denoiser.noise(z, level), x, v)
        return noise, (v * slope).sum(dim=1)
