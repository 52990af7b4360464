"""The error budget: planted causes are found, each under its own name, and none where there is none."""

import json
import math
from dataclasses import replace

import pytest
import torch

from toy_score import (
    EDM,
    VE,
    VP,
    AnnealedLangevin,
    ExactDenoiser,
    GaussianMixture,
    Guided,
    Heart,
    Heun,
    NCSNMixture,
    RungeKutta4,
    SplitNormal,
    plotting,
    progress,
)
from toy_score.evaluation import METRICS, ErrorBudget, Report, Row, budget as budgets, error_budget
from toy_score.evaluation.budget import _Draws, _fine, _noised_data
from toy_score.metrics import Floor, noise_floors, sample_metrics
from toy_score.samplers import NoiseStream

N, SEEDS = 3000, (11, 12, 13)
HEART, WIDE = Heart(), EDM(0.02, 500.0)
TRUTH = ExactDenoiser(HEART, WIDE)


@pytest.fixture(scope="module")
def floors():
    return noise_floors(HEART, N)


@pytest.fixture(scope="module")
def wrong_network(floors):
    return budget(floors, network=ScaledNoise(HEART, WIDE), title="model on heart, RungeKutta4(n_steps=5)")


class ScaledNoise(ExactDenoiser):
    """A network that overstates the noise: the planted error of a network."""

    def score(self, x, t):  # and so the noise and the denoised point
        return 1.1 * super().score(x, t)

    def denoise(self, x, t):
        level = self._level(x, t)
        return (x + level.sigma**2 * self.score(x, level)) / level.alpha


def threshold(floors):
    """False alarm 1e-6 for the mean of three draws of exact samples: sliced W1 has heavier tails than a normal law.

    In 25 600 means of three simulated draws the standardised quantiles at 1e-2, 1e-3 and 1e-4 are 2.7, 3.8 and 4.8: one
    more standard deviation for each factor of ten, so 7 for 1e-6.
    """
    return floors["sliced_w1"].mean + 7.0 * floors["sliced_w1"].sd / math.sqrt(len(SEEDS))


def budget(floors, truth=TRUTH, network=TRUTH, sampler=RungeKutta4(5), **kwargs):
    return error_budget(truth, network, sampler, n=N, seeds=SEEDS, floors=floors, **kwargs)


def test_an_exact_network_and_sampler_leave_every_row_at_the_noise_floor(floors):
    """Nor do 400 000 training points cost anything: their own error is a tenth of the floor of a draw."""
    found = budget(floors, points=HEART.sample(400_000, torch.Generator().manual_seed(6)))
    assert found.causes == {}
    assert [row.name for row in found.rows] == [
        "floor",
        "prior",
        "discretisation",
        "network",
        "discretisation alone",
        "network alone",
        "finite data",
    ]
    assert all(row.w1.mean < threshold(floors) for row in found.rows)
    assert "Nothing exceeds the noise floor" in str(found)


def test_a_wrong_prior_is_named_if_the_sampler_follows_the_flow(floors):
    narrow = ExactDenoiser(HEART, VE(0.01, 5.0))
    found = budget(floors, narrow, narrow, Heun(40))
    assert list(found.causes) == ["prior"]
    assert found["prior"].w1.mean > threshold(floors)
    assert found["discretisation alone"].w1.mean < threshold(floors)


def test_a_wrong_prior_is_not_named_if_the_sampler_corrects_it(floors):
    """Uniform on [-1.5, 1.5]^2 where the noised data have a standard deviation of 5: the flow would collapse."""
    narrow = ExactDenoiser(HEART, VE(0.01, 5.0))
    found = budget(floors, narrow, narrow, AnnealedLangevin(steps_per_level=10, uniform_start=1.5))
    assert found["prior"].w1.mean > 10 * threshold(floors)
    assert found.increment("discretisation") < 0
    assert "prior" not in found.causes


def test_too_coarse_steps_are_named(floors):
    found = budget(floors, sampler=Heun(8))
    assert list(found.causes) == ["discretisation"]
    assert found["prior"].w1.mean < threshold(floors)
    assert found["network alone"].w1.mean < threshold(floors)


def test_a_wrong_network_is_named_in_either_order(floors, wrong_network):
    found = wrong_network
    assert list(found.causes) == ["network"]
    assert found["discretisation"].w1.mean < threshold(floors)
    assert min(found[name].w1.mean for name in ("network", "network alone")) > threshold(floors)


def test_two_causes_are_distinguished(floors):
    narrow = VE(0.01, 5.0)
    found = budget(floors, ExactDenoiser(HEART, narrow), ScaledNoise(HEART, narrow), Heun(40))
    assert set(found.causes) == {"prior", "network"}


