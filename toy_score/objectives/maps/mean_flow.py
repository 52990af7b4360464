r"""MeanFlow: the Eulerian condition with the velocities of the data in the place of the network's."""

from dataclasses import dataclass

from torch import Tensor

from toy_score.flow_maps import FlowMap
from toy_score.objectives.base import Context
from toy_score.objectives.maps.base import MapCondition, Straight
from toy_score.objectives.maps.eulerian import towards_constancy

__all__ = ["MeanFlow"]


@dataclass(frozen=True)
class MeanFlow(MapCondition):
    """As `Eulerian`, with the velocity `cos(phi) eps - sin(phi) x_0` of each noised point (Geng et al. 2025).

    Its mean at a point is the velocity of the flow there, and the derivative is linear in it: the loss has the gradient
    of `Eulerian` on average, with more variance, and needs no evaluation for `V`. Consistency training in continuous
    time (Song et al. 2023; Lu & Song 2024) is the case in which all maps end at the data, `EvenEnds(to_data=1)`.
    """

    def condition(self, flow_map: FlowMap, path: Straight, phi: Tensor, psi: Tensor, context: Context) -> Tensor:
        return towards_constancy(flow_map, path.at(phi), phi, psi, path.velocity(phi))
