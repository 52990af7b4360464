"""Toy distributions with exact noisy densities, scores and denoisers."""

from toy_score.distributions.base import Distribution
from toy_score.distributions.halfplanes import FoldedNormal, HalfPlaneGaussians, Heart, SplitNormal

__all__ = ["Distribution", "FoldedNormal", "HalfPlaneGaussians", "Heart", "SplitNormal"]
