"""Likelihood and latent codes by the probability flow, against closed form."""

import math

import pytest
import torch
from scipy import stats

from toy_score.backbones import MLP
from toy_score.denoisers import ExactDenoiser, Guided, NetworkDenoiser
from toy_score.distributions import GaussianMixture, Heart, SplitNormal
from toy_score.likelihood import ProbabilityFlow
from toy_score.metrics import Likelihood, likelihood as measured
from toy_score.modules import EDMModule
from toy_score.parameterisations import EDMPreconditioning, LogSigma, VelocityPrediction
from toy_score.schedules import EDM, VP, LinearFlow
from toy_score.standardisation import Standardisation

f64 = torch.float64
TOYS = [Heart(), SplitNormal()]
WIDE = EDM(0.02, 1e5)  # at 80, N(0, 80^2 I) is still a few thousandths of a nat from the noised heart


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def points(p, n, sigma=0.02, dtype=f64):
    x = p.sample(n, generator(1)).to(dtype)
    return x + sigma * torch.randn(n, 2, generator=generator(2), dtype=dtype)


@pytest.mark.parametrize(
    ("p", "schedule", "tolerance", "error"),
    [
        (Heart(), WIDE, 1e-7, 1e-5),
        (SplitNormal(), WIDE, 1e-4, 1e-3),
        (SplitNormal(), VP(sigma_min=0.05), 1e-5, 2e-4),
        (Heart(), LinearFlow(0.05, 2e4), 1e-5, 2e-4),
    ],
    ids=repr,
)
def test_with_the_exact_denoiser_the_likelihood_is_the_closed_form(p, schedule, tolerance, error):
    """Whatever the schedule, but for its prior; and the better, the smaller the tolerance."""
    low = schedule.ratios[0]
    x = points(p, 300, low)
    found = ProbabilityFlow(ExactDenoiser(p, schedule), tolerance).log_prob(x)
    assert (found - p.log_prob(x, low)).abs().mean() < error


def test_float32_suffices_at_the_default_tolerance():
    x = points(Heart(), 300, dtype=torch.float32)
    found = ProbabilityFlow(ExactDenoiser(Heart(), EDM(0.02, 2000.0))).log_prob(x)
    assert (found.double() - Heart().log_prob(x.double(), 0.02)).abs().mean() < 1e-3


def mass(flow):
    """The integral of a density whose details are wider than 0.2: the trapezoidal rule, right to exp(-8.8)."""
    side = torch.linspace(-9, 9, 61, dtype=f64)
    return (flow.log_prob(torch.cartesian_prod(side, side)).exp().sum() * 0.3**2).item()


def untrained(parameterisation):
    torch.manual_seed(1)
    return NetworkDenoiser(MLP((16, 16)).double(), VP(sigma_min=0.2), parameterisation, LogSigma())


@pytest.mark.parametrize("parameterisation", [EDMPreconditioning(), VelocityPrediction()], ids=repr)
def test_the_density_of_any_network_integrates_to_one(parameterisation):
    """An untrained network defines a density as well; the divergence must be that of the very flow it defines."""
    assert mass(ProbabilityFlow(untrained(parameterisation), 1e-5)) == pytest.approx(1.0, abs=2e-3)


def test_the_density_integrates_to_one_where_the_highest_level_keeps_much_of_the_data():
    """At `sigma / alpha = 2` the prior of the angle, `N(0, sin^2 I)`, is a fifth narrower than a standard normal."""
    assert mass(ProbabilityFlow(ExactDenoiser(Heart(), EDM(0.2, 2.0)), 1e-4)) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("parameterisation", [EDMPreconditioning(), VelocityPrediction()], ids=repr)
def test_a_wrong_divergence_would_be_found_by_the_same_test(parameterisation):
    class Half(ProbabilityFlow):
        def _divergence(self, x, level, direction):
            noise, divergence = super()._divergence(x, level, direction)
            return noise, 0.5 * divergence

    assert abs(mass(Half(untrained(parameterisation), 1e-4)) - 1) > 0.01


