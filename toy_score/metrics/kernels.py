r"""Distances by kernels: the maximum mean discrepancy, and Stein's.

**MMD** (Gretton et al. 2012) with a Gaussian kernel `k(x, y) = exp(-|x - y|^2 / 2 s^2)`. Noise of level `s` is the same
Gaussian, so the truth enters in closed form, without any reference points:

    E_y k(x, y) = 2 pi s^2 p_s(x),        E_y,y' k(y, y') = 2 pi s^2 int p_{s / sqrt 2}(y)^2 dy,
    MMD^2 = mean_{i != j} k(x_i, x_j) - 2 mean_i 2 pi s^2 p_s(x_i) + 2 pi s^2 int p_{s / sqrt 2}^2.

The pairs of samples need no pairs either. On a period `L`, longer than the data by what the kernel reaches, the kernel
is a Fourier series, and factorises over the axes; with `theta = 2 pi x / L`,

    exp(-(x - y)^2 / 2 s^2) = sum_m l_m [cos(m theta_x) cos(m theta_y) + sin(m theta_x) sin(m theta_y)],
    l_0 = sqrt(2 pi) s / L,    l_m = 2 l_0 exp(-(2 pi m s / L)^2 / 2).

So the sum over all pairs is `sum_ab l_a l_b F_ab^2`, where `F_ab` sums over the samples the product of the a-th
function of `x_0` and the b-th of `x_1`. `F` is the only state of the pairs: it adds up over pieces and processes, does
not grow with the samples, and makes the cost linear in them. All bandwidths share it.

**Kernel Stein discrepancy** (Liu et al. 2016; Chwialkowski et al. 2016) needs nothing but the score `s` of the truth:

    KSD^2 = mean_{i != j} u(x_i, x_j),
    u(x, y) = s(x).s(y) k + s(x).grad_y k + s(y).grad_x k + tr grad_x grad_y k,

here with the inverse multiquadric `k = (1 + |x - y|^2)^(-1/2)` (Gorham & Mackey 2017).
"""

import math
from typing import Any

import torch
from torch import Tensor

from toy_score.checks import check_positive
from toy_score.distributions import Distribution
from toy_score.metrics.base import FirstPoints, SampleMetric

__all__ = ["MMD", "KernelSteinDiscrepancy"]

ROWS_AT_ONCE = 4096
REACH = 6.0  # bandwidths: beyond, a Gaussian is below 2e-8, and so is its spectrum


