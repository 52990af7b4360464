"""The command line's contract: what it does, what it leaves behind, and one line for every mistake."""

import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from processes import in_two_processes

import toy_score
from campaign.children import start
from toy_score import __main__ as entry, __version__
from toy_score.callbacks import TestReport
from toy_score.catalog import entries
from toy_score.commands.arguments import parse
from toy_score.commands.settings import merged
from toy_score.component import from_config
from toy_score.data import ToyDataModule
from toy_score.files import locked
from toy_score.runs import next_version
from toy_score.training import groups_per_validation

CONFIGS = [entry.name for entry in entries("configs")]
QUICK = ["--trainer.accelerator", "cpu", "--data.n_val", "64"]
SMALL = ["--pictures.every_n_steps", "1000000", "--pictures.n_samples", "50", "--pictures.frames", "0"]


def run(*argv, capsys=None):
    """Run a command in process; the lines it printed to stdout."""
    entry.main([str(a) for a in argv])
    return capsys.readouterr().out if capsys else None


def refused(capsys, *argv):
    """The one line by which a command was refused with exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        entry.main([str(a) for a in argv])
    said = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2
    assert len(said) == 1, said
    assert said[0].startswith("error: ")
    return said[0]


@pytest.fixture(autouse=True)
def _quiet_argv(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["toy_score"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint of 20 steps of NCSN on the heart, its run folder, and what fit printed."""
    folder = tmp_path_factory.mktemp("runs")
    here = Path.cwd()
    os.chdir(folder)
    try:
        entry.main(
            [
                "fit",
                "--config",
                "ncsn_heart",
                "--trainer.max_steps",
                "20",
                *QUICK,
                *SMALL,
                "--trainer.val_check_interval",
                "1",
            ]
        )
    finally:
        os.chdir(here)
    return folder / "lightning_logs/ncsn_heart/version_0"


@pytest.fixture
def ckpt(trained, tmp_path, monkeypatch):
    """The checkpoint, from an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return trained / "checkpoints/last.ckpt"


def test_fit_keeps_everything_in_one_folder_named_after_the_config(trained):
    kept = {path.name for path in trained.iterdir()}
    assert {"checkpoints", "config.yaml", "pictures"} <= kept
    assert [path.name for path in (trained / "checkpoints").iterdir()] == ["last.ckpt"]
    assert any(name.startswith("events.out.tfevents") for name in kept)
    assert [path.name for path in trained.parent.parent.parent.iterdir()] == ["lightning_logs"]


def test_losses_reach_tensorboard_and_are_finite(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained))
    events.Reload()
    scalars = events.Tags()["scalars"]
    assert "train/loss" in scalars
    assert "train/learning_rate" in scalars
    for tag in scalars:
        assert np.isfinite([event.value for event in events.Scalars(tag)]).all(), tag
        assert [event.step for event in events.Scalars(tag)][-1] == 20, tag
    for name in ("val/loss", "val/score_error", "val_loss/sigma_0.63", "val_score_error/sigma_0.01"):
        assert name in scalars


def validated_at(run):
    """The steps of a run at which the validation loss was logged."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run))
    events.Reload()
    return [event.step for event in events.Scalars("val/loss")]


SHARED = ("n_train", "fresh", "batch_size", "steps_at_once", "n_val", "labels")


