r"""A distribution on the plane whose noisy versions are known exactly.

Noise of level `sigma` turns the density `p` into `p_sigma = p * N(0, sigma^2 I)`. In two dimensions, for the
distributions of this package, `log p_sigma`, its gradient (the score) and the posterior mean `E[x0 | x]` have closed
forms. They are the truth that every network, sampler and metric of this package is measured against.

The score and the posterior mean determine each other by Tweedie's formula, `score = (E[x0 | x] - x) / sigma^2`
(Robbins 1956; Efron 2011), but converting one into the other cancels digits: the score at small sigma, the mean at
large sigma. Each therefore has a formula of its own.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from toy_score.component import Component
from toy_score.seeds import seed_of

if TYPE_CHECKING:
    from toy_score.distributions.observations import LinearObservation

__all__ = [
    "Distribution",
    "OneClass",
    "all_true",
    "by_rows",
    "column",
    "device_of",
    "evenly_spread",
    "infinite",
    "positive",
    "wide",
]

SMALLEST = 1e-140  # replaces `sigma = 0`: the square of any length divided by it is still finite in float64
FAR = -1e4
"""A point is far from a part where the part's log density is lower. Above it, rounding changes no weight of a part by
more than 1e-12; below it, differences of the log densities must not be taken from their rounded values."""
LARGE = 1e300  # in the place of infinity: multiplied by a weight of 0 it is 0
FARTHEST = 1e150  # coordinates whose squares are finite in float64
SCALE = 2.0**691  # values beyond `2^1024 / SCALE = 1.7e100` become infinite, as at `sigma = 0`; no usable level has any


class Distribution(Component, ABC):
    """A two-dimensional distribution with exact noisy density, score and denoiser.

    `x` is `(n, 2)`; `sigma` is a number or a tensor that broadcasts against `(n, 1)`. Results have the dtype and the
    device of `x`.

    `sigma` may be 0, in some rows or in all. There they are their limits for `sigma -> 0`:

    - `log_prob`: the clean log density, -inf off the support, and on its edge the mean of the density's two sides;
    - `denoise`: `x` itself on the support, off it the nearest point of the support, or the mean of several nearest;
    - `score`: the gradient of the clean log density on the support; on its edge and off it, +inf or -inf in the
      coordinates that lead to the support.

    A distribution without a density, such as `Points`, raises a ValueError at `sigma = 0`. Results are computed in
    float64 and rounded once to the dtype of `x`. None is NaN for any finite point and level; coordinates beyond 1e150,
    whose squares overflow, are taken as 1e150.
    """

    bounds: float = 4.0
    """Half-width of the square about the origin that pictures show; it contains nearly all of the mass."""

    mode_weights: dict[str, float] = {"all": 1.0}
    """The true share of each mode, by name."""

    n_labels: int = 0
    """Number of classes, 0 if the points have no labels. Class k is mode k of `mode_weights`."""

    n_conditions: int = 0
    """How many numbers are observed with each point, on which it can be conditioned; 0 if there are none."""

    name: str = ""
    """Name in titles and file names: lower case, words joined by underscores."""

    @abstractmethod
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` independent points, `(n, 2)` float32, on the generator's device."""

    @abstractmethod
    def log_prob(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        """`log p_sigma(x)`, `(n,)`, in nats; `sigma = 0` is the clean density (-inf off its support)."""

    @abstractmethod
    def score(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """`grad log p_sigma(x)`, `(n, 2)`, for `sigma >= 0`."""

    @abstractmethod
    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """`E[x0 | x0 + sigma eps = x]`, `(n, 2)`, for `sigma >= 0`."""

    def score_and_denoise(self, x: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor]:
        """`score` and `denoise`, the same numbers bit for bit; most distributions compute what they share once."""
        return self.score(x, sigma), self.denoise(x, sigma)

    @abstractmethod
    def entropy(self) -> float:
        """Differential entropy of the clean density, in nats: the least negative log-likelihood a model can reach."""

    def sample_labelled(self, n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """The points that `sample` draws, `(n, 2)`, and the class of each, `(n,)` int64; 0 if there are no classes.

        Where conditions are observed, they take the place of the classes, `(n, n_conditions)` float32.
        """
        x = self.sample(n, generator)
        return x, torch.zeros(n, dtype=torch.long, device=x.device)

    def conditioned_on(self, label: int | Sequence[float]) -> "Distribution":
        """The exact distribution of one class, whose share is entry `label` of `mode_weights`, or given a condition.

        Args:
            label: the number of the class; or the condition, `n_conditions` numbers.

        Raises:
            ValueError: if there is no class of that label, or no such condition.
        """
        if isinstance(label, Sequence):
            if len(label) != self.n_conditions or not all(map(math.isfinite, label)):
                takes = f"it takes {self.n_conditions} finite numbers" if self.n_conditions else "it takes none"
                raise ValueError(f"{self!r} cannot be conditioned on {list(label)}: {takes}")
            return self._given(tuple(map(float, label)))
        self._check_label(label)
        return self._conditioned_on(int(label))

    def posterior(self, observation: "LinearObservation") -> "Distribution":
        """The exact distribution of the points, given a noisy linear observation of them; see `posteriors`."""
        from toy_score.distributions.posteriors import posterior  # it is made of the classes that are derived from this

        return posterior(self, observation)

    def _check_label(self, label: int) -> None:
        if self.n_labels == 0:
            raise ValueError(f"{self!r} has no labels, so no class {label}")
        if not 0 <= label < self.n_labels:
            raise ValueError(f"{self!r} has no class {label}: labels are 0 to {self.n_labels - 1}")

    def _conditioned_on(self, label: int) -> "Distribution":
        raise NotImplementedError(f"{type(self).__name__} has labels, so it must define `_conditioned_on(label)`")

    def _given(self, condition: tuple[float, ...]) -> "Distribution":
        raise NotImplementedError(f"{type(self).__name__} has conditions, so it must define `_given(condition)`")

    def reference(self, n: int = 65_536) -> Tensor:
        """A fixed set of points, `(n, 2)` float64, that represents the distribution in comparisons with samples."""
        return self.sample(n, torch.Generator().manual_seed(seed_of("reference points"))).double()

    def invalid(self, x: Tensor) -> Tensor:
        """Points where the clean density is zero, `(n,)` booleans: none, unless the support has a gap."""
        return torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def modes(self, x: Tensor) -> Tensor:
        """Index into `mode_weights` of the mode that each point belongs to, `(n,)` integers."""
        return torch.zeros(len(x), dtype=torch.long, device=x.device)

    def circles(self, radii: Sequence[float], n: int = 1000) -> list[Tensor]:
        """Images of circles of the base Gaussian under the map that makes the distribution, for pictures.

        Empty where the distribution is not a map of a Gaussian. Each image is a list of unbroken pieces `(m, 2)`.
        """
        return []


@dataclass(frozen=True, repr=False)
class OneClass(Distribution):
    """One class of a distribution, as a distribution of its own: the first of two bases; the second has the formulas.

    Args:
        whole: the distribution.
        label: of the class.
    """

    whole: Any
    label: int

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[misc]  # of the second base
        name = f"{self.whole.name}_{list(self.whole.mode_weights)[self.label]}"
        self._set(bounds=self.whole.bounds, name=name, mode_weights={"all": 1.0}, n_labels=0)

    def __repr__(self) -> str:
        return f"{self.whole!r}.conditioned_on({self.label})"


def column(value: float | Tensor, x: Tensor) -> Tensor:
    """A number, or one for each row, as a tensor `(1, 1)` or `(n, 1)` of the dtype and on the device of `x`."""
    if isinstance(value, Tensor):
        return value.to(x).reshape(-1, 1)
    # `full` and not a copy: before it copies a number to a GPU, the host waits until the GPU has finished its work.
    return torch.full((1, 1), value, dtype=x.dtype, device=x.device)


def positive(sigma: Tensor) -> Tensor:
    """Float64 noise levels; 0 becomes the smallest number that the formulas of hard edges can divide by and square."""
    return sigma.clamp(min=SMALLEST)


def infinite(values: Tensor) -> Tensor:
    """Float64 log densities or scores; values beyond 1.7e100 become their limits for `sigma -> 0`, +inf or -inf."""
    return values * SCALE * (1.0 / SCALE)  # exact, unless it overflows: half the time of two comparisons


def pair(columns: Tensor) -> tuple[Tensor, Tensor]:
    """The two tensors `(n, 2)` that stand side by side in one, `(n, 4)`."""
    return columns[:, :2], columns[:, 2:]


def all_true(condition: Tensor) -> bool:
    """Whether a condition is known to hold everywhere, so that what is for the other points can be left out.

    False also where it cannot be known at once: the host would wait for a GPU, and `vmap` refuses to answer.
    """
    if condition.device.type != "cpu":
        return False
    try:
        return bool(condition.all())
    except RuntimeError:
        return False


def device_of(generator: Generator | None) -> torch.device | None:
    """Where the random numbers of a generator are drawn; None, which is torch's default device, without a generator."""
    return None if generator is None else generator.device


def evenly_spread(n: int, dimensions: int, purpose: str = "reference points") -> Tensor:
    """`n` points spread evenly over the unit cube, `(n, dimensions)` float64: a scrambled Sobol set.

    Means over them have far smaller errors than means over random points: some fifteen times for `n = 65_536` in two
    dimensions.
    """
    sobol = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=seed_of(purpose) % 2**31)
    return sobol.draw(n, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)


def wide(x: Tensor) -> Tensor:
    """Points in float64; coordinates beyond 1e150, which only float64 can hold, become 1e150; infinity stays."""
    if x.dtype != torch.float64:
        return x.double()
    return torch.where(x.isfinite(), x.clamp(-FARTHEST, FARTHEST), x)


def by_rows(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigma: float | Tensor, rows: int) -> Tensor:
    """`function(x, sigma)`, `rows` points at a time, so that memory stays bounded and within the cache.

    `function` is given `(m, 2)` points and `(1, 1)` or `(m, 1)` noise levels, of the type of `x`.
    """
    rows, sigma = max(rows, 1), column(sigma, x)
    chunks = x.split(rows)
    levels = sigma.split(rows) if len(sigma) > 1 else [sigma] * len(chunks)
    return torch.cat([function(y, s) for y, s in zip(chunks, levels, strict=True)])
