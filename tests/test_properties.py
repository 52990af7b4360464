"""Properties of schedules, parameterisations and grids, for all settings and all times.

Rounding is allowed for as follows. A formula evaluated in floating point gives the exact value at a neighbouring time,
`t (1 + eps)`, up to a few roundings; where a value changes fast with t, so may its rounding.
"""

import math

import pytest
import torch
from hypothesis import given, strategies as st
from properties import f32, f64, powers, tried

from toy_score.parameterisations import (
    DataPrediction,
    EDMPreconditioning,
    FlowPrediction,
    LogSigma,
    NoisePrediction,
    ScorePrediction,
    Sigma,
    Time,
    VelocityPrediction,
)
from toy_score.samplers.grids import Angular, Geometric, Karras, Trailing, Uniform
from toy_score.schedules import DDPM, EDM, VE, VP, Cosine, LinearFlow, SubVP

seeds = st.integers(0, 2**62)
levels = st.tuples(powers(1e-8, 1e4), powers(1.01, 1e8)).map(lambda low_times: (low_times[0], math.prod(low_times)))


@st.composite
def steep(draw, cls):
    """A schedule with a linear beta whose noise exceeds its lowest level."""
    low = draw(powers(1e-3, 10.0))
    sigma_min = draw(powers(1e-6, 0.02))
    return cls(low, max(low * draw(powers(1.01, 1e4)), 1.0), sigma_min)


@st.composite
def ladders(draw):
    low = draw(powers(1e-7, 0.5))
    return DDPM(low, min(low * draw(powers(1.0, 1e4)), 0.999), draw(st.integers(2, 2000)))


SCHEDULES = {
    "VE": levels.map(lambda ends: VE(*ends)),
    "EDM": levels.map(lambda ends: EDM(*ends)),
    "LinearFlow": levels.map(lambda ends: LinearFlow(*ends)),
    "Cosine": st.builds(Cosine, powers(1e-4, 0.5), powers(1e-8, 0.01), powers(0.1, 1e6)),
    "VP": steep(VP),
    "SubVP": steep(SubVP),
    "DDPM": ladders(),
}
schedules = st.one_of(*SCHEDULES.values())


def times(schedule, seed, n=200, dtype=f64):
    """Times from `t_min` to `t_max`, both included, evenly spread in time and in the logarithm of the noise level."""
    g = torch.Generator().manual_seed(seed)
    low, high = schedule.t_min, schedule.t_max
    even = low + (high - low) * torch.rand(n, generator=g, dtype=f64)
    ratio = torch.rand(n, generator=g, dtype=f64) * math.log(schedule.ratios[1] / schedule.ratios[0])
    t = torch.cat([torch.tensor([low, high], dtype=f64), even, schedule.time(schedule.ratios[0] * ratio.exp())])
    return t.clamp(low, high).sort().values.to(dtype)


def speeds(schedule, t):
    """`|d log alpha / dt|` and `|d log sigma / dt|`, `(n,)`; at a step of a ladder those of the steeper side."""
    found = []
    for shift in (0.0, 2e-3 / schedule.n_steps) if isinstance(schedule, DDPM) else (0.0,):
        sigma, f, g = schedule.sigma(t), *(v((t + shift).clamp(max=1.0)) for v in (schedule.drift, schedule.diffusion))
        found.append(torch.stack([f.abs(), (g**2 / (2 * sigma**2) + f).abs()]))
    return torch.stack(found).amax(dim=0)


# Schedules


@tried
@given(schedule=schedules, seed=seeds)
def test_signal_falls_and_noise_rises_and_both_are_positive(schedule, seed):
    alpha, sigma = schedule(times(schedule, seed))
    assert ((alpha > 0) & (alpha <= 1)).all()
    assert (sigma > 0).all()
    assert (alpha.diff() <= 1e-15 * alpha[1:]).all()
    assert (sigma.diff() >= -1e-15 * sigma[1:]).all()


@tried
@given(schedule=schedules, seed=seeds)
def test_time_of_is_the_inverse_of_the_ratio(schedule, seed):
    t = times(schedule, seed)
    r = schedule.ratio(t)
    eps, speed = 2.0**-52, speeds(schedule, t).sum(dim=0)  # d log r / dt
    assert ((schedule.time_of(r) - t).abs() <= 32 * eps * (t + 1 / speed)).all()
    assert ((schedule.ratio(schedule.time_of(r)) / r - 1).abs() <= 32 * eps * (1 + t * speed)).all()


