r"""Whether a model generates new points or gives back those that it was trained on.

The distance of a sample of the truth to its nearest training point has a law: that of fresh points, never trained on.
Whoever memorises comes nearer. With `F` the distribution function of the distances of the samples and
`G` that of fresh points, the excess

    D = max_d  F(d) - G(d)

is 0 for a model that generates as the truth does, up to the scatter, and 1 for one that gives back its training points,
as the samples of their optimal denoiser do (`ExactDenoiser(Points(x), schedule)`). For `n` samples of the truth and `m`
fresh points, `P(D > d) = exp(-2 d^2 n m / (n + m))` (Smirnov 1939, one-sided, for large n and m). A model whose samples
are too far off has no excess: that is what the other metrics are for.
"""

import math
from typing import Any

import torch
from torch import Tensor

from toy_score.distributions import Points
from toy_score.metrics.base import ExactMetric

__all__ = ["Memorisation", "memorisation_table"]

NEAR = 0.05  # the share of fresh points that are "near" a training point
PER_DECADE, DECADES = 500, 4  # edges of the histogram, on either side of the near distance
COARSE = 100  # cells of the histogram that make one of the picture's


class Memorisation(ExactMetric):
    """The largest excess of samples near training points, over the share of fresh points that come as near.

    The distances are counted in cells 0.5 % wide, so that the memory does not grow and processes add up; what lies
    between two edges can only make the excess smaller.

    Args:
        points: the training points.
        fresh: points of the truth that were not trained on, `(m, 2)`.
        kwargs: those of `torchmetrics.Metric`.
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    counts: Tensor

    def __init__(self, points: Points, fresh: Tensor, **kwargs: Any):
        super().__init__(**kwargs)
        self.points = points
        distances = points.nearest(fresh)[0].cpu().sort().values
        near = distances[math.ceil(NEAR * len(distances)) - 1]
        if near == 0:  # as many of them are training points
            near = distances[-1] if distances[-1] > 0 else torch.ones_like(near)
        steps = torch.arange(-DECADES * PER_DECADE, DECADES * PER_DECADE + 1, dtype=torch.float64)
        self._edges = near * 10.0 ** (steps / PER_DECADE)
        self._fresh = self._histogram(distances)
        self.add_state("counts", torch.zeros_like(self._fresh), "sum")

    def update(self, x: Tensor) -> None:
        """Add samples `(n, 2)`; rows that are not finite are left out."""
        self.counts += self._histogram(self.points.nearest(x[x.isfinite().all(dim=1)])[0])

    def _histogram(self, distances: Tensor) -> Tensor:
        """How many distances lie in each cell, an edge belonging to the cell below it."""
        edges = self._edges.to(distances.device)
        return torch.bincount(torch.bucketize(distances, edges), minlength=len(edges) + 1)

    def compute(self) -> Tensor:
        """The excess, in [0, 1]; nan before the first sample."""
        return self._excess()

    def _excess(self) -> Tensor:
        F, G = _function(self.counts), _function(self._fresh.to(self.counts.device))
        return (F - G).max().clamp(min=0.0)

    def p_value(self) -> float:
        """How often samples of the truth have so large an excess."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            return self._p_value()

    def _p_value(self) -> float:
        return math.exp(-2.0 * (self._excess().item() / self._scatter()) ** 2)

    def _scatter(self) -> float:
        return math.sqrt(1.0 / self.counts.sum().item() + 1.0 / self._fresh.sum().item())

    def summary(self) -> dict[str, Any]:
        """All figures by name, each with what fresh points have, and the histograms of a picture."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            counts, scatter, excess, p = self.counts.cpu(), self._scatter(), self._excess().item(), self._p_value()
        near = len(self._edges) // 2
        floor = _function(self._fresh)[near].item()
        edges = self._edges[::COARSE]

        def coarse(histogram: Tensor) -> list[float]:
            return _function(histogram)[::COARSE].diff().tolist()

        return {
            "training_points": len(self.points),
            "fresh_points": int(self._fresh.sum()),
            "near": {
                "distance": self._edges[near].item(),
                "share": _function(counts)[near].item(),
                "fresh": floor,
                "fresh_sd": math.sqrt(max(floor * (1.0 - floor), 1e-12)) * scatter,
            },
            "excess": excess,
            "excess_floor": math.sqrt(math.pi / 8.0) * scatter,
            "excess_floor_sd": math.sqrt(0.5 - math.pi / 8.0) * scatter,
            "p_value": p,
            "histogram": {"edges": edges.tolist(), "samples": coarse(counts), "fresh": coarse(self._fresh)},
        }


def _function(histogram: Tensor) -> Tensor:
    """The distribution function at the edges."""
    return histogram[:-1].cumsum(dim=0).double() / histogram.sum()


def memorisation_table(summary: dict[str, Any]) -> list[str]:
    """Lines of a report."""
    near = summary["near"]
    fresh = f"{near['fresh']:.5f} +- {near['fresh_sd']:.5f}"
    excess = f"{summary['excess_floor']:.5f} +- {summary['excess_floor_sd']:.5f}"
    return [
        f"memorisation: distances to the nearest of {summary['training_points']} training points, beside those of "
        f"{summary['fresh_points']} fresh points",
        f"{'share nearer than ' + format(near['distance'], '.2g'):<30}{near['share']:>10.5f}{fresh:>22}",
        f"{'excess of near samples':<30}{summary['excess']:>10.5f}{excess:>22}   (1: all memorised)",
    ]
