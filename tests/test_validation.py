"""Validation: the losses and score errors of the definitions, from one evaluation of the network a level."""

import lightning.pytorch as pl
import pytest
import torch

from toy_score import (
    MLP,
    VE,
    CheckerboardDataModule,
    DDPMModule,
    ExactDenoiser,
    Heart,
    HeartDataModule,
    NCSNModule,
    SplitNormalDataModule,
)
from toy_score.metrics import STUDY_LEVELS
from toy_score.modules.validation import Validation
from toy_score.objectives import RandomLevels


def trainer(**settings):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    return pl.Trainer(enable_model_summary=False, num_sanity_val_steps=0, **quiet, **settings)


def figures(trained):
    """What was validated last, by name: a loss, a score error, and both at ten levels."""
    seen = {name: float(value) for name, value in trained.callback_metrics.items() if name.startswith("val")}
    assert len(seen) == 22
    return seen


def validated(model, datamodule):
    trained = trainer()
    trained.validate(model, datamodule, verbose=False)
    return figures(trained)


class Counted(MLP):
    """Counts the rows that the network is evaluated at without gradients, as validation does."""

    rows = 0

    def forward(self, x, c, labels=None):
        self.rows += len(x) * (not torch.is_grad_enabled())
        return super().forward(x, c, labels)


class CountedHeart(Heart):
    """Counts the rows at which the exact score is asked for."""

    rows = 0

    def score(self, x, sigma):
        type(self).rows += len(x)
        return super().score(x, sigma)


def test_loss_and_score_error_are_their_definitions_at_the_same_noisy_points():
    schedule, x0 = VE(sigma_max=20.0), Heart().sample(1000, torch.Generator().manual_seed(0))
    truth, validation = ExactDenoiser(Heart(), schedule), Validation(x0, schedule, ExactDenoiser(Heart(), schedule), 3)
    exact = validation.noise(truth)
    assert torch.equal(validation.score_error(exact), torch.zeros(10).double())
    assert torch.allclose(validation.score_error(1.5 * exact), 0.125 * exact.double().square().sum(-1).mean(-1))
    assert torch.allclose(validation.score_error(exact + 0.2), torch.full((10,), 0.04).double())
    eps = torch.stack([(x - x0) / s for x, s in zip(validation._x, STUDY_LEVELS, strict=True)])
    assert torch.allclose(validation.loss(eps), torch.zeros(10).double(), atol=1e-6)
    assert torch.allclose(validation.loss(eps - 0.2), torch.full((10,), 0.04).double(), atol=1e-3)
    assert validation.loss(exact)[0] < 0.2  # nearly all of strong noise can be seen
    assert validation.loss(exact)[-1] > 0.9  # nearly none of weak noise
    assert Validation(x0, schedule, None, 3).score_error(exact) is None


def test_a_validation_evaluates_the_network_once_a_level_and_the_truth_in_the_first_only(monkeypatch):
    monkeypatch.setattr(CountedHeart, "rows", 0)
    data = HeartDataModule(n_train=64 * 12, batch_size=64, n_val=100, steps_at_once=2)
    data.distribution = CountedHeart()
    model = NCSNModule(backbone=Counted(hidden=(8,)), times=RandomLevels())
    trainer(max_steps=6, max_epochs=-1, val_check_interval=1).fit(model, data)
    assert model.backbone.rows == 3 * (1 + 10) * 100  # the objective, and ten levels
    assert CountedHeart.rows == 10 * 100


@pytest.mark.parametrize("model_class", [NCSNModule, DDPMModule])
def test_validation_in_fit_equals_validate_with_the_same_weights(model_class):
    """With other data between: what is kept of a validation never serves other points, or another truth."""
    torch.manual_seed(0)
    model, data = model_class(), {"n_train": 64 * 8, "batch_size": 64, "n_val": 200}
    fitting = trainer(max_steps=8, max_epochs=-1)
    fitting.fit(model, HeartDataModule(**data))
    at_the_end = figures(fitting)
    others = [SplitNormalDataModule(n_val=200), CheckerboardDataModule(n_val=300)]
    between = [validated(model, other) for other in others]
    assert validated(model, HeartDataModule(n_val=200)) == pytest.approx(at_the_end, rel=1e-6)
    fresh = model_class()
    fresh.load_state_dict(model.state_dict())
    assert [validated(fresh, other) for other in others] == between
    assert model._validation is None  # its memory is free again


def test_with_class_labels_the_loss_is_conditional_and_the_score_error_unconditional():
    torch.manual_seed(0)
    model = NCSNModule(backbone=MLP(hidden=(8,), n_labels=2))
    before = validated(model, HeartDataModule(n_val=200, labels=True))
    with torch.no_grad():
        model.backbone.label_vectors.weight[:2] += 1.0
    after = validated(model, HeartDataModule(n_val=200, labels=True))
    for name in before:
        assert (before[name] == after[name]) == name.startswith(("val/score_error", "val_score_error"))
