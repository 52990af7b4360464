"""The exact posterior of every distribution: density, score, mean and samples, against brute force in float64.

Brute force is Gauss's rule on the cells of a fine net over the clean density, whose jumps, all along the axes, are
edges of cells.
"""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from toy_score import (
    Checkerboard,
    EightGaussians,
    ExactDenoiser,
    GaussianMixture,
    Heart,
    LinearFlow,
    LinearObservation,
    Moons,
    Points,
    RungeKutta4,
    SplitNormal,
    evaluate,
)
from toy_score.component import from_config, to_config
from toy_score.distributions import Rings, lines
from toy_score.distributions.lines import _Line, _LinePosterior, _nodes

f64 = torch.float64
LEANING = GaussianMixture(
    [[-2.0, 0.5], [1.0, -1.0], [1.5, 2.0]],
    covariances=[[[1.0, 0.8], [0.8, 0.7]], [[0.1, 0.0], [0.0, 1.0]], [[0.1, 0.05], [0.05, 0.2]]],
    weights=[5.0, 3.0, 2.0],
    classes=[1, 0, 1],
)
RINGS = Rings(n_rings=2, std=0.2)
PRIORS = [
    LEANING,
    Heart(),
    SplitNormal(),
    Checkerboard(),
    RINGS,
    Heart().conditioned_on(1),
    Checkerboard().conditioned_on(5),
]
FIRST = LinearObservation([[1.0, 0.0]], [1.0], 0.3)
SLANTED = LinearObservation([[0.8, -0.6]], [0.5], 0.2)
BOTH = LinearObservation([[1.0, 0.0], [0.0, 1.0]], [1.5, 0.5], 0.5)
SKEW = LinearObservation([[1.0, 0.5], [0.2, 2.0]], [1.0, 1.0], 0.4)
OBSERVATIONS = [FIRST, SLANTED, BOTH, SKEW]
EDGES = {Heart: [0.0], SplitNormal: [-1.0, 1.0], Checkerboard: [-4.0, -2.0, 0.0, 2.0, 4.0]}


def each(name, values):
    return pytest.mark.parametrize(name, values, ids=lambda v: getattr(v, "name", None) or str(v.matrix))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def net(p, low, high, width, nodes=6):
    """Nodes and weights along an axis, for cells of at most a width, with edges at the jumps of the density."""
    edges = EDGES.get(type(getattr(p, "whole", p)), [])
    cuts = np.array([low, *[e for e in edges if low < e < high], high])
    cells = np.concatenate(
        [np.linspace(a, b, math.ceil((b - a) / width) + 1)[:-1] for a, b in itertools.pairwise(cuts)] + [[high]]
    )
    x, w = np.polynomial.legendre.leggauss(nodes)
    half = np.diff(cells) / 2
    return (
        torch.tensor((cells[:-1, None] + half[:, None] * (x + 1)).ravel()),
        torch.tensor((half[:, None] * w).ravel()),
    )


def weights(p, observation, axes):
    """Points and their shares of the posterior, unnormalised: `p(x0) N(y; H x0, s^2)` times the weight of the node."""
    (x, u), (y, v) = axes
    points = torch.cartesian_prod(x, y)
    H, value = torch.tensor(observation.matrix, dtype=f64), torch.tensor(observation.value, dtype=f64)
    log_L = -0.5 * ((points @ H.T - value) / observation.std).square().sum(1)
    return points, torch.outer(u, v).flatten() * (p.log_prob(points) + log_L).exp()


@functools.cache
def everywhere(p, observation):
    return weights(p, observation, [net(p, -1.6 * p.bounds, 1.6 * p.bounds, 0.3)] * 2)


