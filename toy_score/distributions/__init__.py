"""Toy distributions with exact noisy densities, scores and denoisers."""

from toy_score.distributions.base import Distribution
from toy_score.distributions.halfplanes import FoldedNormal, HalfPlaneGaussians, Heart, SplitNormal
from toy_score.distributions.mixtures import EightGaussians, GaussianMixture, Gaussians
from toy_score.distributions.points import Points

__all__ = [
    "Distribution",
    "EightGaussians",
    "FoldedNormal",
    "GaussianMixture",
    "Gaussians",
    "HalfPlaneGaussians",
    "Heart",
    "Points",
    "SplitNormal",
]
