"""The number of threads: the flag's, else the environment's, else one; in every command and every process."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from toy_score import EDM, ExactDenoiser, Heart, Heun, NCSNModule, __main__ as entry

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@pytest.fixture(autouse=True)
def _one_thread_afterwards(monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that monkeypatch restores what the tests set
        monkeypatch.delenv(name)
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("argv", "environment", "expected"),
    [
        ([], None, 1),
        ([], "", 1),
        (["--threads", "2"], None, 2),
        (["--threads=2"], None, 2),
        (["--threads", "2"], "1", 2),
        (["--threads", "1"], "2", 1),
        (["--threads", "1", "--threads", "2"], None, 2),
    ],
)
def test_threads_are_those_of_the_flag_else_of_the_environment_else_one(argv, environment, expected, monkeypatch):
    if environment is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", environment)
    torch.set_num_threads(3)
    entry.main(["list", "schedules", *argv])
    assert torch.get_num_threads() == expected
    assert {os.environ[name] for name in VARIABLES} == {str(expected)}


def test_threads_of_the_environment_are_left_as_they_are(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    torch.set_num_threads(3)
    entry.main(["list", "schedules"])
    assert torch.get_num_threads() == 3
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("command", ["fit", "predict", "test", "validate", "compare"])
@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", "", "²"])
def test_an_invalid_number_of_threads_is_refused_in_one_line(command, value, capsys):
    with pytest.raises(SystemExit) as stop:
        entry.main([command, "--threads", value])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said == f"error: --threads must be a whole number of at least 1, got {value!r}\n"


def test_a_flag_without_a_number_of_threads_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        entry.main(["fit", "--threads"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: --threads must be a whole number of at least 1, got ''\n"


def test_help_names_the_flag(capsys):
    entry.main(["--help"])
    assert "  --threads N  " in capsys.readouterr().out


PROBE = """
import atexit, os, pathlib, torch
name = "threads-" + os.environ.get("LOCAL_RANK", "0")
atexit.register(lambda: pathlib.Path(name).write_text(str(torch.get_num_threads())))
"""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def in_processes(folder, *argv):
    """Run a command as a process of its own; the number of threads of each process at its end."""
    (folder / "probe.py").write_text(PROBE)
    environment = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    command = [sys.executable, "-m", "toy_score", *argv, "--import", "probe"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment)
    return [int(path.read_text()) for path in sorted(folder.glob("threads-*"))]


def test_a_command_has_one_thread_by_default(tmp_path):
    assert in_processes(tmp_path, "list", "schedules") == [1]


@pytest.mark.skipif(CORES < 2, reason="needs two cores")
def test_every_process_has_the_threads_of_the_flag(tmp_path):
    """Lightning would give each of two processes half of the cores."""
    processes = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu"]
    small = ["--trainer.max_steps", "1", "--trainer.logger", "false", "--trainer.limit_val_batches", "0"]
    small += ["--pictures.frames", "0", "--pictures.n_samples", "10", "--model.sampler", "Heun"]
    small += ["--model.sampler.n_steps", "2"]
    argv = ["fit", "--config", "quick/ncsn_heart", "--data.steps_at_once", "1", *processes, *small, "--threads", "2"]
    assert in_processes(tmp_path, *argv) == [2, 2]


@pytest.mark.parametrize("name", ["network", "exact denoiser"])
def test_samples_do_not_depend_on_the_number_of_threads(name):
    torch.manual_seed(0)
    denoiser = NCSNModule().denoiser if name == "network" else ExactDenoiser(Heart(), EDM())
    samples = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with torch.no_grad():
            samples.append(Heun(4)(denoiser, n=5000, generator=torch.Generator().manual_seed(0)))
    assert torch.isfinite(samples[0]).all()
    np.testing.assert_array_equal(*samples)
