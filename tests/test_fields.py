"""The kind of field that a denoiser is: closed form for planted ones, zero defects for the truth."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from toy_score import EDM, MLP, VE, VP, EightGaussians, ExactDenoiser, Guided, Heart, NetworkDenoiser, SplitNormal
from toy_score.distributions import GaussianMixture
from toy_score.metrics import Fields, FieldSymmetry, Straightness, fields
from toy_score.metrics.fields import COORDINATES, denoiser_jacobian, field_table, flow_path, smallest_eigenvalue
from toy_score.parameterisations import EDMPreconditioning, Energy, LogSigma, ScorePrediction

LEVELS = (0.05, 0.5, 3.0)
SCALE = 1.5  # of the Gaussian whose answers are known in closed form


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def gaussian(schedule):
    return ExactDenoiser(GaussianMixture([[0.0, 0.0]], SCALE), schedule)


def measured(denoiser, x0, levels=LEVELS):
    metric = FieldSymmetry(levels)
    metric.update(denoiser, x0, generator(1))
    return metric.compute()


class Rotated(ExactDenoiser):
    """The truth, and a rotation of so many radians per unit of time: `noise + w R y`."""

    w = 0.3

    def noise(self, x, t):
        alpha = self._level(x, t).alpha
        return super().noise(x, t) + self.w * torch.stack([-x[:, 1], x[:, 0]], dim=1) / alpha


class Overdone(ExactDenoiser):
    """Removes three times the noise where `y_0 > 0`: no data of whatever kind asks for that."""

    def noise(self, x, t):
        return torch.where(x[:, :1] > 0, 3.0, 1.0) * super().noise(x, t)


@pytest.mark.parametrize("schedule", [VE(), VP()], ids=repr)
@pytest.mark.parametrize("p", [Heart(), SplitNormal(), EightGaussians()], ids=lambda p: p.name)
def test_the_exact_score_is_a_gradient_and_the_jacobian_of_the_denoiser_a_covariance(p, schedule):
    curl, asymmetry, negative = measured(ExactDenoiser(p, schedule), p.sample(500, generator()))
    assert curl.max() < 1e-8
    assert asymmetry.max() < 1e-8
    assert negative.max() == 0


def test_the_smallest_eigenvalue_is_that_of_the_symmetric_part():
    M = torch.randn(50, 2, 2, generator=generator(), dtype=torch.float64)
    exact = torch.linalg.eigvalsh(0.5 * (M + M.transpose(1, 2)))[:, 0]
    assert torch.allclose(smallest_eigenvalue(M), exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("schedule", [VE(), VP()], ids=repr)
def test_the_jacobian_of_a_gaussians_denoiser_is_its_covariance_over_sigma_squared(schedule):
    y = gaussian(schedule).distribution.sample(20, generator())
    for r in LEVELS:
        expected = SCALE**2 / (SCALE**2 + r**2) * torch.eye(2).expand(20, 2, 2)
        assert torch.allclose(denoiser_jacobian(gaussian(schedule), y, r), expected, atol=1e-5)


@pytest.mark.parametrize("schedule", [VE(), VP()], ids=repr)
def test_a_planted_rotation_is_found_with_its_share_in_closed_form(schedule):
    p, r = gaussian(schedule).distribution, torch.tensor(LEVELS, dtype=torch.float64)
    curl, asymmetry, negative = measured(Rotated(p, schedule), p.sample(50, generator()))
    k, w = r / (SCALE**2 + r**2), Rotated.w  # J = r (k I + w R), dD / dy = I - J
    assert torch.allclose(curl, w**2 / (k**2 + w**2), rtol=1e-4)
    assert torch.allclose(asymmetry, (r * w) ** 2 / ((1 - r * k) ** 2 + (r * w) ** 2), rtol=1e-4)
    assert negative.max() == 0  # the symmetric part is the truth's


def test_points_where_the_jacobian_is_not_a_covariance_are_counted():
    """Eigenvalues `1 - 3 r^2 / (s^2 + r^2)` on the right half, negative there at r = 3 and nowhere at r = 0.05."""
    p, n = gaussian(VE()).distribution, 2000
    metric = FieldSymmetry((0.05, 3.0))
    metric.update(Overdone(p, VE()), p.sample(n, generator()), generator(1))
    low, high = metric.compute()[2].tolist()
    assert low == 0
    assert abs(high - 0.5) < 4.9 * 0.5 / math.sqrt(n)  # one in a million by chance


def test_only_a_network_that_is_an_energy_has_no_curl():
    x0 = Heart().sample(300, generator())
    torch.manual_seed(0)
    backbone = MLP()
    energy = measured(NetworkDenoiser(backbone, VE(), Energy(), LogSigma()), x0)
    vectors = measured(NetworkDenoiser(backbone, VE(), EDMPreconditioning(), LogSigma()), x0)
    assert energy[:2].max() < 1e-12
    assert vectors[0].min() > 1e-6


def test_exact_guidance_has_no_curl():
    """A difference of two gradients is one, so guidance of the exact classes has no curl."""
    p = SplitNormal()
    truth = ExactDenoiser(p, VE())
    assert measured(Guided(truth.conditioned_on(1), truth, 3.0), p.sample(300, generator()))[0].max() < 1e-8


# Straightness


def path(name, r):
    """`z` of a Gaussian's flow, up to a factor, in a coordinate system, and its clock, at noise level `r`."""
    scale, clock = COORDINATES[name]
    r = torch.tensor(r, dtype=torch.float64)
    return (scale(r) * torch.sqrt(SCALE**2 + r**2)).item(), clock(r).item()


