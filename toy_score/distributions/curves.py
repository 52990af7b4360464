r"""Thick curves: moons, spirals, rolls, and the pinwheel.

A thick curve is *defined* as a mixture of Gaussians along the curve, and samples are drawn from this mixture. So the
noisy density, score and denoiser are those of `Gaussians`, and they are exact. The Gaussians are one standard deviation
apart. On a straight line their sum varies by a relative `2 exp(-2 pi^2)`, five parts in a billion.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from toy_score.checks import check_positive, check_real
from toy_score.component import as_tuple
from toy_score.distributions.mixtures import Gaussians, Mixture, checked, isotropic

__all__ = ["Moons", "Pinwheel", "SCurve", "SwissRoll", "TwoSpirals"]

Path = Callable[[Tensor], Tensor]
"""A curve as a quantile function: maps shares of the mass, in [0, 1], `(n,)`, to points `(n, 2)`."""


def curves(paths: Sequence[Path], std: float, names: Sequence[str]) -> Mixture:
    """Curves of equal mass, as mixtures of round Gaussians; each curve is a class.

    Args:
        paths: the curves.
        std: thickness, the standard deviation of the Gaussians and their distance along a curve.
        names: of the curves.
    """
    nodes = [_along(path, std) for path in paths]
    mu, w = (torch.cat(parts) for parts in zip(*nodes, strict=True))
    labels = torch.cat([torch.full((len(w),), k) for k, (_, w) in enumerate(nodes)])
    return Mixture(mu, isotropic(torch.full((len(mu),), std)), w, labels, names)


def _along(path: Path, spacing: float) -> tuple[Tensor, Tensor]:
    """Points at equal distances of at most `spacing` along a curve, `(K, 2)`, and the mass near each, `(K,)`."""
    q = torch.linspace(0.0, 1.0, 20_001, dtype=torch.float64)
    steps = path(q).diff(dim=0).norm(dim=1)
    length = torch.cat([torch.zeros(1, dtype=torch.float64), steps.cumsum(dim=0)]).numpy()
    half_edges = np.linspace(0.0, length[-1], 2 * math.ceil(length[-1] / spacing) + 1)
    quantile = torch.from_numpy(np.interp(half_edges, length, q.numpy()))
    return path(quantile[1::2]), quantile[::2].diff()


@dataclass(frozen=True)
class Moons(Gaussians):
    """Two interleaved half circles.

    The upper half circle has its centre at `centre`. The centre of the lower one is `radius` to the right of it and
    `radius / 2` below. Defaults as in FFJORD (Grathwohl et al. 2019, `moons`): scikit-learn's `make_moons(noise=0.1)`,
    scaled by 2 and moved by (-1, -0.2). `Moons(radius=1.0, std=0.1, centre=[0.0, 0.0])` has scikit-learn's scale.

    Args:
        radius: of the half circles, > 0.
        std: thickness, > 0.
        centre: of the upper half circle.

    Raises:
        ValueError: if a length is not positive, or the centre is not a point.
    """

    name = "moons"

    radius: float = 2.0
    std: float = 0.2
    centre: Sequence[float] = (-1.0, -0.2)

    def __post_init__(self) -> None:
        check_positive(radius=self.radius, std=self.std)
        self._set(centre=as_tuple(self.centre))
        super().__post_init__()

    def mixture(self) -> Mixture:
        first = checked("centre", self.centre, (2,))
        second = first + self.radius * torch.tensor([1.0, 0.5], dtype=torch.float64)

        def upper(q: Tensor) -> Tensor:
            return first + self.radius * torch.stack([(math.pi * q).cos(), (math.pi * q).sin()], dim=-1)

        def lower(q: Tensor) -> Tensor:
            return second - self.radius * torch.stack([(math.pi * q).cos(), (math.pi * q).sin()], dim=-1)

        return curves([upper, lower], self.std, ["upper", "lower"])


@dataclass(frozen=True)
class TwoSpirals(Gaussians):
    """Two spirals of Archimedes; the second is the first, turned by half a turn.

    The first is `(-cos phi, sin phi) r + (offset, offset)` with `r = radius phi / (2 pi turns)` and
    `phi = 2 pi turns sqrt(u)` for uniform u, so points are almost uniform along it. Defaults as in FFJORD (Grathwohl et
    al. 2019, `2spirals`). There the noise is the sum of a Gaussian with standard deviation 0.1 and uniform noise on a
    square of side 1/6; here offset and thickness are the mean and the standard deviation of this sum.

    Args:
        turns: of each spiral, > 0.
        radius: distance of its end from its centre, > 0.
        offset: of the first spiral, in both coordinates; the second has `-offset`.
        std: thickness, > 0.

    Raises:
        ValueError: if a number is not positive.
    """

    name = "two_spirals"

    turns: float = 1.5
    radius: float = math.pi
    offset: float = 1 / 12
    std: float = 0.111

    def __post_init__(self) -> None:
        check_positive(turns=self.turns, radius=self.radius, std=self.std)
        check_real(offset=self.offset)
        super().__post_init__()

    def mixture(self) -> Mixture:
        def first(q: Tensor) -> Tensor:
            phi, r = 2.0 * math.pi * self.turns * q.sqrt(), self.radius * q.sqrt()
            return self.offset + torch.stack([-r * phi.cos(), r * phi.sin()], dim=-1)

        return curves([first, lambda q: -first(q)], self.std, ["first", "second"])


@dataclass(frozen=True)
class SwissRoll(Gaussians):
    """A roll seen from its end: the spiral `(t cos t, t sin t)`, with t uniform on `[3 pi / 2, 9 pi / 2]`.

    Defaults as in FFJORD (Grathwohl et al. 2019, `swissroll`): the first and the third coordinate of scikit-learn's
    `make_swiss_roll(noise=1.0)`, divided by 5. Other projects use noise 0.5 and divide by 10:
    `SwissRoll(std=0.5, scale=10.0)`.

    Args:
        std: thickness, > 0.
        scale: divisor of curve and thickness, > 0.

    Raises:
        ValueError: if a number is not positive.
    """

    name = "swiss_roll"

    std: float = 1.0
    scale: float = 5.0

    def __post_init__(self) -> None:
        check_positive(std=self.std, scale=self.scale)
        super().__post_init__()

    def mixture(self) -> Mixture:
        def roll(q: Tensor) -> Tensor:
            t = 1.5 * math.pi * (1.0 + 2.0 * q)
            return (t / self.scale)[:, None] * torch.stack([t.cos(), t.sin()], dim=-1)

        return curves([roll], self.std / self.scale, ["all"])


@dataclass(frozen=True)
class SCurve(Gaussians):
    """The letter S of two three-quarter circles: `(sin t, sign(t) (cos t - 1))`, t uniform on `[-3 pi / 2, 3 pi / 2]`.

    These are the first and the third coordinate of scikit-learn's `make_s_curve(noise=0.1)`.

    Args:
        std: thickness, > 0.
        scale: divisor of curve and thickness, > 0.

    Raises:
        ValueError: if a number is not positive.
    """

    name = "s_curve"

    std: float = 0.1
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_positive(std=self.std, scale=self.scale)
        super().__post_init__()

    def mixture(self) -> Mixture:
        def letter(q: Tensor) -> Tensor:
            t = 3.0 * math.pi * (q - 0.5)
            return torch.stack([t.sin(), t.sign() * (t.cos() - 1.0)], dim=-1) / self.scale

        return curves([letter], self.std / self.scale, ["all"])


@dataclass(frozen=True)
class Pinwheel(Gaussians):
    """The curved sails of a pinwheel (Johnson et al. 2016); each is a class.

    A sail is a Gaussian with mean `(radius, 0)` and standard deviations `(radial_std, tangential_std)`. Its points at
    the distance r are turned clockwise by the angle `rate exp(r / radius)`. Defaults as in FFJORD (Grathwohl et al.
    2019, `pinwheel`). The sail is defined as a mixture: the Gaussian is a mixture of narrower ones along r, with
    standard deviation and distance `tangential_std / 2`, and each of these is turned by the map linearised at its mean.

    Args:
        n_sails: number of sails, >= 1.
        radius: distance of their means from the centre, > 0.
        radial_std: along a sail, larger than half of `tangential_std`.
        tangential_std: across it, > 0.
        rate: of the turning, see above.

    Raises:
        ValueError: if a number is out of its range.
    """

    name = "pinwheel"

    n_sails: int = 5
    radius: float = 2.0
    radial_std: float = 0.6
    tangential_std: float = 0.2
    rate: float = 0.25

    def __post_init__(self) -> None:
        check_positive(n_sails=self.n_sails, radius=self.radius)
        check_positive(radial_std=self.radial_std, tangential_std=self.tangential_std)
        check_real(rate=self.rate)
        narrow = self.tangential_std / 2.0
        if self.radial_std <= narrow:
            raise ValueError(f"radial_std must be larger than tangential_std / 2, got {self.radial_std} <= {narrow}")
        super().__post_init__()
        self._set(bounds=math.ceil(2.0 * (self.radius + 3.0 * self.radial_std)) / 2.0)

    def mixture(self) -> Mixture:
        n_sails, radius, narrow = self.n_sails, self.radius, self.tangential_std / 2.0
        spread = math.sqrt(self.radial_std**2 - narrow**2)  # of the means of the narrow Gaussians
        n = 2 * math.ceil(4.5 * spread / narrow) + 1
        offsets = torch.linspace(-4.5 * spread, 4.5 * spread, n, dtype=torch.float64)
        r = (radius + offsets).repeat(n_sails)
        w = (-0.5 * (offsets / spread) ** 2).exp().repeat(n_sails)
        sail = torch.arange(n_sails).repeat_interleave(n)
        turned = self.rate * (r / radius).exp()
        phi, slope = 2.0 * math.pi / n_sails * sail + turned, turned / radius
        out = torch.stack([phi.cos(), -phi.sin()], dim=-1)  # the direction of r, then that of the turning
        across = torch.stack([-phi.sin(), -phi.cos()], dim=-1)
        along = out + (r * slope)[:, None] * across
        S = narrow**2 * along[:, :, None] * along[:, None, :]
        S = S + self.tangential_std**2 * across[:, :, None] * across[:, None]
        return Mixture(r[:, None] * out, S, w, sail)