@pytest.mark.parametrize("p", TOYS, ids=repr)
def test_codes_are_standard_normal_and_decode_to_the_data(p):
    """Kolmogorov distances of the codes of 4000 points below the DKW threshold at level 1e-6; the way back closes."""
    flow, x = ProbabilityFlow(ExactDenoiser(p, WIDE)), points(p, 4000)
    code = flow.encode(x)
    for axis in (0, 1):
        assert stats.kstest(code[:, axis].numpy(), "norm").statistic < math.sqrt(math.log(2e6) / 8000)
    tight = ProbabilityFlow(ExactDenoiser(p, WIDE), 1e-8)
    assert (tight.decode(tight.encode(x[:100])) - x[:100]).norm(dim=1).max() < 1e-5
    assert (flow.decode(code) - x).norm(dim=1).mean() < 5e-3


def test_codes_by_a_wrong_flow_are_not_standard_normal():
    """The twin of the test above: codes of the heart by the flow of the split normal are not normal."""
    code = ProbabilityFlow(ExactDenoiser(SplitNormal(), WIDE), 1e-2).encode(points(Heart(), 4000))
    assert stats.kstest(code[:, 1].numpy(), "norm").statistic > math.sqrt(math.log(2e6) / 8000)


def test_hutchinsons_estimate_has_two_values_with_the_exact_one_in_the_middle():
    """The divergence along directions (1, 1) and (1, -1) is `tr J +- 2 J_01`, at the same points of the same flow."""
    p = GaussianMixture([[0.5, -1.0]], covariances=[[[2.0, 0.9], [0.9, 1.0]]])
    truth, x = ExactDenoiser(p, EDM(0.02, 50.0)), torch.tensor([[1.0, 0.3]], dtype=torch.float64)
    exact = ProbabilityFlow(truth, 1e-5).log_prob(x).item()
    estimates = ProbabilityFlow(truth, 1e-5, hutchinson=True).log_prob(x.repeat(10, 1), generator())
    low, high = estimates.min().item(), estimates.max().item()
    assert high - low > 0.1
    assert ((estimates - low).abs().minimum((estimates - high).abs()) < 1e-3).all()
    assert 0.5 * (low + high) == pytest.approx(exact, abs=1e-3)


def test_hutchinsons_estimate_is_right_on_average():
    """Means of 64 estimates at 20 points: within 4.9 standard errors of the exact divergence's answer (1e-6 each)."""
    x = points(Heart(), 20, 0.1)
    truth = ExactDenoiser(Heart(), EDM(0.1, 80.0))
    exact = ProbabilityFlow(truth).log_prob(x)
    many = ProbabilityFlow(truth, hutchinson=True).log_prob(x.repeat(64, 1), generator(3)).view(64, 20)
    assert many.std(dim=0).max() > 0.01  # it is an estimate
    assert ((many.mean(dim=0) - exact).abs() < 4.9 * many.std(dim=0) / 8 + 1e-3).all()


MAP = Standardisation([1e5, 1e5], [3.0, 2000.0])


def model_in_map_coordinates(p, schedule, units=MAP):
    """A model whose network is exact in the standardised coordinates."""

    class Exact(EDMModule):
        sampling_denoiser = ExactDenoiser(p, schedule)

    return Exact(schedule, standardisation=units)


def test_the_log_density_of_a_model_is_in_the_units_of_the_data():
    """A standard normal in map coordinates: closed form to 1e-4 nats, in float64; in float32, to the digits of x."""
    p, schedule = GaussianMixture([[0.0, 0.0]], stds=1.0), EDM(0.02, 2000.0)
    z = p.sample(50, generator(1)).double()
    x = MAP.inverse(z)
    exact = p.log_prob(z, 0.02) - math.log(3.0 * 2000.0)
    model = model_in_map_coordinates(p, schedule).double()
    assert (model.log_prob(x) - exact).abs().max() < 1e-4
    plain = model_in_map_coordinates(p, schedule, units=None).double()
    assert torch.equal(plain.log_prob(z), ProbabilityFlow(plain.sampling_denoiser).log_prob(z))
    single = model_in_map_coordinates(p, schedule)
    assert single.log_prob(x).dtype == torch.float32
    assert (single.log_prob(x) - exact).abs().max() < 2e-3
    assert (single.log_prob(x.float()) - exact).abs().max() < 2e-2


def test_the_log_density_of_a_model_uses_its_label_and_guidance():
    torch.manual_seed(0)
    model = EDMModule(backbone=MLP((8, 8), n_labels=2), label=1, guidance=2.0, standardisation=MAP)
    x = MAP.inverse(points(Heart(), 20))
    network = model.denoiser
    z, size = MAP(x).float(), math.log(6000.0)
    guided = ProbabilityFlow(Guided(network.conditioned_on(1), network, 2.0), 0.1).log_prob(z) - size
    assert torch.equal(model.log_prob(x, tolerance=0.1), guided)
    assert (guided - ProbabilityFlow(network).log_prob(z) + size).abs().max() > 1e-3


