r"""The two moons of simulation-based inference: parameters, what a simulator makes of them, and the exact posterior.

The parameters `theta` are uniform on `[-1, 1]^2`. The simulator draws an angle and a radius, and observes

    y = r (cos a, sin a) + (1/4, 0) + (-|theta_0 + theta_1|, -theta_0 + theta_1) / sqrt 2,
    a ~ U(-pi/2, pi/2),    r ~ N(0.1, 0.01^2)

(Greenberg et al. 2019; Lueckmann et al. 2021, task T.8). With `S` and `T` for the sum and the difference of the
parameters over `sqrt 2`, a rotation, `y` says that `|S| = y'_0 + p_0` and `T = y_1 - p_1`, where `p = r (cos a, sin a)`
is a point of the crescent, `y'_0 = 1/4 - y_0`. So the posterior of `theta` is two mirrored, shifted crescents,

    theta = c + M p,    M orthogonal, one for each sign of S,

cut by the square and by `|S| >= 0`, that is, by half-planes. Under noise of variance `v` a crescent is an integral over
its angle. For each angle the radius is between two numbers, `l` and `h`, since half-planes cut a line in an interval;
and with `z = M' (x - c)`, along and across the direction `e` of the angle,

    p_v(x) = 1 / 2 pi Z  sum_M  int da  N(z . e; 0.1, 0.01^2 + v)  N(z . e'; 0, v)  P(l < r < h),

where `r` is normal with variance `k^2 = 0.01^2 v / (0.01^2 + v)` and mean `(0.1 v + 0.01^2 z . e) / (0.01^2 + v)`. The
integral is a Gauss-Legendre sum over the part of the angles where the integrand is not negligible.

As that of a `GridDensity`, the posterior is *defined* with a little noise, a hundredth of the crescents' width: edges
are smooth, and density, score and denoiser exist at `sigma = 0`.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from toy_score.component import as_tuple
from toy_score.distributions.base import Distribution, by_rows, device_of, evenly_spread
from toy_score.distributions.boxes import UniformBoxes
from toy_score.distributions.mixtures import checked
from toy_score.distributions.tails import LOG_2PI

__all__ = ["TwoMoonsInference"]

RADIUS, WIDTH, SHIFT = 0.1, 0.01, 0.25
BLUR = 0.01 * WIDTH
NODES, REACH = 64, 8.0  # of the integral over the angle, and how many widths of the integrand it extends
CHUNK = 512  # points at a time
TURN = torch.tensor([[1.0, -1.0], [1.0, 1.0]], dtype=torch.float64) / math.sqrt(2.0)  # from (S, T) to theta


@dataclass(frozen=True)
class TwoMoonsInference(UniformBoxes):
    """Parameters of the two moons simulator, uniform on a square, each with an observation of it.

    `sample_labelled` gives the parameters and what is observed; `conditioned_on([y_0, y_1])` is the exact posterior.
    """

    name = "two_moons_inference"
    n_conditions = 2

    def boxes(self) -> tuple[Sequence[Sequence[float]], float]:
        return [(0.0, 0.0)], 1.0

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return super().sample_labelled(n, generator)[0]

    def sample_labelled(self, n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        theta = self.sample(n, generator)
        return theta, self.simulate(theta, generator)

    def simulate(self, theta: Tensor, generator: Generator | None = None) -> Tensor:
        """An observation of each of the parameters, both `(n, 2)`."""
        device = device_of(generator) or theta.device
        u = torch.rand(len(theta), generator=generator, device=device, dtype=torch.float64)
        z = torch.randn(len(theta), generator=generator, device=device, dtype=torch.float64)
        S, T = (theta.double() @ TURN.to(device)).T
        return (_crescent(u, z) + torch.stack([SHIFT - S.abs(), T], dim=-1)).to(theta.dtype)

    def _given(self, condition: tuple[float, ...]) -> Distribution:
        return _TwoMoonsPosterior(condition)


@dataclass(frozen=True)
class _TwoMoonsPosterior(Distribution):
    """The parameters, given an observation; the formulas are at the top of this file.

    Args:
        condition: what is observed, two numbers.

    Raises:
        ValueError: if it is not two finite numbers, or no parameters explain it.
    """

    name = "two_moons_posterior"

    condition: Sequence[float]

    def __post_init__(self) -> None:
        self._set(condition=as_tuple(self.condition))
        checked("condition", self.condition, (2,))
        a = (torch.arange(4096, dtype=torch.float64) + 0.5) / 4096 * math.pi - 0.5 * math.pi
        shares = []
        for sign in (1.0, -1.0):
            low, high = self._interval(sign, a)
            mass = torch.special.ndtr((high - RADIUS) / WIDTH) - torch.special.ndtr((low - RADIUS) / WIDTH)
            shares.append(0.5 * mass.clamp(min=0.0).mean().item())
        if not sum(shares) > 1e-6:
            raise ValueError(
                f"no parameters in [-1, 1]^2 explain the condition {list(self.condition)}; the simulator gives the "
                "first number in (-1.2, 0.4) and the second in (-1.6, 1.6)"
            )
        self._set(
            bounds=TwoMoonsInference().bounds,
            mode_weights=dict(zip(("sum above 0", "sum below 0"), [s / sum(shares) for s in shares], strict=True)),
            _Z=sum(shares),
            _cut=sum(shares) < 1.0 - 1e-12,
        )

    _Z, _cut = 1.0, False

    def _moon(self, sign: float) -> tuple[Tensor, Tensor]:
        """`c`, `(2,)`, and `M`, `(2, 2)`, for a sign of S."""
        y0, y1 = self.condition
        M = TURN @ torch.diag(torch.tensor([sign, -1.0], dtype=torch.float64))
        return TURN @ torch.tensor([sign * (SHIFT - y0), y1], dtype=torch.float64), M

    def _interval(self, sign: float, a: Tensor) -> tuple[Tensor, Tensor]:
        """Between which radii the parameters are allowed, at angles `a`: two tensors of their shape."""
        (c, M), y0 = self._moon(sign), self.condition[0]
        normals = torch.cat([M, -M, torch.tensor([[-1.0, 0.0]], dtype=torch.float64)])
        limits = torch.cat([1.0 - c, 1.0 + c, torch.tensor([SHIFT - y0], dtype=torch.float64)])
        low, high = torch.zeros_like(a), torch.full_like(a, 1.0)
        for (n0, n1), limit in zip(normals.tolist(), limits.tolist(), strict=True):
            slope = n0 * a.cos() + n1 * a.sin()
            cut = limit / torch.where(slope.abs() < 1e-12, 1e-12, slope)
            low = torch.where(slope < 0, torch.maximum(low, cut), low)
            high = torch.where(slope > 0, torch.minimum(high, cut), high)
        return low, high

    def log_prob(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        return self._by_rows(lambda moons: moons.log_p, x, sigma)

    def score(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self._by_rows(lambda moons: (moons.mean - moons.x) / moons.v, x, sigma)

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """`x + sigma^2 score`; the crescents have a noise of their own."""
        return self._by_rows(lambda m: torch.lerp(m.x, m.mean, m.sigma.square() / m.v), x, sigma)

    def _by_rows(self, function: Callable[["_Moons"], Tensor], x: Tensor, sigma: float | Tensor) -> Tensor:
        return by_rows(lambda y, s: function(_Moons(self, y, s)), x.double(), sigma, CHUNK).to(x.dtype)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        def draw(m: int) -> tuple[Tensor, Tensor]:
            device = device_of(generator)
            u = torch.rand(m, 2, generator=generator, device=device, dtype=torch.float64)
            return u, torch.randn(m, 3, generator=generator, device=device, dtype=torch.float64)

        parts: list[Tensor] = []
        while sum(map(len, parts)) < n:
            parts.append(self._allowed(*draw(math.ceil(1.1 * n / self._Z) + 16)))
        return torch.cat(parts)[:n].float()

    def reference(self, n: int = 65_536) -> Tensor:
        m = n
        while len(x := self._allowed(*_spread(m))) < n:
            m *= 2
        return x[:n]

    def _allowed(self, u: Tensor, z: Tensor) -> Tensor:
        """Those parameters within the prior, of uniform numbers `(m, 2)` and normal ones `(m, 3)`."""
        p, plus = _crescent(u[:, 0].contiguous(), z[:, 0]), u[:, 1:] < 0.5
        (c, M), (d, N) = ((c.to(u.device), M.to(u.device)) for c, M in map(self._moon, (1.0, -1.0)))
        theta = torch.where(plus, c + p @ M.T, d + p @ N.T)
        allowed = (theta.abs() <= 1.0).all(dim=1) & (SHIFT - self.condition[0] + p[:, 0] >= 0)
        return (theta + BLUR * z[:, 1:])[allowed]

    def modes(self, x: Tensor) -> Tensor:
        return (x.sum(dim=1) < 0).long()

    def entropy(self) -> float:
        """By the mean over 2^14 points."""
        return -self.log_prob(self.reference(1 << 14)).mean().item()


class _Moons:
    """The sums over angles and signs, for points `(n, 2)` and levels `(n, 1)` or `(1, 1)`, float64.

    Attributes:
        v: the variance of all noise.
        log_p: the log density, `(n,)`.
        mean: of the parameters without any noise, `(n, 2)`.
    """

    def __init__(self, p: _TwoMoonsPosterior, x: Tensor, sigma: Tensor):
        self.x, self.sigma, self.v = x, sigma, sigma.square() + BLUR**2
        both = [self._moon(p, sign) for sign in (1.0, -1.0)]
        log_q = torch.cat([log_q for log_q, _ in both], dim=1)
        self.log_p = log_q.logsumexp(dim=1) - math.log(2.0 * math.pi * p._Z)
        means = torch.cat([mean for _, mean in both], dim=1)
        self.mean = (log_q.softmax(dim=1)[:, :, None] * means).sum(dim=1)

    def _moon(self, p: _TwoMoonsPosterior, sign: float) -> tuple[Tensor, Tensor]:
        """The logarithms of the terms of a sign, `(n, K)`, and the means of theirs, `(n, K, 2)`."""
        c, M = (part.to(self.x.device) for part in p._moon(sign))
        z = (self.x - c) @ M
        a, log_w = self._angles(z)
        e = torch.stack([a.cos(), a.sin()], dim=-1)
        along, across = (z[:, None] * e).sum(dim=-1), z[:, 1:] * e[:, :, 0] - z[:, :1] * e[:, :, 1]
        s, v = WIDTH**2, self.v
        k = (s * v / (s + v)).sqrt()
        middle = (RADIUS * v + s * along) / (s + v)
        log_q = log_w - 0.5 * (
            (along - RADIUS).square() / (s + v) + across.square() / v + (s + v).log() + v.log() + 2.0 * LOG_2PI
        )
        if p._cut:
            low, high = p._interval(sign, a)
            log_mass, shift = _truncated((low - middle) / k, (high - middle) / k)
            middle = torch.minimum(torch.maximum(middle + k * shift, low), high)
            log_q = torch.where(low < high, log_q + log_mass, -math.inf)
        return log_q.clamp(min=-1e300), c + (middle[:, :, None] * e) @ M.T

    def _angles(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The nodes, `(n, K)`, and the logarithms of their weights: about the largest term, as far as others count."""
        with torch.no_grad():
            s, v, end = WIDTH**2, self.v, 0.5 * math.pi
            length = z.norm(dim=1, keepdim=True)
            top = torch.atan2(z[:, 1:], z[:, :1]).clamp(-end, end)
            curvature = length.square() * s / (v * (s + v)) + length * RADIUS / (s + v)
            width = REACH * curvature.clamp(min=1e-300).rsqrt()
            low, high = (top - width).clamp(min=-end), (top + width).clamp(max=end)
            nodes, weights = (t.to(z.device) for t in _gauss_legendre())
            half = 0.5 * (high - low)
            return 0.5 * (low + high) + half * nodes, half.log() + weights.log()


