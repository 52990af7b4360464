r"""Distances between samples and the exact law, from one-dimensional projections.

On a direction `theta`, let `F` be the distribution function of the projected samples and `G` that of the truth. Then

    sliced W1       = mean_theta  int |F - G| dt,
    energy distance = 2 E|x - y| - E|x - x'| - E|y - y'| = pi mean_theta int (F - G)^2 dt,

the second because `|v| = (pi / 2) mean_theta |v . theta|` in the plane, and because the energy distance on a line is
`2 int (F - G)^2` (Szekely & Rizzo 2013). Both integrals are sums over one histogram per direction: the memory does not
grow with the samples, and histograms of several processes add up. What lies beyond the histogram's window is counted on
its side with its distance: the cell there is as wide as its mean distance from the window.
"""

import math
from typing import Any

import torch
from torch import Tensor

from toy_score.distributions import Distribution
from toy_score.metrics.base import SampleMetric

__all__ = ["EnergyDistance", "SlicedWasserstein"]

ROWS_AT_ONCE = 2048  # the projections of so many rows stay in the cache, twice as fast as all at once


class _Projections(SampleMetric):
    """Histograms of the samples on evenly spaced directions, beside those of the exact law.

    Args:
        distribution: the truth; `distribution.reference()` stands for it.
        n_directions: evenly spaced on [0, pi); for periodic integrands no other choice is as good.
        n_bins: the window `[-w, w]`, `w` twice the bounds of the distribution, is cut into so many bins.
    """

    plot_lower_bound: float | None = 0.0
    counts: Tensor
    excess: Tensor

    def __init__(self, distribution: Distribution, n_directions: int = 64, n_bins: int = 4096, **kwargs: Any):
        super().__init__(distribution, **kwargs)
        angles = torch.arange(n_directions, dtype=torch.float64) * (math.pi / n_directions)
        self._directions = torch.stack([angles.cos(), angles.sin()])  # plain attributes: never cast by `.to(dtype)`
        self.n_bins, self.half_width = n_bins, 2.0 * distribution.bounds
        counts, _ = self._histogram(distribution.reference())
        self._reference = counts[:, :-1].cumsum(dim=1) / counts[:1].sum()  # G at the edges of the bins
        self.add_state("counts", torch.zeros(n_directions, n_bins + 2, dtype=torch.int64), "sum")
        self.add_state("excess", torch.zeros(n_directions, 2, dtype=torch.float64), "sum")

    def _add(self, x: Tensor) -> None:
        counts, excess = self._histogram(x)
        self.counts += counts
        self.excess += excess.to(self.excess.dtype)

    def _histogram(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Counts `(K, bins + 2)`, the outer two beyond the window; how far beyond, summed, `(K, 2)`."""
        x = x.double()
        K, cells, w = self._directions.shape[1], self.n_bins + 2, self.half_width
        directions = self._directions.to(x.device).T
        first = torch.arange(K, device=x.device)[:, None] * cells
        counts = torch.zeros(K * cells, dtype=torch.int64, device=x.device)
        excess = torch.zeros(K, 2, dtype=torch.float64, device=x.device)
        for rows in x.split(ROWS_AT_ONCE):
            y = directions @ rows.T  # [K, rows]
            bins = ((y + w) * (self.n_bins / (2.0 * w))).floor().clamp_(-1, self.n_bins)  # before .long() can overflow
            counts += torch.bincount((bins.long() + 1 + first).flatten(), minlength=K * cells)
            excess += torch.stack([(-w - y).clamp_(min=0).sum(dim=1), (y - w).clamp_(min=0).sum(dim=1)], dim=1)
        return counts.view(K, cells), excess

    def _functions(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`F`, `G` at the edges of the bins, `(K, bins + 1)` float64, the widths `dt` there, the number of samples."""
        n = self.counts[0].sum().double()
        F = self.counts[:, :-1].cumsum(dim=1) / n
        dt = torch.full_like(F, 2.0 * self.half_width / self.n_bins)
        dt[:, 0] /= 2.0
        dt[:, -1] /= 2.0
        dt[:, [0, -1]] += self.excess.double() / self.counts[:, [0, -1]].clamp(min=1)
        return F, self._reference.to(F.device), dt, n


class SlicedWasserstein(_Projections):
    """Sliced Wasserstein-1 distance to the exact law, in units of length; biased upwards by about `c / sqrt(n)`.

    A scalar, >= 0; `c` is a length, 1.2 for the heart, 28 for forty Gaussians on [-40, 40]. Samples beyond the window
    count with their distance. Sees wrong mode weights, shifts and scales;
    blind to a little mass in a gap, to blur and to rare outliers.
    """

    label = "sliced W1"

    def compute(self) -> Tensor:
        """The distance."""
        F, G, dt, _ = self._functions()
        return ((F - G).abs() * dt).sum(dim=1).mean()

    def expected(self, n: int) -> Tensor:
        """The mean distance of draws of `n` samples with the law of the `N` samples seen: one draw scatters much.

        In a draw of `n`, `F_n - G` is close to normal with the variance `F (1 - F) / n`. The `N` samples know its mean
        up to the variance `F (1 - F) / N`. So `E|N(F - G, v)|` with the rest, `v = F (1 - F) (1 / n - 1 / N)`, has the
        wanted mean. It scatters by about `sqrt(n / N)` of what a draw of `n` does, and less near the truth.

        Raises:
            ValueError: unless `1 <= n <= N`.
        """
        F, G, dt, N = self._functions()
        if not 1 <= n <= N:
            raise ValueError(f"n must be from 1 to the {int(N)} samples seen, got {n}; update with more")
        sd = (F * (1.0 - F) * (1.0 / n - 1.0 / N)).clamp(min=0.0).sqrt()
        return (_mean_size(F - G, sd) * dt).sum(dim=1).mean()

    def noise_floor(self, n: int) -> Tensor:
        """The mean distance of `n` exact samples, `sqrt(2 / (pi n)) mean_theta int sqrt(G (1 - G)) dt`."""
        G, dt = self._reference.to(self.counts.device), 2.0 * self.half_width / self.n_bins
        return math.sqrt(2.0 / (math.pi * n)) * dt * (G * (1.0 - G)).clamp(min=0.0).sqrt().sum(dim=1).mean()


def _mean_size(mean: Tensor, sd: Tensor) -> Tensor:
    """`E|N(mean, sd^2)|`."""
    z = mean / sd.clamp(min=1e-300)
    return sd * math.sqrt(2.0 / math.pi) * torch.exp(-0.5 * z.square()) + mean * torch.erf(z / math.sqrt(2.0))


class EnergyDistance(_Projections):
    """Energy distance to the exact law, the unbiased estimate: around zero for exact samples, at times below.

    The distance between the empirical law and the truth exceeds it by `pi mean_theta int F (1 - F) / (n - 1)` on
    average, which is subtracted. A scalar, nan before the second sample. Where samples are beyond the window it is an
    upper bound: all are counted there as far out as they are on average. Sees and is blind to what sliced W1 is, and is
    the more powerful for wrong mode weights.
    """

    label = "energy distance"

    plot_lower_bound = None

    def compute(self) -> Tensor:
        """The distance."""
        F, G, dt, n = self._functions()
        bias = F * (1.0 - F) / (n - 1.0)
        return math.pi * (((F - G).square() - bias) * dt).sum(dim=1).mean()
