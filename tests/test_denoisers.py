"""Networks and denoisers: one question, many ways to put it, one answer."""

import pytest
import torch

from toy_score.backbones import MLP, Fourier
from toy_score.denoisers import ExactDenoiser, NetworkDenoiser
from toy_score.distributions import Heart, SplitNormal
from toy_score.objectives import AllLevels, DenoisingScoreMatching, RandomLevels, UniformTimes
from toy_score.parameterisations import (
    DataPrediction,
    EDMPreconditioning,
    LogSigma,
    NoisePrediction,
    ScorePrediction,
    Sigma,
    Time,
)
from toy_score.schedules import DDPM, VE

f64 = torch.float64
SCHEDULES = [VE(0.01, 20.0), DDPM()]
PARAMETERISATIONS = [ScorePrediction(), NoisePrediction(), DataPrediction(), EDMPreconditioning(0.8)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def points(schedule, n=500, dtype=f64):
    x = torch.randn(n, 2, generator=generator(), dtype=dtype)
    t = torch.rand(n, 1, generator=generator(1), dtype=dtype).clamp(min=schedule.t_min)
    return x, t


def test_the_default_network_is_the_studys():
    assert sum(p.numel() for p in MLP().parameters()) == 17_282


@pytest.mark.parametrize("embedding", [MLP().embedding, Fourier(3)], ids=repr)
@pytest.mark.parametrize("activation", ["softplus", "silu", "gelu", "tanh", "relu"])
def test_one_noise_level_equals_as_many_equal_ones(embedding, activation):
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
def test_all_answers_of_a_network_are_one(schedule, parameterisation, conditioning):
    model = NetworkDenoiser(MLP((16, 16)).double(), schedule, parameterisation, conditioning)
    x, t = points(schedule)
    alpha, sigma = schedule(t)
    D, noise = model.denoise(x, t), model.noise(x, t)
    assert torch.allclose(alpha * D + sigma * noise, x, atol=1e-9)
    assert torch.allclose(model.score(x, t), -noise / sigma)
    assert torch.allclose(model.velocity(x, t), alpha * noise - sigma * D)


@pytest.mark.parametrize(
    ("parameterisation", "answer"),
    [(ScorePrediction(), "score"), (NoisePrediction(), "noise"), (DataPrediction(), "denoise")],
    ids=repr,
)
def test_a_network_says_what_it_is_said_to_predict(parameterisation, answer):
    net = MLP((16, 16)).double()
    model = NetworkDenoiser(net, DDPM(), parameterisation, Time())
    x, t = points(DDPM())
    assert torch.allclose(getattr(model, answer)(x, t), net(x, t), atol=1e-12)


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
def test_all_answers_of_the_truth_are_one(schedule, p):
    truth = ExactDenoiser(p, schedule)
    x, t = points(schedule)
    alpha, sigma = schedule(t)
    assert torch.allclose(alpha * truth.denoise(x, t) + sigma * truth.noise(x, t), x, atol=1e-9)
    assert torch.allclose(truth.velocity(x, t), alpha * truth.noise(x, t) - sigma * truth.denoise(x, t))
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


def test_answers_agree_between_float32_and_float64():
    truth = ExactDenoiser(Heart(), DDPM())
    x, t = points(DDPM(), dtype=torch.float32)
    assert torch.allclose(truth.noise(x, t).double(), truth.noise(x.double(), t.double()), atol=2e-4)


# Objectives


def test_all_levels_in_one_pass_equal_a_loop_over_the_levels():
    schedule, x0 = VE(0.01, 5.0), Heart().sample(32, generator())
    model = NetworkDenoiser(MLP(), schedule, ScorePrediction(), Sigma())
    t = AllLevels()(32, schedule, generator())
    losses = DenoisingScoreMatching()(model, x0, t, generator(5))
    noise = torch.randn(320, 2, generator=generator(5)).view(10, 32, 2)
    for i, sigma in enumerate(schedule.sigma(schedule.ladder).tolist()):
        x = x0 + sigma * noise[i]
        score = model.score(x, schedule.time(torch.tensor(sigma)))
        expected = sigma**2 * (score + noise[i] / sigma).square().sum(1) / 2
        assert torch.allclose(losses[32 * i : 32 * (i + 1)], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("sigma", "fisher"), [(0.1, 4.18223013), (1.0, 1.09221849)])
def test_the_loss_of_the_truth_is_its_floor_and_the_excess_is_the_score_error(sigma, fisher):
    """Floor (2 - sigma^2 E|score|^2) / 2 on the heart; level 1e-6. The excess of a wrong score is its own error."""
    n, schedule = 200_000, VE(0.01, 5.0)
    x0, t = Heart().sample(n, generator(1)), schedule.time(torch.full((n, 1), sigma))
    truth = ExactDenoiser(Heart(), schedule)
    loss = DenoisingScoreMatching()(truth, x0, t, generator(2)).double()
    assert abs(loss.mean() - (1 - sigma**2 * fisher / 2)) < 4.9 * loss.std() / n**0.5

    class Wrong(ExactDenoiser):
        def noise(self, x, t):
            return 0.9 * super().noise(x, t)

    wrong = DenoisingScoreMatching()(Wrong(Heart(), schedule), x0, t, generator(2)).double()
    difference = wrong - loss
    expected = 0.01 * sigma**2 * fisher / 2
    assert abs(difference.mean() - expected) < 4.9 * difference.std() / n**0.5


def test_random_levels_are_uniform_and_uniform_times_are_even():
    """Counts of 1000 levels in 1e5 draws: each within 6.6 sd, a false alarm below 1e-6 for all together."""
    t = RandomLevels()(100_000, DDPM(), generator())
    counts = torch.bincount((t[:, 0] * 1000).round().long(), minlength=1001)
    assert counts[0] == 0
    assert ((counts[1:] - 100).abs() < 6.6 * 10).all()
    even = UniformTimes()(1000, DDPM(), generator()).sort(dim=0).values
    assert even.min() >= 1e-3
    assert even.diff(dim=0).max() < 1.01e-3
