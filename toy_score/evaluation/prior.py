r"""The doctor on the highest noise level: are the noised data there what samplers start from?

The noised data are compared with the prior by `KL(p_T || N(0, sigma_T^2 I))`, and by the sliced Wasserstein distance
that the exact flow is left with when it starts from the prior.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from toy_score.denoisers import Denoiser
from toy_score.denoisers.base import At
from toy_score.distributions import Distribution
from toy_score.distributions.base import evenly_spread
from toy_score.evaluation.finding import Finding
from toy_score.metrics import SlicedWasserstein
from toy_score.samplers import (
    SRA1,
    AnnealedLangevin,
    ConsistentAnnealedSampling,
    DDPMAncestral,
    EulerMaruyama,
    Langevin,
    NoiseStream,
    PredictorCorrector,
    ReverseDiffusion,
    RungeKutta4,
    Sampler,
    SDEDPMSolver2M,
    StochasticMidpoint,
)
from toy_score.schedules import EDM, Schedule
from toy_score.seeds import seed_of

__all__ = ["extent", "prior", "prior_kl", "standard_deviation", "widest_level"]

N = 20_000
PRIOR_KL = 3e-3  # nats above which even a sampler that forgets its start is off
FORGETTING = (
    AnnealedLangevin,
    Langevin,
    StochasticMidpoint,
    SRA1,
    SDEDPMSolver2M,
    DDPMAncestral,
    EulerMaruyama,
    ReverseDiffusion,
)
"""Samplers that renew all noise on the way, so that nothing of a wrong prior is left."""
GOOD_PRIOR_KL = 5e-5  # nats at which the prior's share of the sliced W1 of 20 000 samples is below the floor


def prior(
    distribution: Distribution, schedule: Schedule, sampler: Sampler | None = None, least: float = 0.0
) -> Finding:
    """Whether the noised data at the highest level are the prior; the advice is `wider`, for a level of `least`."""
    top = schedule.ratios[1]
    kl = prior_kl(distribution, top)
    share = prior_share(distribution, top)
    forgets = forgets_start(sampler)
    text = (
        f"at sigma / alpha = {top:.4g} the noised data are {kl:.2g} nats from the prior, "
        f"which alone costs the exact flow {share:.1f} x the floor in sliced W1"
    )
    if forgets and share >= 1.0:
        text += f" ({type(sampler).__name__} forgets it)"
    good = kl < GOOD_PRIOR_KL or (kl < PRIOR_KL and (forgets or share < 1.0))
    return Finding("prior", text, good, "" if good else wider(distribution, schedule, least))


def widest_level(distribution: Distribution, schedule: Schedule, largest: float) -> Finding:
    """Whether the highest level is at least the largest distance between points (NCSNv2, technique 1).

    Chains at that level then reach all of the data from everywhere. The advice is that of `prior`: one level for both.
    """
    top = schedule.ratios[1]
    text = f"the highest level is sigma / alpha = {top:.3g}, the largest distance between points {largest:.2g}"
    good = top >= largest
    return Finding("highest level", text, good, "" if good else wider(distribution, schedule, largest))


def wider(distribution: Distribution, schedule: Schedule, least: float = 0.0) -> str:
    """Advice: the setting with which the noised data are the prior, and the highest level is at least `least`."""
    name = schedule.widest

    def good(s: Schedule) -> bool:
        return s.ratios[1] >= least and prior_kl(distribution, s.ratios[1]) < GOOD_PRIOR_KL

    now = getattr(schedule, name)
    better = first_good(schedule, name, good, now, 1.2)
    return f"use {name} = {better:.2g} (now {now:.3g})" if better else "use more steps"


def forgets_start(sampler: Sampler | None) -> bool:
    """Whether a sampler renews all noise on the way."""
    if isinstance(sampler, PredictorCorrector):
        return forgets_start(sampler.predictor)
    if isinstance(sampler, ConsistentAnnealedSampling):
        return sampler.power >= 2
    return isinstance(sampler, FORGETTING)


def prior_kl(distribution: Distribution, sigma: float, n: int = 8192) -> float:
    """`KL(p_sigma || N(0, sigma^2 I))` in nats, >= 0.

    With `log p_sigma - log N` replaced by `log p_sigma - log N - (N / p_sigma - 1)`, which has the same mean and is
    smaller by orders of magnitude in its scatter (Schulman 2020: an estimate that is never negative).
    """
    generator = torch.Generator().manual_seed(seed_of("prior"))
    eps = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    y = distribution.reference(n) + sigma * eps
    log_ratio = gaussian_log_prob(y, sigma) - distribution.log_prob(y, sigma)
    return (log_ratio.expm1() - log_ratio).mean().item()


def gaussian_log_prob(y: Tensor, sigma: float) -> Tensor:
    """`log N(y; 0, sigma^2 I)`, `(n,)`."""
    return -0.5 * (y / sigma).square().sum(dim=-1) - math.log(2.0 * math.pi * sigma**2)


def prior_share(distribution: Distribution, sigma: float) -> float:
    """Sliced W1 that the exact flow is left with when it starts from `N(0, sigma^2 I)`, in floors of 20 000 samples.

    With evenly spread points. The flow is followed in units of the data's standard deviation, to a hundredth of it,
    whatever the schedule: an error of the steps would be taken for one of the prior.
    """
    unit = standard_deviation(distribution) or sigma
    flow = _InUnits(distribution, unit, EDM(min(0.01, 0.5 * sigma / unit), sigma / unit))
    z = sigma / unit * torch.special.ndtri(evenly_spread(16_384, 2, "prior")).float()
    metric = SlicedWasserstein(distribution, sync_on_compute=False)  # measured by one process, without the others
    metric.update(unit * RungeKutta4(8).walk(flow, z, NoiseStream(0, 0, len(z))))
    return (metric.compute() / metric.noise_floor(N)).item()


class _InUnits(Denoiser):
    """The exact denoiser of `x / unit`, for `x` of a distribution, on a schedule that keeps the signal."""

    def __init__(self, distribution: Distribution, unit: float, schedule: EDM):
        self.distribution, self.unit, self.schedule = distribution, unit, schedule

    def denoise(self, x: Tensor, t: At) -> Tensor:
        return self._both(x, t)[1]

    def noise(self, x: Tensor, t: At) -> Tensor:
        return self._both(x, t)[0]

    def velocity(self, x: Tensor, t: At) -> Tensor:
        sigma, (noise, D) = self._level(x, t).sigma, self._both(x, t)
        return (noise - sigma * D) / torch.hypot(torch.ones_like(sigma), sigma)

    def _both(self, x: Tensor, t: At) -> tuple[Tensor, Tensor]:
        sigma = self.unit * self._level(x, t).sigma
        score, D = self.distribution.score_and_denoise(self.unit * x, sigma)
        return -sigma * score, D / self.unit


def standard_deviation(distribution: Distribution) -> float:
    """The standard deviation of the data per coordinate."""
    return distribution.reference(8192).var(dim=0).mean().sqrt().item()


def extent(distribution: Distribution) -> float:
    """The largest distance between points: the largest extent of 8192 points along 64 directions."""
    angles = torch.arange(64, dtype=torch.float64) * math.pi / 64
    along = distribution.reference(8192).double() @ torch.stack([angles.cos(), angles.sin()])
    return (along.amax(dim=0) - along.amin(dim=0)).max().item()


def first_good(
    schedule: Schedule, name: str, good: Callable[[Schedule], bool], value: float, factor: float, tries: int = 60
) -> float | None:
    """The first value of an argument, raised by a factor again and again, with which the schedule is good.

    It has two digits: what is tried is what is shown.
    """
    for _ in range(tries):
        value *= factor
        shown = float(f"{value:.2g}")
        try:
            if good(replace(schedule, **{name: shown})):
                return shown
        except ValueError:
            return None
    return None
