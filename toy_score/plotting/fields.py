"""What kind of field a network has learned: its curl, its denoiser's Jacobian, the straightness of its flow."""

from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from toy_score.denoisers import Denoiser, ExactDenoiser
from toy_score.distributions import Distribution
from toy_score.metrics.fields import COORDINATES, denoiser_jacobian, flow_path, smallest_eigenvalue
from toy_score.plotting.parts import device_of, grid
from toy_score.plotting.style import (
    CURVATURE,
    DEFECT,
    DIFFERENCE,
    EXACT,
    LABEL,
    LEARNED,
    TICK,
    Picture,
    foot,
    head,
    panels,
    scaled,
    square,
)
from toy_score.seeds import seed_of

__all__ = ["fields"]

N_PATHS = 150
INSIDE = 0.99  # share of the mass that the dotted line encloses


def fields(
    learned: Denoiser,
    exact: ExactDenoiser,
    found: dict[str, Any],
    title: str,
    sigmas: Sequence[float] = (0.1, 0.5, 2.0),
) -> Picture:
    """Three rows: curl; smallest eigenvalue of the denoiser's Jacobian; the flow's trajectories and straightness.

    The maps are in Karras' variables; a dotted line encloses 99% of the exact noisy mass, outside which there are few
    training points. The curl is `sigma^2` times that of the score, 0 for a gradient, on a scale that fits inside that
    line; the eigenvalue, of the Jacobian's symmetric part, is never negative for the truth. The trajectories are drawn
    on the circle, `x / R`, coloured by their acceleration `|d^2 z / d phi^2|`.

    Args:
        learned: the trained denoiser.
        exact: the truth.
        found: summary of `metrics.Fields`, for the curves of straightness.
        title: of the figure.
        sigmas: noise levels of the maps, three of them.
    """
    p = exact.distribution
    figure, axes = panels(3, 3, title, right=0.6)
    maps = [_jacobians(learned, p.bounds, sigma) for sigma in sigmas]
    curls = [M[:, 1, 0] - M[:, 0, 1] for M in maps]
    insides = [_inside(p, p.bounds, sigma) for sigma in sigmas]
    top = max(1e-3, *(c[inside].abs().max().item() for c, (_, _, inside) in zip(curls, insides, strict=True)))
    for column, sigma in enumerate(sigmas):
        rows = (
            (curls[column], r"$\sigma^2$ curl of the score", DIFFERENCE, top),
            (smallest_eigenvalue(maps[column]), "smallest eigenvalue of dD / dy", DEFECT, 1.0),
        )
        for row, (values, name, colours, limit) in enumerate(rows):
            ax = square(axes[row, column], p.bounds, rf"{name}, $\sigma$ = {sigma:.3g}")
            image = _map(ax, values, p.bounds, colours, limit)
            log_p, level, _ = insides[column]
            _outline(ax, log_p, level, p.bounds)
            if column == len(sigmas) - 1:
                bar = figure.colorbar(image, cax=ax.inset_axes((1.03, 0.0, 0.04, 1.0)))
                bar.outline.set_visible(False)
                bar.ax.tick_params(labelsize=scaled(TICK), length=2, color="#999999")
    _flows(figure, axes[2, :2], learned, exact)
    _curves(axes[2, 2], found)
    legend = "dotted: 99% of the exact noisy mass; dots: where the flow ends, at the lowest noise level"
    foot(figure, legend, 0.34, 0.008)
    return figure


SIDE = 80  # cells of a map, to a side


def _jacobians(denoiser: Denoiser, bounds: float, sigma: float) -> Tensor:
    y = grid(bounds, SIDE)
    with torch.no_grad():
        return denoiser_jacobian(denoiser, y.to(device_of(denoiser, y)), sigma).cpu()


def _inside(p: Distribution, bounds: float, sigma: float) -> tuple[Tensor, float, Tensor]:
    """The exact noisy log density over the map, its value at the edge of 99% of the mass, the cells within."""
    generator = torch.Generator().manual_seed(seed_of("outline of the mass"))
    y = p.sample(4096, generator) + sigma * torch.randn(4096, 2, generator=generator)
    level = p.log_prob(y, sigma).quantile(1.0 - INSIDE).item()
    log_p = p.log_prob(grid(bounds, SIDE), sigma)
    return log_p, level, log_p >= level


