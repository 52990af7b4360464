"""Planted errors are found from a stated number of samples on, and nothing is found in the same samples without them.

The thresholds are those of the laws, at a false-alarm rate of 1e-6; `docs/metrics.md` has the figure for all sizes.
"""

import pytest
import torch
from laws import laws

from benchmarks.planted import RootDropped, ScaledScore, between, blur, exact, outliers, weight
from toy_score.denoisers import ExactDenoiser
from toy_score.distributions import Heart, SplitNormal
from toy_score.metrics import GaussianisedTest, ScoreError, sample_metrics
from toy_score.samplers import DDPMAncestral, EDMStochastic, Heun, Karras
from toy_score.schedules import EDM

HEART, SPLIT = Heart(), SplitNormal()
SCHEDULE = EDM(0.002, 80.0)
ANCESTRAL = ("posterior", 400, Karras())
BULK = {"sliced_w1", "energy", "gaussianised_ks"}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def found(p, x):
    """The metrics of the minimal set beyond the thresholds of their laws."""
    n, law, metrics = len(x), laws(p, len(x)), sample_metrics(p)
    metrics.update(x)
    readings = {name: value for name, value in metrics.compute().items()}
    seen = {name for name in ("sliced_w1", "energy", "cross_entropy_gap") if abs(readings[name].item()) > law[name]}
    if GaussianisedTest.p_value_of(readings["gaussianised_ks"].item(), n) < 1e-6:
        seen.add("gaussianised_ks")
    if (readings["mode_weights"] - 0.5).abs().max() > 4.89 * 0.5 / n**0.5:
        seen.add("mode_weights")
    return seen | ({"invalid_mass"} if readings["invalid_mass"] > 0 else set())


def sampled(sampler, factor=1.0):
    return lambda p, n, g: sampler(ScaledScore(ExactDenoiser(p, SCHEDULE), factor), n, g)


CASES = {
    "score x 0.99": (HEART, 20_000, sampled(Heun(64), 0.99), sampled(Heun(64)), {"gaussianised_ks"}),
    "noise x 1.03": (
        HEART,
        40_000,
        sampled(EDMStochastic(80, S_noise=1.03)),
        sampled(EDMStochastic(80)),
        {"gaussianised_ks"},
    ),
    "root dropped": (
        HEART,
        1000,
        sampled(RootDropped(*ANCESTRAL)),
        sampled(DDPMAncestral(*ANCESTRAL)),
        {*BULK, "cross_entropy_gap"},
    ),
    "weight": (SPLIT, 200_000, weight, exact, {"mode_weights", "gaussianised_ks"}),
    "between": (SPLIT, 1000, between, exact, {"cross_entropy_gap", "invalid_mass"}),
    "blur": (SPLIT, 20_000, blur, exact, {"cross_entropy_gap", "invalid_mass"}),
    "outliers": (HEART, 30_000, outliers, exact, {"cross_entropy_gap"}),
}


@pytest.mark.parametrize(("p", "n", "plant", "twin", "seen_by"), CASES.values(), ids=CASES)
def test_a_planted_error_is_found_and_nothing_without_it(p, n, plant, twin, seen_by):
    assert seen_by <= found(p, plant(p, n, generator(5)))
    assert found(p, twin(p, n, generator(5))) - {"invalid_mass"} == set()


def test_the_score_error_is_the_excess_of_the_denoising_loss_over_its_minimum():
    """`E|noise_theta - eps|^2 / 2 - E|noise* - eps|^2 / 2` at the same points, within 4.9 standard errors."""
    p, sigma, n = Heart(), 0.5, 200_000
    truth = ExactDenoiser(p, SCHEDULE)
    model, metric = ScaledScore(truth, 0.8), ScoreError([sigma])
    x0, eps = p.sample(n, generator(1)), torch.randn(n, 2, generator=generator(2))
    x = x0 + sigma * eps
    t = SCHEDULE.time(torch.tensor(sigma)).item()
    loss, least = (0.5 * (d.noise(x, t) - eps).square().sum(dim=1).double() for d in (model, truth))
    excess = loss - least
    metric.update(model, truth, x0, generator(3))
    scatter = (excess.var() / n + metric.standard_error().square()).sqrt().item()
    assert abs(excess.mean().item() - metric.compute().item()) < 4.9 * scatter
    assert excess.mean().item() > 20 * scatter  # there is an excess to speak of
