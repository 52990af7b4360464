r"""The probability flow: an ordinary differential equation with the same marginals as the noising process.

In Karras' variables `y = x / alpha`, `r = sigma / alpha` it is, for every schedule (Karras et al. 2022, eq. 4),

    dy / dr = (y - D(y; r)) / r = noise.
"""

from torch import Tensor

from toy_score.denoisers import Denoiser
from toy_score.samplers.base import NoiseStream, Sampler
from toy_score.samplers.grids import karras
from toy_score.schedules import Level, Schedule

__all__ = ["Heun"]


class Heun(Sampler):
    """Heun's second-order method on Karras' grid (Karras et al. 2022, algorithm 1).

    With `d = noise(x, t)`: an Euler step, then the trapezoidal rule with the slope at its end; the last step, to the
    data, is Euler's, which is the denoised point itself.

    Args:
        n_steps: number of steps, >= 2; `2 n_steps - 1` evaluations.
        rho: how much the grid favours low noise, > 0; the paper's 7.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(self, n_steps: int = 18, rho: float = 7.0):
        if n_steps < 2:
            raise ValueError(f"n_steps must be at least 2, got {n_steps}; 18 is a good choice")
        if not rho > 0:
            raise ValueError(f"rho must be positive, got {rho}; the paper uses 7")
        self.n_steps, self.rho = n_steps, rho

    def times(self, schedule: Schedule) -> Tensor:
        return karras(schedule, self.n_steps, self.rho)

    def nfe(self, schedule: Schedule) -> int:
        return 2 * self.n_steps - 1

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        y, h = x / t.alpha, s.ratio - t.ratio
        d = denoiser.noise(x, t)  # dy/dr at t                               (line 4)
        y_next = y + h * d  #                                                     (line 5)
        if s.sigma > 0:
            d_next = denoiser.noise(s.alpha * y_next, s)  #                  (line 7)
            y_next = y + h * 0.5 * (d + d_next)  #                                (line 8)
        return s.alpha * y_next
