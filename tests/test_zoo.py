"""The zoo: every distribution is its density, its score, its samples, its classes, its entropy.

The independent evaluation is brute force in float64, from the definition of each distribution and without any formula
of the package.
"""

import math

import numpy as np
import pytest
import torch
from scipy import special, stats

from toy_score.component import from_config, to_config
from toy_score.distributions import (
    AnisotropicGaussians,
    EightGaussians,
    FortyGaussians,
    GaussianGrid,
    GaussianMixture,
    Gaussians,
    Heart,
    NCSNMixture,
    SplitNormal,
)

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
HALVES = [Heart().given(0), Heart().given(1), SplitNormal().given(0), SplitNormal(0.4).given(1)]
ZOO = [*MIXTURES, *HALVES, LEANING.given(1)]
LABELLED = [*MIXTURES, Heart(), SplitNormal(0.4)]
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
    parts = _gaussians if isinstance(p, Gaussians) else _half_planes
    out = []
    for point in x.numpy():
        log_q, scores, means = parts(p, point, sigma)
        r = np.exp(log_q - special.logsumexp(log_q))
        out.append(np.concatenate([[special.logsumexp(log_q)], r @ scores, r @ means]))
    return torch.tensor(np.array(out)).split([1, 2, 2], dim=1)


def _gaussians(p, x, sigma):
    """Of each component: the logarithm of its share of the density, its score, its posterior mean."""
    mu, S, w = p._mu.numpy(), p._S.numpy(), p._w.numpy()
    C = S + sigma**2 * np.eye(2)
    pull = np.linalg.solve(C, (mu - x)[:, :, None])[:, :, 0]
    log_q = np.log(w) - 0.5 * ((mu - x) * pull).sum(1) - 0.5 * np.linalg.slogdet(C)[1] - math.log(2 * math.pi)
    return log_q, pull, mu - (S @ pull[:, :, None])[:, :, 0]


def _half_planes(p, x, sigma):
    """The same of each cell of a grid over the base normal, as far as it comes to this side: the midpoint rule."""
    side = torch.arange(-8, 8, 0.02, dtype=f64) + 0.01
    z = torch.cartesian_prod(side, side)
    here = p.folded.modes(p.folded.push(z)) == p.label
    log_weight = (math.log(2 * 0.02**2 / (2 * math.pi)) - 0.5 * z.square().sum(1))[here].numpy()
    centres = p.folded.push(z)[here].numpy()
    log_q = log_weight - 0.5 * ((centres - x) ** 2).sum(1) / sigma**2 - math.log(2 * math.pi * sigma**2)
    return log_q, (centres - x) / sigma**2, centres


@each([*MIXTURES, LEANING.given(0)])
@pytest.mark.parametrize("sigma", [1e-3, 0.1, 1.0, 30.0])
def test_density_score_and_mean_agree_with_brute_force(p, sigma):
    x = torch.cat([noisy_points(p, sigma, 40), torch.tensor([[0.0, 0.0], [0.3, -2.0], [9.0, 20.0]], dtype=f64)])
    log_p, score, mean = brute_force(p, x, sigma)
    assert torch.allclose(p.log_prob(x, sigma), log_p[:, 0], rtol=1e-9, atol=1e-9)
    assert torch.allclose(sigma * p.score(x, sigma), sigma * score, rtol=1e-8, atol=1e-9)
    assert torch.allclose(p.denoise(x, sigma), mean, rtol=1e-8, atol=1e-9)


@each(HALVES)
def test_a_side_of_a_folded_normal_agrees_with_quadrature(p):
    x = noisy_points(p, 0.5, 3)
    log_p, score, mean = brute_force(p, x, 0.5)
    assert torch.allclose(p.log_prob(x, 0.5), log_p[:, 0], atol=1e-3)  # the fold cuts through cells
    assert torch.allclose(p.score(x, 0.5), score, atol=3e-3)
    assert torch.allclose(p.denoise(x, 0.5), mean, atol=1e-3)


