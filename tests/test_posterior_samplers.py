"""Rules that correct a prior's denoiser for an observation, and particles that correct the rules."""

import math

import pytest
import torch

from toy_score import (
    DPS,
    EDM,
    PGDM,
    TMPD,
    VP,
    DDPMAncestral,
    EDMPreconditioning,
    EightGaussians,
    Energy,
    ExactDenoiser,
    FeynmanKac,
    GaussianMixture,
    Heart,
    LinearFlow,
    LinearObservation,
    LinearReward,
    LogSigma,
    NetworkDenoiser,
    Posterior,
    ProbabilityFlow,
    Rewarded,
    RungeKutta4,
    TwistedDiffusion,
)
from toy_score.backbones import MLP
from toy_score.component import from_config, to_config
from toy_score.metrics import SlicedWasserstein
from toy_score.posteriors import as_covariance

f64 = torch.float64
FIRST = LinearObservation([[1.0, 0.0]], [1.0], 0.3)
SKEW = LinearObservation([[1.0, 0.5], [0.2, 2.0]], [1.0, 1.0], 0.4)
NORMAL = GaussianMixture([[0.5, -1.0]], covariances=[[[2.0, 0.7], [0.7, 1.0]]])
ROUND = GaussianMixture([[0.0, 0.0]], stds=1.5)
SCHEDULE = EDM(sigma_min=0.02, sigma_max=100.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sliced_w1_in_floors(x, q):
    metric, values = SlicedWasserstein(q), []
    for points in [x, *(q.sample(len(x), generator(k)) for k in range(8))]:
        metric.reset()
        metric.update(points)
        values.append(metric.compute().item())
    return values[0] / (sum(values[1:]) / 8)


@pytest.mark.parametrize("schedule", [SCHEDULE, VP(), LinearFlow()], ids=repr)
@pytest.mark.parametrize("observation", [FIRST, SKEW], ids=repr)
@pytest.mark.parametrize(("prior", "rule"), [(NORMAL, TMPD()), (ROUND, PGDM(1.5))], ids=repr)
def test_a_rule_with_the_right_covariance_is_exact_for_a_normal_prior(prior, rule, observation, schedule):
    exact = ExactDenoiser(prior.posterior(observation), schedule)
    ruled = Posterior(ExactDenoiser(prior, schedule), observation, rule)
    for t in (schedule.t_min + 1e-3, 0.3, 0.8):
        x = torch.randn(50, 2, generator=generator(), dtype=f64)
        assert torch.allclose(ruled.denoise(x, t), exact.denoise(x, t), atol=1e-6)
        assert torch.allclose(ruled.noise(x, t), exact.noise(x, t), atol=1e-5)
        assert torch.allclose(ruled.velocity(x, t), exact.velocity(x, t), atol=1e-5)
        assert torch.allclose(ruled.score(x, t), exact.score(x, t), rtol=1e-5, atol=1e-5)
    for wrong in (DPS(), PGDM(0.7)):
        off = Posterior(ruled.denoiser, observation, wrong).denoise(x, 0.3) - exact.denoise(x, 0.3)
        assert off.abs().max() > 0.01


@pytest.mark.parametrize("rule", [DPS(), PGDM()], ids=repr)
@pytest.mark.parametrize("observation", [FIRST, SKEW], ids=repr)
def test_the_gradient_of_a_rule_is_that_of_its_likelihood(observation, rule):
    denoiser = Posterior(ExactDenoiser(EightGaussians(), VP()), observation, rule)
    x = torch.randn(30, 2, generator=generator(), dtype=f64).requires_grad_()
    twist = denoiser.twist(x, 0.3)
    (slope,) = torch.autograd.grad(twist.log_h.sum(), x)
    assert torch.allclose(twist.gradient / VP().alpha(torch.tensor(0.3, dtype=f64)), slope, atol=1e-8)


def test_the_likelihood_of_a_rule_is_that_of_a_normal_law():
    denoiser = Posterior(ExactDenoiser(NORMAL, SCHEDULE), SKEW, TMPD())
    x, t = torch.randn(5, 2, generator=generator(), dtype=f64), SCHEDULE.level_at(0.7).ratio
    D, log_h, _ = denoiser.twist(x, SCHEDULE.level_at(0.7))
    H = torch.tensor(SKEW.matrix, dtype=f64)
    V = torch.linalg.inv(torch.linalg.inv(NORMAL._S[0]) + torch.eye(2, dtype=f64) / t**2)  # of x0 given x_t
    law = torch.distributions.MultivariateNormal(D @ H.T, H @ V @ H.T + 0.16 * torch.eye(2, dtype=f64))
    assert torch.allclose(log_h, law.log_prob(torch.tensor(SKEW.value, dtype=f64)), atol=1e-6)
    assert torch.allclose(denoiser.log_h(x), SKEW.log_likelihood(x))


def test_the_nearest_covariance_drops_negative_eigenvalues_only():
    M = torch.randn(100, 2, 2, generator=generator(), dtype=f64)
    values, Q = torch.linalg.eigh(0.5 * (M + M.mT))
    assert torch.allclose(as_covariance(M), Q @ torch.diag_embed(values.clamp(min=0)) @ Q.mT, atol=1e-12)


def test_a_posterior_of_a_network_is_a_denoiser_for_samplers_and_likelihoods():
    torch.manual_seed(0)
    network = NetworkDenoiser(MLP((16,)), SCHEDULE, EDMPreconditioning(), LogSigma())
    posterior = Posterior(network, FIRST)
    x = RungeKutta4(n_steps=3)(posterior, 20, generator())
    assert x.isfinite().all()
    assert (x[:, 0] - 1.0).abs().mean() < 0.5
    D, J = network.denoise_jacobian(x, 0.5)
    h = torch.tensor([[1e-3, 0.0]])
    slope = (network.denoise(x + h, 0.5) - network.denoise(x - h, 0.5)) / 2e-3
    assert torch.allclose(D, network.denoise(x, 0.5), atol=1e-6)
    assert torch.allclose(J[:, :, 0], slope, atol=1e-3)


def test_the_likelihood_of_a_posterior_is_found_by_its_flow():
    posterior = Posterior(ExactDenoiser(NORMAL, SCHEDULE), FIRST)
    exact, x = ExactDenoiser(NORMAL.posterior(FIRST), SCHEDULE), torch.tensor([[1.0, -0.5], [0.8, 0.3]], dtype=f64)
    assert torch.allclose(ProbabilityFlow(posterior).log_prob(x), ProbabilityFlow(exact).log_prob(x), atol=1e-5)


@pytest.mark.parametrize("prior", [ExactDenoiser(EightGaussians(), SCHEDULE), ExactDenoiser(Heart(), VP())], ids=repr)
def test_answers_record_gradients_only_for_points_or_parameters_that_have_one(prior):
    """With an exact prior none, though its Jacobian is taken by differentiation; the values are the same."""
    posterior, x = Posterior(prior, FIRST, TMPD()), torch.randn(5, 2, generator=generator())
    twists = [posterior.twist(x, 0.5)]
    with torch.no_grad():
        twists.append(posterior.twist(x, 0.5))
    for part, same in zip(*twists, strict=True):
        assert not part.requires_grad
        assert torch.equal(part, same)
    assert not posterior.score(x, 0.5).requires_grad
    assert not prior.denoise_jacobian(x, 0.5)[1].requires_grad
    z = x.double().requires_grad_()
    (slope,) = torch.autograd.grad(posterior.denoise(z, 0.5)[:, 0].sum(), z)
    h = torch.tensor([[1e-5, 0.0]], dtype=f64)
    difference = (posterior.denoise(z + h, 0.5) - posterior.denoise(z - h, 0.5))[:, 0] / 2e-5
    assert torch.allclose(slope[:, 0], difference, atol=1e-6)
    rewarded = Rewarded(prior, LinearReward([1.0, 0.0]))
    assert not rewarded.denoise(x, 0.5).requires_grad


@pytest.mark.parametrize("parameterisation", [EDMPreconditioning(), Energy()], ids=repr)
def test_answers_of_a_network_record_the_gradients_of_its_parameters(parameterisation):
    torch.manual_seed(0)
    network = NetworkDenoiser(MLP((8,)), SCHEDULE, parameterisation, LogSigma())
    Posterior(network, FIRST).denoise(torch.randn(5, 2, generator=generator()), 0.5).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.backbone.layers[0].parameters())


