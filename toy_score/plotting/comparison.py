"""Quality against cost: lines on logarithmic axes, beside the noise floor, the value that exact samples get."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from toy_score.plotting.style import DPI, EXACT, LABEL, TICK, TITLE, Picture, fitting, literal, scaled

__all__ = ["Line", "Panel", "comparison"]

WIDTH, HEIGHT, LEFT, FOOT, GAP = 3.7, 3.3, 0.62, 0.5, 0.42
"""Size of a panel's axes, room at its left and below it, and above it for its title, in inches; see `scaled`."""
HEAD, KEY_ROW = 0.5, 0.24
SIGN, LETTER = 0.6, 0.068
"""Width of a sign of the key, and of a letter of its names."""

Limits = tuple[tuple[float, float], tuple[float, float]]
"""The lowest and the highest x, and y."""


@dataclass(frozen=True)
class Line:
    """Points of one colour.

    Attributes:
        label: in the key; the same label has the same colour everywhere.
        x, y: cost and quality of each point; points with a y that is None are left out.
        colour: of the points and the line.
        look: `line`, through the points; `dashed`, through small points, for references; `star` and `hollow star`, for
            single points; `faint`, points without a line.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    colour: str
    look: str = "line"


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title: above it.
        lines: in it.
        noise: chance deviation from 1: the shaded band is `[1 - noise, 1 + noise]`.
    """

    title: str
    lines: Sequence[Line]
    noise: float


LOOKS: dict[str, dict[str, Any]] = {
    "line": {"linestyle": "-", "marker": "o", "markersize": 4.5, "linewidth": 1.6},
    "dashed": {"linestyle": "--", "marker": "o", "markersize": 2.5, "linewidth": 1.0, "alpha": 0.75},
    "star": {"linestyle": "", "marker": "*", "markersize": 12},
    "hollow star": {"linestyle": "", "marker": "*", "markersize": 12, "fillstyle": "none"},
    "faint": {"linestyle": "", "marker": "o", "markersize": 4.0, "alpha": 0.35, "markeredgewidth": 0},
}


def comparison(
    panels: Sequence[Panel],
    xlabel: str,
    title: str = "",
    columns: int = 3,
    limits: Limits | None = None,
    key: bool = True,
) -> Picture:
    """Panels side by side, all with the same limits.

    Args:
        panels: what to draw.
        xlabel: what the cost is.
        title: of the figure.
        columns: how many panels in a row.
        limits: as of `limits_of`; those of the panels if None.
        key: whether to explain the colours above the panels.
    """
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    handles = _key(panels) if key else []
    letter, left, foot, gap, key_row = (scaled(inches) for inches in (LETTER, LEFT, FOOT, GAP, KEY_ROW))
    width = columns * (left + WIDTH) + 0.2
    longest = max((len(str(handle.get_label())) for handle in handles), default=1)
    per_row = max(min(2 * columns, int(width / (SIGN + longest * letter))), 1)  # the key is as wide as the figure
    key_height = key_row * math.ceil(len(handles) / per_row)
    lines = textwrap.wrap(title, int(42 * columns / scaled(1.0)))
    head = (scaled(HEAD + 0.2 * (len(lines) - 1)) if title else 0.08) + key_height
    height = rows * (gap + HEIGHT + foot) + head
    figure = Picture(figsize=(width, height), dpi=DPI)
    if title:
        figure.suptitle(
            literal("\n".join(lines)), fontsize=scaled(TITLE + 1), fontweight="bold", y=1 - 0.14 / height, va="top"
        )
    if handles:
        figure.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, 1 - (head - key_height - 0.06) / height),
            ncols=per_row,
            fontsize=scaled(LABEL),
            frameon=False,
            borderpad=0,
        )
    limits = limits or limits_of(panels)
    for i, panel in enumerate(panels):
        row, column = divmod(i, columns)
        bottom = height - head - row * (gap + HEIGHT + foot) - gap - HEIGHT
        box = (left + column * (left + WIDTH), bottom, WIDTH, HEIGHT)
        ax = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
        _draw(ax, panel, limits)
        ax.set_xlabel(xlabel, fontsize=fitting(xlabel, LABEL, WIDTH, least=LABEL))
        if column == 0:
            ax.set_ylabel("sliced W1 / floor", fontsize=scaled(LABEL), labelpad=2)
    return figure


def limits_of(panels: Sequence[Panel]) -> Limits:
    """Limits of x and y that hold all points of the panels, and 1."""
    points = [(x, y) for panel in panels for line in panel.lines for x, y in zip(line.x, line.y, strict=True) if y]
    xs, ys = [x for x, _ in points] or [1.0], [y for _, y in points] or [1.0]
    return (0.8 * min(xs), 1.25 * max(xs)), (min(0.7, 0.85 * min(ys)), max(3.0, 1.3 * max(ys)))


def _draw(ax: Axes, panel: Panel, limits: Limits) -> None:
    ax.axhspan(1.0 - panel.noise, 1.0 + panel.noise, color=EXACT, alpha=0.14, linewidth=0, zorder=0)
    ax.axhline(1.0, color=EXACT, linewidth=0.8, zorder=1)
    for line in panel.lines:
        points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if y is not None]
        if points:
            ax.plot(*zip(*points, strict=True), color=line.colour, zorder=2, **LOOKS[line.look])
    ax.set(xscale="log", yscale="log", xlim=limits[0], ylim=limits[1])
    ax.set_title(literal(panel.title), fontsize=scaled(TITLE - 1))
    for axis, decades in ((ax.xaxis, math.log10(limits[0][1] / limits[0][0])), (ax.yaxis, _decades(limits[1]))):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.6 else (1.0,)))
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axis.set_minor_formatter(NullFormatter())
    ax.tick_params(which="both", labelsize=scaled(TICK + 1), length=2, color="#999999")
    ax.grid(color="#eeeeee")
    ax.set_axisbelow(True)
    for spine in ax.spines.values():
        spine.set_color("#bbbbbb")


def _decades(limits: tuple[float, float]) -> float:
    return math.log10(limits[1] / limits[0])


def _key(panels: Sequence[Panel]) -> list[Line2D]:
    """A handle for each label, in the order in which they appear, then for the dashed lines and the band."""
    lines = {line.label: line for panel in panels for line in panel.lines if line.look in ("line", "star")}
    handles = [
        Line2D([], [], color=line.colour, label=literal(label), **LOOKS[line.look])
        for label, line in sorted_last(lines).items()
    ]
    looks = {line.look for panel in panels for line in panel.lines}
    if looks & {"dashed", "hollow star"}:
        label = "exact denoiser, same schedule" + (" (\u2606)" if "hollow star" in looks else "")
        handles.append(Line2D([], [], color=EXACT, label=label, **LOOKS["dashed"]))
    handles.append(Line2D([], [], color=EXACT, linewidth=7, alpha=0.25, label="exact samples"))
    return handles


def sorted_last(lines: dict[str, Line]) -> dict[str, Line]:
    """Single points after lines."""
    return dict(sorted(lines.items(), key=lambda item: item[1].look != "line"))
