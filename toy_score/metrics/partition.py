r"""The Kullback-Leibler divergence of samples, over cells of equal mass.

The plane is cut into K cells of equal mass under the truth: at the median of its points along x, each half at its
median along y, and so on. With the share `q_k` of the samples in cell k,

    KL = sum_k q_k log(K q_k),

at most the divergence of the densities, which it approaches as the cells become small. Of exact samples it is about
`(K - 1) / 2n` (half a chi-squared variable over n).
"""

from typing import Any

import torch
from torch import Tensor

from toy_score.checks import check_at_least
from toy_score.distributions import Distribution
from toy_score.metrics.base import SampleMetric

__all__ = ["PartitionKL"]


class PartitionKL(SampleMetric):
    """The divergence of the samples from the truth over `2^cuts` cells, a scalar in nats, >= 0.

    Sees wrong weights of modes, shifts and scales larger than a cell; blind to what happens within the cells.

    Args:
        distribution: the truth.
        cuts: 8 are 256 cells.
    """

    label = "KL over cells, nats"
    plot_lower_bound = 0.0
    counts: Tensor

    def __init__(self, distribution: Distribution, cuts: int = 8, **kwargs: Any):
        super().__init__(distribution, **kwargs)
        check_at_least(1, cuts=cuts)
        points = distribution.reference(1 << 16)
        parts, self._medians = points[None], []  # [cells, points, 2]
        for k in range(cuts):
            order = parts[:, :, k % 2].argsort(dim=1)
            parts = parts.gather(1, order[:, :, None].expand_as(parts))
            half = parts.shape[1] // 2
            self._medians.append(0.5 * (parts[:, half - 1, k % 2] + parts[:, half, k % 2]))
            parts = parts.view(2 * len(parts), half, 2)
        self.add_state("counts", torch.zeros(2**cuts, dtype=torch.int64), "sum")

    def _add(self, x: Tensor) -> None:
        cell = torch.zeros(len(x), dtype=torch.long, device=x.device)
        for k, medians in enumerate(self._medians):
            cell = 2 * cell + (x[:, k % 2] > medians.to(x.device)[cell]).long()
        self.counts += torch.bincount(cell, minlength=len(self.counts))

    def compute(self) -> Tensor:
        """The divergence; nan before the first sample."""
        q = self.counts.double() / self.counts.sum()
        return torch.special.xlogy(q, len(q) * q).sum()
