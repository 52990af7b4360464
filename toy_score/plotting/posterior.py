"""Samples of posteriors: what was observed, the exact posterior, and what samplers make of it."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from torch import Tensor

from toy_score.distributions import Distribution, LinearObservation
from toy_score.plotting.parts import draw_density, draw_key, draw_real, observed
from toy_score.plotting.style import EXACT, GENERATED, LABEL, TITLE, Picture, foot, panels, scaled, square

__all__ = ["posterior"]

PALE = 0.35


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
        square(ax, prior.bounds).set_title(name, fontsize=scaled(TITLE - 1))
        draw_density(ax, prior, prior.bounds, 0.0).set_alpha(PALE)
        _observed(ax, observation, prior.bounds)
        draw_real(ax, exact, alpha=0.6 if x is None else 0.25)
        if x is not None:
            points = x.cpu().numpy()
            ax.scatter(*points.T, s=2.5, color=GENERATED, alpha=0.5, linewidths=0, label="generated", zorder=3)
            draw_key(ax)
    for ax in cells[len(generated) + 1 :]:
        ax.set_visible(False)
    text = "shading: prior; dashed: the observation and two standard deviations to either side; blue: exact posterior"
    foot(figure, text, size=LABEL - 0.5 * (columns < 3))
    return figure


def _observed(ax: Axes, observation: LinearObservation, bounds: float) -> None:
    """The lines and bands of the observed numbers."""
    for ends, corners in observed(observation, bounds):
        ax.plot(*ends.T.numpy(), color=EXACT, linewidth=0.9, linestyle="--", zorder=2)
        ax.fill(*corners.T.numpy(), color=EXACT, alpha=0.08, linewidth=0, zorder=1.5)