def settings_of(name):
    """The settings of `fit` with a config."""
    return merged(parse("fit", ["--config", name]), {})


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("at_once", [None, 1, 10])
def test_every_config_is_validated_at_least_15_times(name, at_once):
    config = settings_of(name)
    given = parse("fit", ["--config", name]).layers("trainer")  # of the config alone, and of its base
    trainer, data = config["trainer"], config["data"]["init_args"]
    per_epoch = -(-data.get("n_train", 1_024_000) // data.get("batch_size", 1024))
    at_once = at_once or data.get("steps_at_once", 10)
    n = groups_per_validation(None, trainer["max_steps"], trainer["max_epochs"], per_epoch, at_once)
    steps = trainer["max_steps"] if trainer["max_steps"] > 0 else trainer["max_epochs"] * per_epoch
    whole, rest = divmod(steps, per_epoch)
    groups = whole * -(-per_epoch // at_once) + -(-rest // at_once)
    assert 15 <= groups // n <= 50
    assert {"val_check_interval", "check_val_every_n_epoch"}.isdisjoint(key for layer in given for key in layer)


def test_an_interval_of_validation_counts_optimizer_steps():
    run_of = {"max_steps": 7500, "max_epochs": -1, "per_epoch": 1000}
    assert [groups_per_validation(250, **run_of, at_once=k) for k in (1, 10, 250, 500)] == [250, 25, 1, 1]
    assert groups_per_validation(79 * 3, -1, 9, per_epoch=79, at_once=10) == 24  # 8 groups an epoch
    assert groups_per_validation(None, 12, -1, 1000, 1) == 1  # fewer steps than validations


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--trainer.max_steps", 33], [10, 20, 30, 33]),
        (["--trainer.max_steps", 33, "--trainer.val_check_interval", 20], [20, 33]),
        (["--trainer.max_steps", 5, "--data.steps_at_once", 1, "--trainer.val_check_interval", 2], [2, 4, 5]),
        (
            [
                "--trainer.max_steps",
                -1,
                "--trainer.max_epochs",
                2,
                "--data.n_train",
                30,
                "--data.batch_size",
                10,
                "--trainer.val_check_interval",
                5,
                "--data.steps_at_once",
                1,
            ],
            [5, 6],
        ),
        (["--trainer.max_steps", 4, "--trainer.limit_val_batches", 0], None),
    ],
)
def test_the_last_step_is_validated(flags, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = run("fit", "--config", "ncsn_heart", "--model.sampler", "Euler", *flags, *QUICK, *SMALL, capsys=capsys)
    assert len(re.findall("^step +[0-9]+: loss", said, re.MULTILINE)) == len(expected or [])
    if expected is not None:
        assert validated_at("lightning_logs/ncsn_heart/version_0") == expected


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_trains_two_steps(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = ["--trainer.max_steps", "2", "--trainer.max_epochs", "-1", "--trainer.logger", "false"]
    if "n_pairs" in settings_of(name)["model"]["init_args"]:
        few += ["--model.n_pairs", "512"]
    if name.endswith("_points"):
        np.save("my.npy", np.random.default_rng(0).normal(size=(100, 2)))
        run("fit", "--config", name, "--data.path", "my.npy", *few, *QUICK[:2], *SMALL)
    else:
        run("fit", "--config", name, *few, *QUICK, *SMALL)


@pytest.mark.parametrize("name", [name for name in CONFIGS if not name.endswith("_points")])
def test_a_full_config_holds_the_defaults_of_the_code_and_is_read_again(name, capsys, tmp_path, monkeypatch):
    """A default that is a component within a component would otherwise be lost, and a run could not be resumed."""

    def full(config):
        with pytest.raises(SystemExit) as stop:
            run("fit", "--config", config, "--print_config")
        assert stop.value.code == 0
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    once = full(name)
    Path("full.yaml").write_text(once)
    assert full("full.yaml") == once
    for part in ("schedule", "times", "objective", "sampler"):
        assert yaml.safe_load(once)["model"]["init_args"][part]["class_path"].startswith("toy_score.")


def test_the_configs_of_a_family_differ_only_in_the_data_and_what_sharp_edges_need():
    for model in ("ncsn", "ddpm", "edm", "energy", "flow", "vp", "subvp", "ve", "original/ncsn", "original/ddpm"):
        heart, split = (settings_of(f"{model}_{toy}") for toy in ("heart", "split_normal"))
        kinds = [settings.pop("data") for settings in (heart, split)]
        assert [kind["class_path"].split(".")[-1] for kind in kinds] == ["HeartDataModule", "SplitNormalDataModule"]
        shared = [{k: v for k, v in kind["init_args"].items() if k in SHARED} for kind in kinds]
        assert shared[0] == shared[1]
        arguments = [settings["model"]["init_args"] for settings in (heart, split)]
        edges = [
            (each["backbone"]["init_args"].pop("edges"), each["backbone"]["init_args"].pop("edge_shape"))
            for each in arguments
        ]
        assert edges[0] == (0, "tanh")
        assert edges[1] == ((0, "tanh") if "original" in model else (32, "tanh" if model == "energy" else "asinh"))
        if "original" not in model:
            steps = [each["trainer"].pop("max_steps") for each in (heart, split)]
            assert steps == ([1500, 2150] if model == "energy" else [2500, 3000])
            scales = [each["parameterisation"]["init_args"].pop("sigma_data", None) for each in arguments]
            assert scales in ([0.8, 1.3], [None, None])  # of the data, where the network is scaled by it
            samplers, inside = [each.pop("sampler") for each in arguments], 6 if model == "energy" else 3
            assert samplers[1] == {
                "class_path": "toy_score.StochasticMidpoint",
                "init_args": samplers[1]["init_args"] | {"n_steps": 48, "denoisings": inside},
            }
            if model != "flow":
                assert samplers[0] | {"init_args": samplers[0]["init_args"] | {"denoisings": inside}} == samplers[1]
            levels = [each["schedule"]["init_args"].pop("sigma_min", None) for each in arguments]
            assert levels[0] == levels[1] or levels == [0.02, 0.01]
        assert heart == split


def test_a_config_extends_the_base_that_it_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Path("mine/base.yaml").write_text("model: {class_path: NCSNModule, init_args: {sampler: {class_path: Heun}}}\n")
    Path("mine/better.yaml").write_text("base: base.yaml\nmodel: {sampler: {n_steps: 7}}\ndata: HeartDataModule\n")
    settings = settings_of("mine/better.yaml")
    sampler = settings["model"]["init_args"]["sampler"]
    assert (sampler["class_path"], sampler["init_args"]["n_steps"]) == ("toy_score.Heun", 7)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("nothing.yaml", "there is no config 'nothing.yaml'"),
        ("itself.yaml", "the config 'itself.yaml' is a base and has one itself; name one config without a base"),
        ("[1]", "the config 'itself.yaml' has the base [1], which is not a file; name one config without a base"),
    ],
)
def test_a_base_that_cannot_be_read_is_named(base, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("itself.yaml").write_text(f"base: {base}\ndata: HeartDataModule\n")
    assert message in refused(capsys, "fit", "--config", "itself.yaml")


def test_predict_needs_only_the_checkpoint(ckpt, capsys):
    run("predict", "--ckpt_path", ckpt, "--n_samples", 5000, "--output", "heart.npy")
    samples = np.load("heart.npy")
    assert samples.shape == (5000, 2)
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert os.listdir() == ["heart.npy"]  # no folder, no config, no log


def test_a_flag_wins_over_the_checkpoint_and_is_announced(ckpt, capsys):
    heun = ["--model.sampler", "Heun", "--model.sampler.n_steps", "5"]
    said = run("predict", "--ckpt_path", ckpt, "--n_samples", 10, "--output", "x.npy", *heun, capsys=capsys)
    assert "model.sampler: Heun(grid=Karras(rho=7.0), n_steps=5) (the checkpoint has StochasticMidpoint(" in said
    from toy_score import Heun, ScoreModule
    from toy_score.seeds import seed_of

    model = ScoreModule.load_from_checkpoint(ckpt)
    expected = model.sample(10, seed=seed_of("samples", 0), sampler=Heun(5))
    assert np.allclose(np.load("x.npy"), expected, atol=1e-5)


def test_without_a_flag_no_difference_is_announced(ckpt, capsys):
    said = run("predict", "--ckpt_path", ckpt, "--n_samples", 10, "--output", "x.npy", capsys=capsys)
    assert "the checkpoint has" not in said


def test_a_null_that_wins_over_the_checkpoint_is_announced(ckpt, capsys):
    content = torch.load(ckpt, weights_only=True)
    content["hyper_parameters"]["init_args"]["gradient_clip"] = 1.0
    torch.save(content, "clipped.ckpt")
    Path("null.yaml").write_text("model: {class_path: NCSNModule, init_args: {gradient_clip: null}}")
    argv = ["predict", "--ckpt_path", "clipped.ckpt", "--n_samples", 10, "--overwrite", "true", "--output", "x.npy"]
    for null in (["--model.gradient_clip", "null"], ["--config", "null.yaml"]):
        assert "model.gradient_clip: None (the checkpoint has 1.0)\n" in run(*argv, *null, capsys=capsys)
    said = run(*argv, "--model.optimizer", "null", capsys=capsys)  # null stands for the default
    assert "model.optimizer: Adam(fused=True, lr=0.01) (the checkpoint has Adam(" in said


def test_the_config_of_a_run_before_or_after_its_checkpoint_changes_nothing(ckpt, trained, capsys):
    """The config says `ckpt_path: null`; after the flag it would leave the network untrained."""
    config, flag = ["--config", trained / "config.yaml"], ["--ckpt_path", ckpt]
    for name, argv in {"a": flag, "b": [*config, *flag], "c": [*flag, *config]}.items():
        said = run("predict", *argv, "--n_samples", 50, "--output", f"{name}.npy", capsys=capsys)
        assert "the checkpoint has" not in said
    assert Path("b.npy").read_bytes() == Path("c.npy").read_bytes() == Path("a.npy").read_bytes()


def test_a_backbone_that_the_weights_do_not_fit_is_refused(ckpt, capsys):
    argv = ["predict", "--ckpt_path", ckpt, "--output", "x.npy"]
    for backbone in (["--model.backbone.hidden", "[8]"], ["--model.backbone.hidden", "[128,128,128]"]):
        said = refused(capsys, *argv, *backbone)
        assert said.startswith("error: the weights in the checkpoint")
        assert said.endswith(" do not fit this MLP; leave out --model.backbone")


def test_another_sampler_does_not_inherit_the_settings_of_the_one_in_a_config(ckpt, capsys):
    config = Path("langevin.yaml")
    config.write_text(
        "model: {class_path: NCSNModule, init_args: {sampler: {class_path: Heun, init_args: {n_steps: 3}}}}"
    )
    argv = ["--config", config, "--ckpt_path", ckpt, "--n_samples", 10, "--overwrite", "true", "--output", "x.npy"]
    said = run("predict", *argv, "--model.sampler", "DDPMAncestral", capsys=capsys)
    assert "DDPMAncestral(variance='posterior', n_steps=None, grid=Uniform())" in said
    said = run("predict", *argv, "--model.sampler", "RungeKutta4", capsys=capsys)
    assert "of RungeKutta4(n_steps=5, grid=Angular(scale=1.0))" in said
    said = run("predict", *argv, "--model.sampler.grid", "Trailing", capsys=capsys)  # the same class keeps its own
    assert "of Heun(n_steps=3, grid=Trailing())" in said


def test_another_sampler_in_a_config_does_not_inherit_the_settings_of_the_models_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("edm.yaml").write_text("model: {class_path: EDMModule, init_args: {sampler: {class_path: RungeKutta4}}}")
    few = ["--trainer.max_steps", 2, "--trainer.val_check_interval", 1, *QUICK, *SMALL, "--data", "HeartDataModule"]
    run("fit", "--config", "edm.yaml", *few)
    from toy_score import ScoreModule

    model = ScoreModule.load_from_checkpoint("lightning_logs/edm/version_0/checkpoints/last.ckpt")
    assert repr(model.sampler) == "RungeKutta4(n_steps=5, grid=Angular(scale=1.0))"


def test_predict_is_the_same_for_the_same_seed_and_in_every_format(ckpt):
    heun = ["--model.sampler", "Heun"]
    for name in ("a.npy", "b.npy", "c.csv", "d.npz"):
        run("predict", "--ckpt_path", ckpt, "--n_samples", 300, "--output", name, *heun)
    run("predict", "--ckpt_path", ckpt, "--n_samples", 300, "--output", "e.npy", "--seed", 1, *heun)
    a = np.load("a.npy")
    assert np.array_equal(a, np.load("b.npy"))
    assert not np.array_equal(a, np.load("e.npy"))
    assert Path("c.csv").read_text().startswith("x,y\n")
    assert np.allclose(a, np.loadtxt("c.csv", delimiter=",", skiprows=1), rtol=1e-6)
    with np.load("d.npz") as d:
        assert np.array_equal(a, d["samples"])
        assert np.allclose(d["trajectory"][-1], a[:64], atol=1e-5)
        assert len(d["ratio"]) == len(d["trajectory"])
        assert d["ratio"][-1] == 0


def test_test_prints_a_table_and_saves_the_numbers(ckpt, capsys):
    argv = ["--n_samples", 2000, "--model.sampler", "Heun", "--output", "metrics.json"]
    said = run("test", "--ckpt_path", ckpt, *argv, capsys=capsys)
    metrics = json.loads(Path("metrics.json").read_text())
    assert {"score_error", "sliced_w1", "energy", "mode_weights", "invalid_mass", "cross_entropy_gap"} <= set(metrics)
    assert len(metrics["score_error"]["per_level"]) == 10
    for name in ("score error", "sliced W1", "energy", "floor"):
        assert name.lower() in said.lower()
    assert os.listdir() == ["metrics.json"]


def test_test_papers_adds_their_metrics_with_floors(ckpt, capsys):
    argv = ["--n_samples", 100, "--data.repeats", 1, "--model.sampler", "Heun", "--output", "metrics.json"]
    said = run("test", "--ckpt_path", ckpt, *argv, "--papers", "true", capsys=capsys)
    metrics = json.loads(Path("metrics.json").read_text())
    for name, label in (("exact_w2", "exact W2"), ("mmd", "MMD^2"), ("kernel_stein", "kernel Stein discrepancy^2")):
        assert {"value", "floor", "floor_sd", "z"} <= set(metrics[name])
        assert label in said


@pytest.fixture
def own_run(trained, tmp_path, monkeypatch):
    """A copy of the run, to write into, from a working directory beside it."""
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "run"


def test_metrics_of_the_same_settings_are_merged_and_of_others_refused_before_measuring(own_run, capsys, monkeypatch):
    ckpt = own_run / "checkpoints/last.ckpt"
    argv = ["test", "--ckpt_path", ckpt, "--n_samples", 100, "--data.repeats", 1, "--model.sampler", "Heun"]
    heun = [*argv, "--model.sampler.n_steps", 2]
    run(*heun, "--fields", "true")
    first = json.loads((own_run / "metrics.json").read_text())
    assert {"fields", "settings"} <= set(first)
    run(*heun, "--papers", "true")
    both = json.loads((own_run / "metrics.json").read_text())
    assert both["fields"] == first["fields"]
    assert both["sliced_w1"] == first["sliced_w1"]
    assert "exact_w2" in both

    def measured(*_):
        raise AssertionError("measured")

    with monkeypatch.context() as patch:
        patch.setattr(TestReport, "on_test_start", measured)
        for more, words in (
            (["--model.sampler.n_steps", 3], "model.sampler = Heun(grid=Karras(rho=7.0), n_steps=2), not Heun("),
            (["--model.sampler.n_steps", 2, "--n_samples", 99], "data.n_samples = 100, not 99"),
            (["--model.sampler.n_steps", 2, "--seed", 7], "data.sample_seed = 0, not 7"),
        ):
            said = refused(capsys, *argv, *more)
            assert words in said
            assert "metrics.json' holds metrics with" in said
            assert said.endswith("; choose another --output, as --output other.json, or add --overwrite")
        further = torch.load(ckpt, weights_only=True)
        torch.save({**further, "global_step": 40}, ckpt)
        assert "holds metrics with checkpoint = " in refused(capsys, *heun)
    assert json.loads((own_run / "metrics.json").read_text()) == both

    run(*heun, "--overwrite", "true")
    anew = json.loads((own_run / "metrics.json").read_text())
    assert not {"fields", "exact_w2"} & set(anew)
    assert anew["settings"]["checkpoint"] != first["settings"]["checkpoint"]
    assert not (own_run / "metrics_fields.png").exists()  # it was of the metrics that are replaced
    assert os.listdir() == []


def test_metrics_of_a_checkpoint_outside_a_run_lie_beside_it(own_run, capsys):
    shutil.copy(own_run / "checkpoints/last.ckpt", "m.ckpt")
    few = ["--n_samples", 100, "--data.repeats", 1, "--model.sampler", "Heun", "--model.sampler.n_steps", 2]
    Path("../metrics.json").write_text("precious")
    run("test", "--ckpt_path", "m.ckpt", *few)
    assert sorted(os.listdir()) == ["m.ckpt", "m_metrics.json"]
    assert Path("../metrics.json").read_text() == "precious"
    for content in ("precious", '{"mine": 1}', "[]"):
        Path("m_metrics.json").write_text(content)
        assert "'m_metrics.json' does not tell what it is of" in refused(capsys, "test", "--ckpt_path", "m.ckpt", *few)
        assert Path("m_metrics.json").read_text() == content
    with locked("m_metrics.json"):
        assert "another command is writing" in refused(capsys, "test", "--ckpt_path", "m.ckpt", *few)


def test_two_runs_that_begin_at_once_get_folders_of_their_own(tmp_path, monkeypatch):
    """Each lists the folders before the other makes its own."""
    begun = [tmp_path / "version_3", tmp_path / "version_x"]
    for folder in begun:
        folder.mkdir()
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(begun))
    assert [next_version(tmp_path) for _ in range(3)] == [4, 5, 6]
    assert next_version(tmp_path / "new/runs") == 4
    monkeypatch.undo()
    assert next_version(tmp_path / "none") == 0


