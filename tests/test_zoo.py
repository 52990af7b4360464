"""The zoo: every distribution is its density, its score, its samples, its classes, its entropy.

The independent evaluation is brute force in float64, from the definition of each distribution and without any formula
of the package.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import special, stats

from toy_score.component import from_config, to_config
from toy_score.distributions import (
    AnisotropicGaussians,
    Checkerboard,
    Circles,
    EightGaussians,
    FortyGaussians,
    FractalTree,
    GaussianGrid,
    GaussianMixture,
    Gaussians,
    Heart,
    Moons,
    NCSNMixture,
    Pinwheel,
    Rings,
    SCurve,
    SplitNormal,
    SwissRoll,
    TwoSpirals,
)
from toy_score.distributions.boxes import UniformBoxes
from toy_score.distributions.rings import ConcentricRings

f64 = torch.float64
ALPHA = 1e-6  # false-alarm rate of each statistical test

LEANING = GaussianMixture(
    [[-2.0, 0.5], [1.0, -1.0], [1.5, 2.0]],
    covariances=[[[1.0, 0.8], [0.8, 0.7]], [[0.05, 0.0], [0.0, 1.0]], [[0.01, 0.015], [0.015, 0.03]]],
    weights=[5.0, 3.0, 2.0],
    classes=[1, 0, 1],
)
MIXTURES = [
    EightGaussians(),
    EightGaussians(radius=2.0, std=0.02),
    NCSNMixture(),
    GaussianGrid(),
    FortyGaussians(),
    AnisotropicGaussians(),
    LEANING,
]
CURVES = [Moons(), TwoSpirals(), SwissRoll(), SCurve(), Pinwheel(), FractalTree(depth=3)]
RINGS = [Rings(), Circles(), Rings().conditioned_on(1)]
BOXES = [Checkerboard(), Checkerboard(n=2, side=0.5), Checkerboard().conditioned_on(3)]
FOLDED = [Heart(), SplitNormal()]
HALVES = [
    Heart().conditioned_on(0),
    Heart().conditioned_on(1),
    SplitNormal().conditioned_on(0),
    SplitNormal(0.4).conditioned_on(1),
]
PARTS = [LEANING.conditioned_on(1), Moons().conditioned_on(1), FractalTree(depth=2).conditioned_on(0)]
ZOO = [*MIXTURES, *CURVES, *RINGS, *BOXES, *FOLDED, *HALVES, *PARTS]
LABELLED = [p for p in [*MIXTURES, *CURVES, *RINGS, *BOXES, Heart(), SplitNormal(0.4)] if p.n_labels]
SIGMAS = [1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0]


def each(distributions):
    return pytest.mark.parametrize("p", distributions, ids=lambda p: p.name)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noisy_points(p, sigma, n, seed=0, dtype=f64):
    g = generator(seed)
    return p.sample(n, g).to(dtype) + sigma * torch.randn(n, 2, generator=g, dtype=dtype)


def brute_force(p, x, sigma):
    """log p_sigma, score and posterior mean at one point after the other: (n,), (n, 2), (n, 2)."""
    kinds = {Gaussians: _gaussians, ConcentricRings: _rings, UniformBoxes: _boxes}
    parts = next((f for kind, f in kinds.items() if isinstance(p, kind)), _half_planes)
    out = []
    for point in x.double().numpy():
        log_q, means = parts(p, point, sigma)
        r = np.exp(log_q - special.logsumexp(log_q))
        out.append(np.concatenate([[special.logsumexp(log_q)], r @ (means - point) / sigma**2, r @ means]))
    return torch.tensor(np.array(out)).split([1, 2, 2], dim=1)


def _gaussians(p, x, sigma):
    """Of each component: the logarithm of its share of the density, and its posterior mean."""
    mu, S, w = p._mu.numpy(), p._S.numpy(), p._w.numpy()
    C = S + sigma**2 * np.eye(2)
    pull = np.linalg.solve(C, (mu - x)[:, :, None])[:, :, 0]
    log_q = np.log(w) - 0.5 * ((mu - x) * pull).sum(1) - 0.5 * np.linalg.slogdet(C)[1] - math.log(2 * math.pi)
    return log_q, x + sigma**2 * pull


def _rings(p, x, sigma, n=4000):
    """Of each of many points on each ring, as narrow Gaussians: the trapezoidal rule on a closed curve."""
    angles = 2 * math.pi * np.arange(n) / n
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    mu = (p._R.numpy()[:, None, None] * circle).reshape(-1, 2)
    v = p._s**2 + sigma**2
    log_q = -0.5 * ((mu - x) ** 2).sum(1) / v - math.log(2 * math.pi * v * len(mu))
    return log_q, mu + (p._s**2 / v) * (x - mu)


def _boxes(p, x, sigma):
    """Of each box: by scipy's normal and truncated normal laws."""
    low, high = (p._c.numpy() - p._half - x) / sigma, (p._c.numpy() + p._half - x) / sigma
    flip = low + high < 0  # to the upper tail, where scipy's logarithms keep their digits
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    tails = special.log_ndtr(-low), special.log_ndtr(-high)
    log_mass = tails[0] + np.log1p(-np.exp(tails[1] - tails[0]))
    means = np.where(flip, -1, 1) * stats.truncnorm.mean(low, high)
    return log_mass.sum(1) - math.log(len(low)) - 2 * math.log(2 * p._half), x + sigma * means


