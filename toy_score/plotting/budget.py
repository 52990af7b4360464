"""The error budget as a figure."""

import math

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from toy_score.evaluation.causes import METRICS, SURE, ErrorBudget, Row
from toy_score.metrics import Floor
from toy_score.plotting.style import DPI, EXACT, LABEL, LEARNED, REAL, TICK, TITLE, Picture, foot, literal, scaled

__all__ = ["budget"]

COLOUR = {"trained": LEARNED, "optimal": REAL}
WIDTHS = (2.3, 1.0, 1.0, 1.0)
FLOOR = "#dcebdc"


def budget(measured: ErrorBudget, title: str) -> Picture:
    """One line for each row, one panel for each metric: mean and standard deviation of a draw, the noise floor shaded.

    The panel of sliced W1 has a logarithmic axis and also shows the increments. The other axes are linear within the
    noise floor, and logarithmic beyond it.
    """
    rows = measured.rows
    figure = Picture(figsize=(11.5, scaled(2.05 + 0.34 * len(rows))), dpi=DPI)
    inch = scaled(1.0) / figure.get_figheight()
    axes = figure.subplots(1, len(METRICS), sharey=True, gridspec_kw={"width_ratios": WIDTHS})
    figure.subplots_adjust(left=scaled(0.14), right=0.985, bottom=1.02 * inch, top=1.0 - 0.72 * inch, wspace=0.08)
    figure.suptitle(
        literal(f"Error budget: {title}"), fontsize=scaled(TITLE + 1), fontweight="bold", y=1.0 - 0.12 * inch, va="top"
    )
    figure.text(
        0.5,
        1.0 - 0.43 * inch,
        measured.title.removeprefix(f"{title}, "),
        fontsize=scaled(LABEL),
        ha="center",
        va="top",
        color=EXACT,
    )
    chain = next(k for k, row in enumerate(rows) if row.name == "network")
    foot(figure, _key(rows[chain + 1 :]), y=0.1 * inch, size=LABEL - 1)
    for ax, (metric, label) in zip(axes, METRICS.items(), strict=True):
        for k, row in enumerate(rows):
            colour, at = COLOUR.get(row.denoiser, EXACT), row.figures[metric]
            face = colour if k <= chain else "white"
            ax.errorbar(at.mean, k, xerr=at.sd, fmt="o", color=colour, markersize=6, markerfacecolor=face, zorder=3)
        _panel(ax, label, [row.figures[metric] for row in rows], metric == "sliced_w1")
        ax.axhline(chain + 0.5, color="#999999", linewidth=0.8)
    axes[0].set_yticks(range(len(rows)), [row.name for row in rows], fontsize=scaled(LABEL))
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    _increments(axes[0], measured, chain)
    return figure


def _key(alone: list[Row]) -> str:
    """The explanation below the figure; `alone` are the rows below the line."""
    others = "".join(f"; {row.name}: over {row.above}" for row in alone if row.above != "floor")
    return (
        "shaded: exact samples, mean and two standard deviations of a draw; bars: one standard deviation of a draw\n"
        "filled: each row adds one cause to the row above; hollow: one cause alone\n"
        f"numbers: increment over the row above; below the line, over the noise floor{others}; "
        f"bold: more than {SURE:.0f} standard deviations"
    )


def _panel(ax: Axes, label: str, draws: list[Floor], logarithmic: bool) -> None:
    low, high = draws[0].mean - 2.0 * draws[0].sd, draws[0].mean + 2.0 * draws[0].sd
    ends = [x for at in draws for x in (at.mean - at.sd, at.mean + at.sd) if math.isfinite(x)]
    left, right, linear = min(*ends, low), max(*ends, high), max(abs(low), abs(high))
    if logarithmic:
        low = max(low, 0.25 * draws[0].mean)
        left = max(left, 0.8 * low)
        ax.set_xscale("log")
        ax.set_xlim(left, right * (right / left) ** 0.3)  # room for the increments
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_minor_formatter(NullFormatter())
    elif linear == 0.0 or max(-left, right) < 10.0 * linear:  # 0: one mode, always right
        margin = 0.08 * (right - left) or 1.0
        ax.set_xlim(left - margin, right + margin)
        ax.xaxis.set_major_locator(MaxNLocator(4))
    else:
        ax.set_xscale("symlog", linthresh=linear, linscale=0.7)
        ax.set_xlim(1.5 * left, 1.5 * right)
        decades = [10.0**k for k in range(-6, 7) if 10.0**k > 0.9 * linear]
        ax.set_xticks([x for x in (0.0, *decades, *(-x for x in decades)) if 1.5 * left <= x <= 1.5 * right])
        ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.4g}"))
    ax.axvspan(low, high, color=FLOOR, zorder=0, linewidth=0)
    ax.set_xlabel(label, fontsize=scaled(LABEL))
    ax.tick_params(labelsize=scaled(TICK), length=2, color="#999999")
    ax.grid(axis="x", color="#eeeeee", zorder=0)
    ax.set_axisbelow(True)
    for spine in ax.spines.values():
        spine.set_color("#bbbbbb")


def _increments(ax: Axes, measured: ErrorBudget, chain: int) -> None:
    """A line from each row to the next, and each row's increment over the row that it is compared with."""
    for k, row in enumerate(measured.rows[1:], start=1):
        if k <= chain:
            before = measured.rows[k - 1].w1.mean
            ax.plot([before, before, row.w1.mean], [k - 1, k, k], color=EXACT, linewidth=0.9, alpha=0.5, zorder=2)
        ax.text(
            0.985,
            k,
            f"{measured.increment(row.name):+.4f}",
            transform=ax.get_yaxis_transform(),
            fontsize=scaled(LABEL - 1),
            fontweight="bold" if abs(measured.z(row.name)) > SURE else "normal",
            ha="right",
            va="center",
            color=COLOUR.get(row.denoiser, EXACT),
        )
