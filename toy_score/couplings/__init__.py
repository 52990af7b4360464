"""Couplings: which data point is paired with which source point."""

from toy_score.couplings.base import Coupling
from toy_score.couplings.entropic import EntropicTransport
from toy_score.couplings.independent import IndependentCoupling
from toy_score.couplings.optimal import OptimalTransport

__all__ = ["Coupling", "EntropicTransport", "IndependentCoupling", "OptimalTransport"]
