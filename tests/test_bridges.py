"""Bridges: closed forms against quadrature, the equations that define them, and sampling from a source."""

import itertools
import math

import pytest
import torch
from continuity import continuity
from scipy import stats

from toy_score import (
    AdamsBashforth,
    AdaptiveDormandPrince,
    AnisotropicGaussians,
    BridgeSDE,
    Checkerboard,
    DormandPrince,
    DPMSolver2M,
    EightGaussians,
    Euler,
    EulerMaruyama,
    ExactBridge,
    ExactDenoiser,
    ExponentialAdams,
    GaussianBridge,
    GaussianMixture,
    Guided,
    Heart,
    Heun,
    LinearFlow,
    LinearObservation,
    Moons,
    NetworkBridge,
    NetworkSchrodingerBridge,
    Posterior,
    PredictorCorrector,
    ProbabilityFlow,
    Rescheduled,
    Rewarded,
    RungeKutta4,
    ScaledScore,
    Tilt,
    Trailing,
    Uniform,
)
from toy_score.backbones import MLP
from toy_score.bridges import STANDARD_NORMAL
from toy_score.metrics import bridges as measured
from toy_score.metrics.bridges import bridge_table
from toy_score.parameterisations import FlowPrediction, Time
from toy_score.requests import SampleRequest
from toy_score.samplers import NoiseStream

f64 = torch.float64
LINE = LinearFlow(1e-3, 1e3)
WHOLE_LINE = LinearFlow(1e-3, 1e12)  # to the source itself
ROUND = GaussianMixture([[-1.0, 0.5], [1.0, 0.0]], stds=[0.4, 0.7], weights=[1.0, 3.0])
LONG = GaussianMixture([[0.5, 0.0], [-1.0, 1.0]], covariances=[[[1.0, 0.3], [0.3, 0.5]], [[0.3, -0.1], [-0.1, 0.4]]])
ONE = GaussianMixture([[1.0, 2.0]], covariances=[[[1.0, 0.3], [0.3, 0.5]]])
OTHER = GaussianMixture([[-1.0, 0.0]], covariances=[[[0.4, -0.1], [-0.1, 0.9]]])
PAIRS = [(LONG, ROUND), (ROUND, LONG), (Heart(), ROUND), (ROUND, Checkerboard()), (EightGaussians(), Moons(std=0.5))]
pairs_of_ends = pytest.mark.parametrize(("p", "q"), PAIRS, ids=lambda d: d.name)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def points(n=8, seed=0):
    return torch.randn(n, 2, generator=generator(seed), dtype=f64)


# The exact flow of independent pairs


def by_quadrature(p, q, x, t, n=400, half=7.0):
    """`E[x_1 - x_0 | x_t = x]` as a sum over a grid of data points."""
    side = torch.linspace(-half, half, n, dtype=f64)
    x0 = torch.cartesian_prod(side, side)
    x1 = (x - (1 - t) * x0) / t
    weights = (p.log_prob(x0) + q.log_prob(x1)).softmax(dim=0)
    return (weights[:, None] * (x1 - x0)).sum(dim=0)


@pytest.mark.parametrize(("p", "q"), [(LONG, ROUND), (ROUND, LONG), (LONG, Moons(std=0.5))], ids=lambda d: d.name)
@pytest.mark.parametrize("t", [0.3, 0.7])
def test_the_exact_velocity_is_the_mean_over_all_pairs_through_a_point(p, q, t):
    bridge, x = ExactBridge(p, q, LINE), points(4)
    brute = torch.stack([by_quadrature(p, q, row, t) for row in x])
    assert torch.allclose(bridge.slope(x, t), brute, atol=1e-6)
    assert torch.allclose((1 - t) * bridge.denoise(x, t) + t * bridge.noise(x, t), x, atol=1e-12)


@pairs_of_ends
@pytest.mark.parametrize("t", [0.1, 0.6])
def test_the_exact_velocity_carries_the_density_from_end_to_end(p, q, t):
    bridge, x = ExactBridge(p, q, LINE), points()
    assert continuity(bridge.log_prob, bridge.slope, bridge.score, x, t) < 1e-5
    wrong = continuity(bridge.log_prob, lambda z, s: 1.1 * bridge.slope(z, s), bridge.score, x, t)
    assert wrong > 1e-3  # planted


