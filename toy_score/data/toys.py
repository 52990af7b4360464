"""One data module per toy distribution."""

from typing import Any

from toy_score.data.base import ToyDataModule
from toy_score.distributions import Heart, SplitNormal

__all__ = ["HeartDataModule", "SplitNormalDataModule"]


class HeartDataModule(ToyDataModule):
    """Points of the `Heart`; the arguments are those of `ToyDataModule`."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.distribution = Heart()


class SplitNormalDataModule(ToyDataModule):
    """Points of the `SplitNormal`, whose halves moved by `shift`; the other arguments are those of `ToyDataModule`."""

    def __init__(self, shift: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.shift = shift
        self.distribution = SplitNormal(shift)
