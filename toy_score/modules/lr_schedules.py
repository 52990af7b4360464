"""Learning-rate schedules as functions of how much of the training is done, so that no YAML repeats its length."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from toy_score.component import Component

__all__ = ["Constant", "LRSchedule", "WarmupCosine"]


class LRSchedule(Component, ABC):
    """Multiplier of the optimizer's learning rate."""

    @abstractmethod
    def __call__(self, progress: float) -> float:
        """The factor at `progress`, the share of the steps that are done, in [0, 1]."""


@dataclass(frozen=True)
class Constant(LRSchedule):
    """The optimizer's learning rate throughout."""

    def __call__(self, progress: float) -> float:
        return 1.0


@dataclass(frozen=True)
class WarmupCosine(LRSchedule):
    """A linear rise from 0 to 1 over the share `warmup` of the steps, then half a cosine down to `final`.

    Raises:
        ValueError: if `warmup` is outside [0, 1) or `final` outside [0, 1].
    """

    warmup: float = 0.3
    final: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is a share of the steps in [0, 1), got {self.warmup}")
        if not 0 <= self.final <= 1:
            raise ValueError(f"final is a factor in [0, 1], got {self.final}")

    def __call__(self, progress: float) -> float:
        if progress < self.warmup:
            return progress / self.warmup
        cosine = 0.5 * (1.0 + math.cos(math.pi * min((progress - self.warmup) / (1.0 - self.warmup), 1.0)))
        return self.final + (1.0 - self.final) * cosine