@pairs_of_ends
def test_the_score_of_the_path_is_the_gradient_of_its_density(p, q):
    bridge, x = ExactBridge(p, q, LINE), points().requires_grad_()
    (gradient,) = torch.autograd.grad(bridge.log_prob(x, 0.4).sum(), x)
    assert torch.allclose(bridge.score(x.detach(), 0.4), gradient, atol=1e-8)


@pytest.mark.parametrize("p", [Heart(), Checkerboard(), LONG], ids=lambda d: d.name)
def test_from_a_normal_source_it_is_the_exact_denoiser(p):
    bridge, exact = ExactBridge(p, STANDARD_NORMAL, LINE), ExactDenoiser(p, LINE)
    x = 2.0 * points(64)
    for t in (0.01, 0.5, 0.99):
        assert torch.allclose(bridge.denoise(x, t), exact.denoise(x, t), atol=1e-9)
        assert torch.allclose(bridge.noise(x, t), exact.noise(x, t), atol=1e-9)
        assert torch.allclose(bridge.score(x, t), exact.score(x, t), atol=1e-9)


def test_the_source_of_ordinary_flow_matching_is_the_standard_normal():
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=f64)
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(dim=1)
    assert torch.allclose(STANDARD_NORMAL.log_prob(x), log_p, atol=1e-12)


def test_float32_loses_nothing_at_either_end():
    bridge = ExactBridge(EightGaussians(), Moons(), LINE)
    for t in (LINE.t_min, 0.5, LINE.t_max):
        x = (1 - t) * EightGaussians().sample(256, generator()) + t * Moons().sample(256, generator(1))
        level = LINE.level(torch.tensor([[t]], dtype=f64))
        double = bridge.slope(x.double(), t)
        single = bridge.slope(x, t)
        assert level.alpha > 0
        assert torch.allclose(single.double(), double, atol=2e-4 * double.abs().max().item())


def test_samples_on_the_way_have_the_density_of_the_way():
    """Of two normal laws, `2 (log p(mean) - log p(x))` is chi-squared of two degrees; a false alarm in a million."""
    near = GaussianMixture([[-1.0, 0.0]], stds=0.8)
    bridge = ExactBridge(ONE, near, LINE)
    for t in (0.2, 0.7):
        x = bridge.sample(t, 2000, generator())
        assert x.dtype == torch.float32
        log_p = bridge.log_prob(torch.cat([(1 - t) * ONE._mu + t * near._mu, x.double()]), t)
        assert stats.kstest((2 * (log_p[0] - log_p[1:])).numpy(), "chi2", args=(2,)).pvalue > 1e-6


def test_the_way_between_two_mixtures_is_the_mixture_of_the_ways_between_their_parts():
    p, q, t = EightGaussians(), GaussianMixture([[0.0, 1.0], [2.0, -1.0]], stds=[0.3, 0.5], weights=[3.0, 1.0]), 0.4
    pairs = [(k, m) for k in range(8) for m in range(2)]
    means = [((1 - t) * p._mu[k] + t * q._mu[m]).tolist() for k, m in pairs]
    stds = [((1 - t) ** 2 * p._S[k, 0, 0] + t**2 * q._S[m, 0, 0]).sqrt().item() for k, m in pairs]
    way = GaussianMixture(means, stds=stds, weights=[q._w[m].item() for _, m in pairs])
    for bridge in (ExactBridge(p, q, LINE), ExactBridge(q, p, LINE)):
        at = t if bridge.distribution is p else 1 - t
        assert torch.allclose(bridge.log_prob(points(), at), way.log_prob(points()), atol=1e-9)
        assert torch.allclose(bridge.score(points(), at), way.score(points(), 0.0), atol=1e-9)


def test_the_flow_between_distributions_without_a_round_end_is_refused():
    assert not ExactBridge.is_known(Heart(), AnisotropicGaussians())
    with pytest.raises(ValueError, match="is not known: neither is a mixture of round Gaussians"):
        ExactBridge(Heart(), AnisotropicGaussians(), LINE)


