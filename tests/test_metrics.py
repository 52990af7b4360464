"""Metrics: right by brute force, additive, at their noise floor for exact samples, and able to detect defects."""

import json
import math

import pytest
import torch
from laws import laws
from torchmetrics import MetricCollection

from toy_score import metrics
from toy_score.denoisers import ExactDenoiser
from toy_score.distributions import (
    Checkerboard,
    EightGaussians,
    FortyGaussians,
    GaussianMixture,
    Heart,
    SplitNormal,
)
from toy_score.evaluation import Report
from toy_score.metrics import (
    STUDY_LEVELS,
    EnergyDistance,
    GaussianisedTest,
    ModeReverseKL,
    ModesFound,
    ModeTotalVariation,
    ModeWeights,
    NearModes,
    ScoreError,
    SlicedWasserstein,
    noise_floors,
    sample_metrics,
)
from toy_score.metrics.floors import ALL
from toy_score.schedules import DDPM, VE
from toy_score.seeds import seed_of

DISTRIBUTIONS = [Heart(), SplitNormal()]
every = pytest.mark.parametrize("p", DISTRIBUTIONS, ids=repr)
TOYS = [*DISTRIBUTIONS, EightGaussians()]
QUICK = {name: cls for name, cls in ALL.items() if not cls.is_slow}  # the others have tests of their own
EACH = [(p, cls) for p in TOYS for cls in QUICK.values() if cls.applies_to(p)]
each_metric = pytest.mark.parametrize(("p", "make"), EACH, ids=[f"{cls.__name__}-{p.name}" for p, cls in EACH])


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


@pytest.mark.parametrize("n", [4, 1000])
@pytest.mark.parametrize("defect", [lambda x: x, lambda x: 1.2 * x + 0.3], ids=["none", "scaled and shifted"])
def test_energy_distance_equals_all_pairs(n, defect):
    """2 E|x - y| - E|x - x'| - E|y - y'|, unbiased in the samples, the reference taken as it is."""
    p = FewReferencePoints()
    x, y = defect(p.sample(n, generator(1)).double()), p.reference()

    def mean_distance(a, b):
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").mean()

    brute = 2 * mean_distance(x, y) - mean_distance(x, x) * n / (n - 1) - mean_distance(y, y)
    assert value(EnergyDistance(p), x).item() == pytest.approx(brute.item(), abs=2e-4 if n == 1000 else 1e-2)


def test_a_shift_has_the_known_sliced_distance():
    """Moving everything by d costs d E|cos| = 2 d / pi per direction; samples are the reference itself."""
    p = Heart()
    x = p.reference() + torch.tensor([0.0, 0.5])
    assert value(SlicedWasserstein(p), x).item() == pytest.approx(0.5 * 2 / math.pi, rel=2e-3)