def _half_planes(p, x, sigma):
    """Of each cut Gaussian: conditioning by the textbook, in precisions, and the mean of a truncated normal."""
    folded, out = getattr(p, "whole", p), []
    for sign in (1, -1):
        if p is not folded and sign != (1 if p.label else -1):
            continue
        S, c, mu = np.eye(2), np.array([sign * getattr(folded, "shift", 0), 0]), np.zeros(2)
        if isinstance(folded, Heart):
            S = np.array([[1.25, sign], [sign, 1.25]])
        else:
            mu = c
        V = np.linalg.inv(np.linalg.inv(S) + np.eye(2) / sigma**2)
        m, u = V @ (np.linalg.solve(S, mu) + x / sigma**2), np.array([sign, 0.0])
        tau = math.sqrt(u @ V @ u)
        z = u @ (m - c) / tau
        log_q = stats.multivariate_normal(mu, S + sigma**2 * np.eye(2)).logpdf(x) + special.log_ndtr(z)
        hazard = math.exp(-0.5 * z**2 - special.log_ndtr(z)) / math.sqrt(2 * math.pi)
        out.append((log_q + (math.log(2) if p is not folded else 0), m + V @ u / tau * hazard))
    return tuple(np.array(column) for column in zip(*out, strict=True))


def far_and_near(p, sigma, n, dtype=f64):
    """Points of the noisy law, and points up to ten sigma outside the support."""
    far = (2 * torch.rand(n, 2, generator=generator(1), dtype=dtype) - 1) * (p.bounds + 10 * sigma)
    return torch.cat([noisy_points(p, sigma, n, dtype=dtype), far, torch.tensor([[0.0, 0.0]], dtype=dtype)])


@each(ZOO)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_density_score_and_mean_agree_with_brute_force(p, sigma):
    x = far_and_near(p, sigma, 12)
    log_p, score, mean = brute_force(p, x, sigma)
    assert torch.allclose(p.log_prob(x, sigma), log_p[:, 0], rtol=1e-8, atol=1e-8)
    assert torch.allclose(sigma * p.score(x, sigma), sigma * score, rtol=1e-6, atol=1e-6)
    assert torch.allclose(p.denoise(x, sigma), mean, rtol=1e-6, atol=1e-7)


@each(ZOO)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_float32_score_is_right_to_1e_4_up_to_ten_sigma_outside(p, sigma):
    """Error relative to |score| + 1/sigma, against the same formula in float64, which the test above checks."""
    x = far_and_near(p, sigma, 300, dtype=torch.float32)
    mean = p.denoise(x.double(), sigma)
    assert ((p.denoise(x, sigma) - mean).norm(dim=1) / (1 + mean.norm(dim=1))).max() < 1e-4
    exact = p.score(x.double(), sigma)
    assert ((p.score(x, sigma) - exact).norm(dim=1) / (exact.norm(dim=1) + 1 / sigma)).max() < 1e-4


