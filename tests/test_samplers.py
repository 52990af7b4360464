"""Samplers: first what can be known exactly, then what must be counted.

On Gaussian data every sampler is an affine map of its noises. Fed with unit noises one at a time, it reveals that map,
and with it the exact law of its samples: no statistics, no flakes.
"""

import inspect
import math

import numpy as np
import pytest
import torch
from scipy import stats

from toy_score.denoisers import Denoiser, ExactDenoiser
from toy_score.distributions import Heart, SplitNormal
from toy_score.samplers import AnnealedLangevin, DDPMAncestral, Heun, Langevin, NoiseStream
from toy_score.samplers.grids import geometric, karras
from toy_score.schedules import DDPM, VE, Level

f64 = torch.float64
ALPHA = 1e-6
QUICK = [
    AnnealedLangevin(steps_per_level=3),
    AnnealedLangevin(2, n_levels=5, uniform_start=1.5),
    Langevin(n_steps=20),
    DDPMAncestral("posterior", n_steps=10),
    DDPMAncestral("forward", n_steps=10),
    Heun(n_steps=6),
]
SCHEDULES = [VE(0.01, 5.0), DDPM(n_steps=50, beta_max=0.3)]
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
        gain = alpha * self.std**2 / (alpha**2 * self.std**2 + sigma**2)
        return self.mean + gain * (x - alpha * self.mean)

    def noise(self, x, t):
        alpha, sigma = self.at(t)
        return (x - alpha * self.denoise(x, t)) / sigma


class UnitNoise:
    """Row 0 gets no noise; row i gets a unit noise in draw i - 1: the columns of the sampler's affine map."""

    def __init__(self, draws):
        self.rows, self.draw = draws + 1, 0

    def normal(self):
        z = torch.zeros(self.rows, 2, dtype=f64)
        self.draw += 1
        if self.draw < self.rows:
            z[self.draw, 0] = 1.0
        return z

    def uniform(self):
        self.draw += 1
        return torch.full((self.rows, 2), 0.5, dtype=f64)


def law(sampler, denoiser):
    """Exact mean and standard deviation of the sampler's first coordinate on Gaussian data."""
    x = sampler.run(denoiser, UnitNoise(len(sampler.times(denoiser.schedule)) + 2))[:, 0]
    return x[0].item(), (x[1:] - x[0]).square().sum().sqrt().item()


# What can be known exactly


@pytest.mark.parametrize("schedule", [VE(0.01, 20.0), DDPM()], ids=repr)
def test_heun_converges_with_order_two(schedule):
    """Against the closed-form flow of Gaussian data, in Karras' variables, down to the last level."""
    s, errors = 0.7, []
    for n in (64, 128, 256):
        levels = Heun(n).levels(schedule)
        low, high = levels[-2].ratio, levels[0].ratio
        seen = {}
        start = torch.full((1, 2), levels[0].sigma, dtype=f64)
        sampler = Heun(n)
        sampler.start = lambda *_, start=start: start
        sampler.run(GaussianDenoiser(0.0, s, schedule), None, lambda i, x, seen=seen: seen.update({i: x}))
        y = seen[n - 1][0, 0].item() / levels[-2].alpha
        exact = high * math.sqrt((s**2 + low**2) / (s**2 + high**2))
        errors.append(abs(y - exact))
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.all(np.abs(orders - 2) < 0.15), orders


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


def test_posterior_variance_is_exact_for_data_in_a_point():
    mean, std = law(DDPMAncestral("posterior"), GaussianDenoiser(0.3, 0.0, DDPM()))
    assert mean == pytest.approx(0.3)
    assert std == pytest.approx(0.0, abs=1e-12)
    # before the last step the law is that of the forward process: sigma at the lowest level
    seen = {}
    noise = UnitNoise(1002)
    DDPMAncestral("posterior").run(GaussianDenoiser(0.3, 0.0, DDPM()), noise, lambda i, x: seen.update({i: x.clone()}))
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

    ours = DDPMAncestral("forward").run(truth, Given())
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
    x = sampler.run(truth, NoiseStream(7, 0, 50))
    stream = NoiseStream(7, 0, 50)
    y = 3.0 * stream.uniform() - 1.5
    sigmas = schedule.sigma(schedule.ladder).tolist()
    for sigma in sigmas:
        step = 5e-5 * sigma**2 / sigmas[-1] ** 2
        for _ in range(3):
            y = y + step / 2 * Heart().score(y, sigma) + step**0.5 * stream.normal()
    assert torch.allclose(x, y, atol=1e-3)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_langevin_settles_at_the_stated_variance(schedule):
    """On N(0, s^2) at noise level r the chain is AR(1): variance step / (1 - (1 - step / (2 v))^2), v = s^2 + r^2."""
    s, r, step = 0.8, 0.5, 0.2
    sampler = Langevin(n_steps=400, step_size=step, sigma=r)
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
def test_the_stated_number_of_evaluations_is_the_true_one(sampler, schedule):
    counter = GaussianDenoiser(0.0, 1.0, schedule)
    sampler.run(counter, NoiseStream(0, 0, 4))
    assert sampler.nfe(schedule) == counter.evaluations


