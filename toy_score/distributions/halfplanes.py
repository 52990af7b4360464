r"""Gaussians cut to half-planes: the split normal and the heart.

Both are maps of a standard normal that act differently on the two sides of an axis, so their densities are Gaussians
restricted to half-planes. A part with weight `w`, mean `mu`, covariance `S`, restricted to `a.(x - c) > 0` and
normalised, becomes under noise of level `sigma`

    q(x) = N(x; mu, C) Phi(m / tau) / Phi(m0),        C = S + sigma^2 I,   P = S C^-1,
    m    = a.(mu - c) + a' P (x - mu),                the posterior mean of a.(x0 - c) before the cut,
    tau^2 = sigma^2 a' P a,                           its posterior variance,

with `m0 = a.(mu - c) / sqrt(a' S a)`, and, with the hazard `h(z) = phi(z) / Phi(z)` at `z = m / tau`,

    grad log q = -C^-1 (x - mu) + (h / tau) P a,
    E[x0 | x]  = mu + P (x - mu) + (h / tau) sigma^2 P a.

(Gaussian conditioning and the mean of a truncated normal.) For 2 x 2 matrices, with `v = sigma^2`,

    P = (det S I + v S) / det C,      det C = det S + v tr S + v^2,

sums of positive (definite) terms: nothing cancels at any `sigma`, where `C^-1 S` as a product of matrices loses the
digits of small `sigma`, and `a' S a - a' S C^-1 S a` for `a' P a` loses all. All of it is worked out in float64, as for
`Gaussians`: in float32 the weights of the parts would lose `|log q|` times the rounding error. In float64 they do so
only far out: their logarithms are of the size `(|x| / sigma)^2 / 2`, so at `|x| = 1e6 sigma` they are right to 1e-4.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from toy_score.constants import Constant
from toy_score.distributions.base import Distribution, OneClass, by_rows, infinite, positive
from toy_score.seeds import seed_of

__all__ = ["FoldedNormal", "HalfPlaneGaussians", "Heart", "SplitNormal"]

LOG_2PI = math.log(2.0 * math.pi)
CPU_CHUNK, GPU_CHUNK = 1 << 13, 1 << 20  # points at once: what stays in the cache; 200 MB
FAR = -35.0  # below it the hazard is its asymptotic series; exp(-z^2/2) and Phi(z) are normal numbers down to -37


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

    At `sigma = 0`, at points that lie outside all half-planes and equally far from two of them, these two weigh the
    same: the limit where the densities at the two nearest points are equal, as they are for the split normal.
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
        # Columns (K, 1): everything below is (K, n), one contiguous row per part, which is what the cache likes.
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

    def _by_rows(self, function: Callable[["_Parts"], Tensor], x: Tensor, sigma: float | Tensor) -> Tensor:
        rows = CPU_CHUNK if x.device.type == "cpu" else GPU_CHUNK
        return by_rows(lambda y, s: function(_Parts(self, y, s)), x.double(), sigma, rows).to(x.dtype)

    @staticmethod
    def _score(p: "_Parts") -> Tensor:
        r, h = torch.softmax(p.log_q, dim=0), p.hazard / p.tau
        score = [(r * (h * p.Pa0 - p.Cd0)).sum(0), (r * (h * p.Pa1 - p.Cd1)).sum(0)]
        return infinite(torch.stack(score, dim=-1))

    @staticmethod
    def _denoise(p: "_Parts") -> Tensor:
        r, h = torch.softmax(p.log_q, dim=0), p.hazard * (p.v / p.tau)
        p00, p01, p11 = p.P
        y0 = p.mu0 + p00 * p.d0 + p01 * p.d1 + h * p.Pa0
        y1 = p.mu1 + p01 * p.d0 + p11 * p.d1 + h * p.Pa1
        return torch.stack([(r * y0).sum(0), (r * y1).sum(0)], dim=-1)


class _Parts:
    """The quantities of every part at every point, `(K, n)`, that log density, score and denoiser share."""

    def __init__(self, distribution: HalfPlaneGaussians, x: Tensor, sigma: Tensor):
        mu0, mu1, s00, s01, s11, det_S, a0, a1, offset, log_weight = distribution._constants.to(x.device)
        sigma = positive(sigma[:, 0])  # (1,) or (n,)
        v = sigma * sigma
        det = det_S + v * (s00 + s11 + v)
        i00, i01, i11 = (s11 + v) / det, -s01 / det, (s00 + v) / det  # C^-1
        self.P = p00, p01, p11 = (det_S + v * s00) / det, v * s01 / det, (det_S + v * s11) / det
        self.Pa0, self.Pa1 = p00 * a0 + p01 * a1, p01 * a0 + p11 * a1
        d0, d1 = x[:, 0] - mu0, x[:, 1] - mu1
        self.Cd0, self.Cd1 = i00 * d0 + i01 * d1, i01 * d0 + i11 * d1  # C^-1 (x - mu)
        self.tau = sigma * (a0 * self.Pa0 + a1 * self.Pa1).sqrt()
        log_phi, self.hazard = log_ndtr_and_hazard((offset + self.Pa0 * d0 + self.Pa1 * d1) / self.tau)
        self.log_q = log_weight - 0.5 * (d0 * self.Cd0 + d1 * self.Cd1 + det.log()) + log_phi
        self.mu0, self.mu1, self.d0, self.d1, self.v = mu0, mu1, d0, d1, v


def log_ndtr_and_hazard(z: Tensor) -> tuple[Tensor, Tensor]:
    """`log Phi(z)` and `h(z) = phi(z) / Phi(z)`, float64, both right to 1e-12 in both tails, and so their derivatives.

    From one `erfc`, of which torch works out many numbers at once, as it does not for `erfcx`, and in the far lower
    tail from the asymptotic series `h(-u) = u + 1/u - 2/u^3 + 10/u^5 - 74/u^7 + ...`.
    """
    return _LogAndHazard.apply(z)  # type: ignore[no-untyped-call]  # torch annotates no `apply`


def hazard(z: Tensor) -> Tensor:
    """`h(z)` alone, as in `log_ndtr_and_hazard`."""
    return _Hazard.apply(z)  # type: ignore[no-untyped-call]  # torch annotates no `apply`


def _slope(z: Tensor, hazard: Tensor) -> Tensor:
    """`h' = -h (z + h)`."""
    return -hazard * torch.where(z < FAR, _far_excess(z.clamp(max=FAR)), z + hazard)


class _Tails(torch.autograd.Function):
    """Functions with their derivatives by hand: far fewer operations than by torch's rules."""

    @staticmethod
    def _parts(z: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """`2 Phi` where it is a normal number, the hazard, and where `z` is far.

        The last is None if no number is far, as is usual. A GPU is not asked, since the host would have to wait for it.
        """
        if z.device.type == "cpu" and z.numel() and bool(z.amin() >= FAR):  # false if any number is nan
            near, is_far = z, None
        else:
            near, is_far = z.clamp(min=FAR), z < FAR
        twice_Phi = torch.erfc(near * -math.sqrt(0.5))
        hazard = (near * near).mul_(-0.5).exp_().mul_(2.0 * math.sqrt(0.5 / math.pi)).div_(twice_Phi)
        if is_far is not None:
            far = z.clamp(max=FAR)
            hazard = torch.where(is_far, _far_excess(far) - far, hazard)
        return twice_Phi, hazard, is_far


class _Hazard(_Tails):
    """The hazard."""

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        return _Tails._parts(z)[1]

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], z: Tensor) -> tuple[Tensor, int]:
        return hazard(z), in_dims[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent * _slope(*ctx.saved_tensors)

    @staticmethod
    def backward(ctx: Any, of_hazard: Tensor) -> Tensor:
        return of_hazard * _slope(*ctx.saved_tensors)


class _LogAndHazard(_Tails):
    """`log Phi`, whose derivative is the hazard, and the hazard."""

    @staticmethod
    def forward(z: Tensor) -> tuple[Tensor, Tensor]:
        twice_Phi, hazard, is_far = _Tails._parts(z)
        log_Phi = twice_Phi.mul_(0.5).log_()
        if is_far is not None:
            log_Phi = torch.where(is_far, z * z * -0.5 - 0.5 * LOG_2PI - hazard.log(), log_Phi)
        return log_Phi, hazard

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], z: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        return log_ndtr_and_hazard(z), in_dims * 2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs, output[1])
        ctx.save_for_forward(*inputs, output[1])

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> tuple[Tensor, Tensor]:
        z, hazard = ctx.saved_tensors
        return tangent * hazard, tangent * _slope(z, hazard)

    @staticmethod
    def backward(ctx: Any, of_log: Tensor, of_hazard: Tensor) -> Tensor:
        z, hazard = ctx.saved_tensors
        return of_log * hazard + of_hazard * _slope(z, hazard)


