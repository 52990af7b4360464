"""However a run ends, its checkpoint is whole and the newest, and goes on as if it had not ended."""

import contextlib
import resource
import signal
import sys
import tempfile
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from toy_score import HeartDataModule, NCSNModule, __main__ as entry
from toy_score.callbacks import EMA, Checkpoint

pytestmark = pytest.mark.usefixtures("foreground_signals")


def model():
    torch.manual_seed(0)
    return NCSNModule()


def fit(made, folder, *callbacks, ckpt_path=None, n_train=640, **trainer):
    """Epochs of 10 steps in groups of 4, 4 and 2; validated after every second group."""
    checkpoint = Checkpoint(every_n_steps=1000)
    checkpoint.dirpath = str(folder)
    settings = {"max_epochs": -1, "max_steps": 30, "val_check_interval": 2, "check_val_every_n_epoch": None} | trainer
    trainer = pl.Trainer(
        default_root_dir=folder,
        callbacks=[*callbacks, EMA(every_n_steps=4), checkpoint],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        accelerator="cpu",
        **settings,
    )
    trainer.fit(made, HeartDataModule(n_train=n_train, batch_size=64, n_val=16, steps_at_once=4), ckpt_path=ckpt_path)
    return trainer


def saved(folder):
    return torch.load(folder / "last.ckpt", weights_only=True)


class At(pl.Callback):
    """Does something once, in the first call of a hook at or after a step."""

    def __init__(self, hook, do, step=12):
        def act(trainer, *_):
            if trainer.global_step >= step and not self.done:
                self.done = True
                do(trainer)

        self.done = False
        setattr(self, hook, act)


def stop(trainer):
    trainer.should_stop = True


SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
IN_STEPS = {}
IN_EPOCHS = {"max_epochs": 3, "max_steps": -1}


