"""The mixtures of Gaussians that papers show their samplers and networks on, with the papers' parameters."""

import math

import torch
from torch import Tensor

from toy_score.checks import check_positive
from toy_score.distributions.mixtures import Gaussians, isotropic

__all__ = ["AnisotropicGaussians", "EightGaussians", "FortyGaussians", "GaussianGrid", "NCSNMixture"]


class EightGaussians(Gaussians):
    """Eight round Gaussians on a circle.

    The defaults are those of FFJORD (Grathwohl et al. 2019, `8gaussians` of its toy data); the ring on which WGAN-GP
    was shown (Gulrajani et al. 2017) is `EightGaussians(radius=2.0, std=0.02)`.

    Args:
        radius: of the circle, > 0.
        std: of each Gaussian, > 0.
        scale: what both are divided by, > 0.

    Raises:
        ValueError: if a number is not positive.
    """

    name = "eight_gaussians"

    def __init__(self, radius: float = 4.0, std: float = 0.5, scale: float = 1.414):
        check_positive(radius=radius, std=std, scale=scale)
        self.radius, self.std, self.scale = radius, std, scale
        mu = radius / scale * on_circle(8)
        super().__init__(mu, isotropic(torch.full((8,), std / scale)))


class NCSNMixture(Gaussians):
    """Two distant Gaussians of unequal weight, which Langevin dynamics mixes only with annealed noise.

    `w N((d, d), s^2 I) + (1 - w) N((-d, -d), s^2 I)` with w = 4/5, d = 5, s = 1: section 3.2.2 of Song and Ermon 2019.

    Args:
        weight: `w`, the share of the mode at `(d, d)`, between 0 and 1.
        distance: `d`, > 0.
        std: `s`, > 0.

    Raises:
        ValueError: if a number is out of its range.
    """

    name = "ncsn_mixture"

    def __init__(self, weight: float = 0.8, distance: float = 5.0, std: float = 1.0):
        check_positive(distance=distance, std=std)
        if not 0 < weight < 1:
            raise ValueError(f"weight must be between 0 and 1, got {weight}")
        self.weight, self.distance, self.std = weight, distance, std
        mu = distance * torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
        shares = torch.tensor([1.0 - weight, weight], dtype=torch.float64)
        names = [f"({sign}{distance:g}, {sign}{distance:g})" for sign in ("-", "")]
        super().__init__(mu, isotropic(torch.full((2,), std)), shares, names=names)


class GaussianGrid(Gaussians):
    """Narrow round Gaussians on a square grid, for counting the modes that samples cover; 5 x 5 by default.

    Defaults as in VEEGAN (Srivastava et al. 2017) and PacGAN (Lin et al. 2018): standard deviation 0.05, two apart. The
    grid of WGAN-GP (Gulrajani et al. 2017) is `GaussianGrid(scale=2.828)`; `GaussianGrid(std=0.01)` is the hardest one
    in use.

    Args:
        side: Gaussians to a side, >= 1.
        spacing: between neighbours, > 0.
        std: of each Gaussian, > 0.
        scale: what both are divided by, > 0.

    Raises:
        ValueError: if a number is out of its range.
    """

    name = "gaussian_grid"

    def __init__(self, side: int = 5, spacing: float = 2.0, std: float = 0.05, scale: float = 1.0):
        check_positive(side=side, spacing=spacing, std=std, scale=scale)
        self.side, self.spacing, self.std, self.scale = side, spacing, std, scale
        ticks = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2.0) * (spacing / scale)
        super().__init__(torch.cartesian_prod(ticks, ticks), isotropic(torch.full((side * side,), std / scale)))


class FortyGaussians(Gaussians):
    """Forty round Gaussians at random places of a square: some modes touch, others are far from all.

    Defaults as in FAB (Midgley et al. 2023), with its very places: standard deviation `softplus(1)`, means uniform on
    `[-40, 40]^2` as torch draws them after `manual_seed(0)`. `FortyGaussians(scale=20.0)` lies on `[-2, 2]^2`.

    Args:
        n_modes: how many, >= 1.
        half_width: of the square that the means are drawn on, > 0.
        std: of each Gaussian, > 0.
        scale: what both are divided by, > 0.
        seed: of the means.

    Raises:
        ValueError: if a number is out of its range.
    """

    name = "forty_gaussians"

    def __init__(
        self, n_modes: int = 40, half_width: float = 40.0, std: float = 1.3132617, scale: float = 1.0, seed: int = 0
    ):
        check_positive(n_modes=n_modes, half_width=half_width, std=std, scale=scale)
        self.n_modes, self.half_width, self.std, self.scale, self.seed = n_modes, half_width, std, scale, seed
        u = torch.rand(n_modes, 2, generator=torch.Generator().manual_seed(seed))  # float32: another stream in float64
        mu = (2.0 * u.double() - 1.0) * (half_width / scale)
        super().__init__(mu, isotropic(torch.full((n_modes,), std / scale)))


class AnisotropicGaussians(Gaussians):
    """Long Gaussians around a circle like the blades of a fan, each turned against its radius, in classes.

    Blade k has its mean on the circle at the angle `2 pi k / n_blades`, its long axis at the angle `turn` to the radius
    there, and belongs to class `k mod n_classes`, so that opposite blades may share a class that no line separates.

    Args:
        n_blades: how many, >= 1.
        n_classes: of them, >= 1, at most `n_blades`.
        radius: of the circle, > 0.
        long, short: standard deviations along the axes of a blade, > 0.
        turn: of the long axis against the radius, in degrees.

    Raises:
        ValueError: if a number is out of its range.
    """

    name = "anisotropic_gaussians"

    def __init__(
        self,
        n_blades: int = 6,
        n_classes: int = 3,
        radius: float = 2.0,
        long: float = 0.7,
        short: float = 0.12,
        turn: float = 60.0,
    ):
        check_positive(n_blades=n_blades, n_classes=n_classes, radius=radius, long=long, short=short)
        if n_classes > n_blades:
            raise ValueError(f"n_classes must be at most n_blades, got {n_classes} > {n_blades}")
        self.n_blades, self.n_classes, self.radius = n_blades, n_classes, radius
        self.long, self.short, self.turn = long, short, turn
        axes = on_circle(n_blades, math.radians(turn))
        outer = axes[:, :, None] * axes[:, None, :]
        S = long**2 * outer + short**2 * (torch.eye(2, dtype=torch.float64) - outer)
        super().__init__(radius * on_circle(n_blades), S, labels=torch.arange(n_blades) % n_classes)


def on_circle(n: int, first: float = 0.0) -> Tensor:
    """`n` points spread evenly over the unit circle, from the angle `first` on, `(n, 2)` float64."""
    angles = first + torch.arange(n, dtype=torch.float64) * (2.0 * math.pi / n)
    return torch.stack([angles.cos(), angles.sin()], dim=-1)
