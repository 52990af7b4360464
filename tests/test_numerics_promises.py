"""Numbers against formulas written out: solvers, metrics, schedules and distributions."""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from toy_score.backbones import MLP
from toy_score.denoisers import ExactDenoiser, NetworkDenoiser
from toy_score.distributions import (
    Checkerboard,
    Circles,
    EightGaussians,
    FortyGaussians,
    FractalTree,
    GaussianGrid,
    Heart,
    Pinwheel,
    Points,
    Rings,
    SplitNormal,
)
from toy_score.metrics import CrossEntropyGap, GaussianisedTest
from toy_score.parameterisations import (
    DataPrediction,
    EDMPreconditioning,
    FlowPrediction,
    LogSigma,
    NoisePrediction,
    ScorePrediction,
    VelocityPrediction,
)
from toy_score.samplers import DDIM, DormandPrince, EulerMaruyama, LangevinCorrector, NoiseStream, Trailing
from toy_score.schedules import DDPM, EDM, VE, VP, Cosine, LinearFlow, SubVP

f64 = torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# Solvers


@pytest.mark.parametrize("schedule", [VE(), EDM(), VP(), SubVP(), Cosine(), LinearFlow()], ids=repr)
def test_a_step_of_euler_maruyama_takes_drift_and_diffusion_where_it_begins(schedule):
    """`x_s = x + (f x - g^2 score) (s - t) + g sqrt(t - s) z` with f and g at `t`, the noisier end."""
    p, x = ExactDenoiser(Heart(), schedule), torch.randn(20, 2, generator=generator())
    times = torch.tensor([0.6, 0.4], dtype=f64)
    t, s = (schedule.level(time) for time in times)
    t, s = (type(level)(*(v.item() for v in level)) for level in (t, s))
    f, g = schedule.drift(times[0]).item(), schedule.diffusion(times[0]).item()
    z = NoiseStream(5, 0, 20).normal()
    expected = x - 0.2 * (f * x - g**2 * p.score(x, t)) + g * math.sqrt(0.2) * z
    assert torch.allclose(EulerMaruyama().step(p, x, t, s, NoiseStream(5, 0, 20)), expected, rtol=1e-5, atol=1e-5)


