"""What every coupling answers.

A coupling of the data `p` and a source `q` is a joint distribution of pairs `(x_0, x_1)` with these two marginals. A
flow that is trained on pairs moves between the same marginals for every coupling; its paths depend on the coupling
(Tong et al. 2024, "Improving and generalizing flow-based generative models with minibatch optimal transport").
"""

from abc import ABC, abstractmethod

import torch
from torch import Generator, Tensor

from toy_score.component import Component

__all__ = ["Coupling", "by_parts", "square_costs"]


class Coupling(Component, ABC):
    """Pairs data points with source points."""

    is_independent: bool = False
    """Whether the two points of a pair are independent."""

    @abstractmethod
    def __call__(self, x0: Tensor, x1: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Pairs of points.

        Args:
            x0: data points, `(n, 2)`, in random order.
            x1: source points, `(n, 2)`, in random order.
            generator: source of random numbers, on the device of the points.

        Returns:
            Rows of `x0` and of `x1`, `(n,)` each: pair k is `x0[rows_0[k]]` and `x1[rows_1[k]]`.
        """


def by_parts(n: int, size: int) -> list[slice]:
    """`n` points in parts of `size`; the last one may be smaller."""
    return [slice(first, min(first + size, n)) for first in range(0, n, size)]


def square_costs(x0: Tensor, x1: Tensor) -> Tensor:
    """`|x0_i - x1_j|^2`, `(n, m)` float64, from the differences: products would cancel digits."""
    return torch.cdist(x0.double(), x1.double(), compute_mode="donot_use_mm_for_euclid_dist").square_()
