"""The perceptron of flow maps."""

import torch

from toy_score.backbones.base import Embedding, Raw
from toy_score.backbones.mlp import MLP

__all__ = ["MapMLP"]

STEEPEST = 16.0  # with all lines at 1, two steps on the split normal were a tenth worse


class MapMLP(MLP):
    """The network of a flow map: an `MLP` that is conditioned on two times, that of the points and that of their
    images.

    The embedding and the `edges` are there once for each. In units of the noise at the end of the map a line is as
    sharp as the map is where the flow parts, for example between the halves of the split normal. The exact map jumps
    there, so these lines begin with slopes from 1 to 16 times those of the first time.

    Args:
        hidden: widths of the hidden layers.
        activation: as in `MLP`.
        embedding: features of each of the two conditioning numbers.
        n_labels, edges, n_conditions, edge_shape: as in `MLP`.
    """

    n_numbers = 2

    def __init__(
        self,
        hidden: tuple[int, ...] = (128, 128, 128),
        activation: str = "silu",
        embedding: Embedding = Raw(),
        n_labels: int = 0,
        edges: int = 0,
        n_conditions: int = 0,
        edge_shape: str = "tanh",
    ):
        super().__init__(hidden, activation, embedding, n_labels, edges, n_conditions, edge_shape)
        if edges:
            steepness = STEEPEST ** torch.linspace(0.0, 1.0, edges)
            with torch.no_grad():
                self.lines.weight[edges:] *= steepness[:, None]
                self.lines.bias[edges:] *= steepness
