"""The training loop: it learns, resumes, averages, stops on nonsense, and its checkpoints are plain."""

import functools
import signal

import lightning.pytorch as pl
import pytest
import torch
from training import fit

from toy_score import MLP, DDPMModule, EDMPreconditioning, HeartDataModule, Heun, NCSNModule, ScoreModule
from toy_score.callbacks import EMA, Checkpoint
from toy_score.component import Described
from toy_score.modules import Constant, WarmupCosine
from toy_score.objectives import UniformTimes
from toy_score.parameterisations import LogSigma

pytestmark = pytest.mark.usefixtures("foreground_signals")

MODELS = [NCSNModule, DDPMModule]


def checkpointing(folder, every=10):
    callback = Checkpoint(every_n_steps=every)
    callback.dirpath = str(folder)
    return callback


def flat_weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("model_class", MODELS)
def test_training_lowers_the_score_error(model_class, tmp_path):
    torch.manual_seed(0)
    model, errors = model_class(), []
    for steps in (1, 300):
        trainer = fit(model, tmp_path, steps, batch_size=256, n_train=256_000)
        trainer.validate(model, HeartDataModule(n_val=512), verbose=False)
        errors.append(trainer.callback_metrics["val/score_error"].item())
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("at_once", [1, 4])
def test_the_number_of_steps_per_lightning_batch_changes_nothing(at_once, tmp_path):
    models = []
    for steps_at_once in (at_once, 7):
        torch.manual_seed(0)
        models.append(DDPMModule(gradient_clip=1.0))
        assert fit(models[-1], tmp_path, 18, steps_at_once=steps_at_once).global_step == 18
    assert torch.equal(*map(flat_weights, models))


@pytest.mark.parametrize("fresh", [True, False])
def test_twenty_steps_equal_ten_and_ten_resumed(fresh, tmp_path):
    """Bit for bit, interrupted in the middle of an epoch of 15 steps, averaged weights included."""

    def model():
        torch.manual_seed(0)
        return NCSNModule()

    whole = model()
    fit(whole, tmp_path, 20, callbacks=[EMA(every_n_steps=5), checkpointing(tmp_path / "a")], fresh=fresh)
    fit(
        # the same learning rates as in the whole run: the schedule counts by the length of the run
        half := _with_run_length(model(), 20),
        tmp_path,
        10,
        callbacks=[EMA(every_n_steps=5), checkpointing(tmp_path / "b")],
        fresh=fresh,
    )
    resumed = model()
    fit(
        resumed,
        tmp_path,
        20,
        ckpt_path=tmp_path / "b" / "last.ckpt",
        callbacks=[EMA(every_n_steps=5), checkpointing(tmp_path / "c")],
        fresh=fresh,
    )
    assert not torch.equal(flat_weights(half), flat_weights(whole))
    assert torch.equal(flat_weights(resumed), flat_weights(whole))


class StoppingAt(Described):
    """An objective during whose n-th call a signal arrives."""

    def __init__(self, objective, call, number):
        self.objective, self.call, self.number = objective, call, number
        self.left = call

    def __call__(self, *arguments):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(self.number)
        return self.objective(*arguments)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_stopped_within_a_group_of_steps_resumes_bit_for_bit(number, tmp_path):
    """Bit for bit; stopped during step 13, it is saved after step 16, where the group of four ends."""

    def model():
        torch.manual_seed(0)
        return NCSNModule()

    def run(made, folder, **more):
        callbacks = [EMA(every_n_steps=4), checkpointing(tmp_path / folder, every=1000)]
        return fit(made, tmp_path, 24, callbacks=callbacks, steps_at_once=4, n_train=100 * 128, batch_size=128, **more)

    handler = signal.getsignal(signal.SIGINT)
    run(whole := model(), "a")
    stopped, resumed = model(), model()
    stopped.objective = StoppingAt(stopped.objective, 13, number)
    stopped.on_save_checkpoint = lambda saved: saved.update(toy_score_version="0.1.0")
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(stopped, "b")
    assert torch.load(tmp_path / "b" / "last.ckpt", weights_only=True)["global_step"] == 16
    assert signal.getsignal(signal.SIGINT) is handler
    assert run(resumed, "c", ckpt_path=tmp_path / "b" / "last.ckpt").global_step == 24
    assert torch.equal(flat_weights(resumed), flat_weights(whole))


