r"""Mixtures of Gaussians that are cut to half-planes, such as the split normal and the heart.

A part with weight `w`, mean `mu` and covariance `S`, restricted to `a.(x - c) > 0` and normalised, becomes under noise
of level `sigma`

    q(x) = N(x; mu, C) Phi(m / tau) / Phi(m0),        C = S + sigma^2 I,   P = S C^-1,
    m    = a.(mu - c) + a' P (x - mu),                the posterior mean of a.(x0 - c) before the cut,
    tau^2 = sigma^2 a' P a,                           its posterior variance,

with `m0 = a.(mu - c) / sqrt(a' S a)`, and, with the hazard `h(z) = phi(z) / Phi(z)` at `z = m / tau`,

    grad log q = -C^-1 (x - mu) + (h / tau) P a,
    E[x0 | x]  = mu + P (x - mu) + (h / tau) sigma^2 P a.

(Gaussian conditioning and the mean of a truncated normal.) For 2 x 2 matrices, with `v = sigma^2`,

    P = (det S I + v S) / det C,      det C = det S + v tr S + v^2,

which are sums of positive (definite) terms. So no digits cancel at any `sigma`. The product of matrices `C^-1 S` would
lose digits at small `sigma`, and `a' S a - a' S C^-1 S a`, in the place of `a' P a`, would lose all of them. Everything
is computed in float64, as for `Gaussians`.

The posterior weights of the parts, a softmax of `log q`, depend on its differences. Far from the data, in units of the
noise, `log q` is so large that a difference of rounded values has no digit left. There the weights are taken from

    log q = Q(x) + log Phi(z) = E(x) - log h(z) - log(2 pi) / 2,      E = Q - z^2 / 2,

where Q is quadratic in `x`, and so is E, the logarithm of the Gaussian at the most likely clean point on the edge: the
first if all parts have `z > 0`, else the second. The differences of Q and E are those of their coefficients. So what
the parts have in common cancels exactly, such as all of E for the two sides of the heart.
"""

import functools
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from toy_score.constants import Constant
from toy_score.distributions.base import FAR, LARGE, Distribution, all_true, by_rows, infinite, pair, positive, wide
from toy_score.distributions.tails import LOG_2PI, log_ndtr_and_hazard

__all__ = ["HalfPlaneGaussians", "HalfPlaneParts"]

CPU_CHUNK, GPU_CHUNK = 1 << 13, 1 << 20  # points at a time: they stay in the cache; they take 200 MB


class HalfPlaneParts(NamedTuple):
    """K Gaussians and the half-planes that they are restricted to."""

    means: Sequence[Sequence[float]]
    """`mu`, K points."""

    covariances: Sequence[Sequence[Sequence[float]]]
    """`S`, K symmetric positive definite 2 x 2 matrices."""

    normals: Sequence[Sequence[float]]
    """`a`, K vectors that point into the half-planes."""

    edges: Sequence[Sequence[float]]
    """`c`, K points on the edges of the half-planes."""

    weights: Sequence[float]
    """K positive numbers that sum to 1."""


