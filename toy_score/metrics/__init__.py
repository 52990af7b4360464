"""Metrics between samples and the truth, and between denoisers; all reduce over processes."""

from toy_score.metrics.bridges import BRIDGE_TIMES, Bridges, VelocityError, follow, squared_w2
from toy_score.metrics.classifier import C2ST
from toy_score.metrics.counts import (
    InvalidMass,
    ModeReverseKL,
    ModesFound,
    ModeTotalVariation,
    ModeWeights,
    NearModes,
    NonFinite,
)
from toy_score.metrics.cross_entropy import CrossEntropyGap
from toy_score.metrics.fields import Fields, FieldSymmetry, Straightness
from toy_score.metrics.finite import check_finite, finite_or_null
from toy_score.metrics.floors import Floor, noise_floors, sample_metrics
from toy_score.metrics.gaussianised import GaussianisedTest
from toy_score.metrics.kernels import MMD, KernelSteinDiscrepancy
from toy_score.metrics.likelihood import Likelihood
from toy_score.metrics.maps import EVALUATIONS, INNER_LEVELS, ExactPaths, MapError, Maps
from toy_score.metrics.memorisation import Memorisation
from toy_score.metrics.partition import PartitionKL
from toy_score.metrics.projections import EnergyDistance, SlicedWasserstein
from toy_score.metrics.score_error import STUDY_LEVELS, ScoreError, study_levels
from toy_score.metrics.transport import ExactW2

__all__ = [
    "BRIDGE_TIMES",
    "C2ST",
    "EVALUATIONS",
    "INNER_LEVELS",
    "MMD",
    "STUDY_LEVELS",
    "Bridges",
    "CrossEntropyGap",
    "EnergyDistance",
    "ExactPaths",
    "ExactW2",
    "FieldSymmetry",
    "Fields",
    "Floor",
    "GaussianisedTest",
    "InvalidMass",
    "KernelSteinDiscrepancy",
    "Likelihood",
    "MapError",
    "Maps",
    "Memorisation",
    "ModeReverseKL",
    "ModeTotalVariation",
    "ModeWeights",
    "ModesFound",
    "NearModes",
    "NonFinite",
    "PartitionKL",
    "ScoreError",
    "SlicedWasserstein",
    "Straightness",
    "VelocityError",
    "check_finite",
    "finite_or_null",
    "follow",
    "noise_floors",
    "sample_metrics",
    "squared_w2",
    "study_levels",
]