def test_derivatives_in_inference_mode_are_refused_in_one_line():
    posterior = Posterior(ExactDenoiser(NORMAL, SCHEDULE), FIRST)
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"^derivatives .* use torch.no_grad\(\)") as told:
        posterior.denoise(torch.zeros(1, 2), 0.5)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("component", [Posterior(ExactDenoiser(NORMAL, SCHEDULE), FIRST, PGDM(2.0)), TMPD()], ids=repr)
def test_posteriors_and_rules_are_described_by_plain_values(component):
    assert from_config(to_config(component)) == component


# Particles. Tolerances are five standard deviations of 4096 samples, whose seeds are fixed.


@pytest.mark.parametrize("sampler", [TwistedDiffusion(40), FeynmanKac(40)], ids=lambda s: type(s).__name__)
def test_particles_have_the_posterior_and_its_evidence_whatever_the_rule(sampler):
    exact, evidence = NORMAL.posterior(FIRST), torch.distributions.Normal(0.5, math.sqrt(2.0 + 0.09))
    denoiser = Posterior(ExactDenoiser(NORMAL, SCHEDULE), FIRST, PGDM())  # which alone is wrong here
    noise, last = sampler.stream(3, 0, 4096, torch.device("cpu")), []
    x = sampler.walk(denoiser, sampler.start(SCHEDULE, noise), noise, observe=lambda i, x, memory: last.append(memory))
    assert (x.mean(0) - exact._mu[0]).abs().max() < 0.12
    assert (x.T.cov() - exact._S[0]).abs().max() < 0.2
    assert last[-1].log_mean[0].item() == pytest.approx(evidence.log_prob(torch.tensor(1.0)).item(), abs=0.1)
    assert 0 < min(memory.ess.min().item() for memory in last[1:]) < 1


