"""The oracle: every distribution at every noise level, 0 included, where samples are and where they are not.

What float32 can give. A float32 point is an exact number, and the score there is a number, so nothing is lost by the
input; but a score whose slope is `1 / sigma^2` multiplies every rounding of an intermediate result in float32,
`6e-8 |x|`, to `6e-8 |x| / sigma^2`: 0.4 at `|x| = 6` and `sigma = 1e-3`, where the score itself is of the order of 1.
Therefore results are worked out in float64 and rounded once. The promise is

- float32 equals the float64 result at the same points to one rounding, `|error| <= 2^-23 |value|`, in every component;
- float64 equals the truth, a log density in 100 digits with its slope by differences, to 1e-9 of the sizes
  `|score| + 1 / (1 + sigma)`, `1 + |x|` for the denoiser, and `1 + |log p|`; for the Gaussians far out, where their
  polynomial cancels `|x|^2`, this is 1e-16 `(|x| / std)^2` for the log of the weights of the components;
- at `sigma = 0` each is the limit, which the truth takes at `sigma = 1e-30`; nothing is NaN.
"""

import math
from dataclasses import dataclass

import mpmath
import pytest
import torch
from mpmath import mpf

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
    Points,
    Rings,
    SCurve,
    SplitNormal,
    SwissRoll,
    TwoSpirals,
)
from toy_score.distributions.boxes import UniformBoxes
from toy_score.distributions.mixtures import Mixture
from toy_score.distributions.rings import ConcentricRings

f64 = torch.float64
SIGMAS = [0.0, 1e-6, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0]
LEANING = GaussianMixture(
    [[-2.0, 0.5], [1.0, -1.0], [1.5, 2.0]],
    covariances=[[[1.0, 0.8], [0.8, 0.7]], [[0.05, 0.0], [0.0, 1.0]], [[0.01, 0.015], [0.015, 0.03]]],
    weights=[5.0, 3.0, 2.0],
    classes=[1, 0, 1],
)
EDGED = [Heart(), SplitNormal(), SplitNormal(shift=0.4), Checkerboard(), Checkerboard(n=2, side=0.7)]
SMOOTH = [NCSNMixture(), EightGaussians(), AnisotropicGaussians(), GaussianGrid(), LEANING, Rings(), Circles()]
LONG = [FortyGaussians(), Moons(), TwoSpirals(), SwissRoll(), SCurve(), Pinwheel(), FractalTree(depth=3)]
WHOLE = [*EDGED, *SMOOTH, *LONG]
CLASSES = [p.conditioned_on(k) for p in WHOLE if p.n_labels for k in sorted({0, 1, p.n_labels - 1})]
PARTS = [
    Heart().conditioned_on(0),
    SplitNormal().conditioned_on(1),
    Checkerboard().conditioned_on(3),
    Rings().conditioned_on(2),
    LEANING.conditioned_on(1),
]
TRUE = [*EDGED[:3], EDGED[4], *SMOOTH[:5], Circles(), *PARTS, FractalTree(depth=2)]
METHODS = ("log_prob", "score", "denoise")

ON_EDGES = [[0.0, y] for y in (0.0, 0.3, -2.0, 5.95, -5.95)] + [[x, 0.5] for x in (1.0, -1.0, 2.0, -4.0, 0.4)]
OFF_EDGES = [[x, y] for x in (1e-3, -1e-3, 1e-6, 0.999, 1.001, 2.001) for y in (-5.95, 0.3, 2.0)]
CORNERS = [[2.0, 2.0], [2.0, -2.0], [4.0, 4.0], [1.0, -1.0], [1.0, 1.0], [5.0, 4.5], [0.25, -0.25], [3.0, 4.0]]
FAR = [[1e2, 0.0], [0.0, -1e2], [30.0, 40.0], [1e4, -1e4], [-1e4, 0.3], [0.5, 1e4], [1e6, 7.0], [3.0, -1e6]]
PLACES = torch.tensor([*ON_EDGES, *OFF_EDGES, *CORNERS, *FAR])


def every(distributions):
    return pytest.mark.parametrize("p", distributions, ids=repr)


def samples(p, sigma, n, seed):
    """Own samples, and the same number noised to the level, float32 `(2 n, 2)`."""
    g = torch.Generator().manual_seed(seed)
    x, y = p.sample(n, g), p.sample(n, g)
    return torch.cat([x, y + sigma * torch.randn(n, 2, generator=g)])


