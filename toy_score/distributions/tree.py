"""The fractal tree of the paper on autoguidance: thin branching limbs, each a row of Gaussians."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from toy_score.checks import check_positive
from toy_score.distributions.mixtures import Gaussians, Mixture

__all__ = ["FractalTree"]

Limb = tuple[np.ndarray, float, float, int]
"""Start, angle, length and depth."""


@dataclass(frozen=True)
class FractalTree(Gaussians):
    """Two classes, each a tree that grows from the origin, one to the upper right, one to the lower left.

    From Karras et al. 2024, *Guiding a diffusion model with a bad version of itself*. A limb of depth d has the length
    `length shrink^d j`. It is a straight row of Gaussians between 7% and 93% of its length. The standard deviations of
    a Gaussian are 6% of the limb's length along the limb and `0.06 thickness shrink^d` across. From the end of a limb
    grow two limbs of depth d + 1, turned to the left and to the right by `fork^d j` radians. The weight of a limb is
    its length times `2^-d`. Finally the mixture is shifted and scaled to mean 0 and deviation `std` on both axes.
    Each length and each angle has its own factor `j = 1 + jitter N(0, 1)`, drawn limb by limb, depth first, from
    numpy's `RandomState(seed)`.

    With the defaults the tree is an affine image of the paper's, `(1.00029, 1.00020) x_paper + (0.00014, -0.00057)`:
    the paper shifts and scales by constants with four digits, which leave a mean of (-0.00014, 0.00057) and standard
    deviations of 0.49985 and 0.49990. On samples, the two log densities differ by 0.03 nats on average and by up to 0.4
    at sigma = 0, and by less than 0.01 for sigma >= 0.1.

    Args:
        depth: generations of limbs, >= 1; there are `2 (2^depth - 1)` limbs.
        per_limb: number of Gaussians on a limb, >= 1.
        length: of the first limbs, > 0.
        shrink: ratio of lengths and widths from one generation to the next, > 0.
        fork: ratio of the angles between limbs from one generation to the next, > 0.
        thickness: of limbs, > 0.
        jitter: relative standard deviation of lengths and angles, >= 0.
        std: of the whole mixture along each axis, > 0.
        seed: of the jitter.

    Raises:
        ValueError: if a number is out of its range.
    """

    name = "fractal_tree"

    depth: int = 7
    per_limb: int = 8
    length: float = 0.292
    shrink: float = 0.8
    fork: float = 0.7
    thickness: float = 0.2
    jitter: float = 0.2
    std: float = 0.5
    seed: int = 2

    def __post_init__(self) -> None:
        check_positive(depth=self.depth, per_limb=self.per_limb, length=self.length, shrink=self.shrink, fork=self.fork)
        check_positive(thickness=self.thickness, std=self.std)
        if not 0 <= self.jitter < math.inf:
            raise ValueError(f"jitter must be 0 or positive, got {self.jitter}")
        super().__post_init__()
        self._set(bounds=3.0 * self.std)  # only the tips of a few limbs are outside

    def mixture(self) -> Mixture:
        random = np.random.RandomState(self.seed)
        limbs: list[list[Limb]] = [[], []]  # of each class
        for label, direction_of_class in enumerate((0.25 * math.pi, 1.25 * math.pi)):
            self._grow(limbs[label], random, np.zeros(2), direction_of_class, 0)
        start, angle, size, d = (
            torch.tensor(np.array(column), dtype=torch.float64) for column in zip(*limbs[0], *limbs[1], strict=True)
        )
        direction = torch.stack([angle.cos(), angle.sin()], dim=-1)
        along = torch.linspace(0.07, 0.93, self.per_limb, dtype=torch.float64)
        mu = start[:, None] + along[:, None] * (size[:, None] * direction)[:, None]  # (limbs, per_limb, 2)
        outer = direction[:, :, None] * direction[:, None, :]
        width = self.thickness * self.shrink**d
        S = 0.06**2 * (
            size[:, None, None] ** 2 * outer + width[:, None, None] ** 2 * (torch.eye(2, dtype=torch.float64) - outer)
        )
        mu, S = mu.flatten(0, 1), S.repeat_interleave(self.per_limb, dim=0)
        w = (size * 0.5**d).repeat_interleave(self.per_limb)
        labels = torch.arange(2).repeat_interleave(len(limbs[0]) * self.per_limb)
        return Mixture(*_standardised(mu, S, w, self.std), w, labels)

    def _grow(self, limbs: list[Limb], random: np.random.RandomState, start: np.ndarray, angle: float, d: int) -> None:
        """Add a limb and all limbs that grow from it."""
        if d == self.depth:
            return
        size = self.length * self.shrink**d * (1.0 + self.jitter * random.randn())
        limbs.append((start, angle, size, d))
        end = start + size * np.array([math.cos(angle), math.sin(angle)])
        for side in (1.0, -1.0):
            turn = side * self.fork**d * (1.0 + self.jitter * random.randn())
            self._grow(limbs, random, end, angle + turn, d + 1)


def _standardised(mu: Tensor, S: Tensor, w: Tensor, std: float) -> tuple[Tensor, Tensor]:
    """Means and covariances, shifted and scaled so that the mixture has mean 0 and deviation `std` on both axes."""
    w = (w / w.sum())[:, None]
    mu = mu - (w * mu).sum(dim=0)
    stretch = std / (w * (mu.square() + torch.diagonal(S, dim1=-2, dim2=-1))).sum(dim=0).sqrt()
    return mu * stretch, S * stretch[:, None] * stretch
