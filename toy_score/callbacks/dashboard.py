"""What TensorBoard shows of a run besides curves and pictures: its settings, beside its final figures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from toy_score.backbones import MLP
from toy_score.callbacks.ema import EMA
from toy_score.callbacks.events import verbatim
from toy_score.callbacks.reports import run_folder
from toy_score.data import data_module, typed
from toy_score.modules import ScoreModule, score_module

__all__ = ["Dashboard", "boards", "settings_that_matter"]

FIGURES = (
    "val/score_error",
    "val/loss",
    "test/sliced_w1_over_floor",
    "test/gaussianised_ks_p",
    "test/cross_entropy_gap_z",
    "time/training_seconds",
)
"""The figures beside the settings in TensorBoard's table of hyper-parameters, by their tags."""


class Dashboard(pl.Callback):
    """Hands the settings of a run to TensorBoard: a row of its table of hyper-parameters, and the config as text."""

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        from torch.utils.tensorboard.summary import hparams  # half a second, which other commands need not spend

        settings = settings_that_matter(trainer, score_module(pl_module))
        run = run_folder(trainer)
        configs = [] if run is None else sorted(Path(run).glob("config*.yaml"), key=lambda path: path.stat().st_mtime)
        for board in boards(trainer):
            for summary in hparams(settings, dict.fromkeys(FIGURES, 0.0)):  # the values are those of the curves
                board.file_writer.add_summary(summary)
            if configs:  # the newest is that of this training
                board.add_text("config", verbatim(configs[-1].read_text(encoding="utf-8")), trainer.global_step)


def boards(trainer: pl.Trainer) -> Iterator[Any]:
    """The writers of the trainer's TensorBoards."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            yield logger.experiment


def settings_that_matter(trainer: pl.Trainer, model: ScoreModule) -> dict[str, str | int | float]:
    """The choices in which runs differ, by short names, as words and numbers.

    TensorBoard's table begins with the first five in the order of the alphabet.
    """
    data, optimizer = data_module(trainer), trainer.optimizers[0]
    averages = [callback for callback in typed(trainer).callbacks if isinstance(callback, EMA)]
    backbone, p = model.backbone, model.distribution
    network = type(backbone).__name__
    if isinstance(backbone, MLP):
        network = f"{' x '.join(map(str, backbone.hidden))} {backbone.activation}"
    settings: dict[str, str | int | float | None] = {
        "model": model.name,
        "data": None if p is None else p.name or repr(p),
        "schedule": repr(model.schedule),
        "predicts": repr(model.parameterisation),
        "times": repr(model.times),
        "objective": type(model.objective).__name__,
        "network": network,
        "weights": sum(weights.numel() for weights in model.parameters()),
        "optimizer": type(getattr(optimizer, "optimizer", optimizer)).__name__,
        "learning_rate": float(optimizer.param_groups[0].get("initial_lr", optimizer.param_groups[0]["lr"])),
        "batch_size": None if data is None else data.batch_size,
        "steps": model.planned_steps,
        "weight_averaging": averages[0].decay if averages else 0.0,
        "sampler": repr(model.sampler),
        "sampler_evaluations": model.sampler.nfe(model.schedule),
    }
    return {name: value for name, value in settings.items() if value is not None}
