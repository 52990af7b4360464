"""The Schroedinger bridge of two potentials: plan, drift and ends against sums over a grid, and the equations of its
flow and its process."""

import math

import pytest
import torch
from continuity import continuity, continuity_terms

from toy_score import (
    BridgeSDE,
    EightGaussians,
    GaussianBridge,
    GaussianMixture,
    Heart,
    LinearFlow,
    MixtureBridge,
    ProbabilityFlow,
)
from toy_score.backbones import jacobian

f64 = torch.float64
LINE, WHOLE_LINE = LinearFlow(1e-3, 1e3), LinearFlow(1e-3, 1e12)  # the second to the source itself
LAST = WHOLE_LINE.t_max
ONE = GaussianMixture([[1.0, 2.0]], covariances=[[[1.0, 0.3], [0.3, 0.5]]])
OTHER = GaussianMixture([[-1.0, 0.0]], covariances=[[[0.4, -0.1], [-0.1, 0.9]]])
PHI = GaussianMixture(
    [[-2.0, 0.5], [1.5, 1.0]], covariances=[[[0.5, 0.2], [0.2, 0.3]], [[0.2, 0.0], [0.0, 0.6]]], weights=[1.0, 2.0]
)
PSI = GaussianMixture([[0.0, -1.0], [0.5, 1.0]], stds=[0.8, 0.5], weights=[2.0, 1.0])
KNOWN = MixtureBridge(PHI, PSI, 0.9, WHOLE_LINE)
SIDE = torch.linspace(-8.0, 8.0, 161, dtype=f64)
GRID = torch.cartesian_prod(SIDE, SIDE)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def points(n=8, seed=0):
    return torch.randn(n, 2, generator=generator(seed), dtype=f64)


def plan_through(x, t):
    """Log weights of all `x_0` of a grid, given `x_t = x`: `phi(x_0)` and the Brownian path to `x`."""
    return PHI.log_prob(GRID) - (x - GRID).square().sum(dim=1) / (2 * t * KNOWN.sigma**2)


def test_both_ends_of_a_mixture_bridge_are_the_marginals_of_its_plan():
    """The plan `phi(x_0) N(x_0 - x_1; 0, sigma^2 I) psi(x_1)` by sums over a grid of each end."""
    noise = (GRID[:, None] - GRID[None, ::211]).square().sum(dim=2) / (2 * KNOWN.sigma**2)  # [all, some]
    for end, potential, other in ((KNOWN.distribution, PHI, PSI), (KNOWN.source, PSI, PHI)):
        some = GRID[::211]
        brute = potential.log_prob(some) + (other.log_prob(GRID)[:, None] - noise).logsumexp(dim=0)
        seen = end.log_prob(some) > -25.0
        difference = (brute - end.log_prob(some))[seen]
        assert seen.sum() > 20
        assert (difference - difference.mean()).abs().max() < 1e-9  # the same but for the constant Z


@pytest.mark.parametrize("t", [0.3, 0.8])
def test_the_drift_of_a_mixture_bridge_is_that_to_the_mean_data_point_of_its_plan(t):
    x = points(6)
    brute = torch.stack([plan_through(row, t).softmax(dim=0) @ GRID for row in x])
    assert torch.allclose(KNOWN.mean_data(x, t), brute, atol=1e-9)
    assert torch.allclose(KNOWN.drift(x, t), (x - brute) / t, atol=1e-9)
    v, pull = KNOWN.parts(x, t)
    assert torch.allclose(KNOWN.drift(x, t), v - (1 - t) * pull, atol=1e-12)


@pytest.mark.parametrize("t", [0.2, 0.7])
def test_the_flow_of_a_mixture_bridge_carries_its_marginals(t):
    assert continuity(KNOWN.log_prob, KNOWN.slope, KNOWN.score, points(), t) < 1e-5
    assert torch.allclose(KNOWN.score(points(), t), KNOWN.marginal(t).score(points(), 0.0), atol=1e-9)


