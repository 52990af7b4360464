"""Flow maps: the identities that define them, the closed form where there is one, and sampling with them."""

import math

import pytest
import torch
from unit_noise import UnitNoise

from toy_score import (
    DDPM,
    EDM,
    MLP,
    DataPrediction,
    EDMModule,
    EDMPreconditioning,
    ExactFlowMap,
    FlowMapModule,
    FlowPrediction,
    GaussianMixture,
    Heart,
    LinearFlow,
    LogSigma,
    MapMLP,
    MapSteps,
    NetworkFlowMap,
    NoisePrediction,
    PredictorCorrector,
    RungeKutta4,
    SplitNormal,
    VelocityPrediction,
)

f64 = torch.float64
SCHEDULES = [EDM(0.02, 50.0), DDPM(), LinearFlow()]
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def gaussian(std):
    return GaussianMixture([[0.0, 0.0]], std)


def noisy(p, schedule, ratio, n=64, seed=0):
    """Noisy points in float64, and their level."""
    level = schedule.level_at(ratio)
    eps = torch.randn(n, 2, generator=generator(seed), dtype=f64)
    return level.alpha * p.sample(n, generator(seed + 1)).double() + level.sigma * eps, level


def network(schedule=SCHEDULES[0], parameterisation=None, **arguments):
    torch.manual_seed(0)
    backbone = MapMLP((16, 16), **arguments)
    return NetworkFlowMap(backbone, schedule, parameterisation or EDMPreconditioning(0.8), LogSigma()).double()


# The exact map


@schedules
@pytest.mark.parametrize(("begin", "end"), [(40.0, 0.05), (2.0, 0.3), (0.1, 10.0)])
def test_the_exact_map_of_a_gaussian_is_its_closed_form(schedule, begin, end):
    """`y_s = y_t sqrt((s^2 + r_s^2) / (s^2 + r_t^2))`, up or down."""
    std = 0.7
    exact, (x, t), s = ExactFlowMap(gaussian(std), schedule), noisy(gaussian(std), schedule, begin), None
    s = schedule.level_at(end)
    factor = s.alpha / t.alpha * math.sqrt((std**2 + s.ratio**2) / (std**2 + t.ratio**2))
    assert torch.allclose(exact.map(x, t, s), factor * x, atol=1e-6 * s.radius, rtol=0)
    mapped, J = exact.map_jacobian(x, t, s)
    assert torch.allclose(mapped, factor * x, atol=1e-6 * s.radius, rtol=0)
    assert torch.allclose(J, factor * torch.eye(2, dtype=f64), atol=1e-6 * s.radius / t.radius, rtol=1e-5)


@pytest.mark.parametrize(("p", "error"), [(Heart(), 1e-6), (SplitNormal(), 3e-6)], ids=repr)
def test_the_stated_error_of_the_exact_map_holds(p, error):
    """From noise to data, against a tolerance of 1e-10; the docstring's errors are those of more points."""
    schedule = EDM(0.02, 500.0)
    x = 500.0 * torch.randn(128, 2, generator=generator(), dtype=f64)
    coarse, fine = (ExactFlowMap(p, schedule, tolerance) for tolerance in (1e-7, 1e-10))
    difference = coarse.map(x, schedule.t_max, schedule.t_min) - fine.map(x, schedule.t_max, schedule.t_min)
    assert difference.square().sum(dim=1).mean().sqrt() < error


@schedules
def test_two_exact_maps_make_one_and_each_row_may_have_its_own_times(schedule):
    exact = ExactFlowMap(Heart(), schedule)
    x, t = noisy(Heart(), schedule, 5.0, n=32)
    ratios = torch.stack([torch.linspace(1.0, 3.0, 32, dtype=f64), torch.linspace(0.05, 0.9, 32, dtype=f64)])
    middle, end = (schedule.time(r)[:, None] for r in ratios)
    twice = exact.map(exact.map(x, t, middle), middle, end)
    assert torch.allclose(twice, exact.map(x, t, end), atol=1e-5)
    alone = exact.map(x[3:4], t, end[3].item())
    assert torch.allclose(twice[3:4], alone, atol=1e-5)
    assert torch.equal(exact.map(x, t, t), x) or torch.allclose(exact.map(x, t, t), x, atol=1e-12)