def test_predict_makes_an_animation_and_does_not_overwrite_it(ckpt, capsys):
    from PIL import Image

    argv = ["predict", "--ckpt_path", ckpt, "--output", "x.gif", "--model.sampler", "Heun"]
    assert "600 samples" in run(*argv, capsys=capsys)
    with Image.open("x.gif") as image:
        assert (image.format, image.n_frames, image.size) == ("GIF", 32, (640, 395))
    before = Path("x.gif").read_bytes()
    assert "x.gif" in refused(capsys, *argv)
    run(*argv, "--overwrite", "true", "--n_samples", "20", "--seed", "1")
    assert Path("x.gif").read_bytes() != before
    assert os.listdir() == ["x.gif"]


def test_test_fields_prints_curl_symmetry_and_straightness(ckpt, capsys):
    argv = ["--n_samples", 200, "--model.sampler", "Heun", "--output", "metrics.json", "--fields", "true"]
    said = run("test", "--ckpt_path", ckpt, *argv, capsys=capsys)
    assert all(words in said for words in ("curl of score", "negative eigenvalues", "Straightness of the flow"))
    fields = json.loads(Path("metrics.json").read_text())["fields"]
    assert min(fields["learned"]["curl"]) > 1e-8 > max(fields["exact"]["curl"])
    assert len(fields["learned"]["straightness"]["circle"]) == len(fields["edges"])
    assert sorted(os.listdir()) == ["metrics.json", "metrics_fields.png"]


