"""Averaged weights."""

from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from toy_score.denoisers import NetworkDenoiser
from toy_score.modules import ScoreModule

__all__ = ["EMA"]


class EMA(WeightAveraging):
    """Exponential moving average of the weights; validation, pictures, checkpoints and the final model use it.

    `average <- d average + (1 - d) weights` every `every_n_steps` optimizer steps, with `d = decay^every_n_steps`, at
    first less: after n updates at most `(1 + n) / (10 + n)`, so that the random start is soon forgotten.

    Args:
        decay: per step, in [0, 1); 0.999 averages over about the last thousand steps.
        every_n_steps: >= 1; averaging is cheap, but at this scale not free. The average is taken when the trainer is
            handed its next steps, so make this a multiple of the data's `steps_at_once`.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(self, decay: float = 0.998, every_n_steps: int = 10):
        if not 0 <= decay < 1:
            raise ValueError(f"ema.decay must be in [0, 1), got {decay}; 0.999 is common, 0 turns averaging off")
        if every_n_steps < 1:
            raise ValueError(f"ema.every_n_steps must be at least 1, got {every_n_steps}")
        self.decay, self.every_n_steps = decay, every_n_steps
        # Buffers are not averaged: an average of integers is no integer. A partial can be sent to spawned processes.
        super().__init__(use_buffers=False, multi_avg_fn=partial(_update, decay**every_n_steps))

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and isinstance(pl_module, ScoreModule):
            pl_module.use_average(self._denoiser)

    def _denoiser(self) -> NetworkDenoiser:
        assert self._average_model is not None  # made by setup
        average = self._average_model.module
        assert isinstance(average, ScoreModule)  # it is a copy of the model
        return average.denoiser

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        # Several steps may have passed since the last call.
        return step_idx is not None and step_idx + 1 - self._latest_update_step >= self.every_n_steps

    def state_dict(self) -> dict[str, Any]:
        # What the averages in the checkpoint were made with, so that a run is not resumed with something else.
        return {**super().state_dict(), "decay": self.decay, "every_n_steps": self.every_n_steps}


def _update(most: float, averages: list[Tensor], weights: list[Tensor], updates: Tensor | int) -> None:
    """Move the averages towards the weights, after so many updates; `most` is the largest share that they keep."""
    n = float(updates)
    torch._foreach_lerp_(averages, weights, 1.0 - min(most, (1.0 + n) / (10.0 + n)))