def test_a_nan_point_does_not_affect_the_other_points():
    x = points(Heart(), 20)
    x[3, 0] = torch.nan
    found = ProbabilityFlow(untrained(EDMPreconditioning())).log_prob(x)
    assert found[3].isnan()
    assert found.isnan().sum() == 1


def test_impossible_tolerances_are_refused():
    with pytest.raises(ValueError, match="tolerance must be positive, got -1"):
        ProbabilityFlow(ExactDenoiser(Heart(), VP()), -1)


def test_the_forward_kl_is_the_negative_log_likelihood_minus_the_entropy():
    """Of an exact model whose lowest noise is as large as the data's width: 4.9 standard errors, and 0.01 of the
    solver's. The divergence is near that of a Gaussian and one twice as narrow, log 2 - 1/2."""
    p = GaussianMixture([[-1.0, 0.0], [1.0, 0.0]], stds=0.1)
    x = p.sample(1500, generator(1))
    metric = Likelihood(ExactDenoiser(p, EDM(0.1, 2000.0)))
    metric.update(ProbabilityFlow(ExactDenoiser(p, EDM(0.1, 2000.0))), x)
    found = metric.summary()
    assert found["forward_kl"] == pytest.approx(found["forward_kl_floor"], abs=5 * found["forward_kl_standard_error"])
    assert found["forward_kl"] == pytest.approx(math.log(2) - 0.5, abs=5 * found["forward_kl_standard_error"])
    lacking = found["nll"] - found["entropy"]
    assert lacking == pytest.approx(found["forward_kl"], abs=4.9 * found["nll_standard_error"] + 0.01)


def test_the_forward_kl_between_two_gaussians_is_the_closed_form():
    p, q = GaussianMixture([[0.0, 0.0]], stds=1.0), GaussianMixture([[0.3, 0.0]], stds=1.2)
    x = math.sqrt(1.0004) * p.reference(4096)  # of p at the lowest level, to a high order
    metric = Likelihood(ExactDenoiser(p, WIDE))
    for part in (x[:1500], x[1500:]):
        metric.update(ProbabilityFlow(ExactDenoiser(q, WIDE), 1e-6), part)
    found = metric.summary()
    v, w = 1.0004, 1.4404
    entropy, kl = math.log(2 * math.pi * math.e * v), math.log(w / v) + (v + 0.3**2 / 2) / w - 1
    assert found["forward_kl"] == pytest.approx(kl, abs=1e-3)
    assert found["nll"] == metric.compute().item() == pytest.approx(entropy + kl, abs=1e-3)
    assert found["bits_per_dimension"] == pytest.approx((entropy + kl) / math.log(4), abs=1e-3)
    assert found["entropy"] == p.entropy()
    log_p, log_q = p.log_prob(x, 0.02), q.log_prob(x, 0.02)
    assert found["nll_standard_error"] == pytest.approx(log_q.std().item() / 64, rel=1e-3)
    assert found["forward_kl_standard_error"] == pytest.approx((log_p - log_q).std().item() / 64, rel=1e-3)
    assert abs(found["forward_kl_floor"]) < 1e-3
    assert found["round_trip"] < 1e-3
    assert found["failed"] == 0


def test_the_floor_of_the_forward_kl_has_the_standard_error_of_its_points(monkeypatch):
    """Of N(0, I) with noise as large: the divergence of a point is the logarithm of N(0, I) over N(0, 2 I) there. The
    first sixty points count, of two parts, at 1e-4 of the solver's."""
    monkeypatch.setattr(measured, "FEW", 60)
    p = GaussianMixture([[0.0, 0.0]], stds=1.0)
    truth, x = ExactDenoiser(p, EDM(1.0, 1e5)), points(p, 80, 0.0)
    metric = Likelihood(truth)
    for part in (x[:40], x[40:]):
        metric.update(ProbabilityFlow(truth), part)
    gap, found = math.log(2.0) - x[:60].square().sum(dim=1) / 4, metric.summary()
    assert found["forward_kl_floor"] == pytest.approx(gap.mean().item(), abs=1e-3)
    error = gap.std(correction=0).item() / 60**0.5
    assert found["forward_kl_floor_standard_error"] == pytest.approx(error, rel=1e-3)
