r"""Lagrangian self-distillation: the end of a map moves with the flow."""

from dataclasses import dataclass

import torch
from torch import Tensor

from toy_score.backbones import forward_derivative
from toy_score.flow_maps import FlowMap
from toy_score.objectives.base import Context
from toy_score.objectives.maps.base import MapCondition, Straight

__all__ = ["Lagrangian"]


@dataclass(frozen=True)
class Lagrangian(MapCondition):
    """`|dZ / dpsi - V(Z, psi)|^2 / 2`, with the network's own velocity `V` at the end of the map.

    Boffi, Albergo & Vanden-Eijnden (2025), LSD. The derivative is one forward-mode product, which is trained; `V` and
    the point at which it is taken are constants. No derivative in space is needed.
    """

    def condition(self, flow_map: FlowMap, path: Straight, phi: Tensor, psi: Tensor, context: Context) -> Tensor:
        z = path.at(phi)
        Z, slope = forward_derivative(lambda end: flow_map.turn(z, phi, end), psi, torch.ones_like(psi))
        with torch.no_grad():
            V = flow_map.flow(psi, Z)
        return (slope - V).square().mean(dim=-1)
