"""Bridges that are learned."""

from collections.abc import Sequence
from typing import Any, Self

from torch import Tensor

from toy_score.backbones import Backbone
from toy_score.bridges.base import STANDARD_NORMAL, Bridge, SchrodingerBridge
from toy_score.checks import check_positive
from toy_score.component import from_config, to_config
from toy_score.denoisers import At, Denoiser, NetworkDenoiser
from toy_score.distributions import Distribution
from toy_score.parameterisations import Conditioning, Parameterisation
from toy_score.schedules import Levels, Schedule

__all__ = ["NetworkBridge", "NetworkSchrodingerBridge"]


class NetworkBridge(NetworkDenoiser, Bridge):
    """A network whose noise is the mean source point.

    Args:
        backbone, schedule, parameterisation, conditioning, labels: as in `NetworkDenoiser`.
        source: where the flow begins.
    """

    def __init__(
        self,
        backbone: Backbone,
        schedule: Schedule,
        parameterisation: Parameterisation,
        conditioning: Conditioning,
        labels: Tensor | None = None,
        source: Distribution = STANDARD_NORMAL,
    ):
        super().__init__(backbone, schedule, parameterisation, conditioning, labels)
        self.source = source

    def conditioned_on(self, labels: int | Sequence[float] | Tensor) -> Self:
        known = super().conditioned_on(labels).labels
        return type(self)(self.backbone, self.schedule, self.parameterisation, self.conditioning, known, **self._own())

    def _own(self) -> dict[str, Any]:
        """The arguments besides those of `NetworkDenoiser`."""
        return {"source": self.source}

    def slope(self, x: Tensor, t: At) -> Tensor:
        return self._slope(x, self._level(x, t))

    def score(self, x: Tensor, t: At) -> Tensor:
        return Denoiser.score(self, x, t)

    def _slope(self, x: Tensor, level: Levels) -> Tensor:
        """`noise - denoise` by one evaluation, `(n, 2)`."""
        (c_skip, c_out), (k_skip, k_out) = (
            factors(level.alpha, level.sigma) for factors in (self.parameterisation.data, self.parameterisation.noise)
        )
        return (k_skip - c_skip) * x + (k_out - c_out) * self._output(x, level)


class NetworkSchrodingerBridge(SchrodingerBridge, NetworkBridge):
    """Two networks: one for `v = E[x_1 - x_0 | x_t]`, one for `sigma^2 score`, both conditioned in the same way.

    Args:
        backbone, schedule, parameterisation, conditioning, labels, source: as in `NetworkBridge`.
        score_backbone: the network of the score; its output is `sigma^2 score`, which is finite at both ends. If None,
            another network like the first.
        sigma: of the Brownian motion, > 0.

    Raises:
        ValueError: if `sigma` is not positive.
    """

    def __init__(
        self,
        backbone: Backbone,
        schedule: Schedule,
        parameterisation: Parameterisation,
        conditioning: Conditioning,
        labels: Tensor | None = None,
        source: Distribution = STANDARD_NORMAL,
        score_backbone: Backbone | None = None,
        sigma: float = 1.0,
    ):
        super().__init__(backbone, schedule, parameterisation, conditioning, labels, source)
        check_positive(sigma=sigma)
        self.score_backbone: Backbone = from_config(to_config(backbone)) if score_backbone is None else score_backbone
        self.sigma = sigma

    def _own(self) -> dict[str, Any]:
        return {**super()._own(), "score_backbone": self.score_backbone, "sigma": self.sigma}

    def parts(self, x: Tensor, t: At) -> tuple[Tensor, Tensor]:
        level = self._level(x, t)
        pull = self.score_backbone(*self._inputs(x, x, self._condition(level))).to(x.dtype)
        return self._slope(x, level), pull

    def slope(self, x: Tensor, t: At) -> Tensor:
        return SchrodingerBridge.slope(self, x, t)

    # The formulas of `NetworkDenoiser` are those of straight lines.

    denoise_jacobian = Denoiser.denoise_jacobian
    noise_jacobian = Denoiser.noise_jacobian
    velocity_jacobian = Denoiser.velocity_jacobian
    flows = Denoiser.flows
