"""Restart sampling: the flow, with a part of the way repeated from fresh noise."""

import itertools
import math
from dataclasses import dataclass

from torch import Tensor

from toy_score.checks import check_at_least
from toy_score.denoisers import Denoiser
from toy_score.samplers.ancestral import forward_step
from toy_score.samplers.base import NoiseStream
from toy_score.samplers.ode import RungeKutta4
from toy_score.schedules import Level, Schedule

__all__ = ["Restart"]


@dataclass(frozen=True)
class Restart(RungeKutta4):
    """Restart sampling (Xu et al. 2023, algorithm 1): at a low noise level go back up to a higher one, several times.

    The way up adds noise, `x_t = a x_s + sqrt(b) z`; the way down is the flow. The noise makes the samples forget the
    errors of steps, network and prior, and the steps keep the accuracy of a solver of the flow. The paper has Heun's
    method and may restart on several intervals; here the steps are those of `RungeKutta4`, and the interval is one.

    Args:
        n_steps: number of steps of the first way down, >= 1; each restart repeats those within its interval.
        grid: at which times they begin.
        low, high: the interval of noise levels `sigma / alpha`, each moved to the nearest level of the grid.
        repeats: number of restarts, K >= 0; 0 is `RungeKutta4`.

    Raises:
        ValueError: if an argument is out of range; when samples are drawn, if no step of the grid is in the interval.
    """

    n_steps: int = 8
    low: float = 0.3
    high: float = 1.5
    repeats: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(0, repeats=self.repeats)
        if not 0 < self.low < self.high:
            raise ValueError(f"0 < low < high must hold, got {self.low} and {self.high}; swap them?")

    def interval(self, schedule: Schedule) -> list[Level]:
        """The levels of the grid that a restart passes, highest first."""
        levels = self.levels(schedule)[:-1]
        top, bottom = (
            min(range(len(levels)), key=lambda i: abs(math.log(levels[i].ratio / r))) for r in (self.high, self.low)
        )
        if top == bottom and self.repeats:
            raise ValueError(
                f"no step of the grid lies between low = {self.low:g} and high = {self.high:g}; "
                f"use more steps than {self.n_steps}, or a wider interval"
            )
        return levels[top : bottom + 1]

    def nfe(self, schedule: Schedule) -> int:
        steps = self.repeats * (len(self.interval(schedule)) - 1)
        return super().nfe(schedule) + self.evaluations_per_step * steps

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        x = super().step(denoiser, x, t, s, noise)
        interval = self.interval(denoiser.schedule)
        if s == interval[-1]:
            a, b = forward_step(interval[0], s)
            for _ in range(self.repeats):
                x = a * x + b**0.5 * noise.normal()
                for upper, lower in itertools.pairwise(interval):
                    x = super().step(denoiser, x, upper, lower, noise)
        return x
