"""Figures from tensors. They do not depend on training and need no display.

All are drawn in Karras' variables, `x / alpha` at noise level `sigma / alpha`, in which models of all schedules can be
compared.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from torch import Tensor

from toy_score.denoisers import Denoiser, ExactDenoiser
from toy_score.distributions import Distribution
from toy_score.likelihood import ProbabilityFlow
from toy_score.plotting.parts import (
    device_of,
    draw_arrows,
    draw_density,
    draw_key,
    draw_real,
    draw_score,
    extent,
    grid,
    note,
    saturated,
    score_at,
)
from toy_score.plotting.style import (
    DENSITY,
    DIFFERENCE,
    ENDS,
    ERROR,
    EXACT,
    GENERATED,
    LABEL,
    LEARNED,
    PANEL,
    REAL,
    TICK,
    TRAJECTORY,
    Picture,
    fitting,
    foot,
    head,
    literal,
    panels,
    plain,
    scaled,
    square,
)
from toy_score.samplers import Trajectory

__all__ = ["density", "samples", "samples_and_trajectories", "score_errors", "summary", "trajectories", "vector_field"]

CIRCLES = np.linspace(0.2, 3.0, 10).tolist()  # radii of the original study's circles
FACTORS = [digit * 10**power for power in range(4) for digit in (1, 2, 5)]  # by which differences are magnified
MAX_SHARES = 4  # of modes that are written into the picture of the samples; more do not fit on its line
FEW_OUTSIDE = 0.01  # share of the samples outside the picture that it need not mention
MAX_NAMED = 5  # curves that the key names; of more, the first and the last two


def vector_field(
    learned: Denoiser,
    exact: ExactDenoiser | None,
    sigmas: Sequence[float],
    bounds: float,
    title: str,
    arrows: int = 21,
    real: Tensor | None = None,
    difference: bool = True,
) -> Picture:
    r"""The score at some noise levels: learned, exact, and their difference, over the exact noisy density.

    An arrow is `v / sqrt(1 + |v|^2)` with `v = max(sigma, 1/2) score`: it points where the score points, and its
    length, below 1, grows with the score's, so it stays readable far from the data. The scale is the same in all
    panels, but for the difference, which is magnified by the factor in the title of its panel: the largest of 1, 2, 5,
    10, ... 5000 with which the median of `|v|` over noisy data is at most 1.

    Args:
        learned: the trained denoiser, or an exact one that is drawn alone.
        exact: the exact denoiser, or None: then there is one row, over real points.
        sigmas: noise levels `sigma / alpha`, one column each.
        bounds: half-width of the square.
        title: of the figure.
        arrows: how many to a side.
        real: real points, `(n, 2)`, which are drawn where there is no exact density.
        difference: whether there is the third row; with it the picture is too high for a card of a dashboard.
    """
    rows = [(learned, "learned", LEARNED)] + ([(exact, "exact", EXACT)] if exact is not None else [])
    if exact is None and real is None and isinstance(learned, ExactDenoiser):
        exact, rows = learned, [(learned, "exact", EXACT)]
    figure, axes = panels(len(rows) + (difference and len(rows) == 2), len(sigmas), title)
    for column, sigma in enumerate(sigmas):
        for ax in axes[:, column]:
            square(ax, bounds)
            if exact is not None:
                draw_density(ax, exact.distribution, bounds, sigma)
            elif real is not None:
                draw_real(ax, real, alpha=0.45)
        for ax, (denoiser, name, colour) in zip(axes[:, column], rows, strict=False):
            head(ax, rf"{name}, $\sigma$ = {sigma:.3g}")
            draw_score(ax, denoiser, sigma, bounds, arrows, colour)
        if exact is not None and len(rows) == 2:
            error, length = _field_error(learned, exact, sigma)
            head(axes[0, column], rf"learned, $\sigma$ = {sigma:.3g}, error {error:.2g}")
            if difference:
                factor = max((factor for factor in FACTORS if factor * length <= 1.0), default=1)
                y, ax = grid(bounds, arrows), axes[2, column]
                v = factor * max(sigma, 0.5) * (score_at(learned, y, sigma) - score_at(exact, y, sigma))
                draw_arrows(ax, saturated(v), bounds, arrows, ERROR)
                head(ax, rf"difference $\times$ {factor}, $\sigma$ = {sigma:.3g}")
    legend = r"arrows: the score, times max($\sigma$, 1/2), saturated"
    if exact is not None:
        legend += "; shading: exact noisy density"
    elif real is not None:
        legend += "; dots: real points"
    foot(figure, legend)
    return figure


def samples(
    generated: Tensor, real: Tensor | None = None, distribution: Distribution | None = None, title: str = ""
) -> Picture:
    """Generated samples, red, over real ones, blue, with the images of circles of the base Gaussian.

    Args:
        generated: `(n, 2)`. How many are outside the picture, or not finite, is written into it.
        real: `(n, 2)`; none if None.
        distribution: for the size of the picture, the circles and the shares of the modes; the picture holds all
            points but the outermost if None.
        title: of the figure.
    """
    figure, axes = panels(1, 1, title)
    _samples(axes[0, 0], generated, real, distribution)
    return figure


def trajectories(
    paths: Trajectory, real: Tensor | None = None, distribution: Distribution | None = None, title: str = ""
) -> Picture:
    """The path of one sample, black, over real samples; further paths faintly; see `samples`.

    A ring marks where a path begins, at the noise level of the first position in `paths`, a cross where it ends.
    """
    figure, axes = panels(1, 1, title)
    _trajectories(axes[0, 0], paths, real, distribution)
    return figure


def samples_and_trajectories(
    generated: Tensor, paths: Trajectory, real: Tensor, distribution: Distribution, title: str
) -> Picture:
    """The two side by side, as wide as the card of a dashboard is."""
    figure, axes = panels(1, 2, title)
    _samples(axes[0, 0], generated, real, distribution)
    _trajectories(axes[0, 1], paths, real, distribution)
    return figure


def summary(
    learned: Denoiser,
    exact: ExactDenoiser | None,
    sigma: float,
    generated: Tensor,
    real: Tensor,
    paths: Trajectory,
    distribution: Distribution,
    title: str,
) -> Picture:
    """The original study's three pictures in a row: vector field, samples, trajectory."""
    figure, axes = panels(1, 3, title)
    ax = square(axes[0, 0], distribution.bounds, rf"score, $\sigma$ = {sigma:.3g}")
    if exact is not None:
        draw_density(ax, distribution, distribution.bounds, sigma)
    else:
        draw_real(ax, real, alpha=0.45)
    draw_score(ax, learned, sigma, distribution.bounds, 21, LEARNED)
    _samples(axes[0, 1], generated, real, distribution)
    head(axes[0, 1], "samples")
    _trajectories(axes[0, 2], paths, real, distribution)
    head(axes[0, 2], "trajectory")
    return figure


