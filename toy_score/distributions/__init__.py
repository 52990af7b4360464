"""Toy distributions with exact noisy densities, scores and denoisers."""

from toy_score.distributions.base import Distribution
from toy_score.distributions.gaussians import (
    AnisotropicGaussians,
    EightGaussians,
    FortyGaussians,
    GaussianGrid,
    NCSNMixture,
)
from toy_score.distributions.halfplanes import FoldedNormal, HalfPlaneGaussians, Heart, SplitNormal
from toy_score.distributions.mixtures import GaussianMixture, Gaussians
from toy_score.distributions.points import Points

__all__ = [
    "AnisotropicGaussians",
    "Distribution",
    "EightGaussians",
    "FoldedNormal",
    "FortyGaussians",
    "GaussianGrid",
    "GaussianMixture",
    "Gaussians",
    "HalfPlaneGaussians",
    "Heart",
    "NCSNMixture",
    "Points",
    "SplitNormal",
]
