"""Toy distributions with exact noisy densities, scores and denoisers."""

from toy_score.distributions.base import Distribution
from toy_score.distributions.boxes import Checkerboard
from toy_score.distributions.curves import Moons, Pinwheel, SCurve, SwissRoll, TwoSpirals
from toy_score.distributions.folded import FoldedNormal, Heart, SplitNormal
from toy_score.distributions.gaussians import (
    AnisotropicGaussians,
    EightGaussians,
    FortyGaussians,
    GaussianGrid,
    GaussianMixture,
    NCSNMixture,
)
from toy_score.distributions.halfplanes import HalfPlaneGaussians
from toy_score.distributions.lattice import GridDensity
from toy_score.distributions.mixtures import Gaussians, Mixture
from toy_score.distributions.observations import LinearObservation
from toy_score.distributions.points import Points
from toy_score.distributions.rewards import LinearReward, Reward
from toy_score.distributions.rings import Circles, Rings
from toy_score.distributions.tree import FractalTree
from toy_score.distributions.two_moons import TwoMoonsInference

__all__ = [
    "AnisotropicGaussians",
    "Checkerboard",
    "Circles",
    "Distribution",
    "EightGaussians",
    "FoldedNormal",
    "FortyGaussians",
    "FractalTree",
    "GaussianGrid",
    "GaussianMixture",
    "Gaussians",
    "GridDensity",
    "HalfPlaneGaussians",
    "Heart",
    "LinearObservation",
    "LinearReward",
    "Mixture",
    "Moons",
    "NCSNMixture",
    "Pinwheel",
    "Points",
    "Reward",
    "Rings",
    "SCurve",
    "SplitNormal",
    "SwissRoll",
    "TwoMoonsInference",
    "TwoSpirals",
]
