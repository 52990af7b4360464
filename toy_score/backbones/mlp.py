"""The perceptron of all models."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

from toy_score.backbones.base import Backbone, Embedding, Raw

__all__ = ["ACTIVATIONS", "MLP"]


def _silu_slope(h: Tensor) -> Tensor:
    sigmoid = torch.sigmoid(h)
    return sigmoid * (1.0 + h * (1.0 - sigmoid))


def _gelu_slope(h: Tensor) -> Tensor:
    return torch.special.ndtr(h) + h * torch.exp(-0.5 * h * h) / math.sqrt(2.0 * math.pi)


class _Activation(NamedTuple):
    function: Callable[[Tensor], Tensor]
    in_place: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


ACTIVATIONS = {
    "softplus": _Activation(F.softplus, lambda h: torch.ops.aten.softplus.out(h, out=h), torch.sigmoid),
    "silu": _Activation(F.silu, torch.ops.aten.silu_, _silu_slope),
    "gelu": _Activation(F.gelu, torch.ops.aten.gelu_, _gelu_slope),
    "tanh": _Activation(torch.tanh, torch.tanh_, lambda h: 1.0 - torch.tanh(h).square()),
    "relu": _Activation(F.relu, torch.relu_, lambda h: (h > 0).to(h)),
}
"""By name, the function, the same in place, and its derivative."""


class _EdgeShape(NamedTuple):
    function: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    integral: Callable[[Tensor], Tensor]


EDGE_SHAPES = {
    "tanh": _EdgeShape(
        torch.tanh,
        lambda u: 1.0 - torch.tanh(u).square(),
        lambda u: u + F.softplus(-2.0 * u) - math.log(2.0),  # log cosh(u), without overflow
    ),
    "asinh": _EdgeShape(
        torch.asinh,
        lambda u: torch.rsqrt(1.0 + u.square()),
        lambda u: u * torch.asinh(u) - torch.hypot(u, torch.ones_like(u)) + 1.0,  # the square of u may overflow
    ),
}
"""By name, the function of the distance to an edge, its derivative, and its integral from 0."""


class MLP(Backbone):
    """The multilayer perceptron that all models share: (x, c) -> hidden layers -> 2.

    The default, 3 -> 128 -> 128 -> 2 with softplus, is the network of the original study, with 17 282 parameters, and
    the shape that Song & Ermon (2019, appendix B.1) use for their toy example. A class label adds a learned vector to
    the first layer, as a one-hot input would; no label adds nothing.

    Args:
        hidden: widths of the hidden layers.
        activation: softplus, silu, gelu, tanh or relu; on a CPU, silu makes the whole network about 1.6 times faster.
        embedding: features of the conditioning number; by default the number itself.
        n_labels: how many class labels there are, >= 0.
        n_conditions: how many numbers, of about unit size, each point may be conditioned on, >= 0; without labels. They
            are further inputs, and where they are not given, there is a learned vector in their place.
        edges: how many features `f((v . x + b) exp(-4 c))` the first layer sees besides, >= 0, with `v` and `b`
            learned. With `LogSigma`, `exp(-4 c) = alpha / sigma`, so each is a line, seen in units of the noise: near
            a sharp edge of the data the best output is a function of just that, and a smooth network of `x` and `c`
            would have to learn it for each noise level anew.
        edge_shape: `f`, tanh or asinh. Beyond an edge the noise of a point grows with its distance to the data. `tanh`
            does not tell one distance from another from about three noise levels on, `asinh` does; for a jump, as in
            flow maps, `tanh` is the right shape.

    Raises:
        ValueError: for an unknown activation or `edge_shape`, a width below 1, a negative `n_labels`, `n_conditions` or
            `edges`, or labels and conditions at once.
    """

    broadcasts = True

    def __init__(
        self,
        hidden: tuple[int, ...] = (128, 128),
        activation: str = "softplus",
        embedding: Embedding = Raw(),
        n_labels: int = 0,
        edges: int = 0,
        n_conditions: int = 0,
        edge_shape: str = "tanh",
    ):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}; choose from {', '.join(ACTIVATIONS)}")
        if not hidden or min(hidden) < 1:
            raise ValueError(f"hidden needs at least one width, each at least 1, got {tuple(hidden)}; e.g. [128, 128]")
        if n_labels < 0:
            raise ValueError(f"n_labels must be at least 0, got {n_labels}")
        if n_conditions < 0 or (n_conditions and n_labels):
            raise ValueError(
                f"n_conditions must be at least 0, and 0 with labels, got {n_conditions} with {n_labels} labels"
            )
        if edges < 0:
            raise ValueError(f"edges must be at least 0, got {edges}; 32 suffice for two straight edges")
        if edge_shape not in EDGE_SHAPES:
            raise ValueError(f"unknown edge_shape {edge_shape!r}; choose from {', '.join(EDGE_SHAPES)}")
        self.hidden, self.activation, self.embedding, self.n_labels = tuple(hidden), activation, embedding, n_labels
        self.edges, self.edge_shape, self.n_conditions = edges, edge_shape, n_conditions
        widths = [2 + self.n_numbers * embedding.n_features, *hidden, 2]
        layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.layers = cast(Sequence[nn.Linear], layers)  # `ModuleList` cannot say what its modules are
        if n_labels:
            self.label_vectors = nn.Embedding(n_labels + 1, widths[1], padding_idx=n_labels)
        if n_conditions:
            self.from_conditions = nn.Linear(n_conditions, widths[1])
        if edges:
            n_lines = self.n_numbers * edges
            self.lines, self.from_lines = nn.Linear(2, n_lines), nn.Linear(n_lines, widths[1], bias=False)
            nn.init.normal_(self.lines.weight)
            nn.init.uniform_(self.lines.bias, -1.5, 1.5)

    def forward(self, x: Tensor, c: Tensor, labels: Tensor | None = None) -> Tensor:
        h = self._first(x, c, labels)
        for layer in self.layers[1:]:
            h = layer(self._activate(h))
        return h

    def jacobian(self, x: Tensor, c: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The output `F`, `(n, 2)`, and `dF_i / dx_j`, `(n, 2, 2)`, in closed form: the chain rule, layer by layer."""
        h, slope = self._first(x, c, labels), ACTIVATIONS[self.activation].slope
        tangents = self.layers[0].weight[:, :2].T[:, None, :]  # [j, n, width]: dh / dx_j
        if self.edges:
            slopes = self._line_slopes(x, c) * self.lines.weight.T[:, None, :]  # [j, n, edges]
            tangents = tangents + slopes @ self.from_lines.weight.T
        for layer in self.layers[1:]:
            tangents = (slope(h) * tangents) @ layer.weight.T
            h = layer(self._activate(h))
        return h, tangents.permute(1, 2, 0)

    def _activate(self, h: Tensor) -> Tensor:
        """The activation; in place if no gradient is needed, so a sampler's memory stays in the cache."""
        differentiated = torch.is_grad_enabled() or forward_ad.unpack_dual(h).tangent is not None
        activation = ACTIVATIONS[self.activation]
        return activation.function(h) if differentiated else activation.in_place(h)

    def _first(self, x: Tensor, c: Tensor, labels: Tensor | None) -> Tensor:
        first, features = self.layers[0], self._features(c)
        if len(features) == len(x):
            # Not `first(...)`: autograd then forms the weight's gradient with the narrow side last, five times slower.
            h = torch.addmm(first.bias, torch.cat([x, features], dim=-1), first.weight.T.contiguous())
        else:
            # One noise level for all rows: its part of the first layer is computed once, not once per row.
            from_level = F.linear(features, first.weight[:, 2:], first.bias)
            h = torch.addmm(from_level, x, first.weight[:, :2].T)
        if self.edges:
            h = h + self.from_lines(self._line_features(x, c))
        if labels is not None and self.n_conditions:
            given = labels.isfinite().all(dim=-1, keepdim=True)
            return h + torch.where(given, self.from_conditions(labels.nan_to_num().to(h.dtype)), 0.0)
        if labels is None or not self.n_labels:
            return h
        return h + self.label_vectors(torch.where(labels < 0, self.n_labels, labels))

    def _line_features(self, x: Tensor, c: Tensor) -> Tensor:
        """The features of the learned lines, `(n, lines)`."""
        return EDGE_SHAPES[self.edge_shape].function(self._distances(x, c))

    def _line_slopes(self, x: Tensor, c: Tensor) -> Tensor:
        """Their derivatives by `v . x`, `(n, lines)`."""
        return EDGE_SHAPES[self.edge_shape].slope(self._distances(x, c)) * self._inverse_noise(c)

    def _distances(self, x: Tensor, c: Tensor) -> Tensor:
        """Those to the lines in units of the noise, `(n, lines)`."""
        return self.lines(x) * self._inverse_noise(c)

    def _features(self, c: Tensor) -> Tensor:
        """The embedding of each of the numbers, `(m, n_numbers * n_features)`."""
        if self.n_numbers == 1:
            return self.embedding(c)
        return torch.cat([self.embedding(number) for number in c.split(1, dim=-1)], dim=-1)

    def _inverse_noise(self, c: Tensor) -> Tensor:
        """`exp(-4 c)` for each line; each of the numbers has as many lines."""
        return torch.exp(-4.0 * (c if self.n_numbers == 1 else c.repeat_interleave(self.edges, dim=-1)))
