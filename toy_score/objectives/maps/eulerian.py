r"""Eulerian self-distillation: a map does not depend on which point of the path it begins at."""

from dataclasses import dataclass

import torch
from torch import Tensor

from toy_score.flow_maps import FlowMap
from toy_score.objectives.base import Context
from toy_score.objectives.maps.base import MapCondition, Straight, mean_square

__all__ = ["Eulerian", "towards_constancy"]


@dataclass(frozen=True)
class Eulerian(MapCondition):
    """The derivative of the map along the flow, `dZ / dphi + (dZ / dz) V(z, phi)`, is 0, with the network's own
    velocity.

    Boffi, Albergo & Vanden-Eijnden (2025), ESD. The gradient is that of sCM (Lu & Song 2024): the map is drawn to
    itself less the derivative, which is a constant (see `towards_constancy`); a gradient through the derivative in
    space is unstable.
    """

    def condition(self, flow_map: FlowMap, path: Straight, phi: Tensor, psi: Tensor, context: Context) -> Tensor:
        z = path.at(phi)
        with torch.no_grad():
            V = flow_map.flow(phi, z)
        return towards_constancy(flow_map, z, phi, psi, V)


def towards_constancy(flow_map: FlowMap, z: Tensor, phi: Tensor, psi: Tensor, V: Tensor) -> Tensor:
    """Half the squared derivative of the map along a path of velocity `V`, with the gradient of a regression, `(m,)`.

    The target is `Z - sin(phi - psi) dZ / dphi`, a constant: in units of the network's output its distance is the
    derivative.
    """
    with torch.no_grad():
        _, slope, *_ = torch.func.jvp(lambda z, phi: flow_map.turn(z, phi, psi), (z, phi), (V, torch.ones_like(phi)))
    Z = flow_map.turn(z, phi, psi)
    return mean_square(Z - (Z - (phi - psi).sin() * slope).detach(), phi, psi)
