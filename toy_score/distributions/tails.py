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

__all__ = ["FAR_TAIL", "LOG_2PI", "beyond", "far_excess", "hazard", "log_ndtr_and_hazard"]

LOG_2PI = math.log(2.0 * math.pi)
FAR_TAIL = -35.0  # below it the hazard is its asymptotic series; exp(-z^2/2) and Phi(z) are normal numbers down to -37


def log_ndtr_and_hazard(z: Tensor) -> tuple[Tensor, Tensor]:
    """`log Phi(z)` and `h(z) = phi(z) / Phi(z)` of float64 numbers.

    Both, and their derivatives, are accurate to 1e-12 in both tails.
    """
    return _LogAndHazard.apply(z)  # type: ignore[no-untyped-call]  # torch annotates no `apply`


def hazard(z: Tensor) -> Tensor:
    """`h(z)` alone, as in `log_ndtr_and_hazard`."""
    return _Hazard.apply(z)  # type: ignore[no-untyped-call]  # torch annotates no `apply`


def beyond(edge: Tensor, u: Tensor) -> Tensor:
    """Standard normal numbers above an edge, from float64 numbers `u` uniform on (0, 1): `Q(z) = u Q(edge)`.

    Where `Q(edge)` would underflow, by Newton's method for `log Q(z)`, from the tail's leading term
    `z^2 = edge^2 - 2 log u`.
    """
    z, far = -torch.special.ndtri(u * torch.special.ndtr(-edge)), edge > 30.0
    if not far.any():
        return z
    edge, target = edge[far], torch.special.log_ndtr(-edge[far]) + u[far].log()
    w = (edge.square() - 2.0 * u[far].log()).sqrt()
    for _ in range(4):
        log_Q, h = log_ndtr_and_hazard(-w)
        w = w + (log_Q - target) / h
    z[far] = torch.maximum(w, edge)
    return z


def _slope(z: Tensor, hazard: Tensor) -> Tensor:
    """`h' = -h (z + h)`."""
    return -hazard * torch.where(z < FAR_TAIL, far_excess(z.clamp(max=FAR_TAIL)), z + hazard)


class _Tails(torch.autograd.Function):
    """Functions with derivatives written by hand, which takes far fewer operations than torch's own rules."""

    @staticmethod
    def _parts(z: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """`2 Phi` for `z >= FAR_TAIL`, the hazard, and which numbers are far.

        The last is None if none is far, as usual. A GPU is not asked, since the host would have to wait for it.
        """
        if z.device.type == "cpu" and z.numel() and bool(z.amin() >= FAR_TAIL):  # false if any number is nan
            near, is_far = z, None
        else:
            near, is_far = z.clamp(min=FAR_TAIL), z < FAR_TAIL
        twice_Phi = torch.erfc(near * -math.sqrt(0.5))
        hazard = (near * near).mul_(-0.5).exp_().mul_(2.0 * math.sqrt(0.5 / math.pi)).div_(twice_Phi)
        if is_far is not None:
            far = z.clamp(max=FAR_TAIL)
            hazard = torch.where(is_far, far_excess(far) - far, hazard)
        return twice_Phi, hazard, is_far


class _Hazard(_Tails):
    """The hazard."""

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        return _Tails._parts(z)[1]

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], z: Tensor) -> tuple[Tensor, int]:
        return hazard(z), in_dims[0]

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
        twice_Phi, hazard, is_far = _Tails._parts(z)
        log_Phi = twice_Phi.mul_(0.5).log_()
        if is_far is not None:
            log_Phi = torch.where(is_far, z * z * -0.5 - 0.5 * LOG_2PI - hazard.log(), log_Phi)
        return log_Phi, hazard

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], z: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        return log_ndtr_and_hazard(z), in_dims * 2

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


def far_excess(z: Tensor) -> Tensor:
    """`h(z) + z` far in the lower tail, where adding the two would cancel digits."""
    w = 1.0 / (z * z)
    return -z * w * (1.0 - w * (2.0 - w * (10.0 - w * 74.0)))
