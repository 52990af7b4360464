r"""Progressive self-distillation: two steps make one."""

from dataclasses import dataclass

import torch
from torch import Tensor

from toy_score.flow_maps import FlowMap
from toy_score.objectives.base import Context
from toy_score.objectives.maps.base import MapCondition, Straight, mean_square

__all__ = ["Progressive"]


@dataclass(frozen=True)
class Progressive(MapCondition):
    """A map is drawn to the composition of two: `|Z(z, phi -> psi) - Z(Z(z, phi -> chi), chi -> psi)|^2 / 2`.

    Between the two, `chi` is uniform in [psi, phi] (Boffi, Albergo & Vanden-Eijnden 2025, PSD; with the midpoint and
    steps of powers of two it is the shortcut model of Frans et al. 2024, in rounds progressive distillation, Salimans &
    Ho 2022). No derivative is needed: two evaluations without gradient, one with.
    """

    def condition(self, flow_map: FlowMap, path: Straight, phi: Tensor, psi: Tensor, context: Context) -> Tensor:
        z = path.at(phi)
        share = torch.rand(phi.shape, generator=context.generator, device=phi.device).to(phi)
        chi = torch.lerp(psi, phi, share)
        with torch.no_grad():
            target = flow_map.turn(flow_map.turn(z, phi, chi), chi, psi)
        return mean_square(flow_map.turn(z, phi, psi) - target, phi, psi)
