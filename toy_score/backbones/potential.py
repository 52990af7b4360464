"""The perceptron whose gradient is wanted."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toy_score.backbones.mlp import MLP

__all__ = ["PotentialMLP"]


class PotentialMLP(MLP):
    """An `MLP` whose gradient is wanted, for `Energy`: its features of edges are integrals of those of `MLP`.

    The gradient of `tanh(u)`, `u = (v . x + b) / r`, grows as `1 / r` towards low noise `r = sigma / alpha`. So here
    a feature is `r log cosh(u + d)`, a smooth form of `|v . x + b|`, whose gradient is `v tanh(u + d)`. At low noise
    these features vary little, and the gradient of the network is a linear combination of the `tanh`. The learned
    shift `d`, in units of the noise, is for the parts of the best output that are even in the distance to the edge.

    Its arguments are those of `MLP`, by name.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        if self.edges:
            self.shifts = nn.Parameter(torch.randn(self.edges))

    def _line_features(self, x: Tensor, c: Tensor) -> Tensor:
        r = torch.exp(4.0 * c)
        u = self.lines(x) / r + self.shifts
        return r * (u + F.softplus(-2.0 * u) - math.log(2.0))  # log cosh(u), without overflow

    def _line_slopes(self, x: Tensor, c: Tensor) -> Tensor:
        return torch.tanh(self.lines(x) * self._inverse_noise(c) + self.shifts)
