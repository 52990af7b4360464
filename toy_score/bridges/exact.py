r"""The exact flow between two distributions whose points are paired independently.

One end must be a mixture of round Gaussians, the other may be any distribution of the zoo. If it is the source,
`x_1 = m_l + s_l eps` with probability `w_l`, then

    x_t = (1 - t) x_0 + t m_l + t s_l eps:    y_l = (x - t m_l) / (1 - t)  is data with noise  r_l = t s_l / (1 - t),

about which the data's own oracle knows everything: with the weights `pi_l`, the softmax over l of
`log w_l + log p_{r_l}(y_l)`,

    E[x_0 | x] = sum_l pi_l D(y_l, r_l),    E[x_1 | x] = sum_l pi_l (m_l - s_l r_l score_{r_l}(y_l)).

If it is the data, the two ends change places. No difference of large numbers appears.
"""

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from toy_score.bridges.base import KnownBridge
from toy_score.component import Component
from toy_score.denoisers import At
from toy_score.distributions import Distribution
from toy_score.distributions.mixtures import Gaussians
from toy_score.schedules import LinearFlow

__all__ = ["ExactBridge", "RoundParts", "round_parts"]


@dataclass(frozen=True, eq=False)
class RoundParts:
    """The components of a mixture of round Gaussians: means, `(K, 2)`, standard deviations and weights, `(K,)`."""

    means: Tensor
    stds: Tensor
    weights: Tensor


def round_parts(distribution: Distribution) -> RoundParts | None:
    """The components of a mixture of round Gaussians; None of another distribution."""
    if not isinstance(distribution, Gaussians):
        return None
    mu, S, w, *_ = distribution.mixture()
    variances = S[:, 0, 0].double()
    identity = torch.eye(2, dtype=torch.float64)
    if not torch.allclose(S.double(), variances[:, None, None] * identity, rtol=1e-12, atol=0.0):
        return None
    weights = torch.ones(len(mu)) if w is None else w
    return RoundParts(mu.double(), variances.sqrt(), weights.double() / weights.double().sum())


@dataclass(frozen=True)
class ExactBridge(Component, KnownBridge):
    """The exact flow between a source and data that are paired independently; the formulas are at the top of this file.

    Args:
        distribution: of the data.
        source: where the flow begins.
        schedule: the line between them.

    Raises:
        ValueError: if neither end is a mixture of round Gaussians.
    """

    distribution: Distribution
    source: Distribution
    schedule: LinearFlow = LinearFlow()
    _parts: RoundParts = field(init=False, repr=False, compare=False)
    _of_source: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ends = {of_source: round_parts(p) for of_source, p in ((True, self.source), (False, self.distribution))}
        known = {of_source: parts for of_source, parts in ends.items() if parts is not None}
        if not known:
            raise ValueError(
                f"the exact flow from {self.source!r} to {self.distribution!r} is not known: neither is a mixture of "
                "round Gaussians"
            )
        of_source = min(known, key=lambda end: len(known[end].weights))  # fewer components take less time
        self._set(_parts=known[of_source], _of_source=of_source)

    @classmethod
    def is_known(cls, distribution: Distribution, source: Distribution) -> bool:
        """Whether the exact flow between them is known."""
        return round_parts(source) is not None or round_parts(distribution) is not None

    def denoise(self, x: Tensor, t: At) -> Tensor:
        return self._ends(x, t)[0]

    def noise(self, x: Tensor, t: At) -> Tensor:
        return self._ends(x, t)[1]

    def slope(self, x: Tensor, t: At) -> Tensor:
        data, source, _ = self._ends(x, t)
        return source - data

    def score(self, x: Tensor, t: At) -> Tensor:
        return self._ends(x, t)[2]

    def sample(self, t: float, n: int, generator: Generator | None = None) -> Tensor:
        x0, x1 = self.distribution.sample(n, generator), self.source.sample(n, generator)
        return (1.0 - t) * x0 + t * x1

    def log_prob(self, x: Tensor, t: At) -> Tensor:
        """`log p_t(x)` of points `(n, 2)`, in nats, `(n,)`."""
        return self._mixed(x.double(), t)[0].logsumexp(dim=0).to(x.dtype)

    def _ends(self, x: Tensor, t: At) -> tuple[Tensor, Tensor, Tensor]:
        """`E[x_0 | x]`, `E[x_1 | x]` and the score of `p_t`, `(n, 2)` each."""
        log_q, y, r, a = self._mixed(x.double(), t)
        whole = self.distribution if self._of_source else self.source
        pi = log_q.softmax(dim=0)[:, :, None]  # [K, n, 1]
        K, n = log_q.shape
        flat, levels = y.flatten(0, 1), r.flatten(0, 1)
        score = whole.score(flat, levels).view(K, n, 2)
        of_whole = (pi * whole.denoise(flat, levels).view(K, n, 2)).sum(dim=0)
        means, stds = self._parts.means.to(x.device)[:, None], self._parts.stds.to(x.device)[:, None, None]
        of_parts = (pi * (means - stds * r * score)).sum(dim=0)
        ends = (of_whole, of_parts) if self._of_source else (of_parts, of_whole)
        return ends[0].to(x.dtype), ends[1].to(x.dtype), ((pi * score).sum(dim=0) / a).to(x.dtype)

    def _mixed(self, x: Tensor, t: At) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of each component: its log density at `x`, `(K, n)`, the points `y`, `(K, n, 2)`, and their noise levels `r`,
        `(K, n, 1)`; and the factor of the other end, `(n, 1)` or `(1, 1)`."""
        level = self._level(x, t)
        a, b = (level.alpha, level.sigma) if self._of_source else (level.sigma, level.alpha)
        means, stds, weights = (v.to(x.device) for v in (self._parts.means, self._parts.stds, self._parts.weights))
        y = (x - b * means[:, None]) / a
        r = (b / a * stds[:, None, None]).expand(*y.shape[:2], 1)
        whole = self.distribution if self._of_source else self.source
        log_p = whole.log_prob(y.flatten(0, 1), r.flatten(0, 1)).view(y.shape[:2])
        return weights.log()[:, None] + log_p - 2.0 * a.log().T, y, r, a
