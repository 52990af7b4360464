"""Training objectives: the loss, the noise levels at which it is taken, and their weights."""

from toy_score.objectives.base import Context, Loss, Objective
from toy_score.objectives.bridges import ConditionalFlowMatching, ScoreAndFlowMatching
from toy_score.objectives.maps import (
    Consistency,
    Eulerian,
    EvenEnds,
    Lagrangian,
    MapCondition,
    MapEnds,
    MapLoss,
    MapRegression,
    MeanFlow,
    PathLoss,
    Progressive,
    TrajectoryDistillation,
    UniformAngles,
)
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
    "ConditionalFlowMatching",
    "Consistency",
    "Context",
    "DenoisingScoreMatching",
    "Eulerian",
    "EvenEnds",
    "ExplicitScoreMatching",
    "ImplicitScoreMatching",
    "Lagrangian",
    "LikelihoodWeighting",
    "LogNormalSigma",
    "Loss",
    "MapCondition",
    "MapEnds",
    "MapLoss",
    "MapRegression",
    "MeanFlow",
    "Objective",
    "OutputWeighting",
    "PathLoss",
    "Progressive",
    "RandomLevels",
    "ScoreAndFlowMatching",
    "SigmaSquared",
    "SlicedScoreMatching",
    "StableTarget",
    "TrainingTimes",
    "TrajectoryDistillation",
    "UniformAngles",
    "UniformLogSNR",
    "UniformTimes",
    "Weighting",
]