# The bridge between Gaussians


@pytest.mark.parametrize("sigma", [0.4, 1.5])
def test_the_coupling_is_that_of_a_schroedinger_bridge(sigma):
    """Its density is `f(x_0) g(x_1) exp(-|x_0 - x_1|^2 / (2 sigma^2))`, so its precision is `-I / sigma^2` off the
    diagonal."""
    bridge = GaussianBridge(ONE, OTHER, sigma, WHOLE_LINE)
    C = bridge.coupling_covariance
    joint = torch.cat([torch.cat([bridge.covariance(0.0)[0], C], 1), torch.cat([C.T, bridge.covariance(1.0)[0]], 1)])
    precision = torch.linalg.inv(joint)
    assert torch.allclose(precision[:2, 2:], -torch.eye(2, dtype=f64) / sigma**2, atol=1e-9)


def test_without_noise_it_is_the_optimal_map_between_gaussians():
    """The map of the flow is linear, symmetric and positive: the gradient of a convex function (Brenier 1991)."""
    bridge = GaussianBridge(ONE, OTHER, 0.0, WHOLE_LINE)
    m0, S0 = (bridge.mean(0.0)[0], bridge.covariance(0.0)[0])
    A = bridge.coupling_covariance.T @ torch.linalg.inv(S0)
    assert torch.allclose(A, A.T, atol=1e-10)
    assert (torch.linalg.eigvalsh(A) > 0).all()
    assert torch.allclose(A @ S0 @ A.T, bridge.covariance(1.0)[0], atol=1e-10)
    x0 = m0 + points()
    x1 = bridge.mean(1.0) + (x0 - m0) @ A.T
    for t in (0.2, 0.9):  # straight lines at constant speed
        assert torch.allclose(bridge.slope((1 - t) * x0 + t * x1, t), x1 - x0, atol=1e-9)
    with pytest.raises(ValueError, match="has no score"):
        bridge.score(x0, 0.5)


@pytest.mark.parametrize("sigma", [0.0, 0.4, 1.5])
def test_the_flow_of_the_gaussian_bridge_carries_its_marginals(sigma):
    bridge = GaussianBridge(ONE, OTHER, sigma, LINE)

    def log_prob(x, t):
        return torch.distributions.MultivariateNormal(bridge.mean(t)[0], bridge.covariance(t)[0]).log_prob(x)

    def score(x, t):
        return -(x - bridge.mean(t)) @ torch.linalg.inv(bridge.covariance(t)[0])

    assert continuity(log_prob, bridge.slope, score, points(), 0.3) < 1e-5
    if sigma:
        assert torch.allclose(bridge.score(points(), 0.3), score(points(), 0.3), atol=1e-9)


def test_the_mean_data_point_of_the_gaussian_bridge_is_the_conditional_mean():
    """`E[x_0 | x_t]` by the joint law of `x_0` and `x_t`."""
    bridge, t, x = GaussianBridge(ONE, OTHER, 0.8, LINE), 0.35, points()
    S0, C = bridge.covariance(0.0)[0], bridge.coupling_covariance
    gain = ((1 - t) * S0 + t * C) @ torch.linalg.inv(bridge.covariance(t)[0])
    assert torch.allclose(bridge.mean_data(x, t), bridge.mean(0.0) + (x - bridge.mean(t)) @ gain.T, atol=1e-9)


def test_wrong_ends_are_refused():
    with pytest.raises(ValueError, match="distribution must be one Gaussian, got 2 components"):
        GaussianBridge(LONG, ONE)
    with pytest.raises(ValueError, match="sigma must be at least 0, got -1"):
        GaussianBridge(ONE, OTHER, -1.0)


# What is refused


def test_what_needs_gaussian_noise_is_not_built_around_a_bridge():
    bridge = ExactBridge(EightGaussians(), Moons())
    observation = LinearObservation([[1.0, 0.0]], [1.0], 0.3)
    for name, build in {
        "Posterior": lambda: Posterior(bridge, observation),
        "Rewarded": lambda: Rewarded(bridge, lambda x: x[:, 0]),
        "Tilt": lambda: Tilt([ExactDenoiser(Heart(), LINE), bridge], [2.0, -1.0]),
        "ScaledScore": lambda: ScaledScore(bridge, 2.0),
    }.items():
        with pytest.raises(ValueError, match=f"{name} needs a denoiser of Gaussian noise; ExactBridge is a bridge"):
            build()


