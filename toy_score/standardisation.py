"""The units in which a model works: those in which its data have mean 0 and variance 1 along both axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from toy_score.component import Component, as_tuple

__all__ = ["Standardisation"]


@dataclass(frozen=True)
class Standardisation(Component):
    """`z = (x - mean) / scale`, axis by axis, and back.

    Each axis has a scale of its own, since columns of a table may have different units: with one scale for both, the
    finer would have its details below the lowest noise level. The price is that noise that is round for the model is
    an ellipse along the axes in the units of the data, which no method here minds.

    Args:
        mean: of each axis, in the units of the data.
        scale: of each axis, > 0: its standard deviation.
        columns: the names of the axes; two standardisations that differ in nothing else are equal.

    Raises:
        ValueError: if a scale is not positive.
    """

    mean: Sequence[float]
    scale: Sequence[float]
    columns: Sequence[str] = field(default=("x", "y"), compare=False)

    def __post_init__(self) -> None:
        if not all(0 < scale < math.inf for scale in self.scale):
            raise ValueError(f"the scale of an axis must be positive and finite, got {list(self.scale)}")
        self._set(mean=as_tuple(self.mean), scale=as_tuple(self.scale), columns=as_tuple(self.columns))

    @classmethod
    def of(cls, x: Tensor, columns: Sequence[str] = ("x", "y")) -> "Standardisation":
        """That of points `(n, 2)`, whose axes have these names.

        Raises:
            ValueError: if the points have no extent along an axis, or one below 1e-30 or above 1e30.
        """
        x = x.double()
        mean, scale = x.mean(dim=0), x.std(dim=0)
        for axis, name in enumerate(columns):
            if not scale[axis] > 1e-12 * x[:, axis].abs().max():
                raise ValueError(f"all points have {name} = {x[0, axis].item():g}; points on the plane are needed")
            if not 1e-30 < scale[axis] < 1e30:
                raise ValueError(
                    f"the standard deviation of {name} is {scale[axis].item():.2g}, beyond the range 1e-30 to 1e30 of "
                    f"float32; use another unit"
                )
        return cls(mean.tolist(), scale.tolist(), columns)

    def __call__(self, x: Tensor) -> Tensor:
        """From the units of the data to those of the model; worked out in float64, in the dtype of `x`."""
        mean, scale = self._as(x)
        return ((x.double() - mean) / scale).to(x.dtype)

    def inverse(self, z: Tensor) -> Tensor:
        """From the units of the model to those of the data; worked out in float64, in the dtype of `z`."""
        mean, scale = self._as(z)
        return (z.double() * scale + mean).to(z.dtype)

    def _as(self, x: Tensor) -> tuple[Tensor, Tensor]:
        numbers = torch.tensor([self.mean, self.scale], dtype=torch.float64, device=x.device)
        return numbers[0], numbers[1]