def test_finite_data_are_named_also_if_the_training_points_are_resampled(floors, monkeypatch):
    """50 points: their optimal denoiser, and where that would take too long, the points drawn again."""
    points = HEART.sample(50, torch.Generator().manual_seed(5))
    found = budget(floors, points=points)
    assert list(found.causes) == ["finite data"]
    assert "50 training points" in found.note
    monkeypatch.setattr("toy_score.evaluation.budget.PAIRS", 0)
    again = budget(floors, points=points)
    assert list(again.causes) == ["finite data"]
    assert again["finite data"].w1.mean == pytest.approx(
        found["finite data"].w1.mean, rel=0.25
    )  # the steps are coarse for points
    assert "the points are resampled" in again.note


def test_guidance_is_a_cause_of_its_own():
    p = SplitNormal()
    whole = ExactDenoiser(p, WIDE)
    right = whole.conditioned_on(1)
    guided = Guided(right, whole, 3.0)
    found = error_budget(right, guided, RungeKutta4(5), guided=guided, n=N, seeds=SEEDS)
    assert list(found.causes) == ["guidance"]
    assert found["network"].above == "guidance"
    assert found["network alone"].above == "guidance alone"
    assert found.increment("network") == 0


def test_a_report_and_a_budget_of_a_single_class_have_one_mode():
    right = ExactDenoiser(SplitNormal(), WIDE).conditioned_on(1)
    metrics = sample_metrics(right.distribution)
    metrics.update(right.distribution.sample(500, torch.Generator().manual_seed(0)))
    floors, readings = noise_floors(right.distribution, 500, draws=4), [metrics.compute()] * 2
    assert list(Report("t", right.distribution, 500, readings, floors).as_dict()["mode_weights"]) == ["all"]
    found = error_budget(right, right, RungeKutta4(5), n=500, seeds=(1, 2), floors=floors, readings=readings)
    assert found["network"].figures["worst_mode"].mean == found["floor"].figures["worst_mode"].mean == 0
    assert plotting.to_png(plotting.budget(found, "model on the right")).startswith(b"\x89PNG")


def test_metrics_already_computed_by_test_are_those_of_the_budget(floors, wrong_network):
    network, readings = ScaledNoise(HEART, WIDE), []
    for seed in SEEDS:
        metrics = sample_metrics(HEART)
        metrics.update(RungeKutta4(5)(network, N, torch.Generator().manual_seed(seed)))
        readings.append(metrics.compute())
    told = []
    given = budget(floors, network=network, readings=readings, tell=told.append)
    assert given.as_dict() == wrong_network.as_dict()
    assert not any(progress.startswith("network,") for progress in told)
    assert "prior, 3 of 3" in told


@pytest.mark.parametrize("watched", [True, False])
def test_a_bar_counts_the_draws_of_a_budget_where_somebody_is_watching(floors, watched, monkeypatch, capsys):
    monkeypatch.setattr(progress, "is_watched", lambda: watched)
    monkeypatch.setattr(budgets, "PATIENCE", 0.0)
    points = HEART.sample(50, torch.Generator().manual_seed(0))
    truth = ExactDenoiser(HEART, WIDE)
    for options in ({}, {"points": points}, {"guided": ScaledNoise(HEART, WIDE)}):
        error_budget(truth, truth, Heun(4), n=20, seeds=(1, 2), floors=floors, **options)
        shown = capsys.readouterr().err
        rows = 5 + ("points" in options) + 2 * ("guided" in options)
        assert (f"{2 * rows - 1}/{2 * rows} [" in shown) == watched  # at the beginning of the last
        assert ("network alone, 2 of 2" in shown) == watched


def test_the_error_of_the_fine_flow_is_below_any_noise_floor():
    """Against four times as many steps: below a hundredth of the floor of 20 000 samples, about 1.2 / sqrt(n)."""
    for schedule in (WIDE, VE(0.01, 5.0)):
        begin = torch.tensor([schedule.t_max], dtype=torch.float64)
        flow = _fine(HEART, begin)
        finer = replace(flow, n_steps=4 * flow.n_steps)
        x, y = (f(ExactDenoiser(HEART, schedule), 500, torch.Generator().manual_seed(0)) for f in (flow, finer))
        assert (x - y).norm(dim=1).mean() < 1e-2 * 1.2 / math.sqrt(20_000)


def test_the_fine_flow_starts_at_the_first_level_of_the_sampler():
    begin = torch.tensor([0.4], dtype=torch.float64)
    times = _fine(HEART, begin).times(VE())
    assert times[0] == begin
    assert (times.diff() < 0).all()