def density(learned: Denoiser, exact: ExactDenoiser, title: str, n: int = 120) -> Picture:
    """The model's density, by its probability flow, beside the exact one, both at the schedule's lowest noise level.

    The third panel is their difference, on a scale of a tenth of the highest density.
    """
    p, sigma = exact.distribution, exact.schedule.ratios[0]
    figure, axes = panels(1, 3, title)
    points = grid(p.bounds, n)
    model = ProbabilityFlow(learned).log_prob(points.to(device_of(learned, points))).cpu().exp().view(n, n)
    truth = p.log_prob(points, sigma).exp().view(n, n)
    top, extent = truth.max().item(), (-p.bounds, p.bounds, -p.bounds, p.bounds)
    for ax, values, name in ((axes[0, 0], model, "learned"), (axes[0, 1], truth, "exact")):
        square(ax, p.bounds, f"{name} density")
        ax.imshow(values.numpy(), extent=extent, origin="lower", cmap=DENSITY, vmin=0, vmax=top)
    square(axes[0, 2], p.bounds, "learned - exact")
    difference = axes[0, 2].imshow(
        (model - truth).numpy(), extent=extent, origin="lower", cmap=DIFFERENCE, vmin=-0.1 * top, vmax=0.1 * top
    )
    bar = figure.colorbar(difference, cax=axes[0, 2].inset_axes((0.06, 0.1, 0.4, 0.035)), orientation="horizontal")
    bar.ax.tick_params(labelsize=fitting("-0.02", TICK, 0.13 * PANEL, least=TICK), length=2)
    return figure


def score_errors(levels: Sequence[float], errors: Mapping[int, Sequence[float]], title: str) -> Picture:
    """Normalised score error against noise level, on logarithmic axes with fixed limits, over the training.

    Args:
        levels: noise levels, `(K,)`.
        errors: error at each level, `(K,)`, by step of the training; the last is drawn in full colour, older ones are
            paler.
        title: of the figure.
    """
    figure, axes = panels(1, 1, title, wide=1.6)
    ax = plain(axes[0, 0], "normalised score error")
    *earlier, last = sorted(errors)
    for k, step in enumerate(earlier):
        share = 0.2 + 0.5 * k / len(earlier)
        pale = [1.0 - share * (1.0 - c) for c in to_rgb(LEARNED)]
        named = f"step {step}" if len(errors) <= MAX_NAMED or k in (0, len(earlier) - 1) else None
        ax.loglog(levels, errors[step], color=pale, linewidth=1.2, label=named)
    ax.loglog(levels, errors[last], "o-", color=LEARNED, label=f"step {last}")
    ax.axhline(1.0, color=EXACT, linewidth=0.8, linestyle=":", label="a network that says 0")
    ax.set_ylim(1e-6, 10)
    ax.set_xlabel(r"noise level $\sigma$", fontsize=scaled(LABEL))
    ax.legend(fontsize=scaled(LABEL - 2), frameon=False)
    return figure


