"""Far from the data and at any noise: the exact answers keep their digits where those of the logarithms are used up.

At `t` standard deviations of the noise from the data `log q` is about `t^2 / 2`, and a difference of two of them, which
weighs the parts, has no digit left from t = 1e8 on, if it is taken after rounding.
"""

import itertools
import math
from dataclasses import dataclass

import mpmath
import pytest
import torch
from test_oracle import LEANING, METHODS, SIGMAS, every, f64, truth

from toy_score.distributions import (
    Checkerboard,
    Circles,
    EightGaussians,
    Heart,
    LinearObservation,
    Moons,
    Points,
    Rings,
    SplitNormal,
)
from toy_score.distributions.halfplanes import HalfPlaneGaussians, HalfPlaneParts, _Parts
from toy_score.distributions.lines import _LinePosterior

EDGED = [Heart(), SplitNormal(), SplitNormal(shift=0.4), Checkerboard(n=2, side=0.7)]
WHOLE = [*EDGED, Checkerboard(), Rings(), Circles(), EightGaussians(), Moons()]
POINTS = Points(torch.tensor([[0.0, 0.0], [1.0, 2.0], [-3.0, 0.5]]))
LINES = Checkerboard().posterior(LinearObservation([[1.0, 0.0]], [0.3], 0.5))
SIDES = [p.conditioned_on(0) for p in (Heart(), SplitNormal(), Checkerboard(), Rings())]


def scattered(seed, n):
    """Noise levels from 1e-6 to 1e12, and points from 1e-4 to 1e14 of them away; a third nearly on an axis."""
    g = torch.Generator().manual_seed(seed)
    sigma = 10 ** (18 * torch.rand(n, generator=g, dtype=f64) - 6)
    x = (
        torch.randn(n, 2, generator=g, dtype=f64)
        * (sigma * 10 ** (18 * torch.rand(n, generator=g, dtype=f64) - 4))[:, None]
    )
    near_axis = 10 ** (-30 * torch.rand(n, generator=g, dtype=f64))
    x[::3, 0] *= near_axis[::3]
    x[1::3, 1] *= near_axis[1::3]
    return x, sigma


@every(EDGED)
def test_the_denoised_point_has_nine_digits_however_far_out(p):
    """In float64 against a hundred digits, relative to the answer and not to the point; in float32 rounded once."""
    x, sigma = scattered(1, 60)
    with mpmath.workdps(150):
        for point, s in zip(x, sigma.tolist(), strict=True):
            log_p, score, mean = truth(p, point.tolist(), s)
            assert p.log_prob(point[None], s).item() == pytest.approx(log_p, rel=1e-9)
            assert torch.allclose(p.denoise(point[None], s)[0], mean, rtol=0, atol=1e-9 * (1 + mean.norm().item()))
            size = score.norm().item() + 1 / (1 + s) + 1e-6 / s  # of the two terms that cancel between two edges
            assert torch.allclose(p.score(point[None], s)[0], score, rtol=0, atol=1e-9 * size)
            single = point.float()[None]
            exact = p.denoise(single.double(), s)
            assert torch.allclose(p.denoise(single, s).double(), exact, rtol=2**-23, atol=1e-37)


@every(EDGED)
def test_samples_far_out_of_another_distribution_and_own_ones_agree_with_a_hundred_digits(p):
    """Own samples, and the samples moved by up to 1e12: at every level of the oracle's tests, 0 included."""
    g = torch.Generator().manual_seed(2)
    with mpmath.workdps(150):
        for k, sigma in enumerate(SIGMAS):
            x = p.sample(2, g).double()
            x = torch.cat([x, x + torch.tensor([[0.0, 10.0 ** (k + 4)]], dtype=f64)])
            for i, point in enumerate(x.tolist()):
                log_p, _, mean = truth(p, point, sigma)
                assert torch.allclose(p.denoise(x, sigma)[i], mean, rtol=1e-9, atol=1e-9)
                if sigma > 0 or log_p > -1e20:
                    assert p.log_prob(x, sigma)[i].item() == pytest.approx(log_p, rel=1e-9)


