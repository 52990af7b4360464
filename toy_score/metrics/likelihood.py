r"""The likelihood of held-out points, beside what the truth itself would get.

The negative log-likelihood `-E log q` is at least the entropy, and exceeds it by the Kullback-Leibler divergence of the
model from the truth. Averaged over points, both scatter by about one nat a point; the gap to the exact density at the
very same points, `E[log p - log q]`, hardly does.
"""

import math

import torch
from torch import Tensor

from toy_score.denoisers import ExactDenoiser
from toy_score.likelihood import ProbabilityFlow
from toy_score.metrics.base import ExactMetric

__all__ = ["Likelihood"]

ROUND_TRIPS = 1000


class Likelihood(ExactMetric):
    """Mean negative log-likelihood of held-out points under a model's probability flow, in nats.

    Args:
        truth: the exact denoiser; its density is taken at the schedule's lowest noise level, as the model's is.
    """

    higher_is_better = False
    sums: Tensor
    failed: Tensor

    def __init__(self, truth: ExactDenoiser):
        super().__init__()
        self._distribution, self._sigma = truth.distribution, truth.schedule.ratios[0]
        self.add_state("sums", torch.zeros(7, dtype=torch.float64), "sum")
        self.add_state("failed", torch.zeros((), dtype=torch.int64), "sum")

    def update(self, flow: ProbabilityFlow, x: Tensor) -> None:
        """Add points `(n, 2)`; those whose flow could not be followed are counted apart."""
        log_q, log_p = flow.log_prob(x).double(), self._distribution.log_prob(x, self._sigma).double()
        there = log_q.isfinite()
        nll, gap = -log_q[there], (log_p - log_q)[there]
        trips = x[: max(ROUND_TRIPS - int(self.sums[5]), 0)]
        distance = (flow.decode(flow.encode(trips)) - trips).norm(dim=1).double()
        distance = distance[distance.isfinite()]
        sums = [len(nll), nll.sum(), nll.square().sum(), gap.sum(), gap.square().sum(), len(trips), distance.sum()]
        self.sums += torch.stack([torch.as_tensor(v, dtype=torch.float64, device=x.device) for v in sums])
        self.failed += (~there).sum()

    def compute(self) -> Tensor:
        """The mean negative log-likelihood; nan before the first point."""
        return self.sums[1] / self.sums[0]

    def summary(self) -> dict[str, float]:
        """All figures by name: means, their standard errors, and what the truth gets."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            n, nll, nll2, gap, gap2, trips, distance = self.sums.tolist()
            failed = int(self.failed)
        return {
            "nll": nll / n,
            "nll_standard_error": math.sqrt(max(nll2 / n - (nll / n) ** 2, 0.0) / n),
            "bits_per_dimension": nll / n / (2.0 * math.log(2.0)),
            "entropy": self._distribution.entropy(),
            "gap": gap / n,
            "gap_standard_error": math.sqrt(max(gap2 / n - (gap / n) ** 2, 0.0) / n),
            "round_trip": distance / max(trips, 1.0),
            "failed": failed,
        }