def straightness(name, high, low):
    """`S` of the Gaussian's flow between two noise levels, by quadrature of its closed form."""

    def energy(r):  # (dz / du)^2 du / dr, by central differences
        h = 1e-5 * r
        (z1, u1), (z0, u0) = path(name, r + h), path(name, r - h)
        return (z1 - z0) ** 2 / (u1 - u0) / (2 * h)

    (z1, u1), (z0, u0) = path(name, high), path(name, low)
    total = quad(lambda v: energy(math.exp(v)) * math.exp(v), math.log(low), math.log(high), epsrel=1e-8)[0]
    return 1.0 - (z1 - z0) ** 2 / (u1 - u0) / total


def test_a_level_that_the_schedule_does_not_reach_is_measured_at_its_nearest():
    """A rotation added to the truth, asked for beyond either end of the schedule."""
    truth = Rotated(Heart(), EDM(0.5, 2.0))
    x0 = Heart().sample(2000, generator(1))
    metric = FieldSymmetry((5.0, 2.0, 0.5, 0.01))
    metric.update(truth, x0, generator(2))
    curl = metric.compute()[0]
    assert curl[0] == pytest.approx(curl[1].item(), rel=0.1)
    assert curl[3] == pytest.approx(curl[2].item(), rel=0.1)


@pytest.mark.parametrize("schedule", [EDM(0.02, 80.0), VP()], ids=repr)
def test_the_straightness_of_a_gaussians_flow_is_the_closed_form(schedule):
    metric = Straightness(schedule, (3.0, 1.0, 0.2))
    metric.update(gaussian(schedule), torch.randn(50, 2, generator=generator(), dtype=torch.float64))
    found, (low, high) = metric.compute(), schedule.ratios
    assert metric.edges == [high, 3.0, 1.0, 0.2, low]
    spans = [*zip(metric.edges, metric.edges[1:], strict=False), (high, low)]
    expected = np.array([[straightness(name, *span) for span in spans] for name in COORDINATES])
    assert np.allclose(found, expected, rtol=0.01, atol=1e-6)
    assert expected.max() > 0.3  # there is something to find
    assert (found[0] < found[2])[[0, -1]].all()  # far out, Karras' variables are straighter than the line


def test_levels_at_the_ends_of_the_schedule_or_beyond_do_not_divide_the_flow():
    levels = (20.0, 10.0, 9.95, 9.85, 0.0102, 0.01005, 0.01, 0.001)
    assert Straightness(EDM(0.01, 10.0), levels).edges == [10.0, 9.85, 0.0102, 0.01]