def score_error(p, truth, sigma):
    x = far_and_near(truth, sigma, 20, dtype=torch.float32)
    exact = brute_force(truth, x, sigma)[1]
    return ((p.score(x, sigma) - exact).norm(dim=1) / (exact.norm(dim=1) + 1 / sigma)).max().item()


@pytest.mark.parametrize(
    ("wrong", "truth"),
    [
        (Rings(std=0.0801), Rings()),
        (Circles(radius=3.001), Circles()),
        (Checkerboard(side=2.001), Checkerboard()),
        (Moons(std=0.2001), Moons()),
        (SplitNormal(1.001), SplitNormal()),
    ],
    ids=lambda p: p.name,
)
def test_a_parameter_wrong_by_a_thousandth_is_found(wrong, truth):
    assert score_error(wrong, truth, 0.1) > 1e-4


@each(ZOO)
@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_density_integrates_to_one(p, sigma):
    side = torch.linspace(-1, 1, 161, dtype=f64) * (1.5 * p.bounds + 8 * sigma)
    mass = p.log_prob(torch.cartesian_prod(side, side), sigma).exp().sum() * (side[1] - side[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=1e-6)


@each(ZOO)
@pytest.mark.parametrize("sigma", [0.01, 0.3, 5.0, 100.0])
def test_score_is_the_gradient_of_the_density_and_obeys_tweedie(p, sigma):
    x = noisy_points(p, sigma, 200)
    score = p.score(x, sigma)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(p.log_prob(x, sigma).sum(), x)
    x = x.detach()
    assert torch.allclose(sigma * score, sigma * slope, rtol=1e-7, atol=1e-7)
    assert torch.allclose(x + sigma**2 * score, p.denoise(x, sigma), atol=1e-9)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
@each([*MIXTURES, Rings(), Checkerboard()])
def test_score_is_differentiable_in_forward_mode(p):
    x, direction = noisy_points(p, 0.3, 100), torch.randn(100, 2, generator=generator(), dtype=f64)
    for f in (p.score, p.denoise, p.log_prob):
        slope = torch.func.jvp(lambda y: f(y, 0.3), (x,), (direction,))[1]  # noqa: B023
        h = 1e-5
        assert torch.allclose(slope, (f(x + h * direction, 0.3) - f(x - h * direction, 0.3)) / (2 * h), atol=1e-5)


@each([*ZOO, SplitNormal(shift=0.4)])
@pytest.mark.parametrize("dtype", [torch.float32, f64])
def test_nothing_overflows_within_a_distance_of_ten_thousand(p, dtype):
    side = torch.tensor([-1e4, -300.0, -1.0, 0.0, 1.0, 77.0, 1e4], dtype=dtype)
    x = torch.cartesian_prod(side, side)
    for sigma in (1e-3, 0.1, 1.0, 1e3):
        assert p.score(x, sigma).isfinite().all()
        assert p.denoise(x, sigma).isfinite().all()
        assert p.log_prob(x, sigma).isfinite().all()


@each(ZOO)
def test_a_noise_level_per_row_equals_one_for_all(p):
    x = noisy_points(p, 1.0, 12)
    sigma = torch.logspace(-2, 1, 12, dtype=f64)[:, None]
    for method in ("log_prob", "score", "denoise"):
        rows = torch.stack([getattr(p, method)(x[i : i + 1], sigma[i].item())[0] for i in range(12)])
        assert torch.allclose(getattr(p, method)(x, sigma), rows, rtol=1e-10)


@each(ZOO)
@pytest.mark.parametrize("dtype", [torch.float32, f64])
def test_score_and_denoised_point_together_are_the_two_alone_bit_for_bit(p, dtype):
    """At samples, near and far from them, without noise too where there is a density, and with levels by row."""
    x = p.sample(64, torch.Generator().manual_seed(3)).to(dtype) * torch.logspace(-2, 4, 64, dtype=dtype)[:, None]
    levels = torch.logspace(-3, 3, 64, dtype=dtype)[:, None]
    for sigma in (*([0.0] if getattr(p, "_has_density", True) else []), 1e-3, 0.5, 1e3, levels):
        together = p.score_and_denoise(x, sigma)
        assert torch.equal(together[0], p.score(x, sigma))
        assert torch.equal(together[1], p.denoise(x, sigma))


def test_memory_is_bounded_by_chunks_which_change_nothing():
    p = EightGaussians()
    x = noisy_points(p, 1.0, 20_000)
    sigma = torch.linspace(0.1, 2.0, 20_000, dtype=f64)[:, None]
    some = slice(8190, 8195)  # chunks meet here
    assert torch.allclose(p.score(x, 0.5)[some], p.score(x[some], 0.5), rtol=1e-12)
    assert torch.allclose(p.score(x, sigma)[some], p.score(x[some], sigma[some]), rtol=1e-12)


@each(ZOO)
def test_samples_are_reproducible_float32_and_labelled_alike(p):
    x, labels = p.sample_labelled(100, generator(7))
    assert torch.equal(x, p.sample(100, generator(7)))
    assert x.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert labels.shape == (100,)
    assert p.score(x, 1.0).dtype == torch.float32
    assert p.log_prob(x, torch.tensor(1.0)).shape == (100,)


@each(LABELLED)
def test_classes_add_up_to_the_whole(p):
    assert p.n_labels == len(p.mode_weights)
    x = noisy_points(p, 0.3, 200)
    log_w = torch.tensor(list(p.mode_weights.values()), dtype=f64).log()
    parts = torch.stack([p.conditioned_on(k).log_prob(x, 0.3) for k in range(p.n_labels)], dim=1)
    assert torch.allclose(torch.logsumexp(parts + log_w, dim=1), p.log_prob(x, 0.3), atol=1e-9)


@each([p for p in ZOO if not hasattr(p, "whole")])  # a class has the bounds of the whole
def test_pictures_are_as_wide_as_the_distribution(p):
    """All but one in 200 points are within the bounds, which are no more than 1.6 times as wide as that takes."""
    width = p.reference(8192).abs().amax(dim=1).quantile(0.995).item()
    assert width < replace(p).bounds < 1.6 * width + 0.5


@each(LABELLED)
def test_labels_come_with_their_shares_and_points_with_their_classes(p):
    """Shares within their binomial law, and the number of points whose label is the likeliest class within that of its
    probabilities (Bernstein's inequality), at 1e-6 each."""
    n = 40_000
    x, labels = p.sample_labelled(n, generator(1))
    for share, w in zip((labels.bincount(minlength=p.n_labels) / n).tolist(), p.mode_weights.values(), strict=True):
        assert abs(share - w) < stats.norm.isf(ALPHA / 2) * math.sqrt(w * (1 - w) / n)
    x, labels = x[:5000], labels[:5000]
    posterior = torch.stack(
        [p.conditioned_on(k).log_prob(x.double()) + math.log(w) for k, w in enumerate(p.mode_weights.values())], dim=1
    )
    assert torch.equal(p.modes(x), posterior.argmax(dim=1))
    r = torch.softmax(posterior, dim=1).amax(dim=1)
    misses, u = (p.modes(x) == labels).double().sum() - r.sum(), math.log(2 / ALPHA)
    assert abs(misses) < u / 3 + math.sqrt(u**2 / 9 + 2 * u * (r * (1 - r)).sum())


@each(LABELLED)
def test_a_class_that_does_not_exist_is_refused_by_number(p):
    with pytest.raises(ValueError, match=f"has no class {p.n_labels}: labels are 0 to {p.n_labels - 1}"):
        p.conditioned_on(p.n_labels)
    with pytest.raises(ValueError, match=r"conditioned_on\(0\) has no labels, so no class 1"):
        p.conditioned_on(0).conditioned_on(1)


@each(ZOO)
def test_entropy_is_the_mean_of_the_negative_log_density(p):
    """Over points that are the law to a high order: to 5e-3, a third of what 100 000 random points would tell."""
    assert -p.log_prob(p.reference(4096)).mean().item() == pytest.approx(p.entropy(), abs=5e-3)


def test_entropy_of_one_gaussian_and_of_distant_ones_is_the_closed_form():
    gaussian = 1 + math.log(2 * math.pi)
    leaning = LEANING.conditioned_on(0)
    assert leaning.entropy() == pytest.approx(gaussian + 0.5 * math.log(0.05), abs=1e-9)
    apart = GaussianMixture([[0.0, 0.0], [9.0, 0.0]], stds=[0.3, 0.5], weights=[1.0, 3.0])
    by_hand = 0.25 * (math.log(4) + 2 * math.log(0.3)) + 0.75 * (math.log(4 / 3) + 2 * math.log(0.5)) + gaussian
    assert apart.entropy() == pytest.approx(by_hand, abs=1e-9)
    assert SplitNormal().conditioned_on(0).entropy() == pytest.approx(gaussian - math.log(2))


def test_entropy_of_a_mixture_too_fine_for_a_grid_is_right_to_1e_3():
    """Two Gaussians that hardly overlap, far finer than their distance."""
    p = GaussianMixture([[0.0, 0.0], [40.0, 40.0]], stds=0.002)
    assert p.entropy() == pytest.approx(math.log(2) + 1 + math.log(2 * math.pi * 0.002**2), abs=1e-3)


@each([*MIXTURES, LEANING.conditioned_on(1)])
def test_reference_points_represent_the_distribution_to_a_high_order(p):
    """Weights, means and covariances to a few parts in ten thousand; random points would be ten times as far off."""
    x, mu, S, w = p.reference(), p._mu, p._S, p._w
    mean = w @ mu
    covariance = torch.einsum("k,kij->ij", w, S + torch.einsum("ki,kj->kij", mu - mean, mu - mean))
    size = covariance.diagonal().sum().sqrt()
    assert (x.mean(0) - mean).abs().max() < 3e-4 * size
    assert (x.T.cov() - covariance).abs().max() < 1e-3 * size**2
    shares = p.modes(x).bincount(minlength=len(p.mode_weights)).double() / len(x)
    if p.name == "eight_gaussians":
        assert (shares - 0.125).abs().max() < 1e-4


@each([*ZOO, *LABELLED])
def test_distributions_equal_those_built_from_their_plain_values(p):
    again = from_config(to_config(p))
    assert again == p
    assert again.name == p.name
    assert torch.equal(again.sample(10, generator()), p.sample(10, generator()))


def chi_squared(p, x, sigma, cells=24, fine=6):
    """p-value of the counts of points in the cells of a grid, against the integral of the noisy density over each."""
    half = p.bounds + 3 * sigma
    side = ((torch.arange(cells * fine, dtype=f64) + 0.5) / (cells * fine) * 2 - 1) * half
    density = p.log_prob(torch.cartesian_prod(side, side), sigma).exp().view(cells, fine, cells, fine)
    expected = density.sum(dim=(1, 3)) * (2 * half / (cells * fine)) ** 2 * len(x)
    index = ((x / half + 1) / 2 * cells).floor().long()
    inside = ((index >= 0) & (index < cells)).all(dim=1)
    counts = (index[inside] @ torch.tensor([cells, 1])).bincount(minlength=cells**2).double()
    expected, seldom = expected.flatten(), expected.flatten() < 10
    observed = torch.cat([counts[~seldom], (len(x) - counts[~seldom].sum())[None]])
    expected = torch.cat([expected[~seldom], (len(x) - expected[~seldom].sum())[None]])
    statistic = ((observed - expected) ** 2 / expected.clamp(min=1)).sum().item()
    return stats.chi2.sf(statistic, len(observed) - 1)


@each(ZOO)
def test_noisy_samples_follow_the_noisy_density(p):
    """Chi-squared on a grid, at 1e-6; it finds samples that are wider by a fiftieth of the picture's half-width."""
    sigma = 0.06 * p.bounds
    x = noisy_points(p, sigma, 60_000)
    assert chi_squared(p, x, sigma) > ALPHA
    if p.name != "fractal_tree_0":
        assert chi_squared(p, x + 0.02 * p.bounds, sigma) < ALPHA


def test_samples_of_folded_normals_have_not_changed():
    """Those of the first release, to the last bit."""
    heart, split = (p.sample(2, generator()).tolist() for p in (Heart(), SplitNormal()))
    assert heart == [[1.3942816257476807, 0.4770691394805908], [-1.89457368850708, 0.5209634304046631]]
    assert split == [[2.5409960746765137, -0.293428897857666], [-3.1787893772125244, 0.5684312582015991]]


def test_eight_gaussians_are_those_of_ffjord():
    p = EightGaussians()
    root = math.sqrt(0.5)
    unit = {(1, 0), (-1, 0), (0, 1), (0, -1), (root, root), (root, -root), (-root, root), (-root, -root)}
    centres = {(round(4 * a / 1.414, 9) + 0.0, round(4 * b / 1.414, 9) + 0.0) for a, b in unit}
    assert {(round(a, 9) + 0.0, round(b, 9) + 0.0) for a, b in p._mu.tolist()} == centres
    assert torch.allclose(p._S, (0.5 / 1.414) ** 2 * torch.eye(2, dtype=f64).expand(8, 2, 2))


def test_the_mixture_of_ncsn_is_that_of_the_paper():
    p = NCSNMixture()
    assert p._mu.tolist() == [[-5.0, -5.0], [5.0, 5.0]]
    assert torch.equal(p._S, torch.eye(2, dtype=f64).expand(2, 2, 2))
    assert list(p.mode_weights.items()) == [("(-5, -5)", pytest.approx(0.2)), ("(5, 5)", pytest.approx(0.8))]


def test_the_grid_is_that_of_veegan():
    p = GaussianGrid()
    assert sorted(p._mu.tolist()) == [[x, y] for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)]
    assert torch.allclose(p._S, 0.05**2 * torch.eye(2, dtype=f64).expand(25, 2, 2))


