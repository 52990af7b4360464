r"""A doctor for schedules: would the optimal denoiser succeed with these choices?

The truth is known, so the question has an answer before any training. The noised data at the highest level are compared
with the prior that samplers start from, `KL(p_T || N(0, sigma_T^2 I))`, and by the sliced Wasserstein distance that the
exact flow is left with when it starts there; the lowest level is compared with the data's finest detail,
`KL(p || p_sigma_min)`; and the settings of the network and the sampler are compared with the data.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from toy_score.denoisers import ExactDenoiser
from toy_score.distributions import Distribution, GaussianMixture, Points
from toy_score.distributions.base import evenly_spread
from toy_score.evaluation.finding import Finding
from toy_score.evaluation.langevin import langevin_step, overlap, uniform_start, widest_level
from toy_score.metrics import SlicedWasserstein, noise_floors
from toy_score.parameterisations import EDMPreconditioning, Parameterisation
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
from toy_score.schedules import Schedule
from toy_score.seeds import seed_of

__all__ = ["Finding", "diagnose"]

N = 20_000
PRIOR_KL, DETAIL_KL = 3e-3, 1e-2  # nats above which even a sampler that forgets its start, or any sampler, is off
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


def diagnose(
    distribution: Distribution,
    schedule: Schedule,
    sampler: Sampler | None = None,
    parameterisation: Parameterisation | None = None,
) -> list[Finding]:
    """Everything the doctor has to say about learning a distribution with these choices; takes about two seconds.

    Of a law of which only points are known, the prior is compared with a smooth stand-in, and the lowest level with the
    distance between points.
    """
    if isinstance(distribution, Points):
        findings = [prior(smoothed(distribution), schedule, sampler), spacing(distribution, schedule)]
        findings += outliers(distribution)
    else:
        findings = [prior(distribution, schedule, sampler), detail(distribution, schedule)]
    if isinstance(parameterisation, EDMPreconditioning):
        findings.append(data_scale(distribution, parameterisation))
    if isinstance(sampler, AnnealedLangevin):
        findings += [widest_level(distribution, schedule), overlap(schedule, sampler)]
    if isinstance(sampler, (AnnealedLangevin, Langevin)):
        findings.append(langevin_step(schedule, sampler))
        if sampler.uniform_start is not None:
            findings.append(uniform_start(distribution, schedule, sampler.uniform_start))
    return findings


def prior(distribution: Distribution, schedule: Schedule, sampler: Sampler | None = None) -> Finding:
    """Whether the noised data at the highest level are the prior."""
    top = schedule.ratios[1]
    kl = prior_kl(distribution, top)
    share = prior_distance(distribution, schedule) / noise_floors(distribution, N, draws=16)["sliced_w1"].mean
    forgets = forgets_start(sampler)
    text = (
        f"at sigma / alpha = {top:.4g} the noised data are {kl:.2g} nats from the prior, "
        f"which alone costs the exact flow {share:.1f} x the floor in sliced W1"
    )
    if forgets and share >= 1.0:
        text += f" ({type(sampler).__name__} forgets it)"
    name = schedule.widest
    better = first_good(
        schedule, name, lambda s: prior_kl(distribution, s.ratios[1]) < GOOD_PRIOR_KL, getattr(schedule, name), 1.2
    )
    advice = f"use {name} = {better:.2g} (now {getattr(schedule, name):.3g})" if better else "use more steps"
    return Finding("prior", text, kl < PRIOR_KL and (forgets or share < 1.0), advice)


def forgets_start(sampler: Sampler | None) -> bool:
    """Whether a sampler renews all noise on the way."""
    if isinstance(sampler, PredictorCorrector):
        return forgets_start(sampler.predictor)
    if isinstance(sampler, ConsistentAnnealedSampling):
        return sampler.power >= 2
    return isinstance(sampler, FORGETTING)


def detail(distribution: Distribution, schedule: Schedule) -> Finding:
    """Whether the lowest level blurs what the data have of detail."""
    low = schedule.ratios[0]
    kl = detail_kl(distribution, low)
    text = f"noise of the lowest level, sigma / alpha = {low:.3g}, blurs the data by {kl:.2g} nats"
    sigma = low
    while detail_kl(distribution, sigma) > DETAIL_KL and sigma > 1e-6:
        sigma /= 1.2
    return Finding("detail", text, kl < DETAIL_KL, f"use a lowest level of {sigma:.2g}")


def smoothed(points: Points, n: int = 256) -> GaussianMixture:
    """A mixture of Gaussians around a few of the points: as wide and as skewed as they are, without their detail."""
    x = points.subset(n, torch.Generator().manual_seed(seed_of("smoothed points"))).points.double()
    width = 0.2 * x.var(dim=0).mean().sqrt()
    S = (width**2 * torch.eye(2)).tolist()
    return GaussianMixture(x.tolist(), covariances=[S] * len(x), classes=[0] * len(x))


def spacing(points: Points, schedule: Schedule) -> Finding:
    """Whether the lowest level is about the distance between points; they have no information on finer scales."""
    low, apart = schedule.ratios[0], points.spacing()
    text = f"the lowest level is sigma / alpha = {low:.3g}, the median distance to the nearest point {apart:.2g}"
    blurs = low > 3.0 * apart
    advice = f"use a lowest level of {apart:.2g}; " + (
        "higher values blur the points" if blurs else "lower values reproduce the training points"
    )
    return Finding("detail", text, not blurs and low > apart / 30.0, advice)


def outliers(points: Points) -> list[Finding]:
    """Along each axis, whether a few far points, and not the others, decide the standard deviation.

    One point in a hundred of a normal law has 8 % of the variance. Where it has more than half, the other points are
    squeezed to less than 0.7 of the unit in which the model works.
    """
    findings = []
    k = math.ceil(len(points) / 100)
    for name, x in zip("xy", points.points.double().T, strict=True):
        squares, rows = (x - x.mean()).square().sort(descending=True)
        share = (squares[:k].sum() / squares.sum()).item() if squares.sum() > 0 else 0.0
        if share > 0.5:
            rest = x[rows[k:]]
            text = (
                f"the {k} of {len(points)} points that are farthest out along {name} have {share:.0%} of its variance; "
                f"the farthest is at {x[rows[0]].item():.3g}, the others have sd {rest.std().item():.2g}"
            )
            findings.append(Finding("outliers", text, False, f"remove them, or take the logarithm of {name}"))
    return findings


def data_scale(distribution: Distribution, parameterisation: EDMPreconditioning) -> Finding:
    """Whether `sigma_data` is the scale of the data."""
    measured = distribution.reference(8192).var(dim=0).mean().sqrt().item()
    sigma_data = parameterisation.sigma_data
    text = f"sigma_data is {sigma_data:.3g}, the data's standard deviation per coordinate {measured:.3g}"
    return Finding("sigma_data", text, 0.5 < sigma_data / measured < 2.0, f"use sigma_data = {measured:.2g}")


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


def detail_kl(distribution: Distribution, sigma: float, n: int = 8192) -> float:
    """`KL(p || p_sigma)` in nats: what noise of level `sigma` blurs."""
    x = distribution.reference(n)
    return (distribution.log_prob(x) - distribution.log_prob(x, sigma)).mean().item()


def gaussian_log_prob(y: Tensor, sigma: float) -> Tensor:
    """`log N(y; 0, sigma^2 I)`, `(n,)`."""
    return -0.5 * (y / sigma).square().sum(dim=-1) - math.log(2.0 * math.pi * sigma**2)


def prior_distance(distribution: Distribution, schedule: Schedule) -> float:
    """Sliced W1 that the exact flow is left with when it starts from the prior: evenly spread points, fine steps."""
    z = torch.special.ndtri(evenly_spread(16_384, 2, "prior")).float()
    truth = ExactDenoiser(distribution, schedule)
    metric = SlicedWasserstein(distribution, sync_on_compute=False)  # measured by one process, without the others
    metric.update(RungeKutta4(12).walk(truth, schedule.prior_sigma * z, NoiseStream(0, 0, len(z))))
    return metric.compute().item()


def first_good(
    schedule: Schedule, name: str, good: Callable[[Schedule], bool], value: float, factor: float, tries: int = 60
) -> float | None:
    """The first value of an argument, raised by a factor again and again, with which the schedule is good."""
    for _ in range(tries):
        value *= factor
        try:
            if good(replace(schedule, **{name: value})):
                return value
        except ValueError:
            return None
    return None
