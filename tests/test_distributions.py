"""The oracles: everything else is measured against them, so they are measured against independent computations.

The independent evaluation is numerical: the noisy density is an integral of the clean one against a Gaussian, done by
quadrature in float64 in the coordinates of the base normal, without any formula of the package.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import special, stats

from toy_score.distributions import HalfPlaneGaussians, Heart, SplitNormal
from toy_score.distributions.halfplanes import HalfPlaneParts
from toy_score.distributions.tails import log_ndtr_and_hazard

DISTRIBUTIONS = [Heart(), SplitNormal(), SplitNormal(shift=0.4)]
IDS = [repr(d) for d in DISTRIBUTIONS]
every = pytest.mark.parametrize("p", DISTRIBUTIONS, ids=IDS)
f64 = torch.float64
ALPHA = 1e-6  # false-alarm rate of each statistical test


def quadrature(p, x, sigma):
    """log p_sigma(x), score and posterior mean by a weighted sum over the base normal.

    Gauss-Legendre on either side of the fold, where the integrand jumps, and evenly along it.
    """
    nodes, weights = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(0, 8.5, 18)
    across = np.concatenate([(a + b) / 2 + (b - a) / 2 * nodes for a, b in itertools.pairwise(edges)])
    weights = np.tile(weights * (edges[1] - edges[0]) / 2, 17)
    across, weights = np.concatenate([across, -across]), np.concatenate([weights, weights])
    along = np.linspace(-8.5, 8.5, 500)
    normal = np.array([1.0, 0.0]) if isinstance(p, SplitNormal) else np.array([1.0, 0.5]) / math.hypot(1, 0.5)
    tangent = np.array([-normal[1], normal[0]])
    z = (across[:, None, None] * normal + along[None, :, None] * tangent).reshape(-1, 2)
    log_weight = np.repeat(np.log(weights), len(along)) - 0.5 * (z**2).sum(1)
    log_weight += math.log(along[1] - along[0]) - math.log(2 * math.pi)
    centres, out = push_by_hand(p, z), []
    for point in x.numpy():
        difference = centres - point
        exponent = log_weight - 0.5 * (difference**2).sum(1) / sigma**2
        log_p = special.logsumexp(exponent) - math.log(2 * math.pi * sigma**2)
        r = np.exp(exponent - exponent.max())
        r /= r.sum()
        out.append((log_p, *(r @ difference / sigma**2), *(r @ centres)))
    out = torch.tensor(np.array(out))
    return out[:, 0], out[:, 1:3], out[:, 3:5]


def push_by_hand(p, z):
    """The maps as their definitions say, in numpy."""
    if isinstance(p, SplitNormal):
        return z + np.stack([p.shift * np.sign(z[:, 0]), np.zeros(len(z))], axis=1)
    y = z @ np.array([[1.0, 0.5], [0.5, 1.0]])
    return np.stack([y[:, 0], np.sign(y[:, 0]) * y[:, 1]], axis=1)


def noisy_points(p, sigma, n, seed=0, dtype=f64):
    generator = torch.Generator().manual_seed(seed)
    x = p.sample(n, generator).to(dtype)
    return x + sigma * torch.randn(n, 2, generator=generator, dtype=dtype)


@every
@pytest.mark.parametrize("sigma", [0.15, 0.6, 3.0, 30.0])
def test_density_score_and_mean_agree_with_quadrature(p, sigma):
    x = torch.cat([noisy_points(p, sigma, 6), torch.tensor([[0.0, 0.0], [0.3, -2.0], [4.0, 1.0]], dtype=f64)])
    log_p, score, mean = quadrature(p, x, sigma)
    assert torch.allclose(p.log_prob(x, sigma), log_p, atol=1e-8)
    assert torch.allclose(sigma * p.score(x, sigma), sigma * score, atol=1e-8)
    assert torch.allclose(p.denoise(x, sigma), mean, atol=1e-8)


@every
@pytest.mark.parametrize("sigma", [0.0, 0.05, 1.0])
def test_density_integrates_to_one(p, sigma):
    side = torch.linspace(-13, 13, 1301, dtype=f64)  # the clean densities jump on grid lines: cells are 0.02 wide
    grid = torch.cartesian_prod(side + 0.01, side + 0.01)
    mass = p.log_prob(grid, sigma).exp().sum() * 0.02**2
    assert abs(mass.item() - 1) < (3e-3 if sigma == 0 else 1e-6)


@every
@pytest.mark.parametrize("sigma", [0.01, 0.3, 5.0, 100.0])
def test_score_is_the_gradient_of_the_density(p, sigma):
    x = noisy_points(p, sigma, 400)
    h = 1e-5 * sigma
    for axis in (0, 1):
        step = torch.zeros(1, 2, dtype=f64)
        step[0, axis] = h
        slope = (p.log_prob(x + step, sigma) - p.log_prob(x - step, sigma)) / (2 * h)
        assert torch.allclose(sigma * p.score(x, sigma)[:, axis], sigma * slope, atol=1e-5)


@every
@pytest.mark.parametrize("sigma", [0.01, 0.3, 5.0])
def test_score_and_mean_obey_tweedie(p, sigma):
    x = noisy_points(p, sigma, 1000)
    assert torch.allclose(x + sigma**2 * p.score(x, sigma), p.denoise(x, sigma), atol=1e-9)


def test_split_normal_agrees_with_its_one_dimensional_closed_form():
    """By scipy, in float64: the halves factorise, N(y0; +-1, 1 + s^2) Phi(...), out to where everything underflows."""
    y = np.concatenate([np.linspace(-30, 30, 121), [-300.0, 250.0, 0.0]])
    for s in (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0):
        v = 1 + s**2
        parts = [
            stats.norm.logpdf(y, m, math.sqrt(v)) + special.log_ndtr(m * (y - m) / (s * math.sqrt(v))) for m in (1, -1)
        ]
        log_p = special.logsumexp(parts, axis=0) + stats.norm.logpdf(0.5, 0, math.sqrt(v))
        x = torch.tensor(np.stack([y, np.full_like(y, 0.5)], axis=1))
        ours = SplitNormal().log_prob(x, s).numpy()
        assert np.allclose(ours, log_p, rtol=1e-9, atol=1e-9)


@every
@pytest.mark.parametrize("sigma", [1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0])
def test_float32_score_is_right_to_1e_4_also_far_outside_the_support(p, sigma):
    """Error relative to |score| + 1/sigma, against the same points in float64 (which the tests above tie to scipy)."""
    generator = torch.Generator().manual_seed(1)
    near = noisy_points(p, sigma, 5000, dtype=torch.float32)
    far = (2 * torch.rand(5000, 2, generator=generator) - 1) * (20 + 20 * sigma)
    x = torch.cat([near, far])
    exact = p.score(x.double(), sigma)
    error = (p.score(x, sigma) - exact).norm(dim=1) / (exact.norm(dim=1) + 1 / sigma)
    assert error.max() < 1e-4
    mean = p.denoise(x.double(), sigma)
    assert ((p.denoise(x, sigma) - mean).norm(dim=1) / (1 + mean.norm(dim=1))).max() < 1e-4


@every
def test_a_noise_level_per_row_equals_one_for_all(p):
    x = noisy_points(p, 1.0, 50)
    sigma = torch.logspace(-2, 1, 50, dtype=f64)[:, None]
    for method in ("log_prob", "score", "denoise"):
        rows = torch.stack([getattr(p, method)(x[i : i + 1], sigma[i].item())[0] for i in range(50)])
        assert torch.allclose(getattr(p, method)(x, sigma), rows, rtol=1e-12)


def test_clean_density_is_exact_on_the_support_and_zero_off_it():
    x = torch.tensor([[1.5, 0.2], [-1.5, 0.2], [0.5, 0.0], [-0.99, 3.0]], dtype=f64)
    log_p = SplitNormal().log_prob(x)
    assert log_p[:2].tolist() == pytest.approx([-math.log(2 * math.pi) - 0.5 * (0.25 + 0.04)] * 2)
    assert torch.equal(log_p[2:], torch.full((2,), -math.inf, dtype=f64))
    assert SplitNormal().invalid(x).tolist() == [False, False, True, True]
    y = torch.tensor([[0.7, 0.3], [-0.7, 0.3]], dtype=f64)
    cov = np.array([[1.25, 1.0], [1.0, 1.25]])
    expected = stats.multivariate_normal([0, 0], cov).logpdf([0.7, 0.3])
    mirrored = stats.multivariate_normal([0, 0], cov).logpdf([-0.7, -0.3])
    assert Heart().log_prob(y).tolist() == pytest.approx([expected, mirrored])


@every
def test_entropy_is_that_of_the_samples(p):
    n = 200_000
    log_p = p.log_prob(p.sample(n, torch.Generator().manual_seed(3)).double())
    threshold = stats.norm.isf(ALPHA / 2) * log_p.std().item() / math.sqrt(n)
    assert abs(-log_p.mean().item() - p.entropy()) < threshold


def test_entropies_are_the_known_constants():
    assert SplitNormal().entropy() == pytest.approx(2.837877066, abs=1e-9)
    assert Heart().entropy() == pytest.approx(2.550194994, abs=1e-9)


@pytest.mark.parametrize(
    ("p", "sigma", "entropy", "fisher"),
    [
        (SplitNormal(), 0.1, 2.91950822, 9.07211057),
        (SplitNormal(), 1.0, 3.88770230, 0.89389878),
        (Heart(), 0.1, 2.57165739, 4.18223013),
        (Heart(), 1.0, 3.49620287, 1.09221849),
        (Heart(), 10.0, 7.45294819, 0.01980303),
    ],
)
def test_noisy_entropy_and_fisher_information_are_the_golden_values(p, sigma, entropy, fisher):
    """E[-log p_s] and E|score|^2 by the trapezoidal rule on a fine grid, against values computed elsewhere."""
    half = 10 * math.sqrt(4 + sigma**2)
    side = torch.linspace(-half, half, 1201, dtype=f64)
    grid = torch.cartesian_prod(side, side)
    log_p = p.log_prob(grid, sigma)
    mass = log_p.exp() * (side[1] - side[0]) ** 2
    assert (-(mass * log_p).sum()).item() == pytest.approx(entropy, abs=2e-6)
    assert (mass * p.score(grid, sigma).square().sum(1)).sum().item() == pytest.approx(fisher, rel=2e-6)


def kolmogorov(u):
    """Largest distance between the empirical distribution function of u and the uniform one."""
    return stats.kstest(np.asarray(u), "uniform").statistic


def dkw(n):
    """Threshold of the Dvoretzky-Kiefer-Wolfowitz inequality (Massart 1990) at level ALPHA, for every n."""
    return math.sqrt(math.log(2 / ALPHA) / (2 * n))


@every
def test_samples_pulled_back_are_standard_normal(p):
    """KS of both coordinates and the radius, each at 1e-6; finds what differs by 0.022 at n = 60 000."""
    n = 60_000
    x = p.sample(n, torch.Generator().manual_seed(5))
    z = p.pull(x.double())
    uniforms = [*torch.special.ndtr(z.T), -torch.expm1(-z.square().sum(1) / 2)]
    assert all(kolmogorov(u) < dkw(n) for u in uniforms)
    shifted = p.pull(x.double() + torch.tensor([0.0, 0.1]))  # power: a shift by a tenth is found
    assert any(kolmogorov(u) > dkw(n) for u in torch.special.ndtr(shifted.T))


@every
def test_push_and_pull_are_inverse_and_as_defined(p):
    z = torch.randn(1000, 2, dtype=f64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(p.pull(p.push(z)), z, atol=1e-12)
    assert np.allclose(p.push(z).numpy(), push_by_hand(p, z.numpy()))


@every
def test_mirror_images_have_the_same_density_and_mirrored_scores(p):
    x = noisy_points(p, 0.5, 500, dtype=torch.float32)
    mirror = torch.tensor([-1.0, 1.0])
    assert torch.equal(p.log_prob(x, 0.5), p.log_prob(x * mirror, 0.5))
    assert torch.allclose(p.score(x, 0.5), p.score(x * mirror, 0.5) * mirror, atol=1e-5)


@every
def test_circles_are_unbroken_images_of_circles(p):
    pieces = p.circles([0.5, 2.0], n=400)
    assert len(pieces) == 4
    for piece, radius in zip(pieces, (0.5, 0.5, 2.0, 2.0), strict=True):
        assert torch.allclose(p.pull(piece).norm(dim=1), torch.tensor(radius), atol=1e-5)
        assert (piece[1:] - piece[:-1]).norm(dim=1).max() < 0.03 * radius
    for label in (0, 1):
        halves = p.conditioned_on(label).circles([0.5, 2.0], n=400)
        assert all(torch.equal(half, whole) for half, whole in zip(halves, pieces[1 - label :: 2], strict=True))
        assert (p.modes(torch.cat([half[1:-1] for half in halves])) == label).all()
    angles = torch.cat([torch.atan2(z[:, 1], z[:, 0]) for z in map(p.pull, pieces[:2])]) % (2 * math.pi)
    assert len(angles) == 400
    assert angles.sort().values.diff().max() < 1.01 * 2 * math.pi / 400 < 1.02 * angles.sort().values.diff().min()


@every
def test_samples_come_from_the_generator_and_results_keep_the_dtype(p):
    a, b = (p.sample(10, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(a, b)
    assert a.dtype == torch.float32
    for dtype in (torch.float32, f64):
        assert p.score(a.to(dtype), 1.0).dtype == p.denoise(a.to(dtype), 1.0).dtype == dtype
    assert p.log_prob(a, torch.tensor(1.0)).shape == (10,)


@every
def test_reference_points_represent_the_distribution_to_a_high_order(p):
    z = p.pull(p.reference())
    assert z.mean(0).abs().max() < 1e-3
    assert (z.T.cov() - torch.eye(2)).abs().max() < 2e-3


def test_the_tails_of_the_normal_law_and_their_derivatives_are_right_to_1e_11():
    """Against scipy; `h' = -h (z + h)`, whose two terms cancel far out, against its asymptotic series there."""
    z = torch.cat([torch.linspace(-60.0, 5.0, 10_001, dtype=f64), -torch.logspace(2, 12, 101, dtype=f64)])
    log_phi, hazard = log_ndtr_and_hazard(z)
    assert np.allclose(log_phi, special.log_ndtr(z.numpy()), rtol=1e-11, atol=1e-15)
    assert np.allclose(hazard, math.sqrt(2 / math.pi) / special.erfcx(-z.numpy() / math.sqrt(2)), rtol=1e-11)
    z.requires_grad_()
    (slope_of_log,) = torch.autograd.grad(log_ndtr_and_hazard(z)[0].sum(), z)
    (slope,) = torch.autograd.grad(log_ndtr_and_hazard(z)[1].sum(), z)
    assert torch.allclose(slope_of_log, hazard, rtol=1e-11)
    z, near = z.detach(), z > -10
    assert torch.allclose(slope[near], (-hazard * (z + hazard))[near], rtol=1e-10)
    far = z < -30
    assert torch.allclose(slope[far], (-1 + z**-2 - 6 * z**-4 + 50 * z**-6 - 518 * z**-8)[far], rtol=1e-9)


def test_a_gaussian_cut_beside_its_mean_is_normalised():
    """A Gaussian whose cut does not go through its mean; the density still integrates to 1."""
    p = _Cut()
    side = torch.linspace(-9, 9, 1201, dtype=f64)
    grid = torch.cartesian_prod(side, side)
    mass = p.log_prob(grid, 0.3).exp().sum() * (side[1] - side[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=1e-6)


@dataclass(frozen=True)
class _Cut(HalfPlaneGaussians):
    sample = entropy = None

    def parts(self):
        return HalfPlaneParts([[0.3, -0.2]], [[[1.0, 0.4], [0.4, 0.5]]], [[1.0, 2.0]], [[0.0, 0.5]], [1.0])


def test_a_shift_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match=r"shift must be positive, got -1"):
        SplitNormal(shift=-1.0)
