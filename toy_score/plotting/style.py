"""The style of all pictures: the same thing has the same colour in every picture."""

import io
import math
from typing import Any

from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_rgb
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from toy_score.standardisation import Standardisation

__all__ = [
    "ENDS",
    "ERROR",
    "EXACT",
    "GENERATED",
    "LEARNED",
    "PANEL",
    "REAL",
    "SERIES",
    "TRAJECTORY",
    "Picture",
    "darken",
    "foot",
    "head",
    "in_units",
    "literal",
    "panels",
    "plain",
    "scaled",
    "square",
    "to_file",
    "to_png",
]

REAL = "#3b6fb6"
GENERATED = "#d1495b"
EXACT = "#4d4d4d"
LEARNED = "#7b2d8b"
ERROR = "#c2570c"
"""Learned minus exact."""
TRAJECTORY = "#111111"
ENDS = "#2a9d3a"
"""The two ends of a trajectory."""
SERIES = ["#1b9e8f", "#7a5cc2", "#d08a1d", "#c2559b", "#6d8f2f", "#4a8fd6", "#9c6644", "#c23b3b"]
"""Colours of things that are compared, legible on white and on black; further ones begin again."""
DENSITY = "Blues"
DIFFERENCE = "RdBu_r"
DEFECT = "RdBu"  # red for what must not be negative and is
CURVATURE = "viridis_r"

PANEL, MARGIN, HEAD = 2.5, 0.4, 0.56
"""Side of a panel, space around it, and height of a figure's title, in inches; legible as thumbnails."""
PANEL_DPI = 145
DPI = 110
TITLE, LABEL, TICK = 11, 9, 7
"""Sizes of letters in points, as all lengths here for matplotlib's default `font.size` of 10; see `scaled`."""


def scaled(length: float) -> float:
    """The size of letters, or of the room for them, at the present `font.size`; the given one at the default of 10."""
    return length * (rcParams["font.size"] / 10.0)


class Picture(Figure):
    """A figure that a notebook shows by itself.

    It has no window and no global state, and needs neither pyplot nor a display. IPython asks every object for
    `_repr_png_`, but knows matplotlib's own figures only after pyplot is imported.
    """

    def _repr_png_(self) -> bytes:
        return to_png(self)


def to_png(figure: Figure) -> bytes:
    """The figure as the contents of a PNG file."""
    return to_file(figure, "png")


SAVED: dict[str, dict[str, Any]] = {
    "png": {"pil_kwargs": {"compress_level": 1}},  # higher levels take longer than drawing
    "pdf": {"metadata": {"CreationDate": None}},
    "svg": {"metadata": {"Date": None}},
}


def to_file(figure: Figure, kind: str) -> bytes:
    """The figure as the contents of a `png`, or, of lines that stay sharp, a `pdf` or `svg` file."""
    buffer = io.BytesIO()
    with rc_context({"pdf.fonttype": 42, "svg.hashsalt": "toy_score"}):  # fonts that journals take; the same every time
        figure.savefig(buffer, format=kind, **SAVED[kind])
    return buffer.getvalue()


def panels(
    rows: int, columns: int, title: str, right: float = 0.12, left: float = MARGIN, wide: float = 1.0
) -> tuple[Picture, Any]:
    """A figure of panels under a title, and its axes, always as a 2-D array.

    A panel is `wide` times as wide as high. `right` and `left` inches are left for bars and for names. All space around
    the panels grows with the letters; the panels do not.

    The panels have fixed places, so pictures of different steps can be compared.
    """
    margin, top, edge, left, right = (scaled(inches) for inches in (MARGIN, HEAD, 0.12, left, right))
    width = columns * (wide * PANEL + margin) - margin + left + 0.18 + right
    height = rows * (PANEL + margin) + top + 0.15
    figure = Picture(figsize=(width, height), dpi=PANEL_DPI)
    size = fitting(title, TITLE + 1, 0.9 * width)
    figure.suptitle(literal(title), fontsize=size, fontweight="bold", y=1 - edge / height, va="top")
    grid = {
        "left": left / width,
        "right": 1 - right / width,
        "bottom": (margin + 0.05) / height,
        "top": 1 - top / height,
        "wspace": margin / PANEL / wide * 0.8,
        "hspace": margin / PANEL,
    }
    return figure, figure.subplots(rows, columns, squeeze=False, gridspec_kw=grid)


