"""The stable target field, and the network's features in units of the noise."""

import math

import pytest
import torch

from toy_score import MLP, ExactDenoiser, MapMLP, PotentialMLP, SplitNormal
from toy_score.denoisers import NetworkDenoiser
from toy_score.objectives import AllLevels, Context, DenoisingScoreMatching, OutputWeighting, StableTarget
from toy_score.parameterisations import EDMPreconditioning, LogSigma
from toy_score.schedules import DDPM, EDM, VE

f64 = torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(schedule, backbone=MLP, **arguments):
    torch.manual_seed(0)
    net = backbone(hidden=(16, 16), activation="silu", **arguments)
    return NetworkDenoiser(net, schedule, EDMPreconditioning(0.8), LogSigma())


def noisy(schedule, x0, ratio, seed=1):
    """Noise, level and noisy points."""
    eps = torch.randn(x0.shape, generator=generator(seed), dtype=x0.dtype)
    level = schedule.level(schedule.time(torch.full((len(x0), 1), ratio, dtype=x0.dtype)))
    return eps, level, level.alpha * x0 + level.sigma * eps


def by_loops(x, level, x0, groups, labels, own):
    """The target, row by row: the mean of `(x - alpha x_k) / sigma` over the points of the row's group and label."""
    rows = []
    for i, (y, alpha, sigma) in enumerate(zip(x, level.alpha, level.sigma, strict=True)):
        k = own[i % len(own)]
        alike = [j for j in groups[k] if labels is None or labels[j] == labels[k]]
        logs = torch.stack([-(y - alpha * x0[j]).square().sum() / (2 * sigma**2) for j in alike]).flatten()
        w = torch.softmax(logs, dim=0)
        rows.append(sum(w_j * (y - alpha * x0[j]) / sigma for w_j, j in zip(w, alike, strict=True)))
    return torch.stack(rows)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("schedule", [VE(0.01, 20.0), DDPM()], ids=repr)
