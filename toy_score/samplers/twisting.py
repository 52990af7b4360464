r"""Particles for a prior and a function of the noisy point: posteriors and rewards.

For a target `p_t h_t` (see `posteriors.Twisted`), a step proposes `x_s ~ q(x_s | x_t)` and multiplies the weight by

    w = p(x_s | x_t) h_s(x_s) / (q(x_s | x_t) h_t(x_t)),

where `p(x_s | x_t)` is the prior's ancestral step. Whatever `h` is between the ends, the weighted particles are those
of the chain `p` times `h_0`: with many particles the samples have the posterior of the prior's own samples.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from toy_score.denoisers import Denoiser
from toy_score.posteriors import Twist, Twisted
from toy_score.samplers.ancestral import forward_step
from toy_score.samplers.base import NoiseStream
from toy_score.samplers.particles import ParticleSampler, Population
from toy_score.schedules import Level

__all__ = ["FeynmanKac", "TwistedDiffusion"]


class _TwistedSampler(ParticleSampler):
    """Ancestral steps towards a point that a subclass chooses, with weights.

    With a denoiser that has nothing to weight by, not a `Twisted` one, it is ancestral sampling.
    """

    @abstractmethod
    def guided(self, twist: Twist, t: Level) -> Tensor:
        """The clean points that the proposal steps towards, `(n, 2)`."""

    def multistep(
        self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream, memory: Population | None
    ) -> tuple[Tensor, Population]:
        a, b = forward_step(t, s)
        keep = (s.sigma / t.sigma) ** 2
        towards, variance = s.alpha * b / t.sigma**2, b * keep
        z, u = noise.normal(), noise.uniform()
        if not isinstance(denoiser, Twisted):
            return a * keep * x + towards * denoiser.denoise(x, t) + variance**0.5 * z, self.unweighted(x)
        now = denoiser.twist(x, t) if memory is None or memory.evaluation is None else memory.evaluation
        before = self.unweighted(x)._replace(log_w=now.log_h) if memory is None else memory
        shift = towards * (self.guided(now, t) - now.mean)
        x = a * keep * x + towards * now.mean + shift + variance**0.5 * z
        # log p(x_s | x_t) / q(x_s | x_t), two Gaussians whose means differ by the shift
        ratio = -((shift / variance**0.5) * (z + 0.5 * shift / variance**0.5)).sum(dim=-1)
        after = denoiser.twist(x, s)
        log_w = before.log_w + ratio + after.log_h - now.log_h
        population, k = self.resampled(before._replace(log_w=log_w), x, u, self.threshold)
        if k is None:
            return x, population._replace(evaluation=after)
        return x[k], population._replace(evaluation=Twist(*(part[k] for part in after)))

    def multistep_last(
        self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream, memory: Population | None
    ) -> tuple[Tensor, Population]:
        """The prior's denoised points, resampled by their final weights."""
        u = noise.uniform()
        if not isinstance(denoiser, Twisted):
            return denoiser.denoise(x, t), self.unweighted(x)
        now = denoiser.twist(x, t) if memory is None or memory.evaluation is None else memory.evaluation
        before = self.unweighted(x)._replace(log_w=now.log_h) if memory is None else memory
        x = now.mean
        log_w = before.log_w + denoiser.log_h(x) - now.log_h
        population, k = self.resampled(before._replace(log_w=log_w, evaluation=None), x, u, math.inf)
        return x if k is None else x[k], population


@dataclass(frozen=True)
class TwistedDiffusion(_TwistedSampler):
    """The twisted diffusion sampler (Wu et al. 2023): the corrected denoiser proposes, the weights do the rest.

    Exact for many particles, whatever rule corrects the denoiser; the rule decides how many are needed.

    Its arguments are those of `ParticleSampler`.
    """

    def guided(self, twist: Twist, t: Level) -> Tensor:
        return twist.mean + t.ratio**2 * twist.gradient


@dataclass(frozen=True)
class FeynmanKac(_TwistedSampler):
    """Feynman-Kac steering (Singhal et al. 2025): the prior proposes, and all correction is by the weights.

    It needs no gradient of `h_t`, and many more particles than `TwistedDiffusion`.

    Its arguments are those of `ParticleSampler`.
    """

    def guided(self, twist: Twist, t: Level) -> Tensor:
        return twist.mean