def brute_force(p, observation, x, sigma):
    """`log p_sigma(x | y)`, its score and the posterior mean at points: `(n,)`, `(n, 2)`, `(n, 2)`."""
    evidence, out = everywhere(p, observation)[1].sum(), []
    for point in x.double():
        points, w = everywhere(p, observation)
        if sigma < 0.3:
            axes = [net(p, float(m) - 9 * sigma, float(m) + 9 * sigma, min(1.5 * sigma, 0.3)) for m in point]
            points, w = weights(p, observation, axes)
        q = w * (-0.5 * (points - point).square().sum(1) / sigma**2).exp()
        mean = (q @ points) / q.sum()
        log_p = (q.sum() / evidence / (2 * math.pi * sigma**2)).log()
        out.append(torch.cat([log_p[None], (mean - point) / sigma**2, mean]))
    return torch.stack(out).split([1, 2, 2], dim=1)


@each("observation", OBSERVATIONS)
@each("p", PRIORS)
def test_density_score_and_mean_of_a_posterior_agree_with_brute_force(p, observation):
    q = p.posterior(observation)
    for sigma in (0.05, 0.5, 5.0):
        x = q.sample(3, generator()).double() + sigma * torch.randn(3, 2, generator=generator(1), dtype=f64)
        log_p, score, mean = brute_force(p, observation, x, sigma)
        assert torch.allclose(q.log_prob(x, sigma), log_p[:, 0], atol=1e-6)
        assert torch.allclose(sigma * q.score(x, sigma), sigma * score, atol=1e-6)
        assert torch.allclose(q.denoise(x, sigma), mean, atol=1e-6)


def test_a_value_wrong_by_a_thousandth_is_found():
    wrong, x = LinearObservation([[1.0, 0.0]], [1.001], 0.3), torch.tensor([[0.9, 0.4]], dtype=f64)
    for p in PRIORS:
        _, _, mean = brute_force(p, FIRST, x, 0.5)
        assert (p.posterior(wrong).denoise(x, 0.5) - mean).abs().max() > 1e-4


@each("observation", OBSERVATIONS)
@each("p", PRIORS)
def test_without_noise_a_posterior_is_prior_times_likelihood(p, observation):
    q = p.posterior(observation)
    x = q.sample(300, generator()).double()
    evidence = everywhere(p, observation)[1].sum().log()
    unit = observation.log_likelihood(x) + len(observation.value) * math.log(observation.std * math.sqrt(2 * math.pi))
    assert torch.allclose(q.log_prob(x), p.log_prob(x) + unit - evidence, atol=1e-6)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(observation.log_likelihood(x).sum(), x)
    x = x.detach()
    assert torch.allclose(q.score(x, 0.0), p.score(x, 0.0) + slope, atol=1e-5)
    assert torch.allclose(q.denoise(x, 0.0), x, atol=1e-7)
    rows = torch.tensor([[0.0], [0.4]], dtype=f64).repeat(150, 1)  # noise levels by row, 0 among them
    for f in (q.log_prob, q.score, q.denoise):
        assert torch.allclose(f(x, rows)[::2], f(x[::2], 0.0), atol=1e-7)
        assert torch.allclose(f(x, rows)[1::2], f(x[1::2], 0.4), atol=1e-7)


@each("observation", OBSERVATIONS)
@each("p", PRIORS)
def test_a_posterior_in_float32_is_right_to_1e_4(p, observation):
    """Relative to |score| + 1/sigma, as for the distributions themselves."""
    q = p.posterior(observation)
    for sigma in (1e-3, 0.02, 0.3, 3.0, 100.0):
        x = q.sample(200, generator()) + sigma * torch.randn(200, 2, generator=generator(1))
        exact, mean = q.score(x.double(), sigma), q.denoise(x.double(), sigma)
        assert ((q.score(x, sigma) - exact).norm(dim=1) / (exact.norm(dim=1) + 1 / sigma)).max() < 1e-4
        assert (q.denoise(x, sigma) - mean).norm(dim=1).max() < 1e-4
        assert torch.allclose(x.double() + sigma**2 * exact, mean, atol=1e-4)  # Tweedie's formula


