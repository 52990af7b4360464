"""Samples of posteriors: what was observed, the exact posterior, and what samplers make of it."""

from collections.abc import Mapping
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from toy_score.distributions import Distribution, LinearObservation
from toy_score.plotting.parts import draw_density, draw_real, observed
from toy_score.plotting.style import (
    DENSITY,
    EXACT,
    GENERATED,
    LABEL,
    REAL,
    Picture,
    fitting,
    panels,
    square,
)

__all__ = ["posterior"]

PALE, BAND = 0.35, 0.08
SIGN = 5.0  # room of a sign and the space about it, in letters


def posterior(
    generated: Mapping[str, Tensor],
    exact: Tensor,
    prior: Distribution,
    observation: LinearObservation,
    title: str,
    columns: int = 3,
) -> Picture:
    """A panel for the exact posterior and one for each sampler, over the density of the prior.

    The dashed lines are where the clean point would be without an error of the observation, one for each number that is
    observed; a band about each is as wide as the error, two standard deviations to either side.

    Args:
        generated: samples `(n, 2)`, by name.
        exact: exact samples of the posterior.
        prior: whose density is shaded.
        observation: of the clean point, in the units of the samples.
        title: of the figure.
        columns: panels in a row.
    """
    columns = min(columns, len(generated) + 1)
    rows = -(-(len(generated) + 1) // columns)
    figure, axes = panels(rows, columns, title)
    cells = list(axes.flat)
    for ax, (name, x) in zip(cells, {"exact posterior": None, **generated}.items(), strict=False):
        square(ax, prior.bounds, name)
        draw_density(ax, prior, prior.bounds, 0.0).set_alpha(PALE)
        _observed(ax, observation, prior.bounds)
        draw_real(ax, exact, alpha=0.6 if x is None else 0.25)
        if x is not None:
            points = x.cpu().numpy()
            ax.scatter(*points.T, s=2.5, color=GENERATED, alpha=0.5, linewidths=0, label="generated", zorder=3)
    for ax in cells[len(generated) + 1 :]:
        ax.set_visible(False)
    _draw_key(figure)
    return figure


def _draw_key(figure: Picture) -> None:
    """What the signs mean, in a line below all panels: within one, it would hide points."""
    dot: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 4}
    signs = {
        "exact posterior": Line2D([], [], color=REAL, **dot),
        "generated": Line2D([], [], color=GENERATED, **dot),
        "prior": Patch(color=colormaps[DENSITY](1.0 / 1.6), alpha=PALE, linewidth=0),
        "observation": Line2D([], [], color=EXACT, linewidth=0.9, linestyle="--"),
        "two standard deviations": Patch(color=EXACT, alpha=2.0 * BAND, linewidth=0),
    }
    width = 0.97 * figure.get_figwidth()
    letters = "m" * round(sum(map(len, signs)) + SIGN * len(signs))
    size = fitting(letters, LABEL, width)
    place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 0.0), "borderaxespad": 0.2}
    space: dict[str, Any] = {"columnspacing": 1.5, "handlelength": 1.5, "handletextpad": 0.5, "borderpad": 0.2}
    figure.legend(list(signs.values()), list(signs), ncols=len(signs), fontsize=size, frameon=False, **place, **space)


def _observed(ax: Axes, observation: LinearObservation, bounds: float) -> None:
    """The lines and bands of the observed numbers."""
    for ends, corners in observed(observation, bounds):
        ax.plot(*ends.T.numpy(), color=EXACT, linewidth=0.9, linestyle="--", zorder=2)
        ax.fill(*corners.T.numpy(), color=EXACT, alpha=BAND, linewidth=0, zorder=1.5)
