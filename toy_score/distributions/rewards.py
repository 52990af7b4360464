"""Rewards: functions of a point by whose exponential a density is tilted, `p(x) exp(reward(x)) / Z`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from toy_score.component import Component, as_tuple
from toy_score.distributions.mixtures import checked

__all__ = ["LinearReward", "Reward"]


class Reward(Component, ABC):
    """A differentiable function of clean points, in nats."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """The reward of points `(n, 2)`: `(n,)`."""


@dataclass(frozen=True)
class LinearReward(Reward):
    """`a . x`: it moves each Gaussian of a mixture by `S a`, and weights it by `exp(a . mu + a' S a / 2)`.

    Args:
        slope: `a`, two numbers, in nats per unit of length.

    Raises:
        ValueError: if it is not two finite numbers.
    """

    slope: Sequence[float]

    def __post_init__(self) -> None:
        self._set(slope=as_tuple(self.slope))
        checked("slope", self.slope, (2,))

    def __call__(self, x: Tensor) -> Tensor:
        return x @ x.new_tensor(self.slope)