def _map(ax: Axes, values: Tensor, bounds: float, colours: str, limit: float) -> AxesImage:
    extent = (-bounds, bounds, -bounds, bounds)
    image = values.view(SIDE, SIDE).numpy()
    return ax.imshow(
        image,
        extent=extent,
        origin="lower",
        cmap=colours,
        vmin=-limit,
        vmax=limit,
        alpha=0.85,
        interpolation="bilinear",
    )


def _outline(ax: Axes, log_p: Tensor, level: float, bounds: float) -> None:
    x, y = grid(bounds, SIDE).T.view(2, SIDE, SIDE).numpy()
    ax.contour(x, y, log_p.view(SIDE, SIDE).numpy(), [level], colors=EXACT, linewidths=0.9, linestyles=":")


def _flows(figure: Figure, axes: Any, learned: Denoiser, exact: ExactDenoiser) -> None:
    """The same starts, moved by either flow."""
    generator = torch.Generator().manual_seed(seed_of("pictured flow"))
    code = torch.randn(N_PATHS, 2, generator=generator)
    low, high = exact.schedule.ratios
    angles = torch.linspace(torch.tensor(high).atan(), torch.tensor(low).atan(), 129, dtype=torch.float64)
    h = (angles[1] - angles[0]).item()
    drawn = []
    for denoiser in (learned, exact):
        with torch.no_grad():
            y = flow_path(denoiser, code.to(device_of(denoiser, code)), angles.tan()).cpu().double()
        z = y * angles.cos()[:, None, None]
        drawn.append((z, ((z[2:] - 2.0 * z[1:-1] + z[:-2]) / h**2).norm(dim=-1)))
    top = drawn[1][1].quantile(0.98).item()
    bounds = 1.05 * drawn[1][0].abs().max().item()
    for ax, name, (z, bend) in zip(axes, ("learned", "exact"), drawn, strict=True):
        square(ax, bounds, f"{name} flow, on the circle")
        pieces = torch.stack([z[:-2], z[1:-1], z[2:]], dim=2).flatten(0, 1).numpy()  # [m n, 3, 2]
        lines = LineCollection(list(pieces), array=bend.flatten().numpy(), cmap=CURVATURE, linewidths=1.0)
        lines.set_clim(0.0, top)
        ax.add_collection(lines)
        ax.plot(*z[-1].T.numpy(), ".", color=EXACT, markersize=2.0, zorder=3)
    bar = figure.colorbar(lines, cax=axes[1].inset_axes((0.06, 0.08, 0.4, 0.03)), orientation="horizontal")
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=scaled(TICK), length=2, color="#999999")
    axes[1].text(0.06, 0.125, "acceleration |d^2 z / d phi^2|", transform=axes[1].transAxes, fontsize=scaled(TICK))


def _curves(ax: Axes, found: dict[str, Any]) -> None:
    """Straightness between noise levels, learned and exact, in all coordinates."""
    edges = torch.tensor(found["edges"])
    middle = (edges[:-1] * edges[1:]).sqrt().numpy()
    for style, coordinates in zip(("-", "--", ":"), COORDINATES, strict=True):
        for name, colour, width in (("exact", EXACT, 2.2), ("learned", LEARNED, 1.0)):
            values = found[name]["straightness"][coordinates][:-1]
            label = f"{coordinates}, {name}"
            ax.loglog(
                middle, values, style, color=colour, linewidth=width, alpha=0.5 if name == "exact" else 1.0, label=label
            )
    head(ax, "departure from a straight line")
    ax.set_xlabel(r"noise level $\sigma$", fontsize=scaled(LABEL))
    ax.set_ylim(1e-5, 1.0)
    ax.tick_params(which="both", labelsize=scaled(TICK), length=2, color="#999999")
    ax.spines[:].set_color("#bbbbbb")
    ax.grid(color="#eeeeee")
    ax.legend(fontsize=scaled(TICK), frameon=False, ncols=2, loc="upper center")
