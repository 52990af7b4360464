"""Samplers: first what can be known exactly, then what must be counted.

On Gaussian data every sampler is an affine map of its noises. Fed with unit noises one at a time, it reveals that map,
and with it the exact law of its samples: no statistics, no flakes.
"""

import functools
import itertools
import math

import pytest
import torch
from scipy import stats
from unit_noise import UnitNoise

from toy_score.denoisers import Denoiser, ExactDenoiser
from toy_score.distributions import Heart, SplitNormal
from toy_score.samplers import (
    DDIM,
    SRA1,
    AdamsBashforth,
    AdaptiveDormandPrince,
    Angular,
    AnnealedLangevin,
    ConsistentAnnealedSampling,
    DDPMAncestral,
    DormandPrince,
    DPMSolver2M,
    EDMStochastic,
    Euler,
    EulerMaruyama,
    ExponentialAdams,
    Geometric,
    Heun,
    Karras,
    Langevin,
    LangevinCorrector,
    NoiseStream,
    NoPredictor,
    PredictorCorrector,
    Restart,
    ReverseDiffusion,
    RungeKutta4,
    SDEDPMSolver2M,
    StochasticMidpoint,
    Trailing,
    Uniform,
)
from toy_score.schedules import DDPM, EDM, VE, VP, Cosine, Level, LinearFlow, SubVP

f64 = torch.float64
ALPHA = 1e-6
QUICK = [
    AnnealedLangevin(steps_per_level=3),
    AnnealedLangevin(2, n_levels=5, uniform_start=1.5),
    Langevin(n_steps=20),
    DDPMAncestral("posterior", n_steps=10),
    DDPMAncestral("forward", n_steps=10),
    DDIM(6),
    DDIM(6, eta=0.5, grid=Trailing()),
    Euler(6),
    Heun(n_steps=6),
    RungeKutta4(4),
    DormandPrince(4),
    AdamsBashforth(7, order=3),
    DPMSolver2M(7),
    ExponentialAdams(7),
    EDMStochastic(6),
    EulerMaruyama(8),
    ReverseDiffusion(8),
    StochasticMidpoint(6),
    SRA1(6),
    SDEDPMSolver2M(8),
    Restart(7, repeats=2),
    ConsistentAnnealedSampling(8),
    ConsistentAnnealedSampling(8, 3.0, 1.2, Angular()),
    PredictorCorrector(ReverseDiffusion(5), LangevinCorrector(n_steps=2)),
    PredictorCorrector(Heun(5)),
    PredictorCorrector(NoPredictor(5), LangevinCorrector(n_steps=2)),
]
ADAPTIVE = AdaptiveDormandPrince(1e-2)
SCHEDULES = [VE(0.01, 5.0), DDPM(n_steps=50, beta_max=0.3), LinearFlow()]
quick = pytest.mark.parametrize("sampler", QUICK, ids=repr)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class GaussianDenoiser(Denoiser):
    """The truth for data N(m, s^2 I), in float64."""

    def __init__(self, mean, std, schedule):
        self.mean, self.std, self.schedule = mean, std, schedule
        self.evaluations = 0

    def at(self, t):
        level = t if isinstance(t, Level) else self.schedule.level(torch.tensor(t, dtype=f64))
        return float(level.alpha), float(level.sigma)

    def denoise(self, x, t):
        self.evaluations += 1
        alpha, sigma = self.at(t)
        if sigma == 0:
            return x / alpha
        gain = alpha * self.std**2 / (alpha**2 * self.std**2 + sigma**2)
        return self.mean + gain * (x - alpha * self.mean)

    def noise(self, x, t):
        alpha, sigma = self.at(t)
        return (x - alpha * self.denoise(x, t)) / sigma

    def velocity(self, x, t):
        alpha, sigma = self.at(t)
        D = self.denoise(x, t)
        return (alpha * (x - alpha * D) / sigma - sigma * D) / math.hypot(alpha, sigma)


def run(sampler, denoiser, noise, observe=None):
    """The walk from the sampler's own start."""
    return sampler.walk(denoiser, sampler.start(denoiser.schedule, noise), noise, observe=observe)


def law(sampler, denoiser):
    """Exact mean and standard deviation of the sampler's first coordinate on Gaussian data."""
    x = run(sampler, denoiser, UnitNoise(2 * len(sampler.times(denoiser.schedule)) + 2))[:, 0]
    return x[0].item(), (x[1:] - x[0]).square().sum().sqrt().item()


# What can be known exactly


def end_of_flow(sampler, denoiser, y, final=False):
    """Where the sampler takes `y`, given at the highest level: at the lowest level, or in the data."""
    levels, seen = sampler.levels(denoiser.schedule), {}
    start, noise = levels[0].alpha * y, NoiseStream(0, 0, len(y))
    sampler.walk(denoiser, start, noise, observe=lambda i, x, memory: seen.update({i: x}))
    return seen[len(levels) - 1] if final else seen[len(levels) - 2] / levels[-2].alpha


def short(value):
    return getattr(value, "__name__", None)


ORDERS = [
    (Euler, {}, 1, 0.1),
    (DDIM, {}, 1, 0.1),
    (Heun, {}, 2, 0.15),
    (DPMSolver2M, {}, 2, 0.15),
    (AdamsBashforth, {}, 2, 0.15),
    (ExponentialAdams, {"order": 2}, 2, 0.15),
    (RungeKutta4, {}, 4, 0.3),
]


@pytest.mark.parametrize(
    ("kind", "arguments", "order", "tolerance"), ORDERS, ids=lambda v: getattr(v, "__name__", None)
)
@pytest.mark.parametrize("schedule", [VE(0.01, 20.0), DDPM(), LinearFlow(0.01, 20.0)], ids=repr)
def test_flow_solvers_converge_with_their_order_also_in_the_last_step(kind, arguments, order, tolerance, schedule):
    """Against the closed-form flow of Gaussian data: down to the last level, and, from there, into the data.

    `y(r) = y(r_max) sqrt((s^2 + r^2) / (s^2 + r_max^2))`; the last step's own error, of order `r_min^4`, is below.
    """
    s, low, high = 0.7, *schedule.ratios
    truth, y = GaussianDenoiser(0.0, s, schedule), torch.tensor([[high, -0.6 * high]], dtype=f64)
    errors = {False: [], True: []}
    for n in (64, 128) if order == 4 else (200, 400):
        for final, r in ((False, low), (True, 0.0)):
            exact = y * math.sqrt((s**2 + r**2) / (s**2 + high**2))
            errors[final].append((end_of_flow(kind(n, **arguments), truth, y, final) - exact).norm().item())
    assert abs(math.log2(errors[False][0] / errors[False][1]) - order) < tolerance
    if order > 1:  # others end in the denoised point
        assert all(last < before + 2 * low**4 for before, last in zip(*errors.values(), strict=True))