def test_the_error_budget_of_a_run_is_printed_drawn_and_saved(ckpt, capsys):
    """With a fixed training set and a sampler of the user's choice; its network row is what `test` measured."""
    few = ["--n_samples", 500, "--data.repeats", 2, "--data.fresh", "false", "--data.n_train", 40]
    argv = [*few, "--model.sampler", "Heun", "--output", "metrics.json", "--budget", "true"]
    said = run("test", "--ckpt_path", ckpt, *argv, capsys=capsys)
    for name in (
        "error budget: prior ...",
        "error budget of NCSN on heart, Heun",
        "network alone",
        "40 training points",
    ):
        assert name in said
    metrics = json.loads(Path("metrics.json").read_text())
    rows = {row["name"]: row for row in metrics["error_budget"]["rows"]}
    assert {"floor", "prior", "discretisation", "network", "finite data"} <= set(rows)
    assert rows["network"]["sliced_w1"]["mean"] == pytest.approx(metrics["sliced_w1"]["value"])
    assert rows["floor"]["sliced_w1"]["mean"] == metrics["sliced_w1"]["floor"]
    assert "finite data" in metrics["error_budget"]["causes"]  # the training set has 40 points
    assert sorted(os.listdir()) == ["metrics.json", "metrics_budget.png"]


