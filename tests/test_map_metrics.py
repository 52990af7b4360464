"""What is measured of flow maps: zero for the truth, and the known value for a map that is wrong by a known amount."""

import json
import math

import pytest
import torch
from gaussian_map import DATA, SCHEDULE, STD, GaussianMap

from toy_score import (
    VP,
    EDMModule,
    ExactFlowMap,
    FlowMapModule,
    Heart,
    LinearFlow,
    MapMLP,
    MapSteps,
    RungeKutta4,
    __main__ as entry,
    evaluate,
)
from toy_score.compare.contestants import Contestant, cells, line_up
from toy_score.compare.samplers import parse_samplers
from toy_score.evaluation import error_budget
from toy_score.likelihood import one_step
from toy_score.metrics import ExactPaths, MapError, maps
from toy_score.plotting import map_error, to_png
from toy_score.requests import SampleRequest

f64 = torch.float64
TRUTH = ExactFlowMap(DATA, SCHEDULE)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def measured(flow_map, n=2000):
    metric = MapError(SCHEDULE)
    for seed in range(2):  # in two pieces
        metric.update(flow_map, ExactPaths(TRUTH, DATA.sample(n // 2, generator(seed)).double(), generator(seed)))
    return metric.levels, metric.compute()


def test_the_map_error_of_the_truth_is_zero_and_that_of_a_stretched_map_is_known():
    """`(error sin^2(phi - psi))^2 E|z_psi|^2 / E|x_0|^2`; up to the scatter of 2000 points, 4.9 / sqrt(2000)."""
    levels, error = measured(GaussianMap())
    above = torch.ones(len(levels), len(levels)).triu(1) > 0
    assert error[above].max() < 1e-9
    assert error[~above].isnan().all()
    angles = torch.tensor(levels, dtype=f64).atan()
    turn = (angles[:, None] - angles).sin().square()
    size = (angles.cos().square() + angles.sin().square() / STD**2)[None]
    known = (0.1 * turn).square() * size
    assert torch.allclose(measured(GaussianMap(0.1))[1][above], known[above], rtol=2 * 4.9 / 2000**0.5)


def test_the_density_of_one_step_is_the_closed_form():
    """The map of a Gaussian is a factor, so its samples are Gaussian."""
    z = torch.randn(500, 2, generator=generator(), dtype=f64)
    for error, flow_map in ((0.0, TRUTH), (0.0, GaussianMap()), (0.2, GaussianMap(0.2))):
        x, log_q = one_step(flow_map, z)
        std = (x / z).mean().item()
        assert std == pytest.approx((1 + error) * math.hypot(STD, 0.02), rel=2e-3)
        closed = -0.5 * (x / std).square().sum(dim=1) - math.log(2 * math.pi * std**2)
        assert torch.allclose(log_q, closed, atol=1e-5)


def test_one_step_of_the_exact_map_has_the_density_of_the_data():
    """For the heart: `log q = log p` point by point, up to the error of the prior at noise level 500."""
    truth = ExactFlowMap(Heart(), FlowMapModule().schedule)
    x, log_q = one_step(truth, torch.randn(64, 2, generator=generator(), dtype=f64))
    gap = log_q - Heart().log_prob(x, truth.schedule.ratios[0])
    assert gap.abs().max() < 0.02


@pytest.mark.parametrize("error", [0.0, 0.2])
def test_the_report_of_a_flow_map_has_its_error_its_quality_and_its_one_step_density(error):
    flow_map = GaussianMap(error)
    samples = MapSteps()(flow_map, 2000, generator())
    report = evaluate(samples, DATA, flow_map)
    found = json.loads(json.dumps(report.as_dict()["maps"]))
    assert list(found["sliced_w1"]) == ["1", "2", "4", "8"]
    kl = (1 + error) ** 2 - 1 - 2 * math.log(1 + error)  # of one Gaussian from another
    assert abs(found["one_step_reverse_kl"] - kl) < 4.9 * found["one_step_reverse_kl_standard_error"] + 2e-3
    assert (found["one_step_map_error"] > 1e-3) == (error > 0)
    floor = report.floors["sliced_w1"]
    assert (found["sliced_w1"]["1"] > floor.mean + 4.9 * floor.sd) == (error > 0)
    lines = str(report).splitlines()
    assert any(line.startswith("evaluations of the map") for line in lines)
    assert any(line.startswith("reverse KL of one step, nats") for line in lines)


def test_a_denoiser_that_is_no_map_has_no_such_lines():
    model = EDMModule()
    report = evaluate(model.sample(500), Heart(), model.denoiser)
    assert "maps" not in report.as_dict()


@pytest.mark.parametrize(("error", "causes"), [(0.0, []), (0.4, ["map"])])
def test_the_budget_tells_the_error_of_the_map_from_that_of_its_diagonal(error, causes):
    """The diagonal of the stretched map is exact; five standard deviations, a false alarm below 1e-4."""
    budget = error_budget(TRUTH, GaussianMap(error), MapSteps(), n=1000, seeds=range(3))
    assert [row.name for row in budget.rows][:5] == ["floor", "prior", "discretisation", "diagonal", "network"]
    assert list(budget.causes) == causes


def test_compare_gives_references_a_map_and_leaves_out_models_without_one():
    torch.manual_seed(0)
    flow, edm = FlowMapModule(backbone=MapMLP((8,))), EDMModule()
    models = [
        Contestant(name, "network", model.denoiser, Heart(), (model.sampler,))
        for name, model in (("flow", flow), ("edm", edm))
    ]
    written = parse_samplers("own,MapSteps")
    names = [
        (cell.contestant.kind, cell.contestant.name, cell.sampler) for cell in cells(line_up(models), written, [2])
    ]
    assert ("network", "flow", MapSteps(1)) in names
    assert ("network", "flow", MapSteps(2)) in names
    assert not any(name == "edm" and isinstance(sampler, MapSteps) for _, name, sampler in names)
    assert ("exact, own schedule", "exact, schedule of flow", MapSteps(1)) in names
    with pytest.raises(ValueError, match="MapSteps needs a flow map"):
        cells(line_up(models[1:]), written, [2])
    assert cells(line_up(models), parse_samplers("RungeKutta4"), [3])[0].sampler == RungeKutta4(3)


def test_the_picture_of_the_map_error_has_a_number_for_every_pair_of_levels():
    levels, error = measured(GaussianMap(0.1), n=20)
    figure = map_error(levels, error.tolist(), "title")
    numbers = [text.get_text() for text in figure.axes[0].texts if "e-" in text.get_text()]
    assert len(numbers) == len(levels) * (len(levels) - 1) // 2
    assert to_png(figure).startswith(b"\x89PNG")


def test_a_flow_map_is_trained_sampled_and_tested_by_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cpu = ["--trainer.accelerator", "cpu"]
    quick = [
        "--trainer.max_steps",
        "2",
        "--data.n_val",
        "64",
        "--model.backbone.hidden",
        "[8]",
        "--pictures.frames",
        "0",
    ]
    entry.main(["fit", "--config", "flowmap_heart", *quick, "--pictures.n_samples", "50", *cpu])
    run = tmp_path / "lightning_logs/flowmap_heart/version_0"
    assert (run / "pictures/map_error.png").is_file()
    capsys.readouterr()
    entry.main(["predict", "--ckpt_path", "latest", "--n_samples", "60", "--model.sampler.n_steps", "3", *cpu])
    assert "60 samples of MapSteps(n_steps=3" in capsys.readouterr().out
    entry.main(["test", "--ckpt_path", "latest", "--n_samples", "100", "--data.repeats", "1", *cpu])
    assert "evaluations of the map" in capsys.readouterr().out
    assert json.loads((run / "metrics.json").read_text())["maps"]["levels"][0] == pytest.approx(500.0)
    assert (run / "metrics_map_error.png").is_file()
    with pytest.raises(SystemExit) as stop:
        entry.main(["fit", "--config", "edm_heart", "--model.sampler", "MapSteps", *cpu])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: MapSteps needs a flow map, NetworkDenoiser is none;")


@pytest.mark.parametrize("schedule", [VP(sigma_min=1.0), LinearFlow(0.7, 1e4)], ids=repr)
def test_one_step_to_a_level_that_keeps_little_of_the_signal_is_in_the_units_of_the_data(schedule):
    """`alpha` of the lowest level is 0.71 and 0.59; the law is that of the data with the noise of this level."""
    z = torch.randn(64, 2, generator=generator(), dtype=f64)
    x, log_q = one_step(ExactFlowMap(DATA, schedule), z)
    std = math.hypot(STD, schedule.ratios[0])
    assert torch.allclose(x, std * z, rtol=1e-3)
    assert torch.allclose(log_q, -0.5 * z.square().sum(dim=1) - math.log(2 * math.pi * std**2), atol=2e-3)


def test_points_of_two_requests_count_to_the_limit_and_the_kl_has_its_standard_error(monkeypatch):
    """The one-step density of a map that is wrong by `1 + e` misses that of the data by a constant plus half of
    `((1 + e)^2 - 1) |z|^2`, which has the standard deviation `(1 + e)^2 - 1`: within 4.9 standard errors, 18 %."""
    monkeypatch.setattr(maps, "POINTS", 1500)
    metric, x0 = maps.Maps(TRUTH), DATA.sample(2000, generator()).double()
    for first in (0, 1000):
        metric.update(GaussianMap(0.2), SampleRequest(first, 8, 0), x0[first : first + 1000], generator(first))
    found = metric.summary()["one_step_reverse_kl_standard_error"]
    assert found == pytest.approx((1.2**2 - 1) / 1500**0.5, rel=0.18)
    assert metric.error.square.item() == pytest.approx(x0[:1500].square().sum().item())
