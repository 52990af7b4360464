r"""Multistep methods: evaluations of earlier steps are used again, so a step costs one evaluation.

Exponential methods: in `lambda = -log r` the flow is `dy / dlambda = D - y`, whose linear part is solved exactly
(variation of constants),

    y_s = e^-h y_t + int_0^h e^(tau - h) D(lambda_t + tau) dtau,    h = lambda_s - lambda_t,

where a simple function approximates `D` under the integral. On the circle (see `ode.py`) no exponential is needed,

    z_s = z_t + int_0^h velocity(phi_t + tau) dtau,                 h = phi_s - phi_t.

In both, the integrand is replaced by a combination of its latest values, whose weights depend on the grid alone.
"""

import functools
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from toy_score.denoisers import Denoiser
from toy_score.samplers.additive import precision, reverse_step
from toy_score.samplers.base import GridSampler, MultistepSampler, NoiseStream
from toy_score.samplers.grids import Angular, Grid, Karras
from toy_score.samplers.ode import to_data
from toy_score.schedules import Level

__all__ = ["AdamsBashforth", "DPMSolver2M", "ExponentialAdams", "SDEDPMSolver2M"]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)


Memory = tuple[tuple[float, Tensor], ...]
"""Where the latest steps began and what the denoiser answered there, the newest first."""


class _AdamsMethod(MultistepSampler[Memory], GridSampler):
    """A step from the latest `order` evaluations; the first steps of a walk have fewer."""

    order: int

    @abstractmethod
    def weights(self, h: float, nodes: Sequence[float]) -> Sequence[float]:
        """Weights of the remembered values for a step from 0 to `h`, given their positions, the newest at 0."""

    def combine(self, now: float, then: float, value: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        """The increment of a step, from the remembered values and the new one, and the memory for the next step."""
        memory = ((now, value), *(memory or ()))[: self.order]
        weights = self.weights(then - now, [u - now for u, _ in memory])
        newest, *older = (w * value for w, (_, value) in zip(weights, memory, strict=True))
        return sum(older, start=newest), memory

    def last(self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream) -> Tensor:
        return to_data(denoiser, x, t)


class _ExponentialMethod(_AdamsMethod):
    """The exponential methods."""

    def multistep(
        self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream, memory: Memory | None
    ) -> tuple[Tensor, Memory]:
        D, memory = self.combine(-math.log(t.ratio), -math.log(s.ratio), denoiser.denoise(x, t), memory)
        return s.alpha * (s.ratio / t.ratio * (x / t.alpha) + D), memory


@dataclass(frozen=True)
class DPMSolver2M(_ExponentialMethod):
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): `D` extrapolated to the middle of the step; order 2.

    Args:
        n_steps: number of steps, >= 1, as many evaluations.
        grid: at which times they begin.
    """

    follows_flow = True
    order = 2

    n_steps: int = 20
    grid: Grid = Karras()

    def weights(self, h: float, nodes: Sequence[float]) -> Sequence[float]:
        whole = -math.expm1(-h)
        if len(nodes) == 1:
            return [whole]
        half = 0.5 * h / -nodes[1]  # 1 / (2 r) of the paper
        return [whole * (1.0 + half), -whole * half]


@dataclass(frozen=True)
class SDEDPMSolver2M(_AdamsMethod):
    """SDE-DPM-Solver++(2M) for the reverse SDE (Lu et al. 2022, section 5): `D` extrapolated as in `DPMSolver2M`.

        y_s = e^(-2 h) y_t + (1 - e^(-2 h)) (D + (h / (2 h_before)) (D - D_before)) + r_s sqrt(1 - e^(-2 h)) z,

    with `h` the step in `-log r`. The difference contains the noise of the step before, in the place of that of its
    own: paths are right to strong order 1, but the law of the samples to weak order 2.

    Args:
        n_steps: number of steps, >= 1, as many evaluations.
        grid: at which times they begin.
    """

    order = 2

    n_steps: int = 80
    grid: Grid = Angular()

    def weights(self, h: float, nodes: Sequence[float]) -> Sequence[float]:
        if len(nodes) == 1:
            return [1.0]
        half = 0.5 * h / -nodes[1]
        return [1.0 + half, -half]

    def multistep(
        self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream, memory: Memory | None
    ) -> tuple[Tensor, Memory]:
        D, memory = self.combine(-math.log(t.ratio), -math.log(s.ratio), denoiser.denoise(x, t), memory)
        dB = (precision(s) - precision(t)) ** 0.5 * noise.normal()
        return reverse_step(x, D, t, s, dB), memory


@dataclass(frozen=True)
class ExponentialAdams(_ExponentialMethod):
    """Exponential Adams-Bashforth: under the integral, the polynomial through the latest denoised points, exactly.

    Hochbruck & Ostermann 2010, section 2.5; the idea of DEIS (Zhang & Chen 2023), here for the denoised point.

    Args:
        n_steps: number of steps, >= 1, as many evaluations.
        order: number of points, in 1 ... 4; the first steps have fewer. 1 is Euler's method in `r`.
        grid: at which times the steps begin.

    Raises:
        ValueError: if an argument is out of range.
    """

    follows_flow = True

    n_steps: int = 20
    order: int = 3
    grid: Grid = Karras()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order(self.order)

    def weights(self, h: float, nodes: Sequence[float]) -> Sequence[float]:
        return lagrange_weights(h, tuple(nodes), rate=1.0)


@dataclass(frozen=True)
class AdamsBashforth(_AdamsMethod):
    """Adams-Bashforth on the circle: the polynomial through the latest velocities, integrated.

    Args:
        n_steps: number of steps, >= 1, as many evaluations.
        order: number of velocities, in 1 ... 4; the first steps have fewer, so for many steps the error falls as their
            square at best.
        grid: at which times the steps begin.

    Raises:
        ValueError: if an argument is out of range.
    """

    follows_flow = True

    n_steps: int = 12
    order: int = 2
    grid: Grid = Angular()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order(self.order)

    def weights(self, h: float, nodes: Sequence[float]) -> Sequence[float]:
        return lagrange_weights(h, tuple(nodes), rate=0.0)

    def multistep(
        self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream, memory: Memory | None
    ) -> tuple[Tensor, Memory]:
        dz, memory = self.combine(t.angle, s.angle, denoiser.velocity(x, t), memory)
        return ((s.radius / t.radius) * x).add_(dz, alpha=s.radius), memory


def check_order(order: int) -> None:
    """`order` is in 1 ... 4.

    Raises:
        ValueError: otherwise.
    """
    if order not in (1, 2, 3, 4):
        raise ValueError(f"order must be 1, 2, 3 or 4, got {order}")


@functools.lru_cache(maxsize=1024)  # every block of rows takes the same steps
def lagrange_weights(h: float, nodes: tuple[float, ...], rate: float) -> tuple[float, ...]:
    """`int_0^h e^(rate (tau - h)) L_j(tau) dtau` of the Lagrange polynomials of the nodes, by Gauss-Legendre
    quadrature."""
    tau, dtau = 0.5 * h * (NODES + 1.0), 0.5 * h * WEIGHTS
    where, weights = np.array(nodes), []
    for j, node in enumerate(where):
        others = np.delete(where, j)[:, None]
        polynomial = np.prod((tau - others) / (node - others), axis=0)
        weights.append(float((np.exp(rate * (tau - h)) * polynomial * dtau).sum()))
    return tuple(weights)
