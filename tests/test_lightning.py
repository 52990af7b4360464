"""Private parts of Lightning that the package uses: each test fails when its use is needed no longer."""

import lightning.pytorch as pl
from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import AveragedModel

from toy_score import NCSNModule
from toy_score.callbacks.ema import averaged_model


def test_lightning_has_no_public_name_for_the_averaged_model():
    """Once it has, `toy_score.callbacks.ema.averaged_model` can use that name."""
    callback, model = WeightAveraging(use_buffers=False), NCSNModule()
    assert averaged_model(callback) is None
    callback.setup(pl.Trainer(logger=False, accelerator="cpu"), model, "fit")
    assert isinstance(averaged_model(callback), NCSNModule)
    names = [name for name, value in vars(callback).items() if isinstance(value, AveragedModel)]
    assert names == ["_average_model"]
    assert not any(isinstance(vars(type(callback)).get(name), property) for name in vars(type(callback)))


def test_lightning_notes_the_running_hook_on_the_module():
    """Once it does so no longer, `ScoreModule.__setattr__` can go."""
    assert "_current_fx_name" in vars(pl.LightningModule())