class MMD(SampleMetric):
    """Squared maximum mean discrepancy to the exact law, the unbiased estimate: around zero for exact samples.

    A scalar in [-1/(n-1), 2], nan before the second sample; the mean over the bandwidths. Sees wrong weights, shifts
    and scales; blind to a little mass in a gap, to blur below the bandwidths and to rare outliers.

    Args:
        distribution: the truth.
        bandwidths: `s` of the kernels, in multiples of `distribution.bounds`, > 0: fixed for a distribution, since the
            customary median of the distances would let the samples choose how they are judged.
    """

    label = "MMD^2"
    total: Tensor
    products: Tensor
    n: Tensor

    def __init__(self, distribution: Distribution, bandwidths: tuple[float, ...] = (0.125, 0.25, 0.5), **kwargs: Any):
        super().__init__(distribution, **kwargs)
        self.bandwidths = bandwidths
        self._s = [b * distribution.bounds for b in bandwidths]
        self.half_width = 3.0 * distribution.bounds
        self._period = 2.0 * self.half_width + REACH * max(self._s)
        self._n_waves = math.ceil(REACH * self._period / (2.0 * math.pi * min(self._s)))
        products = (torch.outer(v, v) for v in map(self._spectrum, self._s))
        self._weights = sum(products, start=torch.zeros(())) / len(self._s)
        self._truth = sum(self._self_term(s) for s in self._s) / len(self._s)
        size = 2 * self._n_waves + 1
        self.add_state("products", torch.zeros(size, size, dtype=torch.float64), "sum")
        self.add_state("total", torch.zeros((), dtype=torch.float64), "sum")
        self.add_state("n", torch.zeros((), dtype=torch.int64), "sum")

    def _add(self, x: Tensor) -> None:
        # Samples beyond the window, which is three times as wide as the data, are taken to be far from one another too.
        within = x.abs().amax(dim=1) <= self.half_width
        for rows in x[within].split(ROWS_AT_ONCE):
            theta = rows.double() * (2.0 * math.pi / self._period)
            self.products += self._waves(theta[:, 0]) @ self._waves(theta[:, 1]).T
        for s in self._s:
            embedding = 2.0 * math.pi * s**2 * self.distribution.log_prob(x, s).double().exp()
            self.total += embedding.sum() / len(self._s)
        self.n += len(x)

    def compute(self) -> Tensor:
        """The squared discrepancy."""
        n, weights = self.n.double(), self._weights.to(self.device)
        # Of each sample within the window with itself: cos^2 + sin^2 = 1, wave by wave. Wave (0, 0) counts them.
        itself = weights[: self._n_waves + 1, : self._n_waves + 1].sum() * self.products[0, 0]
        pairs = ((weights * self.products.square()).sum() - itself) / (n * (n - 1.0))
        return pairs - 2.0 * self.total / n + self._truth

    def _waves(self, theta: Tensor) -> Tensor:
        """`1, cos(theta), ..., cos(M theta), sin(theta), ..., sin(M theta)`, `(2 M + 1, n)`, by angles added up."""
        powers = torch.polar(torch.ones_like(theta), theta)[None]  # exp(i m theta), m = 1, 2, 4, ... at a time
        while len(powers) < self._n_waves:
            powers = torch.cat([powers, powers * powers[-1]])
        powers = powers[: self._n_waves]
        return torch.cat([torch.ones_like(theta)[None], powers.real, powers.imag])

    def _spectrum(self, s: float) -> Tensor:
        """`l` for the waves in their order, `(2 M + 1,)`."""
        m = torch.arange(self._n_waves + 1, dtype=torch.float64)
        spectrum = (
            math.sqrt(2.0 * math.pi) * s / self._period * torch.exp(-0.5 * (2.0 * math.pi * m * s / self._period) ** 2)
        )
        spectrum[1:] *= 2.0
        return torch.cat([spectrum, spectrum[1:]])

    def _self_term(self, s: float) -> float:
        """`2 pi s^2 int p_{s / sqrt 2}^2`, by the trapezoidal rule with steps of `s / 2`, right to 1e-8."""
        reach = self.half_width + REACH * s
        side = torch.arange(-math.ceil(2.0 * reach / s), math.ceil(2.0 * reach / s) + 1, dtype=torch.float64) * (
            s / 2.0
        )
        density = self.distribution.log_prob(torch.cartesian_prod(side, side), s / math.sqrt(2.0)).exp()
        return 2.0 * math.pi * s**2 * (s / 2.0) ** 2 * density.square().sum().item()


class KernelSteinDiscrepancy(FirstPoints):
    """Squared kernel Stein discrepancy of the first `n_points` samples, the unbiased estimate; shown for its blindness.

    A scalar, nan before the second sample. It knows the truth by its score alone, and between modes that are far apart
    there are no samples at which the score could tell how much of the mass each has: it cannot see wrong mode weights,
    not even a mode that is missing (Wenliang & Kanagawa 2020). No verdict on a generative model should rest on it.

    Args:
        distribution: the truth.
        n_points: how many samples it looks at, in [2, 10000].
        sigma: noise of the score that judges, > 0, since at an edge the clean density has none. Exact samples do not
            have quite this score: their value is not zero, but its floor.

    Raises:
        ValueError: if an argument is out of range.
    """

    label = "kernel Stein discrepancy^2"

    def __init__(self, distribution: Distribution, n_points: int = 1000, sigma: float = 0.05, **kwargs: Any):
        super().__init__(distribution, n_points, **kwargs)
        check_positive("0.05 is a good choice", sigma=sigma)
        self.sigma = sigma

    def compute(self) -> Tensor:
        """The squared discrepancy."""
        x = self.kept()
        score, n = self.distribution.score(x, self.sigma), len(x)
        total = x.new_zeros(())
        for y, score_y in zip(x.split(256), score.split(256), strict=True):
            d = y[:, None, :] - x[None, :, :]  # [rows, n, 2]
            r2 = d.square().sum(dim=-1)
            g = 1.0 / (1.0 + r2)
            k, slope = g.sqrt(), g * g.sqrt()  # grad_x k = slope d,  grad_y k = -slope d
            along = ((score_y[:, None, :] - score[None, :, :]) * d).sum(dim=-1)
            total += (score_y @ score.T * k + slope * (along + 2.0 - 3.0 * r2 * g)).sum()
        total -= (score.square().sum(dim=1) + 2.0).sum()  # each sample with itself
        return total / (n * (n - 1.0)) if n > 1 else total.new_tensor(torch.nan)
