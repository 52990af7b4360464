"""The page of `play` computes what torch computes, in node: families, schedules, networks, grids and samplers."""

import atexit
import dataclasses
import functools
import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from scipy.special import erfc, erfcx, i0e, i1e, log_ndtr
from scipy.stats import wasserstein_distance

import toy_score as ts
from toy_score.backbones import MLP, Fourier, PotentialMLP
from toy_score.denoisers import ExactDenoiser, NetworkDenoiser
from toy_score.parameterisations import EDMPreconditioning, LogSigma, Sigma, Time
from toy_score.play.export import (
    GRIDS,
    PARAMETERISATIONS,
    SAMPLERS,
    SCHEDULES,
    describe,
    export_distribution,
    export_network,
    export_schedule,
)
from toy_score.play.page import mathematics
from toy_score.samplers import AnnealedLangevin, DDPMAncestral

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed: the JavaScript of the page is not tested")

RTOL = 1e-8
"""What the page promises: agreement with float64 to eight digits, of the largest entry of an answer."""

DRIVER = """
const answers = {
  special: ({ z }) => z.map((u) => {
    const tail = new Float64Array(2), bessel = new Float64Array(2);
    logNdtrAndHazard(u, tail);
    scaledBessel(Math.abs(u), bessel);
    return [scaledErfc(Math.abs(u)), erfc(u), ...tail, ...bessel];
  }),
  distribution: ({ p, x, sigma }) => {
    const evaluate = makeDistribution(p).at(sigma), out = new Float64Array(3);
    return x.map(([a, b]) => { evaluate(a, b, out); return [...out]; });
  },
  observed: ({ p, observation, x, sigma, schedule, time }) => {
    const prior = numbersOf(p), out = new Float64Array(3), points = Float64Array.from(x.flat());
    const evaluate = makeDistribution({ ...p, ...afterObservation(prior, observation) }).at(sigma);
    const made = new Schedule(schedule), level = made.level(time);
    const ruled = RULES.map((rule) => [...new RuleDenoiser(prior, observation, rule, made).noise(points, level)]);
    return [x.map(([a, b]) => { evaluate(a, b, out); return [...out]; }), ...ruled];
  },
  sample: ({ p, n }) => [...makeDistribution(p).sample(n, new Random(1))],
  schedule: ({ schedule, ratio, time, grids }) => {
    const s = new Schedule(schedule);
    return { levels: ratio.map((r) => s.levelAt(r)).map((l) => [l.time, l.alpha, l.sigma]),
      coefficients: time.map((t) => [s.drift(t), s.diffusion(t)]), grids: grids.map((g) => makeGrid(g)(s, 7)) };
  },
  shortened: ({ schedule, highest, grid }) => {
    const s = new Schedule(schedule, highest);
    return makeGrid(grid)(s, 7).map((t) => s.level(t).ratio);
  },
  network: ({ network, x, time }) => {
    const schedule = new Schedule(network.schedule), denoiser = new NetworkDenoiser(network, schedule);
    const points = Float64Array.from(x.flat()), t = schedule.level(time);
    return [denoiser.noise(points, t), denoised(denoiser, points, t), score(denoiser, points, t),
      velocity(denoiser, points, t)].map((a) => [...a]);
  },
  walk: ({ p, schedule, sampler, x, noise }) => {
    const denoiser = new ExactDenoiser(makeDistribution(p), new Schedule(schedule));
    const stream = { normal: () => Float64Array.from(noise.shift().flat()) };
    const made = makeSampler(sampler);
    let last;
    for (last of walk(made, denoiser, Float64Array.from(x.flat()), stream));
    return [...last.x];
  },
  distance: ({ x, y }) => {
    const metric = Object.create(SlicedW1.prototype);
    metric.directions = [[1, 0], [Math.SQRT1_2, Math.SQRT1_2], [0, 1]];
    return distanceOf(metric.projections(x.flat()), metric.projections(y.flat()));
  },
  floor: ({ p }) => {
    const at = new SlicedW1(makeDistribution(p), 500).at(0), exact = makeDistribution(p).sample(500, new Random(99));
    const shifted = exact.map((v, i) => (i % 2 ? v : v + 0.3));
    return [at.floor, at.distance(exact), at.distance(shifted)];
  },
};
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const [name, question] = JSON.parse(line);
  process.stdout.write(JSON.stringify(answers[name](question)) + "\\n");
});
"""