@each("p", [EightGaussians(), Checkerboard(), Rings(), Heart()])
def test_lines_and_closed_forms_agree(p):
    for observation in OBSERVATIONS:
        q, line = p.posterior(observation), _LinePosterior(p, observation)
        for sigma in (0.01, 1.0, 30.0):
            x = q.sample(50, generator()).double() + sigma
            assert torch.allclose(q.log_prob(x, sigma), line.log_prob(x, sigma), atol=1e-7)
            assert torch.allclose(q.denoise(x, sigma), line.denoise(x, sigma), atol=1e-6)
        assert q.mode_weights == pytest.approx(line.mode_weights, abs=1e-7)


def ks_of_the_margins(p, observation, x):
    """p-values of the two coordinates of points, against the distribution functions of brute force."""
    out = []
    for i in (0, 1):
        fine, coarse = (net(p, -1.6 * p.bounds, 1.6 * p.bounds, *cells) for cells in ((0.05, 1), (0.3, 6)))
        _, w = weights(p, observation, [fine, coarse] if i == 0 else [coarse, fine])
        share = (w / w.sum()).view(-1, len(coarse[0] if i == 0 else fine[0])).sum(1 - i).numpy()
        edges = fine[0].numpy() + fine[1].numpy() / 2  # of the cells on the right
        F = functools.partial(np.interp, xp=edges, fp=share.cumsum())
        out.append(stats.kstest(x[:, i].double().numpy(), F).pvalue)
    return min(out)


@each("p", PRIORS)
def test_exact_samples_of_a_posterior_cannot_be_told_from_it(p):
    """Kolmogorov-Smirnov tests of the margins; 8 x 4 x 2 fixed seeds at p >= 0.01, and a planted error is found."""
    for observation in OBSERVATIONS:
        x = p.posterior(observation).sample(20_000, generator(5))
        assert x.dtype == torch.float32
        assert ks_of_the_margins(p, observation, x) >= 0.01
        wider = LinearObservation(observation.matrix, observation.value, 1.5 * observation.std)
        assert ks_of_the_margins(p, observation, p.posterior(wider).sample(20_000, generator(5))) < 1e-3


@each("p", PRIORS)
def test_modes_reference_and_entropy_of_a_posterior(p):
    points, w = everywhere(p, FIRST)
    points, w = points[w > 1e-15 * w.sum()], w[w > 1e-15 * w.sum()]  # the others change nothing
    q, share = p.posterior(FIRST), w / w.sum()
    log_p = q.log_prob(points)
    assert q.entropy() == pytest.approx(-(share * log_p.clamp(min=-1e3)).sum().item(), abs=0.02)
    reference = q.reference()
    assert (reference.mean(0) - share @ points).abs().max() < 0.01
    assert (reference.square().mean(0).sqrt() - (share @ points.square()).sqrt()).abs().max() < 0.01
    x = q.sample(20_000, generator())
    for k, (name, weight) in enumerate(q.mode_weights.items()):
        assert name in p.mode_weights
        assert ((q.modes(x) == k).float().mean() - weight).abs() < 0.02
    if q.n_labels:
        assert q.conditioned_on(0).prior == p.conditioned_on(0)


def test_an_observation_far_from_a_half_plane_is_sampled_at_its_edge():
    q = SplitNormal().posterior(LinearObservation([[1.0, 0.0]], [0.3], 0.01))
    x = q.sample(20_000, generator())[:, 0].double()
    rate = (1.0 - 0.3) / 0.01**2 + 0.0  # of the exponential law beyond the edge at 1, up to 1 / (70 sd)^2
    assert x.min() >= 1.0
    assert stats.kstest((x - 1.0).numpy() * rate, "expon").pvalue > 1e-3


def test_a_posterior_is_a_distribution_for_samplers_metrics_and_files():
    for p in (Checkerboard(), Moons(), Heart()):
        q = p.posterior(FIRST)
        assert from_config(to_config(q)) == q
        assert q != p.posterior(SLANTED)
    x = RungeKutta4(n_steps=10)(ExactDenoiser(q, LinearFlow()), 2000, generator())
    report = evaluate(x, q)
    assert report.as_dict()["sliced_w1"]["z"] < 4
    assert "heart posterior" in str(report)


