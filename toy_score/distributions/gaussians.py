"""Mixtures of Gaussians: those of papers, with the papers' parameters, and one of the user's own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from toy_score.checks import check_positive, check_real
from toy_score.component import as_tuple
from toy_score.distributions.mixtures import Gaussians, Mixture, checked, isotropic

__all__ = [
    "AnisotropicGaussians",
    "EightGaussians",
    "FortyGaussians",
    "GaussianGrid",
    "GaussianMixture",
    "NCSNMixture",
]


@dataclass(frozen=True)
class EightGaussians(Gaussians):
    """Eight round Gaussians on a circle.

    Defaults as in FFJORD (Grathwohl et al. 2019, `8gaussians` of its toy data). The ring of WGAN-GP (Gulrajani et al.
    2017) is `EightGaussians(radius=2.0, std=0.02)`.

    Args:
        radius: of the circle, > 0.
        std: of each Gaussian, > 0.
        scale: divisor of both, > 0.

    Raises:
        ValueError: if a number is not positive.
    """

    name = "eight_gaussians"

    radius: float = 4.0
    std: float = 0.5
    scale: float = 1.414

    def __post_init__(self) -> None:
        check_positive(radius=self.radius, std=self.std, scale=self.scale)
        super().__post_init__()

    def mixture(self) -> Mixture:
        mu = self.radius / self.scale * on_circle(8)
        return Mixture(mu, isotropic(torch.full((8,), self.std / self.scale)))


@dataclass(frozen=True)
class NCSNMixture(Gaussians):
    """Two distant Gaussians of unequal weight; Langevin dynamics finds the weights only with annealed noise.

    `w N((d, d), s^2 I) + (1 - w) N((-d, -d), s^2 I)` with w = 4/5, d = 5, s = 1: section 3.2.2 of Song and Ermon 2019.

    Args:
        weight: `w`, the share of the mode at `(d, d)`, between 0 and 1.
        distance: `d`, > 0.
        std: `s`, > 0.

    Raises:
        ValueError: if a number is out of its range.
    """

    name = "ncsn_mixture"

    weight: float = 0.8
    distance: float = 5.0
    std: float = 1.0

    def __post_init__(self) -> None:
        check_positive(distance=self.distance, std=self.std)
        if not 0 < self.weight < 1:
            raise ValueError(f"weight must be between 0 and 1, got {self.weight}")
        super().__post_init__()

    def mixture(self) -> Mixture:
        mu = self.distance * torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
        shares = torch.tensor([1.0 - self.weight, self.weight], dtype=torch.float64)
        names = [f"({sign}{self.distance:g}, {sign}{self.distance:g})" for sign in ("-", "")]
        return Mixture(mu, isotropic(torch.full((2,), self.std)), shares, names=names)


@dataclass(frozen=True)
class GaussianGrid(Gaussians):
    """Narrow round Gaussians on a square grid, 5 x 5 by default, to count the modes that samples cover.

    Defaults as in VEEGAN (Srivastava et al. 2017) and PacGAN (Lin et al. 2018): standard deviation 0.05, distance 2.
    The grid of WGAN-GP (Gulrajani et al. 2017) is `GaussianGrid(scale=2.828)`. `GaussianGrid(std=0.01)` is the hardest
    variant in use.

    Args:
        side: number of Gaussians along a side, >= 1.
        spacing: between neighbours, > 0.
        std: of each Gaussian, > 0.
        scale: divisor of both, > 0.

    Raises:
        ValueError: if a number is out of its range.
    """

    name = "gaussian_grid"

    side: int = 5
    spacing: float = 2.0
    std: float = 0.05
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_positive(side=self.side, spacing=self.spacing, std=self.std, scale=self.scale)
        super().__post_init__()

    def mixture(self) -> Mixture:
        side = self.side
        ticks = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2.0) * (self.spacing / self.scale)
        return Mixture(torch.cartesian_prod(ticks, ticks), isotropic(torch.full((side * side,), self.std / self.scale)))


@dataclass(frozen=True)
class FortyGaussians(Gaussians):
    """Forty round Gaussians at random positions in a square: some modes touch, others are far from all.

    Defaults as in FAB (Midgley et al. 2023), with the same positions: standard deviation `softplus(1)`, means uniform
    on `[-40, 40]^2` as torch draws them after `manual_seed(0)`. `FortyGaussians(scale=20.0)` lies on `[-2, 2]^2`.

    Args:
        n_modes: number of Gaussians, >= 1.
        half_width: of the square that the means are drawn on, > 0.
        std: of each Gaussian, > 0.
        scale: divisor of both, > 0.
        seed: of the means.

    Raises:
        ValueError: if a number is out of its range.
    """

    name = "forty_gaussians"

    n_modes: int = 40
    half_width: float = 40.0
    std: float = 1.3132617
    scale: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(n_modes=self.n_modes, half_width=self.half_width, std=self.std, scale=self.scale)
        super().__post_init__()

    def mixture(self) -> Mixture:
        generator = torch.Generator().manual_seed(self.seed)
        u = torch.rand(self.n_modes, 2, generator=generator)  # float32, as in FAB: float64 would give other numbers
        mu = (2.0 * u.double() - 1.0) * (self.half_width / self.scale)
        return Mixture(mu, isotropic(torch.full((self.n_modes,), self.std / self.scale)))


@dataclass(frozen=True)
class AnisotropicGaussians(Gaussians):
    """Long Gaussians on a circle, like the blades of a fan, in classes.

    The mean of blade k is on the circle at the angle `2 pi k / n_blades`. Its long axis has the angle `turn` to the
    radius there. It belongs to class `k mod n_classes`. So with the defaults opposite blades share a class, and no
    straight line separates the classes.

    Args:
        n_blades: number of blades, >= 1.
        n_classes: number of classes, >= 1, at most `n_blades`.
        radius: of the circle, > 0.
        long, short: standard deviations along the axes of a blade, > 0.
        turn: angle between the long axis and the radius, in degrees, counterclockwise.

    Raises:
        ValueError: if a number is out of its range.
    """

    name = "anisotropic_gaussians"

    n_blades: int = 6
    n_classes: int = 3
    radius: float = 2.0
    long: float = 0.7
    short: float = 0.12
    turn: float = 60.0

    def __post_init__(self) -> None:
        check_positive(n_blades=self.n_blades, n_classes=self.n_classes, radius=self.radius)
        check_positive(long=self.long, short=self.short)
        check_real(turn=self.turn)
        if self.n_classes > self.n_blades:
            raise ValueError(f"n_classes must be at most n_blades, got {self.n_classes} > {self.n_blades}")
        super().__post_init__()

    def mixture(self) -> Mixture:
        axes = on_circle(self.n_blades, math.radians(self.turn))
        outer = axes[:, :, None] * axes[:, None, :]
        S = self.long**2 * outer + self.short**2 * (torch.eye(2, dtype=torch.float64) - outer)
        return Mixture(self.radius * on_circle(self.n_blades), S, labels=torch.arange(self.n_blades) % self.n_classes)


@dataclass(frozen=True)
class GaussianMixture(Gaussians):
    """A mixture of Gaussians with the user's own components.

    Args:
        means: K points.
        stds: the standard deviation of all components, or one for each: round Gaussians.
        covariances: instead of `stds`, K symmetric positive definite 2 x 2 matrices.
        weights: K positive numbers in any unit; equal if None.
        classes: of each component, counted from 0; if None, each is a class of its own.

    Raises:
        ValueError: if the numbers do not describe a mixture.

    Example:
        >>> p = GaussianMixture(means=[[-2.0, 0.0], [2.0, 0.0]], stds=0.5, weights=[1.0, 3.0])
        >>> p.log_prob(torch.tensor([[-2.0, 0.0], [2.0, 0.0]])).exp()
        tensor([0.1592, 0.4775])
    """

    name = "gaussian_mixture"

    means: Sequence[Sequence[float]]
    stds: float | Sequence[float] | None = None
    covariances: Sequence[Sequence[Sequence[float]]] | None = None
    weights: Sequence[float] | None = None
    classes: Sequence[int] | None = None

    def __post_init__(self) -> None:
        self._set(**{name: as_tuple(value) for name, value in vars(self).items()})
        super().__post_init__()

    def mixture(self) -> Mixture:
        means, stds, covariances = self.means, self.stds, self.covariances
        weights, classes = self.weights, self.classes
        mu = checked("means", means, ("K", 2))
        K = len(mu)
        if (stds is None) == (covariances is None):
            raise ValueError("give either stds or covariances")
        if stds is not None:
            s = checked("stds", [stds] * K if isinstance(stds, int | float) else stds, (K,))
            if not (s > 0).all():
                raise ValueError(f"stds must be positive, got {stds}")
            S = isotropic(s)
        else:
            S = checked("covariances", covariances, (K, 2, 2))
            ok = (S[:, 0, 1] == S[:, 1, 0]) & (S[:, 0, 0] > 0) & (torch.linalg.det(S) > 0)
            if not ok.all():
                k = int((~ok).nonzero()[0])
                raise ValueError(f"covariance {k} must be symmetric and positive definite, got {S[k].tolist()}")
        w = None if weights is None else checked("weights", weights, (K,))
        if w is not None and not (w > 0).all():
            raise ValueError(f"weights must be positive, got {weights}; leave out components without weight")
        c = None if classes is None else checked("classes", classes, (K,)).long()
        if c is not None and set(c.tolist()) != set(range(int(c.max()) + 1)):
            raise ValueError(f"classes must count from 0 without gaps, got {classes}")
        return Mixture(mu, S, w, c)


def on_circle(n: int, first: float = 0.0) -> Tensor:
    """`n` points at equal distances on the unit circle, the first at the angle `first`, `(n, 2)` float64."""
    angles = first + torch.arange(n, dtype=torch.float64) * (2.0 * math.pi / n)
    return torch.stack([angles.cos(), angles.sin()], dim=-1)
