r"""Gaussians cut to half-planes: the split normal and the heart.

Both are maps of a standard normal that act differently on the two sides of an axis, so their densities are Gaussians
restricted to half-planes. A part with weight `w`, mean `mu`, covariance `S`, restricted to `a.(x - c) > 0` and
normalised, becomes under noise of level `sigma`

    q(x) = N(x; mu, C) Phi(m / tau) / Phi(m0),        C = S + sigma^2 I,
    m    = a.(mu - c) + a' S C^-1 (x - mu),           the posterior mean of a.(x0 - c) before the cut,
    tau^2 = sigma^2 a' S C^-1 a,                      its posterior variance,

with `m0 = a.(mu - c) / sqrt(a' S a)`, and, with the hazard `h(z) = phi(z) / Phi(z)` at `z = m / tau`,

    grad log q = -C^-1 (x - mu) + (h / tau) C^-1 S a,
    E[x0 | x]  = mu + S C^-1 (x - mu) + (h / tau) sigma^2 S C^-1 a.

(Gaussian conditioning and the mean of a truncated normal.) The form of `tau^2` matters: the usual
`a' S a - a' S C^-1 S a` cancels to noise in float32.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from toy_score.distributions.base import Distribution, by_rows
from toy_score.seeds import seed_of

__all__ = ["FoldedNormal", "HalfPlaneGaussians", "Heart", "SplitNormal"]

LOG_2PI = math.log(2.0 * math.pi)
CPU_CHUNK, GPU_CHUNK = 1 << 15, 1 << 20  # points at once: what stays in the cache; 100 MB
FAR = -9.0  # where the lower tail of the normal law is on the series


class HalfPlaneGaussians(Distribution):
    """Mixture of Gaussians, each restricted to a half-plane; the formulas are at the top of this file.

    Args:
        means: `mu`, K points.
        covariances: `S`, K symmetric positive definite 2 x 2 matrices.
        normals: `a`, K vectors that point into the half-planes.
        edges: `c`, K points on the edges of the half-planes.
        weights: K positive numbers that sum to 1.
    """

    def __init__(
        self,
        means: Sequence[Sequence[float]],
        covariances: Sequence[Sequence[Sequence[float]]],
        normals: Sequence[Sequence[float]],
        edges: Sequence[Sequence[float]],
        weights: Sequence[float],
    ):
        mu, a, c = (torch.tensor(v, dtype=torch.float64) for v in (means, normals, edges))
        S = torch.tensor(covariances, dtype=torch.float64)
        offset = (a * (mu - c)).sum(-1)
        Sa = (S @ a[:, :, None])[:, :, 0]
        spread = (a * Sa).sum(-1).sqrt()
        log_weight = torch.tensor(weights, dtype=torch.float64).log() - torch.special.log_ndtr(offset / spread)
        # Columns (K, 1): everything below is (K, n), one contiguous row per part, which is what the cache likes.
        shape = [mu[:, 0], mu[:, 1], S[:, 0, 0], S[:, 0, 1], S[:, 1, 1]]
        cut = [a[:, 0], a[:, 1], Sa[:, 0], Sa[:, 1], offset]
        self._constants = torch.stack([*shape, *cut, log_weight - LOG_2PI])[:, :, None]
        self._on: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def log_prob(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        return self._by_rows(lambda p: torch.logsumexp(p.log_q, dim=0), x, sigma)

    def score(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self._by_rows(self._score, x, sigma)

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self._by_rows(self._denoise, x, sigma)

    def _by_rows(self, function: Callable[["_Parts"], Tensor], x: Tensor, sigma: float | Tensor) -> Tensor:
        rows = CPU_CHUNK if x.device.type == "cpu" else GPU_CHUNK
        return by_rows(lambda y, s: function(_Parts(self, y, s)), x, sigma, rows)

    @staticmethod
    def _score(p: "_Parts") -> Tensor:
        r, h = p.responsibilities_and_hazards()
        return torch.stack(
            [(r * (h * p.Ca0 - p.Cd0)).sum(0), (r * (h * p.Ca1 - p.Cd1)).sum(0)],
            dim=-1,
        )

    @staticmethod
    def _denoise(p: "_Parts") -> Tensor:
        r, h = p.responsibilities_and_hazards()
        # mu + S [C^-1 (x - mu) + (h / tau) sigma^2 C^-1 a]; S and C = S + sigma^2 I commute.
        u0, u1 = p.Cd0 + h * p.v * p.Cn0, p.Cd1 + h * p.v * p.Cn1
        return torch.stack(
            [
                (r * (p.mu0 + p.s00 * u0 + p.s01 * u1)).sum(0),
                (r * (p.mu1 + p.s01 * u0 + p.s11 * u1)).sum(0),
            ],
            dim=-1,
        )

    def _constants_for(self, x: Tensor) -> Tensor:
        key = (x.device, x.dtype)
        if key not in self._on:
            self._on[key] = self._constants.to(x)
        return self._on[key]


class _Parts:
    """The quantities of every part at every point, `(K, n)`, that log density, score and denoiser share."""

    def __init__(self, distribution: HalfPlaneGaussians, x: Tensor, sigma: Tensor):
        mu0, mu1, s00, s01, s11, a0, a1, sa0, sa1, offset, log_weight = distribution._constants_for(x)
        sigma = sigma[:, 0]  # (1,) or (n,)
        v = sigma * sigma
        c00, c11 = s00 + v, s11 + v
        det = c00 * c11 - s01 * s01
        i00, i01, i11 = c11 / det, -s01 / det, c00 / det  # C^-1
        self.Cn0, self.Cn1 = i00 * a0 + i01 * a1, i01 * a0 + i11 * a1  # C^-1 a
        self.Ca0, self.Ca1 = i00 * sa0 + i01 * sa1, i01 * sa0 + i11 * sa1  # C^-1 S a
        d0, d1 = x[:, 0] - mu0, x[:, 1] - mu1
        self.Cd0, self.Cd1 = i00 * d0 + i01 * d1, i01 * d0 + i11 * d1  # C^-1 (x - mu)
        m = offset + self.Ca0 * d0 + self.Ca1 * d1
        # Without noise the posterior is certain, z is infinite, and the factor the indicator of the half-plane.
        self.tau = (sigma * (self.Cn0 * sa0 + self.Cn1 * sa1).sqrt()).clamp(min=torch.finfo(x.dtype).tiny)
        self.z = m / self.tau
        quadratic = d0 * self.Cd0 + d1 * self.Cd1
        self.log_q = log_weight - 0.5 * (quadratic + det.log()) + _LogNdtr.apply(self.z)
        self.mu0, self.mu1, self.s00, self.s01, self.s11, self.v = mu0, mu1, s00, s01, s11, v

    def responsibilities_and_hazards(self) -> tuple[Tensor, Tensor]:
        """Posterior weights of the parts, and `h(z) / tau`."""
        return torch.softmax(self.log_q, dim=0), _Hazard.apply(self.z) / self.tau


def _hazard(z: Tensor) -> Tensor:
    """`h(z) = phi(z) / Phi(z)`.

    As `sqrt(2 / pi) / erfcx(-z / sqrt 2)` it is right in both tails; `exp(-z^2/2) / Phi(z)` is 0/0 in the left one. But
    torch works out `erfcx` number by number. In float32 the quotient is right to 7e-6 down to z = -9, and from there on
    the asymptotic series is, `h(-u) = u + 1/u - 2/u^3 + 10/u^5 - ...`: that is several times as fast.
    """
    if z.dtype != torch.float32:
        return math.sqrt(2.0 / math.pi) / torch.special.erfcx(z * -math.sqrt(0.5))
    near = (z * z * -0.5).exp() * math.sqrt(0.5 / math.pi) / _ndtr(z)
    return torch.where(z < FAR, _far_hazard(z.clamp(max=FAR)), near)


def _far_hazard(z: Tensor) -> Tensor:
    return _far_excess(z) - z


def _far_excess(z: Tensor) -> Tensor:
    """`h(z) + z`, which is lost in `h(z)` itself."""
    w = 1.0 / (z * z)
    return -z * w * (1.0 - w * (2.0 - 10.0 * w))


def _log_ndtr(z: Tensor) -> Tensor:
    """`log Phi(z)`; in float32 as `_hazard`, since `Phi = phi / h`."""
    if z.dtype != torch.float32:
        return torch.special.log_ndtr(z)
    far = z * z * -0.5 - 0.5 * LOG_2PI - _far_hazard(z.clamp(max=FAR)).log()
    return torch.where(z < FAR, far, _ndtr(z).log())


def _ndtr(z: Tensor) -> Tensor:
    """`Phi(z)`, at least `Phi(-9)`."""
    return 0.5 * torch.erfc(z.clamp(min=FAR) * -math.sqrt(0.5))


class _Smooth(torch.autograd.Function):
    """A function of one variable with a derivative that is right in both tails, where torch's own rules are not."""

    @staticmethod
    def slope(z: Tensor, value: Tensor) -> Tensor:
        raise NotImplementedError

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @classmethod
    def jvp(cls, ctx: Any, tangent: Tensor) -> Tensor:
        return tangent * cls.slope(*ctx.saved_tensors)

    @classmethod
    def backward(cls, ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * cls.slope(*ctx.saved_tensors)


class _LogNdtr(_Smooth):
    """`log Phi(z)`, whose derivative is the hazard."""

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        return _log_ndtr(z)

    @staticmethod
    def slope(z: Tensor, value: Tensor) -> Tensor:
        return _hazard(z)


class _Hazard(_Smooth):
    """`h(z)`, whose derivative is `-h (z + h)`."""

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        return _hazard(z)

    @staticmethod
    def slope(z: Tensor, value: Tensor) -> Tensor:
        excess = z + value
        if z.dtype == torch.float32:
            excess = torch.where(z < FAR, _far_excess(z.clamp(max=FAR)), excess)
        return -value * excess


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


class _Side(HalfPlaneGaussians):
    """One side of a folded normal: one of its two parts, as a distribution of its own."""

    def __init__(self, folded: FoldedNormal, label: int):
        self.folded, self.label = folded, label
        self.bounds, self.name = folded.bounds, f"{folded.name}_{list(folded.mode_weights)[label]}"
        self._constants = folded._constants[:, [1 - label]].clone()  # the parts come right side first
        self._constants[-1] -= math.log(0.5)  # its weight in the whole
        self._on = {}

    def __repr__(self) -> str:
        return f"{self.folded!r}.given({self.label})"

    def _push(self, z: Tensor) -> Tensor:
        # A normal point that would come to the other side is replaced by its opposite, which is as likely.
        x = self.folded.push(z)
        return torch.where((self.folded.modes(x) == self.label)[:, None], x, self.folded.push(-z))

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        device = generator.device if generator is not None else None
        return self._push(torch.randn(n, 2, generator=generator, device=device))

    def reference(self, n: int = 65_536) -> Tensor:
        return self._push(_normal_reference(n))

    def entropy(self) -> float:
        """That of the whole less `log 2`: the sides do not overlap, and are mirror images or copies of each other."""
        return self.folded.entropy() - math.log(2.0)

    def invalid(self, x: Tensor) -> Tensor:
        """Points on the other side, and those where the whole has none: `(n,)` booleans."""
        return self.folded.invalid(x) | (self.folded.modes(x) != self.label)

    def circles(self, radii: Sequence[float], n: int = 1000) -> list[Tensor]:
        return self.folded.circles(radii, n)[1 - self.label :: 2]


def _normal_reference(n: int) -> Tensor:
    """A scrambled Sobol set of standard normal points: its error is some fifteen times below that of random points."""
    sobol = torch.quasirandom.SobolEngine(2, scramble=True, seed=seed_of("reference points") % 2**31)
    return torch.special.ndtri(sobol.draw(n, dtype=torch.float64).clamp(1e-9, 1 - 1e-9))


class SplitNormal(FoldedNormal):
    """A standard normal cut in two along `x_0 = 0`, the halves pushed apart: `z + (shift sign(z_0), 0)`.

    Args:
        shift: how far each half moves, > 0; the gap between the halves is `2 shift` wide.

    Raises:
        ValueError: if `shift` is not positive.
    """

    bounds = 5.0
    name = "split_normal"

    def __init__(self, shift: float = 1.0):
        if not shift > 0:
            raise ValueError(f"shift must be positive, got {shift}; the study uses 1.0")
        self.shift = shift
        identity = [[1.0, 0.0], [0.0, 1.0]]
        centres, normals = [[shift, 0.0], [-shift, 0.0]], [[1.0, 0.0], [-1.0, 0.0]]
        super().__init__(centres, [identity, identity], normals, centres, [0.5, 0.5])

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


class Heart(FoldedNormal):
    """A correlated Gaussian, mirrored: `y = z M` with `M = [[1, 1/2], [1/2, 1]]`, then `(y_0, sign(y_0) y_1)`."""

    bounds = 4.5
    name = "heart"

    def __init__(self):
        right, left = [[1.25, 1.0], [1.0, 1.25]], [[1.25, -1.0], [-1.0, 1.25]]  # M' M, and its mirror image
        origin = [[0.0, 0.0], [0.0, 0.0]]
        super().__init__(origin, [right, left], [[1.0, 0.0], [-1.0, 0.0]], origin, [0.5, 0.5])

    def push(self, z: Tensor) -> Tensor:
        y0, y1 = z[:, 0] + 0.5 * z[:, 1], 0.5 * z[:, 0] + z[:, 1]
        return torch.stack([y0, y1 * torch.copysign(torch.ones_like(y0), y0)], dim=-1)

    def pull(self, x: Tensor) -> Tensor:
        y0, y1 = x[:, 0], x[:, 1] * torch.copysign(torch.ones_like(x[:, 0]), x[:, 0])
        return torch.stack([(y0 - 0.5 * y1) / 0.75, (y1 - 0.5 * y0) / 0.75], dim=-1)

    def entropy(self) -> float:
        """`log(2 pi e) + log det M`, with `det M = 3/4`."""
        return LOG_2PI + 1.0 + math.log(0.75)
