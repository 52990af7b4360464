"""Whatever goes wrong ends soon, in one line that names what was wrong and what helps."""

import errno
import io
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from training import fit

from campaign.children import start
from campaign.commands import brief
from toy_score import MLP, EDMModule, Heun, __main__ as entry
from toy_score.callbacks import EMA, Checkpoint, Pictures
from toy_score.commands.errors import one_line_errors
from toy_score.files import replacing
from toy_score.yaml_values import EndlessError, load

TINY = """
model: {class_path: EDMModule, init_args: {backbone: {class_path: MLP, init_args: {hidden: [8]}}, sampler: Heun}}
data: {class_path: HeartDataModule, init_args: {n_val: 64, batch_size: 32, steps_at_once: 1}}
pictures: {n_samples: 20, frames: 0, sigmas: [0.5]}
trainer: {max_steps: 2, accelerator: cpu}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["toy_score"])
    Path("tiny.yaml").write_text(TINY)


def ended(capsys, command, *argv):
    """Exit code and the lines on stderr."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        command(*argv)
    return stop.value.code, capsys.readouterr().err.strip().splitlines()


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "its aliases stand for more than 100000 values"),
        ("a: &a [*a]", "a value contains itself by an alias"),
        ("model: &m {init_args: *m}", "a value contains itself by an alias"),
        ("[" * 2000, "it is nested too deeply"),
        (f"seed_everything: {'9' * 5000}", "999999999999999999999999999... is beyond the whole numbers of 64 bits"),
    ],
    ids=["bomb", "itself", "itself in a mapping", "deep", "number"],
)
def test_a_config_without_end_is_refused_at_once(text, message, capsys):
    Path("endless.yaml").write_text(text)
    code, lines = ended(capsys, entry.main, ["fit", "--config", "endless.yaml"])
    assert (code, lines) == (2, [f"error: cannot read the config 'endless.yaml': {message}"])


def test_aliases_of_a_size_that_people_write_are_read():
    text = "a: &a {b: [1, 2]}\nc: *a\nd: {<<: *a, e: 3}\n"
    assert load(text) == yaml.safe_load(text)
    assert load("") is None
    with pytest.raises(EndlessError):
        load("- &a [*a]")


def test_a_section_that_is_left_empty_has_its_defaults(capsys):
    Path("empty.yaml").write_text(TINY.replace("trainer: {max_steps: 2, accelerator: cpu}", "trainer:\nema:"))
    with pytest.raises(SystemExit) as stop:
        entry.main(["fit", "--config", "empty.yaml", "--print_config"])
    assert stop.value.code == 0
    assert "max_steps: 7500" in capsys.readouterr().out


def failing(error, module="toy_score.samplers.base"):
    """A command that fails with an error in a module of the package."""
    with one_line_errors():
        exec("raise error", {"__name__": module, "error": error})


@pytest.mark.parametrize(
    ("error", "module", "line"),
    [
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you "
                         "tried to allocate 800000000000 bytes. Error code 12 (Cannot allocate memory)"),
            "toy_score.data.base",
            "out of memory: 800000000000 bytes at once are too much; "
            "lower --data.n_train, --data.n_val or --data.batch_size",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of"),
            "toy_score.callbacks.pictures",
            "out of memory: 2.50 GiB at once are too much; lower --pictures.n_samples",
        ),
        (MemoryError(), "toy_score.samplers.base", "out of memory: there is too little of it; lower --n_samples"),
    ],
)  # fmt: skip
def test_out_of_memory_is_no_defect_and_names_the_flag_that_helps(error, module, line, capsys):
    assert ended(capsys, failing, error, module) == (2, [f"error: {line}"])


def test_another_failure_is_still_a_defect(capsys):
    code, lines = ended(capsys, failing, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert code == 1
    assert "defect" in lines[1]


@pytest.mark.parametrize(
    ("error", "module"),
    [
        (RuntimeError("Early stopping conditioned on metric `x`"), "lightning.pytorch.callbacks.early_stopping"),
        (ModuleNotFoundError("Requirement 'wandb>=0.12.10' not met."), "lightning.pytorch.loggers.wandb"),
    ],
)
def test_what_lightning_refuses_is_bad_input(error, module, capsys):
    """A callback that does not suit the run, a package that is not installed."""
    assert ended(capsys, failing, error, module) == (2, [f"error: {error}"])


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        ("BackboneFinetuning", "all weights are frozen, by BackboneFinetuning or a similar callback; leave it out"),
        ("LearningRateFinder", "LearningRateFinder does not suit this model: When using the learning rate finder"),
        ("SpikeDetection", "SpikeDetection does not suit this model: it looks for 'loss'; leave this callback out"),
    ],
)
def test_a_callback_that_wants_what_these_models_lack_is_bad_input(callback, message, capsys):
    code, lines = ended(
        capsys, entry.main, ["fit", "--config", "tiny.yaml", "--trainer.callbacks", f"[{{class_path: {callback}}}]"]
    )
    assert code == 2
    assert lines[-1].startswith(f"error: {message}")