def test_the_forty_gaussians_are_those_of_fab():
    """The first places as its followers print them."""
    p = FortyGaussians()
    printed = [[-0.2995, 21.4577], [-32.9218, -29.4376], [-15.4062, 10.7263], [-0.7925, 31.7156]]
    assert torch.allclose(p._mu[:4], torch.tensor(printed, dtype=f64), atol=1e-4)
    assert p._S[0, 0, 0].sqrt().item() == pytest.approx(math.log(1 + math.e), abs=1e-7)


def paths_of_scikit_learn(q):
    """The curves by their definitions, without noise, at even quantiles."""
    half, roll, letter = math.pi * q, 1.5 * math.pi * (1 + 2 * q), 3 * math.pi * (q - 0.5)
    upper = torch.stack([half.cos(), half.sin()], 1)
    lower = torch.stack([1 - half.cos(), 1 - half.sin() - 0.5], 1)
    return {
        Moons(): (2 * torch.cat([upper, lower]) + torch.tensor([-1, -0.2]), 0.2),
        SwissRoll(): (torch.stack([roll * roll.cos(), roll * roll.sin()], 1) / 5, 0.2),
        SCurve(): (torch.stack([letter.sin(), letter.sign() * (letter.cos() - 1)], 1), 0.1),
    }


