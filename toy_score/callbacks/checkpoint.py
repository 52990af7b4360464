"""Checkpoints: one file, always whole, always the newest."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

__all__ = ["Checkpoint"]


class Checkpoint(ModelCheckpoint):
    """Keeps `checkpoints/last.ckpt` of the run: every `every_n_steps` steps, at the end, and when interrupted.

    Ctrl-C is heard where a step ends, not within it: a run that goes on from there is the run that was not interrupted,
    bit for bit. A second one stops at once, and leaves the checkpoint as it was, as any error does.

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
            enable_version_counter=False,
        )
        self._stop = False
        self._at_once: Any = None

    @property
    def state_key(self) -> str:
        return type(self).__name__  # Lightning asks for it six times a step; its own is composed anew each time

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._stop = False
        # In the background of a shell the signal is ignored, and in other threads nothing can be done about it.
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler) and threading.current_thread() is threading.main_thread():
            self._at_once = handler
            signal.signal(signal.SIGINT, self._stop_soon)

    def _stop_soon(self, number: int, frame: Any) -> None:
        self._stop = True
        self._listen_no_more()

    def _listen_no_more(self) -> None:
        if self._at_once is not None:
            signal.signal(signal.SIGINT, self._at_once)
            self._at_once = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # All processes save, or none does.
        stop = trainer.strategy.reduce_boolean_decision(self._stop or trainer.received_sigterm, all=False)
        # Several steps may have passed since the last call.
        due = trainer.global_step // self.every_n_steps > self._last_global_step_saved // self.every_n_steps
        done = trainer.global_step == trainer.max_steps
        if due or done or stop:
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
        if done or stop:
            self._listen_no_more()
        if stop and not trainer.received_sigterm:  # to that signal Lightning sees itself
            raise KeyboardInterrupt

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
            self._listen_no_more()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        super().teardown(trainer, pl_module, stage)
        self._listen_no_more()
