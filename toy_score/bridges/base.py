r"""What bridges answer: flows between any two distributions.

A pair of a data point `x_0` and a source point `x_1` is joined by the straight line

    x_t = (1 - t) x_0 + t x_1,    t = 0: data,  t = 1: source.

Over all pairs of a coupling, the points `x_t` have a density `p_t`, which the flow of the *slope*

    dx / dt = u(x, t) = E[x_1 - x_0 | x_t = x]

carries from the source to the data as `t` falls (Lipman et al. 2023; Liu et al. 2023; Albergo & Vanden-Eijnden 2023).
The mean ends of the lines through `x`,

    denoise(x, t) = E[x_0 | x_t = x],    noise(x, t) = E[x_1 | x_t = x],    x = (1 - t) denoise + t noise,

are what a denoiser answers, with source points in the place of noise, and the flow is the same as everywhere,
`dy / dr = noise` in `y = x / alpha`, `r = sigma / alpha`. So **a bridge is a denoiser**, and every solver of the flow
works with it. What needs Gaussian noise does not: `score` raises an error unless the bridge knows it.

A Schroedinger bridge replaces the line by a Brownian bridge, `x_t = (1 - t) x_0 + t x_1 + sigma sqrt(t (1 - t)) z`, and
has a stochastic differential equation besides the flow. With `v = E[x_1 - x_0 | x_t]` and the score of `p_t`,

    flow, either way:       dx = u dt,    u = v - (1/2 - t) sigma^2 score,
    SDE, source to data:    dx = (v - (1 - t) sigma^2 score) dt + sigma dw,    dt < 0,

since `E[z | x_t] = -sigma sqrt(t (1 - t)) score`. The bracket is `(x - E[x_0 | x_t]) / t`, the drift of a Brownian
bridge that ends in `E[x_0 | x_t]`.
"""

from abc import abstractmethod

import torch
from torch import Generator, Tensor

from toy_score.denoisers import At, Denoiser
from toy_score.distributions import Distribution, GaussianMixture

__all__ = ["STANDARD_NORMAL", "Bridge", "KnownBridge", "SchrodingerBridge"]

STANDARD_NORMAL = GaussianMixture(means=((0.0, 0.0),), stds=1.0)
"""The source of ordinary flow matching."""


class Bridge(Denoiser):
    """A denoiser whose samples begin at points of a source; its schedule is `LinearFlow`."""

    source: Distribution

    def slope(self, x: Tensor, t: At) -> Tensor:
        """`dx / dt` of the flow, `(n, 2)`, at points `x`, `(n, 2)`."""
        level = self._level(x, t)
        return self.noise(x, level) - self.denoise(x, level)


class KnownBridge(Bridge):
    """An exact bridge."""

    @abstractmethod
    def sample(self, t: float, n: int, generator: Generator | None = None) -> Tensor:
        """`n` independent points of `p_t`, `(n, 2)` float32, on the generator's device."""


class SchrodingerBridge(Bridge):
    """A bridge along Brownian bridges. `denoise` and `noise` are where the tangent of the flow ends: `x - t u` and
    `x + (1 - t) u`."""

    sigma: float
    """Standard deviation of the reference's Brownian motion after unit time."""

    @abstractmethod
    def parts(self, x: Tensor, t: At) -> tuple[Tensor, Tensor]:
        """`v = E[x_1 - x_0 | x_t = x]` and `sigma^2 grad log p_t(x)`, `(n, 2)` each."""

    def slope(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        v, pull = self.parts(x, level)
        return v - 0.5 * (level.alpha - level.sigma) * pull

    def drift(self, x: Tensor, t: At) -> Tensor:
        """`(x - E[x_0 | x_t = x]) / t`, `(n, 2)`: the drift of the SDE from the source to the data."""
        level = self._level(x, t)
        v, pull = self.parts(x, level)
        return v - level.alpha * pull

    def mean_data(self, x: Tensor, t: At) -> Tensor:
        """`E[x_0 | x_t = x]`, `(n, 2)`."""
        level = self._level(x, t)
        return x - level.sigma * self.drift(x, level)

    def denoise(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return x - level.sigma * self.slope(x, level)

    def noise(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return x + level.alpha * self.slope(x, level)

    def velocity(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        R = torch.hypot(level.alpha, level.sigma)
        return (level.alpha - level.sigma) / R * x + R * self.slope(x, level)

    def score(self, x: Tensor, t: At) -> Tensor:
        if not self.sigma:
            return super().score(x, t)
        return self.parts(x, t)[1] / self.sigma**2