@quick
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_a_sample_depends_on_the_seed_and_its_number_alone(sampler, schedule, monkeypatch):
    truth = ExactDenoiser(Heart(), schedule)
    many = sampler(truth, 9000, generator(3))
    assert torch.allclose(sampler(truth, 100, generator(3)), many[:100], atol=1e-5)
    assert torch.allclose(sampler(truth, 700, generator(3), first=4000), many[4000:4700], atol=1e-5)
    monkeypatch.setattr(inspect.getmodule(NoiseStream), "ROWS_AT_ONCE", 1000)
    assert torch.allclose(sampler(truth, 9000, generator(3)), many, atol=1e-5)
    one = generator(3)
    assert torch.equal(sampler(truth, 100, one), sampler(truth, 100, generator(3)))
    assert not torch.equal(sampler(truth, 100, one), many[:100])


@quick
def test_samplers_do_not_touch_the_global_generator(sampler):
    state = torch.get_rng_state()
    sampler(ExactDenoiser(Heart(), VE(0.01, 5.0)), 10, generator())
    assert torch.equal(torch.get_rng_state(), state)


@quick
def test_a_trajectory_ends_in_the_samples_and_keeps_what_was_asked_for(sampler):
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
def test_a_row_that_is_not_a_number_stays_alone(sampler):
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


def test_grids_run_from_the_highest_to_the_lowest_level():
    for schedule in SCHEDULES:
        for times in (geometric(schedule, 12), karras(schedule, 12)):
            ratios = schedule.ratio(times)
            assert (ratios.diff() < 0).all()
            assert ratios[[0, -1]].tolist() == pytest.approx(list(schedule.ratios[::-1]))
    assert geometric(VE(0.01, 5.0), 10).tolist() == pytest.approx(VE(0.01, 5.0).ladder.tolist())
    rho = karras(VE(0.01, 5.0), 5)
    expected = [(5 ** (1 / 7) + i / 4 * (0.01 ** (1 / 7) - 5 ** (1 / 7))) ** 7 for i in range(5)]
    assert VE(0.01, 5.0).sigma(rho).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: AnnealedLangevin(steps_per_level=0), "steps_per_level must be at least 1, got 0"),
        (lambda: AnnealedLangevin(eps=0), "eps must be positive, got 0"),
        (lambda: AnnealedLangevin(n_levels=1), "n_levels must be at least 2, got 1"),
        (lambda: Langevin(n_steps=0), "n_steps must be at least 1, got 0"),
        (lambda: Langevin(step_size=-1), "step_size must be positive, got -1"),
        (lambda: Langevin(sigma=0.0), "sigma must be positive, got 0"),
        (lambda: DDPMAncestral("prior"), "unknown variance 'prior'"),
        (lambda: DDPMAncestral(n_steps=1), "n_steps must be at least 2, got 1"),
        (lambda: Heun(1), "n_steps must be at least 2, got 1"),
        (lambda: Heun(10, rho=0), "rho must be positive, got 0"),
        (lambda: Heun()(ExactDenoiser(Heart(), VE()), 0), "at least 1, got 0"),
    ],
)
def test_impossible_settings_are_refused_with_the_value(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# What must be counted: Kolmogorov distances in the coordinates in which the truth is standard normal, against the DKW
# threshold at level 1e-6. The settings leave the samplers a bias far below it.


def threshold(n):
    return math.sqrt(math.log(2 / ALPHA) / (2 * n))


FOLLOW = [
    (Heun(n_steps=60), VE(0.01, 40.0), 20_000),
    (DDPMAncestral("posterior", n_steps=400), DDPM(), 20_000),
    (DDPMAncestral("forward", n_steps=400), DDPM(), 20_000),
    (AnnealedLangevin(100, 2e-5, n_levels=20), VE(0.01, 10.0), 8_000),
]


def distance(p, x):
    """Largest Kolmogorov distance of the four coordinates z0, z1, radius and angle from their laws."""
    z = p.pull(x.double())
    angle = torch.atan2(z[:, 1], z[:, 0]) / (2 * math.pi) % 1
    uniforms = [*torch.special.ndtr(z.T), -torch.expm1(-z.square().sum(1) / 2), angle]
    return max(stats.kstest(u.numpy(), "uniform").statistic for u in uniforms)


@pytest.mark.parametrize(("sampler", "schedule", "n"), FOLLOW, ids=repr)
@pytest.mark.parametrize("p", [Heart(), SplitNormal()], ids=repr)
def test_with_the_exact_denoiser_samples_follow_the_law(p, sampler, schedule, n):
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
        (Heun(n_steps=60), ExactDenoiser(Heart(), VE(0.2, 40.0))),
        (Heun(n_steps=60), ExactDenoiser(Heart(), VE(0.01, 2.0))),
    ],
    ids=["noise too small", "half the score", "stops too early", "prior too narrow"],
)
def test_planted_errors_are_found_by_the_same_test(sampler, denoiser):
    assert distance(Heart(), sampler(denoiser, 8000, generator(11))) > threshold(8000)


def test_annealed_langevin_recovers_the_mode_weights():
    """Binomial: 0.5 +- 4.9 sd = 0.017 at 20 000 samples, level 1e-6."""
    p = SplitNormal()
    x = AnnealedLangevin(20, n_levels=30)(ExactDenoiser(p, VE(0.01, 20.0)), 20_000, generator(2))
    assert abs((x[:, 0] > 0).double().mean() - 0.5) < 4.9 * 0.5 / 20_000**0.5