def _far_excess(z: Tensor) -> Tensor:
    """`h(z) + z` far in the lower tail, where the two cancel."""
    w = 1.0 / (z * z)
    return -z * w * (1.0 - w * (2.0 - w * (10.0 - w * 74.0)))


class FoldedNormal(HalfPlaneGaussians):
    """An invertible map of the standard normal that is linear on either side of the axis `x_0 = 0`.

    The sides are its modes and its classes: 0 is left, 1 is right. Opposite normal points come to opposite sides.
    """

    mode_weights = {"left": 0.5, "right": 0.5}
    n_labels = 2

    @abstractmethod
    def push(self, z: Tensor) -> Tensor:
        """The map: standard normal points `(n, 2)` become points of the distribution."""

    @abstractmethod
    def pull(self, x: Tensor) -> Tensor:
        """Its inverse: points of the distribution `(n, 2)` become standard normal, exactly."""

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        device = generator.device if generator is not None else None
        return self.push(torch.randn(n, 2, generator=generator, device=device))

    def sample_labelled(self, n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        x = self.sample(n, generator)
        return x, self.modes(x)

    def _given(self, label: int) -> Distribution:
        return _Side(self, label)

    def reference(self, n: int = 65_536) -> Tensor:
        return self.push(_normal_reference(n))

    def modes(self, x: Tensor) -> Tensor:
        return (x[:, 0] > 0).long()

    def circles(self, radii: Sequence[float], n: int = 1000) -> list[Tensor]:
        angles = torch.linspace(0.0, 2.0 * math.pi, n + 1)[:-1]
        circle = torch.stack([angles.cos(), angles.sin()], dim=-1)
        right = self.push(circle)[:, 0] > 0  # which side of the fold, the same for every radius
        first = int((right & ~right.roll(1)).nonzero()[0])  # begin where the circle enters the right side
        circle, half = circle.roll(-first, 0), int(right.sum())
        return [piece for r in radii for piece in self.push(r * circle).split([half, n - half])]


class _Side(OneClass, HalfPlaneGaussians):
    """One side of a folded normal: one of its two parts."""

    def parts(self) -> HalfPlaneParts:
        whole: HalfPlaneParts = self.whole.parts()
        side = slice(1 - self.label, 2 - self.label)  # the parts come right side first
        return HalfPlaneParts(whole.means[side], whole.covariances[side], whole.normals[side], whole.edges[side], [1.0])

    def _push(self, z: Tensor) -> Tensor:
        # A normal point that would come to the other side is replaced by its opposite, which is as likely.
        x = self.whole.push(z)
        return torch.where((self.whole.modes(x) == self.label)[:, None], x, self.whole.push(-z))

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        device = generator.device if generator is not None else None
        return self._push(torch.randn(n, 2, generator=generator, device=device))

    def reference(self, n: int = 65_536) -> Tensor:
        return self._push(_normal_reference(n))

    def entropy(self) -> float:
        """That of the whole less `log 2`: the sides do not overlap, and are mirror images or copies of each other."""
        return self.whole.entropy() - math.log(2.0)

    def invalid(self, x: Tensor) -> Tensor:
        """Points on the other side, and those where the whole has none: `(n,)` booleans."""
        return self.whole.invalid(x) | (self.whole.modes(x) != self.label)

    def circles(self, radii: Sequence[float], n: int = 1000) -> list[Tensor]:
        return self.whole.circles(radii, n)[1 - self.label :: 2]


def _normal_reference(n: int) -> Tensor:
    """A scrambled Sobol set of standard normal points: its error is some fifteen times below that of random points."""
    sobol = torch.quasirandom.SobolEngine(2, scramble=True, seed=seed_of("reference points") % 2**31)
    return torch.special.ndtri(sobol.draw(n, dtype=torch.float64).clamp(1e-9, 1 - 1e-9))


@dataclass(frozen=True)
class SplitNormal(FoldedNormal):
    """A standard normal cut in two along `x_0 = 0`, the halves pushed apart: `z + (shift sign(z_0), 0)`.

    Args:
        shift: how far each half moves, > 0; the gap between the halves is `2 shift` wide.

    Raises:
        ValueError: if `shift` is not positive.
    """

    bounds = 5.0
    name = "split_normal"

    shift: float = 1.0

    def __post_init__(self) -> None:
        if not self.shift > 0:
            raise ValueError(f"shift must be positive, got {self.shift}; the study uses 1.0")
        super().__post_init__()

    def parts(self) -> HalfPlaneParts:
        identity = [[1.0, 0.0], [0.0, 1.0]]
        centres, normals = [[self.shift, 0.0], [-self.shift, 0.0]], [[1.0, 0.0], [-1.0, 0.0]]
        return HalfPlaneParts(centres, [identity, identity], normals, centres, [0.5, 0.5])

    def push(self, z: Tensor) -> Tensor:
        return torch.stack([z[:, 0] + torch.copysign(z.new_tensor(self.shift), z[:, 0]), z[:, 1]], dim=-1)

    def pull(self, x: Tensor) -> Tensor:
        return torch.stack([x[:, 0] - torch.copysign(x.new_tensor(self.shift), x[:, 0]), x[:, 1]], dim=-1)

    def entropy(self) -> float:
        """`log(2 pi e)`: each half is only shifted."""
        return LOG_2PI + 1.0

    def invalid(self, x: Tensor) -> Tensor:
        """Points in the gap `|x_0| < shift`, where the density is zero: `(n,)` booleans."""
        return x[:, 0].abs() < self.shift


@dataclass(frozen=True)
class Heart(FoldedNormal):
    """A correlated Gaussian, mirrored: `y = z M` with `M = [[1, 1/2], [1/2, 1]]`, then `(y_0, sign(y_0) y_1)`."""

    bounds = 4.5
    name = "heart"

    def parts(self) -> HalfPlaneParts:
        right, left = [[1.25, 1.0], [1.0, 1.25]], [[1.25, -1.0], [-1.0, 1.25]]  # M' M, and its mirror image
        origin = [[0.0, 0.0], [0.0, 0.0]]
        return HalfPlaneParts(origin, [right, left], [[1.0, 0.0], [-1.0, 0.0]], origin, [0.5, 0.5])

    def push(self, z: Tensor) -> Tensor:
        y0, y1 = z[:, 0] + 0.5 * z[:, 1], 0.5 * z[:, 0] + z[:, 1]
        return torch.stack([y0, y1 * torch.copysign(torch.ones_like(y0), y0)], dim=-1)

    def pull(self, x: Tensor) -> Tensor:
        y0, y1 = x[:, 0], x[:, 1] * torch.copysign(torch.ones_like(x[:, 0]), x[:, 0])
        return torch.stack([(y0 - 0.5 * y1) / 0.75, (y1 - 0.5 * y0) / 0.75], dim=-1)

    def entropy(self) -> float:
        """`log(2 pi e) + log det M`, with `det M = 3/4`."""
        return LOG_2PI + 1.0 + math.log(0.75)
