"""The error of a flow map, as a triangle of pairs of noise levels."""

import math
from collections.abc import Sequence

from matplotlib import colormaps
from matplotlib.patches import Rectangle

from toy_score.plotting.style import EXACT, PANEL, TICK, TITLE, Picture, fitting, panels, scaled

__all__ = ["map_error"]

COLOURS = "YlOrRd"
BEST, WORST = 1e-6, 1e-1


def map_error(levels: Sequence[float], errors: Sequence[Sequence[float | None]], title: str) -> Picture:
    """The map error from each noise level (across) to each lower one (up), on a fixed logarithmic scale.

    Next to the diagonal are short maps; the corner at the lower right is one evaluation from noise to data.

    Args:
        levels: K noise levels, descending.
        errors: from level i to level j in row i and column j; only those with `j > i` are drawn.
        title: of the figure.
    """
    figure, axes = panels(1, 1, title, right=0.3)
    ax, K = axes[0, 0], len(levels)
    scale = math.log10(WORST / BEST)
    size = fitting("9.6e-4", TICK - 0.5, 0.9 * PANEL / (K - 1), least=TICK - 0.5)  # within a cell
    for i in range(K):
        for j in range(i + 1, K):
            error = errors[i][j]
            if error is None or not math.isfinite(error):
                continue
            share = min(max(math.log10(max(error, 1e-300) / BEST) / scale, 0.0), 1.0)
            x, y = K - 1 - i, K - 1 - j  # noise to the right, and up
            ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1.0, 1.0, color=colormaps[COLOURS](share), linewidth=0.5))
            ink = "white" if share > 0.65 else "black"
            ax.text(x, y, _short(error), ha="center", va="center", fontsize=size, color=ink, zorder=6)
    names = [f"{level:.3g}" for level in reversed(levels)]
    ax.set_xticks(range(1, K), names[1:], fontsize=scaled(TICK))
    ax.set_yticks(range(K - 1), names[:-1], fontsize=scaled(TICK))
    ax.set(xlim=(0.4, K - 0.4), ylim=(-0.6, K - 1.4), aspect="equal")
    name = "map error, E|Z - exact|² / E|x0|²"
    ax.set_title(name, fontsize=fitting(name, TITLE - 1, PANEL, least=TITLE - 1))
    corner = Rectangle((K - 1.5, -0.5), 1.0, 1.0, fill=False, linewidth=1.8, edgecolor=EXACT, zorder=5)
    ax.add_patch(corner)
    note = "across: from noise level\nup: to noise level\noutlined: noise to data\nin one evaluation"
    ax.text(0.03, 0.97, note, transform=ax.transAxes, fontsize=TICK, va="top", linespacing=1.5)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return figure


def _short(error: float) -> str:
    """`9.6e-4`."""
    digits, _, exponent = f"{error:.1e}".partition("e")
    return f"{digits}e{int(exponent)}"
