r"""The likelihood of a model, and its latent code, by the probability flow (Song et al. 2021, section 4.3).

On the circle (`Denoiser.flow`) the flow carries the density of `z = x / R` along,

    dz / dphi = velocity,    d log q(z) / dphi = -div velocity,

from the lowest noise level, where it is the model's density of the data, to the highest, where it is the prior
`N(0, sin(phi)^2 I)`, or `sin(phi)` times a point of the denoiser's source. In two dimensions the divergence is exact.
"""

import math

import torch
from torch import Generator, Tensor

from toy_score.backbones import forward_derivative
from toy_score.checks import check_positive
from toy_score.denoisers import Denoiser
from toy_score.flow_maps import FlowMap
from toy_score.schedules import Levels
from toy_score.solvers import solve_adaptively

__all__ = ["ProbabilityFlow", "one_step"]

ROWS_AT_ONCE = 16_384  # bounds the memory of one evaluation with derivatives


class ProbabilityFlow:
    """The flow between data and noise of a denoiser, with its density.

    Data here are points at the schedule's lowest noise level; the model has no density at lower noise. Compare its
    density with the exact `log_prob(x, sigma_min)`, not with the clean one.

    Args:
        denoiser: trained or exact.
        tolerance: of the adaptive steps, > 0; about the error of the positions. The error of `log_prob`, in nats, is
            about that times the norm of the score. Measured with exact denoisers at `sigma_min = 0.02` and a tolerance
            of 1e-4, over 2000 points: 3e-4 on average and 5e-3 at most for the heart, 8e-4 and 1e-2 for the split
            normal; over 1000 points, 1e-3 and 2e-2 for the checkerboard, 4e-4 and 4e-2 for the rings.
        hutchinson: estimate the divergence along one random direction per point, fixed along its path (Grathwohl et al.
            2019): unbiased in the logarithm, needed in high dimensions only.

    Raises:
        ValueError: if `tolerance` is not positive.
    """

    def __init__(self, denoiser: Denoiser, tolerance: float = 1e-4, hutchinson: bool = False):
        check_positive("1e-4 is a good choice", tolerance=tolerance)
        self.denoiser, self.tolerance, self.hutchinson = denoiser, tolerance, hutchinson
        low, high = denoiser.schedule.ratios
        self._ends = math.atan(low), math.atan(high)

    def log_prob(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """`log q(x)` of points `(n, 2)`, in nats, `(n,)`; nan if the solver failed.

        Args:
            x: the points.
            generator: source of Hutchinson's directions.
        """
        return torch.cat([self._log_prob(rows, generator) for rows in x.split(ROWS_AT_ONCE)])

    def encode(self, x: Tensor) -> Tensor:
        """The latent codes, `(n, 2)`, of data `(n, 2)`: the flow from data to noise; their distribution is `N(0, I)`
        for a good model."""
        return self._follow(math.cos(self._ends[0]) * x, *self._ends) / math.sin(self._ends[1])

    def decode(self, code: Tensor) -> Tensor:
        """The data, `(n, 2)`, of latent codes `(n, 2)`: the inverse of `encode`."""
        return self._follow(math.sin(self._ends[1]) * code, *reversed(self._ends)) / math.cos(self._ends[0])

    @torch.no_grad()
    def _follow(self, z: Tensor, begin: float, end: float) -> Tensor:
        return torch.cat(
            [solve_adaptively(self.denoiser.flow, rows, begin, end, self.tolerance).y for rows in z.split(ROWS_AT_ONCE)]
        )

    @torch.no_grad()
    def _log_prob(self, x: Tensor, generator: Generator | None) -> Tensor:
        # The state is (z, integral of div v), with Hutchinson (z, integral, direction): a row has all that its equation
        # needs.
        begin, end = self._ends
        z = math.cos(begin) * x
        parts = [z, torch.zeros_like(z[:, :1])]
        if self.hutchinson:
            sign = torch.randint(2, z.shape, generator=generator, device=generator.device if generator else None)
            parts.append(2.0 * sign.to(z) - 1.0)
        state = solve_adaptively(self._slope, torch.cat(parts, dim=1), begin, end, self.tolerance).y
        z, integral, source = state[:, :2] / math.sin(end), state[:, 2], self.denoiser.source
        log_p = -0.5 * z.square().sum(dim=1) - math.log(2.0 * math.pi) if source is None else source.log_prob(z)
        prior = log_p - 2.0 * math.log(math.sin(end))
        return prior + integral + 2.0 * math.log(math.cos(begin))

    def _slope(self, angle: Tensor, state: Tensor) -> Tensor:
        level = self.denoiser.level_at_angle(angle)
        velocity, divergence = self._divergence(level.radius * state[:, :2], level, state[:, 3:])
        return torch.cat([velocity, level.radius * divergence, torch.zeros_like(state[:, 3:])], dim=1)

    def _divergence(self, x: Tensor, level: Levels, direction: Tensor) -> tuple[Tensor, Tensor]:
        """The velocity, `(n, 2)`, and its divergence in `x`, `(n, 1)`."""
        if self.hutchinson:
            velocity, slope = forward_derivative(lambda point: self.denoiser.velocity(point, level), x, direction)
            return velocity, (direction * slope).sum(dim=1, keepdim=True)
        velocity, jacobian = self.denoiser.velocity_jacobian(x, level)
        return velocity, (jacobian[:, 0, 0] + jacobian[:, 1, 1])[:, None]


def one_step(flow_map: FlowMap, z: Tensor) -> tuple[Tensor, Tensor]:
    """Samples of one evaluation from unit noise `z`, `(n, 2)`, and their log density, in nats: `(n, 2)` and `(n,)`.

    The map `x = X(z)` from the schedule's highest level to its lowest, in Karras' variables there, carries the density
    along: `log q(x) = log N(z; 0, I) - log |det dX / dz|`, a 2 x 2 determinant. It is exact where the map is
    invertible; at an `x` that several `z` share it is too low.
    """
    schedule = flow_map.schedule
    high, low = (schedule.level_at(ratio) for ratio in reversed(schedule.ratios))
    x, J = flow_map.map_jacobian(high.sigma * z, high, low)
    J = J * (high.sigma / low.alpha)
    determinant = J[:, 0, 0] * J[:, 1, 1] - J[:, 0, 1] * J[:, 1, 0]
    log_normal = -0.5 * z.square().sum(dim=1) - math.log(2.0 * math.pi)
    return x / low.alpha, log_normal - determinant.abs().log()