def test_curves_are_the_continuous_ones_of_ffjord_and_scikit_learn():
    """The density differs from that of ten thousand points along the curve by at most a fiftieth of its height."""
    for p, (path, std) in paths_of_scikit_learn((torch.arange(5000, dtype=f64) + 0.5) / 5000).items():
        x = noisy_points(p, 0.1, 300)
        density = (-0.5 * torch.cdist(x, path).square() / std**2).exp().mean(1) / (2 * math.pi * std**2)
        assert (p.log_prob(x).exp() - density).abs().max() < 0.02 * density.max()


def test_spirals_have_the_moments_of_ffjord():
    """Mean and covariance of one arm, whose points FFJORD moves by up to a sixth along both axes."""
    phi = 3 * math.pi * ((torch.arange(100_000, dtype=f64) + 0.5) / 100_000).sqrt()
    arm = torch.stack([-phi * phi.cos(), phi * phi.sin()], 1) / 3
    covariance = arm.T.cov() + (0.1**2 + (1 / 6) ** 2 / 12) * torch.eye(2)
    x = TwoSpirals().conditioned_on(0).reference()
    assert torch.allclose(x.mean(0), arm.mean(0) + 1 / 12, atol=5e-3)
    assert torch.allclose(x.T.cov(), covariance, atol=2e-2)


