r"""The likelihood of held-out points, and the forward Kullback-Leibler divergence.

The negative log-likelihood `-E_p log q` is at least the entropy, and exceeds it by the forward KL

    KL(p || q) = E_p[log p(x) - log q(x)].

Averaged over points, both parts scatter by about one nat a point; their difference at the very same points hardly does:
by `sqrt(2 KL / n)`. Its floor is what the exact denoiser gets by the same flow, from the same prior, with the same
solver, at some of the points; the blur of the schedule's lowest noise level is part of it.
"""

import math

import torch
from torch import Tensor

from toy_score.denoisers import ExactDenoiser
from toy_score.likelihood import ProbabilityFlow
from toy_score.metrics.base import ExactMetric

__all__ = ["Likelihood"]

FEW = 1000  # points that go to the latent space and back, and along the exact flow


class Likelihood(ExactMetric):
    """Mean negative log-likelihood of held-out points under a model's probability flow, in nats; `summary` has the KL.

    The forward KL sees all that the model's density lacks, modes that are missing most of all; as an estimate it may
    fall below 0 by its standard error. It is blind to what the sampler adds to the flow.

    Args:
        truth: the exact denoiser of the distribution of the points.
    """

    higher_is_better = False
    sums: Tensor
    failed: Tensor

    def __init__(self, truth: ExactDenoiser):
        super().__init__()
        self._distribution = truth.distribution
        self._exact = ProbabilityFlow(truth)
        self.add_state("sums", torch.zeros(9, dtype=torch.float64), "sum")
        self.add_state("failed", torch.zeros((), dtype=torch.int64), "sum")

    def update(self, flow: ProbabilityFlow, x: Tensor) -> None:
        """Add points `(n, 2)`; those whose flow could not be followed are counted apart."""
        log_q, log_p = flow.log_prob(x).double(), self._distribution.log_prob(x).double()
        there = log_q.isfinite()
        nll, gap = -log_q[there], (log_p - log_q)[there]
        few = max(FEW - int(self.sums[5]), 0)
        sums = [len(nll), nll.sum(), nll.square().sum(), gap.sum(), gap.square().sum()]
        if few > 0:
            distance = (flow.decode(flow.encode(x[:few])) - x[:few]).norm(dim=1).double()
            floor = log_p[:few] - self._exact.log_prob(x[:few]).double()
            back = distance.isfinite() & floor.isfinite()
            distance, floor = distance[back], floor[back]
            sums += [len(distance), distance.sum(), floor.sum(), floor.square().sum()]
        sums += [0.0] * (len(self.sums) - len(sums))
        self.sums += torch.stack([torch.as_tensor(v, dtype=torch.float64, device=x.device) for v in sums])
        self.failed += (~there).sum()

    def compute(self) -> Tensor:
        """The mean negative log-likelihood; nan before the first point."""
        return self.sums[1] / self.sums[0]

    def summary(self) -> dict[str, float]:
        """All figures by name: means, their standard errors, and what the truth gets."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            n, nll, nll2, gap, gap2, few, distance, floor, floor2 = self.sums.tolist()
            failed = int(self.failed)
        n, few = n or math.nan, few or math.nan  # the mean over no points is not a number
        return {
            "nll": nll / n,
            "nll_standard_error": math.sqrt(max(nll2 / n - (nll / n) ** 2, 0.0) / n),
            "bits_per_dimension": nll / n / (2.0 * math.log(2.0)),
            "entropy": self._distribution.entropy(),
            "forward_kl": gap / n,
            "forward_kl_standard_error": math.sqrt(max(gap2 / n - (gap / n) ** 2, 0.0) / n),
            "forward_kl_floor": floor / few,
            "forward_kl_floor_standard_error": math.sqrt(max(floor2 / few - (floor / few) ** 2, 0.0) / few),
            "round_trip": distance / few,
            "failed": failed,
        }
