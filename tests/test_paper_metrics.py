"""Exact W2, MMD and the kernel Stein discrepancy: right by brute force, and what the last of them cannot see."""

import itertools
import math

import pytest
import torch

from toy_score.distributions import EightGaussians, GaussianMixture, Heart, SplitNormal
from toy_score.metrics import MMD, ExactW2, KernelSteinDiscrepancy, SlicedWasserstein, sample_metrics
from toy_score.seeds import seed_of

TWO_MODES = GaussianMixture([[-5.0, -5.0], [5.0, 5.0]], stds=1.0, weights=[1.0, 4.0])
every = pytest.mark.parametrize("p", [Heart(), SplitNormal(), EightGaussians()], ids=lambda p: p.name)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def value(metric, x):
    metric.reset()
    metric.update(x)
    return metric.compute().item()


def fresh_points(p, n):
    return p.sample(n, generator(seed_of("fresh points")))


@every
def test_exact_w2_is_the_best_of_all_assignments(p):
    x, y = p.sample(6, generator(1)).double(), fresh_points(p, 6).double()
    best = min((x - y[list(order)]).square().sum(1).mean().item() for order in itertools.permutations(range(6)))
    assert value(ExactW2(p), x) == pytest.approx(math.sqrt(best))


@every
def test_exact_w2_of_shifted_points_is_the_shift(p):
    """Translating a set by d costs exactly |d|, in whatever order the points come."""
    y = fresh_points(p, 500)
    assert value(ExactW2(p), y) == 0.0
    assert value(ExactW2(p), y.flip(0) + torch.tensor([0.3, -0.4])) == pytest.approx(0.5, rel=1e-5)


def test_a_stein_discrepancy_without_noise_is_refused():
    """At an edge the clean density has no score."""
    with pytest.raises(ValueError, match=r"sigma must be positive, got 0\.0"):
        KernelSteinDiscrepancy(Heart(), sigma=0.0)


def test_all_pairs_are_compared_of_the_first_points_only():
    p = Heart()
    x = p.sample(3000, generator(1))
    for metric in (ExactW2(p, n_points=200), KernelSteinDiscrepancy(p, n_points=200)):
        first = value(metric, x[:200])
        metric.reset()
        for piece in x.split(150):
            metric.update(piece)
        assert metric.compute().item() == pytest.approx(first, rel=1e-9)
        assert sum(len(piece) for piece in metric.points) == 200  # what is kept does not grow


@pytest.mark.parametrize("metric", [ExactW2, KernelSteinDiscrepancy])
@pytest.mark.parametrize("n_points", [1, 10_001])
def test_more_pairs_than_fit_are_refused_in_one_line(metric, n_points):
    with pytest.raises(
        ValueError, match=rf"n_points must be in \[2, 10000\], got {n_points}; SlicedWasserstein"
    ) as told:
        metric(Heart(), n_points=n_points)
    assert "\n" not in str(told.value)


def test_without_scipy_exact_w2_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install scipy"):
        sample_metrics(Heart(), papers=True)
    assert "sliced_w1" in sample_metrics(Heart())


def all_pairs(p, x, bandwidths):
    """MMD^2, the unbiased estimate, with all pairs of samples, and the truth by Monte Carlo over its own formula."""
    y, found = p.reference(1 << 14), 0.0
    for s in (b * p.bounds for b in bandwidths):
        k = torch.exp(-0.5 * torch.cdist(x, x).square() / s**2)
        pairs = (k.sum() - len(x)) / (len(x) * (len(x) - 1))
        embedding, truth = (2 * math.pi * s**2 * p.log_prob(points, s).exp().mean() for points in (x, y))
        found += (pairs - 2 * embedding + truth).item() / len(bandwidths)
    return found


def on_a_line(x):
    x[::3] = 100.0 * torch.arange(1, len(x[::3]) + 1, dtype=x.dtype)[:, None]
    return x


