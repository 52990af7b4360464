"""Averaged weights."""

from functools import partial
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from toy_score.denoisers import NetworkDenoiser
from toy_score.modules import ScoreModule, score_module

__all__ = ["EMA", "averaged_model"]


class EMA(WeightAveraging):
    """Exponential moving average of the weights; validation, pictures, checkpoints and the final model use it.

    `average <- d average + (1 - d) weights` every `every_n_steps` optimizer steps, with `d = decay^every_n_steps`.
    After n updates d is at most `(1 + n) / (10 + n)`, so the random start is soon forgotten. With the defaults
    that is less than `decay` for the first 4450 steps. A shorter run therefore averages over about its last tenth,
    however long it is and whatever `decay` from 0.9965 on: weights grow as the eighth power of the step, which is a
    power function average (Karras et al. 2024, section 3.1).

    Args:
        decay: per step, in [0, 1); 0.999 averages over about the last thousand steps.
        every_n_steps: >= 1; averaging is cheap, but not free for such small networks. The average is updated between
            groups of steps, so make this a multiple of the data's `steps_at_once`.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(self, decay: float = 0.998, every_n_steps: int = 10):
        if not 0 <= decay < 1:
            raise ValueError(f"ema.decay must be in [0, 1), got {decay}; 0.999 is common, 0 turns averaging off")
        if every_n_steps < 1:
            raise ValueError(f"ema.every_n_steps must be at least 1, got {every_n_steps}")
        self.decay, self.every_n_steps = decay, every_n_steps
        # Buffers are not averaged: the average of integers is no integer. A partial can be sent to spawned processes.
        super().__init__(use_buffers=False, multi_avg_fn=partial(_update, decay**every_n_steps))

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if trainer.precision == "64-true" and (average := averaged_model(self)) is not None:
            average.double()  # later Lightning makes the model float64, and the model alone
        if stage == "fit" and isinstance(pl_module, ScoreModule):
            pl_module.use_average(self._denoiser)

    def _denoiser(self) -> NetworkDenoiser:
        average = averaged_model(self)
        assert average is not None  # made by setup
        return average.denoiser

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        # Several steps may have passed since the last call.
        latest = super().state_dict()["latest_update_step"]
        return step_idx is not None and step_idx + 1 - latest >= self.every_n_steps

    def state_dict(self) -> dict[str, Any]:
        # The settings of the average, so that a resumed run can refuse others.
        return {**super().state_dict(), "decay": self.decay, "every_n_steps": self.every_n_steps}


def averaged_model(callback: pl.Callback) -> ScoreModule | None:
    """The model with the averaged weights that a callback keeps; None for other callbacks, and before `fit`.

    Lightning 2.6 has no public name for it. The private one is used here alone, and `tests/test_lightning.py` tells
    when there is a public one.
    """
    average = callback._average_model if isinstance(callback, WeightAveraging) else None
    return None if average is None else score_module(average.module)


def _update(most: float, averages: list[Tensor], weights: list[Tensor], updates: Tensor | int) -> None:
    """Move the averages towards the weights, after so many updates; `most` is the largest share that they keep."""
    n = float(updates)
    # Weights in bfloat16 are averaged in float32: eight bits would lose what an update adds.
    weights = [new.to(old.dtype) for old, new in zip(averages, weights, strict=True)]
    get_ema_multi_avg_fn(min(most, (1.0 + n) / (10.0 + n)))(averages, weights, updates)
