"""Inference for the two moons simulator: the exact posterior, networks with conditions, and the classifier test."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from toy_score import (
    EDM,
    MLP,
    EDMModule,
    EDMPreconditioning,
    ExactDenoiser,
    FeynmanKac,
    Heun,
    LogSigma,
    NetworkDenoiser,
    StableTarget,
    TwoMoonsInference,
    TwoMoonsInferenceDataModule,
    __main__ as entry,
)
from toy_score.component import from_config, to_config
from toy_score.data import KnownData
from toy_score.distributions import Heart, Points
from toy_score.evaluation import Report
from toy_score.metrics import C2ST, SlicedWasserstein, classifier, floors, noise_floors, sample_metrics
from toy_score.modules.batches import batches_of
from toy_score.objectives import Context
from toy_score.seeds import seed_of

f64 = torch.float64
CONFIG = str(Path(__file__).parents[1] / "configs" / "two_moons_inference.yaml")
PRIOR = TwoMoonsInference()
CONDITIONS = [(0.0, 0.0), (-0.9, 0.2), (0.3, 0.1)]  # the whole posterior, one cut by the prior, one by the fold


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def few_epochs(monkeypatch):
    """A classifier that is trained for a moment."""
    monkeypatch.setattr(classifier, "EPOCHS", 15)


# The exact posterior


def test_the_simulator_is_that_of_the_benchmark():
    """Its noise is a point of the crescent: the mean and the variance of radius and angle, five standard deviations."""
    theta, y = PRIOR.sample_labelled(20_000, generator())
    assert theta.dtype == y.dtype == torch.float32
    assert (theta.abs() <= 1).all()
    a, b = theta.double().T
    p = y.double() - torch.stack([0.25 - (a + b).abs() / math.sqrt(2), (b - a) / math.sqrt(2)], dim=1)
    r, angle = p.norm(dim=1), torch.atan2(p[:, 1], p[:, 0])
    assert abs(r.mean() - 0.1) < 5 * 0.01 / math.sqrt(20_000)
    assert abs(r.std() - 0.01) < 5 * 0.01 / math.sqrt(40_000)
    assert angle.abs().max() <= math.pi / 2 + 1e-4
    assert abs(angle.std() - math.pi / math.sqrt(12)) < 0.02


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_posterior_is_what_is_left_of_the_simulations_near_the_observation(condition):
    """Approximate Bayesian computation: simulated parameters whose observation is within 0.01, moved by what is left.

    A difference of an observation shifts each moon; so the accepted parameters are moved back exactly. Their mean along
    both axes and in absolute value is that of the posterior, to five standard deviations.
    """
    theta, y = (part.double() for part in PRIOR.sample_labelled(2_000_000, generator(1)))
    target = torch.tensor(condition, dtype=f64)
    near = ((y - target).abs() < 0.01).all(dim=1)
    theta, left = theta[near], (target - y[near])
    S, T = (theta.sum(dim=1), theta[:, 1] - theta[:, 0])
    S, T = S - S.sign() * math.sqrt(2) * left[:, 0], T + math.sqrt(2) * left[:, 1]
    theta = torch.stack([0.5 * (S - T), 0.5 * (S + T)], dim=1)
    x = PRIOR.conditioned_on(condition).sample(20_000, generator(2)).double()
    for f in (lambda z: z, lambda z: z.sum(dim=1, keepdim=True).abs(), lambda z: (z[:, :1] - z[:, 1:]).square()):
        found, wanted = f(theta), f(x)
        error = found.std(dim=0) * math.sqrt(1 / len(found) + 1 / len(wanted))
        assert len(found) > 100
        assert ((found.mean(dim=0) - wanted.mean(dim=0)).abs() < 5 * error + 2e-3).all()


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("sigma", [0.03, 0.3])
def test_the_noisy_posterior_is_the_average_over_its_points(condition, sigma):
    """Against a kernel sum over 65 536 evenly spread points of it, without the formulas of the density."""
    q = PRIOR.conditioned_on(condition)
    points = q.reference()
    x = points[:40] + sigma * torch.randn(40, 2, generator=generator(), dtype=f64)
    log_k = -0.5 * torch.cdist(x, points).square() / sigma**2
    log_p = log_k.logsumexp(dim=1) - math.log(len(points) * 2 * math.pi * sigma**2)
    mean = log_k.softmax(dim=1) @ points
    assert torch.allclose(q.log_prob(x, sigma), log_p, atol=0.02)
    assert torch.allclose(q.denoise(x, sigma), mean, atol=0.02 * sigma + 1e-3)


@pytest.mark.parametrize("sigma", [0.0, 1e-3, 0.02, 1.0])
def test_the_density_of_the_posterior_is_that_of_thirty_thousand_angles(sigma):
    """The integral without choosing its nodes, at points of the crescents and beside them, where it is narrowest."""
    n, v = 30_000, sigma**2 + 1e-8  # of the noise and the blur
    q, a = PRIOR.conditioned_on([0.0, 0.0]), ((torch.arange(n, dtype=f64) + 0.5) / n - 0.5) * math.pi
    e = torch.stack([a.cos(), a.sin()], dim=1)
    x = q.sample(8, generator()).double() + torch.tensor([[0.0], [0.002]], dtype=f64).repeat(4, 1)
    total = torch.zeros(8, dtype=f64)
    for sign in (1.0, -1.0):  # of S = sqrt(1/2) (theta_0 + theta_1); y = (r cos a + 1/4 - |S|, r sin a + T)
        S, T = sign * (0.25 + 0.1 * e[:, 0]), -0.1 * e[:, 1]
        S_e, T_e = sign * e[:, 0], -e[:, 1]
        d = x[:, None] - torch.stack([S - T, S + T], dim=1) / math.sqrt(2)
        u = torch.stack([S_e - T_e, S_e + T_e], dim=1) / math.sqrt(2)
        along = (d * u).sum(dim=2)
        rest = (d.square().sum(dim=2) - along.square()).clamp(min=0.0)
        log_q = -0.5 * (along.square() / (1e-4 + v) + rest / v) - math.log(2 * math.pi * math.sqrt((1e-4 + v) * v))
        total += 0.5 * log_q.exp().mean(dim=1)
    assert torch.allclose(q.log_prob(x, sigma), total.log(), atol=1e-5)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_score_denoiser_and_density_of_the_posterior_agree_without_noise_and_with_it(condition):
    q = PRIOR.conditioned_on(condition)
    for sigma in (0.0, 1e-4, 3e-3, 0.1, 5.0):
        x = q.sample(60, generator()).double() + sigma * torch.randn(60, 2, generator=generator(1), dtype=f64)
        x.requires_grad_()
        (slope,) = torch.autograd.grad(q.log_prob(x, sigma).sum(), x)
        score = q.score(x, sigma)
        assert torch.allclose(score, slope, rtol=1e-6, atol=1e-6 * slope.abs().max().item())
        assert torch.allclose(q.denoise(x, sigma), x + sigma**2 * score, atol=1e-9)
        single = q.score(x.detach().float(), sigma)
        double = q.score(x.detach().float().double(), sigma)
        assert (single.double() - double).abs().max() <= 2.0**-23 * double.abs().max()


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_density_of_the_posterior_integrates_to_one_and_its_entropy_is_that_of_its_samples(condition):
    q = PRIOR.conditioned_on(condition)
    ticks = torch.linspace(-1.3, 1.3, 101, dtype=f64)
    total = q.log_prob(torch.cartesian_prod(ticks, ticks), 0.03).exp().sum() * 0.026**2
    assert total.item() == pytest.approx(1.0, abs=1e-3)
    log_p = q.log_prob(q.sample(4000, generator()).double())
    assert abs(q.entropy() + log_p.mean()) < 5 * log_p.std() / math.sqrt(4000)
    assert q.log_prob(torch.tensor([[0.0, 0.9]], dtype=f64)).item() < -100.0


def test_the_modes_of_the_posterior_are_its_moons():
    q = PRIOR.conditioned_on([0.0, 0.0])
    assert q.mode_weights == pytest.approx({"sum above 0": 0.5, "sum below 0": 0.5}, abs=1e-9)
    assert q.modes(torch.tensor([[0.3, -0.1], [0.1, -0.3], [-0.3, 0.1], [-0.1, 0.3]])).tolist() == [0, 1, 1, 0]


def test_far_points_have_finite_answers():
    q, x = PRIOR.conditioned_on([0.0, 0.0]), torch.tensor([[1e4, -3.0], [0.0, 0.0], [-1e6, 1e6]])
    for sigma in (0.0, 1e-3, 1.0, 1e4):
        assert q.denoise(x, sigma).isfinite().all()
        assert q.score(x, sigma).isfinite().all()
        assert not q.log_prob(x, sigma).isnan().any()


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ([5.0, 0.0], r"no parameters in \[-1, 1\]\^2 explain the condition \[5.0, 0.0\]"),
        ([0.0], r"cannot be conditioned on \[0.0\]: it takes 2 finite numbers"),
        ([0.0, math.nan], "it takes 2 finite numbers"),
    ],
)
def test_conditions_that_cannot_be_are_refused(condition, message):
    with pytest.raises(ValueError, match=message):
        PRIOR.conditioned_on(condition)


def test_a_posterior_is_described_by_plain_values():
    q = PRIOR.conditioned_on([0.1, 0.2])
    assert from_config(to_config(q)) == q


def test_ancestral_samples_of_the_exact_posterior_are_at_the_floor():
    """Ratio of sliced W1 to the mean of eight draws of exact samples: above 2.5 with a probability below 1e-3."""
    q = PRIOR.conditioned_on([0.0, 0.0])
    metric, values = SlicedWasserstein(q), []
    x = Heun(18)(ExactDenoiser(q, EDM(sigma_min=0.002, sigma_max=50.0)), 1000, generator())
    for points in (x, *(q.sample(1000, generator(k)) for k in range(8))):
        metric.reset()
        metric.update(points)
        values.append(metric.compute().item())
    assert values[0] < 2.5 * sum(values[1:]) / 8


# Networks


def network(**arguments):
    torch.manual_seed(0)
    backbone = MLP((16, 16), "silu", n_conditions=2, **arguments)
    return NetworkDenoiser(backbone, EDM(sigma_min=0.002, sigma_max=50.0), EDMPreconditioning(0.6), LogSigma())


def test_a_network_is_conditioned_on_numbers_of_all_points_or_of_each():
    denoiser, x = network(), torch.randn(6, 2, generator=generator())
    y = torch.randn(6, 2, generator=generator(1))
    each = denoiser.conditioned_on(y).denoise(x, 0.1)
    one_by_one = [denoiser.conditioned_on(y[k].tolist()).denoise(x[k : k + 1], 0.1) for k in range(6)]
    assert torch.allclose(each, torch.cat(one_by_one), atol=1e-6)
    assert (each - denoiser.denoise(x, 0.1)).abs().max() > 1e-3
    none = denoiser.conditioned_on(torch.full((6, 2), math.nan)).denoise(x, 0.1)
    assert torch.allclose(none, denoiser.denoise(x, 0.1), atol=1e-6)
    D, J = denoiser.conditioned_on(y).denoise_jacobian(x, 0.1)
    h = torch.tensor([[1e-3, 0.0]])
    given = denoiser.conditioned_on(y)
    assert torch.allclose(D, each, atol=1e-6)
    assert torch.allclose(J[:, :, 0], (given.denoise(x + h, 0.1) - given.denoise(x - h, 0.1)) / 2e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: network().conditioned_on([0.0, 0.0, 0.0]), r"numbers \(3,\): it takes 2 numbers"),
        (lambda: network().conditioned_on(1), "knows no labels"),
        (lambda: MLP(n_conditions=2, n_labels=3), "0 with labels, got 2 with 3"),
        (lambda: MLP(n_conditions=-1), "n_conditions must be at least 0"),
        (lambda: EDMModule(condition=[0.0, 0.0]), r"train one with backbone\.n_conditions"),
        (lambda: EDMModule(backbone=MLP(n_conditions=2), condition=[0.0]), "it takes 2 numbers"),
        (lambda: KnownData(PRIOR).of_class([9.0, 9.0]), "no parameters"),
    ],
)
def test_conditions_that_do_not_fit_the_network_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_a_model_with_a_condition_is_compared_with_the_exact_posterior():
    model = EDMModule(backbone=MLP((8,), n_conditions=2), condition=[0.0, 0.1])
    model.data = KnownData(PRIOR)
    q = PRIOR.conditioned_on([0.0, 0.1])
    assert model.target.distribution == q
    assert model.reference_denoiser == ExactDenoiser(q, model.schedule)
    assert torch.equal(model.sampling_denoiser.labels, torch.tensor([[0.0, 0.1]]))
    again = from_config(to_config(model))
    assert again.condition == (0.0, 0.1)
    assert FeynmanKac(3, per_sample=1)(model.sampling_denoiser, 5, generator()).shape == (5, 2)


def test_batches_hold_parameters_and_observations_and_some_observations_are_kept_from_the_network():
    data = TwoMoonsInferenceDataModule(n_train=300, fresh=False, batch_size=100, labels=True)
    batch = data.batch(0)
    assert batch.x.shape == batch.labels.shape == (100, 2)
    again = TwoMoonsInferenceDataModule(n_train=300, fresh=False, batch_size=100, labels=True).batch(0)
    assert torch.equal(batch.labels, again.labels)
    (given,) = batches_of(tuple(batch), torch.float32)
    assert torch.equal(given.labels, batch.labels)
    dropped = EDMModule(backbone=MLP(n_conditions=2))._with_dropout(torch.zeros(1000, 2), generator())
    assert 50 < dropped.isnan().all(dim=1).sum() < 150
    assert (dropped.isnan().any(dim=1) == dropped.isnan().all(dim=1)).all()


def test_a_target_averaged_over_a_batch_refuses_conditions():
    context = Context(torch.zeros(4, 2), torch.full((4, 1), 0.1), generator())
    with pytest.raises(ValueError, match="hardly two points have the same condition; use DenoisingScoreMatching"):
        StableTarget()(network().conditioned_on(torch.zeros(4, 2)), context)


def test_a_network_learns_to_use_the_condition(tmp_path, monkeypatch, capsys, few_epochs):
    """From the command line, 12 s for three commands: 150 steps are enough for the sum of the parameters, 0.44 on
    average in absolute value, where the prior has 0.67."""
    monkeypatch.chdir(tmp_path)
    few = [
        "--trainer.max_steps",
        "150",
        "--trainer.accelerator",
        "cpu",
        "--data.n_train",
        "20000",
        "--pictures.frames",
        "0",
    ]
    entry.main(["fit", "--config", CONFIG, "--model.backbone.hidden", "[32, 32]", *few])
    run = "lightning_logs/two_moons_inference/version_0"
    given = ["--model.condition", "[0.0, 0.0]", "--n_samples", "300", "--trainer.accelerator", "cpu"]
    entry.main(["predict", "--ckpt_path", run, "--output", "x.npy", *given])
    x = np.load("x.npy")
    assert abs(np.abs(x.sum(axis=1)).mean() - 0.44) < 0.15
    entry.main(["test", "--ckpt_path", run, "--output", "m.json", *given])
    printed = capsys.readouterr().out
    assert "two moons posterior" in printed
    assert "C2ST" in printed
    metrics = json.loads(Path("m.json").read_text())
    assert metrics["settings"]["model.condition"] == [0.0, 0.0]
    assert 0.3 < metrics["c2st"]["floor"] < 0.7


# The classifier


def test_a_classifier_cannot_tell_exact_samples_but_sees_a_scale_that_is_off():
    """2000 samples, standard deviation about 0.009: five of them. Scaled by 1.05 the accuracy is 0.7."""
    q = PRIOR.conditioned_on([0.0, 0.0])
    exact, scaled = C2ST(q, 2000), C2ST(q, 2000)
    x = q.sample(2000, generator(1))
    exact.update(x)
    scaled.update(1.05 * x)
    assert abs(exact.compute() - 0.5) < 0.045
    assert scaled.compute() > 0.6
    assert C2ST(q).compute().isnan()


def test_the_classifier_is_a_metric_of_samples_like_the_others(few_epochs):
    """Pieces in another order, of several processes, and samples that are not finite change nothing."""
    q = PRIOR.conditioned_on([0.0, 0.0])
    x = q.sample(120, generator(1))
    whole, pieces, other = C2ST(q), C2ST(q).to(torch.bfloat16), C2ST(q)
    whole.update(x)
    pieces.update(torch.cat([x.flip(0)[:70], torch.full((1, 2), math.nan)]))
    other.update(x[:50])
    pieces.merge_state(other)
    assert torch.equal(whole.compute(), pieces.compute())
    assert not C2ST.applies_to(Points(x))


def test_the_floor_of_the_classifier_is_that_of_a_few_draws_and_it_has_no_ratio(few_epochs, monkeypatch):
    """Mean and scatter of its own values; chance is 0.5 and no distance, so a ratio would say nothing."""
    q, n = Heart(), 60
    monkeypatch.setattr(floors, "SLOW_DRAWS", 3)
    measured = noise_floors(q, n, draws=5, classifier=True)
    values = []
    for draw in range(3):
        metric = C2ST(q)
        metric.update(q.sample(n, generator(seed_of("noise floor", draw))))
        values.append(metric.compute().double())
    assert measured["c2st"].mean == pytest.approx(torch.stack(values).mean().item())
    assert measured["c2st"].sd == pytest.approx(torch.stack(values).std().item())
    assert "c2st" not in noise_floors(q, n, draws=2)
    metrics = sample_metrics(q, classifier=True)
    metrics.update(4.0 + q.sample(n, generator(4)))
    report = Report("", q, n, [metrics.compute()], measured)
    row = report.as_dict()["c2st"]
    assert row["value"] > 0.6 > row["floor"]
    assert "ratio" not in row
    assert "C2ST" in str(report)