def test_an_error_leaves_the_checkpoint_as_it_was(tmp_path):
    class Failing(NCSNModule):
        def training_step(self, batches, batch_idx):
            if self.trainer.global_step == 12:
                raise RuntimeError("the disk is on fire")
            super().training_step(batches, batch_idx)

    model = Failing()
    model.on_save_checkpoint = lambda saved: None
    with pytest.raises(RuntimeError, match="on fire"):
        fit(model, tmp_path, 20, callbacks=[checkpointing(tmp_path / "a", every=5)], steps_at_once=1)
    assert torch.load(tmp_path / "a" / "last.ckpt", weights_only=True)["global_step"] == 10


def _with_run_length(model, steps):
    schedule = model.lr_schedule
    model.lr_schedule = lambda progress: schedule(progress * 10 / steps)
    model.on_save_checkpoint = lambda checkpoint: checkpoint.update(toy_score_version="0.1.0")
    return model


def test_averaged_weights_are_the_stated_average(tmp_path):
    """Against the recursion written out; the checkpoint and the final model hold the average."""
    torch.manual_seed(0)
    model, seen = NCSNModule(lr_schedule=Constant()), []

    class Keep(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            seen.append(flat_weights(pl_module).double())

    callbacks = [Keep(), EMA(decay=0.9, every_n_steps=2), checkpointing(tmp_path / "a", 100)]
    fit(model, tmp_path, 20, callbacks=callbacks, steps_at_once=1)
    updates = seen[1::2]
    average = updates[0]
    for n, weights in enumerate(updates[1:], start=1):
        d = min(0.9**2, (1 + n) / (10 + n))
        average = d * average + (1 - d) * weights
    assert torch.allclose(flat_weights(model).double(), average, atol=1e-6)
    saved = ScoreModule.load_from_checkpoint(tmp_path / "a" / "last.ckpt")
    assert torch.equal(flat_weights(saved), flat_weights(model))


def test_a_loss_that_is_not_finite_stops_the_run_with_the_step_and_a_remedy(tmp_path):
    model = NCSNModule(optimizer=functools.partial(torch.optim.SGD, lr=1e30), lr_schedule=Constant())
    with pytest.raises(ValueError, match=r"loss became (nan|inf) between steps \d+ and \d+; lower the learning rate"):
        fit(model, tmp_path, 100)


@pytest.mark.parametrize("model_class", MODELS)
def test_a_checkpoint_made_in_python_is_plain_values_and_comes_back_the_same(model_class, tmp_path):
    model = model_class(
        backbone=MLP(hidden=(16, 16), activation="silu"),
        parameterisation=EDMPreconditioning(1.3),
        conditioning=LogSigma(),
        times=UniformTimes(),
        sampler=Heun(7),
        optimizer=functools.partial(torch.optim.AdamW, lr=3e-3),
        lr_schedule=WarmupCosine(0.1),
    )
    fit(model, tmp_path, 3, callbacks=[checkpointing(tmp_path)])
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert content["hyper_parameters"]["class_path"] == f"toy_score.{model_class.__name__}"
    assert content["datamodule_hyper_parameters"]["class_path"] == "toy_score.HeartDataModule"
    for cls in (model_class, ScoreModule):
        loaded = cls.load_from_checkpoint(tmp_path / "last.ckpt")
        assert type(loaded) is model_class
        assert loaded.sampler == Heun(7)
        assert loaded.optimizer.func is torch.optim.AdamW
        assert torch.equal(loaded.sample(100, seed=1), model.sample(100, seed=1))
    assert ScoreModule.load_from_checkpoint(tmp_path / "last.ckpt", sampler=Heun(3)).sampler == Heun(3)


def test_the_wrong_class_is_refused(tmp_path):
    fit(NCSNModule(), tmp_path, 1, callbacks=[checkpointing(tmp_path)])
    with pytest.raises(TypeError, match="holds a NCSNModule, not a DDPMModule"):
        DDPMModule.load_from_checkpoint(tmp_path / "last.ckpt")


def test_samples_do_not_depend_on_how_they_are_requested():
    model = NCSNModule(sampler=Heun(4))
    many = model.sample(5000, seed=3)
    assert torch.allclose(model.sample(10, seed=3), many[:10], atol=1e-5)
    assert torch.allclose(model.trajectory(10, seed=3).x[-1], many[:10], atol=1e-5)


def test_warmup_cosine_rises_then_falls():
    schedule = WarmupCosine(warmup=0.25, final=0.1)
    assert [schedule(p) for p in (0.0, 0.125, 0.25)] == [0.0, 0.5, 1.0]
    assert schedule(0.625) == pytest.approx(0.1 + 0.9 / 2)
    assert schedule(1.0) == pytest.approx(0.1)
    with pytest.raises(ValueError, match=r"got 1\.5"):
        WarmupCosine(warmup=1.5)
