"""Metrics: right by brute force, additive, at their floor for perfect samples, and able to see defects."""

import json
import math

import pytest
import torch
from torchmetrics import MetricCollection

from toy_score.denoisers import ExactDenoiser
from toy_score.distributions import Heart, SplitNormal
from toy_score.metrics import (
    STUDY_LEVELS,
    CrossEntropyGap,
    EnergyDistance,
    InvalidMass,
    ModeWeights,
    NonFinite,
    Report,
    ScoreError,
    SlicedWasserstein,
    noise_floors,
    sample_metrics,
)
from toy_score.schedules import DDPM, VE

DISTRIBUTIONS = [Heart(), SplitNormal()]
every = pytest.mark.parametrize("p", DISTRIBUTIONS, ids=repr)
OF_SAMPLES = [SlicedWasserstein, EnergyDistance, CrossEntropyGap, ModeWeights, InvalidMass, lambda p: NonFinite()]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def value(metric, x):
    metric.reset()
    metric.update(x)
    return metric.compute()


class FewReferencePoints(Heart):
    """The heart, with a reference small enough for brute force."""

    def reference(self, n=1500):
        return self.sample(n, generator(9)).double()


@pytest.mark.parametrize("defect", [lambda x: x, lambda x: 1.2 * x + 0.3], ids=["none", "scaled and shifted"])
def test_sliced_wasserstein_equals_sorting(defect):
    p = FewReferencePoints()
    x, y = defect(p.sample(1500, generator(1)).double()), p.reference()
    angles = torch.arange(64) * math.pi / 64
    directions = torch.stack([angles.cos(), angles.sin()]).double()
    brute = ((x @ directions).sort(0).values - (y @ directions).sort(0).values).abs().mean()
    assert value(SlicedWasserstein(p), x).item() == pytest.approx(brute.item(), abs=1e-3)


@pytest.mark.parametrize("defect", [lambda x: x, lambda x: 1.2 * x + 0.3], ids=["none", "scaled and shifted"])
def test_energy_distance_equals_all_pairs(defect):
    """2 E|x - y| - E|x - x'| - E|y - y'|, unbiased in the samples, the reference taken as it is."""
    p = FewReferencePoints()
    x, y = defect(p.sample(1000, generator(1)).double()), p.reference()

    def mean_distance(a, b):
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").mean()

    brute = 2 * mean_distance(x, y) - mean_distance(x, x) * 1000 / 999 - mean_distance(y, y)
    assert value(EnergyDistance(p), x).item() == pytest.approx(brute.item(), abs=2e-4)


def test_a_shift_costs_the_known_sliced_distance():
    """Moving everything by d costs d E|cos| = 2 d / pi per direction; samples are the reference itself."""
    p = Heart()
    x = p.reference() + torch.tensor([0.0, 0.5])
    assert value(SlicedWasserstein(p), x).item() == pytest.approx(0.5 * 2 / math.pi, rel=2e-3)


@every
@pytest.mark.parametrize("make", OF_SAMPLES)
def test_pieces_and_processes_add_up(p, make):
    x = p.sample(3000, generator(2))
    whole, pieces, other = make(p), make(p), make(p)
    whole.update(x)
    for piece in x.flip(0)[:2000].split(700):
        pieces.update(piece)
    other.update(x[:1000])
    pieces.merge_state(other)
    assert torch.allclose(whole.compute(), pieces.compute(), rtol=1e-9, atol=1e-12)


@every
def test_a_collection_gives_what_its_metrics_give(p):
    x = p.sample(2000, generator(2))
    together = sample_metrics(p)
    assert isinstance(together, MetricCollection)
    for piece in x.split(600):
        together.update(piece)
    for name, metric in sample_metrics(p).items():
        assert torch.allclose(together.compute()[name], value(metric, x)), name


@every
@pytest.mark.parametrize("make", OF_SAMPLES)
def test_a_metric_without_samples_says_nan(p, make):
    assert make(p).compute().isnan().all()


def test_samples_that_are_not_finite_are_counted_and_told():
    p = Heart()
    x = p.sample(1000, generator())
    bad = x.clone()
    bad[3, 0], bad[7, 1] = math.nan, math.inf
    good = torch.ones(1000, dtype=torch.bool)
    good[[3, 7]] = False
    readings = sample_metrics(p)
    readings.update(bad)
    rest = sample_metrics(p)
    rest.update(x[good])
    for name in ("sliced_w1", "energy", "cross_entropy_gap", "mode_weights"):
        assert torch.equal(readings.compute()[name], rest.compute()[name])
    report = Report("t", p, 1000, readings.compute(), noise_floors(p, 1000, draws=4))
    assert report.as_dict()["nonfinite"] == 2
    assert "2 samples are not finite" in str(report)


def test_precision_of_the_model_does_not_reach_the_sums():
    metric = CrossEntropyGap(Heart())
    module = torch.nn.ModuleDict({"metric": metric}).to(torch.bfloat16)
    x = Heart().sample(5000, generator())
    module["metric"].update(x)
    assert module["metric"].compute().item() == pytest.approx(value(CrossEntropyGap(Heart()), x).item(), abs=1e-6)


