r"""The probability flow: an ordinary differential equation with the same marginals as the noising process.

In Karras' variables `y = x / alpha`, `r = sigma / alpha` it is, for every schedule (Karras et al. 2022, eq. 4),

    dy / dr = (y - D(y; r)) / r = noise.

`y` and `r` grow without bound. *On the circle* means: in `z = x / R` and `phi = arctan r`, where `R^2 = alpha^2 +
sigma^2`,

    dz / dphi = velocity,

whose state and slope keep the size of the data (Salimans & Ho 2022, appendix D). Methods that step in these variables
have errors ten to a thousand times smaller at equal evaluations.

The last step ends at `r = 0`, where no evaluation is needed: for data with a density the noise there is `-r score = 0`.
The trapezoidal rule with that slope, `y - (r / 2) noise`, is exact to order `r^4`, since the noise is an odd function
of `r`. Euler's step gives the denoised point, which shrinks the data by the blur of the last level.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from toy_score.checks import check_at_least, check_positive
from toy_score.denoisers import Denoiser, ExactDenoiser
from toy_score.distributions import SplitNormal
from toy_score.samplers.base import GridSampler, MultistepSampler, NoiseStream, Sampler, draw_seed
from toy_score.samplers.grids import Angular, Grid, Karras
from toy_score.schedules import Level, Schedule
from toy_score.solvers import DORMAND_PRINCE, RK4, combine, solve_adaptively, stages

__all__ = ["AdaptiveDormandPrince", "DormandPrince", "EDMStochastic", "Euler", "Heun", "RungeKutta4"]


def to_data(denoiser: Denoiser, x: Tensor, t: Level) -> Tensor:
    """The flow's last step, from a low level `t` to the data: `y - (r / 2) noise`.

    From a source, the slope at the data is not 0 but the mean of the source points that are paired with a data point.
    The step is Euler's then, the denoised point.
    """
    if denoiser.source is not None:
        return denoiser.denoise(x, t)
    return x / t.alpha - 0.5 * t.ratio * denoiser.noise(x, t)


def heun_step(denoiser: Denoiser, x: Tensor, t: Level, s: Level) -> Tensor:
    """Heun's step in `r` from level `t` to `s`, either way (Karras et al. 2022, algorithm 1, lines 4 to 8)."""
    y, h = x / t.alpha, s.ratio - t.ratio
    d = denoiser.noise(x, t)
    d_next = denoiser.noise(s.alpha * (y + h * d), s)
    return s.alpha * (y + 0.5 * h * (d + d_next))


@dataclass(frozen=True)
class Euler(GridSampler):
    """Euler's method in `r`: a straight line along the noise; order 1. The last step is the denoised point.

    Args:
        n_steps: number of steps, >= 1, as many evaluations.
        grid: at which times they begin.
    """

    follows_flow = True

    n_steps: int = 100
    grid: Grid = Karras()

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        return s.alpha * (x / t.alpha + (s.ratio - t.ratio) * denoiser.noise(x, t))


@dataclass(frozen=True)
class Heun(GridSampler):
    """Heun's method in `r`, as in EDM (Karras et al. 2022, algorithm 1): Euler, then the trapezoidal rule; order 2.

    Args:
        n_steps: number of steps, >= 1; `2 n_steps - 1` evaluations.
        grid: at which times they begin.

    Example:
        >>> exact = ExactDenoiser(Heart(), EDM(sigma_min=0.02, sigma_max=500.0))
        >>> sampler = Heun(n_steps=12)
        >>> sampler.nfe(exact.schedule)  # evaluations of the denoiser for a sample
        23
        >>> sampler(exact, n=1000, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([1000, 2])
    """

    follows_flow = True
    evaluations_per_step = 2

    n_steps: int = 18
    grid: Grid = Karras()

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        return heun_step(denoiser, x, t, s)

    def last(self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream) -> Tensor:
        return to_data(denoiser, x, t)


@dataclass(frozen=True)
class RungeKutta4(GridSampler):
    """The classical Runge-Kutta method on the circle; order 4.

    Args:
        n_steps: number of steps, >= 1; `4 n_steps - 3` evaluations.
        grid: at which times they begin.

    Example:
        >>> exact = ExactDenoiser(Heart(), EDM(sigma_min=0.02, sigma_max=500.0))
        >>> x = RungeKutta4(n_steps=5)(exact, n=1000, generator=torch.Generator().manual_seed(0))
        >>> evaluate(x, Heart()).as_dict()["sliced_w1"]["ratio"] < 1.5  # of the value that exact samples get
        True
    """

    follows_flow = True
    evaluations_per_step = 4

    n_steps: int = 5
    grid: Grid = Angular()

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        z, _ = stages(RK4, denoiser.flow, t.angle, x / t.radius, s.angle - t.angle)
        return s.radius * z

    def last(self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream) -> Tensor:
        return to_data(denoiser, x, t)


class DormandPrinceMemory(NamedTuple):
    """The slope at the end of the latest step, `(n, 2)`, and the error estimates so far, `(n,)`."""

    slope: Tensor
    error: Tensor


