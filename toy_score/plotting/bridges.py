"""Bridges: pairs, the velocity between the two ends, and paths from the source to the data."""

from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from torch import Tensor

from toy_score.bridges import Bridge, KnownBridge
from toy_score.plotting.parts import device_of, draw_real, extent, grid
from toy_score.plotting.style import (
    EXACT,
    GENERATED,
    LABEL,
    LEARNED,
    REAL,
    SERIES,
    TRAJECTORY,
    Picture,
    fitting,
    foot,
    head,
    panels,
    scaled,
    square,
)
from toy_score.samplers import Trajectory

__all__ = ["bridge_paths", "pairs", "velocity_field"]

SOURCE = SERIES[2]
N_LINES, N_ARROWS = 150, 21


def pairs(couplings: dict[str, tuple[Tensor, Tensor]], title: str, lines: int = N_LINES) -> Picture:
    """Pairs as lines from the source point, ochre, to the data point, blue; a panel for each coupling.

    Args:
        couplings: data points and source points in pairs, `(n, 2)` each, by name.
        title: of the figure.
        lines: how many pairs are drawn; of the others, the points.
    """
    figure, axes = panels(1, len(couplings), title)
    bounds = max(extent(x0, x1) for x0, x1 in couplings.values())
    for ax, (name, (x0, x1)) in zip(axes[0], couplings.items(), strict=True):
        square(ax, bounds)
        cost = (x0 - x1).double().square().sum(dim=1).mean().item()
        head(ax, f"{name}: {cost:.3g}")
        _ends(ax, x0, x1)
        both = torch.stack([x0[:lines], x1[:lines]], dim=1).cpu().numpy()
        ax.add_collection(LineCollection(list(both), colors=TRAJECTORY, linewidths=0.5, alpha=0.5, zorder=2))
    text = "the number: E|x1 - x0|²"
    size = fitting(text, LABEL, 0.35 * figure.get_figwidth(), least=LABEL)  # the key is beside it
    figure.text(0.012, 0.012, text, fontsize=size, ha="left", va="bottom", color=EXACT)
    return _with_key(figure, axes[0, 0])


def velocity_field(
    learned: Bridge, exact: Bridge | None, times: Sequence[float], ends: tuple[Tensor, Tensor], title: str
) -> Picture:
    """The flow's way to the data, `-u`, at some times: learned above exact, over points of the path.

    An arrow is `-u / sqrt(s^2 + |u|^2)`, with the root mean square `s` of the learned velocity at these points.

    Args:
        learned: a bridge, or an exact one that is drawn alone.
        exact: the exact one, or None.
        times: in (0, 1); a column each.
        ends: data points and source points, `(n, 2)` each, in pairs: `(1 - t) x_0 + t x_1` are drawn.
        title: of the figure.
    """
    rows = [(learned, "learned", LEARNED)] + ([(exact, "exact", EXACT)] if exact is not None else [])
    if exact is None and isinstance(learned, KnownBridge):
        rows = [(learned, "exact", EXACT)]
    figure, axes = panels(len(rows), len(times), title)
    x0, x1 = ends
    bounds = extent(x0, x1)
    points = grid(bounds, N_ARROWS)
    for column, t in enumerate(times):
        x = (1.0 - t) * x0 + t * x1
        with torch.no_grad():
            scale = learned.slope(x.to(device_of(learned, x)), t).square().sum(dim=1).mean().sqrt().item()
        for row, (bridge, name, colour) in enumerate(rows):
            ax = square(axes[row, column], bounds)
            head(ax, f"{name}, t = {t:.3g}")
            draw_real(ax, x, alpha=0.3)
            with torch.no_grad():
                u = bridge.slope(points.to(device_of(bridge, points)), t).cpu()
            arrows = -u / torch.sqrt(scale**2 + u.square().sum(dim=1, keepdim=True))
            ax.quiver(
                *points.T.numpy(),
                *arrows.T.numpy(),
                color=colour,
                pivot="mid",
                angles="xy",
                scale_units="xy",
                scale=1.0 / (1.1 * 2.0 * bounds / N_ARROWS),
                width=0.0042,
            )
    foot(figure, "arrows: the way to the data, saturated; dots: points x_t")
    return figure


def bridge_paths(shown: dict[str, Trajectory], source: Tensor, real: Tensor, title: str) -> Picture:
    """Paths from the source to the data, over points of both; a panel for each of several.

    Args:
        shown: the paths, by name.
        source, real: points of the two ends, `(n, 2)` each.
        title: of the figure.
    """
    figure, axes = panels(1, len(shown), title)
    bounds = extent(source, real)
    for ax, (name, paths) in zip(axes[0], shown.items(), strict=True):
        square(ax, bounds)
        head(ax, name)
        _ends(ax, real, source)
        x = paths.x.cpu()  # [m, n, 2]
        lines = LineCollection(list(x.transpose(0, 1).numpy()), colors=TRAJECTORY, linewidths=0.5, alpha=0.4, zorder=2)
        ax.add_collection(lines)
        first, second = x[-1].T.numpy()
        ax.scatter(first, second, s=4.0, color=GENERATED, linewidths=0, label="generated", zorder=4)
    return _with_key(figure, axes[0, 0])


def _with_key(figure: Picture, ax: Axes) -> Picture:
    """The figure with the key of a panel below all panels: in one, it would hide points of either end."""
    place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.0), "borderaxespad": 0.2}
    key = figure.legend(
        *ax.get_legend_handles_labels(),
        ncols=3,
        fontsize=scaled(LABEL),
        frameon=False,
        markerscale=3,
        handletextpad=0,
        **place,
    )
    for handle in filter(None, key.legend_handles):
        handle.set_alpha(1.0)
    return figure


def _ends(ax: Axes, x0: Tensor, x1: Tensor) -> None:
    """Points of the data and of the source."""
    for x, colour, name in ((x1, SOURCE, "source"), (x0, REAL, "data")):
        first, second = x.cpu().T.numpy()
        ax.scatter(first, second, s=2.5, color=colour, alpha=0.5, linewidths=0, label=name, zorder=1)