def test_validate_needs_only_the_checkpoint(ckpt, capsys):
    assert "val/score_error" in run("validate", "--ckpt_path", ckpt, capsys=capsys)
    assert os.listdir() == []


def test_fit_resumes_from_a_run(ckpt, trained, capsys):
    config = trained / "config.yaml"
    said = run("fit", "--config", config, "--ckpt_path", ckpt, "--trainer.max_steps", 30, *SMALL, capsys=capsys)
    assert "checkpoint:" in said
    resumed = next(Path("lightning_logs").rglob("last.ckpt"))
    assert torch.load(resumed, weights_only=True)["global_step"] == 30


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["list"], ["list", "samplers"], []])
def test_commands_without_a_model_do_not_import_torch(argv):
    code = f"import sys; from toy_score.__main__ import main; main({argv!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")


def test_version_and_lists_print_what_exists(capsys):
    assert run("--version", capsys=capsys).strip() == f"toy_score {__version__}"
    said = run("list", "samplers", capsys=capsys)
    for name in ("AnnealedLangevin(", "DDPMAncestral(", "Heun(n_steps=18, grid=Karras())", "Langevin("):
        assert name in said
    assert "original/ddpm_heart" in run("list", "configs", capsys=capsys)


def test_the_catalog_lists_exactly_the_classes_that_exist():
    from toy_score.backbones import Backbone
    from toy_score.couplings import Coupling
    from toy_score.distributions import Distribution
    from toy_score.modules import ScoreModule
    from toy_score.objectives import Loss
    from toy_score.parameterisations import Parameterisation
    from toy_score.posteriors import PosteriorRule
    from toy_score.samplers import Grid, Sampler
    from toy_score.schedules import Schedule

    def family(cls):
        subclasses = [c for c in cls.__subclasses__() if c.__module__.startswith("toy_score.")]
        return {cls}.union(*(family(c) for c in subclasses))

    kinds = {"distributions": Distribution, "samplers": Sampler, "schedules": Schedule, "modules": ScoreModule}
    kinds |= {"grids": Grid, "objectives": Loss, "parameterisations": Parameterisation, "backbones": Backbone}
    kinds |= {"rules": PosteriorRule, "couplings": Coupling}
    for kind, base in kinds.items():
        concrete = {c for c in family(base) - {base} if not inspect.isabstract(c)}
        concrete = {c for c in concrete if c.__name__ in toy_score.__all__ or not c.__subclasses__()}
        names = {c.__name__ for c in concrete if not c.__name__.startswith("_")}
        assert {e.name.split("(")[0] for e in entries(kind)} == names
        assert all(e.summary for e in entries(kind))
    assert "DDPM(beta_min=0.0001, beta_max=0.02, n_steps=1000)" in {e.name for e in entries("schedules")}