def far_points(n, seed):
    """Random directions, and distances from 1 to 1e5, float32 `(n, 2)`."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, generator=g) * 10.0 ** (5.0 * torch.rand(n, 1, generator=g))


@every([*WHOLE, *CLASSES])
def test_float32_results_are_float64_rounded_once_and_never_nan(p):
    n = 30_000 // max(len(getattr(p, "_mu", [])), 15)  # samples of either kind, with another seed at every level
    for k, sigma in enumerate(SIGMAS):
        x = torch.cat([samples(p, sigma, n, k), far_points(100, k), PLACES])
        for method in METHODS:
            single, double = getattr(p, method)(x, sigma), getattr(p, method)(x.double(), sigma)
            assert single.dtype == torch.float32
            assert not double.isnan().any(), (method, sigma, x[double.reshape(len(x), -1).isnan().any(1)][0])
            assert torch.equal(single.double().isinf(), double.abs() > torch.finfo(torch.float32).max)
            there = single.isfinite()
            error = (single.double() - double).abs()[there]
            assert (error <= 2.0**-23 * double[there].abs() + 1e-37).all(), (method, sigma)
        assert all(getattr(p, method)(x[:n], sigma).isfinite().all() for method in METHODS)


@every([*EDGED, *SMOOTH, *PARTS])
def test_rows_with_sigma_0_get_the_limit_also_among_noisy_rows(p):
    x = torch.cat([samples(p, 0.1, 20, 0), PLACES])
    sigma = torch.tensor([0.0, 0.3, 0.0, 1e-3])[torch.arange(len(x)) % 4, None]
    for method in METHODS:
        rows = [getattr(p, method)(x[i : i + 1], sigma[i].item()) for i in range(len(x))]
        assert torch.allclose(getattr(p, method)(x, sigma), torch.cat(rows), rtol=1e-6, atol=0.0)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
@every([*EDGED, *SMOOTH, *PARTS])
@pytest.mark.parametrize("sigma", [0.0, 1e-6, 1e-3, 0.3])
def test_derivatives_at_sigma_0_are_those_of_the_limit_in_forward_and_reverse_mode(p, sigma):
    """Float32; the slope of the density is the score, and without noise the denoiser is the identity on the support."""
    x, step = samples(p, sigma, 50, 3)[50 if sigma else 0 :][:50], torch.eye(2)
    for f in (p.score, p.denoise):
        forward = [torch.func.jvp(lambda y: f(y, sigma), (x,), (e.expand_as(x),))[1] for e in step]  # noqa: B023
        forward = torch.stack(forward, dim=2)
        reverse = torch.func.vmap(torch.func.jacrev(lambda y: f(y[None], sigma)[0]))(x)  # noqa: B023
        assert forward.isfinite().all()
        assert torch.allclose(forward, reverse, rtol=1e-4, atol=1e-5 * (1 + forward.abs().max()))
    if sigma == 0:
        assert torch.allclose(forward, step.expand_as(forward), atol=1e-6)
    else:  # a step small beside sigma, in float64
        y, h = x.double(), 1e-4 * sigma
        slope = [(p.denoise(y + h * e, sigma) - p.denoise(y - h * e, sigma)) / (2 * h) for e in step]
        assert torch.allclose(forward, torch.stack(slope, dim=2).float(), rtol=1e-4, atol=1e-4)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(p.log_prob(x, sigma).sum(), x)
    assert torch.allclose(slope, p.score(x, sigma), rtol=1e-5, atol=1e-5 / (1e-3 + sigma))


def test_off_the_support_the_noiseless_score_is_infinite_towards_the_support():
    inf, x = math.inf, torch.tensor([[0.5, 0.3], [-0.5, 0.3], [0.0, 0.3], [1.5, 0.3]])
    assert SplitNormal().log_prob(x, 0.0)[:3].tolist() == [-inf] * 3
    assert torch.allclose(
        SplitNormal().score(x, 0.0), torch.tensor([[inf, -0.3], [-inf, -0.3], [0.0, -0.3], [-0.5, -0.3]])
    )
    assert torch.allclose(
        SplitNormal().denoise(x, 0.0), torch.tensor([[1.0, 0.3], [-1.0, 0.3], [0.0, 0.3], [1.5, 0.3]])
    )
    assert Checkerboard().score(torch.tensor([[5.0, 3.0], [5.0, 4.5], [1.0, 1.0]]), 0.0).tolist() == [
        [-inf, 0.0],
        [-inf, -inf],
        [0.0, 0.0],
    ]


def test_distributions_without_a_density_refuse_sigma_0():
    class OnALine(Gaussians):
        def mixture(self):
            return Mixture(torch.zeros(1, 2), torch.ones(1, 2, 2))

    x, singular = torch.zeros(3, 2), dataclass(frozen=True)(OnALine)()
    for p in (Points(torch.eye(2)), singular):
        for method in METHODS:
            with pytest.raises(ValueError, match="no density without noise; sigma must be positive"):
                getattr(p, method)(x, torch.tensor([[1.0], [0.0], [1.0]]))
            assert getattr(p, method)(x, 1e-3).isfinite().all()


def log_density(p, x, y, sigma):
    """`log p_sigma` at one point in 100 digits, from the definition of the distribution."""
    v = mpf(sigma) ** 2
    if isinstance(p, Gaussians):
        parts = zip(p._mu.tolist(), p._S.tolist(), p._w.tolist(), strict=True)
        terms = [w * normal(x - m[0], y - m[1], S, v) for m, S, w in parts]
    elif isinstance(p, ConcentricRings):
        v, r = v + mpf(p._s) ** 2, mpmath.sqrt(x**2 + y**2)
        terms = [
            mpmath.besseli(0, R * r / v) * mpmath.exp(-(r**2 + R**2) / (2 * v)) / (2 * mpmath.pi * v * len(p._R))
            for R in map(mpf, p._R.tolist())
        ]
    elif isinstance(p, UniformBoxes):
        terms = [interval(x - c[0], p._half, sigma) * interval(y - c[1], p._half, sigma) for c in p._c.tolist()]
        terms = [term / len(terms) for term in terms]
    else:
        terms = [half_plane(p, side, x, y, v) for side in ((p.label,) if hasattr(p, "label") else (0, 1))]
    return mpmath.log(sum(terms))


def normal(d0, d1, S, v):
    """`N(d; 0, S + v I)`."""
    a, b, c = S[0][0] + v, mpf(S[0][1]), S[1][1] + v
    det = a * c - b * b
    return mpmath.exp(-(c * d0**2 - 2 * b * d0 * d1 + a * d1**2) / (2 * det)) / (2 * mpmath.pi * mpmath.sqrt(det))


def interval(offset, half, sigma):
    """The noisy density of the uniform law on `[-half, half]`."""
    y, w, s = abs(offset), mpf(half), mpf(sigma) * mpmath.sqrt(2)
    return (mpmath.erfc((y - w) / s) - mpmath.erfc((y + w) / s)) / (4 * w)


def half_plane(p, side, x, y, v):
    """One side of a folded normal: its Gaussian by `normal`, and the chance that its clean point is on that side."""
    whole = getattr(p, "whole", p)
    sign, shift = 2 * side - 1, mpf(getattr(whole, "shift", 0))
    a, b = (mpf("1.25"), mpf(sign)) if isinstance(whole, Heart) else (mpf(1), mpf(0))
    S, c, d0 = [[a, b], [b, a]], a, x - sign * shift
    det = (a + v) * (c + v) - b * b
    mean = ((a * (c + v) - b * b) * d0 + (b * (a + v) - a * b) * y) / det  # row 0 of S (S + v)^-1, textbook
    variance = a - ((a * (c + v) - b * b) * a + (b * (a + v) - a * b) * b) / det
    inside = mpmath.erfc(-sign * mean / mpmath.sqrt(2 * variance)) / 2
    return normal(d0, y, S, v) * inside * (1 if whole is p else 2)


def truth(p, point, sigma):
    """Log density, score and posterior mean in 100 digits; at `sigma = 0` those at 1e-30."""
    s = mpf(sigma) if sigma else mpf("1e-30")
    x, y = (mpf(c) for c in point)
    h = s * mpf("1e-30")
    score = [
        (log_density(p, x + i * h, y + j * h, s) - log_density(p, x - i * h, y - j * h, s)) / (2 * h)
        for i, j in ((1, 0), (0, 1))
    ]
    mean = [x + s**2 * score[0], y + s**2 * score[1]]
    return float(log_density(p, x, y, s)), *(torch.tensor([float(c) for c in v], dtype=f64) for v in (score, mean))


def limit(value):
    """What grows without bound as sigma goes to 1e-30, as infinite."""
    value = torch.as_tensor(value, dtype=f64)
    return torch.where(value.abs() > 1e25, value.sign() * math.inf, value)


def close(ours, true, tolerance):
    """Equal infinities, and finite values within the tolerance."""
    finite = true.isfinite()
    return torch.equal(ours[~finite], true[~finite]) and bool(((ours - true)[finite].abs() <= tolerance).all())


@every(TRUE)
def test_float64_agrees_with_a_hundred_digits_and_with_their_limit_at_sigma_0(p):
    with mpmath.workdps(150):
        for k, sigma in enumerate(SIGMAS):  # 9 levels, and at each a ninth of the places, besides samples
            x = torch.cat([samples(p, sigma, 1, k), PLACES[k :: len(SIGMAS)]]).double()
            ours = p.log_prob(x, sigma), p.score(x, sigma), p.denoise(x, sigma)
            for i, point in enumerate(x.tolist()):
                log_p, score, mean = truth(p, point, sigma)
                if sigma == 0:
                    log_p, score = limit(log_p), limit(score)
                where, size = (sigma, point), score[score.isfinite()].norm() + 1 / (1 + sigma)
                log_p = torch.as_tensor(log_p, dtype=f64)
                assert close(ours[0][i], log_p, 1e-9 * (1 + abs(log_p))), (where, ours[0][i], log_p)
                assert close(ours[1][i], score, 1e-9 * size), (where, ours[1][i], score)
                assert close(ours[2][i], mean, 1e-9 * (1 + x[i].norm())), (where, ours[2][i], mean)
