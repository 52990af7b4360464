"""Networks and denoisers: one question, many ways to put it, one answer."""

import math
import pickle

import pytest
import torch

from toy_score.backbones import MLP, Fourier
from toy_score.denoisers import Denoiser, ExactDenoiser, Guided, NetworkDenoiser
from toy_score.distributions import EightGaussians, Heart, Points, Rings, SplitNormal
from toy_score.objectives import (
    AllLevels,
    Context,
    DenoisingScoreMatching,
    ExplicitScoreMatching,
    ImplicitScoreMatching,
    LikelihoodWeighting,
    LogNormalSigma,
    OutputWeighting,
    RandomLevels,
    SlicedScoreMatching,
    UniformLogSNR,
    UniformTimes,
)
from toy_score.parameterisations import (
    DataPrediction,
    EDMPreconditioning,
    Energy,
    FlowPrediction,
    LogSigma,
    NoisePrediction,
    ScorePrediction,
    Sigma,
    Time,
    VelocityPrediction,
)
from toy_score.schedules import DDPM, EDM, VE, VP, Level, LinearFlow, SubVP

f64 = torch.float64
SCHEDULES = [VE(0.01, 20.0), DDPM(), SubVP(), LinearFlow()]
PARAMETERISATIONS = [
    ScorePrediction(),
    NoisePrediction(),
    DataPrediction(),
    VelocityPrediction(),
    FlowPrediction(),
    EDMPreconditioning(0.8),
    Energy(0.8),
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def points(schedule, n=500, dtype=f64):
    x = torch.randn(n, 2, generator=generator(), dtype=dtype)
    t = torch.rand(n, 1, generator=generator(1), dtype=dtype).clamp(schedule.t_min, schedule.t_max)
    return x, t


def test_the_default_network_is_that_of_the_original_study():
    assert sum(p.numel() for p in MLP().parameters()) == 17_282


@pytest.mark.parametrize("embedding", [MLP().embedding, Fourier(3)], ids=repr)
@pytest.mark.parametrize("activation", ["softplus", "silu", "gelu", "tanh", "relu"])
def test_one_noise_level_for_all_rows_equals_the_same_level_in_every_row(embedding, activation):
    net = MLP((16, 16), activation, embedding).double()
    x = torch.randn(20, 2, generator=generator(), dtype=f64)
    c = torch.full((1, 1), 0.3, dtype=f64)
    assert torch.allclose(net(x, c), net(x, c.expand(20, 1)), atol=1e-13)


def test_the_network_is_the_stated_formula():
    net = MLP((5, 7)).double()
    x, c = torch.randn(4, 2, generator=generator(), dtype=f64), torch.randn(4, 1, generator=generator(), dtype=f64)
    h = torch.cat([x, c], dim=1)
    for i, layer in enumerate(net.layers):
        h = (torch.log1p(h.exp()) if i else h) @ layer.weight.T + layer.bias
    assert torch.allclose(net(x, c), h, atol=1e-12)


@pytest.mark.parametrize("activation", ["softplus", "silu", "gelu", "tanh", "relu"])
def test_activations_in_place_change_no_value_and_no_derivative(activation):
    net = MLP((16, 16), activation)
    x, v, c = *torch.randn(2, 1000, 2, generator=generator()), torch.full((1, 1), 0.3)
    recorded, (_, slope) = net(x, c), torch.func.jvp(lambda z: net(z, c), (x,), (v,))
    with torch.no_grad():
        before = x.clone()
        assert torch.equal(net(x, c), recorded)
        assert torch.equal(x, before)
        value, unrecorded = torch.func.jvp(lambda z: net(z, c), (x,), (v,))
    assert torch.allclose(value, recorded, atol=1e-5)
    assert torch.allclose(unrecorded, slope, atol=1e-5)


@pytest.mark.parametrize("activation", ["softplus", "silu", "gelu", "tanh", "relu"])
def test_a_network_can_be_sent_to_another_process(activation):
    net, x, c = MLP((4,), activation), torch.randn(5, 2, generator=generator()), torch.full((1, 1), 0.3)
    assert torch.equal(pickle.loads(pickle.dumps(net))(x, c), net(x, c))


def test_impossible_networks_are_refused():
    with pytest.raises(ValueError, match="unknown activation 'sine'"):
        MLP(activation="sine")
    with pytest.raises(ValueError, match="at least one width"):
        MLP(hidden=(0, 3))
    with pytest.raises(ValueError, match="got 0 and 1"):
        Fourier(0, 1)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("parameterisation", PARAMETERISATIONS, ids=repr)
@pytest.mark.parametrize("conditioning", [Sigma(), Time(), LogSigma()], ids=repr)
def test_noise_score_velocity_and_denoised_point_of_a_network_agree(schedule, parameterisation, conditioning):
    model = NetworkDenoiser(MLP((16, 16)).double(), schedule, parameterisation, conditioning)
    x, t = points(schedule)
    alpha, sigma = schedule(t)
    D, noise = model.denoise(x, t), model.noise(x, t)
    assert torch.allclose(alpha * D + sigma * noise, x, atol=1e-9)
    assert torch.allclose(model.score(x, t), -noise / sigma)
    assert torch.allclose(model.velocity(x, t), (alpha * noise - sigma * D) / torch.hypot(alpha, sigma), atol=1e-9)


@pytest.mark.parametrize(
    ("parameterisation", "answer"),
    [
        (ScorePrediction(), "score"),
        (NoisePrediction(), "noise"),
        (DataPrediction(), "denoise"),
        (VelocityPrediction(), "velocity"),
    ],
    ids=repr,
)
def test_the_output_of_a_network_is_what_its_parameterisation_states(parameterisation, answer):
    net = MLP((16, 16)).double()
    model = NetworkDenoiser(net, DDPM(), parameterisation, Time())
    x, t = points(DDPM())
    assert torch.allclose(getattr(model, answer)(x, t), net(x, t), atol=1e-12)


def test_flow_prediction_is_the_velocity_of_the_straight_line():
    net, schedule = MLP((16, 16)).double(), LinearFlow()
    model = NetworkDenoiser(net, schedule, FlowPrediction(), Time())
    x, t = points(schedule)
    assert torch.allclose(model.noise(x, t) - model.denoise(x, t), net(x, t), atol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("read", PARAMETERISATIONS[:-1], ids=repr)
@pytest.mark.parametrize("written", PARAMETERISATIONS[:-1], ids=repr)
def test_parameterisations_convert_into_one_another_and_back(written, read, schedule):
    """What one network says, put as the output of another kind and read again, is the same denoised point."""
    x, t = points(schedule, n=50)
    alpha, sigma = schedule(t)
    D = torch.randn(50, 2, generator=generator(2), dtype=f64)
    for parameterisation in (written, read):
        skip, out = parameterisation.data(alpha, sigma)
        F = (D - skip * x) / out
        k_skip, k_out = parameterisation.noise(alpha, sigma)
        noise = k_skip * x + k_out * F
        assert torch.allclose(alpha * (skip * x + out * F) + sigma * noise, x, atol=1e-8)
        D = skip * x + out * F
    assert torch.allclose(D, torch.randn(50, 2, generator=generator(2), dtype=f64), atol=1e-8)


def test_score_prediction_is_defined_without_noise():
    """At sigma = 0 the score is the network's output itself, as for score matching without noise."""
    net = MLP((16, 16)).double()
    model = NetworkDenoiser(net, VE(), ScorePrediction(), Sigma())
    x = torch.randn(5, 2, generator=generator(), dtype=f64)
    zero = torch.zeros(1, 1, dtype=f64)
    assert torch.equal(model.score(x, Level(zero, zero + 1, zero)), net(x, zero))


@pytest.mark.parametrize("parameterisation", [*PARAMETERISATIONS], ids=repr)
@pytest.mark.parametrize("activation", ["softplus", "silu", "gelu", "tanh", "relu"])
def test_the_closed_jacobian_is_the_derivative(parameterisation, activation):
    schedule = DDPM()
    if isinstance(parameterisation, Energy) and activation == "relu":
        pytest.skip("the second derivative of relu is zero almost everywhere: nothing to compare")
    model = NetworkDenoiser(MLP((16, 16), activation).double(), schedule, parameterisation, LogSigma())
    for x, t in (points(schedule, n=20), (points(schedule, n=20)[0], 0.3)):
        for answer, derivative in ((model.noise, model.noise_jacobian), (model.velocity, model.velocity_jacobian)):
            value, jacobian = derivative(x, t)
            assert torch.allclose(value, answer(x, t))
            for axis in (0, 1):
                h = torch.zeros(1, 2, dtype=f64)
                h[0, axis] = 1e-6
                slope = (answer(x + h, t) - answer(x - h, t)) / 2e-6
                assert torch.allclose(jacobian[:, :, axis], slope, atol=1e-5, rtol=1e-4)


def test_an_energy_gives_a_conservative_field_and_a_plain_network_does_not():
    x, t = points(VP(), n=200)
    for parameterisation, is_gradient in ((Energy(), True), (EDMPreconditioning(), False)):
        model = NetworkDenoiser(MLP((16, 16)).double(), VP(), parameterisation, LogSigma())
        _, J = model.noise_jacobian(x, t)
        curl = (J[:, 0, 1] - J[:, 1, 0]).abs().max() / J.abs().max()
        assert (curl < 1e-12) == is_gradient


def test_the_output_of_an_energy_is_the_gradient_of_the_sum_of_both_outputs_row_by_row():
    torch.manual_seed(0)
    net = MLP((16, 16)).double()
    x, c = torch.randn(7, 2, dtype=torch.float64), torch.rand(7, 1, dtype=torch.float64)
    found, h = Energy().output(net, x, c), 1e-6
    for k, step in enumerate(h * torch.eye(2, dtype=torch.float64)):
        slope = (net(x + step, c, None).sum(dim=1) - net(x - step, c, None).sum(dim=1)) / (2 * h)
        assert torch.allclose(found[:, k], slope, atol=1e-7)


def test_an_energy_can_be_trained():
    model = NetworkDenoiser(MLP((16, 16)), VP(), Energy(), LogSigma())
    x0 = Heart().sample(64, generator())
    loss = DenoisingScoreMatching()(model, Context(x0, UniformTimes()(64, VP(), generator()), generator())).mean()
    loss.backward()
    assert model.backbone.layers[0].weight.grad.abs().max() > 0


@pytest.mark.parametrize("p", [Heart(), SplitNormal()], ids=repr)
def test_the_jacobian_of_the_exact_denoiser_is_the_derivative(p):
    truth = ExactDenoiser(p, VE(0.01, 20.0))
    x, t = points(VE(0.01, 20.0))
    noise, jacobian = truth.noise_jacobian(x, t)
    assert torch.allclose(noise, truth.noise(x, t))
    scale = truth.schedule.ratio(t)
    for axis in (0, 1):
        h = torch.zeros(len(x), 2, dtype=f64)
        h[:, axis : axis + 1] = 1e-5 * scale
        slope = (truth.noise(x + h, t) - truth.noise(x - h, t)) / (2e-5 * scale)
        assert torch.allclose(scale * jacobian[:, :, axis], scale * slope, atol=1e-6)


def test_labels_change_the_output_and_no_label_adds_nothing():
    net = MLP((16, 16), n_labels=2).double()
    model = NetworkDenoiser(net, VP(), NoisePrediction(), LogSigma())
    x, t = points(VP(), n=30)
    labels = torch.arange(30) % 3 - 1
    each = model.conditioned_on(labels).noise(x, t)
    for label in (-1, 0, 1):
        assert torch.allclose(each[labels == label], model.conditioned_on(label).noise(x, t)[labels == label])
    assert torch.allclose(model.conditioned_on(-1).noise(x, t), model.noise(x, t))
    assert not torch.allclose(model.conditioned_on(0).noise(x, t), model.conditioned_on(1).noise(x, t))
    for label in (2, -2):
        with pytest.raises(ValueError, match="labels go from 0 to 1"):
            model.conditioned_on(label)
    with pytest.raises(ValueError, match="knows no labels"):
        NetworkDenoiser(MLP(), VP(), NoisePrediction(), LogSigma()).conditioned_on(0)


def test_guidance_of_weight_one_is_the_strong_denoiser_and_zero_the_weak_one():
    strong, weak = ExactDenoiser(Heart(), VP()), ExactDenoiser(SplitNormal(), EDM(0.001, 500.0))
    x, t = points(VP())
    assert torch.allclose(Guided(strong, weak, 1.0).noise(x, t), strong.noise(x, t), atol=1e-9)
    same = ExactDenoiser(SplitNormal(), VP())  # the weak one runs on another schedule, at the same noise level
    assert torch.allclose(Guided(strong, weak, 0.0).noise(x, t), same.noise(x, t), atol=1e-9)
    both = Guided(strong, weak, 2.5)
    assert torch.allclose(both.noise(x, t), 2.5 * strong.noise(x, t) - 1.5 * same.noise(x, t), atol=1e-8)
    alpha, sigma = VP()(t)
    assert torch.allclose(alpha * both.denoise(x, t) + sigma * both.noise(x, t), x, atol=1e-9)


def test_edm_preconditioning_is_karras_table_1():
    net, sd = MLP((16, 16)).double(), 0.8
    model = NetworkDenoiser(net, VE(0.01, 20.0), EDMPreconditioning(sd), LogSigma())
    x, t = points(VE(0.01, 20.0))
    sigma = model.schedule.sigma(t)
    r = (sigma**2 + sd**2).sqrt()
    expected = sd**2 / r**2 * x + sigma * sd / r * net(x / r, sigma.log() / 4)
    assert torch.allclose(model.denoise(x, t), expected, atol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("p", [Heart(), SplitNormal()], ids=repr)
def test_noise_score_velocity_and_denoised_point_of_the_exact_denoiser_agree(schedule, p):
    truth = ExactDenoiser(p, schedule)
    x, t = points(schedule)
    alpha, sigma = schedule(t)
    assert torch.allclose(alpha * truth.denoise(x, t) + sigma * truth.noise(x, t), x, atol=1e-9)
    velocity = (alpha * truth.noise(x, t) - sigma * truth.denoise(x, t)) / torch.hypot(alpha, sigma)
    assert torch.allclose(truth.velocity(x, t), velocity)
    log_p = torch.stack([p.log_prob((x / alpha + torch.tensor([d, 0.0])), sigma / alpha) for d in (1e-6, -1e-6)])
    assert torch.allclose(alpha[:, 0] * truth.score(x, t)[:, 0], (log_p[0] - log_p[1]) / 2e-6, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("p", [Heart(), SplitNormal()], ids=repr)
def test_ddpm_is_a_special_case_of_ncsn(p):
    """In Karras' variables both ladders ask the same denoiser, to rounding."""
    ncsn, ddpm = VE(0.01, 200.0), DDPM()
    y, t = points(ddpm)
    ratio = ddpm.ratio(t)
    same = ExactDenoiser(p, ncsn).denoise(y, ncsn.time(ratio))
    assert torch.allclose(ExactDenoiser(p, ddpm).denoise(ddpm.alpha(t) * y, t), same, atol=1e-9)


def test_denoisers_agree_between_float32_and_float64():
    truth = ExactDenoiser(Heart(), DDPM())
    x, t = points(DDPM(), dtype=torch.float32)
    assert torch.allclose(truth.noise(x, t).double(), truth.noise(x.double(), t.double()), atol=2e-4)


# Objectives


def test_all_levels_in_one_pass_equal_a_loop_over_the_levels():
    schedule, x0 = VE(0.01, 5.0), Heart().sample(32, generator())
    model = NetworkDenoiser(MLP(), schedule, ScorePrediction(), Sigma())
    t = AllLevels()(32, schedule, generator())
    losses = DenoisingScoreMatching()(model, Context(x0, t, generator(5)))
    noise = torch.randn(320, 2, generator=generator(5)).view(10, 32, 2)
    for i, sigma in enumerate(schedule.sigma(schedule.ladder).tolist()):
        x = x0 + sigma * noise[i]
        score = model.score(x, schedule.time(torch.tensor(sigma)))
        expected = sigma**2 * (score + noise[i] / sigma).square().sum(1) / 2
        assert torch.allclose(losses[32 * i : 32 * (i + 1)], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("sigma", "fisher"), [(0.1, 4.18223013), (1.0, 1.09221849)])
def test_the_exact_denoiser_has_the_minimal_loss_and_the_excess_is_the_score_error(sigma, fisher):
    """Floor (2 - sigma^2 E|score|^2) / 2 on the heart; level 1e-6. The excess of a wrong score is its own error."""
    n, schedule = 200_000, VE(0.01, 5.0)
    x0, t = Heart().sample(n, generator(1)), schedule.time(torch.full((n, 1), sigma))
    truth = ExactDenoiser(Heart(), schedule)
    loss = DenoisingScoreMatching()(truth, Context(x0, t, generator(2))).double()
    assert abs(loss.mean() - (1 - sigma**2 * fisher / 2)) < 4.9 * loss.std() / n**0.5

    class Wrong(ExactDenoiser):
        def noise(self, x, t):
            return 0.9 * super().noise(x, t)

    wrong = DenoisingScoreMatching()(Wrong(Heart(), schedule), Context(x0, t, generator(2))).double()
    difference = wrong - loss
    expected = 0.01 * sigma**2 * fisher / 2
    assert abs(difference.mean() - expected) < 4.9 * difference.std() / n**0.5


@pytest.mark.parametrize("p", [Heart(), EightGaussians(), Rings(), Points(Heart().sample(50))], ids=lambda p: p.name)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_exact_velocity_is_that_of_noise_and_denoised_point_bit_for_bit(p, schedule):
    truth = ExactDenoiser(p, schedule)
    for dtype in (torch.float32, f64):
        x, t = points(schedule, dtype=dtype)
        for time in (t, 0.5, schedule.level_at(0.3)):
            assert torch.equal(truth.velocity(x, time), Denoiser.velocity(truth, x, time))


@pytest.mark.parametrize("answer", ["noise", "score", "denoise"])
def test_a_subclass_with_an_answer_of_its_own_has_the_velocity_of_that_answer(answer):
    exact = getattr(ExactDenoiser, answer)
    wrong = type("Wrong", (ExactDenoiser,), {answer: lambda self, x, t: 0.9 * exact(self, x, t)})
    denoiser, x = type("Derived", (wrong,), {})(Heart(), VP()), points(VP())[0]
    assert torch.equal(denoiser.velocity(x, 0.5), Denoiser.velocity(denoiser, x, 0.5))
    assert not torch.allclose(denoiser.velocity(x, 0.5), ExactDenoiser(Heart(), VP()).velocity(x, 0.5))


def test_antithetic_noise_is_the_noise_and_its_opposite():
    schedule, x0 = VE(0.01, 5.0), Heart().sample(32, generator())
    model, t = NetworkDenoiser(MLP(), schedule, ScorePrediction(), Sigma()), UniformTimes()(32, schedule, generator(1))
    losses = DenoisingScoreMatching(antithetic=True)(model, Context(x0, t, generator(5)))
    assert torch.allclose(losses[:32], DenoisingScoreMatching()(model, Context(x0, t, generator(5))))
    opposite = -torch.randn(32, 2, generator=generator(5))
    x = x0 + schedule.sigma(t) * opposite
    assert torch.allclose(losses[32:], (model.noise(x, t) - opposite).square().mean(dim=1), rtol=1e-4)


def test_antithetic_noise_makes_the_gradient_at_low_noise_less_noisy():
    """64 points twice against 128 points once, at sigma 0.1; the variance falls ten times, 3 are asked for."""
    torch.manual_seed(0)
    schedule = VE(0.01, 5.0)
    model = NetworkDenoiser(MLP(), schedule, EDMPreconditioning(0.8), LogSigma())

    def variance(antithetic, n):
        gradients = []
        for seed in range(64):
            x0, t = Heart().sample(n, generator(seed)), schedule.time(torch.full((n, 1), 0.1))
            loss = DenoisingScoreMatching(antithetic=antithetic)(model, Context(x0, t, generator(100 + seed))).mean()
            gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]))
        return torch.stack(gradients).var(dim=0).sum()

    assert variance(antithetic=True, n=64) < variance(antithetic=False, n=128) / 3


def test_random_levels_are_uniform_and_uniform_times_are_even():
    """Counts of 1000 levels in 1e5 draws: each within 6.6 sd, a false alarm below 1e-6 for all together."""
    t = RandomLevels()(100_000, DDPM(), generator())
    counts = torch.bincount((t[:, 0] * 1000).round().long(), minlength=1001)
    assert counts[0] == 0
    assert ((counts[1:] - 100).abs() < 6.6 * 10).all()
    even = UniformTimes()(1000, DDPM(), generator()).sort(dim=0).values
    assert even.min() >= 1e-3
    assert even.diff(dim=0).max() < 1.01e-3


@pytest.mark.parametrize("schedule", [VE(0.05, 5.0), VP(sigma_min=0.05)], ids=repr)
def test_all_objectives_have_the_same_mean(schedule):
    """Stein's lemma: denoising, implicit and sliced score matching agree on average, each pair within 4.9 standard

    errors (level 1e-6); explicit score matching is what they exceed the truth's loss by.
    """
    n = 100_000
    model = NetworkDenoiser(MLP((16, 16)), schedule, EDMPreconditioning(), LogSigma())
    truth = ExactDenoiser(Heart(), schedule)
    x0, t = Heart().sample(n, generator(1)), UniformTimes()(n, schedule, generator(2))[torch.randperm(n)]

    def losses(objective, denoiser):
        with torch.no_grad():
            return objective(denoiser, Context(x0, t, generator(3), truth=truth)).double()

    denoising = losses(DenoisingScoreMatching(), model)
    for objective in (ImplicitScoreMatching(), SlicedScoreMatching()):
        difference = losses(objective, model) - denoising
        assert abs(difference.mean()) < 4.9 * difference.std() / n**0.5, objective
    difference = losses(ExplicitScoreMatching(), model) - (denoising - losses(DenoisingScoreMatching(), truth))
    assert abs(difference.mean()) < 4.9 * difference.std() / n**0.5


def test_a_wrong_divergence_would_be_found_by_the_same_test():
    """The twin of the test above: half the divergence shifts the mean by far more than the threshold."""
    n, schedule = 100_000, VE(0.05, 5.0)
    model = NetworkDenoiser(MLP((16, 16)), schedule, EDMPreconditioning(), LogSigma())

    class Half(ImplicitScoreMatching):
        def divergence(self, denoiser, x, level, generator):
            noise, divergence = super().divergence(denoiser, x, level, generator)
            return noise, 0.5 * divergence

    x0, t = Heart().sample(n, generator(1)), UniformTimes()(n, schedule, generator(2))
    with torch.no_grad():
        half, whole = (
            objective(model, Context(x0, t, generator(3))) for objective in (Half(), DenoisingScoreMatching())
        )
        difference = half - whole
    assert abs(difference.mean()) > 4.9 * difference.std() / n**0.5


def test_noise_free_score_matching_is_minimal_for_the_true_score():
    """E[|s|^2 / 2 + div s] at clean points: the true score's is lower than scaled ones', by E|s|^2 (c - 1)^2 / 2.

    Level 1e-6."""
    schedule, x0 = VE(0.3, 5.0), Heart().sample(50_000, generator(1)).double()
    x0 = x0 + 0.3 * torch.randn(x0.shape, generator=generator(2), dtype=f64)  # data that have a smooth density

    class Scaled(ExactDenoiser):
        factor = 1.0

        def noise(self, x, t):
            return self.factor * super().noise(x, t)

    truth, found = Scaled(Heart(), schedule), {}
    for objective in (ImplicitScoreMatching(noise_free=True), SlicedScoreMatching(noise_free=True)):
        for truth.factor in (0.8, 1.0):
            found[truth.factor] = objective(truth, Context(x0, torch.zeros(len(x0), 1), generator(3)))
        excess = found[0.8] - found[1.0] - 0.02 * truth.score(x0, 0.0).square().sum(1)
        assert abs(excess.mean()) < 4.9 * excess.std() / len(x0) ** 0.5
        assert (found[0.8] - found[1.0]).mean() > 4.9 * excess.std() / len(x0) ** 0.5


def test_noise_free_score_matching_evaluates_at_the_scaled_clean_points():
    asked, x0 = [], Heart().sample(10, generator())

    class Listening(ExactDenoiser):
        def noise_jacobian(self, x, t):
            asked.append(x)
            return super().noise_jacobian(x, t)

    objective = ImplicitScoreMatching(noise_free=True)
    objective(Listening(Heart(), VP(sigma_min=0.5)), Context(x0, torch.zeros(10, 1), generator()))
    assert torch.allclose(asked[0], x0 / 1.25**0.5)  # at sigma / alpha = 1/2, where the variance is preserved


def test_a_network_is_conditioned_on_sigma_over_alpha():
    alpha, sigma = torch.tensor([[0.6]]), torch.tensor([[0.8]])
    assert LogSigma()(torch.zeros(1, 1), alpha, sigma).item() == pytest.approx(math.log(0.8 / 0.6) / 4)


def test_the_likelihood_weighting_is_importance_sampled_by_uniform_log_snr():
    """E over uniform t of g^2 / sigma^2 l(t) = (2 log(r_max / r_min) / range of t) E over uniform log r of l(t)."""
    schedule = VP(sigma_min=0.05)
    model = ExactDenoiser(Heart(), schedule)
    t = UniformTimes()(200_000, schedule, generator()).double()
    weight = LikelihoodWeighting()(model, schedule.level(t))
    plain = (weight * schedule.ratio(t).sin()).mean()
    sampled = schedule.ratio(UniformLogSNR()(200_000, schedule, generator()).double()).sin().mean()
    low, high = schedule.ratios
    assert plain.item() == pytest.approx(
        (2 * torch.tensor(high / low).log() / (schedule.t_max - schedule.t_min) * sampled).item(), rel=1e-3
    )


def test_output_weighting_gives_the_loss_of_the_paper():
    x0 = Heart().sample(100, generator(1)).double()
    net = MLP((16, 16)).double()
    for schedule, parameterisation, target in (
        (EDM(), EDMPreconditioning(0.8), None),
        (LinearFlow(), FlowPrediction(), "line"),
        (VP(), DataPrediction(), "data"),
    ):
        model = NetworkDenoiser(net, schedule, parameterisation, LogSigma())
        t = UniformTimes()(100, schedule, generator()).double()
        loss = DenoisingScoreMatching(OutputWeighting())(model, Context(x0, t, generator(5)))
        eps = torch.randn(100, 2, generator=generator(5), dtype=f64)
        level = schedule.level(t)
        x, sigma = level.alpha * x0 + level.sigma * eps, level.sigma
        D = model.denoise(x, t)
        if target is None:  # Karras et al. 2022, eq. 2 and table 1
            expected = (sigma**2 + 0.8**2) / (sigma * 0.8) ** 2 * (D - x0) ** 2
        elif target == "line":
            expected = (model.noise(x, t) - D - (eps - x0)) ** 2
        else:
            expected = (D - x0) ** 2
        assert torch.allclose(loss, expected.mean(dim=1), rtol=1e-6)


def test_training_levels_have_the_stated_distribution():
    """Logarithms of the ratio: normal, uniform; evenly spread, so quantiles are met to a few parts in ten thousand."""
    schedule, n = EDM(1e-4, 1e4), 10_000
    log_normal = schedule.ratio(LogNormalSigma(-0.5, 1.5)(n, schedule, generator()).double()).log().sort(dim=0).values
    assert log_normal[[n // 2, n * 8413 // 10_000], 0].tolist() == pytest.approx([-0.5, 1.0], abs=2e-3)
    uniform = schedule.ratio(UniformLogSNR()(n, schedule, generator()).double()).log10().sort(dim=0).values
    assert uniform[[n // 4, n // 2], 0].tolist() == pytest.approx([-2.0, 0.0], abs=2e-3)
    with pytest.raises(ValueError, match="std must be positive, got 0"):
        LogNormalSigma(std=0.0)


def test_impossible_objectives_are_refused():
    truth, x0 = ExactDenoiser(Heart(), VP()), Heart().sample(4, generator())
    t = torch.full((4, 1), 0.5)
    with pytest.raises(ValueError, match="needs the exact score"):
        ExplicitScoreMatching()(truth, Context(x0, t, generator()))
    with pytest.raises(TypeError, match="weighs the output of a network"):
        DenoisingScoreMatching(OutputWeighting())(truth, Context(x0, t, generator()))


@pytest.mark.parametrize("schedule", [*SCHEDULES, VP(), EDM()], ids=repr)
@pytest.mark.parametrize("parameterisation", PARAMETERISATIONS, ids=repr)
def test_the_slopes_at_several_angles_are_those_of_the_flow_at_each(schedule, parameterisation):
    model = NetworkDenoiser(MLP((16, 16)).double(), schedule, parameterisation, LogSigma())
    angles = [math.atan(ratio) for ratio in (0.05, 0.7, 4.0)]
    z = 2.0 * torch.randn(50, 2, generator=generator(), dtype=f64)
    for angle, slope in zip(angles, model.flows(angles), strict=True):
        assert torch.allclose(slope(z), model.flow(torch.full((1, 1), angle, dtype=f64), z), rtol=1e-10, atol=1e-11)
