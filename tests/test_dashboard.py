"""TensorBoard has the settings and the final figures of a run, its config, its report and its pictures."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import EXPERIMENT_TAG, SESSION_START_INFO_TAG
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from toy_score import __main__ as entry
from toy_score.callbacks.dashboard import FIGURES
from toy_score.callbacks.events import add_report, verbatim

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

TINY = """
model:
  class_path: EDMModule
  init_args:
    backbone: {class_path: MLP, init_args: {hidden: [8, 4]}}
    sampler: {class_path: Heun, init_args: {n_steps: 3}}
    optimizer: {class_path: Adam, init_args: {lr: 0.03}}
data:
  class_path: HeartDataModule
  init_args: {n_val: 64, batch_size: 32, steps_at_once: 1, n_samples: 100, repeats: 1}
pictures: {n_samples: 20, frames: 2, sigmas: [0.5, 2.0]}
trainer: {max_steps: 3, accelerator: cpu, log_every_n_steps: 1}
"""


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """The logs of two runs, one of which was tested."""
    folder, before = tmp_path_factory.mktemp("logs"), Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["toy_score"])
        os.chdir(folder)
        Path("tiny.yaml").write_text(TINY)
        entry.main(["fit", "--config", "tiny.yaml", "--name", "one"])
        entry.main(["fit", "--config", "tiny.yaml", "--name", "two", "--model.optimizer.lr", "0.001"])
        entry.main(["test", "--ckpt_path", "lightning_logs/one/version_0", "--trainer.accelerator", "cpu"])
        os.chdir(before)
    return folder / "lightning_logs"


def events_of(run):
    events = EventAccumulator(str(run), size_guidance={"images": 0})
    events.Reload()
    return events


def settings_of(events):
    content = events.SummaryMetadata(SESSION_START_INFO_TAG).plugin_data.content
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}


def test_the_table_of_hyperparameters_has_the_settings_in_which_runs_differ(logs):
    one, two = (settings_of(events_of(logs / name / "version_0")) for name in ("one", "two"))
    assert {name for name in one if one[name] != two[name]} == {"learning_rate"}
    expected = {
        "model": "EDM",
        "data": "heart",
        "network": "8 x 4 softplus",
        "learning_rate": 0.03,
        "batch_size": 32.0,
        "steps": 3.0,
        "weight_averaging": 0.998,
        "sampler_evaluations": 5.0,
        "weights": 78.0,
    }
    assert {name: one[name] for name in expected} == expected


def test_the_table_of_hyperparameters_has_final_figures_that_exist(logs):
    events = events_of(logs / "one/version_0")
    content = events.SummaryMetadata(EXPERIMENT_TAG).plugin_data.content
    metrics = [info.name.tag for info in HParamsPluginData.FromString(content).experiment.metric_infos]
    assert metrics == list(FIGURES)
    assert set(metrics) <= set(events.Tags()["scalars"])


def test_scalars_are_in_groups_with_the_score_error_also_on_a_logarithmic_scale(logs):
    events = events_of(logs / "two/version_0")
    groups = {tag.partition("/")[0] for tag in events.Tags()["scalars"]}
    assert groups == {"train", "val", "val_loss", "val_score_error", "time"}
    error, log = (events.Scalars(f"val/{name}")[-1].value for name in ("score_error", "log10_score_error"))
    assert 10.0**log == pytest.approx(error, rel=1e-5)


def text_of(events, name):
    (value,) = events.Tensors(f"{name}/text_summary")[-1].tensor_proto.string_val
    return value.decode()


def test_config_and_report_are_texts(logs):
    events, run = events_of(logs / "one/version_0"), logs / "one/version_0"
    assert text_of(events, "config") == verbatim((run / "config.yaml").read_text())
    report = text_of(events, "report")
    assert "sliced W1" in report
    assert all(line.startswith("    ") for line in report.splitlines())


def test_the_figures_of_a_test_stand_at_the_step_of_the_checkpoint(logs):
    (figure,) = events_of(logs / "one/version_0").Scalars("test/sliced_w1_over_floor")
    assert figure.step == 3
    assert figure.value > 0.0


def test_a_folder_without_events_gets_none(tmp_path):
    add_report(tmp_path, "report", {"sliced_w1": {"ratio": 1.0}}, 3)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def served(logs):
    """The address of a TensorBoard of these logs, if there is a browser to look at it."""
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install -e '.[browser]'")
    if CHROMIUM is None:
        pytest.skip("there is no chromium: the dashboard is not opened in a browser")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "tensorboard.main",
        "--logdir",
        str(logs),
        "--port",
        str(port),
        "--load_fast=false",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        address = f"http://localhost:{port}"
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/data/runs", timeout=5).read()
                break
            except OSError:
                process.poll()
                if process.returncode is not None:
                    pytest.fail("TensorBoard does not start")
                time.sleep(0.5)
        yield address
        process.terminate()


@pytest.mark.parametrize(
    ("tab", "words"),
    [
        ("hparams", ["learning_rate", "0.030000", "8 x 4 softplus", "val/score_error"]),
        ("text", ["config/text_summary", "report/text_summary", "sliced W1"]),
        ("images", ["samples_and_trajectories", "vector_field"]),
        ("timeseries", ["one/version_0", "two/version_0", "samples_and_trajectories"]),
    ],
)
def test_the_tabs_of_tensorboard_show_the_runs_in_a_browser(served, tab, words):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--disable-background-networking", "--no-sandbox"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": 1400, "height": 3000})
        page.goto(f"{served}/#{tab}")
        for word in words:
            page.get_by_text(word).first.wait_for(timeout=60_000, state="attached")
        browser.close()
