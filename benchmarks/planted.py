"""Samples with known errors, and controls without an error, for `benchmarks.power`."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from toy_score import (
    EDM,
    DDPMAncestral,
    Denoiser,
    Distribution,
    DormandPrince,
    EDMStochastic,
    ExactDenoiser,
    Karras,
)
from toy_score.samplers.ancestral import forward_step
from toy_score.samplers.base import NoiseStream
from toy_score.schedules import Level

SCHEDULE = EDM(0.002, 80.0)
FLOW, CHURN = DormandPrince(20), EDMStochastic(128)
ANCESTRAL = DDPMAncestral("posterior", 400, Karras())
MOST = 1_000_000  # samples
MOST_SAMPLED = 100_000  # samples, of the errors that need a sampler: all are detected with fewer


class ScaledScore(Denoiser):
    """The exact denoiser with its score multiplied by a factor."""

    def __init__(self, truth: ExactDenoiser, factor: float):
        self.truth, self.factor, self.schedule = truth, factor, truth.schedule

    def noise(self, x: Tensor, t: float | Tensor | Level) -> Tensor:
        return self.factor * self.truth.noise(x, t)

    def denoise(self, x: Tensor, t: float | Tensor | Level) -> Tensor:
        level = self._level(x, t)
        return (x - level.sigma * self.noise(x, level)) / level.alpha


class RootDropped(DDPMAncestral):
    """Ancestral sampling with the variance of its new noise in the place of the standard deviation."""

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        _, b = forward_step(t, s)
        return super().step(denoiser, x, t, s, _Scaled(noise, b**0.5 * s.sigma / t.sigma))


class _Scaled:
    """A stream of noise, multiplied by a factor."""

    def __init__(self, noise: NoiseStream, factor: float):
        self.noise, self.factor = noise, factor

    def normal(self) -> Tensor:
        return self.factor * self.noise.normal()


def exact(p: Distribution, n: int, g: Generator) -> Tensor:
    """Exact samples."""
    return p.sample(n, g)


def weight(p: Distribution, n: int, g: Generator) -> Tensor:
    """The share of one mode is 0.01 too large, that of another 0.01 too small."""
    w = torch.tensor(list(p.mode_weights.values()), dtype=torch.float64)
    w[0] -= 0.01
    w[-1] += 0.01
    classes = torch.multinomial(w, n, replacement=True, generator=g)
    x = torch.empty(n, 2)
    for k in range(len(w)):
        x[classes == k] = p.conditioned_on(k).sample(int((classes == k).sum()), g)
    return x


def between(p: Distribution, n: int, g: Generator) -> Tensor:
    """One sample in a hundred is in the middle between two opposite modes."""
    x, K = p.sample(n, g), len(p.mode_weights)
    m = len(x[::100])
    x[::100] = 0.5 * (p.conditioned_on(0).sample(m, g) + p.conditioned_on(K // 2).sample(m, g))
    return x


def blur(p: Distribution, n: int, g: Generator) -> Tensor:
    """Exact samples with noise of standard deviation 0.1."""
    return p.sample(n, g) + 0.1 * torch.randn(n, 2, generator=g)


def outliers(p: Distribution, n: int, g: Generator) -> Tensor:
    """One sample in a thousand is twenty times too far from the origin."""
    x = p.sample(n, g)
    x[::1000] *= 20.0
    return x


def flow(p: Distribution, n: int, g: Generator) -> Tensor:
    """The probability flow of the exact score: no error."""
    return FLOW(ExactDenoiser(p, SCHEDULE), n, g)


def score(p: Distribution, n: int, g: Generator) -> Tensor:
    """The probability flow of a score that is 1 % too small."""
    return FLOW(ScaledScore(ExactDenoiser(p, SCHEDULE), 0.99), n, g)


def churn(p: Distribution, n: int, g: Generator) -> Tensor:
    """EDM's stochastic sampler with the exact score: no error."""
    return CHURN(ExactDenoiser(p, SCHEDULE), n, g)


def noise(p: Distribution, n: int, g: Generator) -> Tensor:
    """EDM's stochastic sampler with noise that is 2 % too large."""
    return EDMStochastic(CHURN.n_steps, S_noise=1.02)(ExactDenoiser(p, SCHEDULE), n, g)


def ancestral(p: Distribution, n: int, g: Generator) -> Tensor:
    """Ancestral sampling with the exact score: no error except discretisation."""
    return ANCESTRAL(ExactDenoiser(p, SCHEDULE), n, g)


def root(p: Distribution, n: int, g: Generator) -> Tensor:
    """Ancestral sampling without the square root of the variance."""
    sampler = RootDropped(ANCESTRAL.variance, ANCESTRAL.n_steps, ANCESTRAL.grid)
    return sampler(ExactDenoiser(p, SCHEDULE), n, g)


ERRORS: dict[str, tuple[Callable[[Distribution, int, Generator], Tensor], int]] = {
    "none: exact samples": (exact, MOST),
    "none: probability flow": (flow, MOST_SAMPLED),
    "none: stochastic sampler": (churn, MOST_SAMPLED),
    "none: ancestral": (ancestral, MOST_SAMPLED),
    "score x 0.99": (score, MOST_SAMPLED),
    "sampler's noise x 1.02": (noise, MOST_SAMPLED),
    "ancestral noise, root dropped": (root, MOST_SAMPLED),
    "a mode weight off by 0.01": (weight, MOST),
    "1 % between the modes": (between, MOST),
    "blur 0.1": (blur, MOST),
    "0.1 % outliers, x 20": (outliers, MOST),
}
