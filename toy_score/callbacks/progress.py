"""The progress bar: optimizer steps of the run, or samples."""

import sys
from typing import Any

import lightning.pytorch as pl
from tqdm import tqdm

from toy_score.data import requests_of
from toy_score.modules import ScoreModule
from toy_score.progress import bar

__all__ = ["ProgressBar"]

SHOWN = {"val/loss": "loss", "val/score_error": "score error"}


class ProgressBar(pl.callbacks.ProgressBar):
    """Counts the optimizer steps of `fit`, with the loss and the score error of the last validation, or the samples.

    A bar appears after the first group of steps and ends with the last, so that other callbacks can print before and
    after it on lines of their own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bar: tqdm | None = None
        self._first = 0  # the step at which a resumed run continues
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def print(self, *words: Any, **options: Any) -> None:
        tqdm.write(" ".join(map(str, words)), file=sys.stdout)

    def _move(self, to: int, total: int | None, unit: str) -> None:
        if not self._enabled:
            return
        if self._bar is None:
            self._bar = bar(total, unit, initial=self._first, disable=False)  # the trainer asks for it
        self._bar.update(to - self._bar.n)

    def _count(self, loader: Any, n: int) -> None:
        """Count `n` more of the requested samples."""
        requests = requests_of(loader)
        total = sum(requests[i].n for i in range(len(requests)))
        self._move((self._bar.n if self._bar else 0) + n, total, "samples")

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._first = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        total = pl_module.planned_steps if isinstance(pl_module, ScoreModule) else None
        self._move(trainer.global_step, total, "steps")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._bar is not None and trainer.state.fn == "fit":
            seen = trainer.callback_metrics
            self._bar.set_postfix({short: f"{float(seen[name]):.4f}" for name, short in SHOWN.items() if name in seen})

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._end()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._end()

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._count(trainer.test_dataloaders if trainer.testing else trainer.predict_dataloaders, batch.n)

    on_test_batch_end = on_predict_batch_end

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._end()

    on_test_epoch_end = on_predict_end
