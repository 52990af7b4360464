"""The error of a bridge, and a doctor for the choices between its two ends."""

import math
from typing import Any

import torch
from torch import Tensor

from toy_score.bridges import Bridge, KnownBridge
from toy_score.couplings import Coupling, EntropicTransport, IndependentCoupling, OptimalTransport
from toy_score.distributions import Distribution
from toy_score.evaluation.finding import Finding
from toy_score.metrics.bridges import Bridges
from toy_score.requests import SampleRequest
from toy_score.schedules import Schedule
from toy_score.seeds import seed_of

__all__ = ["BridgeErrors", "diagnose_bridge"]

LARGEST_SHIFT = 0.01  # of the start, over the spread of the data: about the noise floor of 20 000 samples
N = 1024  # points whose coupling is measured, in about a second


class BridgeErrors:
    """What an `Evaluation` measures of a bridge besides its samples.

    Args:
        bridge: the learned one.
        distribution: of the data.
        exact: the exact bridge; None if it is not known.
        device: where the bridges are.
    """

    def __init__(self, bridge: Bridge, distribution: Distribution, exact: KnownBridge | None, device: torch.device):
        self._bridge, self._measured = bridge, Bridges(distribution, exact, device)

    def update(self, request: SampleRequest) -> None:
        """Add as many points as samples are requested; they depend on the request alone."""
        self._measured.update(self._bridge, request)

    def results(self) -> dict[str, Any]:
        """The field of a `Report` that is about the bridge."""
        return {"bridge": self._measured.summary()}

    def reset(self) -> None:
        """Forget the updates."""
        self._measured.reset()


def diagnose_bridge(
    distribution: Distribution, source: Distribution, schedule: Schedule, coupling: Coupling, sigma: float | None = None
) -> list[Finding]:
    """What can be said of a bridge before any training.

    Args:
        distribution: of the data.
        source: where samples begin.
        schedule: the line.
        coupling: of the two.
        sigma: of the Brownian motion, if the bridge has one.
    """
    generator = torch.Generator().manual_seed(seed_of("diagnosed pairs"))
    x0, x1 = distribution.sample(N, generator), source.sample(N, generator)
    findings = [_start(x0, schedule)]
    if not coupling.is_independent:
        findings.append(_cost(x0, x1, coupling, generator))
    if sigma is not None:
        findings.append(_entropy(coupling, sigma))
    return findings


def _start(x0: Tensor, schedule: Schedule) -> Finding:
    """Whether the flow begins at the source itself."""
    left = 1.0 / (1.0 + schedule.ratios[1])
    spread = x0.double().var(dim=0).mean().sqrt().item()
    away = left * x0.double().square().sum(dim=1).mean().sqrt().item()
    text = f"the flow begins at t = {1.0 - left:.4g}, where points of the source are {away:.2g} from those of the path"
    better = away / (0.5 * LARGEST_SHIFT * spread) / left
    return Finding("start", text, away < LARGEST_SHIFT * spread, f"use sigma_max = {better:.2g}")


def _cost(x0: Tensor, x1: Tensor, coupling: Coupling, generator: torch.Generator) -> Finding:
    """What the pairs cost, between independent and optimal ones of as many points."""
    costs = {}
    for name, how in (("own", coupling), ("independent", IndependentCoupling()), ("best", OptimalTransport(N))):
        rows0, rows1 = how(x0, x1, generator)
        costs[name] = (x0[rows0] - x1[rows1]).double().square().sum(dim=1).mean().item()
    saved = (costs["independent"] - costs["own"]) / (costs["independent"] - costs["best"])
    text = (
        f"E|x1 - x0|^2 of the pairs is {costs['own']:.4g}, of independent ones {costs['independent']:.4g}, of optimal "
        f"ones of {N} points {costs['best']:.4g}: {saved:.0%} of what can be saved"
    )
    if isinstance(coupling, EntropicTransport):
        return Finding("coupling", text, saved > 0.0, "use a smaller epsilon")
    return Finding("coupling", text, saved > 0.5, "use a larger size")


def _entropy(coupling: Coupling, sigma: float) -> Finding:
    """Whether the pairs are those of the Schroedinger bridge of Brownian motion `sigma`."""
    wanted = 2.0 * sigma**2
    own = coupling.epsilon if isinstance(coupling, EntropicTransport) else None
    text = f"the bridge of sigma = {sigma:.3g} has entropic pairs of epsilon = 2 sigma^2 = {wanted:.3g}, these are of "
    text += f"epsilon = {own:.3g}" if own is not None else type(coupling).__name__
    good = own is not None and math.isclose(own, wanted, rel_tol=1e-6)
    return Finding("epsilon", text, good, f"use EntropicTransport(epsilon={wanted:.3g})")