@dataclass(frozen=True)
class DormandPrince(MultistepSampler[DormandPrinceMemory], GridSampler):
    """Dormand and Prince's method of order 5 on the circle, on a fixed grid, with an error estimate for every sample.

    It is as accurate as adaptive steps at equal evaluations, and each sample depends on its own noise only.

    Args:
        n_steps: number of steps, >= 1; `6 n_steps - 4` evaluations, a single one for one step.
        grid: at which times they begin.
    """

    follows_flow = True
    evaluations_per_step = 6  # the last slope of a step is the first of the next

    n_steps: int = 6
    grid: Grid = Angular()

    def multistep(
        self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream, memory: DormandPrinceMemory | None
    ) -> tuple[Tensor, DormandPrinceMemory]:
        h = s.angle - t.angle
        first, error = (None, x.new_zeros(len(x))) if memory is None else memory
        z, slopes = stages(DORMAND_PRINCE, denoiser.flow, t.angle, x / t.radius, h, first)
        error = error + combine(torch.zeros_like(z), h, DORMAND_PRINCE.error, slopes).norm(dim=1)
        return s.radius * z, DormandPrinceMemory(slopes[-1], error)

    def last(self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream) -> Tensor:
        return to_data(denoiser, x, t)

    def nfe(self, schedule: Schedule) -> int:
        return super().nfe(schedule) + (self.n_steps > 1)  # the first slope of the first step

    def with_error(self, denoiser: Denoiser, n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """The samples of `__call__`, `(n, 2)`, and for each an estimate of its distance from the exact flow's, `(n,)`.

        The estimate is the sum over the steps of the distance between the method's solution and its embedded one of
        order 4. It is not a bound, because the flow can amplify an error later. Where the flow separates, between
        modes, the true distance can be many times as large.
        """
        seed, device = draw_seed(generator)
        noise = NoiseStream(seed, 0, n, device)
        error = torch.zeros(n, device=device)

        def observe(step: int, x: Tensor, memory: DormandPrinceMemory | None) -> None:
            nonlocal error
            error = error if memory is None else memory.error

        x = self.walk(denoiser, self.begin(denoiser, noise), noise, observe=observe)
        return x, error


@dataclass(frozen=True)
class AdaptiveDormandPrince(Sampler):
    """Dormand and Prince's method of order 5 with adaptive steps for each sample.

    Each sample has its own step size. So results do not depend on the batch, not even through rounding, and a sample
    that is not finite does not stop the others.

    Args:
        tolerance: largest error estimate of a step, relative to `1 + |z|`, > 0.

    Raises:
        ValueError: if `tolerance` is not positive.
    """

    follows_flow = True

    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        check_positive("1e-3 is a good choice", tolerance=self.tolerance)

    def times(self, schedule: Schedule) -> Tensor:
        return torch.tensor([schedule.t_max, schedule.t_min], dtype=torch.float64)

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        return s.radius * solve_adaptively(denoiser.flow, x / t.radius, t.angle, s.angle, self.tolerance).y

    def last(self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream) -> Tensor:
        return to_data(denoiser, x, t)

    def nfe(self, schedule: Schedule) -> int:
        """Rounded mean over 256 samples of the split normal: the true number depends on the denoiser and the sample."""
        begin, end = (math.atan(r) for r in reversed(schedule.ratios))
        z = math.sin(begin) * NoiseStream(0, 0, 256).normal()
        solution = solve_adaptively(ExactDenoiser(SplitNormal(), schedule).flow, z, begin, end, self.tolerance)
        return round(solution.evaluations.double().mean().item()) + 1


@dataclass(frozen=True)
class EDMStochastic(GridSampler):
    """EDM's stochastic sampler (Karras et al. 2022, algorithm 2): noise is added before each step of Heun's method.

    From `r` up to `r (1 + gamma)`, `gamma = min(S_churn / n_steps, sqrt(2) - 1)` where `S_tmin <= r <= S_tmax`, but not
    above the schedule's highest level, where no network was trained.

    Args:
        n_steps: number of steps, >= 1; `2 n_steps - 1` evaluations.
        S_churn: amount of noise over the whole walk, >= 0; 0 is `Heun`.
        S_tmin, S_tmax: noise levels between which it is added.
        S_noise: standard deviation of the noise added, > 0; slightly above 1 compensates for a denoiser that removes
            too much.
        grid: at which times the steps begin.

    Raises:
        ValueError: if an argument is out of range.
    """

    evaluations_per_step = 2

    n_steps: int = 40
    S_churn: float = 10.0
    S_tmin: float = 0.05
    S_tmax: float = 50.0
    S_noise: float = 1.0
    grid: Grid = Angular()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(0, S_churn=self.S_churn)
        check_positive(S_noise=self.S_noise)
        if not 0 <= self.S_tmin <= self.S_tmax:
            raise ValueError(f"0 <= S_tmin <= S_tmax must hold, got {self.S_tmin} and {self.S_tmax}; swap them?")

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        schedule = denoiser.schedule
        if self.S_tmin <= t.ratio <= self.S_tmax:
            gamma = min(self.S_churn / self.n_steps, 2**0.5 - 1)
            up = schedule.level_at(min(t.ratio * (1 + gamma), schedule.ratios[1]))
            added = max(up.ratio**2 - t.ratio**2, 0.0) ** 0.5
            scaled = (up.alpha / t.alpha) * x
            x, t = scaled.add_(noise.normal(), alpha=up.alpha * added * self.S_noise), up
        return heun_step(denoiser, x, t, s)

    def last(self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream) -> Tensor:
        return to_data(denoiser, x, t)