def test_the_pinwheel_is_that_of_ffjord():
    """Its noisy density, by a sum over the radial normal numbers of FFJORD's definition: within 3% of its height."""
    x, sigma = noisy_points(Pinwheel(), 0.1, 300), 0.1
    r = torch.linspace(-5, 5, 2001, dtype=f64)
    density = 0
    for k in range(5):
        turn = 2 * math.pi * k / 5 + 0.25 * (1 + 0.3 * r).exp()
        out, across = torch.stack([turn.cos(), -turn.sin()], 1), torch.stack([turn.sin(), turn.cos()], 1)
        d = x[:, None] - 2 * (1 + 0.3 * r)[:, None] * out
        a, b = (d * out).sum(-1), (d * across).sum(-1)
        spread = 0.2**2 + sigma**2
        kernel = (-0.5 * (a**2 / sigma**2 + b**2 / spread)).exp() / (2 * math.pi * sigma * spread**0.5)
        density = density + kernel @ (-0.5 * r**2).exp() / math.sqrt(2 * math.pi) * 0.005 / 5
    assert (Pinwheel().log_prob(x, sigma).exp() - density).abs().max() < 0.03 * density.max()


def test_rings_and_circles_are_those_of_ffjord():
    assert Rings()._R.tolist() == [0.75, 1.5, 2.25, 3.0]
    assert Circles()._R.tolist() == [3.0, 1.5]
    for p in (Rings(), Circles()):
        x = p.reference()
        variance = (p._R.square().mean() / 2 + p._s**2).item()
        assert torch.allclose(x.T.cov(), variance * torch.eye(2, dtype=f64), atol=2e-3 * variance)
        assert x.mean(0).abs().max() < 1e-3