@functools.cache
def fine_flow(p):
    """A denoiser, 32 rows of its prior, and where the flow takes them."""
    truth, y = ExactDenoiser(p, VE(0.05, 20.0)), 20.0 * torch.randn(32, 2, generator=generator(), dtype=f64)
    return truth, y, end_of_flow(DormandPrince(200), truth, y)


@pytest.mark.parametrize(
    ("kind", "arguments", "order", "tolerance"), ORDERS, ids=lambda v: getattr(v, "__name__", None)
)
@pytest.mark.parametrize("p", [Heart(), SplitNormal()], ids=repr)
def test_flow_solvers_converge_with_their_order_on_the_toys(kind, arguments, order, tolerance, p):
    """Mean error of 32 rows against a solution of order 5, whose own error is below a thousandth of theirs."""
    truth, y, exact = fine_flow(p)
    n = 60 if order == 4 else 125
    errors = [(end_of_flow(kind(k, **arguments), truth, y) - exact).norm(dim=1).mean().item() for k in (n, 2 * n)]
    assert abs(math.log2(errors[0] / errors[1]) - order) < tolerance + 0.05 * (order == 1)


def test_dormand_prince_converges_with_order_five_and_estimates_its_error():
    truth = ExactDenoiser(Heart(), EDM(0.05, 80.0))
    y = 80.0 * torch.randn(64, 2, generator=generator(), dtype=f64)
    exact = end_of_flow(DormandPrince(160), truth, y)  # a 32nd of the error of the finer of the two
    errors = [(end_of_flow(DormandPrince(n), truth, y) - exact).norm(dim=1).mean() for n in (40, 80)]
    assert math.log2(errors[0] / errors[1]) > 4.5
    x, estimate = DormandPrince(12).with_error(truth, 500, generator(1))
    better = DormandPrince(100)(truth, 500, generator(1))
    true = (x - better).norm(dim=1)
    assert torch.equal(x, DormandPrince(12)(truth, 500, generator(1)))
    assert (true < estimate + 1e-4).float().mean() > 0.99
    assert estimate.median() < 1e3 * true.median() + 1e-4


def test_the_error_of_the_adaptive_solver_falls_with_the_tolerance_and_rows_are_independent():
    truth = ExactDenoiser(SplitNormal(), EDM(0.02, 80.0))
    y = 80.0 * torch.randn(64, 2, generator=generator(), dtype=f64)
    exact = end_of_flow(DormandPrince(150), truth, y)  # to 1e-8
    errors = []
    for tolerance in (1e-2, 1e-4, 1e-6):
        found = end_of_flow(AdaptiveDormandPrince(tolerance), truth, y)
        errors.append((found - exact).norm(dim=1).mean().item())
        alone = end_of_flow(AdaptiveDormandPrince(tolerance), truth, y[17:18])
        assert torch.allclose(found[17], alone[0], atol=1e-12)
    assert errors[0] > 5 * errors[1] > 25 * errors[2]
    assert errors[2] < 1e-5


def test_the_adaptive_solver_counts_its_evaluations():
    schedule = EDM(0.02, 80.0)
    costs = [AdaptiveDormandPrince(tolerance).nfe(schedule) for tolerance in (1e-2, 1e-4, 1e-6)]
    assert 10 < costs[0] < costs[1] < costs[2] < 500


# Identities


@pytest.mark.parametrize("schedule", [*SCHEDULES, VP(), SubVP(), Cosine(), EDM()], ids=repr)
def test_ddim_without_new_noise_is_euler_in_sigma_over_alpha(schedule):
    truth = ExactDenoiser(Heart(), schedule)
    for grid in (Karras(), Uniform()):
        ours, euler = DDIM(30, 0.0, grid)(truth, 64, generator()), Euler(30, grid)(truth, 64, generator())
        assert torch.allclose(ours, euler, atol=2e-4)


def test_ddim_with_all_new_noise_is_ancestral_sampling_with_the_posterior_variance():
    truth = ExactDenoiser(Heart(), DDPM())
    ancestral = DDPMAncestral("posterior", 100, Trailing())(truth, 64, generator())
    assert torch.allclose(DDIM(100, 1.0, Trailing())(truth, 64, generator()), ancestral, atol=1e-4)


def test_ddim_with_some_new_noise_is_equations_12_and_16_of_the_paper():
    schedule, eta, x = DDPM(1e-3, 0.2, 20), 0.5, torch.randn(50, 2, generator=generator(), dtype=f64)
    truth, z = GaussianDenoiser(0.4, 0.6, schedule), NoiseStream(3, 0, 50).normal().double()
    t, s = (schedule.level_at(schedule.ratio(torch.tensor(time, dtype=f64)).item()) for time in (0.6, 0.5))
    ours = DDIM(20, eta).step(truth, x, t, s, NoiseStream(3, 0, 50))
    a, b, eps = t.alpha**2, s.alpha**2, truth.noise(x, t)  # the paper's alpha_t and alpha_{t - 1}
    new = eta * math.sqrt((1 - b) / (1 - a)) * math.sqrt(1 - a / b)
    theirs = math.sqrt(b) * (x - math.sqrt(1 - a) * eps) / math.sqrt(a) + math.sqrt(1 - b - new**2) * eps + new * z
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_dpm_solver_is_algorithm_2_of_lu_line_by_line():
    """On a grid whose steps differ in length: r is the last step over this one, in lambda = log(alpha / sigma)."""
    schedule, sampler = VP(), DPMSolver2M(8, Uniform())
    truth, seen = GaussianDenoiser(0.4, 0.6, schedule), []
    run(sampler, truth, UnitNoise(2), lambda i, x, memory: seen.append(x))
    levels = sampler.levels(schedule)
    lambdas = [math.log(level.alpha / level.sigma) for level in levels[:-1]]
    x, D, before = seen[0], truth.denoise(seen[0], levels[0]), None
    for i in range(1, 8):
        h = lambdas[i] - lambdas[i - 1]
        if before is not None:
            r = (lambdas[i - 1] - lambdas[i - 2]) / h
            mixed = (1 + 1 / (2 * r)) * D - before / (2 * r)
        else:
            mixed = D
        x = levels[i].sigma / levels[i - 1].sigma * x - levels[i].alpha * math.expm1(-h) * mixed
        assert torch.allclose(seen[i], x, atol=1e-9)
        before, D = D, truth.denoise(x, levels[i])