def test_the_error_estimate_of_dormand_prince_is_the_sum_over_all_steps():
    p, sampler = ExactDenoiser(SplitNormal(), EDM(0.02, 80.0)), DormandPrince(5)
    x, error = sampler.with_error(p, 50, generator(2))
    levels, noise = sampler.levels(p.schedule), NoiseStream(0, 0, 50)
    path = sampler.trajectory(p, 50, generator(2))
    steps = [
        sampler.multistep(p, y, t, s, noise, None)[1].error
        for y, t, s in zip(path.x[:-2], levels[:-2], levels[1:-1], strict=True)
    ]
    assert len(steps) == 4
    assert torch.equal(path.x[-1], x)
    assert all((step > 0).all() for step in steps)
    assert torch.allclose(error, torch.stack(steps).sum(dim=0), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("schedule", [VE(), VP(), DDPM(), LinearFlow()], ids=repr)
def test_the_steps_of_the_langevin_corrector_are_those_of_algorithm_4(schedule):
    """`x + e score + sqrt(2 e) z` with `e = 2 (snr sigma)^2` on every schedule, without algorithm 5's `alpha_i`."""
    p, x, level = ExactDenoiser(Heart(), schedule), torch.randn(20, 2, generator=generator()), schedule.level_at(1.5)
    e = 2 * (0.2 * level.sigma) ** 2
    expected = x + e * p.score(x, level) + math.sqrt(2 * e) * NoiseStream(5, 0, 20).normal()
    assert torch.allclose(LangevinCorrector(0.2)(p, x, level, NoiseStream(5, 0, 20)), expected, atol=1e-5)


# Parameterisations


@pytest.mark.parametrize("schedule", [VP(), SubVP(), Cosine(), LinearFlow()], ids=repr)
def test_edm_preconditioning_gives_the_network_unit_variance_on_every_schedule(schedule):
    """`c_in = 1 / sqrt(alpha^2 sigma_data^2 + sigma^2)`, where alpha is not 1 as well."""
    alpha, sigma = schedule(torch.tensor([[0.1], [0.5], [0.9]], dtype=f64))
    expected = 1 / (alpha**2 * 0.7**2 + sigma**2).sqrt()
    assert torch.allclose(EDMPreconditioning(0.7).c_in(alpha, sigma), expected, rtol=1e-12)


@pytest.mark.parametrize("schedule", [VP(), SubVP(), Cosine(), LinearFlow()], ids=repr)
def test_an_edm_network_denoises_the_same_on_every_schedule(schedule):
    """`D(alpha y)` at the level `r = sigma / alpha` is that of EDM at `y` and `r`."""
    torch.manual_seed(0)
    net, y = MLP((16,)).double(), torch.randn(20, 2, dtype=f64)
    for r in (0.05, 0.5, 3.0):
        level, reference = schedule.level_at(r), EDM().level_at(r)
        here, there = (
            NetworkDenoiser(net, s, EDMPreconditioning(0.7), LogSigma()).denoise(level.alpha * y, level)
            for s, level in ((schedule, level), (EDM(), reference))
        )
        assert torch.allclose(here, there, rtol=1e-9)


# Metrics


@pytest.mark.parametrize(("arguments", "sigma"), [({}, 0.05), ({"sigma": 0.3}, 0.3)])
def test_the_cross_entropy_gap_is_taken_at_the_stated_noise_level(arguments, sigma):
    """`mean log p_s(x) - mean log p_s(reference)`, s = 0.05 by default."""
    p = SplitNormal()
    x, metric = p.sample(500, generator()) * 1.3, CrossEntropyGap(p, **arguments)
    metric.update(x)
    expected = p.log_prob(x.double(), sigma).mean() - p.log_prob(p.reference(), sigma).mean()
    assert metric.compute().item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_kolmogorov_statistic_is_taken_at_the_right_edges_of_its_bins():
    """`F_n(k / 8) - k / 8`, k = 1, ..., 8, by counting; 0 at the last edge."""
    p, n = Heart(), 200
    z = 0.7 * torch.randn(n, 2, generator=generator(), dtype=f64) + 0.1
    metric = GaussianisedTest(p, n_bins=8)
    metric.update(p.push(z))
    z = z.numpy()
    u = stats.norm.cdf(z[:, 0]), stats.norm.cdf(z[:, 1]), stats.chi2.cdf((z**2).sum(1), 2)
    angle = np.arctan2(z[:, 1], z[:, 0]) / (2 * np.pi) % 1
    edges = np.arange(1, 9) / 8
    expected = torch.tensor(np.array([(v[:, None] <= edges).mean(axis=0) - edges for v in (*u, angle)]))
    assert torch.allclose(metric.deviations(), expected, atol=1e-12)
    assert metric.compute().item() == pytest.approx(expected.abs().max().item(), abs=1e-12)


# Distributions


@pytest.mark.parametrize("cls", [EightGaussians, GaussianGrid, FortyGaussians])
def test_scale_divides_the_whole_distribution(cls):
    """`p_scaled(x) = s^2 p(s x)`, noise and score included."""
    whole, scaled, s = cls(scale=1.0), cls(scale=20.0), 20.0
    x = whole.sample(500, generator()).double()
    for sigma in (0.0, 0.5):
        log_p = whole.log_prob(x, sigma) + 2 * math.log(s)
        assert torch.allclose(scaled.log_prob(x / s, sigma / s), log_p, rtol=1e-5)
        assert torch.allclose(scaled.score(x / s, sigma / s), s * whole.score(x, sigma), rtol=1e-5, atol=1e-4)
    assert torch.allclose(scaled.sample(500, generator()).double(), x / s, atol=1e-5)


def test_the_far_tail_of_a_cut_gaussian_is_right_to_the_first_omitted_term():
    """How far inside the cut the posterior mean is, `tau (h(z) + z)` at `z = m / tau`, below z = -35: in 50 digits.

    The series `h(-u) - u = 1/u - 2/u^3 + 10/u^5 - 74/u^7` goes on with `706/u^9`.
    """
    p, sigma = SplitNormal().conditioned_on(1), 0.1
    x = torch.tensor([[1 + z * sigma * math.sqrt(1 + sigma**2), 0.3] for z in (-35.5, -36, -40, -60)], dtype=f64)
    found = p.denoise(x, sigma)[:, 0] - 1
    with mpmath.workdps(50):
        v = mpmath.mpf(sigma) ** 2
        tau = mpmath.sqrt(v / (1 + v))
        for row, value in zip(x[:, 0].tolist(), found.tolist(), strict=True):
            m = (mpmath.mpf(row) - 1) / (1 + v)
            z = m / tau
            inside = tau * (2 * mpmath.npdf(z) / mpmath.erfc(-z / mpmath.sqrt(2)) + z)
            rounding = 2.0**-52 * (1 + abs(float(m)))
            assert value == pytest.approx(float(inside), rel=float(706 / z**8), abs=rounding)


@pytest.mark.parametrize("dtype", [torch.float32, f64])
@pytest.mark.parametrize(("sigma", "size"), [(1e4, 1.0), (1e10, 1e-7), (1e15, 1e-10), (1e10, 0.0)])
def test_far_points_at_large_noise_are_denoised_to_the_exponentially_weighted_mean_of_the_heart(sigma, size, dtype):
    """For large sigma, at `x = sigma^2 u`, `E[x0 | x]` is the mean of `x0` under the weights `exp(u . x0)`.

    The two halves are cut Gaussians with `z = a' S u / s`, `s^2 = a' S a`: their means are `S u + h(z) S a / s`, their
    weights `exp(u' S u / 2) Phi(z)`.
    """
    u = size * np.array([[0.0, 0.0], [1.0, 0.5], [-0.3, 2.0], [0.0, -3.0], [4.0, -4.0]])
    weighted, total = 0.0, 0.0
    for sign in (1.0, -1.0):
        S, a = np.array([[1.25, sign], [sign, 1.25]]), np.array([sign, 0.0])
        s = math.sqrt(a @ S @ a)
        z = (u @ S @ a / s)[:, None]
        weight = np.exp(0.5 * ((u @ S) * u).sum(axis=1, keepdims=True)) * stats.norm.cdf(z)
        mean = u @ S + stats.norm.pdf(z) / stats.norm.cdf(z) * (S @ a) / s
        weighted, total = weighted + weight * mean, total + weight
    found = Heart().denoise(torch.tensor(sigma**2 * u).to(dtype), sigma)
    assert torch.allclose(found.double(), torch.tensor(weighted / total), rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, f64])