@functools.cache
def _gauss_legendre() -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return torch.from_numpy(nodes), torch.from_numpy(weights)


def _truncated(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Of a standard normal number between `a < b`, the logarithm of its probability and its mean."""
    flip = a + b > 0  # to the lower tail, where the distribution function has all digits
    a, b = torch.where(flip, -b, a), torch.where(flip, -a, b)
    log_b = torch.special.log_ndtr(b)
    log_mass = log_b + torch.log1p(-(torch.special.log_ndtr(a) - log_b).clamp(max=-1e-12).exp())
    phi_a, phi_b = (torch.exp((-0.5 * (t.square() + LOG_2PI) - log_mass).clamp(max=700.0)) for t in (a, b))
    mean = phi_a - phi_b
    return log_mass, torch.where(flip, -mean, mean)


def _crescent(u: Tensor, z: Tensor) -> Tensor:
    """Points `r (cos a, sin a)`, `(m, 2)`, of uniform and normal numbers `(m,)`."""
    a, r = (u - 0.5) * math.pi, RADIUS + WIDTH * z
    return torch.stack([r * a.cos(), r * a.sin()], dim=-1)


def _spread(m: int) -> tuple[Tensor, Tensor]:
    u = evenly_spread(m, 5)
    return u[:, :2], torch.special.ndtri(u[:, 2:])
