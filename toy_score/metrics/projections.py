r"""Distances between samples and the exact law, from one-dimensional projections.

On a direction `theta`, let `F` be the distribution function of the projected samples and `G` that of the truth. Then

    sliced W1       = mean_theta  int |F - G| dt,
    energy distance = 2 E|x - y| - E|x - x'| - E|y - y'| = pi mean_theta int (F - G)^2 dt,

the second because `|v| = (pi / 2) mean_theta |v . theta|` in the plane, and because the energy distance on a line is
`2 int (F - G)^2` (Szekely & Rizzo 2013). Both integrals are sums over one histogram per direction: the memory does not
grow with the samples, and histograms of several processes add up.
"""

import math

import torch
from torch import Tensor

from toy_score.distributions import Distribution
from toy_score.metrics.base import ExactMetric

__all__ = ["EnergyDistance", "SlicedWasserstein"]


class _Projections(ExactMetric):
    """Histograms of the samples on evenly spaced directions, beside those of the exact law.

    `update(x)` takes samples `(n, 2)`; rows that are not finite are left out, and counted by `NonFinite`.

    Args:
        distribution: the truth; `distribution.reference()` stands for it.
        n_directions: evenly spaced on [0, pi); for periodic integrands no other choice is as good.
        n_bins: the window `[-w, w]`, `w` twice the bounds of the distribution, is cut into so many bins.
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    counts: Tensor
    excess: Tensor

    def __init__(self, distribution: Distribution, n_directions: int = 64, n_bins: int = 4096):
        super().__init__()
        angles = torch.arange(n_directions, dtype=torch.float64) * (math.pi / n_directions)
        self._directions = torch.stack([angles.cos(), angles.sin()])  # plain attributes: never cast by `.to(dtype)`
        self.n_bins, self.half_width = n_bins, 2.0 * distribution.bounds
        counts, _ = self._histogram(distribution.reference())
        self._reference = (counts / counts.sum(dim=1, keepdim=True)).cumsum(dim=1)  # G at the upper edge of each bin
        self.add_state("counts", torch.zeros(n_directions, n_bins, dtype=torch.int64), "sum")
        self.add_state("excess", torch.zeros(n_directions, dtype=torch.float64), "sum")

    def update(self, x: Tensor) -> None:
        """Add samples `(n, 2)`."""
        counts, excess = self._histogram(x)
        self.counts += counts
        self.excess += excess.to(self.excess.dtype)

    def _histogram(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Counts `(K, bins)`, points beyond the window in its last bins; how far beyond they are, summed, `(K,)`."""
        x = x.detach().double()
        y = x[x.isfinite().all(dim=1)] @ self._directions.to(x.device)  # [n, K]
        bins = ((y + self.half_width) * (self.n_bins / (2.0 * self.half_width))).long().clamp_(0, self.n_bins - 1)
        bins += torch.arange(y.shape[1], device=y.device) * self.n_bins
        counts = torch.bincount(bins.flatten(), minlength=y.shape[1] * self.n_bins).view(y.shape[1], self.n_bins)
        return counts, (y.abs() - self.half_width).clamp(min=0).sum(dim=0)

    def _functions(self) -> tuple[Tensor, Tensor, Tensor, float]:
        """`F`, `G` at the bins' edges, `(K, bins)` float64, the number of samples, and the width of a bin."""
        n = self.counts[0].sum().double()
        F = self.counts.double().cumsum(dim=1) / n
        return F, self._reference.to(F.device), n, 2.0 * self.half_width / self.n_bins


class SlicedWasserstein(_Projections):
    """Sliced Wasserstein-1 distance to the exact law, in units of length; biased upwards by about `1.3 / sqrt(n)`.

    Returns a scalar, nan before the first sample. Samples beyond the window count with their distance.
    """

    def compute(self) -> Tensor:
        """The distance."""
        F, G, n, width = self._functions()
        return ((F - G).abs().sum(dim=1) * width + self.excess.double() / n).mean()


class EnergyDistance(_Projections):
    """Energy distance to the exact law, the unbiased estimate: around zero for perfect samples, at times below.

    The distance between the empirical law and the truth exceeds it by `pi mean_theta int F (1 - F) / (n - 1)` on
    average, which is subtracted. Returns a scalar, nan before the second sample.
    """

    plot_lower_bound = None

    def compute(self) -> Tensor:
        """The distance."""
        F, G, n, width = self._functions()
        bias = F * (1.0 - F) / (n - 1.0)
        return math.pi * ((F - G).square() - bias).sum(dim=1).mean() * width
