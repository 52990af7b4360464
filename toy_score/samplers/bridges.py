"""The stochastic process of a Schroedinger bridge, from its source to the data."""

from dataclasses import dataclass

from torch import Tensor

from toy_score.bridges import SchrodingerBridge
from toy_score.denoisers import Denoiser
from toy_score.samplers.base import GridSampler, NoiseStream
from toy_score.samplers.grids import Grid, Trailing
from toy_score.schedules import Level

__all__ = ["BridgeSDE"]


@dataclass(frozen=True)
class BridgeSDE(GridSampler):
    """Steps along Brownian bridges that end in `D = E[x_0 | x_t]`: the SDE of a Schroedinger bridge; weak order 1.

    From time `t` to `s`, a Brownian bridge from `x` that is at `D` at time 0 is normal with

        mean = x + (t - s) / t (D - x),    variance = sigma^2 s (t - s) / t.

    For small steps this is the SDE `dx = (x - D) / t dt + sigma dw`, `dt < 0`. The last step, to the data, has no
    noise.

    Args:
        n_steps: number of steps, >= 1, as many evaluations.
        grid: at which times they begin.

    Raises:
        ValueError: if `n_steps < 1`; in sampling, if the denoiser is no Schroedinger bridge.
    """

    n_steps: int = 100
    grid: Grid = Trailing()

    def check(self, denoiser: Denoiser) -> None:
        bridge_of(denoiser)

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        bridge, share = bridge_of(denoiser), (t.sigma - s.sigma) / t.sigma
        mean = x + share * (bridge.mean_data(x, t) - x)
        return mean + bridge.sigma * (s.sigma * share) ** 0.5 * noise.normal()

    def last(self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream) -> Tensor:
        return bridge_of(denoiser).mean_data(x, t)


def bridge_of(denoiser: Denoiser) -> SchrodingerBridge:
    """The denoiser, which is a Schroedinger bridge.

    Raises:
        ValueError: if it is none.
    """
    if not isinstance(denoiser, SchrodingerBridge):
        name = type(denoiser).__name__
        raise ValueError(
            f"BridgeSDE needs a Schroedinger bridge, {name} is none; train a SchrodingerBridgeModule, or choose Euler"
        )
    return denoiser
