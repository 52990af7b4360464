r"""Metrics that count: modes, points where there can be none, points that are no points.

With the true shares `w` of the modes and the samples' shares `v`, both over K modes,

    total variation = 1/2 sum_k |v_k - w_k|,        reverse KL = sum_k v_k log(v_k / w_k)      (in nats),

and, as in the studies of dropped modes (Srivastava et al. 2017; Lin et al. 2018), a sample is near a mode if it is
within three standard deviations of one of the Gaussians, and a mode is found if a sample near one belongs to it.
"""

import functools
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from toy_score.distributions import Distribution
from toy_score.metrics.base import SampleMetric
from toy_score.seeds import seed_of

__all__ = [
    "InvalidMass",
    "ModeReverseKL",
    "ModeTotalVariation",
    "ModeWeights",
    "ModesFound",
    "NearModes",
    "NonFinite",
]

NEAR = 3.0  # standard deviations
DRAWS = 4096  # of counts, for a floor


@functools.lru_cache(maxsize=8)
def _probabilities(counts: Callable[[Distribution, Tensor], Tensor], distribution: Distribution) -> Tensor:
    """Shares of evenly spread points that count for each mode and, the last, for none, `(K + 1,)`."""
    x = distribution.reference()
    of_modes = counts(distribution, x)
    return torch.cat([of_modes, len(x) - of_modes.sum()[None]]).double() / len(x)


class _PerMode(SampleMetric):
    """Counts of samples by mode, in the order of `distribution.mode_weights`."""

    counts: Tensor
    n: Tensor

    def __init__(self, distribution: Distribution, **kwargs: Any):
        super().__init__(distribution, **kwargs)
        self.weights = torch.tensor(list(distribution.mode_weights.values()), dtype=torch.float64)
        self.add_state("counts", torch.zeros(len(self.weights), dtype=torch.int64), "sum")
        self.add_state("n", torch.zeros((), dtype=torch.int64), "sum")

    @classmethod
    def applies_to(cls, distribution: Distribution) -> bool:
        return len(distribution.mode_weights) > 1

    @classmethod
    def known_floor(cls, distribution: Distribution, n: int) -> tuple[float, float]:
        """By multinomial counts; the probabilities are the shares that evenly spread points have."""
        shares = _probabilities(cls._counts, distribution)
        drawn = np.random.default_rng(seed_of("noise floor")).multinomial(n, shares.numpy(), DRAWS)[:, :-1]
        metric, of_all = cls(distribution), torch.tensor(n)
        values = torch.stack([metric.value(counts, of_all).double() for counts in torch.from_numpy(drawn)])
        return values.mean().item(), values.std().item()

    @staticmethod
    def _counts(distribution: Distribution, x: Tensor) -> Tensor:
        """How many of the points count for each mode, `(K,)`."""
        return torch.bincount(distribution.modes(x), minlength=len(distribution.mode_weights))

    def _add(self, x: Tensor) -> None:
        self.counts += self._counts(self.distribution, x)
        self.n += len(x)

    def compute(self) -> Tensor:
        """The value of all samples."""
        return self.value(self.counts, self.n)

    @abstractmethod
    def value(self, counts: Tensor, n: Tensor) -> Tensor:
        """The value of `n` samples with these counts, `(K,)`."""


class ModeWeights(_PerMode):
    """Share of the samples in each mode, `(K,)`, in [0, 1].

    The truth's own scatter is binomial, `sqrt(w (1 - w) / n)`. Sees wrong weights; blind to all that happens inside a
    mode.
    """

    label = "mode weights"
    has_floor = False
    higher_is_better = None

    @classmethod
    def applies_to(cls, distribution: Distribution) -> bool:
        return True

    def value(self, counts: Tensor, n: Tensor) -> Tensor:
        """The shares, `(K,)`."""
        return counts.double() / n


class ModeTotalVariation(_PerMode):
    """Total variation of the shares of the modes, in [0, 1]: the least mass that has to change its mode.

    Biased upwards, by about `sum_k sqrt(w_k (1 - w_k) / (2 pi n))`.
    """

    label = "total variation of the modes"
    plot_lower_bound = 0.0

    def value(self, counts: Tensor, n: Tensor) -> Tensor:
        """The total variation, a scalar."""
        return 0.5 * (counts.double() / n - self.weights.to(counts.device)).abs().sum()


