r"""The cross-entropy gap: what distances between point clouds cannot see.

`E_q[log p_s(x)] - E_p[log p_s(x)]`, in nats, for samples `q` and the truth `p`, where `p_s` is the truth under a little
noise `s`. One sample in a hundred inside a gap, a slight blur or a far outlier hardly moves any distance, but each
costs many nats here; in turn, it is blind to wrong mode weights and to modes that are missing.
"""

import functools
import math
from typing import Any

import torch
from torch import Tensor

from toy_score.distributions import Distribution
from toy_score.metrics.base import SampleMetric

__all__ = ["CrossEntropyGap"]

SIGMA = 0.05
"""The noise of the density that judges."""


@functools.lru_cache(maxsize=8)
def _law(distribution: Distribution, sigma: float) -> tuple[float, float]:
    """Mean and standard deviation of `log p_s` under the truth."""
    log_p = distribution.log_prob(distribution.reference(), sigma)
    return log_p.mean().item(), log_p.double().std().item()


class CrossEntropyGap(SampleMetric):
    """The gap, a scalar in nats: 0 for exact samples, below where they leave the density, above if they huddle in it.

    Sees samples in gaps, blur, outliers and a wrong scale; blind to wrong mode weights and to modes that are missing.

    Args:
        distribution: the truth.
        sigma: the noise `s` of the density that judges, > 0, or a gap in the support would cost infinitely much.
    """

    label = "cross-entropy gap, nats"
    higher_is_better = None
    n: Tensor
    total: Tensor

    def __init__(self, distribution: Distribution, sigma: float = SIGMA, **kwargs: Any):
        super().__init__(distribution, **kwargs)
        self.sigma = sigma
        self._truth, _ = _law(distribution, sigma)
        self.add_state("n", torch.zeros((), dtype=torch.int64), "sum")
        self.add_state("total", torch.zeros((), dtype=torch.float64), "sum")

    @classmethod
    def known_floor(cls, distribution: Distribution, n: int) -> tuple[float, float]:
        """A mean of `n` independent values: 0, and `sqrt(Var_p[log p_s(x)] / n)`, by evenly spread points."""
        _, sd = _law(distribution, SIGMA)
        return 0.0, sd / math.sqrt(n)

    def _add(self, x: Tensor) -> None:
        self.total += (self.distribution.log_prob(x, self.sigma).double() - self._truth).sum()
        self.n += len(x)

    def compute(self) -> Tensor:
        """The gap; nan before the first sample."""
        return self.total.double() / self.n