@each(ZOO)
@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_density_integrates_to_one(p, sigma):
    side = torch.linspace(-1, 1, 521, dtype=f64) * (1.5 * p.bounds + 8 * sigma)
    mass = p.log_prob(torch.cartesian_prod(side, side), sigma).exp().sum() * (side[1] - side[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=1e-6)


@each(ZOO)
@pytest.mark.parametrize("sigma", [0.01, 0.3, 5.0, 100.0])
def test_score_is_the_gradient_of_the_density_and_obeys_tweedie(p, sigma):
    x = noisy_points(p, sigma, 200)
    score = p.score(x, sigma)
    for axis in (0, 1):
        step = 1e-5 * sigma * torch.eye(2, dtype=f64)[axis]
        slope = (p.log_prob(x + step, sigma) - p.log_prob(x - step, sigma)) / (2e-5 * sigma)
        assert torch.allclose(sigma * score[:, axis], sigma * slope, atol=1e-5)
    assert torch.allclose(x + sigma**2 * score, p.denoise(x, sigma), atol=1e-9)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
@each(MIXTURES)
def test_score_is_differentiable_in_forward_mode(p):
    x, direction = noisy_points(p, 0.3, 100), torch.randn(100, 2, generator=generator(), dtype=f64)
    for f in (p.score, p.denoise, p.log_prob):
        slope = torch.func.jvp(lambda y: f(y, 0.3), (x,), (direction,))[1]  # noqa: B023
        h = 1e-5
        assert torch.allclose(slope, (f(x + h * direction, 0.3) - f(x - h * direction, 0.3)) / (2 * h), atol=1e-5)


@each(ZOO)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_float32_score_is_right_to_1e_4_up_to_ten_sigma_outside(p, sigma):
    """Error relative to |score| + 1/sigma, against the same points in float64."""
    near = noisy_points(p, sigma, 1000, dtype=torch.float32)
    far = (2 * torch.rand(1000, 2, generator=generator(1)) - 1) * (p.bounds + 10 * sigma)
    x = torch.cat([near, far])
    exact, mean = p.score(x.double(), sigma), p.denoise(x.double(), sigma)
    error = (p.score(x, sigma) - exact).norm(dim=1) / (exact.norm(dim=1) + 1 / sigma)
    assert error.max() < 1e-4
    assert ((p.denoise(x, sigma) - mean).norm(dim=1) / (1 + mean.norm(dim=1))).max() < 1e-4


@each(ZOO)
@pytest.mark.parametrize("dtype", [torch.float32, f64])
def test_nothing_overflows_within_ten_thousand(p, dtype):
    side = torch.tensor([-1e4, -300.0, -1.0, 0.0, 1.0, 77.0, 1e4], dtype=dtype)
    x = torch.cartesian_prod(side, side)
    for sigma in (1e-3, 0.1, 1.0, 1e3):
        assert p.score(x, sigma).isfinite().all()
        assert p.denoise(x, sigma).isfinite().all()
        assert p.log_prob(x, sigma).isfinite().all()


@each(ZOO)
def test_a_noise_level_per_row_equals_one_for_all(p):
    x = noisy_points(p, 1.0, 50)
    sigma = torch.logspace(-2, 1, 50, dtype=f64)[:, None]
    for method in ("log_prob", "score", "denoise"):
        rows = torch.stack([getattr(p, method)(x[i : i + 1], sigma[i].item())[0] for i in range(50)])
        assert torch.allclose(getattr(p, method)(x, sigma), rows, rtol=1e-10)


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
    parts = torch.stack([p.given(k).log_prob(x, 0.3) for k in range(p.n_labels)], dim=1)
    assert torch.allclose(torch.logsumexp(parts + log_w, dim=1), p.log_prob(x, 0.3), atol=1e-9)


@each(LABELLED)
def test_labels_come_with_their_shares_and_points_with_their_classes(p):
    """Shares within their binomial law, at 1e-6 each; the modes of well-separated points are their labels."""
    n = 40_000
    x, labels = p.sample_labelled(n, generator(1))
    for share, w in zip((labels.bincount(minlength=p.n_labels) / n).tolist(), p.mode_weights.values(), strict=True):
        assert abs(share - w) < stats.norm.isf(ALPHA / 2) * math.sqrt(w * (1 - w) / n)
    posterior = torch.stack(
        [p.given(k).log_prob(x.double()) + math.log(w) for k, w in enumerate(p.mode_weights.values())], dim=1
    )
    assert torch.equal(p.modes(x), posterior.argmax(dim=1))
    r = torch.softmax(posterior, dim=1)
    expected, scatter = r.amax(dim=1).mean().item(), 0.5 / math.sqrt(n)  # how often the likeliest class is the class
    assert abs((p.modes(x) == labels).double().mean().item() - expected) < stats.norm.isf(ALPHA / 2) * scatter


@each(LABELLED)
def test_a_class_that_is_not_there_is_refused_by_number(p):
    with pytest.raises(ValueError, match=f"has no class {p.n_labels}: labels are 0 to {p.n_labels - 1}"):
        p.given(p.n_labels)
    with pytest.raises(ValueError, match=r"given\(0\) has no labels, so no class 1"):
        p.given(0).given(1)


@each(ZOO)
def test_entropy_is_that_of_the_samples(p):
    n = 100_000
    log_p = p.log_prob(p.sample(n, generator(3)).double())
    threshold = stats.norm.isf(ALPHA / 2) * log_p.std().item() / math.sqrt(n)
    assert abs(-log_p.mean().item() - p.entropy()) < threshold


def test_entropy_of_one_gaussian_and_of_distant_ones_is_the_closed_form():
    gaussian = 1 + math.log(2 * math.pi)
    leaning = LEANING.given(0)
    assert leaning.entropy() == pytest.approx(gaussian + 0.5 * math.log(0.05), abs=1e-9)
    apart = GaussianMixture([[0.0, 0.0], [9.0, 0.0]], stds=[0.3, 0.5], weights=[1.0, 3.0])
    by_hand = 0.25 * (math.log(4) + 2 * math.log(0.3)) + 0.75 * (math.log(4 / 3) + 2 * math.log(0.5)) + gaussian
    assert apart.entropy() == pytest.approx(by_hand, abs=1e-9)
    assert SplitNormal().given(0).entropy() == pytest.approx(gaussian - math.log(2))


def test_entropy_of_a_mixture_too_fine_for_a_grid_is_right_to_1e_3():
    """Two Gaussians that hardly overlap, far finer than their distance."""
    p = GaussianMixture([[0.0, 0.0], [40.0, 40.0]], stds=0.002)
    assert p.entropy() == pytest.approx(math.log(2) + 1 + math.log(2 * math.pi * 0.002**2), abs=1e-3)


@each([*MIXTURES, LEANING.given(1)])
def test_reference_points_are_the_law_to_a_high_order(p):
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
def test_distributions_are_what_their_plain_values_say(p):
    again = from_config(to_config(p))
    assert again == p
    assert again.name == p.name
    assert torch.equal(again.sample(10, generator()), p.sample(10, generator()))


def test_samples_of_folded_normals_are_what_they_were():
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


def test_opposite_blades_are_a_class():
    p = AnisotropicGaussians(n_blades=4, n_classes=2, radius=1.0, long=0.5, short=0.1, turn=0.0)
    assert p._labels.tolist() == [0, 1, 0, 1]
    assert torch.allclose(p._S[0], torch.diag(torch.tensor([0.25, 0.01], dtype=f64)))
    assert torch.allclose(p._S[1], torch.diag(torch.tensor([0.01, 0.25], dtype=f64)))


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
    "a negative weight": ({"means": [[0.0, 0.0]], "stds": 1.0, "weights": [-1.0]}, "weights must be positive"),
    "classes with a gap": ({"means": [[0.0, 0.0]], "stds": 1.0, "classes": [1]}, "classes must count from 0"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_numbers_that_are_no_mixture_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(**arguments)


def test_numbers_that_are_not_positive_are_refused_by_name():
    with pytest.raises(ValueError, match=r"std must be positive, got -0.5"):
        EightGaussians(std=-0.5)
