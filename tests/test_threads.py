"""Threads and processes.

The number of threads is the flag's, else the environment's, else one, in every command and every process. Two processes
train like one.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from toy_score import (
    EDM,
    ExactDenoiser,
    Heart,
    HeartDataModule,
    Heun,
    NCSNModule,
    ScoreModule,
    __main__ as entry,
)
from toy_score.objectives import Context
from toy_score.seeds import seed_of

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
    environment["OMP_WAIT_POLICY"] = "passive"  # threads that share a core would else spin while they wait
    command = [sys.executable, "-m", "toy_score", *argv, "--import", "probe"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment)
    return [int(path.read_text()) for path in sorted(folder.glob("threads-*"))]


def test_a_command_has_one_thread_by_default(tmp_path):
    assert in_processes(tmp_path, "list", "schedules") == [1]


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """A folder with a checkpoint of four steps by two processes, and the number of threads of each at its end."""
    folder = tmp_path_factory.mktemp("two")
    options = "--model NCSNModule --data HeartDataModule --data.batch_size 64 --data.n_val 64 --ema.decay 0 "
    options += "--trainer.max_steps 4 --data.steps_at_once 2 --trainer.logger false "
    options += "--trainer.accelerator cpu --trainer.devices 2 --trainer.strategy ddp "
    options += "--model.sampler Heun --model.sampler.n_steps 2 --threads 2"
    return folder, in_processes(folder, "fit", *options.split())


@pytest.mark.skipif(CORES < 2, reason="needs two cores")
def test_every_process_has_the_threads_of_the_flag(two_processes):
    """Lightning would give each of two processes half of the cores."""
    assert two_processes[1] == [2, 2]


def test_two_processes_train_like_one_with_the_mean_of_their_gradients(two_processes):
    """Against the loop written out: step k of process r sees batch 2 k + r, and noise of its own."""
    torch.manual_seed(0)
    model, data = NCSNModule(), HeartDataModule(batch_size=64)
    optimizer = model.optimizer(model.parameters())
    for k in range(4):
        optimizer.param_groups[0]["lr"] = 0.01 * model.lr_schedule(k / 4)
        losses = []
        for rank in (0, 1):
            generator = torch.Generator().manual_seed(seed_of("training noise", 0, rank, k))
            t = model.times(64, model.schedule, generator)
            losses.append(model.objective(model.denoiser, Context(data.batch(2 * k + rank).x, t, generator)).mean())
        optimizer.zero_grad()
        (sum(losses) / 2).backward()
        optimizer.step()
    saved = next(two_processes[0].rglob("last.ckpt"))
    for a, b in zip(ScoreModule.load_from_checkpoint(saved).parameters(), model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


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
