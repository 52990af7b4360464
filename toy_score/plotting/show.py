"""`plot`: one picture of a distribution, a schedule, a report or an error budget.

It stands here and is no method of theirs: distributions, schedules and reports are in lower layers, which do not know
matplotlib. Models are in a higher layer, and have methods: `model.plot_field()` and so on.
"""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.axes import Axes

from toy_score.distributions import Distribution, Points
from toy_score.evaluation import ErrorBudget, Report
from toy_score.plotting.budget import budget
from toy_score.plotting.parts import draw_density, draw_real
from toy_score.plotting.style import (
    EXACT,
    GENERATED,
    LABEL,
    LEARNED,
    REAL,
    Picture,
    literal,
    panels,
    plain,
    scaled,
    square,
)
from toy_score.schedules import Schedule
from toy_score.seeds import seed_of

__all__ = ["plot"]

N_POINTS = 1500
SURE = 3.0  # standard deviations


@functools.singledispatch
def plot(shown: Any, **options: Any) -> Picture:
    r"""One picture of an object, for a notebook or, with `savefig`, for a file.

    - a `Distribution`: points and exact density at noise levels `sigmas`, by default 0, 0.5 and 2;
    - a `Schedule`: `alpha` and `sigma`, and the noise level `sigma / alpha`, over time;
    - a `Report` of `evaluate`: by how many standard deviations each metric differs from that of exact samples, and the
      score error by noise level, if it was measured;
    - an `ErrorBudget`: as `test --budget` draws it.

    Raises:
        TypeError: for any other object.

    Example:
        >>> figure = plot(Heart(), sigmas=[0.0, 0.5])
        >>> [ax.get_title() for ax in figure.axes]
        ['without noise', 'noise level $\\sigma$ = 0.5']
    """
    raise TypeError(
        f"plot shows a distribution, a schedule, a report or an error budget, got {type(shown).__name__}; "
        "models have plot_field(), plot_samples() and plot_trajectories()"
    )


@plot.register
def _(shown: Distribution, sigmas: Sequence[float] = (0.0, 0.5, 2.0)) -> Picture:
    figure, axes = panels(1, len(sigmas), shown.name.replace("_", " ") or repr(shown))
    generator = torch.Generator().manual_seed(seed_of("pictured points"))
    for ax, sigma in zip(axes[0], sigmas, strict=True):
        square(ax, shown.bounds, rf"noise level $\sigma$ = {sigma:g}" if sigma else "without noise")
        if sigma > 0 or not isinstance(shown, Points):  # points have no density without noise
            draw_density(ax, shown, shown.bounds, sigma)
        x = shown.sample(N_POINTS, generator)
        draw_real(ax, x + sigma * torch.randn(len(x), 2, generator=generator), alpha=0.6)
    return figure


@plot.register
def _(shown: Schedule) -> Picture:
    figure, axes = panels(1, 2, repr(shown))
    t = torch.linspace(shown.t_min, shown.t_max, 400, dtype=torch.float64)
    alpha, sigma = shown(t)
    scales, levels = axes[0]
    scales.plot(t, alpha, color=REAL, label=r"$\alpha$, of the data")
    scales.plot(t, sigma, color=GENERATED, label=r"$\sigma$, of the noise")
    if sigma.max() > 10.0:
        scales.set_yscale("log")
    levels.semilogy(t, sigma / alpha, color=LEARNED, label=r"noise level $\sigma / \alpha$")
    for ax in (scales, levels):
        plain(ax).set_xlabel("time t", fontsize=scaled(LABEL))
        ax.legend(fontsize=scaled(LABEL), frameon=False)
    return figure


@plot.register
def _(shown: Report) -> Picture:
    compared = max(shown.score_error, default=0.0) > 0.0
    figure, axes = panels(1, 2 if compared else 1, shown.title, left=1.75)
    _departures(axes[0, 0], shown)
    if compared:
        ax = plain(axes[0, 1], "normalised score error")
        ax.errorbar(shown.levels, shown.score_error, shown.score_error_se, fmt="o-", color=LEARNED)
        ax.set(xscale="log", yscale="log")
        ax.set_xlabel(r"noise level $\sigma$", fontsize=scaled(LABEL))
    return figure


def _departures(ax: Axes, report: Report) -> None:
    """A dot for each metric, at its z; within the shaded band samples cannot be told from exact ones."""
    rows = [row for row in report.rows() if row["z"] is not None][::-1]
    plain(ax, "standard deviations from exact samples")
    ax.axvspan(-SURE, SURE, color=EXACT, alpha=0.14, linewidth=0)
    ax.axvline(0.0, color=EXACT, linewidth=0.8)
    for k, row in enumerate(rows):
        ax.plot(row["z"], k, "o", color=REAL if abs(row["z"]) < SURE else GENERATED)
    ax.set_yticks(range(len(rows)), [literal(row["label"]) for row in rows], fontsize=scaled(LABEL))
    most = max([SURE, *(abs(row["z"]) for row in rows)])
    if most > 10.0 * SURE:
        ax.set_xscale("symlog", linthresh=SURE)
    ax.set(xlim=(-1.3 * most, 1.3 * most), ylim=(-0.7, len(rows) - 0.3))


@plot.register
def _(shown: ErrorBudget, title: str = "") -> Picture:
    return budget(shown, title or shown.title)
