r"""How far a denoiser is from the truth, noise level by noise level.

The normalised score error at noise level `sigma` is

    sigma^2 E|score_theta - score|^2 / 2 = E|noise_theta - noise|^2 / 2,    x ~ p_sigma,

about 1 for a network that answers 0 at large sigma, and 0 for the truth. It needs no sampling and has no noise floor,
and it is exactly what the denoising loss exceeds its minimum by.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from toy_score.denoisers import Denoiser
from toy_score.metrics.base import ExactMetric
from toy_score.schedules import VE, Schedule

__all__ = ["STUDY_LEVELS", "ScoreError", "study_levels"]

_STUDY = VE(sigma_min=0.01, sigma_max=5.0, n_levels=10)
STUDY_LEVELS: list[float] = _STUDY.sigma(_STUDY.ladder).tolist()
"""The ten noise levels of the original study, from 5 down to 0.01, at which models of all schedules are compared."""


def study_levels(schedule: Schedule) -> list[float]:
    """The levels of the study that a schedule reaches; its lowest and highest stand, once, for those beyond."""
    return list(dict.fromkeys(schedule.level_at(sigma).ratio for sigma in STUDY_LEVELS))


class ScoreError(ExactMetric):
    """Normalised score error at some noise levels.

    Args:
        levels: noise levels `sigma / alpha`, > 0; a schedule that does not reach one is measured at its nearest.
        kwargs: those of `torchmetrics.Metric`.
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    n: Tensor
    total: Tensor
    squares: Tensor

    def __init__(self, levels: Sequence[float] = STUDY_LEVELS, **kwargs: Any):
        super().__init__(**kwargs)
        self.levels = list(levels)
        self.add_state("n", torch.zeros((), dtype=torch.int64), "sum")
        self.add_state("total", torch.zeros(len(self.levels), dtype=torch.float64), "sum")
        self.add_state("squares", torch.zeros(len(self.levels), dtype=torch.float64), "sum")

    @torch.no_grad()
    def update(self, model: Denoiser, truth: Denoiser, x0: Tensor, generator: Generator) -> None:
        """Compare two denoisers of one schedule at noisy versions of the points `x0`, `(n, 2)`.

        Raises:
            ValueError: if the schedules differ: the same `t` would then mean two noise levels.
        """
        if model.schedule != truth.schedule:
            raise ValueError(
                f"the model runs on {model.schedule!r}, the truth on {truth.schedule!r}; give them one schedule"
            )
        for i, level in enumerate(self.levels):
            t = model.schedule.time(torch.tensor([[level]], dtype=torch.float64, device=x0.device)).to(x0.dtype)
            at = model.schedule.level(t)
            eps = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
            x = at.alpha * x0 + at.sigma * eps
            error = 0.5 * (model.noise(x, at) - truth.noise(x, at)).double().square().sum(dim=1)
            self.total[i] += error.sum()
            self.squares[i] += error.square().sum()
        self.n += len(x0)

    def compute(self) -> Tensor:
        """Error per level, `(K,)`; nan before the first point."""
        return self.total.double() / self.n

    def standard_error(self) -> Tensor:
        """Standard error of `compute`, `(K,)`."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):  # as `compute` does: over all processes
            variance = self.squares.double() / self.n - (self.total.double() / self.n).square()
            return (variance.clamp(min=0) / (self.n - 1)).sqrt()

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """Error against noise level, both axes logarithmic; a curve for each of several values."""
        from matplotlib import pyplot

        ax = pyplot.subplots()[1] if ax is None else ax
        for errors in [self.compute()] if val is None else [val] if isinstance(val, Tensor) else val:
            ax.loglog(self.levels, errors.cpu(), "o-")
        ax.set(xlabel="sigma", ylabel="normalised score error")
        return ax.figure, ax
