r"""The posterior of any distribution, at every noise level, by integrals over lines.

In the coordinates `u = Q'x` of an observation (see `observations`), noise of level `sigma` and the observation together
say that `u_i` has the mean and the variance

    m_i = (u_i + sigma^2 l_i e_i) / (1 + sigma^2 l_i),      C_i = sigma^2 / (1 + sigma^2 l_i).

So `p_sigma(x | y)` is `p` under the noise `N(0, C)`, at the point `m`, times a Gaussian in `u`. This noise is round
noise of level `c = sqrt(C_1)`, which `p` knows, and noise of variance `t^2 = C_2 - C_1` along the axis `q_2` alone:

    p_sigma(x | y) = const. prod_i (1 + sigma^2 l_i)^(-1/2) exp(-l_i (u_i - e_i)^2 / (2 + 2 sigma^2 l_i))
                     int p_c(m + r q_2) N(r; 0, t^2) dr,

and the posterior mean is the same average of `D_c(m + r q_2)`. The integrand is a sum of Gaussians no narrower than
`c t / sqrt(C_2)`. With nodes at that distance the trapezoidal rule has the relative error `2 exp(-2 pi^2) = 5e-9`, in
the density as in the mean: the tests find both within 1e-6 of brute force. A grid over the plane would cost hundreds
of times as much, and be coarse at low noise.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from toy_score.distributions.base import Distribution, by_rows, column, positive, wide
from toy_score.distributions.observations import LinearObservation
from toy_score.distributions.tails import LOG_2PI

__all__ = ["ExactPosterior", "class_weights", "entropy", "shares"]

SPREAD = 9.0  # standard deviations of a Gaussian beyond which it is left out: a share of 1e-18
CHUNK = 1 << 15  # nodes of lines at a time
SMALLEST_SHARE = 1e-300
LEAST_ACCEPTED = 1e-6  # share of the prior's samples: below it 20 000 exact samples would take hours
PROPOSALS, STRIPS = 1 << 20, 1 << 10


@dataclass(frozen=True, repr=False)
class ExactPosterior(Distribution):
    """A distribution after an observation, with the bounds and the classes of the distribution before it.

    Args:
        prior: the distribution.
        observation: of its points.
    """

    prior: Any
    observation: LinearObservation

    def __post_init__(self) -> None:
        getattr(super(), "__post_init__", tuple)()  # of the second base, if there is one
        self._set(bounds=self.prior.bounds, name=f"{self.prior.name}_posterior", n_labels=self.prior.n_labels)

    def __repr__(self) -> str:
        return f"{self.prior!r}.posterior({self.observation!r})"

    def _conditioned_on(self, label: int) -> Distribution:
        return self.prior.conditioned_on(label).posterior(self.observation)

    def invalid(self, x: Tensor) -> Tensor:
        """Points where the prior's density is zero: `(n,)` booleans."""
        return self.prior.invalid(x)