# Sampling

SOLVERS = [
    Euler(2000, Trailing()),
    Heun(60, Uniform()),
    RungeKutta4(20, Uniform()),
    DormandPrince(10, Uniform()),
    AdaptiveDormandPrince(1e-6),
    AdamsBashforth(400),
    DPMSolver2M(400),
    ExponentialAdams(400),
]


@pytest.mark.parametrize("sigma", [0.0, 0.8])
@pytest.mark.parametrize("sampler", SOLVERS, ids=lambda s: type(s).__name__)
def test_every_solver_of_the_flow_goes_from_a_source_to_the_data(sampler, sigma):
    """The flow between Gaussians is affine: three points say what mean and covariance it leads to."""
    bridge = GaussianBridge(ONE, OTHER, sigma, LINE)
    root = torch.linalg.cholesky(bridge.covariance(1.0)[0])
    start = bridge.mean(1.0) + torch.cat([torch.zeros(1, 2, dtype=f64), root.T])
    x = sampler.walk(bridge, LINE.prior_sigma * start, NoiseStream(0, 0, 3))
    A = x[1:] - x[0]
    assert torch.allclose(x[:1], bridge.mean(0.0), atol=5e-3)
    assert torch.allclose(A.T @ A, bridge.covariance(0.0)[0], atol=1e-2)


class Probe(NoiseStream):
    """Row 0 gets no noise, rows `2 k + 3` and `2 k + 4` a unit noise along an axis in draw k."""

    def __init__(self, draws):
        self.draws, self.draw = draws, 0

    def normal(self):
        z = torch.zeros(2 * self.draws + 3, 2, dtype=f64)
        z[2 * self.draw + 3 : 2 * self.draw + 5] = torch.eye(2, dtype=f64)
        self.draw += 1
        return z


def law_of(sampler, bridge):
    """Mean and covariance of the samples, exactly: the walk is affine in its start and its noise."""
    n = sampler.n_steps
    root = torch.linalg.cholesky(bridge.covariance(1.0)[0])
    start = bridge.mean(1.0).repeat(2 * (n - 1) + 3, 1)
    start[1:3] += root.T
    x = sampler.walk(bridge, start, Probe(n - 1))
    A = x[1:] - x[0]
    return x[0], A.T @ A


class HalfTheNoise(BridgeSDE):
    """Planted: the noise of a step has half of its variance."""

    def step(self, denoiser, x, t, s, noise):
        mean, before = x + (1 - s.sigma / t.sigma) * (denoiser.mean_data(x, t) - x), super().step
        return mean + 0.5**0.5 * (before(denoiser, x, t, s, noise) - mean)


def test_the_stochastic_sampler_has_the_law_of_the_data_to_first_order_and_a_planted_error_is_found():
    bridge = GaussianBridge(ONE, OTHER, 0.8, WHOLE_LINE)
    errors = []
    for n in (50, 100, 200):
        mean, S = law_of(BridgeSDE(n), bridge)
        assert torch.allclose(mean, bridge.mean(0.0)[0], atol=0.01)
        errors.append((S - bridge.covariance(0.0)[0]).norm().item())
    assert errors[2] < 0.025
    for coarse, fine in itertools.pairwise(errors):
        assert 1.7 < coarse / fine < 2.3
    _, S = law_of(HalfTheNoise(200), bridge)
    assert (S - bridge.covariance(0.0)[0]).norm() > 0.05


def network(kind=NetworkBridge, **arguments):
    torch.manual_seed(0)
    return kind(MLP((16,)), LINE, FlowPrediction(), Time(), source=Moons(), **arguments)


