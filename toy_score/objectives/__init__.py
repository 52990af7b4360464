"""Training objectives: the loss, the noise levels at which it is taken, and their weights."""

from toy_score.objectives.base import Context, Objective
from toy_score.objectives.score_matching import (
    DenoisingScoreMatching,
    ExplicitScoreMatching,
    ImplicitScoreMatching,
    SlicedScoreMatching,
)
from toy_score.objectives.stable_target import StableTarget
from toy_score.objectives.times import (
    AllLevels,
    LogNormalSigma,
    RandomLevels,
    TrainingTimes,
    UniformLogSNR,
    UniformTimes,
)
from toy_score.objectives.weightings import LikelihoodWeighting, OutputWeighting, SigmaSquared, Weighting

__all__ = [
    "AllLevels",
    "Context",
    "DenoisingScoreMatching",
    "ExplicitScoreMatching",
    "ImplicitScoreMatching",
    "LikelihoodWeighting",
    "LogNormalSigma",
    "Objective",
    "OutputWeighting",
    "RandomLevels",
    "SigmaSquared",
    "SlicedScoreMatching",
    "StableTarget",
    "TrainingTimes",
    "UniformLogSNR",
    "UniformTimes",
    "Weighting",
]