def test_particles_mend_the_weights_of_modes_that_a_rule_gets_wrong():
    prior, observation = EightGaussians(), LinearObservation([[1.0, 0.0]], [0.0], 1.0)
    q, denoiser = prior.posterior(observation), Posterior(ExactDenoiser(prior, SCHEDULE), observation, DPS())
    alone = DDPMAncestral(n_steps=64, grid=TwistedDiffusion().grid)(denoiser, 4096, generator())
    mended = TwistedDiffusion(64, per_sample=2)(denoiser, 4096, generator())
    assert sliced_w1_in_floors(alone, q) > 3.0
    assert sliced_w1_in_floors(mended, q) < 2.0


@pytest.mark.parametrize("sampler", [TwistedDiffusion(6), FeynmanKac(6, per_sample=2)], ids=repr)
def test_a_sample_of_particles_depends_on_its_seed_and_block_only(sampler):
    denoiser = Posterior(ExactDenoiser(EightGaussians(), SCHEDULE), FIRST)
    x = sampler(denoiser, 5000, generator())
    assert x.shape == (5000, 2)
    assert torch.equal(sampler(denoiser, 10, generator()), x[:10])
    assert torch.equal(sampler(denoiser, 500, generator(), first=4000), x[4000:4500])
    assert not torch.equal(sampler(denoiser, 10, generator(1)), x[:10])


def test_paths_of_particles_are_those_of_their_ancestors():
    denoiser, sampler = Posterior(ExactDenoiser(EightGaussians(), SCHEDULE), FIRST), FeynmanKac(40, threshold=1.0)
    path = sampler.trajectory(denoiser, 50, generator())
    assert torch.equal(path.x[-1], sampler(denoiser, 50, generator()))
    steps = path.x.diff(dim=0).norm(dim=2)  # a stranger's path would jump from mode to mode at low noise
    assert (steps[-10:] / path.ratio[-11:-1, None]).max() < 6.0
    with pytest.raises(ValueError, match="at most 4096 paths, got 5000"):
        sampler.trajectory(denoiser, 5000, generator())


