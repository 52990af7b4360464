"""Schedules: the papers' numbers, and the properties every schedule must have."""

import math

import pytest
import torch

from toy_score.schedules import DDPM, EDM, VE, VP, Cosine, LinearFlow, SubVP

SCHEDULES = [
    VE(),
    VE(0.01, 5.0),
    EDM(),
    LinearFlow(),
    VP(),
    VP(0.5, 8.0, sigma_min=0.05),
    SubVP(),
    Cosine(),
    DDPM(),
    DDPM(1e-3, 0.2, 100),
]
every = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
f64 = torch.float64


def test_the_ladder_of_ncsn_is_geometric_from_5_to_001():
    sigma = VE(0.01, 5.0, n_levels=10)
    levels = sigma.sigma(sigma.ladder)
    assert levels[[0, -1]].tolist() == pytest.approx([5.0, 0.01])
    assert (levels[:-1] / levels[1:]).tolist() == pytest.approx([500 ** (1 / 9)] * 9)


@pytest.mark.parametrize(("n", "low", "high"), [(1000, 1e-4, 0.02), (50, 1e-3, 0.3)])
def test_the_ladder_of_ddpm_is_the_product_of_its_betas(n, low, high):
    schedule = DDPM(low, high, n)
    product, expected = 1.0, []
    for i in range(n):
        product *= 1 - (low + (high - low) * i / (n - 1))
        expected.append(product)
    alpha = schedule.alpha(schedule.ladder.flip(0))
    assert (alpha**2).tolist() == pytest.approx(expected, rel=1e-12)


def test_the_first_and_last_noise_level_of_ddpm_are_those_of_the_paper():
    alpha_bar = DDPM().alpha(DDPM().ladder) ** 2
    assert alpha_bar[-1].item() == pytest.approx(0.9999, abs=1e-12)
    assert alpha_bar[0].item() == pytest.approx(4.0358e-5, rel=1e-4)


@every
def test_time_inverts_the_noise_level(schedule):
    t = torch.linspace(schedule.t_min, schedule.t_max, 777, dtype=f64)
    assert torch.allclose(schedule.time(schedule.ratio(t)), t, atol=1e-12)
    ends = schedule.time(torch.tensor([1e-9, 1e9], dtype=f64)).tolist()
    assert ends == pytest.approx([schedule.t_min, schedule.t_max])
    level = schedule.level_at(1.0)
    assert level.ratio == pytest.approx(1.0)
    assert level.sigma == pytest.approx(schedule.sigma(torch.tensor(level.time, dtype=f64)).item())


@every
def test_noise_rises_and_signal_falls(schedule):
    t = torch.linspace(0, schedule.t_max, 5001, dtype=f64)
    alpha, sigma = schedule(t)
    assert (sigma.diff() > 0).all()
    assert (alpha.diff() <= 0).all()
    assert ((alpha > 0) & (alpha <= 1)).all()


@every
def test_float32_agrees_with_float64(schedule):
    t = torch.rand(10_000, generator=torch.Generator().manual_seed(0)).clamp(schedule.t_min, schedule.t_max)
    for low, high in zip(schedule(t), schedule(t.double()), strict=True):
        assert torch.allclose(low.double(), high, rtol=1e-4)


