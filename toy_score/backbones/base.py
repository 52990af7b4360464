"""What networks share: how the number for the noise level is embedded, and derivatives."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from toy_score.component import Component, Described

__all__ = ["Backbone", "Embedding", "Fourier", "Raw", "forward_derivative", "jacobian"]


class Embedding(Component, ABC):
    """Features of the number that conditions the network on the noise level."""

    @property
    @abstractmethod
    def n_features(self) -> int:
        """How many features there are."""

    @abstractmethod
    def __call__(self, c: Tensor) -> Tensor:
        """`(m, 1)` to `(m, n_features)`."""


@dataclass(frozen=True)
class Raw(Embedding):
    """The number itself, as a third input beside the two coordinates: the original study's choice."""

    @property
    def n_features(self) -> int:
        return 1

    def __call__(self, c: Tensor) -> Tensor:
        return c


@dataclass(frozen=True)
class Fourier(Embedding):
    """The number and its sines and cosines at `n_frequencies` octaves, `cos(2^k pi c / period)` and `sin(...)`.

    Args:
        n_frequencies: K >= 1; there are 2 K + 1 features.
        period: the length over which the slowest pair makes half a turn, > 0.
    """

    n_frequencies: int = 4
    period: float = 4.0

    def __post_init__(self) -> None:
        if self.n_frequencies < 1 or not 0 < self.period < math.inf:
            raise ValueError(
                f"Fourier needs n_frequencies >= 1 and period > 0, got {self.n_frequencies} and {self.period}"
            )

    @property
    def n_features(self) -> int:
        return 2 * self.n_frequencies + 1

    def __call__(self, c: Tensor) -> Tensor:
        octaves = 2.0 ** torch.arange(self.n_frequencies, dtype=c.dtype, device=c.device)
        angles = c * octaves * (math.pi / self.period)
        return torch.cat([c, angles.cos(), angles.sin()], dim=-1)


class Backbone(Described, nn.Module, ABC):
    """A network `(x, c) -> (n, 2)`: points `x`, `(n, 2)`, and a number `c`, `(n, 1)`, that encodes the noise level.

    The network of a flow map has two numbers, `(n, 2)`: for the level of the points, and for that to which they are
    mapped. Class labels, if there are any, are integers `(n,)`; -1 or None stands for no label. In their place there
    may be conditions, real numbers `(n, n_conditions)`; nan or None stands for none.
    """

    n_labels: int = 0
    n_conditions: int = 0

    n_numbers: ClassVar[int] = 1
    """How many numbers `c` are: 1, or 2 for the network of a flow map."""

    broadcasts: ClassVar[bool] = False
    """Whether `forward` also takes `c` in one row, and labels as `(1,)`, for all points, to save work."""

    @abstractmethod
    def forward(self, x: Tensor, c: Tensor, labels: Tensor | None = None) -> Tensor: ...

    def jacobian(self, x: Tensor, c: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The output `F`, `(n, 2)`, and `dF_i / dx_j`, `(n, 2, 2)`, by automatic differentiation."""
        return jacobian(lambda z: self(z, c, labels), x)


def forward_derivative(f: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """`f(x)` and its derivative along `direction`, which has the shape of `x`, by one forward-mode product."""
    value, slope, *_ = torch.func.jvp(f, (x,), (direction,))
    return value, slope


def jacobian(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """`f(x)`, `(n, 2)`, and `df_i / dx_j`, `(n, 2, 2)`, of a function of rows, by one reverse pass per output.

    Forward mode would need as many passes, but torch computes products with zero tangents in Python: ten times slower
    for the exact denoisers. Gradients are recorded, where they are enabled, if `x` or a parameter of `f` has one.

    Raises:
        RuntimeError: in `torch.inference_mode`, where torch differentiates nothing.
    """
    if torch.is_inference_mode_enabled():
        raise RuntimeError("derivatives are needed here; use torch.no_grad() in the place of torch.inference_mode()")
    recorded = torch.is_grad_enabled()
    with torch.enable_grad():
        z = x if x.requires_grad else x.detach().requires_grad_()
        value = f(z)
        recorded = recorded and (x.requires_grad or _has_parameters(value, z))
        rows = [
            torch.autograd.grad(total, z, retain_graph=True, create_graph=recorded, materialize_grads=True)[0]
            for total in value.sum(dim=0)
        ]
    return value if recorded else value.detach(), torch.stack(rows, dim=1)


def _has_parameters(value: Tensor, z: Tensor) -> bool:
    """Whether a tensor was computed from others than `z` that have a gradient."""
    nodes, seen = [value.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        if getattr(node, "variable", z) is not z:  # that of a leaf
            return True
        seen.add(node)
        nodes += [before for before, _ in node.next_functions]
    return False