@pytest.mark.parametrize("sampler", [Heun(20), RungeKutta4(8), AdamsBashforth(20), DPMSolver2M(20)], ids=repr)
def test_ve_vp_and_edm_give_the_same_flow_after_rescaling(sampler):
    """One range of sigma / alpha, one start in Karras' variables: one result, to rounding."""
    ends = VP(sigma_min=0.02).ratios
    y = ends[1] * torch.randn(64, 2, generator=generator(), dtype=f64)
    results = []
    for schedule in (VP(sigma_min=0.02), VE(*ends), EDM(*ends), LinearFlow(*ends), Cosine(0.008, *ends)):
        results.append(end_of_flow(sampler, ExactDenoiser(SplitNormal(), schedule), y, final=True))
    for result in results[1:]:
        assert torch.allclose(result, results[0], atol=1e-7)


@pytest.mark.parametrize("schedule", [VE(0.01, 5.0), VP()], ids=repr)
def test_annealed_langevin_is_the_corrector_without_a_predictor(schedule):
    """`snr = sqrt(eps) / (2 sigma_L)`; all but the last step, which for annealed Langevin is a step like the others."""
    truth, eps = ExactDenoiser(Heart(), schedule), 0.5 * schedule.ratios[0] ** 2
    snr = math.sqrt(eps) / (2 * schedule.ratios[0])
    ours = PredictorCorrector(NoPredictor(6), LangevinCorrector(snr, 5)).trajectory(truth, 50, generator())
    theirs = AnnealedLangevin(5, eps, n_levels=6).trajectory(truth, 50, generator())
    r = schedule.ratio(Geometric()(schedule, 6)).tolist()
    alphas = schedule.alpha(Geometric()(schedule, 6)).tolist()
    for level in range(1, 6):  # where both arrive after the steps of the level before
        mine = ours.x[level] / alphas[level]
        assert torch.allclose(mine, theirs.x[5 * level] / alphas[level], rtol=1e-4, atol=1e-4 * r[level])


def test_the_corrector_is_algorithm_4_of_song_line_by_line():
    """x <- x + e score + sqrt(2 e) z, e = 2 (snr |z| / |score|)^2, with the mean ratio sigma of noise for the norms."""
    schedule, snr, sigma = VE(0.01, 5.0), 0.16, 0.7
    truth, x, stream = (
        ExactDenoiser(Heart(), schedule),
        2.0 * torch.randn(50, 2, generator=generator()),
        NoiseStream(3, 0, 50),
    )
    ours = LangevinCorrector(snr, 2)(truth, x, schedule.level_at(sigma), NoiseStream(3, 0, 50))
    e = 2 * (snr * sigma) ** 2
    for _ in range(2):
        x = x + e * Heart().score(x, sigma) + (2 * e) ** 0.5 * stream.normal()
    assert torch.allclose(ours, x, atol=1e-5)


def test_a_predictor_with_an_idle_corrector_is_the_predictor():
    truth = ExactDenoiser(Heart(), VP())

    class Idle(LangevinCorrector):
        def __call__(self, denoiser, x, t, noise):
            return x

    for predictor in (ReverseDiffusion(10), Heun(10), DDPMAncestral(n_steps=10)):
        both = PredictorCorrector(predictor, Idle())
        assert torch.equal(both(truth, 20, generator()), predictor(truth, 20, generator()))


def test_edm_without_churn_is_heun():
    truth = ExactDenoiser(Heart(), EDM())
    ours = EDMStochastic(15, S_churn=0.0, grid=Karras())(truth, 50, generator())
    assert torch.equal(ours, Heun(15)(truth, 50, generator()))


@pytest.mark.parametrize("churn", [2.0, 100.0], ids=["below the cap", "above it"])
def test_edm_with_churn_is_algorithm_2_of_karras_line_by_line(churn):
    n, schedule = 12, EDM(0.02, 50.0)
    truth = GaussianDenoiser(0.4, 0.6, schedule)
    draws = torch.randn(n + 1, 5, 2, generator=generator(), dtype=f64)

    class Given:
        def __init__(self):
            self.draws = iter(draws)

        def normal(self):
            return next(self.draws)

    sampler = EDMStochastic(n, churn, S_tmin=0.1, S_tmax=20.0, S_noise=1.1)
    ours = run(sampler, truth, given := Given())
    levels = schedule.sigma(sampler.times(schedule)).tolist()

    def slope(x, sigma):
        return (x - truth.denoise(x, sigma / 50.0)) / sigma

    x, noise = 50.0 * draws[0], iter(draws[1:])
    for sigma, following in itertools.pairwise(levels):
        if 0.1 <= sigma <= 20.0:
            up = sigma * (1 + min(churn / n, math.sqrt(2) - 1))
            x, sigma = x + math.sqrt(up**2 - sigma**2) * 1.1 * next(noise), up
        d = slope(x, sigma)
        d_next = slope(x + (following - sigma) * d, following)
        x = x + (following - sigma) * (d + d_next) / 2
    assert torch.allclose(ours, x - 0.5 * levels[-1] * slope(x, levels[-1]), atol=1e-9)
    assert len(list(given.draws)) == len(list(noise)) > 0  # where it is not between the two levels, nothing is added


def test_reverse_diffusion_is_equation_46_line_by_line():
    """Song et al. 2021 on DDPM's ladder: x <- (2 - sqrt(1 - beta)) x + beta score + sqrt(beta) z."""
    T, schedule = 20, DDPM(1e-3, 0.2, 20)
    truth = GaussianDenoiser(0.4, 0.6, schedule)
    draws = torch.randn(T + 1, 5, 2, generator=generator(), dtype=f64)

    class Given:
        def __init__(self):
            self.draws = iter(draws)

        def normal(self):
            return next(self.draws)

    ours = run(ReverseDiffusion(T, Uniform()), truth, Given())
    beta = torch.linspace(1e-3, 0.2, T, dtype=f64)
    x = draws[0] * (1 - torch.cumprod(1 - beta, 0)[-1]).sqrt()
    for i in range(T - 1, 0, -1):
        x = (2 - (1 - beta[i]).sqrt()) * x + beta[i] * truth.score(x, (i + 1) / T) + beta[i].sqrt() * draws[T - i]
    assert torch.allclose(ours, truth.denoise(x, 1 / T), atol=1e-10)


