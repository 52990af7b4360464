"""Objectives of flow maps: the exact map has no loss, a wrong one is drawn to it, planted errors are found."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from gaussian_map import DATA, SCHEDULE, STD, GaussianMap

from toy_score import Context, ExactFlowMap, MapMLP
from toy_score.flow_maps import NetworkFlowMap
from toy_score.objectives import DenoisingScoreMatching, LogNormalSigma
from toy_score.objectives.maps import (
    Consistency,
    Eulerian,
    EvenEnds,
    Lagrangian,
    MapRegression,
    MeanFlow,
    Progressive,
    TrajectoryDistillation,
    UniformAngles,
)
from toy_score.objectives.maps.base import mean_square
from toy_score.objectives.maps.eulerian import towards_constancy
from toy_score.objectives.maps.trajectories import Paths, near
from toy_score.parameterisations import EDMPreconditioning, LogSigma

f64 = torch.float64
DETERMINISTIC = [
    Lagrangian(),
    Eulerian(),
    Progressive(),
    Consistency(n_steps=512, distill=True),
    MapRegression(n_paths=512),
    TrajectoryDistillation(n_steps=6),
]
RANDOM = [MeanFlow(), Consistency()]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def context(n=512, seed=1):
    x0 = DATA.sample(n, generator(seed)).double()
    t = LogNormalSigma()(n, SCHEDULE, generator(seed)).double()
    return Context(x0, t, generator(seed + 1), truth=ExactFlowMap(DATA, SCHEDULE))


def loss_of(objective, error=0.0, **arguments):
    """The mean loss of the maps, and its slope in the error of the map."""
    flow_map = GaussianMap(error)
    loss = objective.maps(flow_map, context(**arguments)).mean()
    (slope,) = torch.autograd.grad(loss, flow_map.error)
    return loss.item(), slope.item()


@pytest.mark.parametrize("objective", DETERMINISTIC, ids=lambda o: type(o).__name__)
def test_the_exact_map_has_no_loss_and_a_wrong_one_is_drawn_to_it(objective):
    assert loss_of(objective)[0] < 1e-9
    for error in (-0.1, 0.1):
        loss, slope = loss_of(objective, error)
        assert loss > 1e-8
        assert slope * error > 0


def slopes(objective, error=0.0, batches=32):
    """Mean slope over batches of 64 points, and its standard error."""
    values = torch.tensor([loss_of(objective, error, n=64, seed=seed)[1] for seed in range(batches)])
    return values.mean().item(), values.std().item() / math.sqrt(batches)


@pytest.mark.parametrize("objective", RANDOM, ids=lambda o: type(o).__name__)
def test_with_the_paths_of_single_points_the_exact_map_is_where_the_mean_gradient_is_zero(objective):
    """Within 4.9 standard errors, a false alarm below 1e-6; that of a map with an error of 0.3 is beyond."""
    mean, scatter = slopes(objective)
    assert abs(mean) < 4.9 * scatter
    for error in (-0.3, 0.3):
        mean, scatter = slopes(objective, error)
        assert mean * error > 0
        assert abs(mean) > 4.9 * scatter


# Planted errors: each test above would find them


class SlopeAtTheStart(Lagrangian):
    """Planted: the velocity is taken where the map begins."""

    def condition(self, flow_map, path, phi, psi, context):
        z = path.at(phi)
        _, slope, *_ = torch.func.jvp(lambda end: flow_map.turn(z, phi, end), (psi,), (torch.ones_like(psi),))
        return (slope - flow_map.flow(phi, z)).square().mean(dim=-1)


class WithoutTransport(Eulerian):
    """Planted: the derivative in time alone, at a fixed point."""

    def condition(self, flow_map, path, phi, psi, context):
        return towards_constancy(flow_map, path.at(phi), phi, psi, torch.zeros_like(path.x0))


class SameStepTwice(Progressive):
    """Planted: both half steps begin at the upper end."""

    def condition(self, flow_map, path, phi, psi, context):
        chi, z = 0.5 * (phi + psi), path.at(phi)
        return mean_square(flow_map.turn(z, phi, psi) - flow_map.turn(flow_map.turn(z, phi, chi), phi, psi), phi, psi)


class EulerStep(Consistency):
    """Planted: one long step of Euler's method in the place of a short one of Heun's."""

    def condition(self, flow_map, path, phi, psi, context):
        z = path.at(phi)
        below = z + (psi - phi) * flow_map.flow(phi, z)
        return mean_square(flow_map.turn(z, phi, psi) - below, phi, psi)


class OfAnotherPath(MapRegression):
    """Planted: the points of a path are those of its neighbour from the middle on."""

    def paths(self, flow_map, context):
        paths = super().paths(flow_map, context)
        half = len(paths.z) // 2
        return paths._replace(z=torch.cat([paths.z[:half], paths.z[half:].roll(1, dims=1)]))


class NotFollowed(TrajectoryDistillation):
    """Planted: the paths are those of single points, not of the flow."""

    def paths(self, flow_map, context):
        paths, x0 = super().paths(flow_map, context), context.x0[: self.n_paths]
        eps = (paths.z[0] - paths.angles[0].cos() * x0) / paths.angles[0].sin()
        return paths._replace(z=torch.stack([phi.cos() * x0 + phi.sin() * eps for phi in paths.angles]))


class OtherNoise(MeanFlow):
    """Planted: the velocity of another noise."""

    def condition(self, flow_map, path, phi, psi, context):
        other = type(path)(path.x0, path.eps.roll(1, dims=0))
        return towards_constancy(flow_map, path.at(phi), phi, psi, other.velocity(phi))


class WrongWay(Consistency):
    """Planted: the lower point is the noised point with the clean point shrunk."""

    def condition(self, flow_map, path, phi, psi, context):
        below = type(path)(0.5 * path.x0, path.eps).at(psi)
        return mean_square(flow_map.turn(path.at(phi), phi, psi) - below, phi, psi)


@pytest.mark.parametrize(
    "planted",
    [SlopeAtTheStart(), WithoutTransport(), SameStepTwice(), EulerStep(), OfAnotherPath(n_paths=512), NotFollowed()],
    ids=lambda o: type(o).__name__,
)
def test_an_error_planted_in_an_objective_gives_the_exact_map_a_loss(planted):
    assert loss_of(planted)[0] > 1e-5


@pytest.mark.parametrize("planted", [OtherNoise, WrongWay])
def test_an_error_planted_in_an_objective_moves_the_exact_map(planted):
    mean, scatter = slopes(planted())
    assert abs(mean) > 4.9 * scatter


def test_the_loss_of_a_map_along_a_path_is_half_its_squared_derivative_with_the_gradient_of_a_regression():
    """The derivative as a difference; the gradient is that of the map at its start, times the derivative."""
    flow_map, g = GaussianMap(0.2), generator()
    z, V = (torch.randn(6, 2, generator=g, dtype=f64) for _ in range(2))
    phi = torch.tensor([1.5, 1.2, 0.9, 0.7, 0.4, 0.3], dtype=f64)[:, None]
    psi = phi * torch.tensor([0.1, 0.5, 0.9, 0.2, 0.6, 0.3], dtype=f64)[:, None]
    h = 1e-5
    ends = [flow_map.turn(z + step * V, phi + step, psi) for step in (h, -h)]
    slope = ((ends[0] - ends[1]) / (2 * h)).detach()
    loss = towards_constancy(flow_map, z, phi, psi, V)
    assert torch.allclose(loss, slope.square().mean(dim=1), rtol=1e-6)
    regression = (2.0 * slope * flow_map.turn(z, phi, psi) / (phi - psi).sin()).mean(dim=1).sum()
    wanted, got = (torch.autograd.grad(value, flow_map.error)[0] for value in (regression, loss.sum()))
    assert torch.allclose(got, wanted, rtol=1e-6)


# What they share


def network():
    torch.manual_seed(0)
    return NetworkFlowMap(MapMLP((16,)), SCHEDULE, EDMPreconditioning(STD), LogSigma()).double()


@pytest.mark.parametrize("objective", [*DETERMINISTIC, *RANDOM], ids=lambda o: type(o).__name__)
def test_the_rows_of_the_diagonal_come_first_and_every_loss_has_a_gradient(objective):
    net, batch = network(), context(64)
    rows = objective(net, batch)
    diagonal = objective.diagonal(net, context(64))
    assert torch.equal(rows[: len(diagonal)], diagonal)
    rows[len(diagonal) :].mean().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in net.parameters())
    assert any(weight.grad.abs().max() > 0 for weight in net.parameters())


def test_starts_and_ends_are_in_order_within_the_schedule_and_the_shares_are_as_asked():
    starts, ends, n = UniformAngles(0.5, 0.25), EvenEnds(0.5, 0.25), 4000
    t = starts(n, SCHEDULE, generator())
    phi = SCHEDULE.ratio(t).atan()
    psi = ends(phi, SCHEDULE, generator())
    low, high = (math.atan(r) for r in SCHEDULE.ratios)
    assert (low - 1e-6 <= psi).all()
    assert (psi <= phi + 1e-6).all()
    assert (phi <= high + 1e-6).all()
    assert (phi > high - 1e-5).double().mean().item() == pytest.approx(0.25, abs=2 / n)
    assert (psi < low + 1e-6).double().mean().item() == pytest.approx(0.25, abs=4.9 * (0.25 * 0.75 / n) ** 0.5)


@pytest.mark.parametrize("objective", [MapRegression(n_paths=8), TrajectoryDistillation(n_paths=8)])
def test_random_numbers_that_round_to_one_choose_no_point_beyond_the_end_of_a_path(objective, monkeypatch):
    """Once in some million numbers: it ended trainings of some thousand steps."""
    almost, rand = 1.0 - 2.0**-24, torch.rand
    largest = lambda *size, **arguments: torch.full_like(rand(*size, **arguments), almost)  # noqa: E731
    batch, maps = context(8), network().float()
    batch = Context(batch.x0.float(), batch.t.float(), batch.generator, truth=batch.truth)
    for n_steps in range(2, 9):
        with monkeypatch.context() as patch:
            patch.setattr(torch, "rand", largest)
            loss = replace(objective, n_steps=n_steps, from_noise=0.0, to_data=0.0).maps(maps, batch)
        assert loss.isfinite().all()


class RunsAway(GaussianMap):
    """A flow that is exact on the left, and doubles distances ever faster on the right."""

    def flows(self, angles):
        def slope(exact):
            return lambda z: torch.where(z[:, :1] > 0, -1e3 * z, exact(z))

        return [slope(exact) for exact in super().flows(angles)]


def test_paths_that_run_away_are_left_out_and_exact_ones_are_not():
    own, c = TrajectoryDistillation(n_steps=6, n_paths=512), context()
    assert own.paths(GaussianMap(), c).z.shape[1] == 512

    paths = own.paths(RunsAway(), context())
    assert 0 < paths.z.shape[1] < 512
    assert paths.z.norm(dim=-1).max() < 20.0
    assert own.maps(RunsAway(), context()).mean() < 1e-9


def test_a_path_runs_away_beyond_twice_the_points_of_the_batch_and_eight_standard_deviations():
    """At one position only, and there by a thousandth."""
    angles = torch.tensor([1.5, 0.7, 0.1], dtype=f64)
    bound = 2 * math.sqrt(5) * angles.cos() + 8 * angles.sin()
    turns = torch.tensor([[1.0, 0.0], [0.0, -1.0], [0.6, 0.8]], dtype=f64)
    z = (bound[:, None, None] * turns).repeat(1, 2, 1) * 0.999  # [position, path, 2]
    for k in range(3):
        z[k, 3 + k] *= 1.001 / 0.999
    kept = near(Paths(z, angles, torch.arange(6)), torch.tensor([[0.1, 0.0], [1.0, -2.0]], dtype=f64))
    assert kept.rows.tolist() == [0, 1, 2]
    assert torch.equal(kept.z, z[:, :3])


def test_a_step_whose_paths_all_run_away_has_no_loss_of_maps():
    class AllRunAway(GaussianMap):
        def flows(self, angles):
            return [lambda z: torch.full_like(z, math.nan) for _ in angles]

    loss = TrajectoryDistillation().maps(AllRunAway(), context())
    assert loss.shape == (1024,)
    assert (loss == 0).all()


@pytest.mark.parametrize("distill", [False, True])
def test_the_steps_of_consistency_are_a_right_angle_over_their_number(distill, monkeypatch):
    starts = []
    turn = GaussianMap.turn
    monkeypatch.setattr(GaussianMap, "turn", lambda self, z, phi, psi: (starts.append(phi), turn(self, z, phi, psi))[1])
    Consistency(n_steps=16, distill=distill).maps(GaussianMap(), context())
    lower, upper = starts
    assert (upper - lower).max().item() == pytest.approx(math.pi / 32)


def test_a_condition_has_so_many_maps_and_no_more_than_the_batch_has_points():
    net = network()
    for n_maps, rows in ((48, 48), (1024, 64)):
        assert len(Lagrangian(n_maps=n_maps).maps(net, context(64))) == rows
    with pytest.raises(ValueError, match="n_maps must be at least 1, got 0"):
        Consistency(n_maps=0)


def test_an_objective_of_maps_refuses_a_denoiser_without_one_and_regression_an_unknown_truth():
    denoiser = ExactFlowMap(DATA, SCHEDULE)
    with pytest.raises(ValueError, match="MapRegression needs the exact map"):
        MapRegression().maps(network(), Context(torch.zeros(4, 2), torch.ones(4, 1), generator()))

    @dataclass(frozen=True)
    class Plain(type(denoiser).__mro__[1]):
        """An exact denoiser."""

    with pytest.raises(ValueError, match="Lagrangian trains a flow map, Plain is none; choose --model FlowMapModule"):
        Lagrangian(DenoisingScoreMatching())(Plain(DATA, SCHEDULE), context(8))


CHOOSING = [Lagrangian(n_maps=4), Eulerian(n_maps=4), Progressive(n_maps=4), MeanFlow(n_maps=4), Consistency(n_maps=4)]


@pytest.mark.parametrize(
    "objective", [*CHOOSING, TrajectoryDistillation(n_paths=4, n_maps=16)], ids=lambda o: type(o).__name__
)
def test_maps_of_some_points_of_a_batch_have_the_labels_or_conditions_of_these(objective):
    """With those of the first points, a batch of more points with other ones has the same loss of the maps."""
    for arguments, given in (
        (dict(n_labels=3), torch.arange(9) % 3),
        (dict(n_conditions=2), torch.randn(9, 2).double()),
    ):
        torch.manual_seed(0)
        network = NetworkFlowMap(MapMLP((8,), **arguments).double(), SCHEDULE, EDMPreconditioning(), LogSigma())
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        whole = context(n=9)

        def loss(labels, n, whole=whole, network=network):
            flow_map = network.conditioned_on(labels)
            some = replace(whole, x0=whole.x0[:n], averaged=flow_map, generator=generator(7))
            return objective.maps(flow_map, some)

        assert torch.equal(loss(given, 9), loss(given[:4], 4))
        assert not torch.allclose(loss(given, 9), loss(given.flip(0), 9))


def test_regression_on_exact_maps_refuses_classes_whose_maps_it_has_not():
    network = NetworkFlowMap(MapMLP((8,), n_labels=2), SCHEDULE, EDMPreconditioning(), LogSigma())
    with pytest.raises(ValueError, match=r"not of classes or conditions; choose --model\.objective Traj"):
        MapRegression(n_paths=8).maps(network.conditioned_on(torch.zeros(8, dtype=torch.long)), context(n=8))


class Recorded(GaussianMap):
    """Keeps the angles between which it was asked to turn."""

    def turn(self, z, phi, psi):
        self.turns = phi, psi
        return super().turn(z, phi, psi)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_of_maps_along_paths_the_share_that_is_asked_for_begins_at_the_highest_level(share):
    """The others begin at any of the eight levels above the lowest alike; 4.9 standard errors of 4000 maps."""
    objective, flow_map = TrajectoryDistillation(n_steps=7, n_paths=64, n_maps=4000, from_noise=share), Recorded()
    objective.maps(flow_map, context())
    phi, _ = flow_map.turns
    expected = share + (1 - share) / 8
    found = (phi == phi.max()).double().mean().item()
    assert found == pytest.approx(expected, abs=4.9 * (expected * (1 - expected) / 4000) ** 0.5)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_of_maps_along_paths_the_share_that_is_asked_for_ends_at_the_lowest_level(share):
    """All begin at the highest level, so the others end at any of the eight levels below it alike."""
    objective = TrajectoryDistillation(n_steps=7, n_paths=64, n_maps=4000, from_noise=1.0, to_data=share)
    flow_map = Recorded()
    objective.maps(flow_map, context())
    _, psi = flow_map.turns
    expected = share + (1 - share) / 8
    found = (psi == psi.min()).double().mean().item()
    assert found == pytest.approx(expected, abs=4.9 * (expected * (1 - expected) / 4000) ** 0.5)


def test_paths_of_distillation_begin_at_the_points_of_the_batch_with_the_noise_of_the_highest_level():
    """Signal and noise of 2048 points, within 4.9 standard errors: 1 / (0.7 64) of the signal, 1 / 90 of the noise."""
    batch = context(2048)
    paths = TrajectoryDistillation(n_paths=2048).paths(GaussianMap(), batch)
    high, x0 = math.atan(SCHEDULE.ratios[1]), batch.x0[paths.rows]
    assert len(x0) == 2048
    assert paths.angles[0].item() == pytest.approx(high)
    signal = ((paths.z[0] * x0).sum() / x0.square().sum()).item()
    assert signal == pytest.approx(math.cos(high), abs=4.9 / (0.7 * 64))
    noise = (paths.z[0] - math.cos(high) * x0).square().mean().sqrt().item()
    assert noise == pytest.approx(math.sin(high), rel=4.9 / 90)