def test_a_full_disk_names_the_path(monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"^cannot write x.csv: No space left on device$"), replacing("x.csv") as file:
        file.write(b"x")
    assert os.listdir() == ["tiny.yaml"]


@pytest.mark.parametrize(("command", "output"), [("predict", "out.csv"), ("test", "out.json")])
def test_an_output_that_is_a_folder_is_noticed_before_anything_is_sampled(command, output, trained, capsys):
    Path(output).mkdir()
    argv = [command, "--ckpt_path", str(trained), "--output", output, "--overwrite"]
    assert ended(capsys, entry.main, argv) == (2, [f"error: {output!r} is a folder; choose another --output"])
    assert os.listdir(output) == []


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run of two steps, as `fit --config tiny.yaml` leaves it."""
    folder = tmp_path_factory.mktemp("run")
    model = EDMModule(backbone=MLP((8,)), sampler=Heun())
    fit(model, folder, 2, callbacks=[EMA(), Checkpoint()], n_train=1_024_000, batch_size=32, n_val=64, steps_at_once=1)
    return folder


def damaged(content, part, value):
    """The checkpoint with another value of a part, or without it if that is None."""
    return {k: v for k, v in content.items() if k != part} | ({} if value is None else {part: value})


DAMAGES = {
    "toy_score_version": ("one.two", "its toy_score_version is 'one.two', no version"),
    "pytorch-lightning_version": (None, "it has no pytorch-lightning_version"),
    "global_step": (None, "it has no global_step"),
    "state_dict": ({"w": "word"}, "it is damaged or incomplete"),
    "current_model_state": ({}, "differ in their names"),
    "hyper_parameters": ([1], "model: must be of type ScoreModule, got [1]"),
}


@pytest.mark.parametrize("part", DAMAGES)
def test_a_checkpoint_with_a_damaged_part_is_refused_by_its_name(part, trained, capsys):
    value, message = DAMAGES[part]
    content = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    torch.save(damaged(content, part, value), "odd.ckpt")
    code, lines = ended(capsys, entry.main, ["predict", "--ckpt_path", "odd.ckpt", "--output", "x.npy"])
    assert (code, len(lines)) == (2, 1)
    assert message in lines[0]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (lambda w: w.int(), "are not such of a network; it is damaged"),
        (lambda w: w + 1j, "are not such of a network; it is damaged"),
        (lambda w: "word", "it is damaged or incomplete"),
        (lambda w: w * float("nan"), "are not finite; use an earlier checkpoint"),
        (lambda w: None, "without 'denoiser."),
    ],
    ids=["whole numbers", "complex", "a word", "nan", "missing"],
)
def test_weights_that_are_none_are_refused_by_their_name(weights, message, trained, capsys):
    content = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    for part in ("state_dict", "current_model_state"):
        first, value = next(iter(content[part].items()))
        content[part][first] = weights(value)
        content[part] = {k: v for k, v in content[part].items() if v is not None}
    torch.save(content, "odd.ckpt")
    code, lines = ended(capsys, entry.main, ["predict", "--ckpt_path", "odd.ckpt", "--output", "x.npy"])
    assert (code, len(lines)) == (2, 1)
    assert message in lines[0]


@pytest.mark.parametrize("part", ["callbacks", "optimizer_states", "lr_schedulers"])
@pytest.mark.parametrize("value", [None, 3, [{"a": 1}]])
def test_a_training_goes_on_only_from_its_whole_state(part, value, trained, capsys):
    content = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    torch.save(damaged(content, part, value), "odd.ckpt")
    argv = ["fit", "--config", "tiny.yaml", "--trainer.max_steps", "3", "--ckpt_path", "odd.ckpt"]
    code, lines = ended(capsys, entry.main, argv)
    assert (code, len(lines)) == (2, 1)
    assert "does not hold the state of a training that can go on; start a new run from the weights" in lines[0]


@pytest.mark.parametrize("of", ["settings", "averages"])
def test_an_optimizer_that_cannot_take_a_step_with_its_state_is_refused_before_the_run(of, trained, capsys):
    content = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    state = content["optimizer_states"][0]
    del (state["param_groups"][0] if of == "settings" else state["state"][0])["eps" if of == "settings" else "exp_avg"]
    torch.save(content, "odd.ckpt")
    argv = ["fit", "--config", "tiny.yaml", "--trainer.max_steps", "3", "--ckpt_path", "odd.ckpt"]
    code, lines = ended(capsys, entry.main, argv)
    assert (code, len(lines)) == (2, 1)
    assert "does not hold the state of a training that can go on" in lines[0]
    assert not Path("lightning_logs").exists()


def prints_into_the_pipe():
    """In a process of its own: the standard output is a pipe of that name, and pictures are a pixel."""
    brief()
    os.dup2(os.open("pipe", os.O_WRONLY), 1)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes that break so")
def test_a_training_whose_reader_leaves_is_saved_and_ends_quietly():
    """As in `fit | head -1`."""
    long = ["--trainer.max_steps", 1_000_000, "--trainer.val_check_interval", 20]
    os.mkfifo("pipe")
    run = start(Path.cwd(), "fit", "--config", "tiny.yaml", *long, prepare=prints_into_the_pipe)
    with open("pipe") as reader:
        while (line := reader.readline()) and not line.startswith("step"):
            pass
    ended = run.wait()
    assert (ended.err, ended.code != 0) == ("", True)
    saved = torch.load("lightning_logs/tiny/version_0/checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] >= 20


@pytest.mark.usefixtures("foreground_signals")
def test_a_run_whose_folder_is_removed_while_it_trains_ends_in_one_line_or_well(monkeypatch, capsys):
    """TensorBoard's thread may find no folder for its file; its traceback is not shown, nor its path in bytes.

    If its file was open before, the folder is made again, and the training ends well.
    """
    step = EDMModule.training_step

    def removing(*arguments):
        shutil.rmtree("lightning_logs", ignore_errors=True)
        return step(*arguments)

    monkeypatch.setattr(EDMModule, "training_step", removing)
    monkeypatch.setattr(Pictures, "_draw", Pictures._draw.__wrapped__)  # before the first step, too
    handler = signal.getsignal(signal.SIGINT)
    code = 0
    try:
        entry.main(["fit", "--config", "tiny.yaml"])
    except SystemExit as stop:
        code = stop.code
    lines = capsys.readouterr().err.splitlines()
    if code:
        assert (code, len(lines)) == (2, 1)
        assert re.match("error: 'lightning_logs/tiny/version_0/.*': No such file or directory$", lines[0])
    else:
        assert lines == []
        assert torch.load("lightning_logs/tiny/version_0/checkpoints/last.ckpt", weights_only=True)["global_step"] == 2
    assert signal.getsignal(signal.SIGINT) is handler  # as after a training that ends well


def test_a_reader_that_leaves_is_no_defect(capsys):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

        def fileno(self):
            return os.open(os.devnull, os.O_WRONLY)

    def command():
        with one_line_errors():
            print("to nobody")

    before, sys.stdout = sys.stdout, Closed()
    try:
        code, lines = ended(capsys, command)
    finally:
        sys.stdout = before
    assert (code, lines) == (141, [])


def test_a_command_that_is_terminated_does_not_look_like_a_success(capsys):
    """Lightning's exception of SIGTERM is an exit without a code, which is 0."""
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    with pytest.raises(SystemExit) as stop, one_line_errors():
        raise SIGTERMException
    assert stop.value.code == 143
    assert capsys.readouterr().err == "stopped\n"


