"""Schroedinger bridges, learned without simulation."""

import math
from typing import Any

from toy_score.bridges import STANDARD_NORMAL, GaussianBridge, KnownBridge, NetworkSchrodingerBridge
from toy_score.couplings import Coupling, EntropicTransport
from toy_score.distributions import Distribution
from toy_score.evaluation import Finding, diagnose_bridge
from toy_score.modules.bridge import BridgeModule, is_gaussian
from toy_score.objectives import Loss, ScoreAndFlowMatching

__all__ = ["SchrodingerBridgeModule"]


class SchrodingerBridgeModule(BridgeModule):
    """[SF]2M: the flow and the score of a Schroedinger bridge, learned from entropic pairs without simulation (Tong et
    al. 2024, "Simulation-free Schroedinger bridges via score and flow matching").

    The pairs of a Schroedinger bridge are those of `EntropicTransport(epsilon=2 sigma^2)`. With `OptimalTransport`, it
    is the paper's [SF]2M-Exact. Solvers of the flow and `BridgeSDE` sample; the two have the same marginals. The score
    has a second network like the first. Further arguments are those of `BridgeModule`.

    Args:
        sigma: standard deviation of the Brownian motion after unit time, > 0.

    Raises:
        ValueError: if `sigma` is not positive, and as `BridgeModule` says.
    """

    denoiser_type = NetworkSchrodingerBridge

    def __init__(
        self,
        sigma: float = 1.0,
        source: Distribution = STANDARD_NORMAL,
        coupling: Coupling = EntropicTransport(epsilon=2.0),
        objective: Loss = ScoreAndFlowMatching(),
        **kwargs: Any,
    ):
        super().__init__(source, coupling, objective=objective, **kwargs)
        net = self.denoiser
        score_backbone = net.score_backbone if isinstance(net, NetworkSchrodingerBridge) else None
        parts = (self.backbone, self.schedule, self.parameterisation, self.conditioning)
        self.denoiser = NetworkSchrodingerBridge(*parts, None, source, score_backbone, sigma)

    @property
    def sigma(self) -> float:
        """Standard deviation of the Brownian motion after unit time."""
        return self.denoiser.sigma if isinstance(self.denoiser, NetworkSchrodingerBridge) else 0.0

    def _exact_bridge(self, distribution: Distribution) -> KnownBridge | None:
        pairs, p, q = self.coupling, distribution, self.source
        entropic = isinstance(pairs, EntropicTransport) and math.isclose(pairs.epsilon, 2.0 * self.sigma**2)
        return GaussianBridge(p, q, self.sigma, self.line) if entropic and is_gaussian(p) and is_gaussian(q) else None

    def doctor(self) -> list[Finding]:
        p = self.distribution
        return [] if p is None else diagnose_bridge(p, self.source, self.schedule, self.coupling, self.sigma)