def test_rows_depend_on_the_seed_and_the_row_only_also_their_source_points():
    bridge, sampler = network(), Euler(3, Trailing())
    whole = sampler(bridge, 5000, generator())
    assert torch.equal(whole[:100], sampler(bridge, 100, generator()))
    assert torch.allclose(whole[4000:4500], sampler(bridge, 500, generator(), first=4000), atol=1e-6)
    assert not torch.equal(whole[:100], sampler(bridge, 100, generator(1)))
    path = sampler.trajectory(bridge, 2000, generator())
    assert torch.equal(path.x[-1], sampler(bridge, 2000, generator()))
    start = path.x[0] / LINE.prior_sigma
    assert Moons().log_prob(start, 0.0).mean() > -Moons().entropy() - 0.2  # the start is of the source


def test_samplers_that_remove_gaussian_noise_are_refused():
    for sampler in (EulerMaruyama(10), PredictorCorrector(Heun(5))):
        with pytest.raises(
            ValueError, match="removes Gaussian noise, but samples of NetworkBridge begin at points of a"
        ):
            sampler(network(), 10, generator())
    with pytest.raises(ValueError, match="BridgeSDE needs a Schroedinger bridge, NetworkBridge is none"):
        BridgeSDE(3)(network(), 10, generator())
    with pytest.raises(ValueError, match="NetworkBridge has no score"):
        network().score(torch.zeros(1, 2), 0.5)
    assert BridgeSDE(3)(network(NetworkSchrodingerBridge, sigma=0.5), 10, generator()).isfinite().all()


def test_guidance_keeps_the_source_and_refuses_two_of_them():
    bridge = network()
    guided = Guided(bridge, Rescheduled(bridge, LinearFlow(1e-4, 1e4)), 1.5)
    assert guided.source == Moons()
    sampler = Heun(4)
    assert torch.allclose(sampler(guided, 50, generator()), sampler(bridge, 50, generator()), atol=1e-2)
    with pytest.raises(ValueError, match="Guided has no score"):
        guided.score(torch.zeros(1, 2), 0.5)
    with pytest.raises(ValueError, match="the weak at None; give both one"):
        Guided(bridge, ExactDenoiser(Heart(), LINE), 2.0)


# Networks


@pytest.mark.parametrize("t", [0.05, 0.5, 0.95])
def test_the_answers_of_a_schroedinger_network_agree_with_its_two_parts(t):
    net, x = network(NetworkSchrodingerBridge, sigma=0.7).double(), points()
    v, pull = net.parts(x, t)
    u = v - 0.5 * (1 - 2 * t) * pull
    assert torch.allclose(net.slope(x, t), u, atol=1e-12)
    assert torch.allclose(net.noise(x, t) - net.denoise(x, t), u, atol=1e-12)
    assert torch.allclose((1 - t) * net.denoise(x, t) + t * net.noise(x, t), x, atol=1e-12)
    assert torch.allclose(net.score(x, t), pull / 0.49, atol=1e-12)
    assert torch.allclose((x - net.mean_data(x, t)) / t, v - (1 - t) * pull, atol=1e-10)
    angle = math.atan(t / (1 - t))
    level = net.level_at_angle(angle)
    velocity = net.velocity(level.radius * x, level)
    assert torch.allclose(net.flows([angle])[0](x), velocity, atol=1e-9)
    plain = (
        level.alpha * net.noise(level.radius * x, level) - level.sigma * net.denoise(level.radius * x, level)
    ) / level.radius
    assert torch.allclose(velocity, plain, atol=1e-9)


def test_a_class_keeps_source_sigma_and_networks():
    torch.manual_seed(0)
    net = NetworkSchrodingerBridge(MLP((8,), n_labels=2), LINE, FlowPrediction(), Time(), source=Moons(), sigma=0.3)
    of_class = net.conditioned_on(1)
    assert (of_class.sigma, of_class.source) == (0.3, Moons())
    assert of_class.score_backbone is net.score_backbone
    assert network().conditioned_on is not None


def test_the_density_of_the_flow_is_that_of_the_bridge_at_the_data():
    """Carried from the source by the exact flow."""
    bridge = GaussianBridge(ONE, OTHER, 0.8, LINE)
    x = ONE.sample(16, generator()).double()
    assert torch.allclose(ProbabilityFlow(bridge, 1e-6).log_prob(x), ONE.log_prob(x), atol=0.02)


