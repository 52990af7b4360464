"""One evaluation, for `test`, `compare` and Python: the same table for the same samples."""

import contextlib
import io
import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from processes import in_two_processes

from toy_score import (
    EDM,
    EDMModule,
    ExactDenoiser,
    Heart,
    HeartDataModule,
    Heun,
    Moons,
    TestOptions,
    __main__ as entry,
    evaluate,
)
from toy_score.distributions import Points
from toy_score.evaluation import Evaluation
from toy_score.metrics import STUDY_LEVELS, Memorisation, noise_floors, study_levels
from toy_score.modules import ScoreModule
from toy_score.requests import SampleRequest, draw_seeds

FEW = ["--data.repeats", "2", "--model.sampler", "Heun", "--model.sampler.n_steps", "2"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A network of two steps."""
    folder = tmp_path_factory.mktemp("runs")
    short = ["--trainer.max_steps", "2", "--trainer.accelerator", "cpu", "--data.n_val", "64", "--pictures.frames", "0"]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.chdir(folder)
        entry.main(["fit", "--config", "edm_heart", *short, "--pictures.n_samples", "50"])
    return next(folder.rglob("last.ckpt"))


def run_test(checkpoint, output, *argv):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        entry.main(["test", "--ckpt_path", str(checkpoint), *FEW, *argv, "--output", str(output)])
    return said.getvalue(), json.loads(output.read_text())


def test_evaluate_prints_the_table_of_test_for_the_same_samples(checkpoint, tmp_path):
    """Every line and every number, in two chunks of two draws; the title, which names the model, is given."""
    said, metrics = run_test(checkpoint, tmp_path / "m.json", "--n_samples", "5000", "--trainer.accelerator", "cpu")
    model = ScoreModule.load_from_checkpoint(checkpoint, sampler=Heun(n_steps=2))
    samples = torch.stack([model.sample(5000, seed) for seed in draw_seeds(0, 2)])
    report = evaluate(samples, Heart(), model.sampling_denoiser, title=metrics["title"])
    table = str(report).splitlines()
    printed = said.splitlines()
    printed = printed[printed.index(table[0]) :]
    assert [re.sub(r"[\d.+-]+", "", line) for line in table] == [
        re.sub(r"[\d.+-]+", "", line) for line in printed[: len(table)]
    ]
    mine = report.as_dict()
    for name in ("sliced_w1", "energy", "cross_entropy_gap", "gaussianised_ks"):
        of_draws = mine[name].pop("p_values", []), metrics[name].pop("p_values", [])
        assert of_draws[0] == pytest.approx(of_draws[1], rel=1e-3)
        assert mine[name] == pytest.approx(metrics[name], rel=1e-3)  # chunks of other sizes round otherwise
    assert mine["score_error"]["per_level"] == metrics["score_error"]["per_level"]
    assert (mine["n"], mine["repeats"], mine["mode_weights"]) == (5000, 2, metrics["mode_weights"])


def test_evaluate_needs_only_an_array_of_samples():
    report = evaluate(Heart().sample(500, generator()).numpy(), Heart())
    assert "sliced W1" in str(report)
    assert "score error" not in str(report)
    assert report.as_dict()["sliced_w1"]["z"] < 5
    with pytest.raises(ValueError, match=r"samples must be \(n, 2\) or \(draws, n, 2\) with n >= 2, got \(5,\)"):
        evaluate(np.zeros(5), Heart())


def test_points_are_compared_with_held_out_points_beside_the_floor_of_training_points():
    x = Moons().sample(1500, generator())
    held_out, training = Points(x[:500]), Points(x[500:])
    table = str(evaluate(Moons().sample(300, generator(1)), held_out, training_points=training))
    assert "compared with 500 held-out points" in table
    assert "memorisation: distances to the nearest of 1000 training points" in table
    with pytest.raises(ValueError, match="a reference of points needs training_points"):
        evaluate(x, held_out)


def test_options_that_cannot_be_measured_are_refused():
    x, p = Heart().sample(100, generator()), Heart()
    with pytest.raises(ValueError, match="likelihood and fields compare a denoiser with the exact one"):
        evaluate(x, p, options=TestOptions(likelihood=True, fields=True))
    points = Points(x)
    with pytest.raises(ValueError, match="only points of the truth are known, not its density; leave out fields"):
        Evaluation(points, (0,), ExactDenoiser(p, EDM()), points, TestOptions(fields=True))
    with pytest.raises(ValueError, match="use error_budget"):
        evaluate(x, p, ExactDenoiser(p, EDM()), options=TestOptions(budget=True))


def test_the_memory_of_an_evaluation_does_not_grow_with_the_samples():
    evaluation = Evaluation(Heart())
    size = None
    for k in range(3):
        evaluation.update(Heart().sample(4000, generator(k)), SampleRequest(4000 * k, 4000, 0))
        metrics = evaluation._of_samples[0]
        states = sum(getattr(m, name).numel() for m in metrics.values() for name in m._defaults)
        assert states == (size := size or states)


def test_reset_removes_all_earlier_samples_from_an_evaluation():
    exact, x, floors = ExactDenoiser(Heart(), EDM()), Heart().sample(40, generator()), noise_floors(Heart(), 40, 2)
    first, again = (Evaluation(Heart(), (0,), exact, options=TestOptions(fields=True)) for _ in range(2))
    again.update(x + 1.0, SampleRequest(0, 40, 0))
    again.reset()
    for evaluation in (first, again):
        evaluation.update(x, SampleRequest(0, 40, 0))
    assert again.report(floors=floors).as_dict() == first.report(floors=floors).as_dict()


def test_evaluation_does_not_import_lightning():
    code = "import sys; from toy_score import evaluate; print('lightning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_memorisation_is_summed_over_processes():
    """A second process with the same counts: the same shares, twice the samples."""
    x = Moons().sample(900, generator())
    two = {"distributed_available_fn": lambda: True, "dist_sync_fn": lambda state, group=None: [state, state]}
    alone, both = (Memorisation(Points(x[:300]), x[300:600], **more) for more in ({}, two))
    for metric in (alone, both):
        metric.update(x[600:])
    assert both.summary()["excess"] == alone.summary()["excess"]
    scatter = (alone.summary()["excess_floor"], both.summary()["excess_floor"])
    assert scatter[1] / scatter[0] == pytest.approx(math.sqrt((1 / 600 + 1 / 300) / (2 / 300)))
    assert both.p_value() == both.summary()["p_value"] < alone.p_value()


def test_two_processes_measure_each_sample_once(checkpoint, tmp_path):
    """Three chunks for two processes: the fourth, which Lightning adds, is the first again."""
    argv = ["--n_samples", "9000", "--data.repeats", "1", "--trainer.accelerator", "cpu"]
    _, one = run_test(checkpoint, tmp_path / "one.json", *argv)
    in_two_processes(tmp_path, "test", "--ckpt_path", checkpoint, *FEW, *argv, "--output", "two.json")
    two = json.loads((tmp_path / "two.json").read_text())
    assert two["n"] == one["n"] == 9000
    assert two["sliced_w1"] == pytest.approx(one["sliced_w1"])
    assert two["score_error"]["mean"] == pytest.approx(one["score_error"]["mean"])


# What a model knows of its data


def test_a_model_without_a_trainer_has_no_data():
    model = EDMModule()
    assert model.data is model.distribution is model.truth is model.target is model.reference_denoiser is None
    assert model.guided_reference is None
    assert model.doctor() == []


def test_the_current_label_and_guidance_are_used():
    from toy_score import MLP

    torch.manual_seed(0)
    model = EDMModule(sampler=Heun(2), backbone=MLP(hidden=(8,), n_labels=2))
    plain = model.sample(20)
    model.label = 1
    conditioned = model.sample(20)
    model.guidance = 3.0
    guided = model.sample(20)
    model.label, model.guidance = None, 1.0
    assert torch.equal(model.sample(20), plain)
    assert not torch.equal(conditioned, plain)
    assert not torch.equal(guided, conditioned)


def test_what_is_known_of_the_data_is_computed_once():
    data = HeartDataModule(fresh=False, n_train=64)
    known = data.known()
    assert data.known() is known
    assert known.exact == known.reference == Heart()
    assert len(known.training.x) == len(known.training_points) == 64
    assert torch.equal(data.batch(0).x.sort(0).values, known.training.x.sort(0).values)
    with pytest.raises(AttributeError):
        known.distribution = Moons()
    assert HeartDataModule().known().training is None


def test_levels_that_a_schedule_does_not_reach_are_counted_once():
    assert study_levels(EDM(0.01, 500.0)) == pytest.approx(STUDY_LEVELS)
    assert study_levels(EDM(0.02, 500.0)) == pytest.approx([*STUDY_LEVELS[:-2], 0.02])  # not 0.0199 and 0.01


def test_a_reference_that_is_an_array_is_refused_with_what_to_write():
    x = Heart().sample(100, generator())
    with pytest.raises(TypeError, match=r"must be a distribution, got ndarray; for points: Points\(points\)"):
        evaluate(x, x.numpy())