@pytest.mark.parametrize("labels", [None, torch.tensor([0, 1, 0, -1, 1, 0, 1])], ids=["no labels", "labels"])
def test_the_target_is_the_mean_noise_over_the_points_that_may_have_become_x(schedule, labels, every):
    """Seven points in groups of four, at three levels each, as an objective repeats a batch for its levels."""
    x0 = SplitNormal().sample(7, generator()).double()
    own = list(range(0, 7, every))
    groups = {k: range(4 * (k // 4), min(4 * (k // 4) + 4, 7)) for k in range(7)}
    ratios = torch.tensor([0.05, 0.7, 9.0], dtype=f64).repeat_interleave(len(own))[:, None]
    eps, level = torch.randn(len(ratios), 2, generator=generator(1), dtype=f64), schedule.level(schedule.time(ratios))
    x = level.alpha * x0[own].repeat(3, 1) + level.sigma * eps
    target = StableTarget(n_points=4, every=every).target(x, level, eps, x0, labels)
    assert torch.allclose(target, by_loops(x, level, x0, groups, labels, own), atol=1e-9)


@pytest.mark.parametrize("labels", [None, torch.tensor([0, 1, 1, 0, 1, 0, 0])], ids=["no labels", "labels"])
def test_one_of_so_many_points_is_made_noisy_at_its_own_time_and_with_its_own_label(labels):
    """The loss of `every = 3` is that of rows 0, 3 and 6 of the loss of all rows, at each of the levels."""
    schedule, x0 = VE(n_levels=4), SplitNormal().sample(7, generator())
    net = network(schedule, n_labels=0 if labels is None else 2)
    net = net if labels is None else net.conditioned_on(labels)
    eps, t = torch.randn(28, 2, generator=generator(1)), AllLevels()(7, schedule, generator())
    context = Context(x0, t, generator(), eps)
    every_row = StableTarget(n_points=9)(net, context).view(4, 7)
    assert torch.allclose(StableTarget(n_points=9, every=3)(net, context).view(4, 3), every_row[:, ::3], rtol=1e-4)


def test_over_one_point_it_is_denoising_score_matching():
    schedule, x0 = VE(n_levels=4), SplitNormal().sample(8, generator())
    model, context = network(schedule), lambda: Context(x0, AllLevels()(8, schedule, generator()), generator(3))
    one = StableTarget(OutputWeighting(), antithetic=True, n_points=1)(model, context())
    plain = DenoisingScoreMatching(OutputWeighting(), antithetic=True)(model, context())
    assert torch.equal(one, plain)
    assert not torch.allclose(StableTarget(OutputWeighting(), antithetic=True)(model, context()), plain, rtol=1e-2)


def test_a_row_sees_only_points_of_its_own_label():
    """Two classes far apart at a noise that joins them: with labels, the target is that of each class by itself."""
    schedule = EDM(0.02, 500.0)
    x0, labels = torch.tensor([[-5.0, 0.0], [5.0, 0.0]]).repeat(8, 1), torch.tensor([0, 1]).repeat(8)
    model = network(schedule, n_labels=2).conditioned_on(labels)
    context = Context(x0, schedule.time(torch.full((16, 1), 50.0)), generator())
    assert torch.allclose(
        StableTarget()(model, context), DenoisingScoreMatching()(model, Context(x0, context.t, generator())), atol=1e-5
    )


class WithoutItsOwn(StableTarget):
    """Planted: the point that `x` was made of is left out."""

    def target(self, x, level, eps, x0, labels=None):
        y = x / level.alpha
        log_w = (y[:, None] - x0).square().sum(dim=-1) / (-2.0 * level.ratio**2)
        block = torch.arange(len(x0)) // self.n_points
        others = (block[:, None] == block) & ~torch.eye(len(x0), dtype=torch.bool)
        mean = torch.softmax(log_w.masked_fill(~others, -torch.inf), dim=-1) @ x0
        return (y - mean) / level.ratio


def bias(objective, ratio, n=120_000):
    """By how many standard errors `E[(target - noise(x)) f(x)]` is not 0, the largest over three f; groups of four."""
    p, schedule = SplitNormal(), EDM(0.02, 500.0)
    x0 = p.sample(n, generator(11)).double()
    eps, level, x = noisy(schedule, x0, ratio, seed=12)
    targets = [
        objective.target(x[i : i + 400], _part(level, i, 400), eps[i : i + 400], x0[i : i + 400])
        for i in range(0, n, 400)
    ]
    error = torch.cat(targets) - ExactDenoiser(p, schedule).noise(x, level)
    z = []
    for f in (x, torch.tanh(x), torch.sin(3.0 * x)):
        of_group = (error * f).view(-1, 4, 2).mean(dim=1)  # groups are independent, their rows are not
        z.append((of_group.mean(dim=0) / of_group.std(dim=0) * len(of_group) ** 0.5).abs().max().item())
    return max(z)


def _part(level, i, n):
    return type(level)(*(v[i : i + n] for v in level))


@pytest.mark.parametrize("ratio", [0.3, 1.5])
def test_the_target_has_the_mean_of_the_noise_whatever_the_number_of_points(ratio):
    """Six means within 4.9 standard errors: were the seed random, a false alarm below 1e-5."""
    assert bias(StableTarget(n_points=4), ratio) < 4.9


@pytest.mark.parametrize("ratio", [0.3, 1.5])
def test_without_the_point_itself_the_mean_would_be_another(ratio):
    """The twin of the test above."""
    assert bias(WithoutItsOwn(n_points=4), ratio) > 10.0


def test_at_high_noise_the_targets_variance_falls_with_the_number_of_points():
    """At sigma 3, where all points may have become x, 128 points: by more than 30 times."""
    p, schedule = SplitNormal(), EDM(0.02, 500.0)
    x0 = p.sample(4096, generator()).double()
    eps, level, x = noisy(schedule, x0, 3.0)
    exact = ExactDenoiser(p, schedule).noise(x, level)
    stable = StableTarget().target(x, level, eps, x0)
    assert (stable - exact).square().mean() < (eps - exact).square().mean() / 30


def test_impossible_numbers_of_points_are_refused():
    with pytest.raises(ValueError, match="n_points must be at least 1, got 0"):
        StableTarget(n_points=0)
    with pytest.raises(ValueError, match=r"every must be at least 1 and divide n_points \(1024\), got 3"):
        StableTarget(every=3)
    with pytest.raises(ValueError, match="edges must be at least 0, got -1"):
        MLP(edges=-1)
    with pytest.raises(ValueError, match="unknown edge_shape 'relu'; choose from tanh, asinh"):
        MLP(edge_shape="relu")


SHAPES = {"tanh": torch.tanh, "asinh": torch.asinh}


@pytest.mark.parametrize("shape", SHAPES)
def test_features_of_edges_are_lines_in_units_of_the_noise(shape):
    """`f((v . x + b) alpha / sigma)`, added to the first layer by a matrix."""
    torch.manual_seed(0)
    x, sigma = torch.randn(5, 2), torch.tensor([[0.02], [0.1], [1.0], [5.0], [100.0]])
    net, c = MLP((8,), "tanh", edges=3, edge_shape=shape), LogSigma()(sigma, torch.ones(5, 1), sigma)
    h = x @ net.layers[0].weight[:, :2].T + c * net.layers[0].weight[:, 2] + net.layers[0].bias
    h = h + SHAPES[shape]((x @ net.lines.weight.T + net.lines.bias) / sigma) @ net.from_lines.weight.T
    assert torch.allclose(net(x, c), net.layers[1](torch.tanh(h)), atol=1e-5)


def test_the_default_shape_of_edges_is_that_of_checkpoints_without_one():
    assert MLP(edges=1).edge_shape == MapMLP(edges=1).edge_shape == PotentialMLP(edges=1).edge_shape == "tanh"


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_of_a_potentials_features_is_that_of_edges_and_as_small_at_low_noise(shape):
    """`grad r g((v . x + b) / r + d) = v f((v . x + b) / r + d)`, `g` the integral of `f`: no factor of `1 / r`."""
    torch.manual_seed(0)
    net, x = PotentialMLP(hidden=(8,), edges=3, edge_shape=shape).double(), torch.randn(50, 2, dtype=f64)
    for sigma in (1e-3, 0.1, 1.0, 500.0):
        c = torch.full((50, 1), math.log(sigma) / 4, dtype=f64)
        for k in range(3):
            slope = torch.func.grad(lambda z, c=c, k=k: net._line_features(z, c)[:, k].sum())(x)
            v, b, d = net.lines.weight[k], net.lines.bias[k], net.shifts[k]
            assert torch.allclose(slope, SHAPES[shape]((x @ v + b) / sigma + d)[:, None] * v, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("backbone", [MLP, PotentialMLP])
def test_features_of_edges_are_finite_at_the_lowest_noise_level_that_is_allowed(backbone, shape):
    torch.manual_seed(0)
    net, x = backbone(hidden=(8,), edges=3, edge_shape=shape), torch.randn(50, 2)
    c = torch.full((50, 1), math.log(1e-30) / 4)
    assert net(x, c).isfinite().all()
    assert all(part.isfinite().all() for part in net.jacobian(x, c))
    assert torch.func.grad(lambda z: net(z, c).sum())(x).isfinite().all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("backbone", [MLP, PotentialMLP])
def test_the_jacobian_with_edges_is_the_derivative(backbone, shape):
    model = network(EDM(0.02, 500.0), backbone, edges=4, edge_shape=shape).double()
    x = SplitNormal().sample(50, generator()).double()
    for sigma in (0.1, 1.0, 20.0):
        t = model.schedule.time(torch.tensor(sigma, dtype=f64))
        _, J = model.noise_jacobian(x, t)
        for axis in (0, 1):
            step = torch.zeros(2, dtype=f64)
            step[axis] = 1e-6
            slope = (model.noise(x + step, t) - model.noise(x - step, t)) / 2e-6
            assert torch.allclose(J[:, :, axis], slope, atol=1e-5 * math.sqrt(1 + 1 / sigma**2), rtol=1e-4)
