"""The one-sample test: right by scipy, calibrated, and able to see."""

import math

import pytest
import torch
from scipy import special, stats

from toy_score.distributions import EightGaussians, GaussianMixture, Heart, Points, SplitNormal
from toy_score.metrics import GaussianisedTest, sample_metrics
from toy_score.metrics.gaussianised import kolmogorov

SKEWED = GaussianMixture(
    [[0.0, 0.0], [2.0, -1.0], [-3.0, 2.0]],
    covariances=[[[1.0, 0.6], [0.6, 0.5]], [[0.3, -0.2], [-0.2, 0.4]], [[2.0, 0.0], [0.0, 0.1]]],
    weights=[1.0, 2.0, 3.0],
)
TOYS = [Heart(), SplitNormal(), EightGaussians(), SKEWED]
every = pytest.mark.parametrize("p", TOYS, ids=lambda p: p.name)
LEVEL = math.sqrt(math.log(2e6) / 2)  # sqrt(n) times the Kolmogorov-Smirnov distance stays below, but for 1e-6 (DKW)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def judged(p, x):
    metric = GaussianisedTest(p)
    metric.update(x)
    return metric


@pytest.mark.parametrize("n", [5, 50, 5000])
def test_the_p_value_is_kolmogorovs(n):
    """Exactly the limit's at Stephens' argument, and close to the finite-sample law, closer where it is small."""
    for d in torch.linspace(0.2, 2.0, 10).tolist():
        d /= math.sqrt(n)
        t = d * (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n))
        assert kolmogorov(d, n) == pytest.approx(special.kolmogorov(t), abs=1e-12)
        assert kolmogorov(d, n) == pytest.approx(stats.kstwo.sf(d, n), abs=0.02)
        if kolmogorov(d, n) < 0.1:
            assert kolmogorov(d, n) == pytest.approx(stats.kstwo.sf(d, n), abs=0.003)


def test_one_sample_has_a_p_value_and_none_has_not():
    assert kolmogorov(0.6, 1) == pytest.approx(special.kolmogorov(0.6 * 1.23), abs=1e-12)
    assert math.isnan(kolmogorov(0.6, 0))
    assert math.isnan(kolmogorov(math.nan, 5))


@every
def test_the_statistics_are_those_of_the_sorted_coordinates(p):
    x = p.sample(2000, generator()) + 0.2
    z = p.pull(x.double())
    coordinates = [*z.T, z.norm(dim=1), torch.atan2(z[:, 1], z[:, 0]) % (2 * math.pi)]
    laws = ["norm", "norm", stats.rayleigh.cdf, stats.uniform(0, 2 * math.pi).cdf]
    exact = [stats.kstest(c.numpy(), law).statistic for c, law in zip(coordinates, laws, strict=True)]
    assert judged(p, x).statistics().tolist() == pytest.approx(exact, abs=2e-3)  # a bin holds 1 / 4096, and some points


@every
def test_pull_follows_the_conditional_distribution_functions(p):
    """`|det dz/dx| N(z; 0, I)` is the density: the map is exact wherever it is smooth."""
    x = p.sample(200, generator()).double().requires_grad_()
    z = p.pull(x)
    rows = [torch.autograd.grad(z[:, i].sum(), x, retain_graph=True)[0] for i in (0, 1)]
    jacobian, z, x = torch.stack(rows, dim=1), z.detach(), x.detach()
    log_density = -0.5 * z.square().sum(dim=1) - math.log(2 * math.pi) + torch.linalg.det(jacobian).abs().log()
    assert torch.allclose(log_density, p.log_prob(x), atol=1e-6)


def test_the_p_values_are_calibrated():
    """400 tests of 500 exact samples: the p-value of each coordinate is uniform, that of the test not below it."""
    p, n, tests = Heart(), 500, 400
    found = [judged(p, p.sample(n, generator(seed))) for seed in range(tests)]
    single = torch.tensor([[kolmogorov(d, n) for d in metric.statistics().tolist()] for metric in found])
    for column in single.T:
        assert stats.kstest(column.numpy(), "uniform").statistic < LEVEL / math.sqrt(tests)
    whole = torch.tensor([metric.p_value() for metric in found])
    for level in (0.01, 0.05, 0.2):
        assert (whole < level).sum() <= stats.binom.isf(1e-6, tests, level)
    # The twin: samples 5 % too far out are not exact, and 400 tests together find it.
    wrong = torch.tensor([judged(p, 1.05 * p.sample(n, generator(seed))).p_value() for seed in range(tests)])
    assert (wrong < 0.05).sum() > stats.binom.isf(1e-6, tests, 0.05)


@every
def test_exact_samples_pass_and_wrong_ones_do_not(p):
    """At a level of 1e-6; the errors are a scale of 1.05, a shift of 0.1, and the weights of the modes."""
    x = p.sample(50_000, generator(1))
    assert judged(p, x).p_value() > 1e-6
    lighter = (p.modes(x) != 0) | (torch.arange(len(x)) % 3 > 0)  # the first mode loses a third
    for wrong in (1.05 * x, x + 0.1, x[lighter]):
        assert judged(p, wrong).p_value() < 1e-6


def test_points_beyond_the_range_of_floats_are_detected():
    """Beyond what a float can say of a distribution function, coordinates stay finite and the test sees them."""
    far = torch.tensor([[1e3, -1e-20], [-1e3, 40.0], [0.0, -1e3]]).repeat(1000, 1)
    for p in (EightGaussians(), Heart()):
        metric = judged(p, far)
        assert metric.counts.sum(dim=1).tolist() == [3000] * 4
        assert metric.p_value() < 1e-6


def test_the_test_is_left_out_for_distributions_without_a_map():
    points = Points(Heart().sample(100, generator()))
    assert not GaussianisedTest.applies_to(points)
    assert "gaussianised_ks" not in sample_metrics(points)
    assert "gaussianised_ks" in sample_metrics(Heart())


def test_deviations_are_those_of_the_nearest_component():
    """The Mahalanobis distance, component by component; a round Gaussian of its own class per component."""
    x = 3.0 * torch.randn(500, 2, generator=generator(), dtype=torch.float64)
    d = x[:, None, :] - SKEWED._mu
    exact = torch.einsum("nki,kij,nkj->nk", d, torch.linalg.inv(SKEWED._S), d).sqrt()
    deviations, modes = SKEWED.deviations(x)
    assert torch.allclose(deviations, exact.amin(dim=1), atol=1e-7)
    assert torch.equal(modes, exact.argmin(dim=1))
