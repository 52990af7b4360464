r"""The empirical distribution of a set of points, for data of which only points are known.

N points are a mixture of N delta functions, and under noise of level `sigma` a mixture of N equal round Gaussians. With
the responsibilities

    r_k(x) = exp(-|x - x_k|^2 / 2 sigma^2) / sum_j exp(-|x - x_j|^2 / 2 sigma^2)

the posterior mean and the score are

    E[x0 | x] = sum_k r_k x_k,      grad log p_sigma = (E[x0 | x] - x) / sigma^2.

Among all functions this denoiser minimises the training loss on these points (Vincent 2011; Karras et al. 2022,
appendix B.3). A network of unlimited capacity would learn it, and its samples are the training points. So it is the
reference for memorisation, not for the true distribution.

The exponents `(x . x_k - |x_k|^2 / 2) / sigma^2`, without the term that all points share, are one matrix product. They
cancel digits, by up to `|x|^2 / sigma^2`, so they are computed in float64 and relative to the mean of the points.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Generator, Tensor

from toy_score.constants import Constant
from toy_score.distributions.base import Distribution, by_rows, column, device_of, pair, wide
from toy_score.distributions.reading import Table, read_table
from toy_score.seeds import seed_of

__all__ = ["Points"]

Function = Callable[[Tensor, Tensor, Tensor], Tensor]

CPU_CHUNK, GPU_CHUNK = 1 << 17, 1 << 24  # pairs of points at a time: 1 MB, which stays in the cache; 128 MB


@dataclass(frozen=True, eq=False, repr=False)
class Points(Distribution):
    """The points of a set, all equally likely; `Points.read(path)` takes them from a file.

    They have no density without noise: `log_prob`, `score` and `denoise` at `sigma = 0` raise a ValueError.

    Args:
        points: `(n, 2)`, finite, at least one.
        labels: `(n,)`, the class of each point, counted from 0, without gaps unless all are named; none if None.
        names: of the classes; their numbers if None.
        name: for titles.

    Raises:
        ValueError: if points or labels are not as stated; it names the first wrong row.
    """

    points: Tensor
    labels: Tensor | None = None
    names: Sequence[str] | None = None
    name: str = "points"
    _middle: Constant = field(init=False)
    _columns: Constant = field(init=False)

    def __post_init__(self) -> None:
        x = torch.as_tensor(self.points)
        if x.dim() != 2 or x.shape[1] != 2 or not len(x):
            raise ValueError(f"points must be (n, 2), got {tuple(x.shape)}")
        if not x.isfinite().all():
            row = int((~x.isfinite()).any(dim=1).nonzero()[0])
            raise ValueError(f"point {row} is {x[row].tolist()}; remove or repair it")
        self._set(points=x, names=None if self.names is None else tuple(self.names))
        if self.labels is not None:
            self._set(labels=torch.as_tensor(self.labels))
            self._name_classes(self.labels)
        x = x.double()
        lengths = x.abs().amax(dim=1)
        reach = lengths.kthvalue(math.ceil(0.999 * len(lengths))).values.item()
        middle = x.mean(dim=0)
        self._set(
            bounds=_rounded_up(1.1 * reach) if reach > 0 else 1.0,
            _middle=Constant(middle),
            _columns=Constant(self._of(x - middle)),
        )

    @classmethod
    def read(cls, path: str | Path | Table) -> "Points":
        """The points in a `.csv`, `.npy` or `.npz` file, or the dark pixels of a picture; see `read_table`."""
        table = path if isinstance(path, Table) else read_table(path)
        return cls(table.x, table.labels, table.names)

    def _name_classes(self, labels: Tensor) -> None:
        if labels.shape != (len(self.points),) or labels.is_floating_point():
            raise ValueError(f"labels must be {len(self.points)} whole numbers, one for each point")
        counts = labels.bincount(minlength=len(self.names or [])) if labels.min() >= 0 else torch.zeros(1)
        names = [str(k) for k in range(len(counts))] if self.names is None else list(self.names)
        if len(counts) != len(names) or (self.names is None and not counts.all()):
            raise ValueError(f"labels must count from 0 without gaps, got {labels.unique().tolist()}")
        shares = (counts.double() / len(labels)).tolist()
        self._set(mode_weights=dict(zip(names, shares, strict=True)), n_labels=len(counts) if len(counts) > 1 else 0)

    @staticmethod
    def _of(x: Tensor) -> Tensor:
        """The factors of `x`, `y` and 1 in the exponents, `(3, N)`."""
        return torch.stack([*x.T, -0.5 * x.square().sum(dim=1)])

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        return f"Points({len(self)} points{f', {self.n_labels} classes' if self.n_labels else ''})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Points) or (self.names, self.name) != (other.names, other.name):
            return False
        return _are_equal(self.points, other.points) and _are_equal(self.labels, other.labels)

    def __hash__(self) -> int:
        return hash((len(self), *self.points[0].tolist(), *self.points[-1].tolist(), self.names, self.name))

    def log_prob(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        """`log p_sigma(x)`, `(n,)`, in nats, for `sigma > 0`.

        Raises:
            ValueError: for `sigma = 0`: points have no density.
        """

        def log_p(y: Tensor, v: Tensor, columns: Tensor) -> Tensor:
            exponent = _exponent(y, v, columns)
            shared = 0.5 * y.square().sum(dim=1, keepdim=True) / v + (2.0 * math.pi * v).log()
            return exponent.logsumexp(dim=1) - shared[:, 0] - math.log(len(self))

        return self._by_rows(log_p, x, sigma).to(x.dtype)

    def score(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self._by_rows(lambda y, v, columns: (_mean(y, v, columns) - y) / v, x, sigma).to(x.dtype)

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        middle = self._middle.to(x.device)
        return (self._by_rows(_mean, x, sigma) + middle).to(x.dtype)

    def score_and_denoise(self, x: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor]:
        def both(y: Tensor, v: Tensor, columns: Tensor) -> Tensor:
            mean = _mean(y, v, columns)
            return torch.cat([(mean - y) / v, mean + self._middle.to(y.device)], dim=1)

        return pair(self._by_rows(both, x, sigma).to(x.dtype))

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """`n` of the points, drawn with replacement, `(n, 2)` float32."""
        return self.sample_labelled(n, generator)[0]

    def sample_labelled(self, n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        k = torch.randint(len(self), (n,), generator=generator, device=device_of(generator))
        labels = torch.zeros_like(k) if self.labels is None else self.labels.to(k.device, torch.long)[k]
        return self.points.to(k.device)[k].float(), labels

    def subset(self, n: int, generator: Generator | None = None) -> "Points":
        """`n` of the points, drawn without replacement, with their classes; all points if there are fewer than `n`."""
        return self[torch.randperm(len(self), generator=generator)[:n]]

    def __getitem__(self, rows: Tensor | slice) -> "Points":
        """Some of the points, with the classes of all; a class may be empty."""
        if self.labels is None:
            return Points(self.points[rows])
        return Points(self.points[rows], self.labels[rows], list(self.mode_weights))

    def reference(self, n: int = 65_536) -> Tensor:
        """The points themselves, `(n, 2)` float64, repeated; the numbers of repetitions differ by at most one."""
        return self.points.double()[(torch.arange(n) * len(self)).div(n, rounding_mode="floor")]

    def entropy(self) -> float:
        """Minus infinity: points have no density."""
        return -math.inf

    def nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Distance of each row of `x` from the nearest point, `(n,)` float64, and the index of that point, `(n,)`."""
        k = self._by_rows(lambda y, v, columns: _exponent(y, v, columns).argmax(dim=1), x, 1.0)
        return (x.double() - self.points.to(x.device, torch.float64)[k]).norm(dim=1), k

    def spacing(self, n: int = 1000) -> float:
        """The median distance of a point from its nearest neighbour, over `n` of the points.

        Repeated points count once, because a distance of 0 says nothing about the scale of the data.
        """
        distinct = self.points.unique(dim=0)
        if len(distinct) < len(self):
            return Points(distinct).spacing(n) if len(distinct) > 1 else 0.0
        x = self.subset(n, torch.Generator().manual_seed(seed_of("spacing of points"))).points.double()
        k = self._by_rows(lambda y, v, columns: _exponent(y, v, columns).topk(2).indices, x, 1.0)  # itself, neighbour
        others = self.points.double()[k]  # [n, 2, 2]
        return (others - x[:, None]).norm(dim=2).amax(dim=1).median().item()

    def modes(self, x: Tensor) -> Tensor:
        """The class of the nearest point, `(n,)` integers."""
        if self.labels is None:
            return super().modes(x)
        return self.labels.to(x.device, torch.long)[self.nearest(x)[1]]

    def conditioned_on(self, label: int | Sequence[float]) -> "Points":
        """The points of one class, without their labels.

        Raises:
            ValueError: if there is none, or no such class; for a condition, which points do not have.
        """
        if isinstance(label, Sequence):
            raise ValueError(f"{self.name} cannot be conditioned on {list(label)}: they come without conditions")
        self._check_label(label)
        rows, name = self.labels == label, list(self.mode_weights)[label]
        if not torch.as_tensor(rows).any():
            raise ValueError(f"{self.name}: none is of class {name}")
        return Points(self.points[rows], name=f"{self.name}, {name}")

    def _by_rows(
        self, function: Callable[[Tensor, Tensor, Tensor], Tensor], x: Tensor, sigma: float | Tensor
    ) -> Tensor:
        """`function(points, variances, columns)`, computed in chunks of rows to bound the memory."""
        middle, columns = self._middle.to(x.device), self._columns.to(x.device)
        x = wide(x)
        if not (column(sigma, x) > 0).all():
            raise ValueError("a set of points has no density without noise; sigma must be positive")
        rows = (CPU_CHUNK if x.device.type == "cpu" else GPU_CHUNK) // len(self)
        return by_rows(lambda y, s: function(y, s.square(), columns), x - middle, sigma, rows)


def _are_equal(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and torch.equal(a, b)


def _exponent(y: Tensor, v: Tensor, columns: Tensor) -> Tensor:
    """`(y . x_k - |x_k|^2 / 2) / v`, `(n, N)`."""
    return torch.cat([y, torch.ones_like(y[:, :1])], dim=1) / v @ columns


def _mean(y: Tensor, v: Tensor, columns: Tensor) -> Tensor:
    """`sum_k r_k x_k`, `(n, 2)`."""
    return _exponent(y, v, columns).softmax(dim=1) @ columns[:2].T


def _rounded_up(number: float) -> float:
    """Rounded up to two digits, so that the axes of pictures end at round numbers."""
    digits = 1 - math.floor(math.log10(number))
    return round(math.ceil(number * 10.0**digits) / 10.0**digits, max(digits, 0))
