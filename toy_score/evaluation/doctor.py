r"""A doctor for schedules: would the optimal denoiser succeed with these choices?

The truth is known, so the question has an answer before any training. The noised data at the highest level are compared
with the prior that samplers start from, `KL(p_T || N(0, sigma_T^2 I))`, and by the sliced Wasserstein distance that the
exact flow is left with when it starts there; the lowest level is compared with the data's finest detail,
`KL(p || p_sigma_min)`; and the settings of the network and the sampler are compared with the data.
"""

import math

import torch

from toy_score.distributions import Distribution, GaussianMixture, Points
from toy_score.evaluation.finding import Finding
from toy_score.evaluation.langevin import langevin_step, overlap, uniform_start
from toy_score.evaluation.prior import extent, prior, standard_deviation, widest_level
from toy_score.parameterisations import EDMPreconditioning, Parameterisation
from toy_score.samplers import Angular, AnnealedLangevin, GridSampler, Langevin, MapSteps, Sampler
from toy_score.schedules import Schedule
from toy_score.seeds import seed_of

__all__ = ["Finding", "diagnose"]

DETAIL_KL = 1e-2  # nats above which any sampler is off
FEW_STEPS = 4  # from which on a sampler can be expected to step among the data's noise levels


def diagnose(
    distribution: Distribution,
    schedule: Schedule,
    sampler: Sampler | None = None,
    parameterisation: Parameterisation | None = None,
) -> list[Finding]:
    """Everything the doctor has to say about learning a distribution with these choices; takes about a second.

    Of a law of which only points are known, the prior is compared with a smooth stand-in, and the lowest level with the
    distance between points.
    """
    chains = isinstance(sampler, AnnealedLangevin)
    least = extent(distribution) if chains else 0.0
    smooth: Distribution = distribution
    if isinstance(distribution, Points):
        smooth = smoothed(distribution)
        findings = [prior(smooth, schedule, sampler, least), spacing(distribution, schedule)]
        findings += outliers(distribution)
    else:
        findings = [prior(smooth, schedule, sampler, least), detail(distribution, schedule)]
    if isinstance(parameterisation, EDMPreconditioning):
        findings.append(data_scale(distribution, parameterisation))
    if isinstance(sampler, GridSampler) and sampler.n_steps >= FEW_STEPS and not isinstance(sampler, MapSteps):
        findings.append(steps(distribution, schedule, sampler))
    if isinstance(sampler, AnnealedLangevin):
        findings += [widest_level(smooth, schedule, least), overlap(schedule, sampler)]
    if isinstance(sampler, (AnnealedLangevin, Langevin)):
        findings.append(langevin_step(schedule, sampler))
        if sampler.uniform_start is not None:
            findings.append(uniform_start(distribution, schedule, sampler.uniform_start))
    return findings


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
            sd = x.std()
            farthest, rest = (x[rows[0]] - x.mean()).abs() / sd, x[rows[k:]].std() / sd
            text = (
                f"the {k} of {len(points)} points that are farthest out along {name} have {share:.0%} of its variance; "
                f"the farthest is {farthest:.3g} standard deviations out; that of the others alone is {rest:.2g} of it"
            )
            findings.append(Finding("outliers", text, False, f"remove them, or take the logarithm of {name}"))
    return findings


def steps(distribution: Distribution, schedule: Schedule, sampler: GridSampler) -> Finding:
    """Whether the sampler's grid has steps where the data take shape, from 0.05 to 3 of their standard deviations."""
    scale = standard_deviation(distribution)
    ratios = schedule.ratio(sampler.times(schedule))
    low, high = 0.05 * scale, 3.0 * scale
    there = int(((ratios >= low) & (ratios <= high)).sum())
    text = (
        f"{there} of {len(ratios)} steps begin between sigma / alpha = {low:.2g} and {high:.2g}, "
        "0.05 and 3 standard deviations of the data"
    )
    return Finding("steps", text, there >= 2, f"use the grid {Angular(float(f'{scale:.2g}'))!r}")


def data_scale(distribution: Distribution, parameterisation: EDMPreconditioning) -> Finding:
    """Whether `sigma_data` is the scale of the data."""
    measured = standard_deviation(distribution)
    sigma_data = parameterisation.sigma_data
    text = f"sigma_data is {sigma_data:.3g}, the data's standard deviation per coordinate {measured:.3g}"
    return Finding("sigma_data", text, 0.5 < sigma_data / measured < 2.0, f"use sigma_data = {measured:.2g}")


def detail_kl(distribution: Distribution, sigma: float, n: int = 8192) -> float:
    """`KL(p || p_sigma)` in nats: what noise of level `sigma` blurs."""
    x = distribution.reference(n)
    return (distribution.log_prob(x) - distribution.log_prob(x, sigma)).mean().item()