@pytest.mark.parametrize("kind", [EulerMaruyama, ReverseDiffusion], ids=lambda k: k.__name__)
@pytest.mark.parametrize("schedule", [VP(sigma_min=1e-3), VE(1e-3, 20.0)], ids=repr)
def test_the_reverse_sde_is_solved_with_weak_order_one(kind, schedule):
    """The exact law of the samples of N(0.3, 0.6^2): the error of its standard deviation halves with the step."""
    errors = []
    for n in (300, 600, 1200):
        _, std = law(kind(n, Uniform()), GaussianDenoiser(0.3, 0.6, schedule))
        errors.append(abs(std - 0.6))
    assert errors[0] / errors[1] > 2**0.85
    assert errors[1] / errors[2] > 2**0.85
    assert errors[2] < 0.01


class _IndependentStages(StochasticMidpoint):
    """Planted: the two stages see different Brownian paths."""

    def step(self, denoiser, x, t, s, noise):
        once = iter([noise.normal(), noise.normal()])
        both = NoiseQueue([next(once), torch.zeros_like(x)])
        y = super().step(denoiser, x, t, s, both)
        h = s.ratio**-2 - t.ratio**-2
        return y + s.alpha * s.ratio**2 * h**0.5 * (next(once) - 0.5**0.5 * both.drawn[0])


class NoiseQueue:
    """Gives the numbers that it was given, and remembers them."""

    def __init__(self, values):
        self.values, self.drawn = iter(values), []

    def normal(self):
        self.drawn.append(next(self.values))
        return self.drawn[-1]


def order_of_variance(sampler, schedule):
    """How fast the error of the variance of the samples of N(0, 0.6^2) falls with the step: from the exact law."""
    stds = [law(sampler(n, grid=Geometric()), GaussianDenoiser(0.0, 0.6, schedule))[1] for n in (100, 200)]
    return math.log2(abs(stds[0] ** 2 - 0.36) / abs(stds[1] ** 2 - 0.36))


@pytest.mark.parametrize(
    ("sampler", "order"),
    [(StochasticMidpoint, 2), (SRA1, 2), (SDEDPMSolver2M, 2), (ConsistentAnnealedSampling, 1)],
    ids=lambda v: getattr(v, "__name__", None),
)
@pytest.mark.parametrize("schedule", [VE(1e-3, 20.0), VP(sigma_min=1e-3)], ids=repr)
def test_the_variance_of_solvers_of_the_reverse_sde_converges_with_their_order(sampler, order, schedule):
    """For normal data the midpoint rule is better by one order: the leading error cancels."""
    assert (
        order - 0.15 < order_of_variance(sampler, schedule) < order + (1.1 if sampler is StochasticMidpoint else 0.15)
    )


def test_independent_noise_in_the_two_stages_costs_an_order():
    assert order_of_variance(_IndependentStages, VE(1e-3, 20.0)) < 1.1


@pytest.mark.parametrize("schedule", [VE(0.02, 20.0), VP(sigma_min=0.02)], ids=repr)
def test_denoised_points_as_the_last_step_leave_nothing_in_a_gap_and_the_step_of_the_flow_a_known_share(schedule):
    """Exact points under the noise of the lowest level. The flow's step is `r (u + h(u) / 2)` inside an edge that the
    noisy point is `r u` inside of, with the hazard `h`: below 0 for `u < -0.6120`. With the density f at each of the
    two edges, `2 f r int_-inf^-0.6120 Phi = 0.1654 * 2 f r` is outside; five standard errors."""
    p, n, r, f = SplitNormal(), 400_000, 0.02, math.sqrt(0.5 / math.pi)
    level = schedule.level_at(r)
    noisy = level.alpha * p.sample(n, torch.Generator().manual_seed(0))
    noisy = noisy + level.sigma * torch.randn(n, 2, generator=torch.Generator().manual_seed(1))
    truth = ExactDenoiser(p, schedule)
    share = {
        k: p.invalid(StochasticMidpoint(denoisings=k).last(truth, noisy, level, NoiseStream(0, 0, n))).double().mean()
        for k in (0, 1, 3)
    }
    assert share[1] == share[3] == 0
    assert abs(share[0] - 0.1654 * 2 * f * r) < 5 * (0.1654 * 2 * f * r / n) ** 0.5


def test_walks_end_with_the_flow_unless_the_last_point_is_denoised_as_often_as_is_said():
    schedule = VP()
    truth, start, noise = ExactDenoiser(Heart(), schedule), 20.0 * torch.randn(8, 2), NoiseStream(0, 0, 8)
    levels = StochasticMidpoint(4).levels(schedule)
    before, last = StochasticMidpoint(4).walk(truth, start, noise, levels[:-1]), levels[-2]
    once = truth.denoise(before, last)
    ends = {
        0: before / last.alpha - 0.5 * last.ratio * truth.noise(before, last),
        1: once,
        2: truth.denoise(last.alpha * once, last),
        3: truth.denoise(last.alpha * truth.denoise(last.alpha * once, last), last),
    }
    for k, end in ends.items():
        sampler = StochasticMidpoint(4, denoisings=k)
        torch.testing.assert_close(sampler.walk(truth, start, NoiseStream(0, 0, 8)), end)
        assert sampler.nfe(schedule) == 7 + max(k - 1, 0)
    with pytest.raises(ValueError, match="denoisings must be at least 0, got -1"):
        StochasticMidpoint(denoisings=-1)


def sra1_noise(increment, integral, h):
    """The two normals that `SRA1` makes the increment and the integral of a Brownian path of."""
    z = increment / h**0.5
    return [z, 3**0.5 * (2 * integral / h**1.5 - z)]


