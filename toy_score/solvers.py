r"""Runge-Kutta methods for `dy / du = f(u, y)`, where each row of `y` is a separate equation.

With one step size for a whole batch the solution of a row would depend on the other rows, and a nan in one row would
stop all. So steps are either given beforehand or adapted to each row.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["DORMAND_PRINCE", "RK4", "Solution", "Tableau", "combine", "solve_adaptively", "stages"]

Slope = Callable[[float | Tensor, Tensor], Tensor]


class Tableau(NamedTuple):
    """A method's coefficients (Butcher): `k_i = f(u + c_i h, y + h sum_j a_ij k_j)`, `y' = y + h sum_i b_i k_i`.

    `error` are the weights of an embedded error estimate, `h sum_i error_i k_i`, if the method has one. If the last
    stage is at the end of the step, its slope is the first of the next step.
    """

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    error: tuple[float, ...] = ()


RK4 = Tableau(a=((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), b=(1 / 6, 1 / 3, 1 / 3, 1 / 6), c=(0.0, 0.5, 0.5, 1.0))
DORMAND_PRINCE = Tableau(  # Dormand & Prince 1980: order 5, with an error estimate of order 4
    a=(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    b=(35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
    c=(0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    error=(71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
)


def combine(y: Tensor, h: float | Tensor, weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    """`y + h sum_i weights_i slopes_i`."""
    total = sum(w * k for w, k in zip(weights, slopes, strict=True) if w)
    return y + h * total


def stages(
    tableau: Tableau, f: Slope, u: float | Tensor, y: Tensor, h: float | Tensor, first: Tensor | None = None
) -> tuple[Tensor, list[Tensor]]:
    """One step of size `h`: the new `y`, and the slopes of all stages.

    Args:
        u: where the step begins, a number or `(n, 1)`.
        y: `(n, d)`.
        h: size of the step, a number or `(n, 1)`; negative to go down.
        first: `f(u, y)`, if it is known.
    """
    slopes = [f(u, y) if first is None else first]
    for row, c in zip(tableau.a[1:], tableau.c[1:], strict=True):
        slopes.append(f(u + c * h, combine(y, h, row, slopes)))
    return combine(y, h, tableau.b, slopes), slopes


class Solution(NamedTuple):
    """The result of `solve_adaptively`: `y` `(n, d)`, and, for every row, evaluations `(n,)` and error estimate
    `(n,)`."""

    y: Tensor
    evaluations: Tensor
    error: Tensor


def solve_adaptively(
    f: Slope, y: Tensor, begin: float, end: float, tolerance: float, max_steps: int = 1000
) -> Solution:
    """Solve from `u = begin` to `end` by Dormand-Prince steps with a step size for each row.

    A step of size h is kept if the largest error estimate of a component, over `tolerance (1 + |y|)`, is at most 1; the
    next is `0.9 h error^(-1/5)`, at least a fifth and at most five times as long (Hairer, Norsett & Wanner 1993,
    section II.4).

    Args:
        f: slope `(m, d)` at `u` `(m, 1)` and `y` `(m, d)`, for any selection of m rows.
        y: `(n, d)` at `begin`.
        tolerance: > 0.
        max_steps: a row that needs more attempts becomes nan, like a row that is not finite.
    """
    n = len(y)
    y, u = y.clone(), torch.full((n, 1), begin, dtype=y.dtype, device=y.device)
    h = torch.full_like(u, (end - begin) / 16)
    slope = f(u, y)
    evaluations = torch.ones(n, dtype=torch.long, device=y.device)
    error = torch.zeros_like(u)
    rows = torch.arange(n, device=y.device)  # the rows that are not finished
    for _ in range(max_steps):
        if not len(rows):
            break
        left = end - u[rows]
        step = torch.where(h[rows].abs() < left.abs(), h[rows], left)
        new, slopes = stages(DORMAND_PRINCE, f, u[rows], y[rows], step, slope[rows])
        evaluations[rows] += 6
        estimate = combine(torch.zeros_like(new), step, DORMAND_PRINCE.error, slopes).abs()
        scale = tolerance * (1.0 + torch.maximum(y[rows].abs(), new.abs()))
        excess = (estimate / scale).amax(dim=1, keepdim=True)
        kept = (excess <= 1.0)[:, 0]
        broken = ~excess.isfinite()[:, 0]
        taken = rows[kept]
        y[taken], u[taken], slope[taken] = new[kept], (u[rows] + step)[kept], slopes[-1][kept]
        error[taken] += estimate[kept].amax(dim=1, keepdim=True)
        h[rows] = step * (0.9 * excess.clamp(min=1e-10) ** -0.2).clamp(0.2, 5.0)
        y[rows[broken]] = torch.nan
        arrived = kept & (step == left)[:, 0]
        rows = rows[~(arrived | broken)]
    y[rows] = torch.nan
    return Solution(y, evaluations, error[:, 0])