@pytest.mark.parametrize(
    "p", [Heart(), SplitNormal(), Heart().conditioned_on(0), SplitNormal().conditioned_on(1)], ids=repr
)
def test_nothing_is_nan_however_far_out(p, dtype):
    for sigma in (1e-3, 1.0, 1e5, 1e10, 1e15):
        x = 10.0 ** torch.linspace(0, 37, 38, dtype=dtype)[:, None] * torch.tensor([[0.6, -0.8]], dtype=dtype)
        for method in ("log_prob", "score", "denoise"):
            assert not getattr(p, method)(torch.cat([x, -x]), sigma).isnan().any()


HARD = [Heart(), SplitNormal(), Checkerboard(), Rings(), Circles(), GaussianGrid(), Pinwheel(), FractalTree(depth=3)]


@pytest.mark.parametrize("p", [*HARD, *(q.conditioned_on(0) for q in HARD), Points(torch.eye(2))], ids=repr)
@pytest.mark.parametrize("sigma", [0.02, 1.0, 30.0])
def test_bfloat16_points_get_the_exact_result_rounded_once(p, sigma):
    x = (p.sample(200, generator()) + sigma * torch.randn(200, 2, generator=generator(1))).bfloat16()
    for method in ("log_prob", "score", "denoise"):
        found, exact = getattr(p, method)(x, sigma), getattr(p, method)(x.double(), sigma)
        assert found.dtype == torch.bfloat16
        assert torch.allclose(found.double(), exact, rtol=2.0**-8, atol=1e-37)


def test_the_tree_is_the_stated_affine_image_of_the_tree_in_the_paper():
    """Its first limb, from the paper's numbers: start (0.0030, 0.0325), stretch (1.3136, 1.3844), seed 2."""
    length = 0.292 * (1 + 0.2 * np.random.RandomState(2).randn())
    along = np.linspace(0.07, 0.93, 8)[:, None] * length * math.sqrt(0.5)
    paper = torch.tensor((np.array([0.0030, 0.0325]) + along) * np.array([1.3136, 1.3844]))
    moved = paper * torch.tensor([1.00029, 1.00020]) + torch.tensor([0.00014, -0.00057])
    tree = FractalTree()
    assert torch.allclose(tree._mu[:8], moved, rtol=0.0, atol=2e-5)
    assert (tree._mu[:8] - paper).abs().max() > 4e-4


# Schedules

