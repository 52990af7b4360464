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

For noise of more than 1000 w the formulas are those of `u = x0 / w` on [-1, 1], whose density is `exp(A u - B u^2)`
with `A = w y / sigma^2` and `B = w^2 / 2 sigma^2`, to first order in B. Without B, with Langevin's function `L`,

    E[u] = L(A) = coth A - 1 / A,      E[u^2] = 1 - 2 L / A,      E[u^3] = coth A - 3 E[u^2] / A,

and with it `E[u]` is less by `B (E[u^3] - E[u] E[u^2])`.

The weights of the boxes depend on differences of `log q`. Far from all boxes its rounded values have no digits of the
differences left; there the differences of the squares of the distances are taken as products.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from toy_score.checks import check_positive
from toy_score.distributions.base import (
    FAR,
    LARGE,
    Distribution,
    OneClass,
    all_true,
    by_rows,
    device_of,
    evenly_spread,
    infinite,
    positive,
    wide,
)
from toy_score.distributions.tails import FAR_TAIL, far_excess, hazard

__all__ = ["Checkerboard", "UniformBoxes"]

WIDE = 1e3  # noise is wide beyond so many half-widths: there both formulas are right to 1e-12
DEPTH = 10  # of the continued fraction of Langevin's function, accurate to 1e-16 up to A = 3
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

    def _axes_of(self, x: Tensor, sigma: Tensor) -> list[tuple["_Intervals", Tensor]]:
        """The intervals of each axis, and which of them is a side of each box."""
        device = x.device
        return [
            (_Intervals(x_j[:, None], middles.to(device, non_blocking=True), self._half, sigma), which)
            for x_j, (middles, which) in zip(x.T, self._axes, strict=True)
        ]

    def _log_prob(self, x: Tensor, sigma: Tensor) -> Tensor:
        log_q = sum(axis.log_q[:, which] for axis, which in self._axes_of(x, sigma))
        return torch.logsumexp(log_q - math.log(len(self._c)), dim=-1)  # type: ignore[arg-type]

    def _mean_over_boxes(self, name: str, x: Tensor, sigma: Tensor) -> Tensor:
        """The attribute `name` of the intervals of each axis, weighted by the posterior probability of the boxes."""
        axes = self._axes_of(x, sigma)
        r = sum(axis.log_weight()[:, which] for axis, which in axes).softmax(dim=-1)  # type: ignore[union-attr]
        return torch.stack([(r * getattr(axis, name)[:, which]).sum(dim=-1) for axis, which in axes], dim=-1)

    def log_prob(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        return self._by_rows(lambda x, sigma: infinite(self._log_prob(x, sigma)), x, sigma)

    def score(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self._by_rows(lambda x, sigma: infinite(self._mean_over_boxes("slope", x, sigma)), x, sigma)

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self._by_rows(lambda x, sigma: self._mean_over_boxes("mean", x, sigma), x, sigma)

    def _by_rows(self, function: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigma: float | Tensor) -> Tensor:
        rows = CHUNK // len(self._c)
        return by_rows(lambda y, s: function(y, positive(s)), wide(x), sigma, rows).to(x.dtype)

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


class _Intervals:
    """Intervals of half-width `w` on one axis, seen from points `x`, `(n, 1)`; the formulas are at the top.

    Attributes:
        log_q: of each interval, `(n, M)`.
        slope: `d log q / dx`.
        mean: the posterior mean of the clean coordinate.
    """

    def __init__(self, x: Tensor, middles: Tensor, w: float, sigma: Tensor):
        offset = x - middles
        side = torch.where(offset < 0, -1.0, 1.0)  # not sign() and abs(), whose derivatives at 0 are 0
        y = offset * side
        narrow = sigma <= WIDE * w
        log_rest, distance, slope, mean = _narrow(y, w, sigma.clamp(max=WIDE * w))
        seen_at = side * w
        if not all_true(narrow):
            others = _wide(y, w, sigma.clamp(min=WIDE * w))
            log_rest, distance, slope, mean = (
                torch.where(narrow, usual, wide)
                for usual, wide in zip((log_rest, distance, slope, mean), others, strict=True)
            )
            seen_at = torch.where(narrow, seen_at, 0.0)
        self.log_q, self.slope, self.mean = log_rest - 0.5 * distance.square(), slope * side, middles + mean * side
        self._x, self._sigma, self._log_rest, self._seen_at = x, sigma, log_rest, middles + seen_at

    def log_weight(self) -> Tensor:
        """`log q`; where all intervals are far, up to a number that they share."""
        near = self.log_q.amax(dim=-1, keepdim=True) > FAR
        if all_true(near):
            return self.log_q
        # distance = (x - e) / sigma, where e is an edge or a middle; distance^2 - distance_0^2 as a product, >= 0
        x, e = self._x, self._seen_at
        reach = 2.0 * e.abs().amax()  # farther out, differences of the distances may be rounded to 0
        e0 = e.gather(-1, (x.clamp(-reach, reach) - e).abs().argmin(dim=-1, keepdim=True))
        farther = (e0 - e) / self._sigma * ((2.0 * x - e - e0) / self._sigma)
        return torch.where(near, self.log_q, self._log_rest - 0.5 * farther.clamp(max=LARGE))


def _narrow(y: Tensor, w: float, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`log q + d^2 / 2`, the distance `d` from the interval over sigma, the slope, and the mean, for `y >= 0`."""
    a, b, minus_D = (y - w) / sigma, (y + w) / sigma, -2.0 * w * y / sigma.square()
    tail, body = a.clamp(min=0.0), a.clamp(max=0.0)  # outside and inside the interval; each is 0 where the other holds
    mills = 1.0 / hazard(-tail) - minus_D.exp() / hazard(-b)
    inside = 0.5 * (torch.erf(b * ROOT_HALF) - torch.erf(body * ROOT_HALF))
    phi = (-0.5 * body.square()).exp() / ROOT_2PI  # outside, phi(a) without its factor exp(-tail^2 / 2)
    mass = torch.where(a > 0, mills / ROOT_2PI, inside)  # Q(a) - Q(b), without that factor
    step = minus_D.expm1() * (phi / mass)
    # Deep in the tail the mean is at the edge, but for the excess of the hazard over its argument.
    deep = (a > -FAR_TAIL) & (minus_D < -46.0)
    mean = torch.where(deep, w - sigma * far_excess(-tail.clamp(min=-FAR_TAIL)), y + sigma * step)
    return mass.log() - math.log(2.0 * w), tail, (step / sigma).clamp(min=-LARGE), mean


def _wide(y: Tensor, w: float, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same for noise that is wide; the distance is that from the middle."""
    v = sigma.square()
    A, B = w * y / v, 0.5 * w * w / v
    small, large = A.clamp(max=3.0), A.clamp(min=3.0)
    square, fraction = small.square(), torch.full_like(A, 2.0 * DEPTH + 5.0)
    for k in range(DEPTH, 0, -1):  # L(A) = A / (3 + A^2 / (5 + A^2 / (7 + ...)))
        fraction = 2.0 * k + 3.0 + square / fraction
    over_A = 1.0 / (3.0 + square / fraction)  # L / A
    coth = 1.0 / large.tanh()
    is_small = A <= 3.0
    L = torch.where(is_small, small * over_A, coth - 1.0 / large)
    u2 = 1.0 - 2.0 * torch.where(is_small, over_A, (coth - 1.0 / large) / large)
    u3 = torch.where(is_small, small * over_A * (1.0 - 2.0 / fraction), coth - 3.0 * u2 / large)
    mean = w * (L - B * (u3 - L * u2))
    tiny = small.clamp(min=1e-100)
    log_sinh_over_A = torch.where(is_small, (tiny.sinh() / tiny).log(), large + torch.log1p(-torch.exp(-2 * large)))
    log_sinh_over_A = log_sinh_over_A - torch.where(is_small, 0.0, (2.0 * large).log())
    return log_sinh_over_A - B * u2 - (sigma * ROOT_2PI).log(), y / sigma, (mean - y) / v, mean


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