@every([*WHOLE, *SIDES, Points(torch.tensor([[0.0, 0.0], [1.0, 2.0]]))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, f64])
def test_nothing_is_nan_in_the_whole_range_of_float32(p, dtype):
    """Points from 1e-40 to 3e38, noise from 0 to 1e38; denoised points are finite, and in the hull of bounded data."""
    r = torch.cat([10.0 ** torch.arange(-40, 39, 3, dtype=f64), torch.tensor([3.3e38], dtype=f64)])
    directions = torch.tensor([[0.6, -0.8], [-1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=f64)
    x = (r[:, None, None] * directions).reshape(-1, 2).to(dtype)
    for sigma in (0.0, 1e-30, 1e-10, 1e-3, 1.0, 1e5, 1e10, 1e15, 1e20, 1e38):
        if sigma == 0 and isinstance(p, Points):
            continue
        for method in METHODS:
            found = getattr(p, method)(x, sigma)
            assert not found.isnan().any(), (method, sigma)
            if method == "denoise":
                assert found.isfinite().all(), sigma
                if isinstance(p, Checkerboard):
                    assert (found.abs() <= p.n * p.side / 2).all(), sigma


@every([Heart(), SplitNormal(), Checkerboard()])
def test_far_points_among_near_ones_change_nothing_and_have_derivatives(p):
    """Row by row, in a batch, and under `vmap`, which must not be asked whether a point is far."""
    x = torch.tensor([[0.3, -0.8], [3e9, -2e9], [1e-9, -3e9], [1.5, 0.2]], dtype=f64)
    for method, sigma in itertools.product(("score", "denoise"), (0.5, 2.0)):

        def f(y, method=method, sigma=sigma):
            return getattr(p, method)(y[None], sigma)[0]

        rows = torch.stack([f(row) for row in x])
        assert torch.equal(getattr(p, method)(x, sigma), rows)
        assert torch.allclose(torch.func.vmap(f)(x), rows, rtol=1e-12, atol=1e-12)
        assert torch.func.vmap(torch.func.jacrev(f))(x).isfinite().all()


def test_boxes_seen_through_wide_noise_are_continuous_where_the_formula_changes():
    """At noise of 1000 half-widths both formulas have nine digits."""
    p, x = Checkerboard(n=2, side=2.0), torch.tensor([[1e-3, 0.0], [30.0, -2.0], [1e3, 2e3], [-5e4, 3e5], [1e8, 1e7]])
    below, above = math.nextafter(1e3, 0.0), math.nextafter(1e3, 2e3)
    for method, rounding in (("log_prob", 1e-11), ("score", 1e-14), ("denoise", 3e-9)):
        usual, wide = (getattr(p, method)(x.double(), sigma) for sigma in (below, above))
        assert torch.allclose(usual, wide, rtol=1e-11, atol=rounding)


@every([*WHOLE, *SIDES, POINTS, LINES])
@pytest.mark.parametrize("sigma", [0.0, 1e-6, 1.0, 1e12])
def test_coordinates_beyond_1e150_count_as_1e150_and_change_no_other_row(p, sigma):
    """Beside own samples, whose answers stay the same but for the rounding of sums, in float64 and in float32."""
    if sigma == 0.0 and p is POINTS:
        return  # there is no density
    digits = 1e-7 if p is LINES else 1e-9  # the points of a call share the number of nodes
    own = p.sample(3, torch.Generator().manual_seed(3))
    far = torch.tensor([[1e160, 0.0], [-1e200, 1e300], [0.3, 1.7e308], [-1e151, -1e151]], dtype=f64)
    for name in METHODS:
        answer = getattr(p, name)
        values = answer(torch.cat([own.double(), far]), sigma)
        assert not values.isnan().any(), name
        assert torch.equal(values, answer(torch.cat([own.double(), far.clamp(-1e150, 1e150)]), sigma)), name
        assert torch.allclose(values[:3], answer(own.double(), sigma), rtol=digits, atol=1e-12), name
        assert torch.allclose(values[:3].float(), answer(own, sigma), rtol=2**-22, atol=1e-12), name
        assert not answer(far.float().clamp(-3e38, 3e38), sigma).isnan().any(), name
        assert answer(torch.full((1, 2), torch.inf, dtype=f64), 1.0).isfinite().logical_not().any(), name  # no sample


def test_an_observed_board_tends_to_its_corners_however_far_out():
    """The posterior mean tends to a corner of the board as the point goes to infinity, the score to infinity."""
    direction = torch.tensor([[0.9, 0.7], [-0.4, 1.0], [1.0, -0.2], [-0.5, -0.6]], dtype=f64)
    for sigma in (0.5, 1.0, 30.0):
        mean = LINES.denoise(1e10 * direction, sigma)
        for size in (1e14, 1e20, 1e38):
            assert torch.allclose(LINES.denoise(size * direction, sigma), mean, rtol=0, atol=1e-6)
            assert torch.allclose(LINES.score(size * direction, sigma) * sigma**2 / size, -direction, rtol=1e-9)
    gap = torch.tensor([[-0.3, 1.0]], dtype=f64)  # without noise, where the density is zero
    assert torch.equal(LINES.score(gap, 0.0).isinf(), Checkerboard().score(gap, 0.0).isinf())


FIRST = LinearObservation([[1.0, 0.0]], [1.0], 0.3)
SLANTED = LinearObservation([[0.8, -0.6], [0.1, 0.2]], [0.5, 0.0], 0.2)
LEVELS = [0.0, 1e-3, 0.3, 1.0, 30.0, 1e3, 1e6, 1e9, 1e12, 1e15]


def noisy_samples(p, sigma, n=4):
    g = torch.Generator().manual_seed(5)
    return p.sample(n, g).double() + sigma * torch.randn(n, 2, generator=g, dtype=f64)


@pytest.mark.parametrize("observation", [FIRST, SLANTED], ids=["one", "two"])
@every([EightGaussians(), LEANING])
def test_a_posterior_by_lines_agrees_with_a_hundred_digits_at_any_noise(p, observation):
    """The score in the measure of its own size: at wide noise the terms of its average cancel. Sigma = 0 as well."""
    q, line = p.posterior(observation), _LinePosterior(p, observation)
    with mpmath.workdps(150):
        for sigma in LEVELS:
            x = noisy_samples(q, sigma, 2)
            for i, point in enumerate(x.tolist()):
                log_p, score, mean = truth(q, point, sigma)
                assert line.log_prob(x, sigma)[i].item() == pytest.approx(log_p, abs=1e-7)
                assert (line.score(x, sigma)[i] - score).norm() <= 1e-7 * (score.norm() + 1e-3 / (1 + sigma)), sigma
                assert torch.allclose(line.denoise(x, sigma)[i], mean, rtol=0, atol=1e-7)


@every([Checkerboard(), Rings(), Moons(), Heart()])
def test_a_posterior_by_lines_in_float32_is_rounded_once_and_its_score_is_tweedies_at_any_noise(p):
    line = _LinePosterior(p, FIRST)
    for sigma in LEVELS:
        x = noisy_samples(line, sigma, 20).float()
        score, mean = line.score(x.double(), sigma), line.denoise(x.double(), sigma)
        for single, double in ((line.score(x, sigma), score), (line.denoise(x, sigma), mean)):
            assert ((single.double() - double).abs() <= 2.0**-23 * double.abs() + 1e-37).all(), sigma
        if sigma >= 1.0:
            assert torch.allclose((mean - x) / sigma**2, score, rtol=0, atol=1e-7 * score.norm(dim=1).max().item()), (
                sigma
            )


@dataclass(frozen=True)
class TwoParts(HalfPlaneGaussians):
    """Two cut Gaussians with means off both axes, on half-planes that overlap or do not."""

    normals: tuple[tuple[float, float], tuple[float, float]]
    equal: bool = False

    def parts(self):
        S = [[1.0, 0.3], [0.3, 0.6]], [[0.8, -0.2], [-0.2, 1.1]]
        S = [S[0], S[0]] if self.equal else S
        return HalfPlaneParts([[1.2, 0.7], [-0.9, -0.4]], S, self.normals, [[-0.3, 0.2], [0.4, -0.5]], [0.3, 0.7])

    def sample(self, n, generator=None):
        raise NotImplementedError

    def entropy(self):
        raise NotImplementedError

    def log_part(self, k, x, s):
        """`log w_k q_k(x)` in the digits of mpmath, by the formulas of the module."""
        *shape, weights = self.parts()
        mu, S, a, c = (mpmath.matrix(part[k]) for part in shape)
        C = S + s**2 * mpmath.eye(2)
        inverse, d = mpmath.inverse(C), mpmath.matrix(x) - mu
        offset, P = (a.T * (mu - c))[0], s**2 * S * inverse
        mean = (a.T * S * inverse * d)[0] + offset  # of a . x0 - a . c, given x
        log = mpmath.log(weights[k]) - mpmath.log(mpmath.ncdf(offset / mpmath.sqrt((a.T * S * a)[0])))
        log -= 0.5 * ((d.T * inverse * d)[0] + mpmath.log(mpmath.det(C))) + mpmath.log(2 * mpmath.pi)
        return log + mpmath.log(mpmath.ncdf(mean / mpmath.sqrt((a.T * P * a)[0])))


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("normals", [((1.0, 0.2), (0.8, 0.6)), ((1.0, 0.2), (-0.9, 0.5)), ((0.0, 1.0), (0.0, -2.0))])
def test_where_two_far_parts_weigh_alike_their_weights_are_right(normals, equal):
    """On a circle far out, where the density passes from one part to the other, both have a share that shows."""
    p, s, radius = TwoParts(normals, equal), 0.8, 700.0
    crossings = 0
    with mpmath.workdps(120):

        def log_ratio(angle):
            x = [radius * math.cos(angle), radius * math.sin(angle)]
            return p.log_part(0, x, mpmath.mpf(s)) - p.log_part(1, x, mpmath.mpf(s))

        angles = [math.pi * k / 9 for k in range(19)]
        ratios = [log_ratio(angle) for angle in angles]
        for (low, high), (first, second) in zip(itertools.pairwise(angles), itertools.pairwise(ratios), strict=True):
            if first * second >= 0:
                continue
            for _ in range(60):
                middle = 0.5 * (low + high)
                low, high = (middle, high) if log_ratio(middle) * first > 0 else (low, middle)
            crossings += 1
            x = [radius * math.cos(low), radius * math.sin(low)]
            h = mpmath.mpf("1e-40")

            def log_q(dx, dy, x=x):
                point, sigma = [x[0] + dx, x[1] + dy], mpmath.mpf(s)
                return mpmath.log(sum(mpmath.exp(p.log_part(k, point, sigma)) for k in (0, 1)))

            score = [(log_q(i * h, j * h) - log_q(-i * h, -j * h)) / (2 * h) for i, j in ((1, 0), (0, 1))]
            exact = torch.tensor([[float(c) for c in score]], dtype=f64)
            ours = p.score(torch.tensor([x], dtype=f64), s)
            assert torch.allclose(ours, exact, rtol=0, atol=1e-9 * exact.norm().item()), (low, ours, exact)
    assert crossings >= 2


@every([Heart(), SplitNormal(), TwoParts(((1.0, 0.2), (0.8, 0.6))), TwoParts(((1.0, 0.2), (-0.9, 0.5)), equal=True)])
@pytest.mark.parametrize("sigma", [0.05, 0.6, 3.0])
def test_near_the_data_the_weights_of_far_points_are_the_usual_ones(p, sigma):
    """Up to what all parts share, the two formulas of `log q` are one; of points in all half-planes, in some, in
    none."""
    x = 2.0 * torch.randn(200, 2, generator=torch.Generator().manual_seed(4), dtype=f64)
    parts = _Parts(p, x, torch.full((1, 1), sigma, dtype=f64))
    far, usual = parts._far_log_q(), parts.log_q
    assert torch.allclose(far - far[:1], usual - usual[:1], rtol=1e-9, atol=1e-9)
