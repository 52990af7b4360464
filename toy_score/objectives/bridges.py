r"""Objectives of flows between two distributions: regression on pairs.

A pair `(x_0, x_1)` of the coupling is joined by a path, and the network sees a point `x_t` of it. The mean over all
paths through a point is what the network learns there:

- straight lines, `x_t = (1 - t) x_0 + t x_1`: `|u_theta(x_t, t) - (x_1 - x_0)|^2`, conditional flow matching (Lipman et
  al. 2023; Tong et al. 2024);
- Brownian bridges, `x_t = (1 - t) x_0 + t x_1 + sigma sqrt(t (1 - t)) z`: score and flow matching, [SF]2M (Tong et al.
  2024, "Simulation-free Schroedinger bridges via score and flow matching"). The score is regressed on `z`, which it
  removes: `E[z | x_t] = -sigma sqrt(t (1 - t)) score`. The paper regresses the slope of the bridge itself, `x_1 - x_0 +
  sigma (1 / 2 - t) z / sqrt(t (1 - t))`, whose variance grows without bound at both ends. Here `v` is regressed on `x_1
  - x_0` alone, and the rest of the slope is known from the score: the minimum is the same, the variance is finite.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from toy_score.bridges import Bridge, SchrodingerBridge
from toy_score.checks import check_positive
from toy_score.denoisers import Denoiser
from toy_score.objectives.base import Context, Loss

__all__ = ["ConditionalFlowMatching", "ScoreAndFlowMatching"]


@dataclass(frozen=True)
class ConditionalFlowMatching(Loss):
    """`|u_theta(x_t, t) - (x_1 - x_0)|^2 / 2` on straight lines between pairs: I-CFM, OT-CFM, by the coupling."""

    def __call__(self, denoiser: Denoiser, context: Context) -> Tensor:
        if not isinstance(denoiser, Bridge):
            raise ValueError(_refusal(self, "a bridge", denoiser, "BridgeModule"))
        x0, x1, t = pairs(context)
        level = denoiser.schedule.level(t)
        slope = denoiser.slope(level.alpha * x0 + level.sigma * x1, level)
        return (slope - (x1 - x0)).square().mean(dim=-1)


@dataclass(frozen=True)
class ScoreAndFlowMatching(Loss):
    """[SF]2M on Brownian bridges: `|v_theta - (x_1 - x_0)|^2 / 2 + w |sqrt(t (1 - t)) pull_theta / sigma + z|^2 / 2`,
    with `pull = sigma^2 score`.

    Args:
        score_weight: `w`, > 0.

    Raises:
        ValueError: if `score_weight` is not positive.
    """

    score_weight: float = 1.0

    def __post_init__(self) -> None:
        check_positive(score_weight=self.score_weight)

    def __call__(self, denoiser: Denoiser, context: Context) -> Tensor:
        if not isinstance(denoiser, SchrodingerBridge):
            raise ValueError(_refusal(self, "a Schroedinger bridge", denoiser, "SchrodingerBridgeModule"))
        x0, x1, t = pairs(context)
        level = denoiser.schedule.level(t)
        z = torch.randn(x0.shape, generator=context.generator, device=x0.device, dtype=x0.dtype)
        spread = (level.alpha * level.sigma).sqrt()
        v, pull = denoiser.parts(level.alpha * x0 + level.sigma * x1 + denoiser.sigma * spread * z, level)
        of_flow = (v - (x1 - x0)).square().mean(dim=-1)
        of_score = (spread / denoiser.sigma * pull + z).square().mean(dim=-1)
        return of_flow + self.score_weight * of_score


def pairs(context: Context) -> tuple[Tensor, Tensor, Tensor]:
    """Data points, source points and times of all rows, `(m, 2)`, `(m, 2)` and `(m, 1)`.

    Raises:
        ValueError: if the data points come without source points.
    """
    x0, x1, t = context.x0, context.eps, context.t
    if x1 is None:
        raise ValueError("the points come without source points; choose --model BridgeModule")
    if len(t) != len(x0):
        x0, x1 = (x.repeat(len(t) // len(x), 1) for x in (x0, x1))
    return x0, x1, t


def _refusal(loss: Loss, kind: str, denoiser: Denoiser, module: str) -> str:
    return f"{type(loss).__name__} trains {kind}, {type(denoiser).__name__} is none; choose --model {module}"
