r"""A noisy linear observation of a point, and how it constrains the point.

`y = H x_0 + s eta` with unit noise `eta`, where H has one or two rows. As a function of the point, the likelihood is

    N(y; H x_0, s^2 I)  =  const. exp(-1/2 sum_i l_i (u_i - e_i)^2),        u = Q' x_0,

with `H'H / s^2 = Q diag(l_1, l_2) Q'`, `l_1 >= l_2 >= 0`: two independent observations of orthogonal coordinates, with
the precisions `l` and the least-squares values `e`. `l_2 = 0` if only one coordinate is observed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from toy_score.checks import check_positive
from toy_score.component import Component, as_tuple
from toy_score.constants import Constant
from toy_score.distributions.mixtures import checked
from toy_score.distributions.tails import LOG_2PI

__all__ = ["LinearObservation"]


@dataclass(frozen=True)
class LinearObservation(Component):
    """The observation `y = H x_0 + s eta` of a point `x_0`, with `eta ~ N(0, I)`.

    `LinearObservation([[1.0, 0.0]], [1.0], 0.3)` is the first coordinate, read as 1.0 with an error of 0.3.

    Args:
        matrix: `H`, one or two rows of two numbers; no row of zeros.
        value: `y`, a number for each row.
        std: `s`, the standard deviation of the error, > 0.

    Raises:
        ValueError: if a number is not as stated.
    """

    matrix: Sequence[Sequence[float]]
    value: Sequence[float]
    std: float
    _H: Constant = field(init=False, repr=False, compare=False)
    _y: Constant = field(init=False, repr=False, compare=False)
    _axes: Constant = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._set(matrix=as_tuple(self.matrix), value=as_tuple(self.value))
        check_positive(std=self.std)
        H = checked("matrix", self.matrix, ("m", 2))
        if len(H) > 2 or not (H != 0).any(dim=1).all():
            raise ValueError(f"matrix must have one or two rows, none of them zero, got {self.matrix}")
        y = checked("value", self.value, (len(H),))
        precisions, Q = torch.linalg.eigh(H.T @ H / self.std**2)  # ascending
        precisions, Q = precisions.flip(0), Q.flip(1)
        if precisions[1] < 1e-12 * precisions[0]:  # rounding: one coordinate is observed
            precisions = precisions * torch.tensor([1.0, 0.0], dtype=torch.float64)
        values = Q.T @ torch.linalg.lstsq(H, y[:, None], driver="gelsd").solution
        self._set(_H=Constant(H), _y=Constant(y), _axes=Constant(torch.cat([Q, precisions[None], values.T])))

    def residual(self, x: Tensor) -> Tensor:
        """`y - H x` of points `(n, 2)`: `(n, m)`."""
        return self._y.like(x) - x @ self._H.like(x).T

    def log_likelihood(self, x: Tensor) -> Tensor:
        """`log N(y; H x, s^2 I)` of points `(n, 2)`: `(n,)`, in nats."""
        squares = (self.residual(x) / self.std).square()
        return -0.5 * squares.sum(dim=-1) - len(self.value) * (math.log(self.std) + 0.5 * LOG_2PI)

    def rows(self, x: Tensor) -> Tensor:
        """`H`, `(m, 2)`, in the dtype and on the device of `x`."""
        return self._H.like(x)

    def axes(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """`Q`, `(2, 2)`, the precisions `l`, `(2,)`, and the values `e`, `(2,)`, in float64."""
        table = self._axes.to(device)
        return table[:2], table[2], table[3]

    def rescaled(self, mean: Sequence[float], scale: Sequence[float]) -> "LinearObservation":
        """The same observation of the standardised point `z = (x - mean) / scale`."""
        matrix = [[a * s for a, s in zip(row, scale, strict=True)] for row in self.matrix]
        offsets = [sum(a * m for a, m in zip(row, mean, strict=True)) for row in self.matrix]
        return LinearObservation(matrix, [y - o for y, o in zip(self.value, offsets, strict=True)], self.std)
