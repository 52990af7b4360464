"""The perceptron whose gradient is wanted."""

from typing import Any

import torch
from torch import Tensor, nn

from toy_score.backbones.mlp import EDGE_SHAPES, MLP

__all__ = ["PotentialMLP"]


class PotentialMLP(MLP):
    """An `MLP` whose gradient is wanted, for `Energy`: its features of edges are integrals of those of `MLP`.

    The gradient of `tanh(u)`, `u = (v . x + b) / r`, grows as `1 / r` towards low noise `r = sigma / alpha`. So here
    a feature is `r log cosh(u + d)`, a smooth form of `|v . x + b|`, whose gradient is `v tanh(u + d)`; with the
    `edge_shape` asinh it is `r (w asinh(w) - sqrt(1 + w^2) + 1)`, `w = u + d`. At low noise these features vary little,
    and the gradient of the network is a linear combination of the `tanh`. The learned shift `d`, in units of the noise,
    is for the parts of the best output that are even in the distance to the edge.

    Its arguments are those of `MLP`, by name.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        if self.edges:
            self.shifts = nn.Parameter(torch.randn(self.edges))

    def _line_features(self, x: Tensor, c: Tensor) -> Tensor:
        return torch.exp(4.0 * c) * EDGE_SHAPES[self.edge_shape].integral(self._distances(x, c))

    def _line_slopes(self, x: Tensor, c: Tensor) -> Tensor:
        return EDGE_SHAPES[self.edge_shape].function(self._distances(x, c))

    def _distances(self, x: Tensor, c: Tensor) -> Tensor:
        return super()._distances(x, c) + self.shifts
