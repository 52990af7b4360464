"""Bridges: flows between two distributions, exact or learned."""

from toy_score.bridges.base import STANDARD_NORMAL, Bridge, KnownBridge, SchrodingerBridge
from toy_score.bridges.exact import ExactBridge
from toy_score.bridges.gaussian import GaussianBridge
from toy_score.bridges.mixture import MixtureBridge
from toy_score.bridges.network import NetworkBridge, NetworkSchrodingerBridge

__all__ = [
    "STANDARD_NORMAL",
    "Bridge",
    "ExactBridge",
    "GaussianBridge",
    "KnownBridge",
    "MixtureBridge",
    "NetworkBridge",
    "NetworkSchrodingerBridge",
    "SchrodingerBridge",
]
