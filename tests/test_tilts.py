"""Powers and products of densities: the truth on a lattice, sums of scores, and particles that correct them."""

import math

import pytest
import torch

from toy_score import (
    EDM,
    VP,
    Angular,
    DDPMAncestral,
    EightGaussians,
    ExactDenoiser,
    FeynmanKac,
    FeynmanKacCorrector,
    GaussianMixture,
    GridDensity,
    Guided,
    LinearReward,
    Rewarded,
    ScaledScore,
    SplitNormal,
    Tilt,
    TwistedDiffusion,
)
from toy_score.component import from_config, to_config
from toy_score.metrics import PartitionKL

f64 = torch.float64
SCHEDULE = EDM(sigma_min=0.02, sigma_max=200.0)
A = GaussianMixture([[0.5, -1.0]], covariances=[[[2.0, 0.7], [0.7, 1.0]]])
B = GaussianMixture([[-0.5, 0.5]], stds=1.2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def product(exponents):
    """Mean, covariance and the logarithm of the integral of a product of powers of A and B."""
    precisions = [b * torch.linalg.inv(p._S[0]) for b, p in zip(exponents, (A, B), strict=False)]
    P = sum(precisions)
    mean = torch.linalg.solve(P, sum(Q @ p._mu[0] for Q, p in zip(precisions, (A, B), strict=False)))
    log_q = sum(b * p.log_prob(mean[None])[0] for b, p in zip(exponents, (A, B), strict=False))
    return mean, torch.linalg.inv(P), (log_q + math.log(2 * math.pi) - 0.5 * torch.logdet(P)).item()


def kl(x, truth, cuts=6):
    metric = PartitionKL(truth, cuts)
    metric.update(x)
    return metric.compute().item()


# The lattice


@pytest.mark.parametrize("dtype", [torch.float32, f64])
def test_a_density_on_a_lattice_is_the_density_with_the_noise_of_its_spacing(dtype):
    p, q = EightGaussians(), GridDensity([EightGaussians()], [1.0])
    assert q.log_integral == pytest.approx(0.0, abs=1e-6)
    assert q.mode_weights == pytest.approx(p.mode_weights, abs=1e-4)
    for sigma in (0.0, 0.05, 1.0, 30.0):
        x = (p.sample(200, generator()) + sigma * torch.randn(200, 2, generator=generator(1))).to(dtype)
        blurred = math.hypot(sigma, q.spacing)
        assert torch.allclose(q.log_prob(x, sigma), p.log_prob(x, blurred), atol=1e-5, rtol=1e-5)
        assert torch.allclose(q.score(x, sigma), p.score(x, blurred), atol=1e-4, rtol=1e-4)
        assert torch.allclose(q.denoise(x, sigma), x + sigma**2 * p.score(x.double(), blurred).to(dtype), atol=1e-3)


def test_a_tilted_density_has_its_integral_moments_samples_and_modes():
    q = GridDensity([A, B], [1.5, 0.5])
    mean, covariance, log_Z = product([1.5, 0.5])
    assert q.log_integral == pytest.approx(log_Z, abs=1e-6)
    x = q.reference()
    assert torch.allclose(x.mean(0), mean, atol=2e-3)
    assert torch.allclose(x.T.cov(), covariance + q.spacing**2 * torch.eye(2), atol=5e-3)
    assert q.entropy() == pytest.approx(1 + math.log(2 * math.pi) + 0.5 * torch.logdet(covariance).item(), abs=1e-3)
    assert kl(q.sample(20_000, generator()), q) < 63 / 40_000 + 5 * math.sqrt(63 / 2) / 20_000
    right = GridDensity([SplitNormal(), SplitNormal().conditioned_on(1)], [-1.0, 2.0])
    assert right.mode_weights["right"] == pytest.approx(1.0)
    assert right.log_integral == pytest.approx(math.log(2.0), abs=1e-2)  # p(x|c) = 2 p(x) on the right
    assert right.sample(100, generator())[:, 0].min() > 0.9


def test_the_divergence_over_cells_has_the_floor_of_chi_squared_and_sees_a_wrong_weight():
    p = EightGaussians()
    values = torch.tensor([kl(p.sample(5000, generator(k)), p) for k in range(12)])
    floor, sd = 63 / 10_000, math.sqrt(63 / 2) / 5000
    assert abs(values.mean() - floor) < 5 * sd / math.sqrt(12)
    x = p.sample(5000, generator())
    assert kl(x[(x[:, 0] < 2.0) | (torch.arange(5000) % 4 > 0)], p) > floor + 8 * sd  # a quarter of some modes is gone


# The scores


def test_a_power_of_a_normal_law_is_exact_and_a_multiplied_score_is_not():
    for b in (0.5, 2.0):
        exact = ExactDenoiser(GaussianMixture(A.means, covariances=(A._S / b).tolist()), VP())
        tilt, scaled = Tilt([ExactDenoiser(A, VP())], [b]), ScaledScore(ExactDenoiser(A, VP()), b)
        for t in (0.05, 0.3, 0.6):
            x = torch.randn(50, 2, generator=generator(), dtype=f64)
            assert torch.allclose(tilt.denoise(x, t), exact.denoise(x, t), atol=1e-6)
            assert torch.allclose(tilt.noise(x, t), exact.noise(x, t), atol=1e-5)
            assert torch.allclose(scaled.noise(x, t), b * ExactDenoiser(A, VP()).noise(x, t))
            assert torch.allclose(scaled.score(x, t), b * ExactDenoiser(A, VP()).score(x, t))
            level = scaled._level(x, t)
            assert torch.allclose(x - level.alpha * scaled.denoise(x, t), level.sigma * scaled.noise(x, t), atol=1e-6)
        assert (scaled.score(x, 0.6) - exact.score(x, 0.6)).abs().max() > 0.01


def test_guidance_is_a_sum_of_scores_with_exponents_that_sum_to_one():
    whole = ExactDenoiser(EightGaussians(), SCHEDULE)
    one, x = whole.conditioned_on(2), torch.randn(20, 2, generator=generator(), dtype=f64)
    guided = Guided(one, whole, 3.0)
    assert torch.allclose(Tilt([whole, one], [-2.0, 3.0]).denoise(x, 0.4), guided.denoise(x, 0.4), atol=1e-9)


# The particles


@pytest.mark.parametrize("exponents", [(2.0,), (0.5,), (1.0, 1.0), (-0.3, 1.8)], ids=str)
def test_corrected_particles_of_normal_laws_have_the_product_and_its_integral(exponents):
    """Tolerances are five standard deviations of 4096 samples; the product of the noisy laws alone has another mean."""
    tilt = Tilt([ExactDenoiser(p, SCHEDULE) for p in (A, B)][: len(exponents)], exponents)
    sampler, memories = FeynmanKacCorrector(64), []
    noise = sampler.stream(2, 0, 4096, torch.device("cpu"))
    x = sampler.walk(tilt, sampler.start(SCHEDULE, noise), noise, observe=lambda i, x, m: memories.append(m))
    mean, covariance, log_Z = product(exponents)
    assert (x.mean(0) - mean).abs().max() < 0.12
    assert (x.T.cov() - covariance).abs().max() < 0.15 * max(1.0, covariance.max().item())
    assert memories[-1].log_mean[0].item() == pytest.approx(log_Z, abs=0.15)


@pytest.mark.parametrize(
    ("p", "exponents"),
    [(SplitNormal(), (2.0,)), (EightGaussians(), (-2.0, 3.0))],
    ids=str,
)
def test_corrected_particles_are_nearer_to_the_target_than_the_sum_of_scores(p, exponents):
    parts = [p, p.conditioned_on(1)][: len(exponents)]
    truth, tilt = GridDensity(parts, exponents), Tilt([ExactDenoiser(part, SCHEDULE) for part in parts], exponents)
    floor = 63 / 8192
    naive = kl(DDPMAncestral(n_steps=64, grid=FeynmanKacCorrector().grid)(tilt, 4096, generator()), truth) - floor
    corrected = kl(FeynmanKacCorrector(64, per_sample=4)(tilt, 4096, generator()), truth) - floor
    assert corrected < 0.5 * naive


class GivenNoise:
    """The same noise at every draw."""

    def __init__(self, z):
        self.z = z

    def normal(self):
        return self.z

    def uniform(self):
        return torch.full_like(self.z, 0.5)


EQUAL_WEIGHTS = [
    # A power of 1 and a reward of slope 0 give all particles the same weight.
    (FeynmanKacCorrector(langevin=0.0), Tilt([ExactDenoiser(B, VP())], [1.0])),
    (FeynmanKacCorrector(), ExactDenoiser(B, VP())),
    (TwistedDiffusion(), Rewarded(ExactDenoiser(B, VP()), LinearReward([0.0, 0.0]))),
    (FeynmanKac(), Rewarded(ExactDenoiser(B, VP()), LinearReward([0.0, 0.0]))),
    (TwistedDiffusion(), ExactDenoiser(B, VP())),
]


@pytest.mark.parametrize(("sampler", "denoiser"), EQUAL_WEIGHTS, ids=lambda v: type(v).__name__)
def test_particles_of_equal_weights_take_ancestral_steps(sampler, denoiser):
    """At levels whose signal is below 1, with the noise of the posterior of Ho et al. 2020, eq. 7."""
    x, z = torch.randn(2, 50, 2, generator=generator(), dtype=f64)
    t, s = sampler.levels(VP())[100:102]
    after, population = sampler.multistep(denoiser, x, t, s, GivenNoise(z), None)
    exact = DDPMAncestral().step(ExactDenoiser(B, VP()), x, t, s, GivenNoise(z))
    assert torch.allclose(after, exact, atol=1e-9)
    assert (population.log_w - population.log_w[0]).abs().max() < 1e-9
    assert population.ancestors is None


@pytest.mark.parametrize("power", [0.5, 2.0])
def test_a_langevin_step_keeps_the_normal_law_that_it_is_at(power):
    """`N(0, V)^b` with noise is `N(0, V / b + v)`; the step is `(1 - h g) z + sqrt((2 h - h^2 g) v) eps`."""
    V, h = 1.44, 0.3
    tilt = Tilt([ExactDenoiser(GaussianMixture([[0.0, 0.0]], stds=V**0.5), VP())], [power])
    t, s = FeynmanKacCorrector().levels(VP())[100:102]
    x, z = torch.randn(2, 50, 2, generator=generator(), dtype=f64)

    def step(langevin, *noises):
        draws, noise = iter(noises), GivenNoise(z)
        noise.normal = lambda: next(draws)
        sampler = FeynmanKacCorrector(langevin=langevin, threshold=0.0)
        return sampler.multistep(tilt, x, t, s, noise, None)[0] / s.alpha

    before, v = step(0.0, z), s.ratio**2
    g = v / (V / power + v)
    moved = step(h, z, z.flip(0))
    assert torch.allclose(moved, (1 - h * g) * before + ((2 * h - h**2 * g) * v) ** 0.5 * z.flip(0), atol=1e-9)
    assert (1 - h * g) ** 2 * (V / power + v) + (2 * h - h**2 * g) * v == pytest.approx(V / power + v)


def test_the_weight_of_a_step_is_the_integral_of_its_rate():
    """`1/2 (1 - B) div S + 1/2 (|S|^2 - B sum_i b_i |s_i|^2)`, by trapezoids in `log v` and in `1 / v`."""
    b, total, sampler = (0.7, 1.8), 2.5, FeynmanKacCorrector(langevin=0.0, threshold=0.0)
    tilt = Tilt([ExactDenoiser(p, VP()) for p in (A, B)], b)
    x, z = torch.randn(2, 50, 2, generator=generator(), dtype=f64)
    t, s = sampler.levels(VP())[120:160:39]
    after, population = sampler.multistep(tilt, x, t, s, GivenNoise(z), None)

    def rates(y, v):
        scores = torch.stack([p.score(y, (total * v) ** 0.5) for p in (A, B)])
        S = sum(b_i * score for b_i, score in zip(b, scores, strict=True))
        traces = [-torch.linalg.inv(p._S[0] + total * v * torch.eye(2)).trace() for p in (A, B)]
        divergence = sum(b_i * trace for b_i, trace in zip(b, traces, strict=True))
        squares = sum(b_i * score.square().sum(dim=1) for b_i, score in zip(b, scores, strict=True))
        return 0.5 * (1 - total) * divergence, 0.5 * (S.square().sum(dim=1) - total * squares)

    v, w = t.ratio**2, s.ratio**2
    (div_t, sq_t), (div_s, sq_s) = rates(x / t.alpha, v), rates(after / s.alpha, w)
    expected = 0.5 * (v * div_t + w * div_s) * math.log(v / w) + 0.5 * (v**2 * sq_t + w**2 * sq_s) * (1 / w - 1 / v)
    assert expected.std() > 0.01
    assert torch.allclose(population.log_w, expected, rtol=1e-9)


@pytest.mark.parametrize("sampler", [TwistedDiffusion(threshold=0.0), FeynmanKac(threshold=0.0)], ids=str)
def test_the_weight_of_a_twisted_step_is_the_ratio_of_two_normal_densities_and_of_what_is_known(sampler):
    """`p(x_s | x_t) h_s / (q(x_s | x_t) h_t)`, with the step `p` of the prior and `q` towards the guided point."""
    x, z = torch.randn(2, 50, 2, generator=generator(), dtype=f64)
    t, s = sampler.levels(VP())[120:160:39]
    rewarded = Rewarded(ExactDenoiser(B, VP()), LinearReward([0.6, -0.3]))
    before, now = sampler.unweighted(x), rewarded.twist(x, t)
    after, population = sampler.multistep(rewarded, x, t, s, GivenNoise(z), before)
    a = t.alpha / s.alpha
    b = t.sigma**2 - a**2 * s.sigma**2
    sd = b**0.5 * s.sigma / t.sigma
    mean = DDPMAncestral().step(ExactDenoiser(B, VP()), x, t, s, GivenNoise(torch.zeros_like(x)))
    shift = s.alpha * b / t.sigma**2 * t.ratio**2 * now.gradient if isinstance(sampler, TwistedDiffusion) else 0.0 * x
    assert torch.allclose(after, mean + shift + sd * z, atol=1e-9)
    ratio = 0.5 * ((after - mean - shift).square() - (after - mean).square()).sum(dim=1) / sd**2
    expected = ratio + rewarded.twist(after, s).log_h - now.log_h
    assert expected.std() > 0.01
    assert torch.allclose(population.log_w, expected, rtol=1e-9)


@pytest.mark.parametrize("known", [False, True])
def test_the_last_step_of_twisted_particles_draws_denoised_points_by_the_function_itself(known):
    x, z = torch.randn(2, 50, 2, generator=generator(), dtype=f64)
    sampler, reward = TwistedDiffusion(per_sample=1), LinearReward([0.6, -0.3])
    t = sampler.levels(VP())[-20]
    rewarded = Rewarded(ExactDenoiser(B, VP()), reward)
    now = rewarded.twist(x, t)
    weighted = sampler.unweighted(x)._replace(log_w=z[:, 0], evaluation=now if known else None)
    chosen, population = sampler.multistep_last(rewarded, x, t, GivenNoise(z), weighted)
    log_w = z[:, 0] + now.mean @ torch.tensor(reward.slope, dtype=f64) - now.log_h
    assert torch.allclose(population.log_mean, log_w.logsumexp(dim=0) - math.log(50), atol=1e-9)
    assert torch.allclose(chosen, now.mean[population.ancestors], atol=1e-9)
    copies = population.ancestors.bincount(minlength=50)
    assert (copies - 50 * log_w.softmax(dim=0)).abs().max() < 2.0


def test_the_first_and_the_last_step_of_corrected_particles_count_the_integral_of_their_start():
    """`prod_i N(0, B v)^b_i` has the integral `(2 pi B v)^-B 2 pi v`."""
    x, z = torch.randn(2, 50, 2, generator=generator(), dtype=f64)
    sampler, tilt = (
        FeynmanKacCorrector(per_sample=1),
        Tilt([ExactDenoiser(A, VP()), ExactDenoiser(B, VP())], (0.7, 1.8)),
    )
    t = sampler.levels(VP())[120]
    chosen, population = sampler.multistep_last(tilt, x, t, GivenNoise(z), None)
    v = t.ratio**2
    assert torch.allclose(population.log_mean.exp(), x.new_tensor((2 * math.pi * 2.5 * v) ** -2.5 * 2 * math.pi * v))
    assert torch.allclose(
        chosen, tilt.denoise(x, t)[torch.arange(50) if population.ancestors is None else population.ancestors]
    )


RESAMPLED = [
    # A sampler, a denoiser, and what the sampler keeps in memory of each particle.
    (
        FeynmanKacCorrector(langevin=0.0, threshold=1.0),
        Tilt([ExactDenoiser(A, VP()), ExactDenoiser(B, VP())], [1.0, 2.0]),
        FeynmanKacCorrector._evaluated,
    ),
    (
        TwistedDiffusion(threshold=1.0),
        Rewarded(ExactDenoiser(B, VP()), LinearReward([0.6, -0.3])),
        Rewarded.twist,
    ),
]


@pytest.mark.parametrize(("sampler", "denoiser", "evaluate"), RESAMPLED, ids=["corrector", "twisted"])
def test_particles_that_are_drawn_anew_take_their_evaluation_along(sampler, denoiser, evaluate):
    x, z = torch.randn(2, 50, 2, generator=generator(), dtype=f64)
    t, s = sampler.levels(VP())[120:122]
    x, population = sampler.multistep(denoiser, x, t, s, GivenNoise(z), None)
    assert population.ancestors is not None
    for kept, fresh in zip(population.evaluation, evaluate(denoiser, x, s), strict=True):
        assert torch.allclose(kept, fresh, atol=1e-9)


def test_langevin_steps_bring_strong_guidance_to_the_floor():
    """Exact samples exceed the bound with a probability below 1e-3; without the steps the divergence is above 0.03."""
    p = EightGaussians()
    parts = [p, p.conditioned_on(1)]
    tilt = Tilt([ExactDenoiser(part, SCHEDULE) for part in parts], (-2.0, 3.0))
    x = FeynmanKacCorrector(128, Angular(2.0))(tilt, 4096, generator())
    assert kl(x, GridDensity(parts, (-2.0, 3.0))) < 63 / 8192 + 4 * math.sqrt(63 / 2) / 4096


def test_a_reward_moves_normal_laws_by_the_covariance_times_its_slope():
    """A linear reward of a normal law has a closed form, for its target, its denoiser and the particles."""
    reward = LinearReward([0.6, -0.3])
    a = torch.tensor(reward.slope, dtype=f64)
    mean, log_Z = A._mu[0] + A._S[0] @ a, (a @ A._mu[0] + 0.5 * a @ A._S[0] @ a).item()
    truth = GridDensity([A], [1.0], reward)
    assert truth.log_integral == pytest.approx(log_Z, abs=1e-4)
    assert torch.allclose(truth.reference().mean(0), mean, atol=5e-3)
    exact = ExactDenoiser(GaussianMixture([mean.tolist()], covariances=A._S.tolist()), VP())
    rewarded, x = Rewarded(ExactDenoiser(A, VP()), reward), torch.randn(20, 2, generator=generator(), dtype=f64)
    assert torch.allclose(rewarded.denoise(x, 0.3), exact.denoise(x, 0.3), atol=1e-6)
    sampler, memories = TwistedDiffusion(40), []
    rewarded = Rewarded(ExactDenoiser(A, SCHEDULE), reward)
    noise = sampler.stream(1, 0, 4096, torch.device("cpu"))
    x = sampler.walk(rewarded, sampler.start(SCHEDULE, noise), noise, observe=lambda i, x, m: memories.append(m))
    assert (x.mean(0) - mean).abs().max() < 0.12
    assert memories[-1].log_mean[0].item() == pytest.approx(log_Z, abs=0.15)


def test_a_corrected_sample_depends_on_its_seed_and_block_only():
    tilt, sampler = Tilt([ExactDenoiser(EightGaussians(), SCHEDULE)], [2.0]), FeynmanKacCorrector(6, per_sample=2)
    x = sampler(tilt, 4200, generator())
    assert torch.equal(sampler(tilt, 5, generator()), x[:5])
    assert torch.equal(sampler(tilt, 200, generator(), first=4000), x[4000:])


@pytest.mark.parametrize(
    "component",
    [Tilt([ExactDenoiser(A, VP()), ExactDenoiser(B, VP())], [0.5, 1.0]),
     GridDensity([A], [2.0], LinearReward([1.0, 0.0]), 64), Rewarded(ExactDenoiser(A, VP()), LinearReward([1.0, 0.0])),
     ScaledScore(ExactDenoiser(A, VP()), 2.0), FeynmanKacCorrector(7)],
    ids=lambda c: type(c).__name__,
)  # fmt: skip
def test_tilts_are_described_by_plain_values(component):
    assert from_config(to_config(component)) == component


def test_arguments_of_tilts_are_checked():
    denoiser = ExactDenoiser(A, VP())
    with pytest.raises(ValueError, match="one exponent for each of 1 denoisers"):
        Tilt([denoiser], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"positive sum, got \[1\.0, -1\.0\]"):
        Tilt([denoiser, denoiser], [1.0, -1.0])
    with pytest.raises(ValueError, match="one exponent for each of 1 distributions"):
        GridDensity([A], [])
    with pytest.raises(ValueError, match="factor must be positive, got 0"):
        ScaledScore(denoiser, 0.0)
    with pytest.raises(ValueError, match=r"langevin must be in \[0, 1\), got 1.5"):
        FeynmanKacCorrector(langevin=1.5)
    assert FeynmanKacCorrector(100).nfe(VP()) == 199
    assert FeynmanKacCorrector(100, langevin=0.0).nfe(VP()) == 100
    with pytest.raises(ValueError, match="cells must be at least 64, got 5"):
        GridDensity([A], [1.0], cells=5)


def test_a_single_corrected_sample_is_the_first_of_many_and_none_is_refused():
    tilt, sampler = Tilt([ExactDenoiser(A, SCHEDULE)], [2.0]), FeynmanKacCorrector(3)
    assert torch.equal(sampler(tilt, 1, generator()), sampler(tilt, 3, generator())[:1])
    with pytest.raises(ValueError, match="at least 1, got 0"):
        sampler(tilt, 0, generator())


def test_the_twist_of_a_reward_has_a_derivative_where_its_point_has_one():
    """Then the slope that it states is that of its value; where the point has none, neither has the value."""
    rewarded = Rewarded(ExactDenoiser(B, VP()), LinearReward([0.6, -0.3]))
    x = torch.randn(10, 2, generator=generator(), dtype=f64)
    assert not rewarded.twist(x, 0.3).log_h.requires_grad
    twist, (alpha, _) = rewarded.twist(x.requires_grad_(), 0.3), VP()(torch.tensor(0.3, dtype=f64))
    (slope,) = torch.autograd.grad(twist.log_h.sum(), x)
    assert torch.allclose(alpha * slope, twist.gradient, rtol=1e-6)
