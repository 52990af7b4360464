"""However a run ends, its checkpoint is whole and the newest, and the run that goes on is the one that never stopped."""

import resource
import signal
import tempfile

import lightning.pytorch as pl
import pytest
import torch

from toy_score import HeartDataModule, NCSNModule
from toy_score.callbacks import EMA, Checkpoint


def model():
    torch.manual_seed(0)
    return NCSNModule()


def fit(made, folder, *callbacks, ckpt_path=None, **trainer):
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
    trainer.fit(made, HeartDataModule(n_train=640, batch_size=64, n_val=16, steps_at_once=4), ckpt_path=ckpt_path)
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
def test_a_run_goes_on_as_if_it_had_not_ended_early(end, hook, measure, whole, tmp_path):
    """Bit for bit, whichever way it ends: early stopping, a time limit, or a signal, in steps, validation or pictures."""
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