@every
@pytest.mark.parametrize(
    "defect",
    [lambda x: x, lambda x: 1.2 * x + 0.3, lambda x: 3.0 * x, on_a_line],
    ids=["none", "scaled and shifted", "three times as wide", "a third far out"],
)
def test_mmd_equals_all_pairs(p, defect):
    x, metric = defect(p.sample(400, generator(1)).double()), MMD(p)
    assert value(metric, x) == pytest.approx(all_pairs(p, x, metric.bandwidths), abs=2e-5)


def test_the_embedding_of_the_truth_is_that_of_its_samples():
    """`E k(x, y) = 2 pi s^2 p_s(x)`: 20 000 samples, 4.9 standard errors."""
    p, s = Heart(), 0.7
    x, y = p.sample(20, generator(1)).double(), p.sample(20_000, generator(2)).double()
    k = torch.exp(-0.5 * torch.cdist(x, y).square() / s**2)
    error = k.mean(1) - 2 * math.pi * s**2 * p.log_prob(x, s).exp()
    assert (error.abs() < 4.9 * k.std(1) / 20_000**0.5).all()


@every
def test_mmd_is_unbiased_and_detects_errors(p):
    """Mean of 40 draws within 5 standard errors of zero; a shift of 0.2 is not."""
    draws = torch.tensor([value(MMD(p), p.sample(500, generator(seed))) for seed in range(40)])
    assert draws.mean().abs() < 5 * draws.std() / 40**0.5
    shifted = torch.tensor([value(MMD(p), p.sample(500, generator(seed)) + 0.2) for seed in range(40)])
    assert shifted.mean() > 5 * shifted.std() / 40**0.5


@pytest.mark.parametrize("far", [1e2, -1e2, 1e20])
def test_very_distant_samples_do_not_break_mmd(far):
    p = Heart()
    x = p.sample(400, generator(1)).double()
    y = x.clone()
    y[:40, 0] = far
    assert value(MMD(p), x) + 0.003 < value(MMD(p), y) < 1.0


def test_stein_discrepancy_equals_its_definition():
    """The kernel's derivatives by automatic differentiation, pair by pair."""
    p, sigma = Heart(), 0.3
    x = p.sample(6, generator(1)).double()
    s = p.score(x, sigma)

    def k(a, b):
        return (1 + (a - b).square().sum()).rsqrt()

    total = 0.0
    for i, j in itertools.permutations(range(6), 2):
        a, b = x[i], x[j]
        grad_a, grad_b = torch.func.grad(k, 0)(a, b), torch.func.grad(k, 1)(a, b)
        trace = torch.func.jacrev(torch.func.grad(k, 1), 0)(a, b).trace()
        total += (s[i] @ s[j] * k(a, b) + s[i] @ grad_b + s[j] @ grad_a + trace).item()
    assert value(KernelSteinDiscrepancy(p, sigma=sigma), x) == pytest.approx(total / 30)


def test_stein_discrepancy_cannot_see_mode_weights():
    """Weights of 1/2 : 1/2 for 1/5 : 4/5, and a mode missing altogether, are nothing to it; a scale of 1.2 is not.

    Sliced W1 sees both in the same samples.
    """
    p, n = TWO_MODES, 500
    stein, w1 = KernelSteinDiscrepancy(p), SlicedWasserstein(p)
    left, right = (p.conditioned_on(k).sample(n, generator(k)) for k in (0, 1))
    samples = {
        "half and half": torch.cat([left[: n // 2], right[: n // 2]]),
        "a mode missing": right,
        "scaled": 1.2 * p.sample(n, generator(2)),
    }
    exact = [p.sample(n, generator(seed)) for seed in range(10, 40)]

    def z(metric, x):
        floor = torch.tensor([value(metric, y) for y in exact])
        return (value(metric, x) - floor.mean().item()) / floor.std().item()

    assert abs(z(stein, samples["half and half"])) < 3
    assert abs(z(stein, samples["a mode missing"])) < 3
    assert z(stein, samples["scaled"]) > 5
    assert z(w1, samples["half and half"]) > 5
    assert z(w1, samples["a mode missing"]) > 5