def test_points_after_an_observation_are_the_same_points_with_other_weights():
    points = torch.randn(500, 2, generator=generator(), dtype=f64)
    q, x = Points(points).posterior(FIRST), torch.tensor([[0.5, 0.2], [1.4, -2.0]], dtype=f64)
    log_w = FIRST.log_likelihood(points) - 0.5 * torch.cdist(x, points).square() / 0.2**2
    assert torch.allclose(q.denoise(x, 0.2), log_w.softmax(1) @ points, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0, 0.0]], [1.0], 0.0), "std must be positive, got 0.0"),
        (([[0.0, 0.0]], [1.0], 0.1), "none of them zero"),
        (([[1.0, 0.0, 0.0]], [1.0], 0.1), "matrix must be m x 2 finite numbers"),
        (([[1.0, 0.0]], [1.0, 2.0], 0.1), "value must be 1 finite numbers"),
        (([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [1.0, 2.0, 3.0], 0.1), "one or two rows"),
        (([[1.0, 0.0]], [math.nan], 0.1), "finite numbers"),
    ],
)
def test_an_observation_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LinearObservation(*arguments)


def test_an_observation_that_no_sample_fits_is_refused_when_samples_are_drawn():
    with pytest.raises(ValueError, match="too few to draw exact ones by rejection; raise its std"):
        Checkerboard().posterior(LinearObservation([[1.0, 0.0]], [9.0], 0.1)).sample(10)


def test_an_observation_in_other_units_is_of_the_same_point():
    mean, scale = (1.0, -2.0), (3.0, 0.5)
    x = torch.randn(7, 2, generator=generator(), dtype=f64)
    z = (x - torch.tensor(mean, dtype=f64)) / torch.tensor(scale, dtype=f64)
    assert torch.allclose(SKEW.rescaled(mean, scale).log_likelihood(z), SKEW.log_likelihood(x))


@pytest.mark.parametrize("sigma", [0.3, 30.0])
def test_an_exact_posterior_is_differentiable(sigma):
    """In forward and in reverse mode, along lines on which nodes move with the point, and on which they do not."""
    q = Moons().posterior(FIRST), Rings().posterior(FIRST), Heart().posterior(SLANTED), Checkerboard().posterior(BOTH)
    for p in q:
        x, h = p.sample(20, generator()).double() + sigma / 3, 1e-5 * sigma
        for f, size in ((p.denoise, 1.0 / sigma), (p.score, 1.0 / sigma**2)):
            slope = (f(x + h, sigma) - f(x - h, sigma)) / (2 * h)
            J = torch.func.jvp(lambda y, f=f: f(y, sigma), (x,), (torch.ones_like(x),))[1]
            assert torch.allclose(J, slope, rtol=0, atol=1e-5 * size)
            z = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(f(z, sigma).sum(), z)
            assert torch.allclose(gradient.sum(dim=1), slope.sum(dim=1), rtol=0, atol=1e-5 * size)


def test_a_mixture_stays_one_with_full_covariances():
    p = GaussianMixture([[0.0, 0.0]], covariances=[[[2.0, 0.5], [0.5, 1.0]]])
    q = p.posterior(FIRST)
    gain = torch.tensor([2.0, 0.5], dtype=f64) / (2.0 + 0.09)
    assert torch.allclose(q._mu, gain[None], atol=1e-12)
    assert torch.allclose(q._S, torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=f64) - torch.outer(gain, gain) * 2.09)


