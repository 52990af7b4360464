"""Precisions, loaders, optimizers and strategies of Lightning and PyTorch that are not this package's own choice."""

import pickle

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from training import fit

from toy_score import MLP, EDMModule, Heun
from toy_score.callbacks import EMA, Pictures
from toy_score.data import Batch
from toy_score.modules import Constant
from toy_score.modules.batches import batches_of
from toy_score.modules.checkpoints import read_checkpoint

SILENT = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}


def model(**arguments):
    return EDMModule(**{"sampler": Heun(2), "backbone": MLP((8,))} | arguments)


@pytest.mark.parametrize(("precision", "dtype"), [("64-true", torch.float64), ("bf16-true", torch.bfloat16)])
def test_a_network_of_any_precision_is_trained_validated_drawn_and_sampled(precision, dtype, tmp_path):
    trained = model()
    pictures = Pictures(n_samples=20, sigmas=(0.5,), frames=0)
    trainer = fit(
        trained,
        tmp_path,
        2,
        callbacks=[EMA(every_n_steps=1), pictures],
        options={"precision": precision},
        steps_at_once=1,
    )
    assert next(trained.parameters()).dtype == dtype
    assert torch.isfinite(trainer.callback_metrics["val/score_error"])
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    loaded = EDMModule.load_from_checkpoint(tmp_path / "last.ckpt")
    for sampling in (trained, loaded):
        x = sampling.sample(20)
        assert x.dtype == torch.float32
        assert x.isfinite().all()
    assert loaded.log_prob(x).isfinite().all()
    assert read_checkpoint(tmp_path / "last.ckpt")["state_dict"]


def in_float64(folder, steps, ckpt_path=None):
    """A run in float64 whose average, of decay 0, is the weights; what its checkpoint holds."""
    torch.manual_seed(0)
    options = {"precision": "64-true"}
    made = model(lr_schedule=Constant())
    trainer = fit(made, folder, steps, ckpt_path, [EMA(decay=0.0, every_n_steps=1)], options, steps_at_once=1)
    trainer.save_checkpoint(folder / f"{steps}.ckpt")
    return read_checkpoint(folder / f"{steps}.ckpt")


def test_averaged_weights_of_a_run_in_float64_have_its_digits(tmp_path):
    content = in_float64(tmp_path, 2)
    for name, weights in content["current_model_state"].items():
        assert torch.equal(content["state_dict"][name], weights)
        assert (weights != weights.float().double()).any()  # of which float32 has not enough


def test_a_run_in_float64_goes_on_with_all_of_its_digits(tmp_path):
    whole = in_float64(tmp_path, 4)
    in_float64(tmp_path, 2)
    resumed = in_float64(tmp_path, 4, tmp_path / "2.ckpt")
    for name, weights in whole["state_dict"].items():
        assert torch.equal(resumed["state_dict"][name], weights)


def test_a_network_in_float64_gives_what_it_gives_in_float32():
    single, double = model(), model()
    double.load_state_dict(single.state_dict())
    double.double()
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    for name in ("denoise", "noise", "score", "velocity"):
        expected = getattr(double.denoiser, name)(x.double(), 0.5)
        assert getattr(double.denoiser, name)(x, 0.5).dtype == torch.float32
        assert torch.allclose(getattr(double.denoiser, name)(x, 0.5).double(), expected, rtol=1e-4, atol=1e-5)
        assert torch.allclose(getattr(single.denoiser, name)(x, 0.5).double(), expected, rtol=1e-3, atol=1e-4)


X, LABELS = torch.randn(96, 2, generator=torch.Generator().manual_seed(0)), torch.arange(96) % 3


@pytest.mark.parametrize(
    ("data", "n_labels"),
    [(X, 0), (TensorDataset(X), 0), (TensorDataset(X.double()), 0), (TensorDataset(X, LABELS), 3)],
    ids=["tensor", "data set", "float64", "with labels"],
)
def test_a_loader_of_ones_own_trains(data, n_labels):
    trained = model(backbone=MLP((8,), n_labels=n_labels))
    before = [w.clone() for w in trained.parameters()]
    trainer = pl.Trainer(max_epochs=2, log_every_n_steps=1, enable_checkpointing=False, **SILENT)
    trainer.fit(trained, DataLoader(data, batch_size=32), DataLoader(data, batch_size=96))
    assert trainer.global_step == 6
    assert torch.isfinite(trainer.callback_metrics["val/loss"])
    assert not all(torch.equal(a, b) for a, b in zip(before, trained.parameters(), strict=True))


def test_what_a_step_is_given_is_the_points_and_labels_of_the_loader():
    one, labels = X[:4], LABELS[:4]
    for given in (one, [one], (one,), [Batch(one)]):
        ((x, none),) = batches_of(given, torch.float32)
        assert torch.equal(x, one)
        assert none is None
    ((x, found),) = batches_of([one, labels], torch.float64)
    assert torch.equal(found, labels)
    assert x.dtype == torch.float64
    assert len(batches_of([Batch(one), Batch(one, labels)], torch.float32)) == 2


@pytest.mark.parametrize(
    "given", [X[:, :1], X[0], [X, LABELS[:5]], [X, X[:5]], [X, LABELS, LABELS], LABELS, {"x": X}, []]
)
def test_what_is_no_batch_is_refused_in_one_line(given):
    with pytest.raises(ValueError, match=r"a batch must be points \(n, 2\), or points and whole-number labels \(n,\)"):
        batches_of(given, torch.float32)


def test_an_optimizer_that_needs_a_closure_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"LBFGS evaluates the loss several times a step.*choose another"):
        fit(model(optimizer=torch.optim.LBFGS), tmp_path, 2)


def test_the_average_can_be_sent_to_spawned_processes():
    sent = pickle.loads(pickle.dumps(EMA(decay=0.9, every_n_steps=2)))
    averages, weights = [torch.zeros(1)], [torch.ones(1)]
    sent._kwargs["multi_avg_fn"](averages, weights, 1000)
    assert averages[0].item() == pytest.approx(1.0 - 0.81)