@pytest.mark.parametrize(("number", "code", "kept"), [(signal.SIGTERM, 143, b"xx.."), (signal.SIGINT, 130, b"x...")])
@pytest.mark.usefixtures("foreground_signals")
def test_a_predict_that_is_stopped_keeps_its_chunks_and_the_same_command_goes_on(
    number, code, kept, trained, monkeypatch, capsys
):
    """SIGTERM ends it after the chunk in which it comes, Ctrl-C at once; the samples are those without interruption."""
    argv = ["predict", "--ckpt_path", str(trained), "--n_samples", str(4 * 4096), "--model.sampler.n_steps", "2"]
    entry.main([*argv, "--output", "whole.npy"])
    sample, calls = EDMModule.predict_step, []

    def stopped(model, *batch):
        calls.append(batch)
        if len(calls) == 2:
            signal.raise_signal(number)
        return sample(model, *batch)

    monkeypatch.setattr(EDMModule, "predict_step", stopped)
    argv += ["--output", "x.npy"]
    assert ended(capsys, entry.main, argv) == (code, ["stopped"] if code == 143 else [])
    assert Path("x.npy.part.state").read_bytes().endswith(b"\n" + kept)
    assert not Path("x.npy").exists()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning lets it be ignored for the rest of a process
    entry.main(argv)
    assert len(calls) == 2 + kept.count(b".")
    assert np.array_equal(np.load("x.npy"), np.load("whole.npy"))
    assert not list(Path().glob("x.npy.*"))