@every
def test_the_ladder_descends_from_the_highest_to_the_lowest_time(schedule):
    ladder = schedule.ladder
    assert ladder[0] == schedule.t_max
    assert ladder[-1] == pytest.approx(schedule.t_min)
    assert (ladder.diff() < 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("T", [10, 100, 1000])
def test_at_a_step_of_ddpm_the_drift_is_that_of_the_step(T, dtype):
    schedule = DDPM(n_steps=T, beta_max=0.5)
    t = (torch.arange(1, T + 1, dtype=f64) / T).to(dtype)
    assert torch.allclose(schedule.drift(t).double(), 0.5 * T * torch.log1p(-schedule.betas), rtol=2e-3)


@every
def test_drift_and_diffusion_are_those_of_the_marginals(schedule):
    """f = d log alpha / dt and g^2 = d sigma^2 / dt - 2 f sigma^2, by differences between the knots of a ladder."""
    n = schedule.n_steps
    t = (torch.arange(n, dtype=f64) + 0.5) / n
    t = t[(t > schedule.t_min) & (t < schedule.t_max)]
    h = 1e-6
    f = (schedule.alpha(t + h).log() - schedule.alpha(t - h).log()) / (2 * h)
    variance = (schedule.sigma(t + h) ** 2 - schedule.sigma(t - h) ** 2) / (2 * h)
    assert torch.allclose(schedule.drift(t), f, rtol=1e-5, atol=1e-7)
    assert torch.allclose(schedule.diffusion(t) ** 2, variance - 2 * f * schedule.sigma(t) ** 2, rtol=1e-5, atol=1e-7)


def test_schedules_equal_the_formulas_of_the_papers():
    t = torch.tensor([0.1, 0.4, 0.9], dtype=f64)
    integral = 0.1 * t + 19.9 * t**2 / 2
    assert torch.allclose(VP().alpha(t), torch.exp(-integral / 2))  # Song et al. 2021, eq. 33
    assert torch.allclose(VP().diffusion(t) ** 2, 0.1 + 19.9 * t)
    assert torch.allclose(SubVP().sigma(t), 1 - torch.exp(-integral))  # eq. 29
    assert torch.allclose(SubVP().diffusion(t) ** 2, (0.1 + 19.9 * t) * (1 - torch.exp(-2 * integral)))
    assert torch.allclose(VE(0.01, 50.0).diffusion(t) ** 2, (0.01 * 5000**t) ** 2 * 2 * math.log(5000))  # eq. 30
    assert torch.allclose(EDM(0.01, 80.0).sigma(t), 80 * t)
    cosine = (torch.cos((t + 0.008) / 1.008 * math.pi / 2) / math.cos(0.008 / 1.008 * math.pi / 2)) ** 2
    assert torch.allclose(Cosine().alpha(t) ** 2, cosine)  # Nichol & Dhariwal 2021, eq. 17
    assert torch.allclose(LinearFlow().alpha(t) + LinearFlow().sigma(t), torch.ones(3, dtype=f64))


def test_ddpm_is_the_discretised_vp_schedule():
    """Song et al. 2021, appendix B: with T steps and beta_i = beta(i / T) / T the noise levels approach VP's."""
    t = torch.linspace(0.05, 1, 20, dtype=f64)
    gaps = []
    for n in (1000, 4000):
        discrete = DDPM(0.1 / n, 20.0 / n, n)
        gaps.append((discrete.alpha(t) / VP().alpha(t) - 1).abs().max().item())
    assert gaps[1] < 0.3 * gaps[0] < 0.03


@pytest.mark.parametrize("schedule", [DDPM(), DDPM(1e-3, 0.2, 100), VP(), Cosine()], ids=repr)
def test_some_schedules_preserve_variance(schedule):
    alpha, sigma = schedule(torch.linspace(0, schedule.t_max, 1001, dtype=f64))
    assert torch.allclose(alpha**2 + sigma**2, torch.ones_like(alpha), atol=1e-14)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: VE(-1.0, 5.0), "sigma_min must be a positive number, got -1.0"),
        (lambda: VE(math.nan, 5.0), "got nan"),
        (lambda: VE(5.0, 0.01), "got 5.0 >= 0.01; swap them"),
        (lambda: VE(1.0, 1.0), "got 1.0 >= 1.0"),
        (lambda: VE(n_levels=1), "n_levels must be at least 2, got 1"),
        (lambda: EDM(0.0, 5.0), "sigma_min must be a positive number, got 0.0"),
        (lambda: EDM(1e-320, 5.0), "sigma_min must be at least 1e-30, got 1e-320"),
        (lambda: EDM(0.01, 1e200), "sigma_max must be at most 1e+30 on this schedule, got 1e+200"),
        (lambda: LinearFlow(5.0, 2.0), "got 5.0 >= 2.0; swap them"),
        (lambda: Cosine(s=0.0), "s must be positive, got 0.0"),
        (lambda: VP(20.0, 0.1), "got 20.0 and 0.1; swap them"),
        (lambda: VP(0.1, 0.2, sigma_min=3.0), "sigma_min must be below"),
        (lambda: DDPM(0.02, 1e-4), "got 0.02 and 0.0001; swap them"),
        (lambda: DDPM(1e-4, 1.5), "got 0.0001 and 1.5"),
        (lambda: DDPM(n_steps=1), "n_steps must be at least 2, got 1"),
    ],
)
def test_impossible_schedules_are_refused_with_the_value(make, words):
    with pytest.raises(ValueError, match=words.replace("+", r"\+")):
        make()
