r"""Maps of the standard normal that are linear on both sides of an axis: the split normal and the heart."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from toy_score.checks import check_positive
from toy_score.distributions.base import Distribution, OneClass, device_of, evenly_spread
from toy_score.distributions.halfplanes import HalfPlaneGaussians, HalfPlaneParts
from toy_score.distributions.tails import LOG_2PI

__all__ = ["FoldedNormal", "Heart", "SplitNormal"]


class FoldedNormal(HalfPlaneGaussians):
    """An invertible map of the standard normal that is linear on each of two half-planes.

    One half-plane is mapped to the left side, `x_0 < 0`, the other to the right side. The sides are the modes and the
    classes: 0 is left, 1 is right. The points `z` and `-z` are mapped to opposite sides.
    """

    mode_weights = {"left": 0.5, "right": 0.5}
    n_labels = 2

    @abstractmethod
    def push(self, z: Tensor) -> Tensor:
        """The map from standard normal points to points of the distribution, `(n, 2)`."""

    @abstractmethod
    def pull(self, x: Tensor) -> Tensor:
        """Its exact inverse: from points of the distribution to standard normal points, `(n, 2)`."""

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return self.push(torch.randn(n, 2, generator=generator, device=device_of(generator)))

    def sample_labelled(self, n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        x = self.sample(n, generator)
        return x, self.modes(x)

    def _conditioned_on(self, label: int) -> Distribution:
        return _Side(self, label)

    def reference(self, n: int = 65_536) -> Tensor:
        return self.push(_normal_reference(n))

    def modes(self, x: Tensor) -> Tensor:
        return (x[:, 0] > 0).long()

    def circles(self, radii: Sequence[float], n: int = 1000) -> list[Tensor]:
        angles = torch.linspace(0.0, 2.0 * math.pi, n + 1)[:-1]
        circle = torch.stack([angles.cos(), angles.sin()], dim=-1)
        right = self.push(circle)[:, 0] > 0  # which side it is mapped to, the same for every radius
        first = int((right & ~right.roll(1)).nonzero()[0])  # begin where the circle enters the right side
        circle, half = circle.roll(-first, 0), int(right.sum())
        return [piece for r in radii for piece in self.push(r * circle).split([half, n - half])]


class _Side(OneClass, HalfPlaneGaussians):
    """One side of a folded normal, which is one of its two parts."""

    def parts(self) -> HalfPlaneParts:
        whole: HalfPlaneParts = self.whole.parts()
        side = slice(1 - self.label, 2 - self.label)  # the first part is the right side, class 1
        return HalfPlaneParts(whole.means[side], whole.covariances[side], whole.normals[side], whole.edges[side], [1.0])

    def _push(self, z: Tensor) -> Tensor:
        # A point `z` that is mapped to the other side is replaced by `-z`, which has the same density.
        x = self.whole.push(z)
        return torch.where((self.whole.modes(x) == self.label)[:, None], x, self.whole.push(-z))

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return self._push(torch.randn(n, 2, generator=generator, device=device_of(generator)))

    def reference(self, n: int = 65_536) -> Tensor:
        return self._push(_normal_reference(n))

    def entropy(self) -> float:
        """The entropy of the whole minus `log 2`: the sides do not overlap, and are mirror images or shifted copies."""
        return self.whole.entropy() - math.log(2.0)

    def invalid(self, x: Tensor) -> Tensor:
        """Points on the other side, or where the density of both sides is zero: `(n,)` booleans."""
        return self.whole.invalid(x) | (self.whole.modes(x) != self.label)

    def circles(self, radii: Sequence[float], n: int = 1000) -> list[Tensor]:
        return self.whole.circles(radii, n)[1 - self.label :: 2]


def _normal_reference(n: int) -> Tensor:
    return torch.special.ndtri(evenly_spread(n, 2))


@dataclass(frozen=True)
class SplitNormal(FoldedNormal):
    """A standard normal, cut along `x_0 = 0`, with its halves moved apart: `z + (shift sign(z_0), 0)`.

    Args:
        shift: how far each half moves, > 0; the gap between the halves is `2 shift` wide.

    Raises:
        ValueError: if `shift` is not positive.

    Example:
        >>> p = SplitNormal(shift=1.0)
        >>> p.mode_weights
        {'left': 0.5, 'right': 0.5}
        >>> p.score(torch.tensor([[0.2, 0.0], [-0.2, 0.0]]), sigma=0.3)  # in the gap it points to the nearer half
        tensor([[ 9.7068,  0.0000],
                [-9.7068,  0.0000]])
    """

    bounds = 5.0
    name = "split_normal"

    shift: float = 1.0

    def __post_init__(self) -> None:
        check_positive("the original study uses 1.0", shift=self.shift)
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
    """A correlated Gaussian, mirrored: `y = z M` with `M = [[1, 1/2], [1/2, 1]]`, then `(y_0, sign(y_0) y_1)`.

    Example:
        >>> heart = Heart()
        >>> heart.sample(1000).shape
        torch.Size([1000, 2])
        >>> heart.denoise(torch.tensor([[3.0, 0.0]]), sigma=0.5)  # the mean of the clean points behind a noisy one
        tensor([[2.1000, 0.6000]])
    """

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