@each_metric
def test_results_of_pieces_and_processes_add_up(p, make):
    x = p.sample(600, generator(2))  # no more than all metrics look at
    whole, pieces, other = make(p), make(p), make(p)
    whole.update(x)
    for piece in x.flip(0)[:400].split(150):
        pieces.update(piece)
    other.update(x[:200])
    pieces.merge_state(other)
    assert torch.allclose(whole.compute(), pieces.compute(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("p", TOYS, ids=repr)
def test_a_collection_gives_what_its_metrics_give(p):
    x = p.sample(2000, generator(2))
    x[-1, 0], x[-2] = 0.0, math.nan  # in the last piece only: until then several metrics hold equal states
    together = sample_metrics(p, papers=True)
    assert isinstance(together, MetricCollection)
    for _ in range(2):  # and again after a reset, when some share their states
        together.reset()
        for piece in x.split(600):
            together.update(piece)
        found = together.compute()
        assert set(found) == {name for name, cls in QUICK.items() if cls.applies_to(p)}
        for name in found:
            alone = value(ALL[name](p), x)
            assert torch.allclose(found[name], alone, rtol=1e-9, atol=1e-12), name


@each_metric
def test_a_metric_without_samples_returns_nan(p, make):
    assert make(p).compute().isnan().all()


def test_samples_that_are_not_finite_are_counted_and_reported():
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
    report = Report("t", p, 1000, [readings.compute()], noise_floors(p, 1000, draws=4))
    assert report.as_dict()["nonfinite"] == 2
    assert "2 samples are not finite" in str(report)


@each_metric
def test_the_precision_of_the_model_does_not_affect_the_sums(p, make):
    """Neither before nor between updates; and samples in bfloat16 are judged as the points that they are."""
    module = torch.nn.ModuleDict({"metric": make(p)}).to(torch.bfloat16)
    x = p.sample(500, generator()).bfloat16()
    module["metric"].update(x[:300])
    module.to(torch.bfloat16)["metric"].update(x[300:])
    assert torch.allclose(module["metric"].compute(), value(make(p), x.double()), rtol=1e-6, atol=1e-6)


@every
def test_exact_samples_stay_below_the_theoretical_threshold(p):
    """False alarm 1e-6 for each figure, by the law of each statistic and not by a measured floor, whose few draws and
    skewed values would make it 1e-2 at five standard deviations."""
    n = 50_000
    metrics, law = sample_metrics(p), laws(p, n)
    metrics.update(p.sample(n, generator(77)))
    readings = metrics.compute()
    for name in ("sliced_w1", "energy", "cross_entropy_gap"):
        assert abs(readings[name].item()) < law[name], name
    assert (readings["mode_weights"] - 0.5).abs().max() < 4.89 * 0.5 / n**0.5
    assert readings["invalid_mass"] == 0


@every
def test_planted_defects_exceed_the_theoretical_threshold(p):
    """The power twin: weights 45 : 55, a shift of 0.1, a scale of 1.05, at the same n and the same thresholds."""
    n = 50_000
    metrics, law = sample_metrics(p), laws(p, n)
    defects = {
        heavier_right: {"sliced_w1", "energy"},
        lambda x: x + torch.tensor([0.1, 0.0]): {"sliced_w1", "energy"},
        lambda x: 1.05 * x: {"sliced_w1", "energy", "cross_entropy_gap"},
    }
    for defect, seen_by in defects.items():
        metrics.reset()
        metrics.update(defect(p.sample(n, generator(77))))
        readings = metrics.compute()
        assert {name for name in seen_by if abs(readings[name].item()) > law[name]} == seen_by


@every
def test_the_measured_noise_floor_agrees_with_theory(p):
    """Means of 32 draws within 5 standard errors: the energy distance is unbiased, sliced W1 as large as it must be."""
    n, draws = 4000, 32
    floors, law = noise_floors(p, n, draws), laws(p, n)
    w1, energy = floors["sliced_w1"], floors["energy"]
    assert abs(w1.mean - law["sliced_w1 mean"]) < 5 * w1.sd / draws**0.5
    assert abs(energy.mean) < 5 * law["energy sd"] / draws**0.5
    assert 0.5 * law["energy sd"] < energy.sd < 2 * law["energy sd"]


@every
def test_the_expected_sliced_distance_is_the_mean_over_draws(p):
    """100 draws of 200, of the exact law and of a wrong one, within 5 standard errors: a false alarm below 1e-6."""
    n, draws = 200, 100
    assert SlicedWasserstein(p).noise_floor(n).item() == pytest.approx(laws(p, n)["sliced_w1 mean"], rel=2e-3)
    for wrong in (0.0, 0.05):
        metric, pool, values = SlicedWasserstein(p), SlicedWasserstein(p), []
        for draw in range(draws):
            x = (1.0 + wrong) * p.sample(n, generator(draw)) + wrong
            values.append(value(metric, x))
            metric.reset()
            pool.update(x)
        mean, error = torch.stack(values).mean(), torch.stack(values).std() / draws**0.5
        assert abs(pool.expected(n) - mean) < 5 * error
        assert pool.expected(n) > pool.compute() + error  # the noise of a draw counts
        assert pool.expected(draws * n // 2) > pool.compute() * 1.001  # so does that of half of all samples
        assert pool.expected(draws * n).item() == pytest.approx(pool.compute().item())
    with pytest.raises(ValueError, match="n must be from 1 to the 20000 samples seen, got 20001; update with more"):
        pool.expected(draws * n + 1)


@pytest.mark.parametrize("far", [60.0, -60.0, 1e20])
def test_samples_beyond_the_window_count_on_their_side_with_their_distance(far):
    """5 % of the samples far away at one place; brute force by sorting and by all pairs."""
    p = FewReferencePoints()
    x, y = p.sample(1500, generator(1)).double(), p.reference()
    x[:75, 0] = far
    angles = torch.arange(64) * math.pi / 64
    directions = torch.stack([angles.cos(), angles.sin()]).double()
    brute = ((x @ directions).sort(0).values - (y @ directions).sort(0).values).abs().mean()
    assert value(SlicedWasserstein(p), x).item() == pytest.approx(brute.item(), rel=2e-3)
    xx, xy, yy = (
        torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").mean() for a, b in ((x, x), (x, y), (y, y))
    )
    energy = (2 * xy - xx * 1500 / 1499 - yy).item()
    assert value(EnergyDistance(p), x).item() == pytest.approx(energy, rel=1e-2)


def two_processes(metric):
    """A metric that believes that a second process holds the same states."""
    metric.distributed_available_fn = lambda: True
    metric.dist_sync_fn = lambda state, group=None: [state, state]
    return metric


def test_standard_error_counts_the_points_of_all_processes():
    p = Heart()
    truth, x0 = ExactDenoiser(p, VE()), p.sample(2000, generator())
    alone, both = ScoreError(), two_processes(ScoreError())
    for metric in (alone, both):
        metric.update(Scaled(p, VE()), truth, x0, generator(1))
    assert torch.allclose(both.compute(), alone.compute())
    assert torch.allclose(both.standard_error(), alone.standard_error() / 2**0.5, rtol=1e-3)


def test_modes_are_counted_by_their_definitions():
    """Shares 0.75, 0.25 and 0 in place of 0.5, 0.3 and 0.2; three in four samples within three standard deviations."""
    p = GaussianMixture([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0]], stds=2.0, weights=[5.0, 3.0, 2.0])
    x = torch.tensor([[0.0, 5.9]] * 5 + [[0.0, -6.1], [20.0, 5.9], [26.1, 0.0]])
    kl = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.3)
    for metric, value in ((ModeTotalVariation, 0.25), (ModeReverseKL, kl), (ModesFound, 2.0), (NearModes, 0.75)):
        assert metric.applies_to(p)
        judge = metric(p)
        judge.update(x)
        assert judge.compute().item() == pytest.approx(value), metric


def test_standard_error_is_that_of_a_mean():
    p, metric, g = Heart(), ScoreError([0.5]), generator(1)
    errors, total = [], 0.0
    for x0 in p.sample(50, generator()).split(1):
        metric.update(Scaled(p, VE()), ExactDenoiser(p, VE()), x0, g)
        errors.append(metric.total.item() - total)
        total += errors[-1]
    assert metric.standard_error().item() == pytest.approx(torch.tensor(errors).std().item() / 50**0.5, rel=1e-4)


def test_a_floor_is_the_same_on_one_process_and_on_two(monkeypatch, nothing_kept):
    p = Heart()
    alone = noise_floors(p, 500, draws=3)
    monkeypatch.setattr("torchmetrics.metric.jit_distributed_available", lambda: True)
    monkeypatch.setattr("torchmetrics.metric.gather_all_tensors", lambda state, group=None: [state, state])
    assert noise_floors(p, 500, draws=3) == alone


def test_denoisers_of_different_schedules_are_not_compared():
    p = Heart()
    with pytest.raises(ValueError, match="one schedule"):
        ScoreError().update(ExactDenoiser(p, VE()), ExactDenoiser(p, DDPM()), p.sample(10, generator()), generator())


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


@every
def test_mode_weights_name_the_right_modes(p):
    x = p.sample(20_000, generator(3))
    shares = dict(zip(p.mode_weights, value(ModeWeights(p), heavier_right(x)).tolist(), strict=True))
    assert shares["right"] == pytest.approx(0.55, abs=4.89 * 0.5 / 20_000**0.5)
    assert shares["left"] == pytest.approx(1 - shares["right"])


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
def test_each_defect_is_detected_by_the_metrics_made_for_it(p, defect, seen_by):
    """At n = 10 000, five standard deviations above the floor; and the others are not fooled into seeing everything."""
    n = 10_000
    metrics = sample_metrics(p)
    metrics.update(defect(p.sample(n, generator(3))))
    report = Report("t", p, n, [metrics.compute()], noise_floors(p, n, draws=64)).as_dict()
    seen = {name for name in ("sliced_w1", "energy", "cross_entropy_gap") if abs(report[name]["z"]) > 5}
    seen |= {"mode_weights"} if any(abs(m["z"]) > 4.9 for m in report["mode_weights"].values()) else set()
    seen |= {"invalid_mass"} if report["invalid_mass"]["value"] > 0 else set()
    assert seen_by <= seen
    if defect is some_in_the_gap:
        assert "sliced_w1" not in seen  # bulk distances are blind to it: this is why there are others


class Scaled(ExactDenoiser):
    """The truth with its score 1 % too small."""

    def noise(self, x, t):
        return 0.99 * super().noise(x, t)


@pytest.mark.parametrize("schedule", [VE(0.01, 20.0), DDPM()], ids=repr)
def test_score_error_of_a_scaled_score_is_known(schedule):
    """A score too small by 1 % errs by 1e-4 sigma^2 E|score|^2 / 2, level by level, and the truth errs by nothing."""
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


def test_the_study_levels_are_those_of_the_original_study():
    assert pytest.approx([0.01 * 500 ** (i / 9) for i in range(9, -1, -1)]) == STUDY_LEVELS


def test_a_report_is_json_and_every_figure_has_its_floor():
    p = Heart()
    metrics = sample_metrics(p)
    metrics.update(p.sample(500, generator()))
    report = Report(
        "NCSN", p, 500, [metrics.compute()], noise_floors(p, 500, draws=4), [1.0, 0.1], [2e-3, 1e-3], [1e-4] * 2
    )
    content = json.loads(json.dumps(report.as_dict()))
    assert content["score_error"]["mean"] == pytest.approx(1.5e-3)
    for name in ("sliced_w1", "energy", "cross_entropy_gap"):
        assert {"value", "floor", "floor_sd", "z"} <= set(content[name])
        assert content[name]["floor_sd"] > 0
    for line in ("sliced W1", "energy distance", "cross-entropy gap", "share of the mode left", "exact samples"):
        assert line in str(report)


def test_every_metric_is_reported_with_its_noise_floor_and_their_comparison():
    """The mean of its own values over exact samples or of their known law, their scatter, z, a ratio for distances."""
    p, n, draws = EightGaussians(), 300, 5
    x, metrics = p.sample(n, generator(1)), sample_metrics(p, papers=True)
    metrics.update(x)
    report = Report("t", p, n, [metrics.compute()], noise_floors(p, n, draws, papers=True))
    content = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    for name, cls in QUICK.items():
        if not cls.has_floor:
            continue
        truth = [value(cls(p), p.sample(n, generator(seed_of("noise floor", k)))).double() for k in range(draws)]
        sd, mean = (measured.item() for measured in torch.std_mean(torch.stack(truth)))
        mean, sd = cls.known_floor(p, n) or (mean, sd)
        row = content[name]
        assert (row["value"], row["floor"]) == pytest.approx((value(cls(p), x).item(), mean)), name
        assert row["z"] == (pytest.approx((row["value"] - mean) / sd, rel=1e-4) if sd > 0 else None), name
        assert ("ratio" in row) == (name in {"sliced_w1", "gaussianised_ks", "exact_w2", *MODE_DISTANCES}), name
        assert cls.label in str(report), name


@pytest.mark.parametrize("p", [EightGaussians(), FortyGaussians(), SplitNormal()], ids=repr)
def test_a_known_floor_is_that_of_exact_samples(p):
    """Of 400 drawn values no mean is off by five standard errors, 1e-5 for all 16, no deviation by five of its own.

    The deviation of values with kurtosis k is known to a share of `sqrt((k - 1) / 4 / 400)`: 4 % if they are normal,
    9 % for the square of a normal one, of which the reverse KL is a sum. The known ones are good to 3 %.
    """
    n, draws = 500, 400
    known = {
        name: floor
        for name, cls in ALL.items()
        if cls.has_floor and cls.applies_to(p) and (floor := cls.known_floor(p, n))
    }
    assert {"gaussianised_ks", "cross_entropy_gap", "mode_total_variation"} <= set(known)
    metrics, drawn = sample_metrics(p, leave_out=ALL.keys() - known), {name: [] for name in known}
    for draw in range(draws):
        metrics.reset()
        metrics.update(p.sample(n, generator(seed_of("exact samples", draw))))
        values = metrics.compute()
        for name, found in drawn.items():
            found.append(values[name].double())
    for name, found in drawn.items():
        sd, mean = (measured.item() for measured in torch.std_mean(torch.stack(found)))
        assert known[name][0] == pytest.approx(mean, abs=5.0 * sd / math.sqrt(draws) + 0.1 * known[name][1]), name
        assert known[name][1] == pytest.approx(sd, rel=0.5), name


MODE_DISTANCES = {"mode_total_variation", "mode_reverse_kl"}


def test_several_draws_are_averaged_and_scatter_less():
    p, floors = Heart(), noise_floors(Heart(), 500, draws=4)
    readings = []
    for seed in range(4):
        metrics = sample_metrics(p)
        metrics.update(p.sample(500, generator(seed)))
        readings.append(metrics.compute())
    one, four = (Report("NCSN", p, 500, r, floors).as_dict() for r in (readings[:1], readings))
    assert (one["repeats"], four["repeats"]) == (1, 4)
    alone = [Report("NCSN", p, 500, [r], floors).as_dict() for r in readings]
    w1, p_values = [r["sliced_w1"] for r in alone], [r["gaussianised_ks"]["p_value"] for r in alone]
    assert four["sliced_w1"]["value"] == pytest.approx(sum(r["value"] for r in w1) / 4)
    assert four["sliced_w1"]["floor_sd"] == pytest.approx(one["sliced_w1"]["floor_sd"] / 2)
    assert four["sliced_w1"]["z"] == pytest.approx(sum(r["z"] for r in w1) / 2)
    assert 4 * min(p_values) < 1
    assert four["gaussianised_ks"]["p_value"] == pytest.approx(4 * min(p_values))  # the worst of four is no surprise


def test_samples_that_are_not_finite_do_not_make_the_others_look_wrong():
    """Of exact samples nine in ten are lost: the share of a mode scatters as that of the rest, z by one."""
    p, z = Heart(), []
    metrics = sample_metrics(p)
    for seed in range(60):
        x = p.sample(2000, generator(seed))
        x[torch.randperm(2000, generator=generator(seed))[:1800]] = torch.nan
        metrics.reset()
        metrics.update(x)
        z.append(Report("", p, 2000, [metrics.compute()], {}).as_dict()["mode_weights"]["left"]["z"])
    assert 0.6 < torch.tensor(z).std() < 1.5  # chi-squared of 59 degrees: false alarm 1e-6; uncorrected it is 3.2


@every
def test_every_metric_can_be_plotted(p):
    for name, metric in sample_metrics(p, papers=True).items():
        metric.update(p.sample(100, generator()))
        figure, _ = metric.plot()
        assert figure.axes, name
    error = ScoreError()
    error.update(Scaled(p, VE()), ExactDenoiser(p, VE()), p.sample(100, generator()), generator())
    figure, axes = error.plot()
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert axes.get_xaxis().get_visible()
    assert error.plot(ax=axes)[0] is figure
    assert len(error.plot([error.compute(), 2.0 * error.compute()])[1].lines) == 2  # a curve for each


DISTANCES = {
    "ExactW2", "FieldSymmetry", "GaussianisedTest", "InvalidMass", "MapError", "Memorisation", "ModeReverseKL",
    "ModeTotalVariation", "NonFinite", "PartitionKL", "ScoreError", "SlicedWasserstein", "Straightness",
    "VelocityError",
}  # fmt: skip


def test_pictures_of_distances_and_shares_begin_at_zero():
    """A lower bound of zero says that a metric is a distance, which the report divides by its floor."""
    classes = [c for c in vars(metrics).values() if isinstance(c, type) and hasattr(c, "plot_lower_bound")]
    from_zero = {c.__name__ for c in classes if c.plot_lower_bound == 0.0}
    assert from_zero == DISTANCES
    assert {c.plot_lower_bound for c in classes} == {0.0, None}
    assert {c.__name__: c.plot_upper_bound for c in classes if c.plot_upper_bound is not None} == {"Straightness": 1.0}


def test_a_metric_refuses_a_distribution_that_lacks_what_it_needs():
    with pytest.raises(TypeError, match="GaussianisedTest needs a distribution with `pull`, got Checkerboard"):
        GaussianisedTest(Checkerboard())
    with pytest.raises(TypeError, match="NearModes needs a distribution with `deviations`, got Heart"):
        NearModes(Heart())