@pytest.mark.parametrize("t", [0.2, 0.7])
def test_the_process_of_a_mixture_bridge_has_its_marginals(t):
    """Fokker and Planck's equation against the time: `d log p / dt + div b + b . score + sigma^2 / 2 (lap p) / p = 0`,
    with `dx = b dt + sigma dw`, `dt < 0`."""
    x, sigma = points(), KNOWN.sigma

    def residual(drift):
        plain = continuity_terms(KNOWN.log_prob, drift, KNOWN.score, x, t)
        s, J = jacobian(lambda z: KNOWN.score(z, t), x)
        return (plain + 0.5 * sigma**2 * (J[:, 0, 0] + J[:, 1, 1] + s.square().sum(dim=1))).abs().max().item()

    assert residual(KNOWN.drift) < 1e-5
    assert residual(lambda z, s: 0.9 * KNOWN.drift(z, s)) > 1e-3  # planted


def test_the_pairs_of_a_mixture_bridge_are_those_of_its_plan():
    """Means and products of 40 000 pairs; `E[x_1 x_0']` is that of `x_1` and its mean data point. Within 4.9 standard
    errors, a false alarm below 2e-5 for all 14 numbers."""
    x0, x1 = (x.double() for x in KNOWN.pairs(40_000, generator()))
    has_moments_of(KNOWN.distribution, x0)
    has_moments_of(KNOWN.source, x1)
    nodes = KNOWN.source.reference(1 << 14).double()
    cross = nodes.T @ KNOWN.mean_data(nodes, LAST) / len(nodes)
    near((x1[:, :, None] * x0[:, None, :]).flatten(1), cross.flatten(), slack=2e-3)


def has_moments_of(mixture, x, slack=0.0):
    """Whether means and second moments of points are those of a mixture of Gaussians."""
    second = torch.einsum("k,kij->ij", mixture._w, mixture._S + mixture._mu[:, :, None] * mixture._mu[:, None, :])
    near(x, mixture._w @ mixture._mu, slack)
    near((x[:, :, None] * x[:, None, :]).flatten(1)[:, [0, 1, 3]], second.flatten()[[0, 1, 3]], slack)


def near(values, expected, slack=0.0):
    error = (values.mean(dim=0) - expected).abs()
    assert (error < 4.9 * values.std(dim=0) / math.sqrt(len(values)) + slack).all()


def test_one_gaussian_at_each_end_is_the_gaussian_bridge():
    bridge = MixtureBridge(ONE, OTHER, 0.8, LINE)
    gaussian = GaussianBridge(bridge.distribution, bridge.source, 0.8, LINE)
    for t in (0.1, 0.5, 0.9):
        for ours, theirs in zip(bridge.parts(points(), t), gaussian.parts(points(), t), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-8)


def test_float32_loses_nothing_of_a_mixture_bridge_at_either_end():
    narrow = MixtureBridge(EightGaussians(std=0.02), GaussianMixture([[0.0, 0.0]], 1.0), 0.5, WHOLE_LINE)
    for bridge in (KNOWN, narrow):
        for t in (0.0, 1e-3, 0.5, 1.0):
            x = bridge.sample(t, 256, generator())
            t = min(max(t, WHOLE_LINE.t_min), LAST)
            for name in ("drift", "slope", "score", "mean_data"):
                double = getattr(bridge, name)(x.double(), t)
                single = getattr(bridge, name)(x, t)
                assert single.dtype == torch.float32
                assert torch.allclose(single.double(), double, atol=1e-6 * (1 + double.abs().max().item())), (name, t)


def test_samples_along_a_mixture_bridge_end_in_its_data():
    """The flow, exactly, by the density; and the process, by 5 moments of 10 000 samples within 4.9 standard errors and
    0.02 for 100 steps: a false alarm below 1e-5."""
    bridge = MixtureBridge(PHI, PSI, 0.9, LINE)
    x = bridge.distribution.sample(16, generator()).double()
    assert torch.allclose(ProbabilityFlow(bridge, 1e-6).log_prob(x), bridge.distribution.log_prob(x), atol=0.02)
    x = BridgeSDE(100)(bridge, 10_000, generator()).double()
    has_moments_of(bridge.distribution, x, slack=0.02)
    with pytest.raises(AssertionError):
        has_moments_of(bridge.distribution, 1.1 * x, slack=0.02)


def test_wrong_potentials_are_refused():
    for wrong, words in (
        (
            lambda: MixtureBridge(Heart(), PSI),
            "data_potential must be a mixture of Gaussians with a density",
        ),
        (lambda: MixtureBridge(PHI, PSI, 0.0), "sigma must be positive"),
        (lambda: KNOWN.marginal(1.5), r"t must be in \[0, 1\], got 1.5"),
    ):
        with pytest.raises(ValueError, match=words):
            wrong()
