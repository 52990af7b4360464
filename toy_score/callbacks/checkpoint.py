"""Checkpoints: one file, always whole, always the newest."""

import os
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

__all__ = ["Checkpoint"]


class Checkpoint(ModelCheckpoint):
    """Keeps `checkpoints/last.ckpt` of the run: every `every_n_steps` steps, at the end, and when interrupted.

    Args:
        every_n_steps: >= 1.

    Raises:
        ValueError: if `every_n_steps < 1`.
    """

    def __init__(self, every_n_steps: int = 2500):
        if every_n_steps < 1:
            raise ValueError(f"checkpoint.every_n_steps must be at least 1, got {every_n_steps}")
        self.every_n_steps = every_n_steps
        super().__init__(
            filename="last",
            every_n_train_steps=1,
            save_top_k=1,
            save_on_exception=True,
            enable_version_counter=False,
        )

    @property
    def state_key(self) -> str:
        return type(self).__name__  # Lightning asks for it six times a step; its own is composed anew each time

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Several steps may have passed since the last call.
        due = trainer.global_step // self.every_n_steps > self._last_global_step_saved // self.every_n_steps
        if due or trainer.global_step == trainer.max_steps:
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        super().on_exception(trainer, pl_module, exception)
        if not trainer.is_global_zero or not isinstance(exception, KeyboardInterrupt | SIGTERMException):
            return
        run = Path(os.path.relpath(self.dirpath or "")).parent
        if (run / "checkpoints/last.ckpt").is_file():
            go_on = f"fit --config {run}/config.yaml --ckpt_path {run}/checkpoints/last.ckpt"
            print(f"stopped at step {trainer.global_step}; to go on: {go_on}")
        else:
            print("stopped before there was anything to save")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # A run that is measured in epochs ends here.
        if trainer.current_epoch + 1 == trainer.max_epochs:
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