class ModeReverseKL(_PerMode):
    """Reverse Kullback-Leibler divergence of the shares of the modes, >= 0, in nats; biased upwards by `(K - 1) / 2n`.

    A mode that is missing altogether costs no more than its share: look at `ModesFound`.
    """

    label = "reverse KL of the modes, nats"
    plot_lower_bound = 0.0

    def value(self, counts: Tensor, n: Tensor) -> Tensor:
        """The divergence, a scalar."""
        v = counts.double() / n
        return torch.special.xlogy(v, v / self.weights.to(counts.device)).sum()


@runtime_checkable
class OfGaussians(Protocol):
    """A distribution whose modes are Gaussians."""

    def deviations(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """How many standard deviations away the nearest Gaussian is, `(n,)`, and its mode, `(n,)`."""


class _NearModes(_PerMode):
    """Counts, by mode, of the samples within three standard deviations of a Gaussian, and how many there are in all.

    Raises:
        TypeError: if the distribution has no `deviations`.
    """

    higher_is_better = True

    def __init__(self, distribution: Distribution, **kwargs: Any):
        super().__init__(distribution, **kwargs)
        if not isinstance(distribution, OfGaussians):
            raise TypeError(f"{type(self).__name__} needs a distribution with `deviations`, got {distribution!r}")

    @classmethod
    def applies_to(cls, distribution: Distribution) -> bool:
        return len(distribution.mode_weights) > 1 and isinstance(distribution, OfGaussians)

    @staticmethod
    def _counts(distribution: Distribution, x: Tensor) -> Tensor:
        assert isinstance(distribution, OfGaussians)
        deviations, modes = distribution.deviations(x)
        return torch.bincount(modes[deviations <= NEAR], minlength=len(distribution.mode_weights))


class ModesFound(_NearModes):
    """How many of the K modes have a sample within three standard deviations: an integer in [0, K].

    Sees modes that are missing; blind to how much of the mass each has.
    """

    label = "modes found"

    def value(self, counts: Tensor, n: Tensor) -> Tensor:
        """The number, a scalar."""
        return torch.where(n > 0, (counts > 0).sum().double(), torch.nan)


class NearModes(_NearModes):
    """Share of the samples within three standard deviations of a mode, in [0, 1].

    Of the samples of a single round Gaussian, `1 - exp(-9/2) = 0.989` are. Sees blur and stray samples; blind to
    weights, and it rises when samples huddle in the middle of the modes.
    """

    label = "within 3 std of a mode"

    def value(self, counts: Tensor, n: Tensor) -> Tensor:
        """The share, a scalar."""
        return counts.sum().double() / n


class _Share(SampleMetric):
    """Share of the samples that have some property, a scalar in [0, 1]."""

    has_floor = False
    plot_lower_bound = 0.0
    n: Tensor
    hits: Tensor

    def __init__(self, distribution: Distribution, **kwargs: Any):
        super().__init__(distribution, **kwargs)
        self.add_state("n", torch.zeros((), dtype=torch.int64), "sum")
        self.add_state("hits", torch.zeros((), dtype=torch.int64), "sum")

    def _count(self, has: Tensor) -> None:
        self.hits += has.sum()
        self.n += len(has)

    def compute(self) -> Tensor:
        """The share."""
        return self.hits.double() / self.n

    def seen(self) -> int:
        """How many samples were counted, by all processes together."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self.sync_on_compute):
            return int(self.n)


class InvalidMass(_Share):
    """Share of the samples where the clean density is zero, as in the split normal's gap; 0 for exact samples."""

    label = "mass where there is none"

    def _add(self, x: Tensor) -> None:
        self._count(self.distribution.invalid(x))


class NonFinite(_Share):
    """Share of the samples with a coordinate that is nan or infinite; the other metrics leave them out."""

    label = "not finite"

    def update(self, x: Tensor) -> None:
        """Add samples `(n, 2)`."""
        self._count(~x.isfinite().all(dim=1))
