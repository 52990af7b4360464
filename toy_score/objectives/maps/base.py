r"""What the objectives of flow maps share: the loss of the diagonal, where maps begin and end, and the scale of the
loss.

A network that gives the map also gives the denoiser, on its diagonal. So a batch has two losses, with a row for each
point or more: that of the diagonal, which learns the flow from the data, and that of a condition, which spreads the
flow from the diagonal to all pairs of times. That is *self-distillation* (Boffi, Albergo & Vanden-Eijnden 2025): one
network, one training, no teacher.

All conditions are written on the circle, `z = x / R` at angles `phi`, where maps begin, and `psi < phi`, where they
end. There the map

    Z(z, phi -> psi) = cos(phi - psi) z - sin(phi - psi) F

has a network output `F` of the size of the data, and a squared error of `Z` over `sin^2(phi - psi)` is one of `F`: it
has the same scale for short maps and for long ones.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import torch
from torch import Generator, Tensor

from toy_score.checks import check_at_least, check_positive, check_shares
from toy_score.component import Component
from toy_score.denoisers import Denoiser, NetworkDenoiser
from toy_score.flow_maps import FlowMap
from toy_score.objectives.base import Context, Loss
from toy_score.objectives.stable_target import StableTarget
from toy_score.objectives.times import TrainingTimes, even
from toy_score.objectives.weightings import OutputWeighting
from toy_score.schedules import Schedule

__all__ = [
    "EvenEnds",
    "MapCondition",
    "MapEnds",
    "MapLoss",
    "Straight",
    "UniformAngles",
    "mean_square",
    "of_rows",
    "teacher_of",
]

D = TypeVar("D", bound=Denoiser | None)


@dataclass(frozen=True)
class UniformAngles(TrainingTimes):
    """One level per point, uniform in the angle `arctan(r / scale)` and evenly spread over the batch; some at the
    highest.

    Args:
        scale: the noise level at the middle, > 0.
        from_noise: share of the points at the schedule's highest level, in [0, 1].

    Raises:
        ValueError: if an argument is out of range.
    """

    scale: float = 0.5
    from_noise: float = 0.3

    def __post_init__(self) -> None:
        check_positive(scale=self.scale)
        check_shares(from_noise=self.from_noise)

    def __call__(self, n: int, schedule: Schedule, generator: Generator) -> Tensor:
        low, high = (math.atan(r / self.scale) for r in schedule.ratios)
        share = (even(n, generator) / max(1.0 - self.from_noise, 1e-6)).clamp(max=1.0)
        return schedule.time(self.scale * (low + (high - low) * share).tan())[:, None]


class MapEnds(Component, ABC):
    """Where the maps of a batch end."""

    @abstractmethod
    def __call__(self, phi: Tensor, schedule: Schedule, generator: Generator) -> Tensor:
        """Angles `psi`, `(n, 1)`, below the angles `phi`, `(n, 1)`, at which the maps begin."""


@dataclass(frozen=True)
class EvenEnds(MapEnds):
    """Uniform in the angle `arctan(r / scale)` between the schedule's lowest level and the start; some at the lowest.

    Args:
        scale: the noise level at the middle, > 0.
        to_data: share of the maps that end at the lowest level, in [0, 1].

    Raises:
        ValueError: if an argument is out of range.
    """

    scale: float = 0.5
    to_data: float = 0.3

    def __post_init__(self) -> None:
        check_positive(scale=self.scale)
        check_shares(to_data=self.to_data)

    def __call__(self, phi: Tensor, schedule: Schedule, generator: Generator) -> Tensor:
        low, high = math.atan(schedule.ratios[0] / self.scale), (phi.tan() / self.scale).atan()
        share = torch.rand(2, *phi.shape, generator=generator, device=phi.device).to(phi)
        share = torch.where(share[0] < self.to_data, 0.0, share[1])
        return (self.scale * (low + (high - low) * share).tan()).atan()


class Straight(NamedTuple):
    """The paths of noised points: from clean points `x0`, `(n, 2)`, to noise `eps`, `(n, 2)`, with neither changing."""

    x0: Tensor
    eps: Tensor

    def at(self, phi: Tensor) -> Tensor:
        """The points `z = cos(phi) x_0 + sin(phi) eps` at angles `phi`, `(n, 1)`."""
        return phi.cos() * self.x0 + phi.sin() * self.eps

    def velocity(self, phi: Tensor) -> Tensor:
        """`dz / dphi`, whose mean, given `z`, is the velocity of the flow there."""
        return phi.cos() * self.eps - phi.sin() * self.x0


@dataclass(frozen=True)
class MapLoss(Loss):
    """The loss of the diagonal at the times of the module, and that of the maps.

    Args:
        diagonal: the loss of the diagonal.
    """

    diagonal: Loss = StableTarget(OutputWeighting(), antithetic=True)

    def __call__(self, denoiser: Denoiser, context: Context) -> Tensor:
        """Loss of each row of the diagonal, then of each map.

        Raises:
            ValueError: if the denoiser is no flow map.
        """
        if not isinstance(denoiser, FlowMap):
            name = type(denoiser).__name__
            raise ValueError(f"{type(self).__name__} trains a flow map, {name} is none; choose --model FlowMapModule")
        return torch.cat([self.diagonal(denoiser, context), self.maps(denoiser, context)])

    @abstractmethod
    def maps(self, flow_map: FlowMap, context: Context) -> Tensor:
        """Loss of each map, `(m,)`."""


@dataclass(frozen=True)
class MapCondition(MapLoss):
    """A condition on maps that begin at noised points of the batch.

    Args:
        diagonal: the loss of the diagonal.
        starts: at which times the maps begin.
        ends: where they end.
        n_maps: maps in a step, >= 1, at most one for each point of a batch: a larger batch serves the averages of the
            diagonal.

    Raises:
        ValueError: if an argument is out of range.
    """

    starts: TrainingTimes = UniformAngles()
    ends: MapEnds = EvenEnds()
    n_maps: int = 1024

    def __post_init__(self) -> None:
        check_at_least(1, n_maps=self.n_maps)

    def maps(self, flow_map: FlowMap, context: Context) -> Tensor:
        x0, schedule, generator = context.x0[: self.n_maps], flow_map.schedule, context.generator
        first = torch.arange(len(x0), device=x0.device)
        flow_map, context = of_rows(flow_map, first), replace(context, averaged=of_rows(context.averaged, first))
        phi = schedule.ratio(self.starts(len(x0), schedule, generator)).atan()
        psi = self.ends(phi, schedule, generator)
        eps = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
        return self.condition(flow_map, Straight(x0, eps), phi, psi, context)

    @abstractmethod
    def condition(self, flow_map: FlowMap, path: Straight, phi: Tensor, psi: Tensor, context: Context) -> Tensor:
        """Loss of each map, `(n,)`, from the points of the paths at angles `phi`, `(n, 1)`, to angles `psi`, `(n,
        1)`."""


def mean_square(difference: Tensor, phi: Tensor, psi: Tensor) -> Tensor:
    """The mean square of a difference of maps, `(m, 2)`, in units of the network's output: over `sin^2(phi - psi)`."""
    return (difference / (phi - psi).sin().clamp(min=1e-3)).square().mean(dim=-1)


def of_rows(denoiser: D, rows: Tensor) -> D:
    """The denoiser for some of the points of a batch, `(m,)` row numbers: with their labels, if it has one for each."""
    if not isinstance(denoiser, NetworkDenoiser) or denoiser.labels is None or len(denoiser.labels) == 1:
        return denoiser
    return denoiser.conditioned_on(denoiser.labels[rows])


def teacher_of(flow_map: Denoiser, context: Context) -> Denoiser:
    """The averaged network, whose flow varies less than that of the trained one, or the latter if there is no
    average."""
    return flow_map if context.averaged is None else context.averaged