@tried
@given(schedule=schedules, seed=seeds)
def test_drift_and_diffusion_are_the_derivatives_of_signal_and_noise(schedule, seed):
    """`f = d log alpha / dt` and `g^2 = d sigma^2 / dt - 2 f sigma^2`, by automatic differentiation."""
    t = times(schedule, seed)
    if isinstance(schedule, DDPM):  # between the steps: at them it has two derivatives
        t = ((t * schedule.n_steps).floor().clamp(max=schedule.n_steps - 1) + 0.5) / schedule.n_steps
    alpha, sigma = schedule(t.requires_grad_())
    alpha_dt, sigma_dt = (torch.autograd.grad(v.sum() + 0 * t.sum(), t, retain_graph=True)[0] for v in (alpha, sigma))
    t, alpha, sigma = t.detach(), alpha.detach(), sigma.detach()
    f, g = schedule.drift(t), schedule.diffusion(t)
    tolerance = 1e-9 + 2.0**-44 * f.abs()  # near the end the derivatives change fast with t
    assert ((f - alpha_dt / alpha).abs() <= tolerance * f.abs()).all()
    variance_dt, drained = 2 * sigma * sigma_dt, -2 * f * sigma**2
    assert ((g**2 - variance_dt - drained).abs() <= tolerance * (variance_dt.abs() + drained)).all()
    assert ((f <= 0) & (g >= 0)).all()


@tried
@given(schedule=schedules, seed=seeds)
def test_a_schedule_in_float32_is_that_of_float64_at_a_neighbouring_time(schedule, seed):
    t = times(schedule, seed, dtype=f32)
    alpha, sigma = (v.double() for v in schedule(t))
    exact_alpha, exact_sigma = schedule(t.double())
    of_alpha, of_sigma = speeds(schedule, t.double())
    assert ((alpha / exact_alpha - 1).abs() <= 2.0**-20 * (1 + t * of_alpha)).all()
    assert ((sigma / exact_sigma - 1).abs() <= 2.0**-20 * (1 + t * of_sigma)).all()


# Parameterisations

PREDICTED = {
    ScorePrediction(): lambda x0, eps, alpha, sigma: -eps / sigma,
    NoisePrediction(): lambda x0, eps, alpha, sigma: eps,
    DataPrediction(): lambda x0, eps, alpha, sigma: x0,
    VelocityPrediction(): lambda x0, eps, alpha, sigma: (alpha * eps - sigma * x0) / torch.hypot(alpha, sigma),
    FlowPrediction(): lambda x0, eps, alpha, sigma: eps - x0,
}


def pair(seed, n=50):
    """Clean points and noise, `(n, 2)` float64."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, generator=g, dtype=f64), torch.randn(n, 2, generator=g, dtype=f64)


@pytest.mark.parametrize("parameterisation", PREDICTED, ids=repr)
@tried
@given(schedule=schedules, seed=seeds)
def test_a_network_that_predicts_what_it_should_gives_clean_point_noise_and_score(parameterisation, schedule, seed):
    alpha, sigma = schedule(times(schedule, seed, n=24)[:, None])
    x0, eps = pair(seed, n=len(alpha))
    x, F = alpha * x0 + sigma * eps, PREDICTED[parameterisation](x0, eps, alpha, sigma)
    of_x, of_F = alpha * x0.abs() + sigma * eps.abs(), F.abs() + x0.abs() + eps.abs()  # sizes before cancellation
    for kind, expected in (("data", x0), ("noise", eps), ("score", -eps / sigma)):
        skip, out = getattr(parameterisation, kind)(alpha, sigma)
        rounding = 1e-14 * (abs(skip) * of_x + out.abs() * of_F + expected.abs())
        assert ((skip * x + out * F - expected).abs() <= rounding).all(), kind


@tried
@given(schedule=schedules, seed=seeds, sigma_data=powers(1e-3, 1e3))
def test_the_preconditioned_network_has_unit_variance_and_predicts_what_its_input_does_not_tell(
    schedule, seed, sigma_data
):
    """For data `N(0, sigma_data^2 I)`: the input has variance 1, the output's target too, and they are uncorrelated."""
    alpha, sigma = schedule(times(schedule, seed, n=24)[:, None])
    edm = EDMPreconditioning(sigma_data)
    (c_skip, c_out), (k_skip, k_out) = edm.data(alpha, sigma), edm.noise(alpha, sigma)
    one = torch.ones_like(alpha)
    assert torch.allclose(edm.c_in(alpha, sigma) * torch.hypot(alpha * sigma_data, sigma), one, rtol=1e-13)
    # The target F = (x0 - c_skip x) / c_out has these parts of x0 and of the noise.
    of_x0, of_noise = sigma * k_skip * sigma_data / c_out, -c_skip * sigma / c_out
    assert torch.allclose(of_x0**2 + of_noise**2, one, rtol=1e-12)
    correlation = (of_x0 * alpha * sigma_data + of_noise * sigma) / torch.hypot(alpha * sigma_data, sigma)
    assert (correlation.abs() <= 1e-13).all()
    assert torch.allclose(alpha * c_out, -sigma * k_out, rtol=1e-13)