def test_noised_data_are_the_data_scaled_and_noised():
    """Data in a point, on a schedule that takes signal away."""
    p, t = GaussianMixture([[3.0, -1.0]], stds=1e-6), torch.tensor([0.4], dtype=torch.float64)
    alpha, sigma = VP()(t)
    expected = alpha * torch.tensor([3.0, -1.0]) + sigma * NoiseStream(0, 0, 50).normal()
    assert torch.allclose(_noised_data(p, t, 0)(VP(), NoiseStream(0, 0, 50)).double(), expected, atol=1e-5)


def test_the_worst_mode_is_measured_in_binomial_standard_deviations():
    draws = _Draws(NCSNMixture(weight=0.8), 100, SEEDS, print)
    shares = torch.tensor([0.25, 0.75], dtype=torch.float64)
    assert draws.worst_mode(shares).item() == pytest.approx(0.05 / math.sqrt(0.8 * 0.2 / 100))


def test_a_budget_is_plain_numbers_a_table_and_a_picture(wrong_network):
    found = wrong_network
    d = json.loads(json.dumps(found.as_dict()))
    assert d["causes"] == found.causes
    assert d["rows"][3]["sliced_w1"]["mean"] == found["network"].w1.mean
    assert d["rows"][3]["increment"] == pytest.approx(found["network"].w1.mean - found["discretisation"].w1.mean)
    table = str(found)
    assert all(name in table for name in (*[row.name for row in found.rows], *METRICS.values()))
    assert max(len(line) for line in table.splitlines() if "+-" in line) <= 100  # a terminal is not wider
    figure = plotting.budget(found, "model on heart")
    assert [ax.get_xlabel() for ax in figure.axes] == list(METRICS.values())
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [row.name for row in found.rows]
    assert plotting.to_png(figure).startswith(b"\x89PNG")


def test_samples_that_are_not_finite_are_reported(floors):
    class Exploding(ExactDenoiser):
        def noise(self, x, t):
            return torch.where(x[:, :1] > 0, torch.nan, super().noise(x, t))

    found = budget(floors, network=Exploding(HEART, WIDE))
    assert found["network"].nonfinite > 0.1
    assert "not finite" in str(found)


def planted(draws=4, **network):
    """A budget whose rows lie at a floor of 0 +- 1 in every metric but for the network's, and that of its causes."""

    def row(name, above, **means):
        figures = {metric: Floor(means.get(metric, 0.0), 1.0) for metric in METRICS}
        return Row(name, "", "", "", above, figures, 64 if name == "floor" else draws)

    half = {metric: mean / 2 for metric, mean in network.items()}  # two causes, half the error each
    return ErrorBudget(
        "planted",
        1000,
        [
            row("floor", ""),
            row("prior", "floor"),
            row("discretisation", "prior", **half),
            row("network", "discretisation", **network),
            row("discretisation alone", "floor", **half),
            row("network alone", "floor", **half),
        ],
        "",
    )


SCATTER = math.sqrt(1 / 4 + 1 / 64)  # of the mean of four draws against that of 64, in units of the floor's


def test_the_verdict_reports_causes_that_exceed_the_noise_floor_only_together():
    found = planted(sliced_w1=8 * SCATTER)
    assert found.causes == {}
    assert found.together["sliced_w1"] == {"increment": pytest.approx(8 * SCATTER), "z": pytest.approx(8)}
    assert f"Together the causes add {8 * SCATTER:+.4f} to sliced W1 (z = 8.0), though none alone" in found.verdict
    assert "--data.repeats" in found.verdict
    assert planted(sliced_w1=4.9 * SCATTER).verdict == "Nothing exceeds the noise floor"


@pytest.mark.parametrize("metric", ["energy", "cross_entropy_gap", "worst_mode"])
def test_the_verdict_looks_at_every_metric(metric):
    assert f"to {METRICS[metric].split(',')[0]} (z = 6.0)" in planted(**{metric: 6 * SCATTER}).verdict
    assert planted(**{metric: 4.9 * SCATTER}).verdict == "Nothing exceeds the noise floor"
    assert planted(**{metric: math.nan}).verdict != "Nothing exceeds the noise floor"
    assert "(z = -6.0)" in planted(cross_entropy_gap=-6 * SCATTER).verdict  # samples sharper than the truth


def test_denoisers_of_two_schedules_are_refused(floors):
    with pytest.raises(ValueError, match="give them one"):
        budget(floors, network=ExactDenoiser(HEART, VE()))
    with pytest.raises(ValueError, match="a seed for each draw"):
        error_budget(TRUTH, TRUTH, RungeKutta4(5), seeds=())
