r"""Uniform boxes: densities with hard edges, and gaps between them where the density is zero.

Under noise a box is a product over its two axes. On one axis, an interval of half-width w, seen from a point at
distance y from its middle, has with `a = (y - w) / sigma`, `b = (y + w) / sigma` and
`D = (b^2 - a^2) / 2 = 2 w y / sigma^2`

    q = (Q(a) - Q(b)) / 2w,      d log q / dy = -(phi(a) - phi(b)) / (sigma (Q(a) - Q(b))),

where Q is the upper tail of the normal law. Outside the interval (a > 0) both differences cancel and underflow. There

    Q(a) - Q(b) = phi(a) (M(a) - exp(-D) M(b)),      phi(a) - phi(b) = -phi(a) expm1(-D),

with Mills' ratio `M(z) = Q(z) / phi(z) = 1 / h(-z)`, where h is the hazard. Only `phi(a)` underflows, and it cancels
from the slope. If the noise is wide, `M(a)` and `exp(-D) M(b)` agree in about `log10(sigma / w)` digits.
Everything is therefore computed in float64.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from toy_score.checks import check_positive
from toy_score.distributions.base import Distribution, OneClass, by_rows, device_of, evenly_spread, infinite, positive
from toy_score.distributions.tails import hazard

__all__ = ["Checkerboard", "UniformBoxes"]

CHUNK = 1 << 16  # boxes x points at a time
ROOT_HALF, ROOT_2PI = math.sqrt(0.5), math.sqrt(2.0 * math.pi)


class UniformBoxes(Distribution):
    """Square boxes of equal mass and uniform density that do not overlap; each is a class."""

    _c: Tensor
    _half: float
    _axes: list[tuple[Tensor, Tensor]]

    @abstractmethod
    def boxes(self) -> tuple[Sequence[Sequence[float]], float]:
        """The centres of the boxes, `(K, 2)`, and half their side, > 0."""

    def __post_init__(self) -> None:
        middles, half = self.boxes()
        c = torch.tensor(middles, dtype=torch.float64)
        self._set(
            mode_weights={str(k): 1.0 / len(c) for k in range(len(c))},
            n_labels=len(c) if len(c) > 1 else 0,
            bounds=math.ceil(2.2 * (c.abs().max().item() + half)) / 2.0,
            _c=c,
            _half=half,
            # Boxes in one row or column share their interval on one axis, which is computed once.
            _axes=[torch.unique(column, return_inverse=True) for column in c.T],
        )

    def _parts(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logarithm of each box's part of the density, and its slopes along both axes, `(n, K)`."""
        (log_0, slope_0), (log_1, slope_1) = (
            self._along(x_j, middles, which, sigma) for x_j, (middles, which) in zip(x.T, self._axes, strict=True)
        )
        return -math.log(len(self._c)) + log_0 + log_1, slope_0, slope_1

    def _along(self, x_j: Tensor, middles: Tensor, which: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The factor of one axis in each box's density, as a logarithm, and its slope, `(n, K)`."""
        log_axis, slope = _interval(x_j[:, None] - middles.to(x_j.device, non_blocking=True), self._half, sigma)
        return log_axis[:, which], slope[:, which]

    def log_prob(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        return self._by_rows(lambda x, sigma: infinite(self._parts(x, sigma)[0].logsumexp(dim=-1)), x, sigma)

    def score(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self._by_rows(lambda x, sigma: infinite(self._score(x, sigma)), x, sigma)

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self._by_rows(lambda x, sigma: x + sigma.square() * self._score(x, sigma), x, sigma)

    def _score(self, x: Tensor, sigma: Tensor) -> Tensor:
        log_q, *slopes = self._parts(x, sigma)
        r = log_q.softmax(dim=-1)
        return torch.stack([(r * slope).sum(dim=-1) for slope in slopes], dim=-1)

    def _by_rows(self, function: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigma: float | Tensor) -> Tensor:
        rows = CHUNK // len(self._c)
        return by_rows(lambda y, s: function(y, positive(s)), x.double(), sigma, rows).to(x.dtype)

    def modes(self, x: Tensor) -> Tensor:
        """The nearest box, `(n,)` integers."""
        return self._distances(x).argmin(dim=-1)

    def invalid(self, x: Tensor) -> Tensor:
        """Points in no box, where the density is zero: `(n,)` booleans."""
        return self._distances(x).amin(dim=-1) > 0

    def _distances(self, x: Tensor) -> Tensor:
        """Distances from each box, 0 inside, `(n, K)`."""
        outside = (x.double()[:, None] - self._c.to(x.device, non_blocking=True)).abs() - self._half
        return outside.clamp(min=0).norm(dim=-1)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return self.sample_labelled(n, generator)[0]

    def sample_labelled(self, n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        u = torch.rand(n, 3, generator=generator, device=device_of(generator), dtype=torch.float64)
        x, k = self._place(u)
        return x.float(), k

    def _place(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """The points and their boxes, from uniform numbers (the box, and the position in it)."""
        k = (u[:, 0] * len(self._c)).long()
        return self._c.to(u.device)[k] + self._half * (2.0 * u[:, 1:] - 1.0), k

    def reference(self, n: int = 65_536) -> Tensor:
        return self._place(evenly_spread(n, 3))[0]

    def entropy(self) -> float:
        """The logarithm of the area of all boxes."""
        return math.log(len(self._c)) + 2.0 * math.log(2.0 * self._half)

    def _conditioned_on(self, label: int) -> Distribution:
        return _Box(self, label)


class _Box(OneClass, UniformBoxes):
    """One of several boxes."""

    def boxes(self) -> tuple[Sequence[Sequence[float]], float]:
        return [self.whole._c[self.label].tolist()], self.whole._half


def _interval(offset: Tensor, w: float, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """`log q` and `d log q / d offset` of an interval of half-width `w` about 0; the formulas are at the top."""
    side = torch.where(offset < 0, -1.0, 1.0)  # not sign() and abs(), whose derivatives at 0 are 0
    y = offset * side
    a, b, minus_D = (y - w) / sigma, (y + w) / sigma, -2.0 * w * y / sigma.square()
    tail, body = a.clamp(min=0.0), a.clamp(max=0.0)  # outside and inside the interval; each is 0 where the other holds
    mills = 1.0 / hazard(-tail) - minus_D.exp() / hazard(-b)
    inside = 0.5 * (torch.erf(b * ROOT_HALF) - torch.erf(body * ROOT_HALF))
    phi = (-0.5 * body.square()).exp() / ROOT_2PI  # outside, phi(a) without its factor exp(-tail^2 / 2)
    mass = torch.where(a > 0, mills / ROOT_2PI, inside)  # Q(a) - Q(b), without that factor
    log_q = mass.log() - 0.5 * tail.square() - math.log(2.0 * w)
    slope = minus_D.expm1() * (phi / mass) / sigma
    return log_q, slope * side


@dataclass(frozen=True)
class Checkerboard(UniformBoxes):
    """Uniform density on the dark fields of a chequered board.

    Defaults as in FFJORD (Grathwohl et al. 2019, `checkerboard`): eight squares of side 2 on `[-4, 4]^2`. The lower
    left field is dark.

    Args:
        n: number of fields along a side, even, >= 2.
        side: of a field, > 0.

    Raises:
        ValueError: if `n` is odd or not positive, or `side` is not positive.
    """

    name = "checkerboard"

    n: int = 4
    side: float = 2.0

    def __post_init__(self) -> None:
        check_positive(n=self.n, side=self.side)
        if self.n % 2:
            raise ValueError(f"n must be even, got {self.n}")
        super().__post_init__()

    def boxes(self) -> tuple[Sequence[Sequence[float]], float]:
        n, side = self.n, self.side
        dark = [(i, j) for i in range(n) for j in range(n) if (i + j) % 2 == 0]
        return [((i + 0.5 - n / 2) * side, (j + 0.5 - n / 2) * side) for i, j in dark], side / 2.0
