"""Findings about annealed Langevin dynamics: the rules of NCSNv2 (Song & Ermon 2020), and the stability of steps."""

import math

from toy_score.distributions import Distribution
from toy_score.evaluation.finding import Finding
from toy_score.samplers import AnnealedLangevin, Langevin
from toy_score.schedules import Schedule

__all__ = ["langevin_step", "overlap", "uniform_start"]

OVERLAP = 0.5  # of neighbouring noise levels


def overlap(schedule: Schedule, sampler: AnnealedLangevin) -> Finding:
    """Whether the noise of neighbouring levels overlaps by about a half (technique 2).

    The paper's formula is for many dimensions. In the plane the share that `N(0, r^2 I)` and `N(0, r^2 I / q)` have in
    common is `1 - q^(-1 / (q - 1)) (1 - 1 / q)` exactly, `q` being the ratio of their variances.
    """
    n, (low, high) = levels_of(schedule, sampler), schedule.ratios

    def common(n: int) -> float:
        q = (high / low) ** (2.0 / (n - 1))
        return 1.0 - q ** (-1.0 / (q - 1.0)) * (1.0 - 1.0 / q)

    text = f"{n} levels from {high:.3g} to {low:.3g}: the noise of neighbours overlaps by {common(n):.0%}"
    enough = n
    while common(enough) < OVERLAP:
        enough += 1
    return Finding("overlap of levels", text, common(n) >= OVERLAP, f"use n_levels = {enough}")


def langevin_step(schedule: Schedule, sampler: AnnealedLangevin | Langevin) -> Finding:
    """Whether Langevin steps are stable, and how much noise they leave at the lowest level.

    For data in a point a step multiplies the noise by `q = 1 - eps / (2 sigma_L^2)` and adds `eps`. So `T` steps from
    the level before, at `g sigma_L`, leave the variance `sigma_L^2 (w + q^(2 T) (g^2 - w))` with `w = 1 / (1 - eps /
    (4 sigma_L^2))` (technique 4, whose `eps` is half of this one): too wide if `eps` is large or `T` small.
    """
    low = schedule.ratios[0]
    if isinstance(sampler, Langevin) and sampler.sigma is not None:
        low = sampler.sigma
    x = sampler.eps / (4.0 * low**2)
    if x >= 1:
        return Finding(
            "Langevin step",
            f"eps = {sampler.eps:.3g} diverges at sigma = {low:.3g}, where steps are stable below {4 * low**2:.2g}",
            False,
            f"use eps = {low**2:.2g}",
        )
    wide = 1.0 / (1.0 - x)
    if isinstance(sampler, AnnealedLangevin):
        g = (schedule.ratios[1] / low) ** (1.0 / (levels_of(schedule, sampler) - 1))
        wide += (1.0 - 2.0 * x) ** (2 * sampler.steps_per_level) * (g**2 - wide)
    text = f"eps = {sampler.eps:.3g} leaves noise of {low * wide**0.5:.3g} where sigma = {low:.3g}"
    advice = f"use eps = {low**2:.2g}" + ("" if x >= 0.25 else ", or more steps_per_level")
    return Finding("Langevin step", text, wide < 2.0, advice)


def levels_of(schedule: Schedule, sampler: AnnealedLangevin) -> int:
    """The number of levels that the chain visits."""
    return schedule.n_levels if sampler.n_levels is None else sampler.n_levels


def uniform_start(distribution: Distribution, schedule: Schedule, half_width: float) -> Finding:
    """Whether a uniform start on a square has about the standard deviation of the noised data."""
    start = half_width / math.sqrt(3.0)
    data = math.sqrt(schedule.ratios[1] ** 2 + distribution.reference(8192).var(dim=0).mean().item())
    text = (
        f"chains start uniform on [-{half_width:g}, {half_width:g}]^2, of standard deviation "
        f"{start:.2g}, where the noised data have {data:.2g}"
    )
    return Finding("start", text, 0.8 < start / data < 1.25, "leave out uniform_start to start from the prior")