def test_particles_without_an_observation_are_ancestral_sampling():
    q = EightGaussians()
    x = TwistedDiffusion(64)(ExactDenoiser(q, SCHEDULE), 4096, generator())
    assert sliced_w1_in_floors(x, q) < 2.5


def test_resampling_along_a_curve_keeps_the_shares_and_adds_hardly_any_noise():
    """The variance that it adds to the mean is below a tenth of that of independent draws: 30 draws, 1e-6 by chance."""
    sampler, x = TwistedDiffusion(per_sample=2), torch.randn(8192, 2, generator=generator(), dtype=f64)
    population = sampler.unweighted(x)._replace(log_w=x[:, 0])
    w, means = x[:, 0].softmax(dim=0), []
    for seed in range(30):
        u = torch.rand(8192, 2, generator=generator(seed))
        after, k = sampler.resampled(population, x, u, 2.0)
        assert ((torch.bincount(k, minlength=8192) - 8192 * w).abs() < 1.0).all()
        assert (after.log_w == 0).all()
        means.append(x[k][::2].mean(dim=0))
    mean = (w[:, None] * x).sum(dim=0)
    independent = (w[:, None] * (x - mean).square()).sum(dim=0) / 4096
    assert ((torch.stack(means) - mean).square().mean(dim=0) < 0.1 * independent).all()
    assert x[k][:400:2, 0].std() > 0.5  # the first samples are from everywhere


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_particles_that_leave_for_infinity_are_replaced_and_spoil_no_others(lost):
    """With a network a rule sends some there; one weight that is not a number made all of them so."""
    sampler, x = TwistedDiffusion(), torch.randn(8192, 2, generator=generator())
    x[:100], u = math.nan, torch.rand(8192, 2, generator=generator(1))
    population = sampler.unweighted(x)._replace(log_w=torch.where(x[:, 0].isnan(), lost, 0.5))
    after, k = sampler.resampled(population, x, u, 0.995)
    assert k.min() >= 100
    assert (after.log_w == 0).all()
    assert after.ess[0].item() == pytest.approx(8092 / 8192)
    assert after.log_mean[0].item() == pytest.approx(0.5 + math.log(8092 / 8192), abs=1e-6)
    none, _ = sampler.resampled(population._replace(log_w=torch.full((8192,), lost)), x, u, 0.5)
    assert none.ess[0].item() == pytest.approx(1.0)  # nothing is known of any


def test_arguments_of_particles_are_checked():
    with pytest.raises(ValueError, match=r"threshold must be in \[0, 1\], got 2"):
        TwistedDiffusion(threshold=2)
    with pytest.raises(ValueError, match="per_sample must be at least 1, got 0"):
        FeynmanKac(per_sample=0)
    with pytest.raises(ValueError, match="number of samples must be at least 1, got 0"):
        FeynmanKac()(ExactDenoiser(ROUND, SCHEDULE), 0)
    with pytest.raises(ValueError, match="data_std must be positive, got 0"):
        PGDM(0.0)


@pytest.mark.parametrize("sampler", [TwistedDiffusion(5), TwistedDiffusion(1), FeynmanKac(5)], ids=repr)
def test_a_sampler_with_particles_evaluates_the_twist_once_a_step(sampler, monkeypatch):
    """The evaluation at the end of a step is kept for the next one, and for the last."""
    calls, twist = [], Posterior.twist
    monkeypatch.setattr(Posterior, "twist", lambda self, x, t: calls.append(len(x)) or twist(self, x, t))
    x = sampler(Posterior(ExactDenoiser(NORMAL, SCHEDULE), FIRST, TMPD()), 64, generator())
    assert x.isfinite().all()
    assert len(calls) == sampler.n_steps
