"""Objectives of bridges: the exact bridge is where the mean gradient is zero, and planted errors move it."""

import math

import pytest
import torch
from torch import nn

from toy_score import (
    ConditionalFlowMatching,
    Context,
    ExactBridge,
    ExactDenoiser,
    GaussianBridge,
    GaussianMixture,
    LinearFlow,
    ScoreAndFlowMatching,
)
from toy_score.bridges import Bridge, SchrodingerBridge
from toy_score.objectives.bridges import pairs

f64 = torch.float64
LINE = LinearFlow(1e-3, 1e3)
DATA = GaussianMixture([[1.0, 2.0]], covariances=[[[1.0, 0.3], [0.3, 0.5]]])
SOURCE = GaussianMixture([[-1.0, 0.0]], covariances=[[[0.4, -0.1], [-0.1, 0.9]]])
MIXTURE = GaussianMixture([[-2.0, 0.0], [2.0, 0.0]], 0.5)
SIGMA = 0.8
SB = GaussianBridge(DATA, SOURCE, SIGMA, LINE)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Wrong(nn.Module, Bridge):
    """An exact bridge whose slope is `1 + error` times as large; the exact one for an error of 0."""

    def __init__(self, exact, error=0.0):
        super().__init__()
        self.exact, self.schedule, self.source = exact, LINE, exact.source
        self.error = nn.Parameter(torch.tensor(error, dtype=f64))

    def slope(self, x, t):
        return (1.0 + self.error) * self.exact.slope(x, t)

    def denoise(self, x, t):
        return x - self._level(x, t).sigma * self.slope(x, t)

    def noise(self, x, t):
        return x + self._level(x, t).alpha * self.slope(x, t)


class WrongParts(nn.Module, SchrodingerBridge):
    """The exact Gaussian bridge with an error of one of its two parts."""

    sigma = SIGMA

    def __init__(self, part, error=0.0):
        super().__init__()
        self.part, self.schedule, self.source = part, LINE, SOURCE
        self.error = nn.Parameter(torch.tensor(error, dtype=f64))

    def parts(self, x, t):
        return tuple((1.0 + self.error) * y if k == self.part else y for k, y in enumerate(SB.parts(x, t)))


def times(n, g):
    return torch.rand(n, 1, generator=g, dtype=f64).clamp(0.01, 0.99)


def independent(seed, n=256):
    g = generator(seed)
    x0, x1 = MIXTURE.sample(n, g).double(), DATA.sample(n, g).double()
    return Context(x0, times(n, g), g, x1)


def of_the_bridge(seed, n=256):
    """Pairs of the exact coupling: `x_1` given `x_0`."""
    g = generator(seed)
    m0, S0, m1, S1, C = SB._moments
    joint = torch.linalg.cholesky(torch.cat([torch.cat([S0, C], 1), torch.cat([C.T, S1], 1)]))
    both = torch.cat([m0, m1]) + torch.randn(n, 4, generator=g, dtype=f64) @ joint.T
    return Context(both[:, :2], times(n, g), g, both[:, 2:])


CASES = {
    "flow": (lambda error: Wrong(ExactBridge(MIXTURE, DATA, LINE), error), ConditionalFlowMatching(), independent),
    "mean of the ends": (lambda error: WrongParts(0, error), ScoreAndFlowMatching(), of_the_bridge),
    "score": (lambda error: WrongParts(1, error), ScoreAndFlowMatching(), of_the_bridge),
}


def slope_of(case, error=0.0, objective=None, batches=32):
    """The mean slope of the loss in the error, over batches of 256 pairs, and its standard error."""
    make, own, contexts = CASES[case]
    values = []
    for seed in range(batches):
        bridge = make(error)
        loss = (objective or own)(bridge, contexts(seed)).mean()
        values.append(torch.autograd.grad(loss, bridge.error)[0].item())
    values = torch.tensor(values)
    return values.mean().item(), values.std().item() / math.sqrt(batches)


