"""The user's own points: their exact noisy law, reading them, training on them, and whether they were memorised."""

import math

import numpy as np
import pytest
import torch
from scipy import special, stats

from toy_score.denoisers import ExactDenoiser
from toy_score.distributions import Points
from toy_score.samplers import Heun
from toy_score.schedules import EDM

f64 = torch.float64
ALPHA = 1e-6  # false-alarm rate of each statistical test
SIGMAS = [1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def cloud(n, seed=0):
    """Points on three arcs, about (3, -2), some of them twice, with classes."""
    g = generator(seed)
    labels = torch.randint(3, (n,), generator=g)
    angle = 2 * torch.rand(n, generator=g) + 2 * labels
    x = torch.stack([3 + angle.cos(), -2 + angle.sin()], dim=1)
    x[-5:], labels[-5:] = x[:5], labels[:5]
    return Points(x, labels)


def brute_force(p, x, sigma):
    """log p_sigma, score, posterior mean from all distances in numpy: (n,), (n, 2), (n, 2)."""
    difference = p.points.double().numpy()[None] - x.double().numpy()[:, None]
    e = -0.5 * (difference**2).sum(2) / sigma**2
    log_p = special.logsumexp(e, axis=1) - math.log(2 * math.pi * sigma**2 * len(p))
    r = special.softmax(e, axis=1)[:, :, None]
    return (torch.tensor(a) for a in (log_p, (r * difference).sum(1) / sigma**2, (r * p.points.numpy()).sum(1)))


@pytest.mark.parametrize("dtype", [torch.float32, f64])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_density_score_and_mean_of_points_are_those_of_all_distances(sigma, dtype):
    p = cloud(700)
    g = generator(1)
    near = p.sample(200, g) + sigma * torch.randn(200, 2, generator=g)
    far = (2 * torch.rand(200, 2, generator=g) - 1) * (p.bounds + 10 * sigma)
    x = torch.cat([near, far]).to(dtype)
    log_p, score, mean = brute_force(p, x, sigma)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-10
    size = score.norm(dim=1) + 1 / sigma
    assert ((p.score(x, sigma) - score).norm(dim=1) / size).max() < tolerance
    assert ((p.denoise(x, sigma) - mean).norm(dim=1) / (1 + mean.norm(dim=1))).max() < tolerance
    assert ((p.log_prob(x, sigma) - log_p).abs() / (1 + log_p.abs())).max() < tolerance
    assert p.score(x, sigma).dtype == p.denoise(x, sigma).dtype == p.log_prob(x, sigma).dtype == dtype


def test_ten_thousand_points_in_chunks_are_the_same_as_row_by_row():
    p = Points(torch.randn(10_000, 2, generator=generator()))
    x, sigma = torch.randn(40, 2, generator=generator(1), dtype=f64), torch.logspace(-2, 1, 40, dtype=f64)[:, None]
    for method in ("log_prob", "score", "denoise"):
        rows = torch.stack([getattr(p, method)(x[i : i + 1], sigma[i].item())[0] for i in range(40)])
        assert torch.allclose(getattr(p, method)(x, sigma), rows, rtol=1e-10)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_the_score_of_points_is_differentiable_in_forward_mode():
    p = cloud(100)
    x, direction = p.reference(50), torch.randn(50, 2, generator=generator(), dtype=f64)
    for f in (p.score, p.denoise, p.log_prob):
        slope = torch.func.jvp(lambda y: f(y, 0.3), (x,), (direction,))[1]  # noqa: B023
        h = 1e-5
        assert torch.allclose(slope, (f(x + h * direction, 0.3) - f(x - h * direction, 0.3)) / (2 * h), atol=1e-5)


def test_points_have_no_density_of_their_own():
    p = cloud(10)
    for f in (p.log_prob, p.score, p.denoise):
        with pytest.raises(ValueError, match="no density of its own, only under noise: sigma must be positive"):
            f(p.points, 0.0)
    assert p.entropy() == -math.inf


def test_samples_of_points_are_points_each_as_often_as_any_other():
    """Counts of each point against chi squared, at 1e-6; and a sampler that leaves one out is found."""
    p, n = cloud(50), 20_000
    x, labels = p.sample_labelled(n, generator(3))
    assert torch.equal(x, p.sample(n, generator(3)))
    assert x.dtype == torch.float32
    distance, k = p.nearest(x)
    assert distance.max() == 0
    assert torch.equal(p.labels[k], labels)
    distinct = Points(torch.arange(100.0).view(50, 2))
    counts = distinct.nearest(distinct.sample(n, generator(4)))[1].bincount(minlength=50).numpy()
    assert stats.chisquare(counts).pvalue > ALPHA
    assert stats.chisquare(np.where(np.arange(50) == 7, counts[8], counts) * 1.0, None).pvalue > ALPHA
    assert stats.chisquare(np.append(counts[:49] + counts[49] / 49, 0)).pvalue < ALPHA


def test_the_nearest_point_is_the_nearest():
    p = cloud(333)
    x = torch.randn(500, 2, generator=generator(2)) + torch.tensor([3.0, -2.0])
    distances = torch.cdist(x.double(), p.points.double(), compute_mode="donot_use_mm_for_euclid_dist")
    assert torch.allclose(p.nearest(x)[0], distances.amin(dim=1), rtol=1e-12)


def test_classes_of_points_add_up_to_the_whole():
    p = cloud(200)
    assert p.n_labels == 3
    x = p.reference(100) + 0.1
    log_w = torch.tensor(list(p.mode_weights.values()), dtype=f64).log()
    parts = torch.stack([p.given(k).log_prob(x, 0.2) for k in range(3)], dim=1)
    assert torch.allclose(torch.logsumexp(parts + log_w, dim=1), p.log_prob(x, 0.2))
    assert torch.equal(p.modes(p.points), p.labels)
    names = Points(p.points, p.labels, ["red", "green", "blue"]).mode_weights
    assert list(names) == ["red", "green", "blue"]


def test_the_reference_of_points_is_the_points():
    p = cloud(64)
    assert torch.equal(p.reference(64), p.points.double())
    assert len(p.reference(1000).unique(dim=0)) == len(p.points.unique(dim=0))


def test_the_exact_flow_of_points_ends_on_the_points():
    p = Points(torch.randn(300, 2, generator=generator()))
    truth = ExactDenoiser(p, EDM(sigma_min=0.002, sigma_max=80.0))
    x = Heun(n_steps=40)(truth, 400, generator(1))
    assert p.nearest(x)[0].max() < 5 * 0.002  # the noise that the lowest level leaves


@pytest.mark.parametrize(
    ("x", "labels", "message"),
    [
        (torch.zeros(3, 3), None, r"points must be \(n, 2\), got \(3, 3\)"),
        (torch.zeros(0, 2), None, r"points must be \(n, 2\), got \(0, 2\)"),
        (torch.tensor([[0.0, 0.0], [math.nan, 1.0]]), None, r"point 1 is \[nan, 1.0\]"),
        (torch.zeros(3, 2), torch.tensor([0, 2, 2]), "labels must count from 0 without gaps"),
        (torch.zeros(3, 2), torch.tensor([0, 1]), "labels must be 3 whole numbers"),
    ],
)
def test_what_are_no_points_is_refused(x, labels, message):
    with pytest.raises(ValueError, match=message):
        Points(x, labels)
