"""What a command tells when it is done."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_only

from toy_score.metrics import check_finite, finite_or_null

__all__ = ["RunReport", "TestReport"]


def run_folder(trainer: pl.Trainer) -> str | None:
    """What `trainer.log_dir` is, for one process alone: that one waits until all processes ask."""
    if trainer.logger is None:
        return trainer.default_root_dir
    return getattr(trainer.logger, "log_dir", None) or trainer.logger.save_dir


class RunReport(pl.Callback):
    """Says how training goes where there is no progress bar, and at the end where everything is."""

    @rank_zero_only
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.ckpt_path is None:
            for finding in pl_module.doctor():
                if not finding.good:
                    print(f"doctor:      {finding.name}: {finding.told()}", flush=True)
        self._start, self._first_step = time.monotonic(), 0  # before the first pictures

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._first_step = trainer.global_step
        if run_folder(trainer):
            print(f"run:         {run_folder(trainer)}", flush=True)

    @rank_zero_only
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.progress_bar_callback is None:
            seen = trainer.callback_metrics
            numbers = [
                f"{name} {float(seen[f'val/{name}']):.5f}" for name in ("loss", "score_error") if f"val/{name}" in seen
            ]
            print(f"step {trainer.global_step:>6}: {', '.join(numbers)}", flush=True)

    @rank_zero_only
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        seconds, steps = time.monotonic() - self._start, trainer.global_step - self._first_step
        print(f"training:    {seconds:.1f} s, {steps} steps, validation and pictures included")
        run = run_folder(trainer)
        if not run:
            return
        checkpoint = trainer.checkpoint_callback.best_model_path if trainer.checkpoint_callback else ""
        if checkpoint:
            print(f"checkpoint:  {os.path.relpath(checkpoint)}")
        if (Path(run) / "pictures").is_dir():
            print(f"pictures:    {run}/pictures")
        print(f"dashboard:   tensorboard --logdir {Path(run).parent.parent}")


class TestReport(pl.Callback):
    """Prints the measurements of `test` as a table and keeps them as JSON, in which null stands for what is not finite.

    Args:
        output: a `.json` file; if None, `metrics.json` of the run that the checkpoint belongs to, replaced.
        overwrite: replace an existing `output`.
        ckpt_path: the checkpoint.
        budget: measure the error budget as well, draw it, and keep it in the same JSON.

    Raises:
        FileExistsError: if `output` exists and must not be replaced.
        ValueError: if its name does not end in `.json`.
        FloatingPointError: at the end of the test, if figures are not finite.
    """

    __test__ = False  # not a test, whatever pytest thinks of the name

    def __init__(self, output: str | None, overwrite: bool, ckpt_path: str, budget: bool = False):
        if output is not None and not output.endswith(".json"):
            raise ValueError(f"cannot write {output!r}: the name must end in .json")
        if output is not None and Path(output).exists() and not overwrite:
            raise FileExistsError(f"{output!r} exists; choose another --output or add --overwrite true")
        self.path = Path(output) if output is not None else Path(ckpt_path).resolve().parent.parent / "metrics.json"
        self.budget = budget

    @rank_zero_only
    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        print(pl_module.report, flush=True)
        found = pl_module.report.as_dict()
        self._keep(found)
        if self.budget:  # it takes a while: what has been found is safe by then
            budget = pl_module.error_budget(_progress(trainer))
            print(f"\n{budget}")
            found = {**found, "error_budget": budget.as_dict()}
            self._keep(found)
        print(f"\nmetrics:     {os.path.relpath(self.path)}")
        if self.budget:
            self._draw("budget", pl_module, budget)
        model = pl_module.sampled, pl_module.sampled_truth
        if pl_module.measure_likelihood:
            self._draw("density", pl_module, *model)
        if pl_module.measure_fields:
            self._draw("fields", pl_module, *model, pl_module.report.fields)
        check_finite(found)  # when all is told and kept

    def _keep(self, found: dict[str, Any]) -> None:
        part = self.path.with_name(self.path.name + ".part")
        part.write_text(json.dumps(finite_or_null(found), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(part, self.path)

    def _draw(self, name: str, pl_module: pl.LightningModule, *drawn: Any) -> None:
        from toy_score import plotting  # matplotlib is imported when the first picture is drawn

        title = f"{pl_module.name} on {pl_module.report.distribution.name.replace('_', ' ')}"
        picture = self.path.with_name(f"{self.path.stem}_{name}.png")
        picture.write_bytes(plotting.to_png(getattr(plotting, name)(*drawn, title)))
        print(f"{name + ':':<13}{os.path.relpath(picture)}")


def _progress(trainer: pl.Trainer) -> Callable[[str], None]:
    """How the rows of a budget are announced: in one changing line where there is a progress bar, else once each."""
    told = set()

    def tell(progress: str) -> None:
        row = progress.split(",")[0]
        if trainer.progress_bar_callback is not None:
            print(f"\rerror budget: {progress:<40}", end="", file=sys.stderr, flush=True)
        elif row not in told:
            print(f"error budget: {row} ...", flush=True)
        told.add(row)

    return tell