def test_the_shares_of_a_field_are_drawn_on_new_axes_or_on_given_ones():
    metric = FieldSymmetry(LEVELS)
    metric.update(Rotated(Heart(), VE()), Heart().sample(20, generator()), generator(1))
    figure, axes = metric.plot()
    assert len(axes.lines) == 3
    assert torch.equal(torch.tensor(axes.lines[1].get_ydata()), metric.compute()[1])
    again, axes = metric.plot([metric.compute()] * 2, axes)
    assert again is figure
    assert len(axes.lines) == 9


def test_a_flow_of_straight_lines_at_constant_speed_has_straightness_0():
    class Point(ExactDenoiser):  # all data at one point
        def denoise(self, x, t):
            return torch.full_like(x, 0.7)

        def noise(self, x, t):
            level = self._level(x, t)
            return (x - level.alpha * 0.7) / level.sigma

    metric = Straightness(VE())
    metric.update(Point(Heart(), VE()), torch.randn(10, 2, generator=generator(), dtype=torch.float64))
    karras, circle, line = metric.compute()
    assert karras.abs().max() < 1e-9
    assert line.abs().max() < 1e-9
    assert circle.max() > 0.01


def test_the_flow_is_followed_to_the_closed_form():
    code, r = torch.randn(5, 2, generator=generator(), dtype=torch.float64), torch.linspace(20, 0.1, 300)
    y = flow_path(gaussian(EDM(0.02, 80.0)), code, r)
    expected = y[0] * torch.sqrt((SCALE**2 + r.double() ** 2) / (SCALE**2 + 400.0))[:, None, None]
    assert torch.allclose(y, expected, rtol=1e-6)


def test_results_of_pieces_and_processes_add_up():
    x0 = Heart().sample(200, generator())
    truth = Rotated(Heart(), VE())
    whole, halves = FieldSymmetry(LEVELS), [FieldSymmetry(LEVELS), FieldSymmetry(LEVELS)]
    for half, x in zip(halves, x0.split(100), strict=True):
        half.update(truth, x, generator(1))
        whole.update(truth, x, generator(1))
    halves[0].merge_state(halves[1])
    assert torch.allclose(halves[0].compute(), whole.compute())
    assert whole.to(torch.float16).sums.dtype == torch.float64


def test_the_learned_field_is_reported_beside_the_exact_one():
    torch.manual_seed(0)
    truth = ExactDenoiser(Heart(), VE())
    fields = Fields(truth)
    g = generator()
    for _ in range(2):
        fields.update(NetworkDenoiser(MLP(), VE(), ScorePrediction(), LogSigma()), Heart().sample(100, g), g)
    found = fields.summary()
    assert min(found["learned"]["curl"]) > 1e-4 > 1e-8 > max(found["exact"]["curl"])
    assert fields.symmetry["exact"].n == 200
    before, fields._seen = fields.summary(), 10**6
    fields.update(truth, Heart().sample(100, g), g)
    assert fields.summary() == before  # enough is enough
    lines = field_table(found)
    assert len(lines) == 1 + 1 + 10 + 1 + 1 + 1 + 11
    assert lines[2].split()[0] == "5"
    assert lines[-1].startswith("all the way".rjust(17))
    assert f"{found['exact']['straightness']['circle'][-1]:.5f}" in lines[-1]


def test_a_reset_forgets_how_many_points_were_seen(monkeypatch):
    monkeypatch.setattr(fields, "POINTS", 40)
    monkeypatch.setattr(fields, "TRAJECTORIES", 4)
    monkeypatch.setattr(fields, "flow_path", lambda denoiser, code, ratios: ratios[:, None, None] * code)  # takes long
    p = GaussianMixture([[0.0, 0.0]], stds=1.0)
    x0, truth = p.sample(60, generator()), ExactDenoiser(p, VE())
    metric, found = Fields(truth), []
    for _ in range(2):
        for x in (x0[:30], x0[30:], x0):
            metric.update(Rotated(p, VE()), x, generator(1))
        found.append(metric.summary())
        assert metric.symmetry["exact"].n == 40  # no more than that
        assert metric.straightness["exact"].update_count == 1
        metric.reset()
    assert found[0] == found[1]
