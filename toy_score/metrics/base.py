"""What the metrics of this package have in common."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from toy_score.distributions import Distribution

__all__ = ["ExactMetric", "FirstPoints", "SampleMetric"]


class ExactMetric(Metric):
    """A metric whose states add up over pieces and processes, exact whatever precision the model has."""

    full_state_update = False
    is_differentiable = False

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """The value, or several, as a figure and its axes."""
        return self._plot(val, ax)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ()) -> torch.nn.Module:
        # A module that is cast to a low precision would cast the sums as well; they follow it to its device only.
        device = fn(torch.zeros(1)).device
        return super()._apply(lambda tensor: tensor.to(device), exclude_state)


class SampleMetric(ExactMetric):
    """A metric that compares samples with a distribution.

    `update(x)` takes samples `(n, 2)`, in as many pieces as one likes; rows that are not finite are left out, and
    counted by `NonFinite`. `compute()` is nan before the first sample.

    Args:
        distribution: the truth.
        kwargs: those of `torchmetrics.Metric`; `sync_on_compute=False` counts the samples of this process alone.
    """

    higher_is_better: bool | None = False

    label = ""
    """What tables call it."""

    has_floor = True
    """Whether it is a scalar with a sampling distribution under the truth, so that a noise floor can be estimated."""

    is_slow = False
    """Whether a value takes a second or more, so that its noise floor is measured by few draws."""

    def __init__(self, distribution: Distribution, **kwargs: Any):
        super().__init__(**kwargs)
        self.distribution = distribution

    @classmethod
    def applies_to(cls, distribution: Distribution) -> bool:
        """Whether it says anything about this distribution."""
        return True

    @classmethod
    def known_floor(cls, distribution: Distribution, n: int) -> tuple[float, float] | None:
        """Mean and standard deviation of the value of `n` exact samples, where its law is known, to 3 % or better.

        None if exact samples must be drawn and measured.
        """
        return None

    def update(self, x: Tensor) -> None:
        """Add samples `(n, 2)`."""
        x = x.detach()
        self._add(x[x.isfinite().all(dim=1)].to(torch.float64 if x.dtype == torch.float64 else torch.float32))

    def _add(self, x: Tensor) -> None:
        """Add samples `(n, 2)`, all finite, float32 or float64."""
        raise NotImplementedError


class FirstPoints(SampleMetric):
    """A metric that compares all pairs of points, and so looks at the first few samples only.

    Args:
        distribution: the truth.
        n_points: how many samples it looks at, in [2, max_points]; with fewer samples, at all of them.

    Raises:
        ValueError: if `n_points` is out of range.
    """

    max_points = 10_000
    points: list[Tensor] | Tensor

    def __init__(self, distribution: Distribution, n_points: int = 1000, **kwargs: Any):
        super().__init__(distribution, **kwargs)
        if not 2 <= n_points <= self.max_points:
            raise ValueError(
                f"{type(self).__name__} compares all pairs, so n_points must be in [2, {self.max_points}], "
                f"got {n_points}; SlicedWasserstein and MMD take any number"
            )
        self.n_points = n_points
        self.add_state("points", [], "cat")

    def _add(self, x: Tensor) -> None:
        room = self.n_points - sum(map(len, self.points))
        if room > 0:
            self.points = [*self.points, x[:room].double()]

    def kept(self) -> Tensor:
        """The samples it looks at, `(m, 2)` float64, `m <= n_points`, of all processes together."""
        pieces = self.points if isinstance(self.points, list) else [self.points]
        return torch.cat([*pieces, torch.empty(0, 2, dtype=torch.float64, device=self.device)])[: self.n_points]
