r"""The reverse SDE in the variables in which its noise is additive, and solvers of higher order for it.

With `y = x / alpha`, `r = sigma / alpha` and `lambda = 1 / r^2` as time, the reverse-time SDE of every schedule is

    du = D dlambda + dB,    u = y / r^2,

where `B` is a standard Brownian motion (stochastic localisation: Montanari 2023, eq. 1.3). The linear part of the score
is solved exactly, and the noise does not depend on the state. From level `t` to a lower level `s`,

    y_s = (r_s / r_t)^2 y_t + (1 - (r_s / r_t)^2) D + r_s^2 (B_s - B_t),

with the mean of `D` over `lambda` in the step. `D` at its beginning gives ancestral sampling with the posterior
variance, which is therefore Euler and Maruyama's method for this SDE. The methods below evaluate `D` twice in a step.
Strong order is about single paths of `B`; weak order is about the law of the samples.
"""

from dataclasses import dataclass

from torch import Tensor

from toy_score.checks import check_at_least
from toy_score.denoisers import Denoiser
from toy_score.samplers.base import GridSampler, NoiseStream
from toy_score.samplers.grids import Angular, Grid
from toy_score.samplers.ode import to_data
from toy_score.schedules import Level, Schedule

__all__ = ["SRA1", "StochasticMidpoint", "precision", "reverse_step"]


def precision(level: Level) -> float:
    """`lambda = 1 / r^2`: the inverse variance of the noise, and the time of the Brownian motion."""
    return level.ratio**-2


def reverse_step(x: Tensor, D: Tensor, t: Level, s: Level, dB: Tensor) -> Tensor:
    """The step from `t` to `s` with a mean denoised point `D` and an increment `dB` of the Brownian motion."""
    keep = (s.ratio / t.ratio) ** 2
    return s.alpha * (keep / t.alpha * x + (1.0 - keep) * D + s.ratio**2 * dB)


class _TwoStageMethod(GridSampler):
    """The common part of the methods with two evaluations in a step."""

    evaluations_per_step = 2

    def last(self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream) -> Tensor:
        return to_data(denoiser, x, t)

    def within(self, schedule: Schedule, t: Level, s: Level, share: float) -> Level:
        """The level after a share of the step from `t` to `s`, in `lambda`."""
        between = precision(t) + share * (precision(s) - precision(t))
        return schedule.level_at(between**-0.5)


@dataclass(frozen=True)
class StochasticMidpoint(_TwoStageMethod):
    """The midpoint rule for the reverse SDE, with one Brownian path for both stages: weak order 2, strong order 1.

    A step of half the length in `lambda` gives the point `x_m` at which the denoiser is evaluated for the whole step.
    The increment of the whole step is that of the first half plus a new one, so the stage and the step see the same
    noise; with independent noise the weak order would be 1.

    The last step, from the lowest level `r` to the data, is that of the flow, `y - (r / 2) noise`, half-way to the
    denoised point: exact to order `r^4` for a smooth density, but it ends beyond a hard edge where the noise left the
    point more than 0.612 r outside. A straight edge at which the density is `f` has `0.165 f r` of the mass outside
    then. The denoised point, the mean of the clean points, is inside wherever the data are convex (Jolicoeur-Martineau
    et al. 2021, section 3.2); its law is exact to order `r^2`, and about `0.3 r` at an edge is nearly empty. That of a
    network may still be outside by a part of `r`; denoised again it moves inside. This is mean shift, `y + r^2 grad log
    p_r(y)` (Comaniciu & Meer 2002), which goes uphill on the density at the lowest level: what is inside an edge moves
    as well, so three denoisings leave about `1.2 r` nearly empty.

    Args:
        n_steps: number of steps, >= 1.
        grid: at which times they begin.
        denoisings: how often the last point is denoised, >= 0; with 0 the last step is that of the flow. For data with
            hard edges take 1 with the exact denoiser, and 3 with a network. A sample takes `2 n_steps - 1` evaluations,
            and one more for each denoising after the first.

    Raises:
        ValueError: for `denoisings < 0` or `n_steps < 1`.
    """

    n_steps: int = 32
    grid: Grid = Angular()
    denoisings: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(0, denoisings=self.denoisings)

    def nfe(self, schedule: Schedule) -> int:
        return super().nfe(schedule) + max(self.denoisings - 1, 0)

    def last(self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream) -> Tensor:
        if self.denoisings == 0:
            return super().last(denoiser, x, t, noise)
        for _ in range(self.denoisings):
            y = denoiser.denoise(x, t)
            x = t.alpha * y
        return y

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        m = self.within(denoiser.schedule, t, s, 0.5)
        half = (0.5 * (precision(s) - precision(t))) ** 0.5
        first, second = half * noise.normal(), half * noise.normal()
        x_m = reverse_step(x, denoiser.denoise(x, t), t, m, first)
        return reverse_step(x, denoiser.denoise(x_m, m), t, s, first + second)


@dataclass(frozen=True)
class SRA1(_TwoStageMethod):
    """Roessler's method SRA1 for the reverse SDE: strong order 1.5, weak order 2 (Roessler 2010, table 6.1).

    With `h` the step in `lambda`, `dB` its increment and `I = int (B - B_t) dlambda`, both made of two normals,

        u_m = u_t + (3/4) h D_t + (3/2) I / h,    u_s = u_t + h (D_t + 2 D_m) / 3 + dB.

    Args:
        n_steps: number of steps, >= 1; `2 n_steps - 1` evaluations.
        grid: at which times they begin.
    """

    n_steps: int = 48
    grid: Grid = Angular()

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        m, h = self.within(denoiser.schedule, t, s, 0.75), precision(s) - precision(t)
        z, other = noise.normal(), noise.normal()
        dB, I_over_h = h**0.5 * z, 0.5 * h**0.5 * (z + 3**-0.5 * other)
        D = denoiser.denoise(x, t)
        D_m = denoiser.denoise(reverse_step(x, D, t, m, 1.5 * I_over_h), m)
        return reverse_step(x, (D + 2.0 * D_m) / 3.0, t, s, dB)