@pytest.mark.parametrize("parameterisation", [*PREDICTED, EDMPreconditioning(0.7)], ids=repr)
@tried
@given(schedule=schedules, seed=seeds)
def test_clean_point_and_noise_of_any_output_make_up_the_noisy_point(parameterisation, schedule, seed):
    """`alpha D + sigma eps = x` for every x and F, and in float32 all factors are those of float64."""
    alpha, sigma = schedule(times(schedule, seed, n=24, dtype=f32)[:, None])
    for kind in ("data", "noise", "score"):
        for single, double in zip(
            getattr(parameterisation, kind)(alpha, sigma),
            getattr(parameterisation, kind)(alpha.double(), sigma.double()),
            strict=True,
        ):
            if isinstance(single, float):
                assert single == double == 0.0
            else:
                assert torch.allclose(single.double(), double, rtol=2e-6, atol=0.0), kind
    alpha, sigma = alpha.double(), sigma.double()
    (c_skip, c_out), (k_skip, k_out) = parameterisation.data(alpha, sigma), parameterisation.noise(alpha, sigma)
    assert torch.allclose(alpha * c_skip + sigma * k_skip, torch.ones_like(alpha), rtol=1e-13)
    assert torch.allclose(alpha * c_out, -sigma * k_out, rtol=1e-13)


@tried
@given(schedule=schedules, seed=seeds)
def test_the_conditioning_of_the_network_is_the_stated_number(schedule, seed):
    t = times(schedule, seed, n=24)[:, None]
    alpha, sigma = schedule(t)
    assert torch.equal(Time()(t, alpha, sigma), t)
    assert torch.equal(Sigma()(t, alpha, sigma), sigma)
    quarter = torch.tensor(
        [[math.log(s / a) / 4] for a, s in zip(alpha[:, 0].tolist(), sigma[:, 0].tolist(), strict=True)], dtype=f64
    )
    assert torch.allclose(LogSigma()(t, alpha, sigma), quarter, rtol=1e-13, atol=1e-15)


# Grids


@st.composite
def grids(draw, schedule):
    """A grid; the middle of an angular one is between the schedule's levels, where its docstring wants it."""
    low, high = schedule.ratios
    scale = low * (high / low) ** draw(st.floats(0.0, 1.0))
    return draw(st.sampled_from([Uniform(), Trailing(), Geometric(), Karras(draw(powers(0.1, 1e3))), Angular(scale)]))


@tried
@given(schedule=schedules, data=st.data(), n=st.integers(1, 300))
def test_a_grid_descends_from_the_highest_time_to_the_lowest(schedule, data, n):
    grid = data.draw(grids(schedule))
    t = grid(schedule, n)
    assert t.dtype == f64
    assert len(t) == n
    assert t[0] == schedule.t_max
    assert (t.diff() < 0).all()
    assert t[-1] >= schedule.t_min
    assert (schedule.ratio(t).diff() < 0).all()
    if n > 1 and not isinstance(grid, Trailing):
        assert schedule.ratio(t[-1]).item() == pytest.approx(schedule.ratios[0], rel=1e-9)
