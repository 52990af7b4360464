"""Metrics between samples and the truth, and between denoisers; all reduce over processes by sums."""

from toy_score.metrics.counts import InvalidMass, ModeWeights, NonFinite
from toy_score.metrics.cross_entropy import CrossEntropyGap
from toy_score.metrics.error_budget import METRICS, ErrorBudget, Row
from toy_score.metrics.fields import Fields, FieldSymmetry, Straightness
from toy_score.metrics.likelihood import Likelihood
from toy_score.metrics.memorisation import Memorisation
from toy_score.metrics.projections import EnergyDistance, SlicedWasserstein
from toy_score.metrics.report import Floor, Report, noise_floors, sample_metrics
from toy_score.metrics.score_error import STUDY_LEVELS, ScoreError

__all__ = [
    "METRICS",
    "STUDY_LEVELS",
    "CrossEntropyGap",
    "EnergyDistance",
    "ErrorBudget",
    "FieldSymmetry",
    "Fields",
    "Floor",
    "InvalidMass",
    "Likelihood",
    "Memorisation",
    "ModeWeights",
    "NonFinite",
    "Report",
    "Row",
    "ScoreError",
    "SlicedWasserstein",
    "Straightness",
    "noise_floors",
    "sample_metrics",
]
