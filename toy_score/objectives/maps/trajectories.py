r"""Regression on paths of a flow: a map from one point of a path to a later one is known."""

import itertools
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from toy_score.checks import check_at_least, check_positive, check_shares
from toy_score.denoisers import Denoiser
from toy_score.flow_maps import FlowMap
from toy_score.objectives.base import Context
from toy_score.objectives.maps.base import MapLoss, mean_square, teacher_of
from toy_score.schedules import Schedule
from toy_score.solvers import RK4, stages

__all__ = ["PathLoss", "Paths", "TrajectoryDistillation"]


class Paths(NamedTuple):
    """Paths on the circle: positions `z`, `(K + 1, n, 2)`, at angles, `(K + 1,)`, from the highest level to the
    lowest."""

    z: Tensor
    angles: Tensor


def angles_of(schedule: Schedule, n_steps: int, scale: float) -> list[float]:
    """The `n_steps + 1` angles, from the schedule's highest level to the lowest, evenly spaced in `arctan(r /
    scale)`."""
    low, high = (math.atan(r / scale) for r in schedule.ratios)
    return [math.atan(scale * math.tan(high + (low - high) * k / n_steps)) for k in range(n_steps + 1)]


@torch.no_grad()
def followed(denoiser: Denoiser, z: Tensor, angles: list[float]) -> Paths:
    """The paths of a denoiser's flow from `z`, `(n, 2)`, by a Runge-Kutta step of order 4 from angle to angle."""
    positions = [z]
    for phi, psi in itertools.pairwise(angles):
        positions.append(stages(RK4, denoiser.flow, phi, positions[-1], psi - phi)[0])
    return Paths(torch.stack(positions), torch.tensor(angles, dtype=z.dtype, device=z.device))


@dataclass(frozen=True)
class PathLoss(MapLoss):
    """Regression on paths: `|Z(z_i, phi_i -> phi_j) - z_j|^2 / 2` in units of the network's output, `i < j` random.

    Args:
        diagonal: the loss of the diagonal. n_maps: maps in a step, >= 1. from_noise: share of them that begin at the
        highest level, in [0, 1]. to_data: share of them that end at the lowest level, in [0, 1]. scale: the noise level
        at the middle of the solver's steps, > 0; below the data's, more of them are at low noise.

    Raises:
        ValueError: if an argument is out of range.
    """

    n_maps: int = 512
    from_noise: float = 0.3
    to_data: float = 0.3
    scale: float = 0.3

    def __post_init__(self) -> None:
        check_positive(scale=self.scale)
        check_at_least(1, **{name: value for name, value in vars(self).items() if name.startswith("n_")})
        check_shares(from_noise=self.from_noise, to_data=self.to_data)

    def maps(self, flow_map: FlowMap, context: Context) -> Tensor:
        generator = context.generator
        z, angles = self.paths(flow_map, context)
        k, n = z.shape[:2]
        u = torch.rand(4, self.n_maps, generator=generator, device=z.device)
        path = torch.randint(n, (self.n_maps,), generator=generator, device=z.device)
        i = torch.where(u[0] < self.from_noise, 0.0, u[1] * (k - 1)).long()
        j = torch.where(u[2] < self.to_data, k - 1.0, i + 1.0 + u[3] * (k - 1 - i)).long()
        phi, psi = angles[i, None], angles[j, None]
        return mean_square(flow_map.turn(z[i, path], phi, psi) - z[j, path], phi, psi)

    @abstractmethod
    def paths(self, flow_map: FlowMap, context: Context) -> Paths:
        """The paths of a step."""


@dataclass(frozen=True)
class TrajectoryDistillation(PathLoss):
    """Self-distillation by a solver: the paths of a step follow the network's own velocity, averaged over the training.

    They begin at noised points of the batch at the highest level. The target of a map does not pass through other maps,
    so no error of theirs adds up; every path serves for many maps.

    Args:
        n_paths: paths of a step, >= 1, at most the points of a batch.
        n_steps: steps of the solver, >= 1, four evaluations each.
    """

    n_paths: int = 64
    n_steps: int = 12

    def paths(self, flow_map: FlowMap, context: Context) -> Paths:
        x0, angles = context.x0[: self.n_paths], angles_of(flow_map.schedule, self.n_steps, self.scale)
        eps = torch.randn(x0.shape, generator=context.generator, device=x0.device, dtype=x0.dtype)
        z = math.cos(angles[0]) * x0 + math.sin(angles[0]) * eps
        return followed(teacher_of(flow_map, context), z, angles)
