"""Networks: functions of a point and of a number that encodes the noise level; the output is a vector."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

from toy_score.component import Component, Described

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
        if self.n_frequencies < 1 or not self.period > 0:
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
    mapped. Class labels, if there are any, are integers `(n,)`; -1 or None stands for no label.
    """

    n_labels: int = 0

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
    for the exact denoisers.
    """
    recorded = torch.is_grad_enabled()
    with torch.enable_grad():
        z = x if x.requires_grad else x.detach().requires_grad_()
        value = f(z)
        rows = [
            torch.autograd.grad(total, z, retain_graph=True, create_graph=recorded, materialize_grads=True)[0]
            for total in value.sum(dim=0)
        ]
    return value if recorded else value.detach(), torch.stack(rows, dim=1)


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
        edges: how many features `tanh((v . x + b) exp(-4 c))` the first layer sees besides, >= 0, with `v` and `b`
            learned. With `LogSigma`, `exp(-4 c) = alpha / sigma`, so each is a line, seen in units of the noise: near
            a sharp edge of the data the best output is a function of just that, and a smooth network of `x` and `c`
            would have to learn it for each noise level anew.

    Raises:
        ValueError: for an unknown activation, a width below 1, or a negative `n_labels` or `edges`.
    """

    broadcasts = True

    def __init__(
        self,
        hidden: tuple[int, ...] = (128, 128),
        activation: str = "softplus",
        embedding: Embedding = Raw(),
        n_labels: int = 0,
        edges: int = 0,
    ):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}; choose from {', '.join(ACTIVATIONS)}")
        if not hidden or min(hidden) < 1:
            raise ValueError(f"hidden needs at least one width, each at least 1, got {tuple(hidden)}; e.g. [128, 128]")
        if n_labels < 0:
            raise ValueError(f"n_labels must be at least 0, got {n_labels}")
        if edges < 0:
            raise ValueError(f"edges must be at least 0, got {edges}; 8 suffice for two straight edges")
        self.hidden, self.activation, self.embedding, self.n_labels = tuple(hidden), activation, embedding, n_labels
        self.edges = edges
        widths = [2 + self.n_numbers * embedding.n_features, *hidden, 2]
        layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.layers = cast(Sequence[nn.Linear], layers)  # `ModuleList` cannot say what its modules are
        if n_labels:
            self.label_vectors = nn.Embedding(n_labels + 1, widths[1], padding_idx=n_labels)
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
        if labels is None or not self.n_labels:
            return h
        return h + self.label_vectors(torch.where(labels < 0, self.n_labels, labels))

    def _line_features(self, x: Tensor, c: Tensor) -> Tensor:
        """The features of the learned lines, `(n, lines)`."""
        return torch.tanh(self.lines(x) * self._inverse_noise(c))

    def _line_slopes(self, x: Tensor, c: Tensor) -> Tensor:
        """Their derivatives by `v . x`, `(n, lines)`."""
        return (1.0 - self._line_features(x, c).square()) * self._inverse_noise(c)

    def _features(self, c: Tensor) -> Tensor:
        """The embedding of each of the numbers, `(m, n_numbers * n_features)`."""
        if self.n_numbers == 1:
            return self.embedding(c)
        return torch.cat([self.embedding(number) for number in c.split(1, dim=-1)], dim=-1)

    def _inverse_noise(self, c: Tensor) -> Tensor:
        """`exp(-4 c)` for each line; each of the numbers has as many lines."""
        return torch.exp(-4.0 * (c if self.n_numbers == 1 else c.repeat_interleave(self.edges, dim=-1)))


class MapMLP(MLP):
    """The network of a flow map: an `MLP` that is conditioned on two times, that of the points and that of their
    images.

    The embedding and the `edges` are there once for each. In units of the noise at the end of the map a line is as
    sharp as the map is where the flow parts, for example between the halves of the split normal.

    Args:
        hidden: widths of the hidden layers.
        activation: as in `MLP`.
        embedding: features of each of the two conditioning numbers.
        n_labels, edges: as in `MLP`.
    """

    n_numbers = 2

    def __init__(
        self,
        hidden: tuple[int, ...] = (128, 128, 128),
        activation: str = "silu",
        embedding: Embedding = Raw(),
        n_labels: int = 0,
        edges: int = 0,
    ):
        super().__init__(hidden, activation, embedding, n_labels, edges)


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
