"""Metrics that count: modes, points where there can be none, points that are no points."""

import torch
from torch import Tensor

from toy_score.distributions import Distribution
from toy_score.metrics.base import ExactMetric

__all__ = ["InvalidMass", "ModeWeights", "NonFinite"]


class ModeWeights(ExactMetric):
    """Share of the samples in each mode, `(K,)`, in the order of `distribution.mode_weights`.

    The truth's own scatter is binomial: `sqrt(w (1 - w) / n)`.
    """

    counts: Tensor

    def __init__(self, distribution: Distribution):
        super().__init__()
        self.distribution = distribution
        self.add_state("counts", torch.zeros(len(distribution.mode_weights), dtype=torch.int64), "sum")

    def update(self, x: Tensor) -> None:
        """Add samples `(n, 2)`; rows that are not finite are left out."""
        modes = self.distribution.modes(x[x.isfinite().all(dim=1)])
        self.counts += torch.bincount(modes, minlength=len(self.counts))

    def compute(self) -> Tensor:
        """The shares; nan before the first sample."""
        return self.counts.double() / self.counts.sum()


class _Share(ExactMetric):
    """Share of the samples that have some property."""

    higher_is_better = False
    plot_lower_bound = 0.0
    n: Tensor
    hits: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("n", torch.zeros((), dtype=torch.int64), "sum")
        self.add_state("hits", torch.zeros((), dtype=torch.int64), "sum")

    def _add(self, has: Tensor) -> None:
        self.hits += has.sum()
        self.n += len(has)

    def compute(self) -> Tensor:
        """The share, a scalar; nan before the first sample."""
        return self.hits.double() / self.n


class InvalidMass(_Share):
    """Share of the samples where the clean density is zero: in the gap of the split normal."""

    def __init__(self, distribution: Distribution):
        super().__init__()
        self.distribution = distribution

    def update(self, x: Tensor) -> None:
        """Add samples `(n, 2)`; rows that are not finite are left out."""
        self._add(self.distribution.invalid(x[x.isfinite().all(dim=1)]))


class NonFinite(_Share):
    """Share of the samples with a coordinate that is nan or infinite; the other metrics leave them out."""

    def update(self, x: Tensor) -> None:
        """Add samples `(n, 2)`."""
        self._add(~x.isfinite().all(dim=1))
