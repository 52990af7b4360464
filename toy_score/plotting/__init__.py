"""Pictures: figures from tensors, in one style."""

from toy_score.plotting.animation import noise_to_data, to_gif
from toy_score.plotting.bridges import bridge_paths, pairs, velocity_field
from toy_score.plotting.budget import budget
from toy_score.plotting.comparison import Line, Panel, comparison
from toy_score.plotting.fields import fields
from toy_score.plotting.figures import (
    density,
    samples,
    samples_and_trajectories,
    score_errors,
    summary,
    trajectories,
    vector_field,
)
from toy_score.plotting.maps import map_error
from toy_score.plotting.paths import visible_paths
from toy_score.plotting.posterior import posterior
from toy_score.plotting.show import plot
from toy_score.plotting.style import Picture, in_units, to_file, to_png

__all__ = [
    "Line",
    "Panel",
    "Picture",
    "bridge_paths",
    "budget",
    "comparison",
    "density",
    "fields",
    "in_units",
    "map_error",
    "noise_to_data",
    "pairs",
    "plot",
    "posterior",
    "samples",
    "samples_and_trajectories",
    "score_errors",
    "summary",
    "to_file",
    "to_gif",
    "to_png",
    "trajectories",
    "vector_field",
    "velocity_field",
    "visible_paths",
]
