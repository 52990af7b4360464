"""Checkpoints: one file, always whole, always the newest."""

import io
import os
import re
import shlex
import signal
import threading
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from toy_score.callbacks.reports import run_folder
from toy_score.component import Described, to_config
from toy_score.data import typed
from toy_score.files import replacing

__all__ = ["AtomicCheckpointIO", "Checkpoint"]

STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]  # Windows has no SIGHUP
"""Signals after which a run is saved and stops; Lightning itself handles SIGTERM."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its target, then renames it: the target is the old file or the new one, both whole.

    Lightning's own writes to the folder for temporary files. On another file system, the move from there is a copy.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(os.path.relpath(path)) as file:
            file.write(content.getbuffer())


class Checkpoint(pl.callbacks.Checkpoint):
    """Keeps `checkpoints/last.ckpt` of the run: every `every_n_steps` steps, and however the run ends.

    It is saved after the last step or epoch, and at a time limit, early stopping, Ctrl-C, SIGTERM and SIGHUP. A signal
    takes effect at the end of a group of steps, of a validation or of an epoch. A run that is resumed from there equals
    a run without interruption, bit for bit. A second Ctrl-C stops at once and leaves the checkpoint unchanged, as any
    error does. `fast_dev_run` saves none.

    Args:
        every_n_steps: >= 1.

    Raises:
        ValueError: if `every_n_steps < 1`; in training, if the weights are not finite when they are to be saved.
    """

    def __init__(self, every_n_steps: int = 2500):
        if every_n_steps < 1:
            raise ValueError(f"checkpoint.every_n_steps must be at least 1, got {every_n_steps}")
        self.every_n_steps = every_n_steps
        self.dirpath: str | None = None  # that of the run, from `setup` on, unless another is set before
        self.best_model_path = ""  # the newest checkpoint, by the name under which Lightning asks for it
        self._saved_step = 0  # a run without a step needs no checkpoint
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self.dirpath is None:
            self.dirpath = trainer.strategy.broadcast(
                os.path.join(run_folder(trainer) or trainer.default_root_dir, "checkpoints")
            )
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # not one that the user has chosen
            trainer.strategy.checkpoint_io = AtomicCheckpointIO()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._signal, self._saved_step = None, 0
        if threading.current_thread() is not threading.main_thread():
            return  # Python handles signals in the main thread only
        for number in STOPPING:
            handler = signal.getsignal(number)
            # A shell's background ignores SIGINT, and nohup SIGHUP.
            if handler not in (None, signal.SIG_IGN):
                self._handlers[number] = handler
                signal.signal(number, self._stop_soon)

    def _stop_soon(self, number: int, frame: Any) -> None:
        self._signal = number
        # The next Ctrl-C stops at once. A terminal and its shell may send a SIGHUP each.
        self._restore_handlers(signal.SIGINT)

    def _restore_handlers(self, *numbers: int) -> None:
        for number in numbers or STOPPING:
            if number in self._handlers:
                signal.signal(number, self._handlers.pop(number))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Several steps may have passed since the last call.
        due = trainer.global_step // self.every_n_steps > self._saved_step // self.every_n_steps
        self._save_or_stop(trainer, trainer.current_epoch, due, last=trainer.global_step == trainer.max_steps)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._save_or_stop(trainer, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epochs = trainer.current_epoch + 1
        self._save_or_stop(trainer, epochs, last=epochs == trainer.max_epochs)

    def _save_or_stop(self, trainer: pl.Trainer, epochs: int, due: bool = False, last: bool = False) -> None:
        """Save if it is time to, if the run ends here after `epochs` epochs, or on a signal; then obey the signal."""
        # All processes save, or none does.
        signalled = self._signal is not None or trainer.received_sigterm
        signalled = trainer.strategy.reduce_boolean_decision(signalled, all=False)
        may_stop = trainer.global_step >= (trainer.min_steps or 0) and epochs >= (trainer.min_epochs or 0)
        last = last or (trainer.should_stop and may_stop)
        is_saved = self._saved_step == trainer.global_step
        if (due or last or signalled) and not (is_saved or typed(trainer).fast_dev_run):
            if not all(weights.isfinite().all() for weights in trainer.lightning_module.parameters()):
                raise ValueError(
                    f"the weights at step {trainer.global_step} are not finite and were not saved; "
                    "lower the learning rate or set --model.gradient_clip 1.0"
                )
            self.best_model_path = os.path.join(self.dirpath or "", "last.ckpt")
            trainer.save_checkpoint(self.best_model_path, weights_only=False)
            self._saved_step = trainer.global_step
        if last or signalled:
            self._restore_handlers()
        if signalled and not trainer.received_sigterm:  # Lightning itself handles SIGTERM
            raise KeyboardInterrupt if self._signal in (None, signal.SIGINT) else SystemExit(128 + self._signal)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore_handlers()  # Lightning calls no `teardown` then
        if trainer.is_global_zero and isinstance(exception, KeyboardInterrupt | SystemExit):
            print(self._how_to_go_on(trainer, pl_module), flush=True)

    def _how_to_go_on(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> str:
        """The step at which the run stopped, and on a line of its own the command that continues it."""
        checkpoint, step = Path(os.path.relpath(self.dirpath or "")) / "last.ckpt", trainer.global_step
        if not checkpoint.is_file():
            return "stopped before there was anything to save"
        if step == trainer.max_steps:
            return f"stopped after the last step; checkpoint: {checkpoint}"
        configs = sorted(checkpoint.parent.parent.glob("config*.yaml"), key=os.path.getmtime)
        command = ["python", "-m", "toy_score", "fit"]
        command += ["--config", str(configs[-1])] if configs else []
        command += ["--ckpt_path", str(checkpoint)]
        command += [word for module in _foreign_modules(trainer, pl_module) for word in ("--import", module)]
        saved = "" if step == self._saved_step else f", saved at step {self._saved_step}"
        return f"stopped at step {step}{saved}; to continue:\n{shlex.join(command)}"

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._restore_handlers()


def _foreign_modules(trainer: pl.Trainer, pl_module: pl.LightningModule) -> list[str]:
    """The modules of the user's own classes, which a command must import before it reads a checkpoint of them."""
    described = [part for part in (pl_module, typed(trainer).datamodule) if isinstance(part, Described)]
    paths = re.findall(r"'class_path': '([^']+)\.[^.']+'", str([to_config(part) for part in described]))
    return [path for path in dict.fromkeys(paths) if path.partition(".")[0] not in ("toy_score", "torch")]