def fitting(text: str, size: float, width: float, least: float = 0.0) -> float:
    """`size`, scaled as far as the text fits into `width` inches, or as `least` points do."""
    fits = 72.0 * width / (0.6 * max(len(text), 1))  # a letter is 0.6 of its size wide, rather less
    return min(scaled(size), max(least, fits))


def foot(figure: Figure, text: str, x: float = 0.5, y: float = 0.012, size: float = LABEL) -> None:
    """What the signs mean, in lines centred at the lower edge; they grow with `font.size` as far as they fit."""
    longest = max(text.split("\n"), key=len)
    size = fitting(longest, size, 0.97 * figure.get_figwidth(), least=size)
    figure.text(x, y, text, fontsize=size, ha="center", va="bottom", color=EXACT)


def head(ax: Axes, title: str) -> None:
    """The title of a panel."""
    ax.set_title(title, fontsize=fitting(title, TITLE - 1, PANEL + scaled(MARGIN)), pad=4)


def square(ax: Axes, bounds: float, title: str = "") -> Axes:
    """Equal scales and fixed limits `[-bounds, bounds]^2`, so that pictures of different steps compare."""
    ax.set(xlim=(-bounds, bounds), ylim=(-bounds, bounds), aspect="equal")
    head(ax, title)
    ax.locator_params(nbins=5)
    ax.tick_params(labelsize=scaled(TICK), length=2, color="#999999")
    for spine in ax.spines.values():
        spine.set_color("#bbbbbb")
    return ax


def plain(ax: Axes, title: str = "") -> Axes:
    """Axes of a curve: small ticks, a faint grid."""
    head(ax, title)
    ax.tick_params(which="both", labelsize=scaled(TICK), length=2, color="#999999")
    ax.grid(color="#eeeeee")
    ax.set_axisbelow(True)
    ax.spines[:].set_color("#bbbbbb")
    return ax


def literal(text: str) -> str:
    """A text of a user's, such as the name of a file, as it is: matplotlib takes what is between $ for a formula."""
    return text.replace("$", r"\$")


PAPER, INK, FAINT, FAINTEST = "#14171c", "#d7dbe0", "#4a515a", "#262b32"
"""Background, writing, frames and grids of a dark picture."""


def darken(figure: Figure) -> Figure:
    """The same figure for a dark page: colours stay, except the grey of exact values."""
    figure.set_facecolor(PAPER)
    for text in figure.findobj(Text):
        text.set_color(INK)
    for ax in figure.axes:
        ax.set_facecolor(PAPER)
        ax.tick_params(which="both", color=FAINT, labelcolor=INK)
        for line in [*ax.get_xgridlines(), *ax.get_ygridlines()]:
            line.set_color(FAINTEST)
        for spine in ax.spines.values():
            spine.set_color(FAINT)
    for legend in figure.findobj(Legend):
        legend.get_frame().set_facecolor(PAPER)
    for artist in figure.findobj():
        if isinstance(artist, (Line2D, Patch)) and same_color(_colour(artist), EXACT):
            artist.set_color(INK)
    return figure


def _colour(artist: Line2D | Patch) -> tuple[float, float, float]:
    return to_rgb(artist.get_color() if isinstance(artist, Line2D) else artist.get_facecolor())


def in_units(figure: Figure, standardisation: Standardisation) -> Figure:
    """Square panels drawn in the coordinates of a model, with names and round ticks in the units of the data."""
    units = list(zip(standardisation.mean, standardisation.scale, standardisation.columns, strict=True))
    for ax in (ax for ax in figure.axes if ax.get_aspect() == 1.0):
        corners = (0.985, 0.015, "right", "bottom"), (0.015, 0.985, "left", "top")  # within, where there is room
        for axis, (mean, scale, name), (x, y, ha, va) in zip((ax.xaxis, ax.yaxis), units, corners, strict=True):
            low, high = (mean + scale * limit for limit in axis.get_view_interval())
            ticks = [tick for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]
            # Large and small numbers as 4.2 (e-4): five characters are what the margin has room for.
            power = math.floor(math.log10(max(abs(low), abs(high))))
            power = 0 if -2 <= power <= 3 else power
            axis.set_ticks([(tick - mean) / scale for tick in ticks], [f"{tick / 10**power:.4g}" for tick in ticks])
            place: dict[str, Any] = {"transform": ax.transAxes, "ha": ha, "va": va, "zorder": 10}
            box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
            text = literal(f"{name} (1e{power})" if power else name)
            ax.text(x, y, text, fontsize=scaled(TICK), bbox=box, **place)
    return figure