@pytest.mark.parametrize("case", CASES)
def test_the_exact_bridge_is_where_the_mean_gradient_is_zero(case):
    """Within 4.9 standard errors, a false alarm below 1e-6; that of a bridge with an error of 0.2 is beyond."""
    mean, scatter = slope_of(case)
    assert abs(mean) < 4.9 * scatter
    for error in (-0.2, 0.2):
        mean, scatter = slope_of(case, error)
        assert mean * error > 0
        assert abs(mean) > 4.9 * scatter


class OfAnotherPair(ConditionalFlowMatching):
    """Planted: the target is that of the neighbour's source point."""

    def __call__(self, denoiser, context):
        x0, x1, t = pairs(context)
        level = denoiser.schedule.level(t)
        slope = denoiser.slope(level.alpha * x0 + level.sigma * x1, level)
        return (slope - (x1.roll(1, dims=0) - x0)).square().mean(dim=-1)


class WithoutRoot(ScoreAndFlowMatching):
    """Planted: the noise of the path has the standard deviation `sigma t (1 - t)`."""

    def __call__(self, denoiser, context):
        x0, x1, t = pairs(context)
        level = denoiser.schedule.level(t)
        z = torch.randn(x0.shape, generator=context.generator, dtype=x0.dtype)
        v, pull = denoiser.parts(
            level.alpha * x0 + level.sigma * x1 + denoiser.sigma * level.alpha * level.sigma * z, level
        )
        of_score = ((level.alpha * level.sigma).sqrt() / denoiser.sigma * pull + z).square().mean(dim=-1)
        return (v - (x1 - x0)).square().mean(dim=-1) + of_score


class FromTheSource(ScoreAndFlowMatching):
    """Planted: the target is the way to the mean of the source, not to the source point of the pair."""

    def __call__(self, denoiser, context):
        x0, x1, t = pairs(context)
        level, state = denoiser.schedule.level(t), context.generator.get_state()
        rows = super().__call__(denoiser, context)
        context.generator.set_state(state)
        z = torch.randn(x0.shape, generator=context.generator, dtype=x0.dtype)
        spread = denoiser.sigma * (level.alpha * level.sigma).sqrt()
        v, _ = denoiser.parts(level.alpha * x0 + level.sigma * x1 + spread * z, level)
        wrong = (v - (x1.mean(dim=0) - x0)).square().mean(dim=-1)
        return rows - (v - (x1 - x0)).square().mean(dim=-1) + wrong


@pytest.mark.parametrize(
    ("case", "planted"),
    [("flow", OfAnotherPair()), ("mean of the ends", FromTheSource()), ("score", WithoutRoot())],
)
def test_an_error_planted_in_an_objective_moves_the_exact_bridge(case, planted):
    mean, scatter = slope_of(case, objective=planted)
    assert abs(mean) > 4.9 * scatter


def test_pairs_that_are_not_of_the_coupling_move_the_exact_bridge(monkeypatch):
    """Planted: independent pairs for a Schroedinger bridge."""

    def wrong(seed):
        context = of_the_bridge(seed)
        return Context(context.x0, context.t, context.generator, context.eps.roll(1, dims=0))

    monkeypatch.setitem(CASES, "score", (CASES["score"][0], ScoreAndFlowMatching(), wrong))
    mean, scatter = slope_of("score")
    assert abs(mean) > 4.9 * scatter


def test_objectives_of_bridges_refuse_other_denoisers_and_points_without_partners():
    context = independent(0)
    exact = ExactDenoiser(DATA, LINE)
    with pytest.raises(ValueError, match="ConditionalFlowMatching trains a bridge, ExactDenoiser is none"):
        ConditionalFlowMatching()(exact, context)
    with pytest.raises(ValueError, match="ScoreAndFlowMatching trains a Schroedinger bridge, Wrong is none"):
        ScoreAndFlowMatching()(Wrong(ExactBridge(MIXTURE, DATA, LINE)), context)
    with pytest.raises(ValueError, match="the points come without source points"):
        ConditionalFlowMatching()(SB, Context(context.x0, context.t, generator()))
    with pytest.raises(ValueError, match="score_weight must be positive"):
        ScoreAndFlowMatching(0.0)