@pytest.mark.parametrize("p", [Heart(), SplitNormal()], ids=repr)
def test_the_exact_map_obeys_the_lagrangian_and_the_eulerian_equation(p):
    """Central differences on the circle: `dZ / dpsi = V(Z, psi)` and `dZ / dphi = -(dZ / dz) V(z, phi)`."""
    exact, h = ExactFlowMap(p, EDM(0.02, 50.0), 1e-9), 1e-4
    x, t = noisy(p, exact.schedule, 1.0, n=16)
    z = x / t.radius
    phi, psi = (torch.full((16, 1), math.atan(r), dtype=f64) for r in (t.ratio, 0.3))
    Z = exact.turn(z, phi, psi)
    in_psi = (exact.turn(z, phi, psi + h) - exact.turn(z, phi, psi - h)) / (2 * h)
    assert torch.allclose(in_psi, exact.flow(psi, Z), atol=1e-4, rtol=1e-3)
    in_phi = (exact.turn(z, phi + h, psi) - exact.turn(z, phi - h, psi)) / (2 * h)
    _, J = exact.map_jacobian(x, t, exact.level_at_angle(psi))
    scale = (t.radius / exact.level_at_angle(psi).radius)[:, :, None]
    along = (scale * J @ exact.flow(phi, z)[:, :, None])[:, :, 0]
    assert torch.allclose(in_phi, -along, atol=1e-4, rtol=1e-3)


# The map of a network


@schedules
@pytest.mark.parametrize(
    "parameterisation",
    [EDMPreconditioning(0.8), VelocityPrediction(), FlowPrediction(), NoisePrediction(), DataPrediction()],
    ids=repr,
)
def test_a_network_map_is_the_identity_on_the_diagonal_and_leaves_it_with_the_flow(schedule, parameterisation):
    """Whatever the weights: `X(x, t -> t) = x`, and there `dZ / dpsi` is the velocity of the network's own denoiser."""
    net = network(schedule, parameterisation)
    x, t = noisy(Heart(), schedule, 0.7, n=16)
    assert torch.allclose(net.map(x, t, t), x, atol=1e-12)
    phi = torch.full((16, 1), math.atan(t.ratio), dtype=f64)
    z = x / t.radius
    _, slope, *_ = torch.func.jvp(lambda psi: net.turn(z, phi, psi), (phi,), (torch.ones_like(phi),))
    assert torch.allclose(slope, net.velocity(x, t), atol=1e-8)


def test_on_the_circle_it_is_the_trigonometric_form():
    """`Z = cos(phi - psi) z - sin(phi - psi) F`, with the raw output of the network."""
    net = network(LinearFlow(), VelocityPrediction())
    z = torch.randn(8, 2, generator=generator(), dtype=f64)
    phi, psi = torch.full((8, 1), 1.2, dtype=f64), torch.linspace(0.1, 1.0, 8, dtype=f64)[:, None]
    c = torch.cat([phi.tan().log() / 4, psi.tan().log() / 4], dim=1)
    F = net.backbone(z * net.level_at_angle(phi).radius, c)
    assert torch.allclose(net.turn(z, phi, psi), (phi - psi).cos() * z - (phi - psi).sin() * F, atol=1e-8)


@pytest.mark.parametrize("edges", [0, 4])
def test_derivatives_of_a_network_map_are_those_of_finite_differences(edges):
    """In the start, in the end and in space; the last in closed form."""
    net, h = network(edges=edges), 1e-6
    z = torch.randn(8, 2, generator=generator(), dtype=f64)
    phi, psi = torch.full((8, 1), 1.2, dtype=f64), torch.full((8, 1), 0.4, dtype=f64)
    one = torch.ones_like(phi)
    for k, shifted in enumerate([lambda d: net.turn(z, phi + d, psi), lambda d: net.turn(z, phi, psi + d)]):
        _, slope, *_ = torch.func.jvp(
            (lambda a: net.turn(z, a, psi)) if k == 0 else (lambda a: net.turn(z, phi, a)), ((phi, psi)[k],), (one,)
        )
        assert torch.allclose(slope, (shifted(h) - shifted(-h)) / (2 * h), atol=1e-6)
    t, s = net.level_at_angle(phi), net.level_at_angle(psi)
    mapped, J = net.map_jacobian(z, t, s)
    assert torch.allclose(mapped, net.map(z, t, s))
    for j in range(2):
        step = h * torch.eye(2, dtype=f64)[j]
        column = (net.map(z + step, t, s) - net.map(z - step, t, s)) / (2 * h)
        assert torch.allclose(J[:, :, j], column, atol=1e-7)


