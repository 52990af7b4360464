"""Networks: they map a point and a number that tells the noise level to a vector, and know nothing else."""

import itertools
import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toy_score.component import Component

__all__ = ["MLP", "Backbone", "Embedding", "Fourier", "Raw"]

ACTIVATIONS = {
    "softplus": F.softplus,
    "silu": F.silu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "relu": F.relu,
}


class Embedding(Component, ABC):
    """Features of the number that tells the noise level."""

    n_features: int

    @abstractmethod
    def __call__(self, c: Tensor) -> Tensor:
        """`(m, 1)` to `(m, n_features)`."""


class Raw(Embedding):
    """The number itself, as a third input beside the two coordinates: the study's choice."""

    n_features = 1

    def __call__(self, c: Tensor) -> Tensor:
        return c


class Fourier(Embedding):
    """The number and its sines and cosines at `n_frequencies` octaves, `cos(2^k pi c / period)` and `sin(...)`.

    Args:
        n_frequencies: K >= 1; there are 2 K + 1 features.
        period: the length over which the slowest pair makes half a turn, > 0.
    """

    def __init__(self, n_frequencies: int = 4, period: float = 4.0):
        if n_frequencies < 1 or not period > 0:
            raise ValueError(f"Fourier needs n_frequencies >= 1 and period > 0, got {n_frequencies} and {period}")
        self.n_frequencies, self.period = n_frequencies, period
        self.n_features = 2 * n_frequencies + 1

    def __call__(self, c: Tensor) -> Tensor:
        octaves = 2.0 ** torch.arange(self.n_frequencies, dtype=c.dtype, device=c.device)
        angles = c * octaves * (math.pi / self.period)
        return torch.cat([c, angles.cos(), angles.sin()], dim=-1)


class Backbone(nn.Module, ABC):
    """A network `(x, c) -> (n, 2)`: points `x`, `(n, 2)`, and a conditioning number `c`, `(n, 1)` or `(1, 1)`."""

    @abstractmethod
    def forward(self, x: Tensor, c: Tensor) -> Tensor: ...


class MLP(Backbone):
    """The multilayer perceptron that all models share: (x, c) -> hidden layers -> 2.

    The default, 3 -> 128 -> 128 -> 2 with softplus, is the study's network of 17 282 parameters, and the shape that
    Song & Ermon (2019, appendix B.1) use for their toy example.

    Args:
        hidden: widths of the hidden layers.
        activation: softplus, silu, gelu, tanh or relu; on a CPU, silu makes the whole network about 1.6 times faster.
        embedding: features of the conditioning number; by default the number itself.

    Raises:
        ValueError: for an unknown activation, or a width below 1.
    """

    def __init__(
        self,
        hidden: tuple[int, ...] = (128, 128),
        activation: str = "softplus",
        embedding: Embedding = Raw(),
    ):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}; choose from {', '.join(ACTIVATIONS)}")
        if not hidden or min(hidden) < 1:
            raise ValueError(f"hidden needs at least one width, each at least 1, got {tuple(hidden)}; e.g. [128, 128]")
        self.hidden, self.activation, self.embedding = tuple(hidden), activation, embedding
        widths = [2 + embedding.n_features, *hidden, 2]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self._activate = ACTIVATIONS[activation]

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        first, *rest = self.layers
        features = self.embedding(c)
        if len(features) == len(x):
            h = first(torch.cat([x, features], dim=-1))
        else:
            # One noise level for all rows: its share of the first layer is computed once, not once per row.
            from_level = F.linear(features, first.weight[:, 2:], first.bias)
            h = torch.addmm(from_level, x, first.weight[:, :2].T)
        for layer in rest:
            h = layer(self._activate(h))
        return h