def test_one_end_that_is_a_mixture_of_round_gaussians_suffices_for_the_exact_flow():
    for data, source in ((Heart(), STANDARD_NORMAL), (STANDARD_NORMAL, Heart())):
        assert ExactBridge.is_known(data, source)
        assert ExactBridge(data, source).slope(points(), 0.5).isfinite().all()


class Speeding:
    """A flow whose velocity is `2 t v`, whatever the point, from the standard normal."""

    source, schedule, velocity = STANDARD_NORMAL, LinearFlow(), torch.tensor([3.0, -2.0], dtype=f64)

    def slope(self, x, t):
        return (2.0 * t * self.velocity).expand_as(x)


class Slower:
    """A bridge whose velocity is that of another, a tenth less."""

    def __init__(self, bridge):
        self.bridge, self.schedule = bridge, bridge.schedule

    def slope(self, x, t):
        return 0.9 * self.bridge.slope(x, t)


def test_the_energy_of_paths_is_a_mean_over_the_points_of_all_requests(monkeypatch):
    """`int (2 t)^2 |v|^2 dt` and the way, `int 2 t v dt`, by the sums of Euler's hundred steps."""
    monkeypatch.setattr(measured, "squared_w2", lambda *ends: 10.0)
    metric = measured.Bridges(Heart(), None, torch.device("cpu"))
    for first in (0, 30):
        metric.update(Speeding(), SampleRequest(first, 30, 0))
    found = metric.summary()
    slopes = 2 * torch.tensor([min(k / 100, LinearFlow().t_max) for k in range(1, 101)], dtype=f64)
    energy, way = 13 * slopes.square().mean().item(), slopes.mean().item()
    assert found["path_energy"] == pytest.approx(energy, rel=1e-7)
    assert found["normalised_path_energy"] == pytest.approx((energy - 10) / 10, rel=1e-7)
    assert found["straightness"] == pytest.approx(1 - 13 * way**2 / energy, rel=1e-6)


def test_the_error_of_the_velocity_is_drawn_on_new_axes_or_on_given_ones():
    metric = measured.VelocityError()
    bridge = ExactBridge(ONE, STANDARD_NORMAL, LINE)
    metric.update(Slower(bridge), bridge, 50, generator())
    assert torch.allclose(metric.compute(), torch.full((len(metric.times),), 0.01, dtype=f64))
    figure, axes = metric.plot()
    (line,) = axes.lines
    assert line.get_xdata().tolist() == list(metric.times)
    assert line.get_ydata() == pytest.approx(0.01)
    again, axes = metric.plot([metric.compute()] * 2, axes)
    assert again is figure
    assert len(axes.lines) == 3


def test_the_report_of_a_bridge_has_every_figure_in_its_place():
    summary = {"times": (0.05, 0.5), "velocity_error": [1e-3, 2e-4], "path_energy": 17.5, "squared_w2": 10.0}
    summary |= {"normalised_path_energy": 0.75, "straightness": 0.251}
    lines = bridge_table(summary)
    assert lines[1].split() == ["time", "0.05", "0.5"]
    assert lines[2].split() == ["velocity", "error", "1.0e-03", "2.0e-04"]
    assert lines[3] == ""
    assert lines[5].split() == ["path", "energy", "17.5000", "W2^2", "10.0000"]
    assert [line.split()[-1] for line in lines[6:]] == ["0.7500", "0.2510"]
    assert bridge_table(summary | {"velocity_error": None}) == lines[4:]


def test_of_all_requests_the_first_paths_are_followed_and_no_more(monkeypatch):
    monkeypatch.setattr(measured, "POINTS", 30)
    followed = []
    monkeypatch.setattr(measured, "follow", lambda bridge, x: (followed.append(len(x)), (x, x[:, 0]))[1])
    metric = measured.Bridges(Heart(), None, torch.device("cpu"))
    for _ in range(2):
        for first in (0, 20, 40):
            metric.update(Speeding(), SampleRequest(first, 20, 0))
        metric.reset()
    assert followed == [20, 10] * 2
