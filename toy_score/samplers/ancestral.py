r"""Ancestral sampling: the forward chain in reverse, one conditional distribution at a time.

Between two levels `t` and a lower `s`, the forward process is `x_t = a x_s + N(0, b I)` with `a = alpha_t / alpha_s`,
`b = sigma_t^2 - a^2 sigma_s^2`. Given `x_0`, the reverse is Gaussian (Ho et al. 2020, eqs. 6 and 7, for any schedule):

    mean     = a (sigma_s / sigma_t)^2 x_t + alpha_s (b / sigma_t^2) x_0,
    variance = b (sigma_s / sigma_t)^2.

The samplers replace `x_0` by the denoised point. DDIM keeps the mean of `x_s` given `x_0`; a parameter sets the share
of new noise.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from toy_score.checks import check_at_least
from toy_score.denoisers import Denoiser
from toy_score.samplers.base import GridSampler, NoiseStream, Sampler
from toy_score.samplers.grids import Angular, Geometric, Grid, Uniform
from toy_score.schedules import Level, Schedule

__all__ = ["DDIM", "ConsistentAnnealedSampling", "DDPMAncestral"]


@dataclass(frozen=True)
class DDPMAncestral(Sampler):
    """DDPM's sampler (Ho et al. 2020, algorithm 2), over the levels of any schedule.

    Args:
        variance: of the reverse step, one of the two that section 3.2 of the paper gives: `forward` is `b`, which for
            DDPM's ladder is `beta_t`, exact for normal data of unit variance; `posterior` is `b (sigma_s / sigma_t)^2`,
            exact for data in a single point. The last step, to the data, adds no noise.
        n_steps: number of steps, >= 1; the schedule's own T if None.
        grid: at which times they begin; DDPM's chain is uniform in time.

    Raises:
        ValueError: for an unknown variance, or `n_steps < 1`.
    """

    variance: Literal["posterior", "forward"] = "posterior"
    n_steps: int | None = None
    grid: Grid = Uniform()

    def __post_init__(self) -> None:
        if self.variance not in ("posterior", "forward"):
            raise ValueError(f"unknown variance {self.variance!r}; choose posterior or forward")
        if self.n_steps is not None:
            check_at_least(1, n_steps=self.n_steps)

    def times(self, schedule: Schedule) -> Tensor:
        return self.grid(schedule, schedule.n_steps if self.n_steps is None else self.n_steps)

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        a, b = forward_step(t, s)
        keep = (s.sigma / t.sigma) ** 2
        mean = a * keep * x + (s.alpha * b / t.sigma**2) * denoiser.denoise(x, t)
        return mean + (b * keep if self.variance == "posterior" else b) ** 0.5 * noise.normal()


@dataclass(frozen=True)
class DDIM(GridSampler):
    """Denoising diffusion implicit models (Song, Meng & Ermon 2021, eq. 12): between reused and new noise.

    `x_s = alpha_s D + sqrt(sigma_s^2 - c^2) noise + c z` with `c^2 = eta^2 b (sigma_s / sigma_t)^2`: `eta = 1` is
    ancestral sampling with the posterior variance, `eta = 0` is Euler's method for the flow in `sigma / alpha`.

    Args:
        n_steps: number of steps, >= 1, as many evaluations.
        eta: share of new noise, in [0, 1].
        grid: at which times the steps begin.

    Raises:
        ValueError: if an argument is out of range.
    """

    n_steps: int = 100
    eta: float = 0.0
    grid: Grid = Angular()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must be in [0, 1], got {self.eta}; 0 is deterministic, 1 is ancestral")

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        _, b = forward_step(t, s)
        eps = denoiser.noise(x, t)
        fresh = self.eta**2 * b * (s.sigma / t.sigma) ** 2
        D = (x - t.sigma * eps) / t.alpha
        mean = s.alpha * D + (s.sigma**2 - fresh) ** 0.5 * eps
        return mean + fresh**0.5 * noise.normal() if fresh > 0 else mean


@dataclass(frozen=True)
class ConsistentAnnealedSampling(GridSampler):
    """Consistent annealed sampling (Jolicoeur-Martineau et al. 2021, algorithm 2): the next level is met exactly.

    Each step removes a share `eta` of the noise and adds as much as the next level lacks. In `y = x / alpha`,

        y_s = y + eta (D - y) + c z,    c^2 = r_s^2 - (1 - eta)^2 r_t^2 + eta^2 V,    V = r_t^2 d^2 / (r_t^2 + d^2).

    With `V = 0` this is the paper's, whose noise is exact for data in a point. For other data the step loses `eta^2 V`
    of their variance, where `V` is that of the clean point given the noisy one; the formula is that of normal data of
    standard deviation `d`, for which the law of the samples is then exact up to the last step. The share is `eta = 1 -
    (r_s / r_t)^power`, which on NCSN's geometric levels is the paper's constant `eps / sigma_L^2` (Serra et al. 2021
    choose it so, since it is valid for any number of levels).

    Args:
        n_steps: number of levels, >= 1, as many evaluations.
        power: how much noise is renewed, >= 1: 1 is none, the deterministic `DDIM`; 2 is ancestral sampling with the
            posterior variance.
        data_std: `d`, the standard deviation of the data per coordinate, >= 0; 0 is the paper's.
        grid: at which times the steps begin.

    Raises:
        ValueError: if an argument is out of range.
    """

    n_steps: int = 200
    power: float = 2.0
    data_std: float = 0.0
    grid: Grid = Geometric()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, "1 is deterministic, 2 is ancestral sampling", power=self.power)
        check_at_least(0, "0 is the published method", data_std=self.data_std)

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        kept, d = (s.ratio / t.ratio) ** self.power, self.data_std
        V = (t.ratio * d) ** 2 / (t.ratio**2 + d**2)
        added = s.ratio**2 - (kept * t.ratio) ** 2 + (1.0 - kept) ** 2 * V
        mean = kept / t.alpha * x + (1.0 - kept) * denoiser.denoise(x, t)
        return s.alpha * (mean + max(added, 0.0) ** 0.5 * noise.normal())


def forward_step(t: Level, s: Level) -> tuple[float, float]:
    """`a` and `b` of the forward process between two levels, `x_t = a x_s + N(0, b I)`."""
    a = t.alpha / s.alpha
    return a, t.sigma**2 - (a * s.sigma) ** 2
