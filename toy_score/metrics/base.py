"""What the metrics of this package have in common."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["ExactMetric"]


class ExactMetric(Metric):
    """A metric whose states add up over pieces and processes, exact whatever precision the model has."""

    full_state_update = False
    is_differentiable = False

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """The value, or several, as a figure and its axes."""
        return self._plot(val, ax)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ()) -> "ExactMetric":
        # A module that is cast to a low precision would cast the sums as well; they follow it to its device only.
        device = fn(torch.zeros(1)).device
        return super()._apply(lambda tensor: tensor.to(device), exclude_state)