def test_the_checkerboard_is_that_of_ffjord_and_its_gaps_are_invalid():
    """Every second field, beginning at the lower left; where a network must not put anything."""
    p, n = Checkerboard(), 8
    x = (torch.arange(n, dtype=f64) + 0.5) * 8 / n - 4
    grid = torch.cartesian_prod(x, x)
    filled = ((grid + 4) / 2).floor().sum(1) % 2 == 0
    assert torch.equal(~p.invalid(grid), filled)
    assert torch.equal(p.log_prob(grid).isfinite(), filled)
    assert p.log_prob(grid)[filled].tolist() == pytest.approx([-math.log(32)] * int(filled.sum()))
    assert p.invalid(torch.tensor([[-4.1, -3.0], [5.0, 5.0]])).all()
    for q in (p, p.conditioned_on(2)):
        x = q.sample(100_000, generator())
        assert not q.invalid(x).any()
        assert not q.invalid(q.reference()).any()
    assert p.entropy() == pytest.approx(math.log(32), abs=1e-12)
    assert Checkerboard(side=0.5).entropy() == pytest.approx(math.log(2), abs=1e-12)


def test_the_tree_is_that_of_the_paper():
    """It moves and stretches its tree by these four figures, found from samples."""
    p = FractalTree()
    assert len(p._mu) == 2 * (2**7 - 1) * 8
    first = 0.292 * (1 + 0.2 * np.random.RandomState(2).randn())  # the first limb, to the upper right
    stretch = np.array([1.3136, 1.3844])
    for k, along in ((0, 0.07), (7, 0.93)):
        middle = (along * first * math.sqrt(0.5) + np.array([0.0030, 0.0325])) * stretch
        assert np.allclose(p._mu[k].numpy(), middle, atol=1e-3)
    variances = 0.06**2 * np.array([first**2, 0.2**2])  # along the diagonal and across it
    S = np.array([[variances.sum(), variances[0] - variances[1]], [variances[0] - variances[1], variances.sum()]]) / 2
    assert np.allclose(p._S[0].numpy(), S * np.outer(stretch, stretch), rtol=1e-3)
    spread = (p._w @ (p._mu.square() + torch.diagonal(p._S, dim1=1, dim2=2))).sqrt()
    assert torch.allclose(spread, torch.full((2,), 0.5, dtype=f64))
    assert torch.allclose(p._w @ p._mu, torch.zeros(2, dtype=f64), atol=1e-12)


