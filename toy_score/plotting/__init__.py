"""Pictures: figures from tensors, in one style."""

from toy_score.plotting.animation import noise_to_data, to_gif
from toy_score.plotting.budget import budget
from toy_score.plotting.comparison import Line, Panel, comparison
from toy_score.plotting.fields import fields
from toy_score.plotting.figures import density, samples, score_errors, summary, to_png, trajectories, vector_field
from toy_score.plotting.posterior import posterior
from toy_score.plotting.style import in_units

__all__ = [
    "Line",
    "Panel",
    "budget",
    "comparison",
    "density",
    "fields",
    "in_units",
    "noise_to_data",
    "posterior",
    "samples",
    "score_errors",
    "summary",
    "to_gif",
    "to_png",
    "trajectories",
    "vector_field",
]
