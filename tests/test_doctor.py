"""The doctor: choices with which the optimal network would fail are flagged, and its advice cures them."""

import math

import pytest
import torch

from toy_score.distributions import Heart, SplitNormal
from toy_score.evaluation.doctor import diagnose, prior_kl
from toy_score.parameterisations import EDMPreconditioning
from toy_score.samplers import AnnealedLangevin, DDPMAncestral, Heun, Langevin
from toy_score.schedules import DDPM, EDM, VE, VP, Cosine, LinearFlow

TOYS = [Heart(), SplitNormal()]


def bad(*arguments):
    return {finding.name: finding for finding in diagnose(*arguments) if not finding.good}


@pytest.mark.parametrize("p", TOYS, ids=repr)
def test_the_noise_levels_and_the_start_of_the_original_study_are_flagged(p):
    found = bad(p, VE(0.01, 5.0), AnnealedLangevin(uniform_start=1.5))
    assert set(found) == {"prior", "start"}
    assert "use sigma_max = " in found["prior"].advice
    assert "leave out uniform_start" in found["start"].advice


@pytest.mark.parametrize("p", TOYS, ids=repr)
def test_a_ddpm_schedule_that_ends_too_early_is_flagged(p):
    found = bad(p, DDPM(1e-4, 0.02, 50), DDPMAncestral())
    assert set(found) == {"prior"}
    assert "use beta_max = " in found["prior"].advice


@pytest.mark.parametrize("p", TOYS, ids=repr)
@pytest.mark.parametrize(
    "schedule", [VE(0.01, 5.0), DDPM(n_steps=50), VP(beta_max=3.0), LinearFlow(0.01, 3.0)], ids=repr
)
def test_the_advice_of_the_doctor_solves_the_problem(p, schedule):
    advice = bad(p, schedule, Heun())["prior"].advice
    name, value = advice.removeprefix("use ").split(" (")[0].split(" = ")
    arguments = {key: getattr(schedule, key) for key in ("n_steps",) if isinstance(schedule, DDPM)}
    cured = type(schedule)(**arguments, **{name: float(value)})
    assert not bad(p, cured, Heun())


@pytest.mark.parametrize("p", TOYS, ids=repr)
@pytest.mark.parametrize("schedule", [DDPM(), VP(), EDM(0.01, 500.0), Cosine(), LinearFlow()], ids=repr)
def test_good_choices_are_not_flagged(p, schedule):
    assert not bad(p, schedule, Heun(), EDMPreconditioning(1.0))


def test_settings_that_do_not_fit_the_data_are_flagged():
    assert "use a lowest level of" in bad(SplitNormal(), EDM(0.3, 500.0))["detail"].advice
    assert bad(Heart(), EDM(), None, EDMPreconditioning(10.0))["sigma_data"].advice == "use sigma_data = 1"
    assert "diverges" in bad(Heart(), VE(0.01, 80.0), Langevin(eps=1e-3))["Langevin step"].text


def test_the_divergence_from_the_prior_is_the_closed_form():
    """For the unit normal under noise s: KL(N(0, (1 + s^2) I) || N(0, s^2 I)) = 1 / s^2 - log(1 + 1 / s^2)."""
    from toy_score.distributions import GaussianMixture

    normal = GaussianMixture(means=[[0.0, 0.0]], stds=[1.0], weights=[1.0])
    for s in (0.7, 2.0, 5.0):
        expected = 1 / s**2 - math.log1p(1 / s**2)
        assert prior_kl(normal, s, n=65_536) == pytest.approx(expected, rel=0.05)
    assert torch.tensor([prior_kl(normal, s) for s in (1.0, 10.0, 100.0)]).diff().max() < 0