def test_opposite_blades_share_a_class():
    p = AnisotropicGaussians(n_blades=4, n_classes=2, radius=1.0, long=0.5, short=0.1, turn=0.0)
    assert p._labels.tolist() == [0, 1, 0, 1]
    assert torch.allclose(p._S[0], torch.diag(torch.tensor([0.25, 0.01], dtype=f64)))
    assert torch.allclose(p._S[1], torch.diag(torch.tensor([0.01, 0.25], dtype=f64)))


def test_a_blade_is_turned_counterclockwise_against_its_radius():
    p = AnisotropicGaussians(n_blades=4, n_classes=2, long=0.5, short=0.1, turn=30.0)
    for k, angle in enumerate((30.0, 120.0)):  # of the long axis of the blades at 0 and 90 degrees
        axis = torch.tensor([math.cos(math.radians(angle)), math.sin(math.radians(angle))], dtype=f64)
        assert torch.allclose(p._S[k] @ axis, 0.25 * axis)


REFUSED = {
    "means that are no points": ({"means": [[0.0], [1.0]], "stds": 1.0}, "means must be K x 2 finite numbers"),
    "a mean that is nan": ({"means": [[0.0, math.nan]], "stds": 1.0}, "means must be K x 2 finite numbers"),
    "no spread": ({"means": [[0.0, 0.0]]}, "give either stds or covariances"),
    "two spreads": ({"means": [[0.0, 0.0]], "stds": 1.0, "covariances": [[[1.0, 0.0], [0.0, 1.0]]]}, "give either"),
    "a std of zero": ({"means": [[0.0, 0.0]], "stds": 0.0}, "stds must be positive, got 0.0"),
    "too many stds": ({"means": [[0.0, 0.0]], "stds": [1.0, 2.0]}, "stds must be 1 finite numbers"),
    "an indefinite matrix": (
        {"means": [[0.0, 0.0]], "covariances": [[[1.0, 2.0], [2.0, 1.0]]]},
        "covariance 0 must be symmetric and positive definite",
    ),
    "one of two covariances": (
        {"means": [[0.0, 0.0]] * 2, "covariances": [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 2.0], [2.0, 1.0]]]},
        "covariance 1 must be symmetric and positive definite",
    ),
    "a negative weight": ({"means": [[0.0, 0.0]], "stds": 1.0, "weights": [-1.0]}, "weights must be positive"),
    "classes with a gap": ({"means": [[0.0, 0.0]], "stds": 1.0, "classes": [1]}, "classes must count from 0"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_invalid_mixtures_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(**arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EightGaussians(std=-0.5), "std must be positive, got -0.5"),
        (lambda: NCSNMixture(weight=1.0), "weight must be between 0 and 1, got 1.0"),
        (lambda: Rings(n_rings=0), "n_rings must be positive, got 0"),
        (lambda: Circles(factor=2.0), "factor must be between 0 and 1, got 2.0"),
        (lambda: Checkerboard(n=3), "n must be even, got 3"),
        (lambda: Moons(centre=[0.0]), "centre must be 2 finite numbers"),
        (lambda: FractalTree(jitter=-1.0), "jitter must be 0 or positive, got -1.0"),
        (lambda: Pinwheel(radial_std=0.05), "radial_std must be larger than tangential_std / 2"),
        (lambda: AnisotropicGaussians(n_classes=9), "n_classes must be at most n_blades, got 9 > 6"),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