@pytest.mark.parametrize(
    ("sampler", "least", "most"), [(SRA1(), 1.4, 2.1), (StochasticMidpoint(), 0.9, 1.3)], ids=["SRA1", "midpoint"]
)
def test_solvers_of_the_reverse_sde_converge_with_their_strong_order(sampler, least, most):
    """One Brownian path, in 1024 pieces, for steps of all lengths: the distance between the ends on the heart.

    The levels are evenly spaced in `lambda = 1 / r^2`, from r = 2 to r = 0.5: the midpoint of a step is a level.
    """
    schedule, rows, pieces = EDM(0.02, 80.0), 128, 1024
    truth, g, h = ExactDenoiser(Heart(), schedule), generator(5), (4.0 - 0.25) / pieces
    start = Heart().sample(rows, generator(6)).double() + 2.0 * torch.randn(rows, 2, generator=g, dtype=f64)
    z, other = torch.randn(2, pieces, rows, 2, generator=g, dtype=f64)
    dB, dI = h**0.5 * z, 0.5 * h**1.5 * (z + 3**-0.5 * other)
    B = torch.cat([torch.zeros(1, rows, 2, dtype=f64), dB.cumsum(0)])
    ends = {}
    for n in (16, 32, 64, pieces // 2):
        k, draws = pieces // n, []
        for i in range(0, pieces, k):
            if isinstance(sampler, SRA1):
                integral = (dI[i : i + k] + h * (B[i : i + k] - B[i])).sum(0)
                draws += sra1_noise(B[i + k] - B[i], integral, k * h)
            else:
                middle = i + k // 2
                draws += [(B[middle] - B[i]) / (k * h / 2) ** 0.5, (B[i + k] - B[middle]) / (k * h / 2) ** 0.5]
        levels = [schedule.level_at((0.25 + i * h) ** -0.5) for i in range(0, pieces + 1, k)]
        ends[n] = sampler.walk(truth, start, NoiseQueue(draws), levels)
    *errors, _ = [(x - ends[pieces // 2]).square().sum(1).mean().sqrt().item() for x in ends.values()]
    for coarse, fine in itertools.pairwise(errors):
        assert least < math.log2(coarse / fine) < most


def test_sde_dpm_solver_is_the_papers_update_line_by_line():
    """With h = log(alpha_s / sigma_s) - log(alpha_t / sigma_t), on a grid whose steps differ in length."""
    schedule, sampler = VP(), SDEDPMSolver2M(8, Uniform())
    truth, seen, queue = GaussianDenoiser(0.4, 0.6, schedule), [], []
    stream = torch.randn(9, 5, 2, generator=generator(), dtype=f64)
    run(sampler, truth, queue := NoiseQueue(stream), lambda i, x, memory: seen.append(x))
    levels = sampler.levels(schedule)
    x, before, h_before = seen[0], None, None
    for i in range(1, 8):
        t, s = levels[i - 1], levels[i]
        h = math.log(s.alpha / s.sigma) - math.log(t.alpha / t.sigma)
        D = truth.denoise(x, t)
        mixed = D if before is None else D + h / (2 * h_before) * (D - before)
        gone = 1 - math.exp(-2 * h)
        x = s.sigma / t.sigma * math.exp(-h) * x + s.alpha * gone * mixed + s.sigma * gone**0.5 * queue.drawn[i]
        assert torch.allclose(seen[i], x, atol=1e-9)
        before, h_before = D, h


def test_consistent_annealed_sampling_is_algorithm_2_of_the_paper_line_by_line():
    """x <- x + a score + b sigma_(i+1) z, a = eps (sigma_i / sigma_L)^2, b^2 = 1 - (1 - eps / sigma_L^2)^2 / g^2."""
    schedule, sampler = VE(0.01, 5.0), ConsistentAnnealedSampling(12, 1.5)
    truth, stream = GaussianDenoiser(0.4, 0.6, schedule), torch.randn(13, 5, 2, generator=generator(), dtype=f64)
    ours = run(sampler, truth, NoiseQueue(stream))
    sigmas = [level.sigma for level in sampler.levels(schedule)[:-1]]
    g = sigmas[1] / sigmas[0]
    eps = (1 - g**1.5) * sigmas[-1] ** 2
    b = math.sqrt(1 - (1 - eps / sigmas[-1] ** 2) ** 2 / g**2)
    x = 5.0 * stream[0]
    for i, level in enumerate(sampler.levels(schedule)[:-2]):
        x = x + eps * (sigmas[i] / sigmas[-1]) ** 2 * truth.score(x, level) + b * sigmas[i + 1] * stream[i + 1]
    assert torch.allclose(ours, truth.denoise(x, 0.0), atol=1e-9)


def test_consistent_annealed_sampling_goes_from_ddim_to_ancestral_sampling():
    truth = ExactDenoiser(Heart(), VP())
    for power, other in ((1.0, DDIM(20, 0.0, Angular())), (2.0, DDPMAncestral("posterior", 20, Angular()))):
        ours = ConsistentAnnealedSampling(20, power, grid=Angular())(truth, 64, generator())
        assert torch.allclose(ours, other(truth, 64, generator()), atol=2e-4)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("d", [0.0, 0.7])
@pytest.mark.parametrize("power", [1.0, 2.0, 4.0])
def test_consistent_annealed_sampling_meets_every_level_exactly(schedule, d, power):
    """On N(0, d^2), from the exact start: after each step the variance of `y` is `d^2 + r^2`."""
    sampler, seen = ConsistentAnnealedSampling(9, power, d), []
    levels, noise = sampler.levels(schedule), UnitNoise(12)
    start = levels[0].alpha * (d**2 + levels[0].ratio ** 2) ** 0.5 * noise.normal()
    sampler.walk(GaussianDenoiser(0.0, d, schedule), start, noise, observe=lambda i, x, memory: seen.append(x[:, 0]))
    for x, level in zip(seen[:-1], levels[:-1], strict=True):
        assert x.square().sum().item() / level.alpha**2 == pytest.approx(d**2 + level.ratio**2, rel=1e-9)


def test_restart_without_restarts_is_runge_kutta():
    truth = ExactDenoiser(Heart(), EDM())
    assert torch.equal(Restart(6, repeats=0)(truth, 50, generator()), RungeKutta4(6)(truth, 50, generator()))


@pytest.mark.parametrize("schedule", [EDM(0.02, 50.0), VP()], ids=repr)
def test_restart_goes_up_by_noise_and_down_by_the_flow(schedule):
    """Xu et al. 2023, algorithm 1: down to `low`, twice up to `high` and down again, then to the data."""
    sampler, solver = Restart(9, low=0.3, high=1.5, repeats=2), RungeKutta4(9)
    truth, stream = GaussianDenoiser(0.4, 0.6, schedule), torch.randn(3, 5, 2, generator=generator(), dtype=f64)
    levels = sampler.levels(schedule)
    top, bottom = (min(range(9), key=lambda i: abs(math.log(levels[i].ratio / r))) for r in (1.5, 0.3))
    y = solver.walk(truth, levels[0].sigma * stream[0], None, levels[: bottom + 1]) / levels[bottom].alpha
    for z in stream[1:]:
        y = y + math.sqrt(levels[top].ratio ** 2 - levels[bottom].ratio ** 2) * z
        y = solver.walk(truth, levels[top].alpha * y, None, levels[top : bottom + 1]) / levels[bottom].alpha
    expected = solver.walk(truth, levels[bottom].alpha * y, None, levels[bottom:])
    assert torch.allclose(run(sampler, truth, NoiseQueue(stream)), expected, atol=1e-12)


def test_chains_of_a_corrector_are_independent():
    truth, sampler = ExactDenoiser(Heart(), VP()), PredictorCorrector(ReverseDiffusion(20))
    x = sampler(truth, 100, generator())

    class OneFarOff(PredictorCorrector):
        def start(self, schedule, noise):
            x = super().start(schedule, noise)
            x[3] = 1e3
            return x

    y = OneFarOff(ReverseDiffusion(20))(truth, 100, generator())
    others = torch.arange(100) != 3
    assert torch.equal(x[others], y[others])


@pytest.mark.parametrize("variance", ["posterior", "forward"])
def test_ancestral_sampling_converges_to_the_law_with_weak_order_one(variance):
    """On N(1, 0.5^2): the error of the standard deviation halves with the step (never slower than order 0.85)."""
    errors = []
    for n in (200, 400, 800):
        schedule = DDPM(0.1 / n, 20.0 / n, n)
        mean, std = law(DDPMAncestral(variance), GaussianDenoiser(1.0, 0.5, schedule))
        errors.append(abs(std - 0.5) + abs(mean - 1.0))
    assert errors[-1] < 0.01
    assert errors[0] / errors[1] > 2**0.85
    assert errors[1] / errors[2] > 2**0.85


def test_forward_variance_is_exact_for_unit_variance_data():
    """Ho et al. 2020, section 3.2: beta_t is optimal for x0 ~ N(0, I); the last step leaves out its noise."""
    schedule = DDPM()
    _, std = law(DDPMAncestral("forward"), GaussianDenoiser(0.0, 1.0, schedule))
    assert std == pytest.approx(1.0, abs=1.1 * schedule.beta_min)
    _, narrow = law(DDPMAncestral("posterior"), GaussianDenoiser(0.0, 1.0, schedule))
    assert narrow < std - 1e-3


def test_posterior_variance_is_exact_for_a_single_data_point():
    mean, std = law(DDPMAncestral("posterior"), GaussianDenoiser(0.3, 0.0, DDPM()))
    assert mean == pytest.approx(0.3)
    assert std == pytest.approx(0.0, abs=1e-12)
    # before the last step the law is that of the forward process: sigma at the lowest level
    seen = {}
    noise = UnitNoise(1002)
    run(
        DDPMAncestral("posterior"),
        GaussianDenoiser(0.3, 0.0, DDPM()),
        noise,
        lambda i, x, memory: seen.update({i: x.clone()}),
    )
    before = seen[999][:, 0]
    assert (before[1:] - before[0]).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_ancestral_sampling_is_algorithm_2_of_ho_line_by_line():
    """Forward variance on DDPM's ladder, with the paper's own coefficients, noise prediction and sigma_t^2 = beta_t."""
    T, schedule = 20, DDPM(1e-3, 0.2, 20)
    truth = GaussianDenoiser(0.4, 0.6, schedule)
    noise = torch.randn(T + 1, 5, 2, generator=generator(), dtype=f64)

    class Given:
        def __init__(self):
            self.draws = iter(noise)

        def normal(self):
            return next(self.draws)

    ours = run(DDPMAncestral("forward"), truth, Given())
    beta = torch.linspace(1e-3, 0.2, T, dtype=f64)
    alpha, alpha_bar = 1 - beta, torch.cumprod(1 - beta, 0)
    x = noise[0] * (1 - alpha_bar[-1]).sqrt()
    for t in range(T, 0, -1):
        z = noise[T - t + 1] if t > 1 else 0.0
        eps = truth.noise(x, t / T)
        x = (x - beta[t - 1] / (1 - alpha_bar[t - 1]).sqrt() * eps) / alpha[t - 1].sqrt() + beta[t - 1].sqrt() * z
    assert torch.allclose(ours, x, atol=1e-10)


def test_annealed_langevin_is_algorithm_1_of_song_and_ermon_line_by_line():
    schedule, truth = VE(0.01, 5.0), ExactDenoiser(Heart(), VE(0.01, 5.0))
    sampler = AnnealedLangevin(steps_per_level=3, eps=5e-5, uniform_start=1.5)
    x = run(sampler, truth, NoiseStream(7, 0, 50))
    stream = NoiseStream(7, 0, 50)
    y = 3.0 * stream.uniform() - 1.5
    sigmas = schedule.sigma(schedule.ladder).tolist()
    for sigma in sigmas:
        step = 5e-5 * sigma**2 / sigmas[-1] ** 2
        for _ in range(3):
            y = y + step / 2 * Heart().score(y, sigma) + step**0.5 * stream.normal()
    assert torch.allclose(x, y, atol=1e-3)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_langevin_has_the_stated_stationary_variance(schedule):
    """On N(0, s^2) at noise level r the chain is AR(1): variance step / (1 - (1 - step / (2 v))^2), v = s^2 + r^2."""
    s, r, step = 0.8, 0.5, 0.2
    sampler = Langevin(n_steps=400, eps=step, sigma=r)
    _, std = law(sampler, GaussianDenoiser(0.0, s, schedule))
    v = s**2 + r**2
    assert std**2 == pytest.approx(step / (1 - (1 - step / (2 * v)) ** 2), rel=1e-6)


def test_annealed_langevin_ends_too_wide_by_the_stated_factor():
    """Data in a point: all variance is that of the noise, times 1 / (1 - eps / (4 sigma_L^2))."""
    for eps in (1e-4, 2e-5):
        _, std = law(AnnealedLangevin(300, eps), GaussianDenoiser(0.0, 0.0, VE(0.01, 5.0)))
        assert std == pytest.approx(0.01 / math.sqrt(1 - eps / (4 * 0.01**2)), rel=1e-6)


@quick
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_stated_number_of_evaluations_is_the_actual_one(sampler, schedule):
    counter = GaussianDenoiser(0.0, 1.0, schedule)
    run(sampler, counter, NoiseStream(0, 0, 4))
    assert sampler.nfe(schedule) == counter.evaluations


@pytest.mark.parametrize(("sampler", "schedule"), list(zip(QUICK, itertools.cycle(SCHEDULES))), ids=repr)
def test_a_sample_depends_on_the_seed_and_its_number_alone(sampler, schedule):
    """The blocks of noise know nothing of the schedule: the samplers take turns with them."""
    truth = ExactDenoiser(Heart(), schedule)
    many = sampler(truth, 9000, generator(3))
    assert torch.allclose(sampler(truth, 100, generator(3)), many[:100], atol=1e-5)
    assert torch.allclose(sampler(truth, 700, generator(3), first=4000), many[4000:4700], atol=1e-5)
    pieces = [sampler(truth, 1500, generator(3), first=first) for first in range(0, 9000, 1500)]
    assert torch.allclose(torch.cat(pieces), many, atol=1e-5)
    one = generator(3)
    assert torch.equal(sampler(truth, 100, one), sampler(truth, 100, generator(3)))
    assert not torch.equal(sampler(truth, 100, one), many[:100])


@quick
def test_samplers_do_not_touch_the_global_generator(sampler):
    state = torch.get_rng_state()
    sampler(ExactDenoiser(Heart(), VE(0.01, 5.0)), 10, generator())
    assert torch.equal(torch.get_rng_state(), state)


@quick
def test_a_trajectory_ends_in_the_samples_and_has_the_requested_positions(sampler):
    schedule = VE(0.01, 5.0)
    truth = ExactDenoiser(Heart(), schedule)
    whole = sampler.trajectory(truth, 8, generator(1))
    steps = len(sampler.times(schedule))
    assert whole.x.shape == (steps + 1, 8, 2)
    assert torch.allclose(whole.x[-1], sampler(truth, 8, generator(1)), atol=1e-6)
    assert whole.ratio[-1] == 0
    assert (whole.ratio.diff() <= 0).all()
    part = sampler.trajectory(truth, 8, generator(1), every=4, skip=3)
    kept = [i for i in range(steps + 1) if i >= 3 and (i % 4 == 0 or i == steps)]
    assert torch.equal(part.x, whole.x[kept])
    assert torch.equal(part.ratio, whole.ratio[kept])


@quick
def test_a_nan_row_does_not_affect_the_other_rows(sampler):
    class Broken(ExactDenoiser):
        def score(self, x, t):
            score = super().score(x, t)
            score[5] = math.nan
            return score

        def denoise(self, x, t):
            D = super().denoise(x, t)
            D[5] = math.nan
            return D

    schedule = VE(0.01, 5.0)
    x = sampler(Broken(Heart(), schedule), 20, generator())
    whole = sampler(ExactDenoiser(Heart(), schedule), 20, generator())
    others = torch.arange(20) != 5
    assert x[5].isnan().all()
    assert torch.allclose(x[others], whole[others], atol=1e-5)


def test_noise_is_standard_and_its_rows_independent_of_the_window():
    """Mean and variance of 2e6 numbers within 4.9 standard errors (1e-6)."""
    z = NoiseStream(1, 0, 1_000_000).normal()
    assert z.mean().abs() < 4.9 / 2e6**0.5
    assert (z.square().mean() - 1).abs() < 4.9 * (2 / 2e6) ** 0.5
    window = NoiseStream(1, 5000, 3000)
    assert torch.equal(window.normal(), z[5000:8000])
    u = NoiseStream(1, 0, 100_000).uniform()
    assert stats.kstest(u.flatten().numpy(), "uniform").pvalue > ALPHA


@pytest.mark.parametrize("grid", [Uniform(), Geometric(), Karras(), Karras(3.0), Angular(), Angular(3.0)], ids=repr)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_grids_run_from_the_highest_to_the_lowest_level(schedule, grid):
    ratios = schedule.ratio(grid(schedule, 12))
    assert (ratios.diff() < 0).all()
    assert ratios[[0, -1]].tolist() == pytest.approx(list(schedule.ratios[::-1]))
    assert grid(schedule, 1).tolist() == [schedule.t_max]


def test_grids_are_spaced_as_documented():
    schedule = VE(0.01, 5.0)
    assert Geometric()(schedule, 10).tolist() == pytest.approx(schedule.ladder.tolist())
    expected = [(5 ** (1 / 7) + i / 4 * (0.01 ** (1 / 7) - 5 ** (1 / 7))) ** 7 for i in range(5)]
    assert schedule.sigma(Karras()(schedule, 5)).tolist() == pytest.approx(expected)
    assert Geometric()(DDPM(), 9).log().isfinite().all()
    log_snr = DDPM().ratio(Geometric()(DDPM(), 9)).log()
    assert log_snr.diff().tolist() == pytest.approx([log_snr.diff()[0].item()] * 8)
    angle = LinearFlow().ratio(Angular(0.5)(LinearFlow(), 9)).div(0.5).atan()
    assert angle.diff().tolist() == pytest.approx([angle.diff()[0].item()] * 8)
    assert (1000 * Trailing()(DDPM(), 10)).tolist() == pytest.approx(list(range(1000, 0, -100)))  # Lin et al. 2024
    assert Trailing()(VP(), 10).tolist() == pytest.approx([k / 10 for k in range(10, 0, -1)])
    assert Trailing()(DDPM(), 5000)[-1].item() == DDPM().t_min
    assert Uniform()(DDPM(), 1000).tolist() == pytest.approx(DDPM().ladder.tolist())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: AnnealedLangevin(steps_per_level=0), "steps_per_level must be at least 1, got 0"),
        (lambda: AnnealedLangevin(eps=0), "eps must be positive, got 0"),
        (lambda: AnnealedLangevin(n_levels=1), "n_levels must be at least 2, got 1; Langevin has one level"),
        (lambda: Langevin(n_steps=0), "n_steps must be at least 1, got 0"),
        (lambda: Langevin(eps=-1), "eps must be positive, got -1"),
        (lambda: Langevin(sigma=0.0), "sigma must be positive, got 0"),
        (lambda: DDPMAncestral("prior"), "unknown variance 'prior'"),
        (lambda: DDPMAncestral(n_steps=0), "n_steps must be at least 1, got 0"),
        (lambda: Heun(0), "n_steps must be at least 1, got 0"),
        (lambda: Karras(rho=0), "rho must be positive, got 0"),
        (lambda: Angular(scale=-1), "scale must be positive, got -1"),
        (lambda: DDIM(eta=1.5), r"eta must be in \[0, 1\], got 1.5"),
        (lambda: EDMStochastic(S_tmin=2.0, S_tmax=1.0), "got 2.0 and 1.0; swap them"),
        (lambda: EDMStochastic(S_churn=-1.0), "S_churn must be at least 0, got -1.0"),
        (lambda: AdaptiveDormandPrince(0.0), "tolerance must be positive, got 0.0"),
        (lambda: AdamsBashforth(order=5), "order must be 1, 2, 3 or 4, got 5"),
        (lambda: ConsistentAnnealedSampling(power=0.5), "power must be at least 1, got 0.5"),
        (lambda: ConsistentAnnealedSampling(data_std=-1), "data_std must be at least 0, got -1"),
        (lambda: Restart(low=2.0, high=1.0), "got 2.0 and 1.0; swap them"),
        (lambda: Restart(5, high=0.31)(ExactDenoiser(Heart(), VE()), 1), "no step of the grid lies between low = 0.3"),
        (lambda: LangevinCorrector(snr=1.0), "where Langevin steps are stable, got 1.0"),
        (lambda: PredictorCorrector(DPMSolver2M()), "DPMSolver2M cannot be the predictor"),
        (lambda: PredictorCorrector(DormandPrince()), "DormandPrince cannot be the predictor"),
        (lambda: Heun()(ExactDenoiser(Heart(), VE()), 0), "at least 1, got 0"),
    ],
)
def test_impossible_settings_are_refused_with_the_value(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# What must be counted: Kolmogorov distances in the coordinates in which the truth is standard normal, against the DKW
# threshold at level 1e-6. The settings leave the samplers a bias far below it. With two blocks of rows, 0.03, all the
# planted errors are found; four blocks, 0.021, find smaller ones too, and only annealed Langevin is too slow for them.
ROWS = 8_192


def threshold(n):
    return math.sqrt(math.log(2 / ALPHA) / (2 * n))


FOLLOW = [
    (Heun(n_steps=60), VE(0.01, 40.0)),
    (RungeKutta4(8), VP()),
    (AdamsBashforth(20), LinearFlow(0.02, 200.0)),
    (DormandPrince(8), SubVP()),
    (AdaptiveDormandPrince(), Cosine()),
    (DPMSolver2M(40, Trailing()), LinearFlow(0.02, 200.0)),
    (ExponentialAdams(40), EDM()),
    (StochasticMidpoint(60), VE(0.01, 40.0)),
    (SRA1(80), VP()),
    (SDEDPMSolver2M(120), Cosine()),
    (Restart(10), EDM()),
    (ConsistentAnnealedSampling(100, 2.0, 1.5, Angular()), VE(0.01, 40.0)),
    (DDIM(300, 0.5), EDM()),
    (EDMStochastic(60), EDM()),
    (EulerMaruyama(200), VP()),
    (ReverseDiffusion(400), EDM()),
    (PredictorCorrector(ReverseDiffusion(150)), VE(0.01, 40.0)),
    (DDPMAncestral("posterior", n_steps=400), DDPM()),
    (DDPMAncestral("forward", n_steps=400), DDPM()),
    (AnnealedLangevin(100, 2e-5, n_levels=20), VE(0.01, 10.0)),
]


def distance(p, x):
    """Largest Kolmogorov distance of the four coordinates z0, z1, radius and angle from their laws."""
    z = p.pull(x.double())
    angle = torch.atan2(z[:, 1], z[:, 0]) / (2 * math.pi) % 1
    uniforms = [*torch.special.ndtr(z.T), -torch.expm1(-z.square().sum(1) / 2), angle]
    return max(stats.kstest(u.numpy(), "uniform").statistic for u in uniforms)


SHORT = [case for case in FOLLOW if case[0].nfe(case[1]) <= 120]


@pytest.mark.parametrize(
    ("p", "sampler", "schedule"),
    [*((SplitNormal(), *case) for case in FOLLOW), *((Heart(), *case) for case in SHORT)],  # edges are the harder test
    ids=repr,
)
def test_with_the_exact_denoiser_samples_follow_the_distribution(p, sampler, schedule):
    n = ROWS if isinstance(sampler, AnnealedLangevin) else 2 * ROWS
    assert distance(p, sampler(ExactDenoiser(p, schedule), n, generator(11))) < threshold(n)


class _LessNoise(DDPMAncestral):
    """Planted: the noise of every step too small by sqrt(2)."""

    def step(self, denoiser, x, t, s, noise):
        mean = super().step(denoiser, x, t, s, _Silent(x))
        return mean + math.sqrt(0.5) * (super().step(denoiser, x, t, s, noise) - mean)


class _Silent:
    def __init__(self, x):
        self.x = x

    def normal(self):
        return torch.zeros_like(self.x)


class _HalfScore(ExactDenoiser):
    """Planted: a score half as large as it should be."""

    def score(self, x, t):
        return 0.5 * super().score(x, t)


@pytest.mark.parametrize(
    ("sampler", "denoiser"),
    [
        (_LessNoise("forward", n_steps=400), ExactDenoiser(Heart(), DDPM())),
        (AnnealedLangevin(100, 2e-5, n_levels=20), _HalfScore(Heart(), VE(0.01, 10.0))),
        (Heun(n_steps=60), ExactDenoiser(Heart(), VE(1.0, 40.0))),
        (EulerMaruyama(), _HalfScore(Heart(), VP())),
        (Heun(n_steps=60), ExactDenoiser(Heart(), VE(0.01, 2.0))),
    ],
    ids=["noise too small", "half the score", "stops too early", "half the score in the SDE", "prior too narrow"],
)
def test_planted_errors_are_found_by_the_same_test(sampler, denoiser):
    assert distance(Heart(), sampler(denoiser, ROWS, generator(11))) > threshold(ROWS)


def test_annealed_langevin_recovers_the_mode_weights():
    """Binomial: 0.5 +- 4.9 sd = 0.017 at 20 000 samples, level 1e-6."""
    p = SplitNormal()
    x = AnnealedLangevin(20, n_levels=30)(ExactDenoiser(p, VE(0.01, 20.0)), 20_000, generator(2))
    assert abs((x[:, 0] > 0).double().mean() - 0.5) < 4.9 * 0.5 / 20_000**0.5


def test_langevin_runs_at_the_lowest_level_unless_another_is_given():
    schedule = VE(0.01, 20.0)
    for sampler, ratio in ((Langevin(n_steps=3), 0.01), (Langevin(n_steps=3, sigma=0.5), 0.5)):
        times = sampler.times(schedule)
        assert times.shape == (3,)
        assert schedule.ratio(times).tolist() == pytest.approx([ratio] * 3)
