"""The command line as a hand expects it: names, newest runs, flags that stand alone, a bar, a verdict."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from toy_score import __main__ as entry
from toy_score.commands.test import verdict
from toy_score.compare.contestants import checkpoint_paths
from toy_score.runs import checkpoint_file

FEW = ["--trainer.accelerator", "cpu", "--data.n_val", "64", "--pictures.frames", "0", "--pictures.n_samples", "50"]


def command(*argv):
    entry.main([str(word) for word in argv])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working directory with a run of twenty steps, named `first`."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["toy_score"])
        command("fit", "--config", "edm_heart", "--name", "first", "--trainer.max_steps", 20, *FEW)
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["toy_score"])
    return folder


def refused(capsys, *argv):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        command(*argv)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("error: ")


def test_a_run_is_named_and_its_config_keeps_the_name(here):
    config = yaml.safe_load(Path("lightning_logs/first/version_0/config.yaml").read_text())
    assert config["name"] == "first"
    assert config["model"]["init_args"]["backbone"]["class_path"] == "toy_score.MLP"  # defaults are visible


def test_a_resumed_run_keeps_its_name_and_ends_with_a_verdict(here, capsys):
    config = "lightning_logs/first/version_0/config.yaml"
    command("fit", "--config", config, "--ckpt_path", "lightning_logs/first/version_0", "--trainer.max_steps", 30)
    *_, said, following, _ = capsys.readouterr().out.splitlines()
    path = "lightning_logs/first/version_1/checkpoints/last.ckpt"
    assert said.startswith("Verdict: the score error is 0.")
    assert following == f"next:        python -m toy_score test --ckpt_path {path}"
    assert checkpoint_file("latest") == Path(path)


def test_a_checkpoint_is_a_file_a_folder_or_the_latest(here, capsys, tmp_path, monkeypatch):
    for name in ("latest", "lightning_logs/first/version_0", "lightning_logs/first/version_0/checkpoints/last.ckpt"):
        output = tmp_path / f"{len(os.listdir(tmp_path))}.npy"
        command("predict", "--ckpt_path", name, "--n_samples", 10, "--output", output)
    assert len(os.listdir(tmp_path)) == 3
    Path("lightning_logs/first/empty").mkdir(exist_ok=True)
    line = refused(capsys, "predict", "--ckpt_path", "lightning_logs/first/empty")
    assert line.startswith("there is no checkpoint in 'lightning_logs/first/empty'")
    monkeypatch.chdir(tmp_path)
    assert "there is no run with a checkpoint" in refused(capsys, "test", "--ckpt_path", "latest")


def test_compare_skips_a_run_without_a_checkpoint_and_says_so(here, capsys):
    Path("lightning_logs/first/version_9").mkdir(exist_ok=True)
    paths = checkpoint_paths(["lightning_logs/first/version_9", "lightning_logs/first/version_0"])
    assert paths == [Path("lightning_logs/first/version_0/checkpoints/last.ckpt")]
    assert capsys.readouterr().out.startswith("skipped: there is no checkpoint in 'lightning_logs/first/version_9'")
    with pytest.raises(FileNotFoundError, match="none of the runs has a checkpoint"):
        checkpoint_paths(["lightning_logs/first/version_9"])


def test_list_prints_the_runs(here, capsys):
    Path("lightning_logs/first/version_9").mkdir(exist_ok=True)
    command("list", "runs")
    said = capsys.readouterr().out
    assert "  lightning_logs/first/version_0\n" in said
    assert "  lightning_logs/first/version_9\n      without a checkpoint\n" in said


@pytest.mark.parametrize("kind", ["grids", "objectives", "parameterisations", "backbones"])
def test_list_prints_the_parts_of_a_model(kind, capsys):
    command("list", kind)
    name = {"grids": "Karras(rho=7.0)", "objectives": "DenoisingScoreMatching(", "backbones": "MLP(hidden="}
    assert name.get(kind, "EDMPreconditioning(sigma_data=1.0)") in capsys.readouterr().out


def test_a_boolean_flag_needs_no_value_and_test_ends_with_a_verdict(here, capsys, tmp_path):
    few = ["--n_samples", 100, "--data.repeats", 1, "--model.sampler.n_steps", 2]
    command("test", "--ckpt_path", "latest", "--fields", "--output", tmp_path / "m.json", *few)
    said = capsys.readouterr().out
    assert "Straightness of the flow" in said
    assert said.splitlines()[-1].startswith("Verdict: ")
    command("test", "--ckpt_path", "latest", "--overwrite", "--output", tmp_path / "m.json", *few)


def test_the_verdict_names_a_metric_that_contradicts_sliced_w1(tmp_path):
    w1 = {"value": 0.009, "floor": 0.0086, "z": 0.3}
    quiet = {
        "sliced_w1": w1,
        "cross_entropy_gap": {"z": 1.0},
        "mode_weights": {"left": {"z": 4.9}, "right": {"z": None}},
    }
    path = tmp_path / "m.json"
    for other, said in (
        ({}, "noise floor 0.0086)."),
        ({"cross_entropy_gap": {"z": -11.6}}, "but by the cross-entropy gap, nats they can: z = -11.6."),
        ({"mode_weights": {"left": {"z": 7.0}}}, "but by the share of the mode left they can: z = 7.0."),
    ):
        path.write_text(json.dumps(quiet | other))
        assert verdict(path).endswith(said)
    for budget, said in (
        ({}, "`test --budget` measures the causes."),
        ({"error_budget": {}}, "the error budget has the causes."),
    ):
        path.write_text(json.dumps(quiet | budget | {"sliced_w1": {**w1, "z": 9.0}}))
        assert verdict(path).endswith(said)


def test_a_bar_counts_the_steps_of_the_run_with_loss_and_score_error(here, capsys):
    command("fit", "--config", "edm_heart", "--trainer.max_steps", 20, "--trainer.enable_progress_bar", "true", *FEW)
    said = capsys.readouterr()
    assert "20/20 [" in said.err
    assert ", loss=" in said.err
    assert "score error=0." in said.err
    assert "\rstep" not in said.out
    assert said.err.endswith("\n")


def test_a_bar_counts_samples(here, capsys, tmp_path):
    bar = ["--trainer.enable_progress_bar", "true"]
    command("predict", "--ckpt_path", "latest", "--n_samples", 5000, "--output", tmp_path / "x.npy", *bar)
    assert "5000/5000 [" in capsys.readouterr().err


def test_callbacks_of_lightning_can_be_added_in_a_config(here, capsys):
    Path("stop.yaml").write_text(
        "trainer:\n  callbacks:\n  - class_path: EarlyStopping\n"
        "    init_args: {monitor: val/loss, patience: 1, min_delta: 100.0}\n"
    )
    limits = ["--trainer.max_steps", 200, "--trainer.val_check_interval", 10, "--trainer.logger", "false"]
    command("fit", "--config", "edm_heart", "--config", "stop.yaml", *limits, *FEW)
    assert "step     20: loss" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("max_time", "[1, 2]", "the trainer cannot be made with trainer.max_time [1, 2]: "),
        ("devices", "1" + 30 * "0", "the trainer cannot be made with trainer.devices "),
        ("val_check_interval", "[1]", "the trainer cannot be made with trainer.val_check_interval [1]: "),
        (
            "callbacks",
            "{class_path: Timer, init_args: {duration: [1]}}",
            "Timer cannot be made with {'duration': [1]}: ",
        ),
    ],
)
def test_a_setting_that_lightning_does_not_check_is_named(name, value, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        command("fit", "--config", "edm_heart", f"--trainer.{name}", value, *FEW)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_needs_jsonargparse():
    import toy_score.commands.fit  # noqa: F401

    sources = (Path(entry.__file__).parent).rglob("*.py")
    assert not [path for path in sources if "jsonargparse" in path.read_text() or "LightningCLI" in path.read_text()]


@pytest.mark.parametrize("name", ["", " ", "..", "a/../../b", "/tmp/elsewhere", "./a"])
def test_a_run_whose_name_leaves_the_folder_of_the_runs_is_refused(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        command("fit", "--config", "edm_heart", "--name", name, *FEW)
    assert stop.value.code == 2
    assert f"--name {name!r} is not a folder within lightning_logs" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_learning_rate_that_is_not_a_number_is_refused(tmp_path, monkeypatch, capsys):
    """Its annotation is `float | Tensor`: the classes of tensors are nothing that a setting could name."""
    monkeypatch.chdir(tmp_path)
    for value, line in {"nan": "model.optimizer.lr: must be", ".nan": "learning rate: nan"}.items():
        with pytest.raises(SystemExit) as stop:
            command("fit", "--config", "edm_heart", "--model.optimizer.lr", value, *FEW)
        assert stop.value.code == 2
        assert line in capsys.readouterr().err


def test_torch_is_imported_without_collections_and_its_objects_are_not_collected_later(monkeypatch):
    import gc

    from toy_score import __main__ as entry

    before = gc.get_freeze_count()
    with entry._uncollected():  # torch is imported already: nothing happens
        assert gc.isenabled()
    assert gc.get_freeze_count() == before
    monkeypatch.delitem(sys.modules, "torch")
    try:
        with entry._uncollected():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
