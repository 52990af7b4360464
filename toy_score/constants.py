"""Constants of a formula, sent once to each device and kept in each precision in which they are needed."""

import torch
from torch import Tensor

__all__ = ["Constant"]


class Constant:
    """A tensor on the CPU, with a copy for each device and dtype that asked for it.

    Args:
        value: the tensor, in its best precision.
    """

    def __init__(self, value: Tensor):
        self.value = value
        self._copies: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
        """The tensor on a device, in a dtype; its own if None."""
        key = device, dtype or self.value.dtype
        if key not in self._copies:
            self._copies[key] = self.value.to(*key)
        return self._copies[key]

    def like(self, x: Tensor) -> Tensor:
        """The tensor on the device and in the dtype of `x`."""
        return self.to(x.device, x.dtype)

    def __reduce__(self) -> tuple[type["Constant"], tuple[Tensor]]:
        return Constant, (self.value,)
