r"""Consistency models: neighbouring points of a path map to the same point of the data."""

from dataclasses import dataclass

import torch
from torch import Tensor

from toy_score.checks import check_at_least
from toy_score.flow_maps import FlowMap
from toy_score.objectives.base import Context
from toy_score.objectives.maps.base import (
    EvenEnds,
    MapCondition,
    MapEnds,
    Straight,
    mean_square,
    teacher_of,
)

__all__ = ["Consistency"]


@dataclass(frozen=True)
class Consistency(MapCondition):
    """`|Z(z, phi -> psi) - Z(z', phi' -> psi)|^2 / 2`, `z'` a little further down the path; by default all end at the
    data.

    In consistency training (Song et al. 2023, algorithm 3) both points have one clean point and one noise, and the path
    is a straight pair's; in consistency distillation (algorithm 2) Heun's step of a teacher leads from one to the
    other, here of the network's own averaged velocity. The image of the lower point is a constant. The error of the
    first is of the order of the step.

    Args:
        n_steps: into how many steps, even in the angle, a whole path is divided, >= 1.
        distill: whether the step follows the flow.

    Raises:
        ValueError: if `n_steps` is below 1.
    """

    n_steps: int = 64
    distill: bool = False
    ends: MapEnds = EvenEnds(to_data=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, n_steps=self.n_steps)

    def condition(self, flow_map: FlowMap, path: Straight, phi: Tensor, psi: Tensor, context: Context) -> Tensor:
        z = path.at(phi)
        lower = torch.maximum(phi - 0.5 * torch.pi / self.n_steps, psi)
        with torch.no_grad():
            if self.distill:
                h, teacher = lower - phi, teacher_of(flow_map, context)
                V = teacher.flow(phi, z)
                below = z + 0.5 * h * (V + teacher.flow(lower, z + h * V))
            else:
                below = path.at(lower)
            target = flow_map.turn(below, lower, psi)
        return mean_square(flow_map.turn(z, phi, psi) - target, phi, psi)
