r"""A one-sample test in the space where the truth is a standard normal.

Some distributions are maps of a standard normal `z` (the heart, the split normal), and a mixture of Gaussians becomes
one by its conditional distribution functions (Rosenblatt 1952). For exact samples, `z = distribution.pull(x)` then
has four coordinates that are uniform on [0, 1],

    Phi(z_0),    Phi(z_1),    1 - exp(-|z|^2 / 2),    angle(z) / 2 pi,

and the Kolmogorov-Smirnov statistic of each, `D = sup_u |F_n(u) - u|`, follows Kolmogorov's law: with
`t = D (sqrt n + 0.12 + 0.11 / sqrt n)` (Stephens 1970),

    P(D or more) = 2 sum_k (-1)^(k-1) exp(-2 k^2 t^2).

The least of the four p-values, times four (Bonferroni), is the p-value of the test: exact by law, with nothing to tune
and no reference points. `F_n` comes from a histogram of u, so the memory does not grow with the samples.
"""

import math
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from toy_score.distributions import Distribution
from toy_score.metrics.base import SampleMetric
from toy_score.seeds import seed_of

__all__ = ["GaussianisedTest", "kolmogorov"]

N_BINS = 4096
N_DRAWN, DRAWS = 4096, 1024  # points and sets of points, for a floor


@runtime_checkable
class Gaussianised(Protocol):
    """A distribution with a map to the standard normal."""

    def pull(self, x: Tensor) -> Tensor:
        """The `z` of points `x`, `(n, 2)` both: of law `N(0, I)` if `x` is of the distribution."""


class GaussianisedTest(SampleMetric):
    """The largest of the four Kolmogorov-Smirnov statistics, a scalar in [0, 1]; about `1.1 / sqrt(n)` at its floor.

    Sees wrong scales, shifts and mode weights; blind to a little mass in a gap, to blur and to rare outliers.

    Args:
        distribution: the truth; it must have `pull`.
        n_bins: cells of the histogram on [0, 1]; `D` is taken at their edges, so it is at most a bin's mass too small.

    Raises:
        TypeError: if the distribution has no `pull`.
    """

    label = "Gaussianised KS"
    plot_lower_bound = 0.0
    coordinates = ("z0", "z1", "radius", "angle")
    counts: Tensor

    def __init__(self, distribution: Distribution, n_bins: int = N_BINS, **kwargs: Any):
        super().__init__(distribution, **kwargs)
        if not isinstance(distribution, Gaussianised):
            raise TypeError(f"GaussianisedTest needs a distribution with `pull`, got {distribution!r}")
        self._map: Gaussianised = distribution
        self.n_bins = n_bins
        self.add_state("counts", torch.zeros(len(self.coordinates), n_bins, dtype=torch.int64), "sum")

    @classmethod
    def applies_to(cls, distribution: Distribution) -> bool:
        return isinstance(distribution, Gaussianised)

    @classmethod
    def known_floor(cls, distribution: Distribution, n: int) -> tuple[float, float]:
        """By standard normal `z`, which is what exact samples become, whatever the distribution.

        Of at most 4096 of them: with Stephens' factor of `n`, see above, the law is that of any number.
        """
        m, values = min(n, N_DRAWN), torch.empty(DRAWS, dtype=torch.float64)
        generator = torch.Generator().manual_seed(seed_of("noise floor"))
        for draw in range(DRAWS):
            z = torch.randn(m, 2, generator=generator, dtype=torch.float64)
            values[draw] = _deviations(_histograms(z, N_BINS)).abs().max()
        values *= _stephens(m) / _stephens(n)
        return values.mean().item(), values.std().item()

    def _add(self, x: Tensor) -> None:
        self.counts += _histograms(self._map.pull(x.double()), self.n_bins)

    def deviations(self) -> Tensor:
        """`F_n(u) - u` at the edges of the bins, `(4, n_bins)`."""
        return _deviations(self.counts)

    def statistics(self) -> Tensor:
        """The statistic `D` of each coordinate, `(4,)`."""
        return self.deviations().abs().amax(dim=1)

    def compute(self) -> Tensor:
        """The largest of them."""
        return self.statistics().max()

    def p_value(self) -> float:
        """Probability that exact samples deviate so much in any of the four coordinates."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):  # as `compute` does: over all processes
            return self.p_value_of(self.statistics().max().item(), int(self.counts[0].sum()))

    @classmethod
    def p_value_of(cls, statistic: float, n: int) -> float:
        """The p-value of the largest statistic of `n` samples."""
        return min(len(cls.coordinates) * kolmogorov(statistic, n), 1.0)


def _histograms(z: Tensor, n_bins: int) -> Tensor:
    """Histograms of the four coordinates of Gaussianised points, `(4, n_bins)` integers."""
    radius = -torch.expm1(-0.5 * z.square().sum(dim=1))
    angle = torch.atan2(z[:, 1], z[:, 0]) / (2.0 * math.pi) % 1.0
    u = torch.stack([*torch.special.ndtr(z).T, radius, angle])  # [4, n]
    first = torch.arange(len(u), device=u.device)[:, None] * n_bins
    bins = (u * n_bins).long().clamp_(0, n_bins - 1) + first
    return torch.bincount(bins.flatten(), minlength=len(u) * n_bins).view(len(u), n_bins)


def _deviations(counts: Tensor) -> Tensor:
    """`F_n(u) - u` at the edges of the bins, `(4, n_bins)`."""
    edges = torch.arange(1, counts.shape[1] + 1, dtype=torch.float64, device=counts.device) / counts.shape[1]
    return counts.cumsum(dim=1) / counts[0].sum().double() - edges


def _stephens(n: int) -> float:
    return math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n)


def kolmogorov(statistic: float, n: int) -> float:
    """Probability that the Kolmogorov-Smirnov statistic of `n` uniform numbers is at least that; nan for none."""
    if n == 0 or math.isnan(statistic):
        return math.nan
    t = statistic * _stephens(n)
    if t < 0.2:  # the probability is within 1e-12 of 1, and the series slow
        return 1.0
    return min(2.0 * sum((-1) ** (k - 1) * math.exp(-2.0 * (k * t) ** 2) for k in range(1, 101)), 1.0)
