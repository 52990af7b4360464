"""Points of any distribution, also of one without a data module of its own."""

from typing import Any

from toy_score.data.base import ToyDataModule
from toy_score.distributions import Distribution

__all__ = ["DistributionDataModule"]


class DistributionDataModule(ToyDataModule):
    """Points of a distribution that is given as an object: `DistributionDataModule(Moons(std=0.05))`.

    Args:
        distribution: the exact distribution.
        settings: the arguments of `ToyDataModule`.
    """

    def __init__(self, distribution: Distribution, **settings: Any):
        super().__init__(**settings)
        self.distribution = distribution