class _LinePosterior(ExactPosterior):
    """Of any distribution, by integrals over lines; the formulas are at the top of this file.

    Exact samples are those of the prior that the likelihood accepts. The formulas hold for points within nine standard
    deviations of the noisy support. The entropy is accurate to 0.02 nats.

    Raises:
        ValueError: when samples are drawn, if less than one in a million of the prior's is accepted.
    """

    _log_evidence: float

    def __post_init__(self) -> None:
        super().__post_init__()
        log_Z = _log_evidence(self.prior, self.observation)
        self._set(_log_evidence=log_Z, mode_weights=class_weights(self.prior, self.observation))

    def modes(self, x: Tensor) -> Tensor:
        return self.prior.modes(x)

    def log_prob(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        def log_p(line: _Line) -> Tensor:
            return line.log_factor + line.log_q.logsumexp(dim=1) - self._log_evidence

        return self._by_rows(log_p, x, sigma)

    def score(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self._by_rows(_Line.score, x, sigma)

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self._by_rows(lambda line: line.mean(self.prior.denoise), x, sigma)

    def _by_rows(self, function: Callable[["_Line"], Tensor], x: Tensor, sigma: float | Tensor) -> Tensor:
        p, observation, y = self.prior, self.observation, wide(x)
        levels = column(sigma, y)
        rows = CHUNK // _most_nodes(p, observation, levels)
        return by_rows(lambda z, s: function(_Line(p, observation, z, s)), y, levels, rows).to(x.dtype)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return self.sample_labelled(n, generator)[0]

    def sample_labelled(self, n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        accepted = math.exp(self._log_evidence)
        if accepted < LEAST_ACCEPTED:
            raise ValueError(
                f"{self.observation!r} fits {accepted:.1g} of the samples of {self.prior!r}, too few to draw exact "
                "ones by rejection; raise its std or choose a likelier value"
            )
        points, labels, missing = [], [], n
        while missing > 0:
            m = min(math.ceil(1.1 * missing / accepted) + 64, PROPOSALS)
            x, k = self.prior.sample_labelled(m, generator)
            u = torch.rand(m, generator=generator, device=x.device, dtype=torch.float64)
            keep = (u.log() < _log_factor(self.observation, x.double())).nonzero()[:missing, 0]
            points.append(x[keep])
            labels.append(k[keep])
            missing -= len(keep)
        return torch.cat(points), torch.cat(labels)

    def reference(self, n: int = 65_536) -> Tensor:
        """Evenly spread points of the prior, thinned by the likelihood; samples where few would be left."""
        x = _along_a_curve(self.prior.reference(PROPOSALS))
        w = _log_factor(self.observation, x).exp()
        if w.sum().square() < n * w.square().sum():  # so many of them count, effectively
            return super().reference(n)
        edges = w.cumsum(dim=0) / w.sum()
        return x[torch.searchsorted(edges, (torch.arange(n, dtype=torch.float64) + 0.5) / n)]

    def entropy(self) -> float:
        return entropy(self)


class _Line:
    """The nodes on the line through each point, and the terms of the integral.

    `x` is `(n, 2)`, `sigma` `(n, 1)` or `(1, 1)`, both float64. The nodes are `z`, `(n, K, 2)`, at the noise level `c`,
    `(n, 1)`; `log_q`, `(n, K)`, are the logarithms of the terms, without `log_factor`, `(n,)`.
    """

    def __init__(self, p: Distribution, observation: LinearObservation, x: Tensor, sigma: Tensor):
        Q, precisions, e = observation.axes(x.device)
        self.p, self.Q = p, Q
        v = positive(sigma).square()
        self.shrink = shrink = 1.0 / (1.0 + v * precisions)  # dm / du, (n, 2)
        u = x @ Q
        m, C = shrink * (u + v * precisions * e), shrink * v
        self.slope = -shrink * precisions * (u - e)  # of `log_factor` in u
        self.log_factor = 0.5 * (shrink.log() + self.slope * (u - e)).sum(dim=-1)
        self.c, both = C.sqrt().split(1, dim=1)
        self.t = (precisions[0] - precisions[1]).sqrt() * self.c * both
        is_round = bool(precisions[0] == precisions[1])
        along, self.r, log_w = _nodes(_reach(p), m[:, 1:], self.c, self.t, both, is_round)
        self.z = (m[:, :1] * Q[:, 0])[:, None] + along[:, :, None] * Q[:, 1]
        self.levels = torch.where(sigma > 0, self.c, 0.0).expand(len(x), 1).repeat_interleave(along.shape[1], dim=0)
        log_p = p.log_prob(self.z.flatten(0, 1), self.levels).view(self.z.shape[:2])
        self.log_q = log_w + log_p.clamp(min=-1e300)  # all may be -inf: then all count alike

    def mean(self, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The average of a function of nodes and noise levels, `(n, 2)`."""
        share = self.log_q.softmax(dim=1)[:, :, None]
        return (share * function(self.z.flatten(0, 1), self.levels).view_as(self.z)).sum(dim=1)

    def score(self) -> Tensor:
        """`Q (dm/du Q' E[grad log p_c] + d log_factor / du)`, `(n, 2)`.

        Along the line, by parts, the average is that of `r / t^2` as well. Wide noise leaves no digit of the first: its
        terms are of the size `1 / c` and their sum is of the size `1 / t`.
        """
        s = self.mean(self.p.score)
        infinite = s.isinf()  # without noise, off the support; 0 times that would be NaN
        across, along = (s.masked_fill(infinite, 0.0) @ self.Q).split(1, dim=1)
        by_parts = (self.log_q.softmax(dim=1) * self.r).sum(dim=1, keepdim=True) / self.t.clamp(min=1e-300)
        along = torch.where(self.t > self.c, by_parts, along)
        turned = self.shrink * torch.cat([across, along], dim=1) + self.slope
        return torch.where(infinite, s, turned @ self.Q.T)


def _nodes(
    reach: float, m: Tensor, c: Tensor, t: Tensor, both: Tensor, is_round: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Nodes on lines, their distances from the centres `m` in units of `t`, and logarithmic weights, `(n, K)` each.

    Noise of level c about a point `a` of the line and that of level t about `m` make a Gaussian of width `c t / both`
    about `m + (a - m) t^2 / both^2`, `both = sqrt(c^2 + t^2)`. The window has nine of these widths about all the points
    within `reach` of the origin, where the support is; nine t about `m` are enough if `m` is there itself.

    Nodes are counted from the middle for the nearest of these points. Where the noise is wide, `t > c`, they are so
    near to the support and so far from `m` that they would have no digits as `m + t r`; there they stay where they are
    when `m` moves, and their weights change, while elsewhere they move with it.
    """
    if is_round:  # the observation is the same in all directions, and there is nothing to integrate
        return m, torch.zeros_like(m), torch.zeros_like(m)
    wide, m, moves = t > c, m.detach(), m - m.detach()  # the last is 0; it has the derivative
    near = m.clamp(-reach, reach)
    share, width = t / both, c * (t / both)
    moved = (near - m) * share.square()
    centre = torch.where(wide, near - (near - m) * (c / both).square(), m + moved)
    most = torch.where(m == near, SPREAD * t, math.inf)
    low = torch.maximum((-reach - near) * share.square() - SPREAD * width, -most)
    high = torch.minimum((reach - near) * share.square() + SPREAD * width, most)
    K = int(((high - low) / width).nan_to_num(1.0).max().ceil().item()) + 1  # NaN at points that are not finite
    step = (high - low) / (K - 1)
    offset = low + step * torch.arange(K, dtype=m.dtype, device=m.device)
    r = (moved + offset - torch.where(wide, moves, 0.0)) / t
    return centre + offset + torch.where(wide, 0.0, moves), r, (step / t).log() - 0.5 * (r.square() + LOG_2PI)


def _reach(p: Distribution) -> float:
    """No mass is further from the origin."""
    return 2.0 * math.sqrt(2.0) * p.bounds


def _most_nodes(p: Distribution, observation: LinearObservation, sigma: Tensor) -> int:
    """How many nodes the lines of these noise levels have at most; points far out may have as many as `of_support`."""
    _, (l1, l2), _ = observation.axes(sigma.device)
    v = positive(sigma).square()
    of_noise = 2.0 * SPREAD * ((1.0 + v * l1) / (1.0 + v * l2)).sqrt()
    of_support = 2.0 * (_reach(p) * (l1 - l2).sqrt() + SPREAD)  # for `t / (c both)` is the root of the difference
    return int(of_noise.clamp(max=of_support.item()).max().item()) + 2


def _log_factor(observation: LinearObservation, x: Tensor) -> Tensor:
    """The logarithm of the likelihood over its largest value, `(n,)`, of float64 points."""
    Q, precisions, e = observation.axes(x.device)
    return -0.5 * (precisions * (x @ Q - e).square()).sum(dim=-1)


def _log_evidence(p: Distribution, observation: LinearObservation) -> float:
    """`log int p(x) L(x) dx`, `L` the likelihood over its largest value: the integral over one line."""
    Q, (l1, l2), e = observation.axes(torch.device("cpu"))
    c, reach = l1.rsqrt(), _reach(p)
    if l1 == l2:
        r, log_w = e[1:], 0.5 * (2 * math.pi / l1).log()[None]
    else:
        high = reach + SPREAD * c.item()
        width = c if l2 == 0 else c * (1.0 - l2 / l1).sqrt()  # of `p_c` and of the Gaussian along the line
        low, high = -high, high
        if l2 > 0:
            t = (1.0 / l2 - 1.0 / l1).sqrt()
            low = max(low, (e[1].clamp(-reach, reach) - 2 * SPREAD * l2.rsqrt()).item())
            high = min(high, (e[1].clamp(-reach, reach) + 2 * SPREAD * l2.rsqrt()).item())
        r = torch.linspace(low, high, math.ceil((high - low) / width.item()) + 1, dtype=torch.float64)
        log_w = torch.full_like(r, math.log(r[1] - r[0]))
        if l2 > 0:
            log_w = log_w - 0.5 * ((r - e[1]) / t).square() + 0.5 * (1.0 / (1.0 - l2 / l1)).log()
    log_p = p.log_prob(e[0] * Q[:, 0] + r[:, None] * Q[:, 1], c.item())
    return ((log_w + log_p).logsumexp(dim=0) + 0.5 * (2 * math.pi / l1).log()).item()


def _along_a_curve(x: Tensor) -> Tensor:
    """The points `(n, 2)`, ordered so that neighbours are near: up and down in narrow strips."""
    strips = x[:, 0].argsort().view(STRIPS, -1)
    heights = x[strips, 1]
    heights[1::2] *= -1.0
    return x[strips.gather(1, heights.argsort(dim=1)).flatten()]


def class_weights(prior: Distribution, observation: LinearObservation) -> dict[str, float]:
    """The shares of the prior's classes after the observation, which are its modes."""
    if prior.n_labels == 0:
        return {"all": 1.0}
    log_Z = [_log_evidence(prior.conditioned_on(k), observation) for k in range(prior.n_labels)]
    log_w = torch.tensor(list(prior.mode_weights.values()), dtype=torch.float64).log()
    w = shares(log_w + torch.tensor(log_Z, dtype=torch.float64))
    return dict(zip(prior.mode_weights, w.tolist(), strict=True))


def shares(log_w: Tensor) -> Tensor:
    """Weights from logarithms in any unit, which sum to 1; none is 0, since metrics take its logarithm."""
    return log_w.softmax(dim=0).clamp(min=SMALLEST_SHARE)


@functools.cache
def entropy(p: Distribution) -> float:
    """By the mean over 2^14 points."""
    return -p.log_prob(p.reference(1 << 14)).mean().item()