@every
def test_perfect_samples_lie_within_the_floor(p):
    """Fresh draws of the law, 5 sd of the floor: false alarm below 1e-6 each, for values near normal."""
    n = 5000
    floors, metrics = noise_floors(p, n, draws=24), sample_metrics(p)
    metrics.update(p.sample(n, generator(77)))
    report = Report("t", p, n, metrics.compute(), floors).as_dict()
    for name in ("sliced_w1", "energy", "cross_entropy_gap"):
        assert report[name]["z"] < 5
    assert all(abs(mode["z"]) < 4.9 for mode in report["mode_weights"].values())


def heavier_right(x):
    """Weights 45 : 55 instead of 50 : 50."""
    left = (x[:, 0] < 0).nonzero()[: len(x) // 20, 0]
    x = x.clone()
    x[left, 0] *= -1
    return x


def some_in_the_gap(x):
    """One in a hundred at x_0 = 0."""
    x = x.clone()
    x[::100, 0] = 0.0
    return x


@pytest.mark.parametrize(
    ("p", "defect", "seen_by"),
    [
        (SplitNormal(), heavier_right, {"sliced_w1", "energy", "mode_weights"}),
        (Heart(), heavier_right, {"sliced_w1", "energy", "mode_weights"}),
        (SplitNormal(), some_in_the_gap, {"cross_entropy_gap", "invalid_mass"}),
        (Heart(), lambda x: x + torch.tensor([0.1, 0.0]), {"sliced_w1", "energy"}),
        (Heart(), lambda x: 1.1 * x, {"sliced_w1", "energy", "cross_entropy_gap"}),
    ],
    ids=["weights, split", "weights, heart", "gap", "shift", "scale"],
)
def test_each_defect_is_seen_by_the_metrics_made_for_it(p, defect, seen_by):
    """At n = 5000, five standard deviations above the floor; and the others are not fooled into seeing everything."""
    n = 5000
    metrics = sample_metrics(p)
    metrics.update(defect(p.sample(n, generator(3))))
    report = Report("t", p, n, metrics.compute(), noise_floors(p, n, draws=16)).as_dict()
    seen = {name for name in ("sliced_w1", "energy", "cross_entropy_gap") if abs(report[name]["z"]) > 5}
    seen |= {"mode_weights"} if any(abs(m["z"]) > 4.9 for m in report["mode_weights"].values()) else set()
    seen |= {"invalid_mass"} if report["invalid_mass"]["value"] > 0 else set()
    assert seen_by <= seen
    if defect is some_in_the_gap:
        assert "sliced_w1" not in seen  # bulk distances are blind to it: this is why there are others


@pytest.mark.parametrize("schedule", [VE(0.01, 20.0), DDPM()], ids=repr)
def test_score_error_of_a_scaled_score_is_known(schedule):
    """A score too small by 1 % errs by 1e-4 sigma^2 E|score|^2 / 2, level by level, and the truth errs by nothing."""

    class Scaled(ExactDenoiser):
        def noise(self, x, t):
            return 0.99 * super().noise(x, t)

    p, metric = Heart(), ScoreError()
    x0 = p.sample(20_000, generator())
    metric.update(ExactDenoiser(p, schedule), ExactDenoiser(p, schedule), x0, generator(1))
    assert metric.compute().max() < 1e-9
    metric.reset()
    metric.update(Scaled(p, schedule), ExactDenoiser(p, schedule), x0, generator(1))
    x = x0.double() + 0.5 * torch.randn(20_000, 2, generator=generator(4), dtype=torch.float64)
    near = min(range(10), key=lambda i: abs(STUDY_LEVELS[i] - 0.63))
    sigma = STUDY_LEVELS[near]
    x = x0.double() + sigma * torch.randn(20_000, 2, generator=generator(4), dtype=torch.float64)
    expected = 1e-4 * sigma**2 * p.score(x, sigma).square().sum(1).mean() / 2
    assert metric.compute()[near].item() == pytest.approx(expected.item(), rel=0.05)
    assert (metric.standard_error() < 0.05 * metric.compute()).all()


def test_the_study_levels_are_the_studys():
    assert pytest.approx([0.01 * 500 ** (i / 9) for i in range(9, -1, -1)]) == STUDY_LEVELS


def test_a_report_is_json_and_every_figure_has_its_floor():
    p = Heart()
    metrics = sample_metrics(p)
    metrics.update(p.sample(500, generator()))
    report = Report(
        "NCSN", p, 500, metrics.compute(), noise_floors(p, 500, draws=4), [1.0, 0.1], [2e-3, 1e-3], [1e-4] * 2
    )
    content = json.loads(json.dumps(report.as_dict()))
    assert content["score_error"]["mean"] == pytest.approx(1.5e-3)
    for name in ("sliced_w1", "energy", "cross_entropy_gap"):
        assert {"value", "floor", "floor_sd", "z"} <= set(content[name])
        assert content[name]["floor_sd"] > 0
    for line in ("sliced W1", "energy distance", "cross-entropy gap", "share of the mode left", "perfect samples"):
        assert line in str(report)


@every
def test_every_metric_can_be_plotted(p):
    for name, metric in sample_metrics(p).items():
        metric.update(p.sample(100, generator()))
        figure, _ = metric.plot()
        assert figure.axes, name
    error = ScoreError()
    error.update(ExactDenoiser(p, VE()), ExactDenoiser(p, DDPM()), p.sample(100, generator()), generator())
    assert error.plot()[1].get_xscale() == "log"
