"""Networks: functions of a point and of a number that encodes the noise level; the output is a vector."""

from toy_score.backbones.base import Backbone, Embedding, Fourier, Raw, forward_derivative, jacobian
from toy_score.backbones.maps import MapMLP
from toy_score.backbones.mlp import MLP
from toy_score.backbones.potential import PotentialMLP

__all__ = [
    "MLP",
    "Backbone",
    "Embedding",
    "Fourier",
    "MapMLP",
    "PotentialMLP",
    "Raw",
    "forward_derivative",
    "jacobian",
]
