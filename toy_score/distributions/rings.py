r"""Rings: thick circles, with a rotational symmetry that no mixture of Gaussians has.

A point uniform on a circle of radius R about the origin, plus noise of variance `v = s^2 + sigma^2` (s is the
thickness), has at distance r from the origin, with `k = R r / v` and the modified Bessel functions I,

    log q(x) = log I0e(k) - (r - R)^2 / 2v - log 2 pi v,        I0e(k) = exp(-k) I0(k),
    grad log q(x) = (g - 1) x / v,                              g = (R / r) I1e(k) / I0e(k):

the density of the noise averaged over the circle (Rice's distribution of r). The scaled functions I0e and I1e neither
overflow nor underflow. Everything is computed in float64, as for `Gaussians`.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from toy_score.checks import check_positive
from toy_score.distributions.base import Distribution, OneClass, by_rows, device_of, evenly_spread, wide

__all__ = ["Circles", "ConcentricRings", "Rings"]

CHUNK = 1 << 16  # rings x points at a time


class RingList(NamedTuple):
    """Circles about the origin with `radii` > 0; `std` > 0 is the standard deviation of the noise, their thickness."""

    radii: Sequence[float]
    std: float
    names: Sequence[str] | None = None
    """Of the classes; their numbers if None."""


class ConcentricRings(Distribution):
    """Circles about the origin with equal mass and equal thickness; each is a class."""

    _R: Tensor
    _s: float

    @abstractmethod
    def rings(self) -> RingList:
        """The rings, at least one."""

    def __post_init__(self) -> None:
        radii, std, names = self.rings()
        K = len(radii)
        names = [str(k) for k in range(K)] if names is None else names
        self._set(
            mode_weights=dict.fromkeys(names, 1.0 / K),
            n_labels=K if K > 1 else 0,
            bounds=math.ceil(2.0 * (max(radii) + 3.0 * std)) / 2.0,
            _R=torch.tensor(radii, dtype=torch.float64),
            _s=std,
        )

    def _log_q(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithm of each ring's share of the density, and `g`, `(n, K)`."""
        R, r = self._R.to(x.device, non_blocking=True), x.square().sum(dim=-1, keepdim=True).clamp(min=1e-60).sqrt()
        k = R * r / v
        i0e, i1e = torch.special.i0e(k), torch.special.i1e(k)
        log_q = i0e.log() - 0.5 * (r - R).square() / v - (2.0 * math.pi * len(R) * v).log()
        return log_q, R / r * (i1e / i0e)

    def log_prob(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        def log_p(x: Tensor, sigma: Tensor) -> Tensor:
            return self._log_q(x, self._s**2 + sigma.square())[0].logsumexp(dim=-1)

        return self._by_rows(log_p, x, sigma)

    def score(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self._by_rows(self._score, x, sigma)

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self._by_rows(lambda x, sigma: x + sigma.square() * self._score(x, sigma), x, sigma)

    def _score(self, x: Tensor, sigma: Tensor) -> Tensor:
        v = self._s**2 + sigma.square()
        log_q, g = self._log_q(x, v)
        return ((log_q.softmax(dim=-1) * g).sum(dim=-1, keepdim=True) - 1.0) / v * x

    def modes(self, x: Tensor) -> Tensor:
        """The ring with the largest posterior probability, `(n,)` integers."""
        return self._log_q(x.double(), x.new_tensor(self._s**2, dtype=torch.float64))[0].argmax(dim=-1)

    def _by_rows(self, function: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigma: float | Tensor) -> Tensor:
        return by_rows(function, wide(x), sigma, CHUNK // len(self._R)).to(x.dtype)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return self.sample_labelled(n, generator)[0]

    def sample_labelled(self, n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        device = device_of(generator)
        u = torch.rand(n, 2, generator=generator, device=device, dtype=torch.float64)
        z = torch.randn(n, 2, generator=generator, device=device)
        return self._place(u, z)

    def _place(self, u: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """The points and their rings, from uniform numbers `u` (ring, angle) and normal numbers `z` (noise)."""
        k = (u[:, 0] * len(self._R)).long()
        angle = 2.0 * math.pi * u[:, 1]
        circle = self._R.to(u.device)[k, None] * torch.stack([angle.cos(), angle.sin()], dim=-1)
        return (circle + self._s * z).to(z.dtype), k

    def reference(self, n: int = 65_536) -> Tensor:
        u = evenly_spread(n, 4)  # ring, angle, noise
        return self._place(u[:, :2], torch.special.ndtri(u[:, 2:]))[0]

    def entropy(self) -> float:
        """By the midpoint rule along r, with steps of a fiftieth of the thickness: accurate to 1e-6 nats."""
        low = max(self._R.min().item() - 9.0 * self._s, 0.0)
        high = self._R.max().item() + 9.0 * self._s
        n = math.ceil(50.0 * (high - low) / self._s)
        r = low + (torch.arange(n, dtype=torch.float64) + 0.5) * ((high - low) / n)
        log_p = self.log_prob(torch.stack([r, torch.zeros_like(r)], dim=-1))
        return -(2.0 * math.pi * r * log_p.exp() * log_p).sum().item() * (high - low) / n

    def _conditioned_on(self, label: int) -> Distribution:
        return _Ring(self, label)


class _Ring(OneClass, ConcentricRings):
    """One of several rings."""

    def rings(self) -> RingList:
        return RingList([self.whole._R[self.label].item()], self.whole._s)


@dataclass(frozen=True)
class Rings(ConcentricRings):
    """Concentric rings at equal distances.

    Defaults as in FFJORD (Grathwohl et al. 2019, `rings`): radii 0.75, 1.5, 2.25 and 3, noise of 0.08.

    Args:
        n_rings: number of rings, >= 1.
        radius: of the outermost, > 0.
        std: thickness, > 0.

    Raises:
        ValueError: if a number is not positive.
    """

    name = "rings"

    n_rings: int = 4
    radius: float = 3.0
    std: float = 0.08

    def __post_init__(self) -> None:
        check_positive(n_rings=self.n_rings, radius=self.radius, std=self.std)
        super().__post_init__()

    def rings(self) -> RingList:
        return RingList([self.radius * (k + 1) / self.n_rings for k in range(self.n_rings)], self.std)


@dataclass(frozen=True)
class Circles(ConcentricRings):
    """Two concentric circles.

    Defaults as in FFJORD (Grathwohl et al. 2019, `circles`): scikit-learn's `make_circles(factor=0.5, noise=0.08)`,
    scaled by 3. `Circles(radius=1.0, factor=0.8, std=0.05)` is scikit-learn's `make_circles(noise=0.05)`.

    Args:
        radius: of the outer one, > 0.
        factor: the inner radius as a multiple of the outer one, between 0 and 1.
        std: thickness, > 0.

    Raises:
        ValueError: if a number is out of its range.
    """

    name = "circles"

    radius: float = 3.0
    factor: float = 0.5
    std: float = 0.24

    def __post_init__(self) -> None:
        check_positive(radius=self.radius, std=self.std)
        if not 0 < self.factor < 1:
            raise ValueError(f"factor must be between 0 and 1, got {self.factor}")
        super().__post_init__()

    def rings(self) -> RingList:
        return RingList([self.radius, self.radius * self.factor], self.std, ["outer", "inner"])
