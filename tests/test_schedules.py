"""Schedules: the papers' numbers, and the properties every schedule must have."""

import math

import pytest
import torch

from toy_score.schedules import DDPM, VE

SCHEDULES = [VE(), VE(0.01, 5.0), DDPM(), DDPM(1e-3, 0.2, 100)]
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


def test_the_ends_of_ddpms_ladder_are_the_papers():
    alpha_bar = DDPM().alpha(DDPM().ladder) ** 2
    assert alpha_bar[-1].item() == pytest.approx(0.9999, abs=1e-12)
    assert alpha_bar[0].item() == pytest.approx(4.0358e-5, rel=1e-4)


@every
def test_time_inverts_the_noise_level(schedule):
    t = torch.linspace(schedule.t_min, 1, 777, dtype=f64)
    assert torch.allclose(schedule.time(schedule.ratio(t)), t, atol=1e-12)
    assert schedule.time(torch.tensor([1e-9, 1e9], dtype=f64)).tolist() == pytest.approx([schedule.t_min, 1.0])


@every
def test_noise_rises_and_signal_falls(schedule):
    t = torch.linspace(0, 1, 5001, dtype=f64)
    alpha, sigma = schedule(t)
    assert (sigma.diff() > 0).all()
    assert (alpha.diff() <= 0).all()
    assert ((alpha > 0) & (alpha <= 1)).all()


@every
def test_float32_follows_float64(schedule):
    t = torch.rand(10_000, generator=torch.Generator().manual_seed(0)).clamp(min=schedule.t_min)
    for low, high in zip(schedule(t), schedule(t.double()), strict=True):
        assert torch.allclose(low.double(), high, rtol=1e-4)


@every
def test_the_ladder_descends_from_one_to_the_lowest_time(schedule):
    ladder = schedule.ladder
    assert ladder[0] == 1
    assert ladder[-1] == pytest.approx(schedule.t_min)
    assert (ladder.diff() < 0).all()


@pytest.mark.parametrize("schedule", [DDPM(), DDPM(1e-3, 0.2, 100)], ids=repr)
def test_ddpm_preserves_variance(schedule):
    alpha, sigma = schedule(torch.linspace(0, 1, 1001, dtype=f64))
    assert torch.allclose(alpha**2 + sigma**2, torch.ones_like(alpha), atol=1e-14)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: VE(-1.0, 5.0), "sigma_min must be a positive number, got -1.0"),
        (lambda: VE(math.nan, 5.0), "got nan"),
        (lambda: VE(5.0, 0.01), "got 5.0 >= 0.01; swap them"),
        (lambda: VE(1.0, 1.0), "got 1.0 >= 1.0"),
        (lambda: VE(n_levels=1), "n_levels must be at least 2, got 1"),
        (lambda: DDPM(0.02, 1e-4), "got 0.02 and 0.0001; swap them"),
        (lambda: DDPM(1e-4, 1.5), "got 0.0001 and 1.5"),
        (lambda: DDPM(n_steps=1), "n_steps must be at least 2, got 1"),
    ],
)
def test_impossible_schedules_are_refused_with_the_value(make, words):
    with pytest.raises(ValueError, match=words.replace("+", r"\+")):
        make()