# Bad input: (arguments, what the line must name)
MISTAKES = {
    "an unknown command": (["fitt"], ["fitt", "fit"]),
    "an unknown list": (["list", "pictures"], ["pictures", "samplers"]),
    "a missing config": (["fit", "--config", "heart.yml"], ["heart.yml", "ncsn_heart"]),
    "an unknown class": (["fit", "--config", "ncsn_heart", "--model", "NCSM"], ["NCSM"]),
    "an unknown sampler": (["fit", "--config", "ncsn_heart", "--model.sampler", "Huen"], ["Huen"]),
    "no settings": (["fit"], ["--config ncsn_heart"]),
    "a word for a seed": (["fit", "--config", "ncsn_heart", "--seed_everything", "word"], ["whole number", "word"]),
    "a module that is not there": (["fit", "--config", "ncsn_heart", "--data", "no.Data"], ["No module named 'no'"]),
    "data that are none": (["fit", "--config", "ncsn_heart", "--data", "toy_score.Heart"], ["toy_score.Heart is not"]),
    "a part without its fellow": (
        ["fit", "--config", "ncsn_heart", "--model.standardisation.mean", "[8]"],
        ["model.standardisation", "needs scale; add --model.standardisation.scale"],
    ),
    "no steps": (["fit", "--config", "ncsn_heart", "--trainer.max_steps", "0"], ["max_steps", "0"]),
    "a misspelt flag": (["fit", "--config", "ncsn_heart", "--trainer.max_step", "3"], ["max_step"]),
    "a negative sigma": (
        ["fit", "--config", "ncsn_heart", "--model.schedule.sigma_min", "-1"],
        ["sigma_min", "-1"],
    ),
    "sigmas in the wrong order": (
        ["fit", "--config", "ncsn_heart", "--model.schedule.sigma_min", "50"],
        ["sigma_min", "50", "20", "swap"],
    ),
    "a word for a number": (["fit", "--config", "ncsn_heart", "--data.batch_size", "many"], ["many"]),
    "an empty batch": (["fit", "--config", "ncsn_heart", "--data.batch_size", "0"], ["batch_size", "0"]),
    "no checkpoint": (["predict"], ["--ckpt_path"]),
    "a missing checkpoint": (["predict", "--ckpt_path", "nowhere.ckpt"], ["nowhere.ckpt"]),
    "a missing checkpoint for fit": (["fit", "--config", "ncsn_heart", "--ckpt_path", "last"], ["last"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_line_that_names_it(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv, words = MISTAKES[name]
    line = refused(capsys, *argv)
    assert all(word in line for word in words), line
    assert os.listdir() == []


def test_a_misspelt_key_in_yaml_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text("model: NCSNModule\ndata: HeartDataModule\ntrainer: {max_stepps: 3}\n")
    assert "max_stepps" in refused(capsys, "fit", "--config", "bad.yaml")
    Path("bad.yaml").write_text("model: {class_path: NCSNModule, init_args: {schedul: VE}}\ndata: HeartDataModule\n")
    assert "schedul" in refused(capsys, "fit", "--config", "bad.yaml")
    Path("bad.yaml").write_text("model: [NCSNModule\n")
    assert "bad.yaml" in refused(capsys, "fit", "--config", "bad.yaml")


def test_existing_files_and_outputs_that_cannot_be_written_are_refused(ckpt, capsys):
    Path("there.npy").write_text("precious")
    base = ["predict", "--ckpt_path", ckpt, "--n_samples", 10, "--model.sampler", "Heun"]
    assert "there.npy" in refused(capsys, *base, "--output", "there.npy")
    assert Path("there.npy").read_text() == "precious"
    assert "samples.txt" in refused(capsys, *base, "--output", "samples.txt")
    assert "no/such/folder" in refused(capsys, *base, "--output", "no/such/folder/x.npy")
    Path("there.json").write_text("precious")
    assert "there.json" in refused(capsys, "test", "--ckpt_path", ckpt, "--output", "there.json")
    assert Path("there.json").read_text() == "precious"
    assert "got 0" in refused(capsys, "predict", "--ckpt_path", ckpt, "--n_samples", 0, "--output", "x.npy")
    assert sorted(os.listdir()) == ["there.json", "there.npy"]
    run(*base, "--output", "there.npy", "--overwrite", "true")
    assert np.load("there.npy").shape == (10, 2)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_truncated_checkpoint_is_refused_by_name(ckpt, share, capsys):
    content = ckpt.read_bytes()
    Path("cut.ckpt").write_bytes(content[: int(share * len(content))])
    assert "cut.ckpt" in refused(capsys, "predict", "--ckpt_path", "cut.ckpt", "--output", "x.npy")
    assert os.listdir() == ["cut.ckpt"]


def test_foreign_newer_and_doctored_checkpoints_are_refused(ckpt, capsys):
    content = torch.load(ckpt, weights_only=True)

    def doctored(**changes):
        torch.save(content | changes, "odd.ckpt")
        return refused(capsys, "predict", "--ckpt_path", "odd.ckpt", "--output", "x.npy")

    assert "9.0.0" in doctored(toy_score_version="9.0.0")
    evil = {"class_path": "toy_score.NCSNModule", "init_args": {"sampler": {"class_path": "evil.Sampler"}}}
    evil["init_args"]["standardisation"] = None
    assert "evil.Sampler" in doctored(hyper_parameters=evil)
    gone = {"class_path": "toy_score.Gone", "init_args": {"standardisation": None}}
    assert "Gone" in doctored(hyper_parameters=gone)
    torch.save({"weights": torch.zeros(3)}, "odd.ckpt")
    assert "odd.ckpt" in refused(capsys, "predict", "--ckpt_path", "odd.ckpt", "--output", "x.npy")


def test_diverging_samples_leave_no_file(ckpt, capsys):
    options = ["--model.sampler", "AnnealedLangevin", "--model.sampler.eps", "1.0", "--n_samples", "50"]
    for name in ("x.npy", "x.csv"):
        said = refused(capsys, "predict", "--ckpt_path", ckpt, "--output", name, *options)
        assert "no sample is finite: AnnealedLangevin(" in said
        assert not list(Path().glob("x.*"))


def test_a_finished_run_is_not_started_again(trained, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = trained / "checkpoints/last.ckpt"
    said = refused(capsys, "fit", "--config", trained / "config.yaml", "--ckpt_path", path)
    assert f"{str(path)!r} is at step 20, where --trainer.max_steps 20 ends; ask for more" in said
    assert os.listdir() == []


def test_the_samples_do_not_depend_on_the_number_of_processes(ckpt):
    """Three chunks, of which two processes get two and one."""
    few = ["--n_samples", 9000, "--model.sampler", "Heun", "--model.sampler.n_steps", 4]
    argv = ["predict", "--ckpt_path", ckpt, *few, "--output"]
    run(*argv, "one.npy", "--trainer.accelerator", "cpu")
    in_two_processes(Path.cwd(), *argv, "two.npy")
    assert np.array_equal(np.load("one.npy"), np.load("two.npy"))


def kill_when_begun(argv, part):
    """Start a command and kill it, without a chance to tidy up, once a few chunks are there; how many were."""
    child = start(Path.cwd(), *argv)
    state = Path(str(part) + ".state")
    for _ in range(6000):
        if state.exists() and state.read_bytes().count(b"x") - state.read_bytes().split(b"\n")[0].count(b"x") >= 2:
            break
        assert child.process.is_alive(), "over before it could be killed"
        time.sleep(0.01)
    child.send(signal.SIGKILL)
    child.wait()
    return state.read_bytes().partition(b"\n")[2].count(b"x")


def test_a_killed_predict_continues_where_it_stopped(ckpt, capsys):
    slow = ["--model.sampler", "Heun", "--model.sampler.n_steps", 25]
    argv = ["predict", "--ckpt_path", ckpt, "--n_samples", 45_000, *slow, "--output"]
    there = kill_when_begun([*argv, "x.npy"], "x.npy.part")
    assert 2 <= there < 11
    assert sorted(os.listdir()) == ["x.npy.lock", "x.npy.part", "x.npy.part.state"]
    other = refused(capsys, *argv, "x.npy", "--seed", 1)
    assert "begun with another seed; repeat that command to go on, or add --overwrite" in other
    fewer = refused(capsys, *argv[:3], "--n_samples", 40_000, *slow, "--output", "x.npy")
    assert "another n_samples" in fewer

    begun = np.load("x.npy.part")
    said = run(*argv, "x.npy", capsys=capsys)
    assert f"going on with 'x.npy.part', of which {there / 11:.0%} is there" in said
    assert os.listdir() == ["x.npy"]
    samples = np.load("x.npy")
    assert np.array_equal(samples[: there * 4096], begun[: there * 4096])  # not made again
    from toy_score import Heun, ScoreModule
    from toy_score.seeds import seed_of

    model = ScoreModule.load_from_checkpoint(ckpt)
    seeded = torch.Generator().manual_seed(seed_of("samples", 0))
    assert np.allclose(samples[-500:], Heun(25)(model.sampling_denoiser, 500, seeded, first=44_500), atol=1e-5)


def test_a_picture_of_the_samples_is_drawn(ckpt, monkeypatch):
    """Of 2000 samples, unless another number is asked for; they are red."""
    monkeypatch.setattr(toy_score.plotting, "to_png", toy_score.plotting.style.to_png)
    run("predict", "--ckpt_path", ckpt, "--n_samples", 50, "--output", "few.png", "--model.sampler", "Heun")
    run("predict", "--ckpt_path", ckpt, "--output", "many.png", "--model.sampler", "Heun")
    few, many = (np.asarray(Image.open(f"{name}.png").convert("RGB")).astype(int) for name in ("few", "many"))
    red = [(x[..., 0] - x[..., 2] > 60).sum() for x in (few, many)]
    assert 0 < 3 * red[0] < red[1]
    assert sorted(os.listdir()) == ["few.png", "many.png"]


def test_any_distribution_can_be_the_data_by_name():
    given = parse("fit", ["--config", "edm_heart", "--data", "DistributionDataModule", "--data.distribution", "Moons"])
    data = from_config(merged(given, {})["data"], ToyDataModule, "data")
    assert data.distribution == toy_score.Moons()


@pytest.mark.parametrize("name", ["x.npy", "x.csv", "x.npz", "x.gif", "x.png"])
def test_two_predicts_at_once_do_not_write_one_file(name, ckpt, capsys):
    """The second is refused before it touches anything of the first."""
    Path(name + ".part").write_bytes(b"of the first")
    with locked(name):
        said = refused(capsys, "predict", "--ckpt_path", ckpt, "--output", name, "--overwrite", "true")
    assert said == f"error: another command is writing {name!r}; wait for it, or choose another --output"
    assert os.listdir() == [name + ".part"]
    assert Path(name + ".part").read_bytes() == b"of the first"


def test_overwrite_discards_what_an_interrupted_command_left(ckpt):
    argv = ["predict", "--ckpt_path", ckpt, "--n_samples", 10_000, "--output", "x.npy", "--model.sampler", "Heun"]
    Path("x.npy.part").write_bytes(b"rubbish")
    Path("x.npy.part.state").write_bytes(b'{"seed": 9}\nx..')
    run(*argv, "--overwrite", "true")
    assert np.isfinite(np.load("x.npy")).all()
    assert os.listdir() == ["x.npy"]


def test_the_model_of_a_checkpoint_is_not_replaced_by_another(ckpt, capsys):
    argv = ["predict", "--ckpt_path", ckpt, "--output", "x.npy"]
    assert "the checkpoint holds a NCSNModule; leave out --model EDMModule" in refused(
        capsys, *argv, "--model", "EDMModule"
    )
    run(*argv, "--n_samples", 10, "--model", "NCSNModule", "--model.sampler", "Heun")
    assert len(np.load("x.npy")) == 10


def test_misspelt_commands_and_configs_are_corrected(capsys):
    assert refused(capsys, "prdict") == "error: there is no command 'prdict'; did you mean predict?"
    assert refused(capsys, "fit", "--config", "edm_hart") == (
        "error: there is no config 'edm_hart'; did you mean edm_heart?"
    )


def test_an_invalid_choice_is_answered_with_the_choices(capsys):
    said = refused(capsys, "fit", "--config", "edm_heart", "--trainer.precision", "bf16-mxed")
    assert said.startswith("error: trainer.precision: must be 64 or 32 or 16 or ")
    assert " 'bf16-mixed' or " in said
    assert said.endswith("got 'bf16-mxed'")


@pytest.mark.parametrize(
    ("words", "start"), {"list": "distributions", "--help": "toy_score: ", "fit --help": "toy_score fit: "}.items()
)
def test_a_reader_that_stops_early_is_no_error(words, start):
    command = f"{sys.executable} -m toy_score {words} | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.startswith(start)
    assert done.stderr == ""


def test_data_that_cannot_be_read_leave_no_run_behind(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "there is no file 'none.csv'" in refused(
        capsys, "fit", "--config", "edm_points", "--data.path", "none.csv", *QUICK[:2]
    )
    assert os.listdir() == []


@pytest.mark.parametrize("saved", [True, False])
def test_an_interrupted_fit_prints_the_command_that_continues_it(saved, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from toy_score.callbacks import Checkpoint

    class Trainer:
        is_global_zero, global_step, max_steps, datamodule = True, 7, 9, None

    callback = Checkpoint()
    callback.dirpath = str(Path("run/checkpoints").absolute())
    Path("run/checkpoints").mkdir(parents=True)
    if saved:
        Path("run/checkpoints/last.ckpt").touch()
        Path("run/config.yaml").touch()
    callback.on_exception(Trainer(), None, KeyboardInterrupt())
    command = "python -m toy_score fit --config run/config.yaml --ckpt_path run/checkpoints/last.ckpt"
    said = (
        f"stopped at step 7, saved at step 0; to continue:\n{command}\n"
        if saved
        else "before there was anything to save"
    )
    assert said in capsys.readouterr().out
