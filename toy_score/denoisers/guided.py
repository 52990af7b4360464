"""Denoisers made of denoisers: guidance, and another schedule."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from toy_score.component import Component
from toy_score.denoisers.base import At, Denoiser
from toy_score.schedules import Levels, Schedule

__all__ = ["Guided", "Rescheduled"]


@dataclass(frozen=True)
class Guided(Component, Denoiser):
    """Away from a weaker denoiser: `D = D_weak + weight (D_strong - D_weak)`, and the same for the noise.

    With one network, conditioned on the class and not, this is classifier-free guidance (Ho & Salimans 2022, with
    `weight = 1 + w`); with a smaller or less trained network as the weak one it is autoguidance (Karras et al. 2024).
    `weight = 1` is the strong denoiser. The two may have different schedules: both are evaluated at one noise level.

    Raises:
        ValueError: if their samples begin at different sources.
    """

    strong: Denoiser
    weak: Denoiser
    weight: float
    _weak: Denoiser = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        schedule, weak, source = self.strong.schedule, self.weak, self.strong.source
        if weak.source != source:
            raise ValueError(f"the strong denoiser begins at {source!r}, the weak at {weak.source!r}; give both one")
        own = weak if weak.schedule == schedule else Rescheduled(weak, schedule)
        self._set(schedule=schedule, source=source, _weak=own)

    def denoise(self, x: Tensor, t: At) -> Tensor:
        return torch.lerp(self._weak.denoise(x, t), self.strong.denoise(x, t), self.weight)

    def noise(self, x: Tensor, t: At) -> Tensor:
        return torch.lerp(self._weak.noise(x, t), self.strong.noise(x, t), self.weight)


@dataclass(frozen=True)
class Rescheduled(Component, Denoiser):
    """A denoiser seen from another schedule: asked at the same noise level `sigma / alpha`, at the rescaled point."""

    denoiser: Denoiser
    schedule: Schedule

    def __post_init__(self) -> None:
        self._set(source=self.denoiser.source)

    def denoise(self, x: Tensor, t: At) -> Tensor:
        return self.denoiser.denoise(*self._own(x, t))

    def noise(self, x: Tensor, t: At) -> Tensor:
        return self.denoiser.noise(*self._own(x, t))

    def _own(self, x: Tensor, t: At) -> tuple[Tensor, Levels]:
        level, own = self._level(x, t), self.denoiser.schedule
        there = own.level(own.time(level.ratio))
        return x * (there.alpha / level.alpha), there
