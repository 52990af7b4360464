"""Objectives for flow maps, one condition in each file: see `base` for what they share."""

from toy_score.objectives.maps.base import EvenEnds, MapCondition, MapEnds, MapLoss, UniformAngles
from toy_score.objectives.maps.consistency import Consistency
from toy_score.objectives.maps.eulerian import Eulerian
from toy_score.objectives.maps.lagrangian import Lagrangian
from toy_score.objectives.maps.mean_flow import MeanFlow
from toy_score.objectives.maps.progressive import Progressive
from toy_score.objectives.maps.regression import MapRegression
from toy_score.objectives.maps.trajectories import PathLoss, TrajectoryDistillation

__all__ = [
    "Consistency",
    "Eulerian",
    "EvenEnds",
    "Lagrangian",
    "MapCondition",
    "MapEnds",
    "MapLoss",
    "MapRegression",
    "MeanFlow",
    "PathLoss",
    "Progressive",
    "TrajectoryDistillation",
    "UniformAngles",
]