# Panels


def _field_error(learned: Denoiser, exact: ExactDenoiser, sigma: float, n: int = 4096) -> tuple[float, float]:
    """Over points of the noisy law: normalised score error, and the median length of the difference as an arrow."""
    generator = torch.Generator().manual_seed(0)
    y = exact.distribution.sample(n, generator) + sigma * torch.randn(n, 2, generator=generator)
    difference = score_at(learned, y, sigma) - exact.distribution.score(y, sigma)
    error = 0.5 * sigma**2 * difference.square().sum(dim=-1).mean().item()
    return error, max(sigma, 0.5) * difference.norm(dim=-1).median().item()


def _samples(ax: Axes, generated: Tensor, real: Tensor | None, distribution: Distribution | None) -> None:
    bounds = distribution.bounds if distribution is not None else extent(generated, real)
    square(ax, bounds)
    if real is not None:
        draw_real(ax, real, alpha=0.45)
    x, y = generated.T.cpu().numpy()
    ax.scatter(x, y, s=2.5, color=GENERATED, alpha=0.45, linewidths=0, label="generated", zorder=3)
    if distribution is not None:
        _shape(ax, generated, distribution)
    draw_key(ax)
    finite = generated.isfinite().all(dim=-1)
    lost, outside = int((~finite).sum()), int((generated[finite].abs() > bounds).any(dim=-1).sum())
    words = [f"{lost} not finite"] * (lost > 0) + [f"{outside} outside"] * (outside > FEW_OUTSIDE * len(finite))
    if words:
        note(ax, f"of {len(finite)} samples, " + " and ".join(words), GENERATED)


def _shape(ax: Axes, generated: Tensor, distribution: Distribution) -> None:
    """The images of circles of the base Gaussian, and the shares of the samples in the modes."""
    for k, piece in enumerate(distribution.circles(CIRCLES)):
        label = None if k else "image of circles"
        ax.plot(*piece.T.numpy(), color=REAL, linewidth=0.5, alpha=0.6, zorder=2, label=label)
    if 1 < len(distribution.mode_weights) <= MAX_SHARES and generated.isfinite().all(dim=-1).any():
        modes = distribution.modes(generated[generated.isfinite().all(dim=-1)])
        shares = [f"{name} {(modes == k).float().mean():.3f}" for k, name in enumerate(distribution.mode_weights)]
        text = "   ".join(shares)
        size = fitting(text, LABEL - 1, 0.55 * PANEL, least=LABEL - 1)  # beside the key
        ax.text(0.02, 0.02, literal(text), transform=ax.transAxes, fontsize=size, color=GENERATED)


def _trajectories(ax: Axes, paths: Trajectory, real: Tensor | None, distribution: Distribution | None) -> None:
    ends = paths.x[-1]
    bounds = distribution.bounds if distribution is not None else extent(ends, real)
    square(ax, bounds)
    if real is not None:
        draw_real(ax, real, alpha=0.3)
    x = paths.x.cpu().numpy()  # [m, n, 2]
    ring: dict[str, Any] = {"marker": "o", "linestyle": "", "color": ENDS, "markerfacecolor": "white"}
    cross: dict[str, Any] = {"marker": "x", "linestyle": "", "color": ENDS}
    ax.plot(*x[:, 0].T, color=TRAJECTORY, linewidth=1.0, label="trajectory", zorder=3)
    ax.plot(*x[0, :1].T, **ring, markersize=7, markeredgewidth=2, label=_beginning(paths, bounds), zorder=4)
    ax.plot(*x[-1, :1].T, **cross, markersize=9, markeredgewidth=3, label="its end", zorder=4)
    for k in range(1, x.shape[1]):
        ax.plot(*x[:, k].T, color=TRAJECTORY, linewidth=0.5, alpha=0.35, zorder=2)
    ax.plot(*x[0, 1:].T, **ring, markersize=3.5, markeredgewidth=0.8, zorder=2)
    ax.plot(*x[-1, 1:].T, **cross, markersize=4, markeredgewidth=1.2, zorder=2)
    draw_key(ax)
    if not bool((ends[0].abs() <= bounds).all()):  # not finite as well
        note(ax, "the trajectory ends outside", TRAJECTORY)


def _beginning(paths: Trajectory, bounds: float) -> str | None:
    """What the key says of the rings; nothing if all paths begin outside the picture."""
    if not bool((paths.x[0].abs() <= bounds).all(dim=-1).any()):
        return None
    sigma = float(paths.ratio[0])
    return rf"from $\sigma$ = {sigma:.3g}" if math.isfinite(sigma) else "its start"
