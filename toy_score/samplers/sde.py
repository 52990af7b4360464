r"""The reverse-time stochastic differential equation, and predictors with correctors (Song et al. 2021).

The forward process of a schedule is `dx = f x dt + g dw`; in reverse time it is, with the score (eq. 6),

    dx = (f x - g^2 score) dt + g dw,    dt < 0.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from toy_score.checks import check_at_least
from toy_score.component import Component
from toy_score.denoisers import Denoiser
from toy_score.samplers.ancestral import forward_step
from toy_score.samplers.base import GridSampler, MultistepSampler, NoiseStream, Sampler
from toy_score.samplers.grids import Angular, Geometric, Grid
from toy_score.samplers.langevin import langevin_step
from toy_score.schedules import Level, Schedule

__all__ = ["Corrector", "EulerMaruyama", "LangevinCorrector", "NoPredictor", "PredictorCorrector", "ReverseDiffusion"]


@dataclass(frozen=True)
class EulerMaruyama(GridSampler):
    """Euler and Maruyama's method for the reverse SDE: weak order 1.

    `x_s = x + (f x - g^2 score) (s - t) + g sqrt(t - s) z`; the last step is the denoised point.

    Args:
        n_steps: number of steps, >= 1, as many evaluations.
        grid: at which times they begin.
    """

    n_steps: int = 500
    grid: Grid = Angular()

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        time = torch.tensor(t.time, dtype=torch.float64)
        f, g = denoiser.schedule.drift(time).item(), denoiser.schedule.diffusion(time).item()
        dt = s.time - t.time
        return x + dt * (f * x - g**2 * denoiser.score(x, t)) + g * (-dt) ** 0.5 * noise.normal()


@dataclass(frozen=True)
class ReverseDiffusion(GridSampler):
    """The reverse SDE, discretised like the forward chain (Song et al. 2021, eq. 46).

    Where the chain takes `x_t = a x_s + sqrt(b) z`, the reverse step is `x_s = (2 - a) x_t + b score + sqrt(b) z`; the
    last step is the denoised point.

    Args:
        n_steps: number of steps, >= 1, as many evaluations.
        grid: at which times they begin.
    """

    n_steps: int = 500
    grid: Grid = Angular()

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        a, b = forward_step(t, s)
        return (2.0 - a) * x + b * denoiser.score(x, t) + b**0.5 * noise.normal()


@dataclass(frozen=True)
class NoPredictor(GridSampler):
    """Goes to the next level and leaves the points where they are; only the corrector moves them.

    Args:
        n_steps: number of levels, >= 1.
        grid: which.
    """

    evaluations_per_step = 0

    n_steps: int = 40
    grid: Grid = Geometric()

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        return x * (s.alpha / t.alpha)


class Corrector(Component, ABC):
    """Moves points towards the distribution at one noise level."""

    @property
    @abstractmethod
    def evaluations(self) -> int:
        """Evaluations of the denoiser at each level."""

    @abstractmethod
    def __call__(self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream) -> Tensor:
        """`(n, 2)` to `(n, 2)`, at level `t`."""


@dataclass(frozen=True)
class LangevinCorrector(Corrector):
    """Steps of Langevin dynamics with a size set by the signal-to-noise ratio (Song et al. 2021, algorithm 4).

    The paper's steps are `x + e score + sqrt(2 e) z` with `e = 2 (snr |z| / |score|)^2`: the first term is `snr` times
    as long as the second. Its norms are averages over the batch, so the chains depend on one another. We use their
    value for pure noise, `|z| / |score| = sigma`, so every chain takes the same step, `e = 2 (snr sigma)^2`. Below the
    scale of data that fill the plane the score is much shorter than that, and the paper's steps would become unstable.
    The paper's variant for DDPM's chain (algorithm 5) multiplies `e` by `alpha_i = 1 - beta_i`, at least 0.98 on the
    default ladder; we leave the factor out, so that in `x / alpha` the steps are the same on every schedule.
    Annealed Langevin dynamics, whose step is `2 e` where alpha is 1, is the case `snr = sqrt(eps) / (2 sigma_L)`.

    Args:
        snr: > 0, stable below 1; the paper's 0.16.
        n_steps: steps at each level, >= 1.

    Raises:
        ValueError: if an argument is out of range.
    """

    snr: float = 0.16
    n_steps: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.snr < 1:
            raise ValueError(f"snr must be in (0, 1), where Langevin steps are stable, got {self.snr}; 0.16 is common")
        check_at_least(1, n_steps=self.n_steps)

    @property
    def evaluations(self) -> int:
        return self.n_steps

    def __call__(self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream) -> Tensor:
        for _ in range(self.n_steps):
            x = langevin_step(denoiser, x, t, 4.0 * (self.snr * t.ratio) ** 2, noise)
        return x


@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    """At each level the corrector improves the samples, then the predictor goes to the next level (Song et al. 2021,
    algorithm 1).

    Any one-step sampler can predict; with `NoPredictor` the method is annealed Langevin dynamics.

    Args:
        predictor: also decides the levels, the start and the last step.
        corrector: applied at every level, before the predictor leaves it.

    Raises:
        ValueError: for a multistep predictor, whose history the corrector would invalidate.
    """

    predictor: Sampler = ReverseDiffusion()
    corrector: Corrector = LangevinCorrector()

    def __post_init__(self) -> None:
        if isinstance(self.predictor, MultistepSampler):
            raise ValueError(
                f"{type(self.predictor).__name__} cannot be the predictor of PredictorCorrector: the corrector would "
                "invalidate its history; choose a one-step sampler such as ReverseDiffusion or Heun"
            )

    def times(self, schedule: Schedule) -> Tensor:
        return self.predictor.times(schedule)

    def check(self, denoiser: Denoiser) -> None:
        super().check(denoiser)
        self.predictor.check(denoiser)

    def nfe(self, schedule: Schedule) -> int:
        return self.predictor.nfe(schedule) + self.corrector.evaluations * len(self.times(schedule))

    def start(self, schedule: Schedule, noise: NoiseStream) -> Tensor:
        return self.predictor.start(schedule, noise)

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        return self.predictor.step(denoiser, self.corrector(denoiser, x, t, noise), t, s, noise)

    def last(self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream) -> Tensor:
        return self.predictor.last(denoiser, self.corrector(denoiser, x, t, noise), t, noise)