STEEP = [DDPM(1e-4, 0.25), DDPM(1e-4, 0.5), DDPM(0.5, 0.999, 100), VP(0.1, 200.0), VP(0.1, 2e5), SubVP(0.1, 2e5)]
PREDICTIONS = [
    DataPrediction(),
    EDMPreconditioning(),
    FlowPrediction(),
    NoisePrediction(),
    ScorePrediction(),
    VelocityPrediction(),
]


@pytest.mark.parametrize("schedule", STEEP, ids=repr)
def test_a_steep_schedule_ends_before_the_signal_is_lost(schedule):
    """At `sigma / alpha <= 1e6`; the last step of DDPM's ladder that is left stands where it stood."""
    assert 1e5 < schedule.ratios[1] <= 1e6 * (1 + 1e-9)
    assert schedule.ladder[0].item() == schedule.t_max < 1
    assert schedule.ladder[-1].item() == pytest.approx(schedule.t_min)
    if isinstance(schedule, DDPM):
        last = round(schedule.t_max * schedule.n_steps)
        alpha = (1 - schedule.betas[:last]).sqrt().prod().item()
        assert schedule.alpha(schedule.ladder[:1]).item() == pytest.approx(alpha, rel=1e-9)
        beyond = alpha * math.sqrt(1 - schedule.betas[last])
        assert math.sqrt(1 - beyond**2) / beyond > 1e6


@pytest.mark.parametrize("schedule", [DDPM(), DDPM(1e-3, 0.3, 50), VP(), SubVP()], ids=repr)
def test_a_usual_schedule_ends_at_time_1(schedule):
    assert schedule.t_max == 1.0
    assert len(schedule.ladder) == schedule.n_steps


@pytest.mark.parametrize("schedule", STEEP, ids=repr)
@pytest.mark.parametrize("p", [Heart(), SplitNormal(), Checkerboard(), Rings(), EightGaussians()], ids=repr)
def test_the_exact_denoiser_is_finite_at_the_top_of_a_steep_schedule(p, schedule):
    """Float32; there the denoised point is the mean of the data."""
    truth, x = ExactDenoiser(p, schedule), torch.randn(50, 2, generator=generator())
    for method in ("denoise", "noise", "score", "velocity"):
        assert getattr(truth, method)(x, schedule.t_max).isfinite().all()
    assert (truth.denoise(x, schedule.t_max) - p.reference().mean(dim=0)).abs().max() < 2e-3
    samples = DDIM(20, 1.0)(truth, 200, generator())
    assert samples.isfinite().all()
    assert samples.abs().max() < 3 * p.bounds


@pytest.mark.parametrize("schedule", STEEP, ids=repr)
@pytest.mark.parametrize("parameterisation", PREDICTIONS, ids=repr)
def test_a_network_is_finite_at_the_top_of_a_steep_schedule(parameterisation, schedule):
    torch.manual_seed(0)
    net = NetworkDenoiser(MLP((8,)), schedule, parameterisation, LogSigma())
    x = torch.randn(50, 2, generator=generator())
    for method in ("denoise", "noise", "score", "velocity"):
        assert getattr(net, method)(x, schedule.t_max).isfinite().all()


@pytest.mark.parametrize("sigma_min", [1e-2, 1e-5, 1e-8, 1e-12])
def test_the_inverse_of_the_cosine_schedule_does_not_cancel_near_the_data(sigma_min):
    """Relative error of the noise level at the time found for it."""
    schedule = Cosine(sigma_min=sigma_min)
    assert schedule.ratios[0] == pytest.approx(sigma_min, rel=1e-12)
    ratio = torch.logspace(math.log10(sigma_min), 2, 200, dtype=f64)
    assert torch.allclose(schedule.ratio(schedule.time_of(ratio)), ratio, rtol=1e-11)


@pytest.mark.parametrize("schedule", [DDPM(), VP(), Cosine(), LinearFlow(), EDM()], ids=repr)
@pytest.mark.parametrize("n", [1, 4, 10])
def test_trailing_steps_are_equally_long_down_to_the_data(schedule, n):
    """`t_max (n - k) / n`: for DDPM's 1000 steps and n = 10 it is 1000, 900, ..., 100 (Lin et al. 2024, table 2)."""
    expected = [schedule.t_max * (n - k) / n for k in range(n)]
    assert Trailing()(schedule, n).tolist() == pytest.approx(expected, rel=1e-12)