class HalfPlaneGaussians(Distribution):
    """Mixture of Gaussians, each restricted to a half-plane; the formulas are at the top of this file.

    At `sigma = 0`, two half-planes that are equally near to a point outside all of them get equal weights. This is the
    limit if the densities at the two nearest points are equal, as they are for the split normal.
    """

    _constants: Constant

    @abstractmethod
    def parts(self) -> HalfPlaneParts:
        """The Gaussians and their half-planes."""

    def __post_init__(self) -> None:
        mu, S, a, c, w = (torch.tensor(values, dtype=torch.float64) for values in self.parts())
        offset = (a * (mu - c)).sum(-1)
        spread = (a[:, None] @ S @ a[:, :, None])[:, 0, 0].sqrt()
        log_weight = w.log() - torch.special.log_ndtr(offset / spread)
        # Columns (K, 1): everything below is (K, n), one contiguous row per part, which suits the cache.
        det = S[:, 0, 0] * S[:, 1, 1] - S[:, 0, 1].square()
        shape = [mu[:, 0], mu[:, 1], S[:, 0, 0], S[:, 0, 1], S[:, 1, 1], det]
        cut = [a[:, 0], a[:, 1], offset]
        self._set(_constants=Constant(torch.stack([*shape, *cut, log_weight - LOG_2PI])[:, :, None]))

    def log_prob(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        return self._by_rows(lambda p: infinite(torch.logsumexp(p.log_q, dim=0)), x, sigma)

    def score(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self._by_rows(self._score, x, sigma)

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self._by_rows(self._denoise, x, sigma)

    def score_and_denoise(self, x: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor]:
        return pair(self._by_rows(lambda p: torch.cat([self._score(p), self._denoise(p)], dim=1), x, sigma))

    def _by_rows(self, function: Callable[["_Parts"], Tensor], x: Tensor, sigma: float | Tensor) -> Tensor:
        rows = CPU_CHUNK if x.device.type == "cpu" else GPU_CHUNK
        return by_rows(lambda y, s: function(_Parts(self, y, s)), wide(x), sigma, rows).to(x.dtype)

    @staticmethod
    def _score(p: "_Parts") -> Tensor:
        r, h = p.weights, (p.hazard / p.tau).clamp(max=LARGE)
        score = [(r * (h * p.Pa0 - p.Cd0)).sum(0), (r * (h * p.Pa1 - p.Cd1)).sum(0)]
        return infinite(torch.stack(score, dim=-1))

    @staticmethod
    def _denoise(p: "_Parts") -> Tensor:
        r, h = p.weights, p.hazard * (p.v / p.tau)
        p00, p01, p11 = p.P
        y0 = p.mu0 + p00 * p.d0 + p01 * p.d1 + h * p.Pa0
        y1 = p.mu1 + p01 * p.d0 + p11 * p.d1 + h * p.Pa1
        return torch.stack([(r * y0).sum(0), (r * y1).sum(0)], dim=-1)


class _Parts:
    """The quantities of every part at every point, `(K, n)`, that log density, score and denoiser share."""

    def __init__(self, distribution: HalfPlaneGaussians, x: Tensor, sigma: Tensor):
        self.constants = mu0, mu1, s00, s01, s11, det_S, a0, a1, offset, log_weight = distribution._constants.to(
            x.device
        )
        sigma = positive(sigma[:, 0])  # (1,) or (n,)
        v = sigma * sigma
        det = det_S + v * (s00 + s11 + v)
        self.inverse = i00, i01, i11 = (s11 + v) / det, -s01 / det, (s00 + v) / det  # C^-1
        self.P = p00, p01, p11 = (det_S + v * s00) / det, v * s01 / det, (det_S + v * s11) / det
        self.Pa0, self.Pa1 = p00 * a0 + p01 * a1, p01 * a0 + p11 * a1
        d0, d1 = x[:, 0] - mu0, x[:, 1] - mu1
        self.Cd0, self.Cd1 = i00 * d0 + i01 * d1, i01 * d0 + i11 * d1  # C^-1 (x - mu)
        self.tau = sigma * (a0 * self.Pa0 + a1 * self.Pa1).sqrt()
        self.z = (offset + self.Pa0 * d0 + self.Pa1 * d1) / self.tau
        self.log_phi, self.hazard = log_ndtr_and_hazard(self.z)
        self.log_q = log_weight - 0.5 * (d0 * self.Cd0 + d1 * self.Cd1 + det.log()) + self.log_phi
        self.mu0, self.mu1, self.d0, self.d1, self.v, self.x, self.det = mu0, mu1, d0, d1, v, x, det

    @functools.cached_property
    def weights(self) -> Tensor:
        """The posterior weight of each part, the softmax of `log q`."""
        near = self.log_q.amax(dim=0) > FAR
        log_q = self.log_q if all_true(near) else torch.where(near, self.log_q, self._far_log_q())
        return torch.softmax(log_q, dim=0)

    def _far_log_q(self) -> Tensor:
        """`log q` up to a number that all parts share, accurate however far the point is."""
        mu0, mu1, s00, s01, s11, det_S, a0, a1, offset, log_weight = self.constants
        i00, i01, i11 = self.inverse
        b0, b1 = i00 * mu0 + i01 * mu1, i01 * mu0 + i11 * mu1
        Q = self._difference(-0.5 * i00, -i01, -0.5 * i11, b0, b1, -0.5 * (b0 * mu0 + b1 * mu1))
        # E: the unit vectors n across the edge and e along it, and the prior of a clean point on the edge, along e.
        length = torch.hypot(a0, a1)
        n0, n1, depth = a0 / length, a1 / length, offset / length
        e0, e1 = -n1, n0
        across = n0 * (n0 * s00 + n1 * s01) + n1 * (n0 * s01 + n1 * s11)  # n' S n
        mean = e0 * mu0 + e1 * mu1 - (e0 * (n0 * s00 + n1 * s01) + e1 * (n0 * s01 + n1 * s11)) / across * depth
        edge, along, v = n0 * mu0 + n1 * mu1 - depth, det_S / across + self.v, self.v
        E = self._difference(
            -0.5 * (n0 * n0 / v + e0 * e0 / along),
            -(n0 * n1 / v + e0 * e1 / along),
            -0.5 * (n1 * n1 / v + e1 * e1 / along),
            n0 * edge / v + e0 * mean / along,
            n1 * edge / v + e1 * mean / along,
            -0.5 * (edge * edge / v + mean * mean / along + depth * depth / across),
        )
        z = self.z
        # log Phi(z) + z^2 / 2, which is z^2 / 2 to all digits where the hazard may underflow
        mills = torch.where(z > 9.0, 0.5 * z * z, -self.hazard.clamp(min=1 / LARGE).log() - 0.5 * LOG_2PI)
        log_q = torch.where(z.amin(dim=0) > 0, Q + self.log_phi, E + mills.clamp(max=LARGE))
        return log_q + log_weight - 0.5 * self.det.log()

    def _difference(self, *coefficients: Tensor) -> Tensor:
        """A quadratic polynomial of each part, `(K, n)`, minus that of the first part."""
        xx, xy, yy, x, y, one = (c - c[:1] for c in torch.broadcast_tensors(*coefficients))
        x0, x1 = self.x[:, 0], self.x[:, 1]
        return (x0 * x0 * xx + x0 * x1 * xy + x1 * x1 * yy + x0 * x + x1 * y + one).clamp(-LARGE, LARGE)