@pytest.mark.parametrize(
    ("end", "hook", "measure"),
    [
        (stop, "on_train_batch_end", IN_STEPS),  # as max_time does
        (stop, "on_validation_end", IN_EPOCHS),  # as EarlyStopping does
        (stop, "on_train_epoch_end", IN_EPOCHS),
        *((number, "on_train_batch_start", IN_STEPS) for number in SIGNALS),
        *((number, "on_validation_batch_end", IN_EPOCHS) for number in SIGNALS),
        (signal.SIGHUP, "on_train_epoch_end", IN_EPOCHS),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_run_that_ended_early_resumes_bit_for_bit(end, hook, measure, whole, tmp_path):
    """Bit for bit, whichever way it ends: a time limit, early stopping, or a signal in a step or in validation."""
    do = stop if end is stop else lambda _: signal.raise_signal(end)
    try:
        fit(model(), tmp_path / "a", At(hook, do), **measure)
    except (KeyboardInterrupt, SystemExit):
        assert end is not stop
    assert 12 <= saved(tmp_path / "a")["global_step"] <= 20
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["last.ckpt"]
    resumed = fit(model(), tmp_path / "b", ckpt_path=tmp_path / "a/last.ckpt", **measure)
    assert resumed.global_step == 30
    assert all(torch.equal(whole["state_dict"][k], v) for k, v in saved(tmp_path / "b")["state_dict"].items())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The checkpoint of a run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    fit(model(), folder)
    return saved(folder)


def test_a_second_ctrl_c_stops_at_once_and_leaves_the_checkpoint_as_it_was(tmp_path):
    def twice(trainer):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(SystemExit):
        fit(model(), tmp_path, At("on_validation_batch_end", twice, step=18))
    assert not (tmp_path / "last.ckpt").exists()


@pytest.mark.parametrize("logger", [False, CSVLogger, lambda folder: TensorBoardLogger(folder, "run", "first")])
def test_a_checkpoint_lies_where_lightning_puts_its_own(logger, tmp_path):
    trainer = pl.Trainer(logger=logger and logger(tmp_path), default_root_dir=tmp_path, accelerator="cpu")
    ours, lightnings = Checkpoint(), ModelCheckpoint()
    for callback in (ours, lightnings):
        callback.setup(trainer, None, "fit")
    assert ours.dirpath == lightnings.dirpath


def test_a_run_that_may_not_end_yet_goes_on_and_catches_signals(tmp_path):
    """`should_stop` counts once `min_steps` are done: until then nothing is saved, and the handlers stay."""
    handlers = []

    class Watch(pl.Callback):
        def on_validation_end(self, trainer, pl_module):
            handlers.append((trainer.global_step, signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL))

    trainer = fit(model(), tmp_path, At("on_train_batch_end", stop, step=4), Watch(), min_steps=20)
    assert trainer.global_step == 20
    assert saved(tmp_path)["global_step"] == 20
    assert {step for step, caught in handlers if caught} >= {8, 14}


def test_fast_dev_run_writes_no_checkpoint(tmp_path):
    fit(model(), tmp_path, fast_dev_run=2)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_do_not_replace_the_checkpoint(tmp_path):
    def spoil(trainer):
        next(trainer.lightning_module.parameters()).data[0] = torch.nan
        trainer.should_stop = True

    fit(model(), tmp_path, max_steps=10)
    with pytest.raises(ValueError, match="the weights at step 14 are not finite"):
        fit(model(), tmp_path, At("on_train_batch_end", spoil))
    assert saved(tmp_path)["global_step"] == 10


def test_a_full_disk_leaves_the_checkpoint_whole(tmp_path):
    fit(model(), tmp_path, max_steps=10)
    whole = (tmp_path / "last.ckpt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot write .*last\.ckpt: File too large"):
            fit(model(), tmp_path, max_steps=20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "last.ckpt").read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_is_written_beside_its_target_not_to_the_folder_for_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    fit(model(), tmp_path, max_steps=4)
    assert saved(tmp_path)["global_step"] == 4


# The command line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working directory with the checkpoint of 20 steps, `checkpoints/last.ckpt`, and its `config.yaml`."""
    folder = tmp_path_factory.mktemp("runs")
    with contextlib.chdir(folder):
        command("fit --model NCSNModule --data HeartDataModule --trainer.max_steps 20")
    return folder


@pytest.fixture
def last(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["toy_score"])
    monkeypatch.chdir(tmp_path)
    return folder / "checkpoints/last.ckpt"


def command(line):
    entry.main(f"{line} --data.n_val 64 --trainer.accelerator cpu --trainer.logger false".split())


def refused(capsys, line):
    """The one line by which a command is refused, before it has written anything."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        command(line)
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert stopped.value.code == 2
    assert list(Path().iterdir()) == []
    return said


@pytest.mark.parametrize(
    ("option", "difference"),
    {
        "--model.optimizer.lr 0.001": "model.optimizer.lr is 0.001, in the checkpoint 0.01;",
        "--model.optimizer.weight_decay 0.1": "model.optimizer.weight_decay is 0.1, in the checkpoint 0;",
        "--model.optimizer SGD": "model.optimizer is SGD, in the checkpoint Adam;",
        "--model.lr_schedule Constant": "model.lr_schedule is Constant(), in the checkpoint WarmupCosine(",
        "--model.lr_schedule.warmup 0.1": "model.lr_schedule is WarmupCosine(final=0.0, warmup=0.1), in the checkpoint",
        "--model.backbone MLP --model.backbone.hidden [8]": "model.backbone is MLP(activation=",
        "--ema.decay 0": "ema is off, in the checkpoint on;",
        "--ema.decay 0.5": "ema.decay is 0.5, in the checkpoint 0.998;",
    }.items(),
)
def test_a_resumed_run_refuses_settings_that_its_state_would_replace(option, difference, last, capsys):
    said = refused(capsys, f"fit --ckpt_path {last} --trainer.max_steps 30 {option}")
    assert difference in said
    assert said.endswith(f"start a new run from the weights: --init_from {last}")


def test_a_resumed_run_announces_and_applies_settings_that_can_change(last, capsys):
    command(f"fit --ckpt_path {last} --trainer.max_steps 30 --model.sampler Heun --data.batch_size 32")
    said = capsys.readouterr().out
    assert "model.sampler: Heun(" in said
    assert "data.batch_size: 32 (the checkpoint has 1024)" in said
    assert "length: 30 steps (the checkpoint has 20); the learning-rate schedule follows it" in said
    checkpoint = saved(Path("checkpoints"))
    assert checkpoint["global_step"] == checkpoint["run_length"] == 30
    assert checkpoint["optimizer_states"][0]["param_groups"][0]["lr"] == 0.0  # where the new length ends


@pytest.mark.parametrize(
    ("options", "needed"),
    {
        "--trainer.max_steps -1": "needs the length of the run: set --trainer.max_steps",
        "--trainer.max_steps -1 --trainer.max_time 00:00:00:01": "needs the length of the run",
        "--trainer.max_epochs 0": "trainer.max_epochs must be at least 1, got 0",
        "--trainer.limit_train_batches 0": "trainer.limit_train_batches must be at least 1, got 0",
        "--trainer.max_epochs 2 --trainer.limit_train_batches 3": "trainer.limit_train_batches 3 cuts the epochs",
        "--trainer.overfit_batches 2": "--data.fresh false",
        "--trainer.accumulate_grad_batches 2": "use a larger --data.batch_size",
    }.items(),
)
def test_a_run_whose_length_is_not_clear_is_refused(options, needed, last, capsys):
    assert needed in refused(capsys, f"fit --model NCSNModule --data HeartDataModule {options}")


@pytest.mark.parametrize(("epochs", "steps", "length"), [(2, -1, 8), (2, 6, 6), (2, 100, 8), (-1, 5, 5)])
def test_the_learning_rate_ends_with_the_run(epochs, steps, length, tmp_path):
    """Epochs of 4 steps: whichever limit is reached first is the length of the run."""
    made = model()
    trainer = fit(made, tmp_path, max_epochs=epochs, max_steps=steps, n_train=256)
    assert trainer.global_step == length
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9)
    assert saved(tmp_path)["run_length"] == length


def test_a_constant_learning_rate_needs_no_length(last):
    options = "--trainer.max_steps -1 --model.lr_schedule Constant --trainer.max_time 00:00:00:01"
    command(f"fit --model NCSNModule --data HeartDataModule {options}")
    checkpoint = saved(Path("checkpoints"))
    assert checkpoint["global_step"] > 0
    assert checkpoint["optimizer_states"][0]["param_groups"][0]["lr"] == 0.01


def test_a_run_whose_time_is_over_is_not_resumed(last, capsys, tmp_path, monkeypatch):
    options = "--model.lr_schedule Constant --trainer.max_steps -1 --trainer.max_time 00:00:00:01"
    command(f"fit --model NCSNModule --data HeartDataModule {options}")
    path = Path("checkpoints/last.ckpt").absolute()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert "s; ask for more --trainer.max_time" in refused(capsys, f"fit --ckpt_path {path} {options}")


# A new run from the weights of another


def test_a_run_from_the_weights_of_another_starts_with_its_loss(last, capsys):
    """With a learning rate of zero it keeps them: the averaged weights, the model and the data of the checkpoint."""
    command(f"validate --ckpt_path {last}")
    before = capsys.readouterr().out.splitlines()[0]
    assert before.startswith("val/loss")
    new = "--trainer.max_steps 1 --trainer.val_check_interval 1 --model.optimizer.lr 0 --model.lr_schedule Constant"
    command(f"fit --init_from {last} {new}")
    said = capsys.readouterr().out
    assert "model.optimizer: Adam(" in said
    assert f"weights:     those of {last} after 20 steps" in said
    assert f"step      1: loss {float(before.split()[1]):.5f}" in said
    new, old = saved(Path("checkpoints")), saved(last.parent)
    assert new["global_step"] == 1
    assert all(torch.equal(new["state_dict"][name], weights) for name, weights in old["state_dict"].items())


def test_a_model_of_the_heart_continues_on_the_split_normal(last, capsys):
    options = "--data SplitNormalDataModule --model.optimizer SGD --model.optimizer.lr 0.0001 --trainer.max_steps 20"
    command(f"fit --init_from {last} {options}")
    assert "data: SplitNormalDataModule(" in capsys.readouterr().out
    new = saved(Path("checkpoints"))
    assert new["datamodule_hyper_parameters"]["class_path"] == "toy_score.SplitNormalDataModule"
    assert new["hyper_parameters"]["init_args"]["optimizer"]["class_path"] == "torch.optim.SGD"
    # Its own run goes on, and does not start from the weights of the other again.
    capsys.readouterr()
    command("fit --config config.yaml --ckpt_path checkpoints/last.ckpt --trainer.max_steps 30")
    assert "weights: " not in capsys.readouterr().out
    assert saved(Path("checkpoints"))["global_step"] == 30


@pytest.mark.parametrize(
    ("options", "difference"),
    {
        "--model.backbone MLP --model.backbone.hidden [8]": "MLP(activation=softplus, edge_shape=tanh, edges=0, ",
        "--model EDMModule": "holds a NCSNModule; leave out --model EDMModule",
        "--ckpt_path {last}": "--init_from {last} starts a new one; choose one of them",
    }.items(),
)
def test_a_new_run_refuses_weights_that_do_not_fit(options, difference, last, capsys):
    said = refused(capsys, f"fit --init_from {last} {options.format(last=last)}")
    assert difference.format(last=last) in said
