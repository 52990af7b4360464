r"""The tails of the standard normal law: the logarithm of its distribution function, and its hazard.

The hazard is `h(z) = phi(z) / Phi(z)`, the derivative of `log Phi`, and `h' = -h (z + h)`. Both are computed from one
`erfc`, which torch vectorises (it does not vectorise `erfcx`). Far in the lower tail, where `Phi` underflows, the
hazard is its asymptotic series

    h(-u) = u + 1/u - 2/u^3 + 10/u^5 - 74/u^7 + ...
"""

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["LOG_2PI", "hazard", "log_ndtr_and_hazard"]

LOG_2PI = math.log(2.0 * math.pi)
FAR = -35.0  # below it the hazard is its asymptotic series; exp(-z^2/2) and Phi(z) are normal numbers down to -37


def log_ndtr_and_hazard(z: Tensor) -> tuple[Tensor, Tensor]:
    """`log Phi(z)` and `h(z) = phi(z) / Phi(z)` of float64 numbers.

    Both, and their derivatives, are accurate to 1e-12 in both tails.
    """
    return _LogAndHazard.apply(z)  # type: ignore[no-untyped-call]  # torch annotates no `apply`


def hazard(z: Tensor) -> Tensor:
    """`h(z)` alone, as in `log_ndtr_and_hazard`."""
    return _Hazard.apply(z)  # type: ignore[no-untyped-call]  # torch annotates no `apply`


def _slope(z: Tensor, hazard: Tensor) -> Tensor:
    """`h' = -h (z + h)`."""
    return -hazard * torch.where(z < FAR, _far_excess(z.clamp(max=FAR)), z + hazard)


class _Tails(torch.autograd.Function):
    """Functions with derivatives written by hand, which takes far fewer operations than torch's own rules."""

    generate_vmap_rule = True

    @staticmethod
    def _parts(z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`2 Phi` for `z >= FAR`, the asymptotic hazard for `z < FAR`, which rows are far, and the hazard of all."""
        near, far, is_far = z.clamp(min=FAR), z.clamp(max=FAR), z < FAR
        twice_Phi = torch.erfc(near * -math.sqrt(0.5))
        near_hazard = (near * near * -0.5).exp() * (2.0 * math.sqrt(0.5 / math.pi)) / twice_Phi
        far_hazard = _far_excess(far) - far
        return twice_Phi, far_hazard, is_far, torch.where(is_far, far_hazard, near_hazard)


class _Hazard(_Tails):
    """The hazard."""

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        return _Tails._parts(z)[-1]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent * _slope(*ctx.saved_tensors)

    @staticmethod
    def backward(ctx: Any, of_hazard: Tensor) -> Tensor:
        return of_hazard * _slope(*ctx.saved_tensors)


class _LogAndHazard(_Tails):
    """`log Phi`, whose derivative is the hazard, and the hazard."""

    @staticmethod
    def forward(z: Tensor) -> tuple[Tensor, Tensor]:
        twice_Phi, far_hazard, is_far, hazard = _Tails._parts(z)
        far_log = z * z * -0.5 - 0.5 * LOG_2PI - far_hazard.log()
        return torch.where(is_far, far_log, (0.5 * twice_Phi).log()), hazard

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs, output[1])
        ctx.save_for_forward(*inputs, output[1])

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> tuple[Tensor, Tensor]:
        z, hazard = ctx.saved_tensors
        return tangent * hazard, tangent * _slope(z, hazard)

    @staticmethod
    def backward(ctx: Any, of_log: Tensor, of_hazard: Tensor) -> Tensor:
        z, hazard = ctx.saved_tensors
        return of_log * hazard + of_hazard * _slope(z, hazard)


def _far_excess(z: Tensor) -> Tensor:
    """`h(z) + z` far in the lower tail, where adding the two would cancel digits."""
    w = 1.0 / (z * z)
    return -z * w * (1.0 - w * (2.0 - w * (10.0 - w * 74.0)))
