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
from toy_score.objectives.maps.base import MapLoss, mean_square, of_rows, teacher_of
from toy_score.schedules import Schedule

__all__ = ["PathLoss", "Paths", "TrajectoryDistillation"]


class Paths(NamedTuple):
    """Paths on the circle: positions `z`, `(K + 1, n, 2)`, at angles, `(K + 1,)`, from the highest level to the lowest,
    and the points of the batch at which they begin, `(n,)` row numbers, if they do."""

    z: Tensor
    angles: Tensor
    rows: Tensor | None = None


def angles_of(schedule: Schedule, n_steps: int, scale: float, shift: float = 1.0) -> list[float]:
    """Angles from the schedule's highest level down to the lowest, evenly spaced in `arctan(r / scale)`.

    They are `n_steps + 1`; with a `shift` in (0, 1) the first and the last step are shorter than the others, by the
    shares `1 - shift` and `shift`, and there is one more.
    """
    low, high = (math.atan(r / scale) for r in schedule.ratios)
    steps = [0.0, *(shift + k for k in range(n_steps)), n_steps] if shift < 1 else range(n_steps + 1)
    return [math.atan(scale * math.tan(high + (low - high) * k / n_steps)) for k in steps]


@torch.no_grad()
def followed(denoiser: Denoiser, z: Tensor, angles: list[float]) -> Paths:
    """The paths of a denoiser's flow from `z`, `(n, 2)`, by a Runge-Kutta step of order 4 from angle to angle."""
    middles = [0.5 * (phi + psi) for phi, psi in itertools.pairwise(angles)]
    slopes, half_way = denoiser.flows(angles), denoiser.flows(middles)
    positions = [z]
    for k, (phi, psi) in enumerate(itertools.pairwise(angles)):
        h = psi - phi
        k_1 = slopes[k](z)
        k_2 = half_way[k](z + 0.5 * h * k_1)
        k_3 = half_way[k](z + 0.5 * h * k_2)
        k_4 = slopes[k + 1](z + h * k_3)
        z = z + h / 6.0 * (k_1 + 2.0 * (k_2 + k_3) + k_4)
        positions.append(z)
    return Paths(torch.stack(positions), torch.tensor(angles, dtype=z.dtype, device=z.device))


def near(paths: Paths, x0: Tensor) -> Paths:
    """Those of the paths that never leave the region where noised points of a batch `x0`, `(m, 2)`, can be.

    The flow of a network that is not trained yet can carry points away without bound, and the regression on such paths
    drowns all others. The noise of a path is within eight standard deviations but for one path in 10^14, and a batch
    has a point half as far out as any, so paths of the exact flow are not left out.
    """
    bound = 2.0 * paths.angles.cos() * x0.norm(dim=1).max() + 8.0 * paths.angles.sin()
    kept = (paths.z.norm(dim=-1) <= bound[:, None]).all(dim=0)
    return Paths(paths.z[:, kept], paths.angles, None if paths.rows is None else paths.rows[kept])


@dataclass(frozen=True)
class PathLoss(MapLoss):
    """Regression on paths: `|Z(z_i, phi_i -> phi_j) - z_j|^2 / 2` in units of the network's output, `i < j` random.

    Args:
        diagonal: the loss of the diagonal.
        n_maps: maps in a step, >= 1.
        from_noise: share of them that begin at the highest level, in [0, 1].
        to_data: share of them that end at the lowest level, in [0, 1].
        scale: the noise level at the middle of the solver's steps, > 0; below the data's, more of them are at low
            noise.

    Raises:
        ValueError: if an argument is out of range.
    """

    n_maps: int = 1024
    from_noise: float = 0.3
    to_data: float = 0.3
    scale: float = 0.3

    def __post_init__(self) -> None:
        check_positive(scale=self.scale)
        check_at_least(1, **{name: value for name, value in vars(self).items() if name.startswith("n_")})
        check_shares(from_noise=self.from_noise, to_data=self.to_data)

    def maps(self, flow_map: FlowMap, context: Context) -> Tensor:
        generator = context.generator
        z, angles, rows = self.paths(flow_map, context)
        k, n = z.shape[:2]
        if n == 0:
            return z.new_zeros(self.n_maps)
        u = torch.rand(4, self.n_maps, generator=generator, device=z.device)
        path = torch.randint(n, (self.n_maps,), generator=generator, device=z.device)
        # A number just below 1 makes a product or a sum that rounds to the integer above: hence the bounds.
        i = torch.where(u[0] < self.from_noise, 0.0, u[1] * (k - 1)).long().clamp(max=k - 2)
        j = torch.where(u[2] < self.to_data, k - 1.0, i + 1.0 + u[3] * (k - 1 - i)).long().clamp(max=k - 1)
        phi, psi = angles[i, None], angles[j, None]
        if rows is not None:
            flow_map = of_rows(flow_map, rows[path])
        return mean_square(flow_map.turn(z[i, path], phi, psi) - z[j, path], phi, psi)

    @abstractmethod
    def paths(self, flow_map: FlowMap, context: Context) -> Paths:
        """The paths of a step; if there are none, its maps have no loss."""


@dataclass(frozen=True)
class TrajectoryDistillation(PathLoss):
    """Self-distillation by a solver: the paths of a step follow the network's own velocity, averaged over the training.

    They begin at noised points of the batch at the highest level. The target of a map does not pass through other maps,
    so no error of theirs adds up; every path serves for many maps. Paths that run away are left out, see `near`.

    Args:
        n_paths: paths of a step, >= 1, at most the points of a batch.
        n_steps: steps of the solver from noise to data, >= 1, four evaluations each, and one more step, since where
            they begin is random, so that maps between all levels are seen. With four, the end of an exact path of the
            heart is wrong by 1e-6 to 2e-5 in units of the map error, a tenth of what networks reach.
    """

    n_paths: int = 128
    n_steps: int = 4

    def paths(self, flow_map: FlowMap, context: Context) -> Paths:
        x0, generator = context.x0[: self.n_paths], context.generator
        shift = float(torch.rand((), generator=generator, device=generator.device))
        angles = angles_of(flow_map.schedule, self.n_steps, self.scale, shift)
        eps = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
        z = math.cos(angles[0]) * x0 + math.sin(angles[0]) * eps
        rows = torch.arange(len(x0), device=x0.device)
        paths = followed(of_rows(teacher_of(flow_map, context), rows), z, angles)
        return near(paths._replace(rows=rows), x0)