def test_a_few_evenly_spread_points_of_a_posterior_are_at_the_middles_of_equal_shares(monkeypatch):
    """Of N(0, I) after an observation 0 of its first coordinate with the deviation 1: N(0, 1/2) there."""
    monkeypatch.setattr(lines, "PROPOSALS", 1 << 14)
    monkeypatch.setattr(lines, "STRIPS", 1 << 7)
    q = _LinePosterior(GaussianMixture([[0.0, 0.0]], stds=1.0), LinearObservation([[1.0, 0.0]], [0.0], 1.0))
    middles = stats.norm.ppf([0.125, 0.375, 0.625, 0.875]) * 0.5**0.5
    assert np.allclose(q.reference(4)[:, 0].numpy(), middles, atol=0.03)


@pytest.mark.parametrize("c", [0.01, 0.3, 5.0])
@pytest.mark.parametrize("t", [0.02, 0.5, 40.0])
def test_the_nodes_of_a_line_integrate_a_noisy_point_anywhere_in_the_support(c, t):
    """`int N(a; q, c^2) N(a; m, t^2) da = N(q; m, c^2 + t^2)`, up to the ends of the support, and the mean of a.

    The trapezoidal rule with a step of one standard deviation is wrong by `2 exp(-2 pi^2)`, 5e-9.
    """
    reach, both = 3.0, math.hypot(c, t)
    pairs = itertools.product([-50.0, -2.5, 0.1, 3.0], range(-3, 4))
    m, q = torch.tensor([*pairs], dtype=f64).T[:, :, None]
    near = ((m.abs() > reach) | ((m - q).abs() < 4 * both)).flatten()  # else no other point is as unlikely
    m, q = m[near], q[near]
    of = [torch.full_like(m, value) for value in (c, t, both)]
    a, r, log_w = _nodes(reach, m, *of, False)
    log_q = log_w - 0.5 * ((a - q) / c).square() - 0.5 * math.log(2 * math.pi * c**2)
    expected = -0.5 * ((m - q) / both).square() - 0.5 * math.log(2 * math.pi * both**2)
    assert torch.allclose(log_q.logsumexp(dim=1, keepdim=True), expected, rtol=1e-9, atol=3e-8)
    w = log_q.softmax(dim=1)
    mean = (m * c**2 + q * t**2) / both**2
    assert torch.allclose((w * a).sum(dim=1, keepdim=True), mean, rtol=1e-9, atol=3e-8 * both)
    assert torch.allclose((w * r).sum(dim=1, keepdim=True), (mean - m) / t, rtol=1e-9, atol=3e-8 * both / t)


@each("observation", OBSERVATIONS)
def test_a_line_has_no_more_nodes_than_memory_is_planned_for(observation):
    """Nor much fewer, at noise below and above the width of the line."""
    p = Heart()
    for sigma in (0.0, 0.03, 0.5, 4.0, 100.0):
        level = torch.full((1, 1), sigma, dtype=f64)
        line = _Line(p, observation, p.reference(64), level)
        planned, used = lines._most_nodes(p, observation, level), line.log_q.shape[1]
        assert used <= planned <= 1.5 * used + 4 or used == 1


@pytest.mark.parametrize("std", [0.2, 1.5, 4.0])
@pytest.mark.parametrize("matrix", [[[1.0, 0.5], [0.2, 2.0]], [[0.8, -0.6]], [[1.0, 0.0], [0.0, 1.0]]], ids=str)
def test_the_evidence_of_an_observation_of_a_normal_law_is_normal(matrix, std):
    """`N(y; A mu, A S A' + std^2 I)`, in units of the largest likelihood."""
    p, A = LEANING.conditioned_on(0), torch.tensor(matrix, dtype=f64)
    y = torch.tensor([0.7, -0.4], dtype=f64)[: len(A)]
    law = torch.distributions.MultivariateNormal(
        A @ p._mu[0], A @ p._S[0] @ A.T + std**2 * torch.eye(len(A), dtype=f64)
    )
    expected = law.log_prob(y).item() + 0.5 * len(A) * math.log(2 * math.pi * std**2)
    assert lines._log_evidence(p, LinearObservation(matrix, y.tolist(), std)) == pytest.approx(expected, abs=1e-7)
