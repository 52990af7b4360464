"""Settings that do not fit each other are refused before the run has a folder."""

import os
from pathlib import Path

import pytest
import torch

from toy_score import MLP, BridgeModule, EDMModule, Heart, __main__ as entry, fit
from toy_score.data import HeartDataModule
from toy_score.modules import rehearse

POINTS = "x,y,kind\n" + "".join(f"{i % 7},{i % 5},{['land', 'sea', 'sky'][i % 3]}\n" for i in range(60))
OWN = "--data PointsDataModule --data.path points.csv --data.labels true --data.label_column kind"
HEART = "--data HeartDataModule"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("points.csv").write_text(POINTS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (f"EDMModule {HEART} --data.labels true", "this network knows no labels; train one with backbone.n_labels"),
        (f"EDMModule {HEART} --model.backbone.n_labels 2", "the data come without; add --data.labels true"),
        (f"EDMModule {OWN} --model.backbone.n_labels 2", "3 classes, the network knows 2; set --model.backbone.n_"),
        (f"EDMModule {HEART} --model.label 0", "this network knows no labels"),
        (f"EDMModule {HEART} --data.labels true --model.backbone.n_conditions 2", "this network knows no labels"),
        (f"EDMModule {HEART} --model.optimizer LBFGS", "LBFGS evaluates the loss several times a step"),
        (f"EDMModule {HEART} --model.optimizer SparseAdam", "SparseAdam does not support dense gradients"),
        (f"EDMModule {HEART} --model.optimizer.lr -1", "--model.optimizer: Invalid learning rate: -1.0"),
        ("FlowMapModule --data PointsDataModule --data.path points.csv --model.objective MapRegression", "exact map"),
        (f"BridgeModule {HEART} --model.reflow none.ckpt", "there is no checkpoint 'none.ckpt'"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_run_has_a_folder(words, said, here, capsys):
    with pytest.raises(SystemExit) as stop:
        entry.main(f"fit --model {words} --trainer.accelerator cpu".split())
    assert stop.value.code == 2
    assert said in capsys.readouterr().err
    assert os.listdir() == ["points.csv"]


def test_python_refuses_before_the_run_has_a_folder_as_well(here):
    with pytest.raises(ValueError, match="the data come without"):
        fit(EDMModule(backbone=MLP(n_labels=2)), Heart(), steps=2, run="mine", progress=False)
    assert os.listdir() == ["points.csv"]


@pytest.mark.parametrize("cls", [EDMModule, BridgeModule])
def test_a_rehearsal_changes_nothing_of_the_model_nor_of_what_is_random(cls):
    torch.manual_seed(0)
    model, data = cls(backbone=MLP((8,))), HeartDataModule(n_val=16, batch_size=32)
    weights, random = [w.detach().clone() for w in model.parameters()], torch.get_rng_state()
    rehearse(model, data)
    assert all(torch.equal(w, before) for w, before in zip(model.parameters(), weights, strict=True))
    assert all(w.grad is None for w in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
