r"""The cross-entropy gap: what distances between point clouds cannot see.

`E_q[log p_s(x)] - E_p[log p_s(x)]`, in nats, for samples `q` and the truth `p`, where `p_s` is the truth under a little
noise `s`. One sample in a hundred inside a gap, a slight blur or a far outlier hardly moves any distance, but each
costs many nats here; in turn, it is blind to wrong mode weights and to modes that are missing.
"""

import torch
from torch import Tensor

from toy_score.distributions import Distribution
from toy_score.metrics.base import ExactMetric

__all__ = ["CrossEntropyGap"]


class CrossEntropyGap(ExactMetric):
    """The gap, a scalar in nats: 0 for perfect samples, below where they leave the density, above if they huddle in it.

    Args:
        distribution: the truth.
        sigma: the noise `s` of the density that judges, > 0, or a gap in the support would cost infinitely much.
    """

    n: Tensor
    total: Tensor

    def __init__(self, distribution: Distribution, sigma: float = 0.05):
        super().__init__()
        self.distribution, self.sigma = distribution, sigma
        self._truth = distribution.log_prob(distribution.reference(), sigma).mean().item()
        self.add_state("n", torch.zeros((), dtype=torch.int64), "sum")
        self.add_state("total", torch.zeros((), dtype=torch.float64), "sum")

    def update(self, x: Tensor) -> None:
        """Add samples `(n, 2)`; rows that are not finite are left out."""
        x = x[x.isfinite().all(dim=1)]
        self.total += (self.distribution.log_prob(x.float(), self.sigma).double() - self._truth).sum()
        self.n += len(x)

    def compute(self) -> Tensor:
        """The gap; nan before the first sample."""
        return self.total.double() / self.n