DISTRIBUTIONS = [
    ts.Heart(),
    ts.SplitNormal(),
    ts.EightGaussians(),
    ts.AnisotropicGaussians(),
    ts.FractalTree(),
    ts.Moons(),
    ts.Checkerboard(),
    ts.Rings(),
    ts.Circles(),
    ts.Heart().conditioned_on(1),
    ts.Points(torch.randn(20, 2, generator=torch.Generator().manual_seed(3))),
]
LEVELS = (0.02, 0.3, 2.0, 80.0)
SHORT = [ts.EDM(0.02, 80.0), ts.VP(), ts.DDPM()]
"""On which every sampler walks: of constant alpha, of constant variance, and a table."""


@functools.cache
def node():
    """Node with the mathematics of the page; it answers line by line, and is started once for all tests."""
    script = f'"use strict";\n{mathematics()}\n{DRIVER}'
    process = subprocess.Popen([NODE, "-e", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.kill)
    return process


def ask(name, **question):
    process = node()
    process.stdin.write(json.dumps([name, question]) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    assert line, "node stopped; what it wrote is above"
    return json.loads(line)


def assert_agrees(answer, truth):
    answer, truth = np.array(answer, dtype=float), np.asarray(truth, dtype=float)
    assert answer.shape == truth.shape
    assert np.isfinite(truth).all()
    np.testing.assert_allclose(answer, truth, rtol=RTOL, atol=RTOL * np.abs(truth).max())


def normal(n, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_special_functions_are_right_in_both_tails():
    z = np.concatenate([np.linspace(-40, 40, 161), [1e-9, 0.4687, 0.4688, 3.999, 4.001, 19.9, 20.1, 300.0]])
    answer = np.array(ask("special", z=z.tolist()))
    hazard = np.sqrt(2 / np.pi) / erfcx(-z[z < 20] / np.sqrt(2))
    for column, truth in enumerate([erfcx(abs(z)), erfc(z), log_ndtr(z)]):
        np.testing.assert_allclose(answer[:, column], truth, rtol=1e-11, atol=1e-300)
    for column, truth in enumerate([i0e(abs(z)), i1e(abs(z))], start=4):
        np.testing.assert_allclose(answer[:, column], truth, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(answer[z < 20, 3], hazard, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("p", DISTRIBUTIONS, ids=repr)
def test_exact_density_and_score_of_every_family_agree(p):
    described = export_distribution(p)
    points = {sigma: 1.1 * (p.bounds + sigma) * (torch.rand(64, 2, dtype=torch.float64) * 2 - 1) for sigma in LEVELS}
    for sigma, x in points.items():
        answer = np.array(ask("distribution", p=described, x=x.tolist(), sigma=sigma))
        assert_agrees(answer[:, 0], p.log_prob(x, sigma))
        assert_agrees(answer[:, 1:], p.score(x, sigma))


MIXTURES = [ts.EightGaussians(), ts.Moons(), ts.AnisotropicGaussians(), ts.FractalTree(depth=2)]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("p", MIXTURES, ids=repr)
def test_the_posterior_of_a_mixture_and_the_rules_for_it_agree(p, axis):
    observation = ts.LinearObservation([[1.0 - axis, float(axis)]], [0.4], 0.2)
    q, schedule = p.posterior(observation), ts.VP()
    described = dict(p=export_distribution(p), observation=dict(axis=axis, value=0.4, std=0.2))
    for sigma in LEVELS:
        level = schedule.level_at(sigma)
        x = p.sample(40, torch.Generator().manual_seed(1)).double() + sigma * normal(40)
        where = dict(x=x.tolist(), sigma=sigma, schedule=export_schedule(schedule), time=level.time)
        exact, *ruled = ask("observed", **described, **where)
        assert_agrees(np.array(exact)[:, 0], q.log_prob(x, sigma))
        assert_agrees(np.array(exact)[:, 1:], q.score(x, sigma))
        for rule, answer in zip((ts.DPS(), ts.TMPD()), ruled, strict=True):
            denoiser = ts.Posterior(ExactDenoiser(p, schedule), observation, rule)
            assert_agrees(np.array(answer).reshape(-1, 2), denoiser.noise(x, level).detach())


@pytest.mark.parametrize(
    "p", [ts.Heart(), ts.FractalTree(), ts.Checkerboard(), ts.Rings(), DISTRIBUTIONS[-1]], ids=repr
)
def test_points_are_drawn_from_the_exact_distribution(p):
    """Second moments of 20 000 points within 5 standard errors: at a random seed, a false alarm below 1e-6 each."""
    x = np.array(ask("sample", p=export_distribution(p), n=20_000)).reshape(-1, 2)
    truth = p.reference().numpy()
    assert (abs(x.mean(0) - truth.mean(0)) < 5 * truth.std(0) / len(x) ** 0.5).all()
    squares, true_squares = x[:, [0, 0, 1]] * x[:, [0, 1, 1]], truth[:, [0, 0, 1]] * truth[:, [0, 1, 1]]
    assert (abs(squares.mean(0) - true_squares.mean(0)) < 5 * true_squares.std(0) / len(x) ** 0.5).all()


@pytest.mark.parametrize("cls", SCHEDULES)
def test_levels_drift_and_grids_of_every_schedule_agree(cls):
    schedule, grids = cls(), [grid() for grid in GRIDS]
    low, high = schedule.ratios
    ratios = np.geomspace(low, high, 9)[1:-1].tolist()
    times = torch.linspace(schedule.t_min, schedule.t_max, 12, dtype=torch.float64)[1:-1]
    described = [describe(grid, GRIDS, "grid") for grid in grids]
    answer = ask("schedule", schedule=export_schedule(schedule), ratio=ratios, time=times.tolist(), grids=described)
    assert_agrees(answer["levels"], [list(schedule.level_at(r)) for r in ratios])
    assert_agrees(answer["coefficients"], torch.stack([schedule.drift(times), schedule.diffusion(times)], -1))
    for grid, got in zip(grids, answer["grids"], strict=True):
        assert_agrees(got, grid(schedule, 7))


@pytest.mark.parametrize("grid", [cls for cls in GRIDS if cls is not ts.samplers.Trailing])
def test_a_walk_from_a_lower_level_has_the_grid_of_a_schedule_that_ends_there(grid):
    whole, ending = export_schedule(ts.EDM(0.02, 500.0)), ts.EDM(0.02, 3.0)
    answer = ask("shortened", schedule=whole, highest=3.0, grid=describe(grid(), GRIDS, "grid"))
    assert_agrees(answer, ending.ratio(grid()(ending, 7)))


NETWORKS = [(parameterisation, schedule) for parameterisation in PARAMETERISATIONS for schedule in SHORT]


@pytest.mark.parametrize(("parameterisation", "schedule"), NETWORKS, ids=str)
def test_networks_of_every_parameterisation_agree(parameterisation, schedule):
    torch.manual_seed(0)
    check_network(NetworkDenoiser(MLP(hidden=(32, 24)), schedule, parameterisation(), LogSigma()))


@pytest.mark.parametrize("activation", ["softplus", "silu", "gelu", "tanh", "relu"])
@pytest.mark.parametrize("parameterisation", [ts.EDMPreconditioning(0.8), ts.parameterisations.Energy(0.8)], ids=str)
def test_networks_of_every_activation_conditioning_and_embedding_agree(activation, parameterisation):
    torch.manual_seed(1)
    for conditioning in (Sigma(), Time()):
        mlp = MLP(hidden=(16,), activation=activation, embedding=Fourier(3))
        check_network(NetworkDenoiser(mlp, ts.VP(), parameterisation, conditioning))


def test_a_network_of_one_class_agrees():
    torch.manual_seed(2)
    denoiser = NetworkDenoiser(MLP(hidden=(16, 16), n_labels=3), ts.VP(), EDMPreconditioning(), LogSigma())
    check_network(denoiser)
    check_network(denoiser.conditioned_on(2))


@pytest.mark.parametrize("edge_shape", ["tanh", "asinh"])
@pytest.mark.parametrize(
    ("cls", "parameterisation"),
    [(cls, of(0.8)) for of in (EDMPreconditioning, ts.parameterisations.Energy) for cls in (MLP, PotentialMLP)],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_networks_that_see_edges_agree(cls, parameterisation, edge_shape):
    torch.manual_seed(3)
    mlp = cls(hidden=(16, 12), activation="silu", edges=5, edge_shape=edge_shape)
    check_network(NetworkDenoiser(mlp, ts.VE(0.01, 20.0), parameterisation, LogSigma()))


def check_network(denoiser):
    exported, schedule = export_network(denoiser), denoiser.schedule
    denoiser, x = denoiser.double(), 3.0 * normal(7)
    times = [schedule.t_min, 0.5 * (schedule.t_min + schedule.t_max), schedule.t_max]
    for t in times:
        level = ts.schedules.Level(t, *(v.item() for v in schedule(torch.tensor(t, dtype=torch.float64))))
        ask_of = (denoiser.noise, denoiser.denoise, denoiser.score, denoiser.velocity)
        with torch.no_grad():
            truths = [f(x, level).flatten() for f in ask_of]
        for got, truth in zip(ask("network", network=exported, x=x.tolist(), time=t), truths, strict=True):
            assert_agrees(got, truth)


class Table:
    """The noise of a walk, from a list."""

    def __init__(self, noise):
        self._noise = iter(noise)

    def normal(self):
        return next(self._noise)


def few_steps(cls):
    """A sampler of few steps; all variants of one that has some."""
    if cls is AnnealedLangevin:
        return [cls(steps_per_level=3, n_levels=5)]
    if cls is DDPMAncestral:
        return [cls("posterior", 6), cls("forward", 6)]
    if cls is ts.DDIM:
        return [cls(6), cls(6, eta=0.5)]
    if cls is ts.StochasticMidpoint:
        return [cls(1), cls(6), cls(6, denoisings=1), cls(6, denoisings=3)]
    return [cls(n_steps=1), cls(n_steps=6)]


@pytest.mark.parametrize("cls", SAMPLERS)
def test_walks_of_every_sampler_agree(cls):
    for schedule in SHORT:
        for sampler in few_steps(cls):
            noise = [normal(5, seed) for seed in range(1, 40)]
            start = schedule.prior_sigma * normal(5)
            truth = sampler.walk(ExactDenoiser(ts.Heart(), schedule), start, Table(noise))
            answer = ask(
                "walk",
                p=export_distribution(ts.Heart()),
                schedule=export_schedule(schedule),
                sampler=describe(sampler, SAMPLERS, "sampler"),
                x=start.tolist(),
                noise=[z.tolist() for z in noise],
            )
            assert_agrees(answer, truth.flatten())


@pytest.mark.parametrize("grid", GRIDS)
def test_walks_on_every_grid_agree(grid):
    schedule, start = ts.VP(), normal(5)
    sampler = dataclasses.replace(ts.Heun(6), grid=grid())
    truth = sampler.walk(ExactDenoiser(ts.Checkerboard(), schedule), start, Table([]))
    described = describe(sampler, SAMPLERS, "sampler")
    p = export_distribution(ts.Checkerboard())
    answer = ask("walk", p=p, schedule=export_schedule(schedule), sampler=described, x=start.tolist(), noise=[])
    assert_agrees(answer, truth.flatten())


def test_sliced_w1_is_the_mean_distance_of_the_projections():
    x, y = normal(50).numpy(), 1.3 * normal(200, 1).numpy()
    directions = np.array([[1, 0], [0.5**0.5, 0.5**0.5], [0, 1]])
    truth = np.mean([wasserstein_distance(x @ d, y @ d) for d in directions])
    assert_agrees(ask("distance", x=x.tolist(), y=y.tolist()), truth)


def test_exact_points_are_at_the_noise_floor_and_shifted_ones_are_not():
    floor, exact, shifted = ask("floor", p=export_distribution(ts.Heart()))
    assert 0.5 < exact / floor < 2.0  # the seeds are fixed
    assert shifted / floor > 2.0


def test_what_the_page_has_not_is_refused_in_one_line():
    class Mine(ts.Heun):
        pass

    with pytest.raises(ValueError, match=r"^the page has no sampler Mine; it has RungeKutta4, .*$"):
        describe(Mine(), SAMPLERS, "sampler")
    exact = ExactDenoiser(ts.Heart(), ts.VP())
    guided = ts.denoisers.Guided(exact, exact, 2.0)
    with pytest.raises(ValueError, match="leave out the guidance"):
        export_network(guided)