def test_a_map_of_a_class_is_a_map_of_the_same_network():
    net = network(n_labels=2)
    of_class = net.conditioned_on(1)
    assert isinstance(of_class, NetworkFlowMap)
    x = torch.randn(4, 2, generator=generator(), dtype=f64)
    assert not torch.allclose(of_class.map(x, 0.5, 0.1), net.map(x, 0.5, 0.1))
    exact = ExactFlowMap(SplitNormal(), EDM(), 1e-5).conditioned_on(0)
    assert (type(exact), exact.tolerance) == (ExactFlowMap, 1e-5)


def test_lines_at_the_end_of_a_map_begin_up_to_sixteen_times_as_steep():
    """Each line at the end of the map is that of an `MLP` of two times, steeper by 1 to 16, and where it was."""

    class Plain(MLP):
        n_numbers = 2

    torch.manual_seed(0)
    plain = Plain((8,), edges=5).lines
    torch.manual_seed(0)
    lines = MapMLP((8,), edges=5).lines
    steepness = torch.tensor([1.0] * 5 + [1.0, 2.0, 4.0, 8.0, 16.0])
    assert torch.allclose(lines.weight, steepness[:, None] * plain.weight)
    assert torch.allclose(lines.bias, steepness * plain.bias)


def test_a_network_of_one_time_is_refused():
    with pytest.raises(ValueError, match=r"conditioned on two times, MLP on one; choose --model\.backbone MapMLP"):
        FlowMapModule(backbone=MLP())


# Sampling


def counted(flow_map):
    """The numbers of evaluations of the map and of the denoiser, as they grow."""
    calls = {"map": 0, "denoise": 0}
    for name, function in (("map", flow_map.map), ("denoise", flow_map.denoise)):

        def counting(*arguments, name=name, function=function):
            calls[name] += 1
            return function(*arguments)

        object.__setattr__(flow_map, name, counting)
    return calls


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("renoise", [0.0, 0.6, 1.0])
def test_so_many_steps_are_so_many_evaluations(n, renoise):
    net, sampler = network().float(), MapSteps(n, renoise)
    calls = counted(net)
    x = sampler(net, 300, generator())
    assert x.shape == (300, 2)
    assert calls == {"map": n, "denoise": 0}
    assert sampler.nfe(net.schedule) == n


def test_one_step_of_the_exact_map_is_the_whole_flow():
    exact = ExactFlowMap(Heart(), EDM(0.02, 50.0))
    one, two = (MapSteps(n)(exact, 200, generator()) for n in (1, 2))
    assert torch.allclose(one, two, atol=1e-4, rtol=1e-3)
    flow = RungeKutta4(40)(exact, 200, generator())  # ends in the data, a little below the lowest level
    assert (one - flow).square().sum(dim=1).mean().sqrt() < 0.02


@pytest.mark.parametrize("renoise", [0.0, 0.5, 1.0])
def test_new_noise_leaves_the_law_of_gaussian_data_as_it_is(renoise):
    """The law is known without statistics: the map of a Gaussian is linear, and so are the samples in their noise."""
    std, schedule, noise = 0.7, EDM(0.02, 500.0), UnitNoise(6)
    exact, sampler = ExactFlowMap(gaussian(std), schedule), MapSteps(4, renoise)
    x = sampler.walk(exact, sampler.start(schedule, noise), noise)[:, 0]
    assert math.isclose((x[1:] - x[0]).norm().item(), math.hypot(std, schedule.sigma_min), rel_tol=2e-5)
    assert (noise.draw > 1) == (renoise > 0)


def test_a_denoiser_without_a_map_is_refused_in_one_line():
    for sampler in (MapSteps(), PredictorCorrector(MapSteps())):
        with pytest.raises(ValueError, match="needs a flow map, NetworkDenoiser is none; train a FlowMapModule"):
            EDMModule(sampler=sampler)
    with pytest.raises(ValueError, match="MapSteps needs a flow map"):
        EDMModule().sample(10, sampler=MapSteps())
    with pytest.raises(ValueError, match=r"renoise is a share in \[0, 1\], got 2"):
        MapSteps(1, 2.0)
