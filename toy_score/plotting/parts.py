"""Parts of several pictures: grids of points, arrows, shaded densities, clouds of real points, keys.

All in Karras' variables, `y = x / alpha` at noise level `sigma / alpha`.
"""

import math
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.quiver import Quiver
from torch import Tensor

from toy_score.denoisers import Denoiser, Guided
from toy_score.distributions import Distribution, LinearObservation
from toy_score.plotting.style import DENSITY, LABEL, PANEL, REAL, fitting

__all__ = [
    "arrows",
    "density",
    "device_of",
    "draw_arrows",
    "draw_density",
    "draw_key",
    "draw_real",
    "draw_score",
    "extent",
    "grid",
    "note",
    "observed",
    "saturated",
    "score_at",
]


def grid(bounds: float, n: int) -> Tensor:
    """Centres of an `n x n` grid of cells over the square, `(n * n, 2)`, row by row from below."""
    side = (torch.arange(n) + 0.5) * (2.0 * bounds / n) - bounds
    y, x = torch.meshgrid(side, side, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=-1)


def extent(*clouds: Tensor | None) -> float:
    """Half-width of a square about the origin that holds all points `(n, 2)` but the outermost; 1 if none is finite."""
    points = torch.cat([x.abs().flatten().cpu().double() for x in clouds if x is not None])
    points = points[points.isfinite()]
    return 1.2 * torch.quantile(points[:100_000], 0.99).item() or 1.0 if len(points) else 1.0


def device_of(denoiser: Denoiser, y: Tensor) -> torch.device:
    """The device on which a denoiser expects its points."""
    while isinstance(denoiser, Guided):
        denoiser = denoiser.strong
    return next(denoiser.parameters()).device if isinstance(denoiser, torch.nn.Module) else y.device


def score_at(denoiser: Denoiser, y: Tensor, sigma: float) -> Tensor:
    """The score of `y`, `(n, 2)`, at noise level `sigma`, or the schedule's nearest, on the CPU."""
    device = device_of(denoiser, y)
    t = denoiser.schedule.time(torch.tensor([[sigma]], dtype=torch.float64))
    alpha = denoiser.schedule.alpha(t).item()
    with torch.no_grad():
        return alpha * denoiser.score(alpha * y.to(device), t.item()).cpu()


def arrows(denoiser: Denoiser, y: Tensor, sigma: float) -> Tensor:
    """The score as arrows `v / sqrt(1 + |v|^2)` with `v = max(sigma, 1/2) score`, `(n, 2)`; none is longer than 1."""
    return saturated(max(sigma, 0.5) * score_at(denoiser, y, sigma))


def saturated(v: Tensor) -> Tensor:
    """`v / sqrt(1 + |v|^2)`, shapes `(n, 2)`: short vectors stay what they are, none is longer than 1."""
    return v / torch.sqrt(1.0 + v.square().sum(dim=-1, keepdim=True))


def density(distribution: Distribution, bounds: float, sigma: float, n: int = 150) -> Tensor:
    """The noisy density over the square, `(n, n)`, over its highest value there; at no level below 0.03."""
    log_p = distribution.log_prob(grid(bounds, n), max(sigma, 0.03)).view(n, n)
    return (log_p - log_p.max()).exp()


def draw_score(ax: Axes, denoiser: Denoiser, sigma: float, bounds: float, n: int, colour: str) -> Quiver:
    """The score as `n x n` arrows over the square."""
    return draw_arrows(ax, arrows(denoiser, grid(bounds, n), sigma), bounds, n, colour)


def draw_arrows(ax: Axes, v: Tensor, bounds: float, n: int, colour: str) -> Quiver:
    """Arrows `v`, `(n * n, 2)`, at the points of `grid(bounds, n)`; the longest fill a cell."""
    return ax.quiver(
        *grid(bounds, n).T.numpy(),
        *v.T.numpy(),
        color=colour,
        pivot="mid",
        angles="xy",
        scale_units="xy",
        scale=1.0 / (1.1 * 2.0 * bounds / n),
        width=0.0042,
        headwidth=4.5,
        headlength=5.5,
        headaxislength=5,
        minlength=0.3,
    )


def draw_density(ax: Axes, distribution: Distribution, bounds: float, sigma: float, n: int = 150) -> AxesImage:
    """The noisy density, shaded."""
    extent = (-bounds, bounds, -bounds, bounds)
    values = density(distribution, bounds, sigma, n).numpy()
    return ax.imshow(values, extent=extent, origin="lower", cmap=DENSITY, vmin=0, vmax=1.6)


def draw_real(ax: Axes, real: Tensor, alpha: float) -> None:
    """Real points, faint behind what is drawn over them."""
    x, y = real.T.cpu().numpy()
    ax.scatter(x, y, s=2.5, color=REAL, alpha=alpha, linewidths=0, label="real", zorder=1)


def draw_key(ax: Axes) -> None:
    """The legend, in the lower right corner: hearts, pinwheels and moons leave it free."""
    size = fitting("generated", LABEL - 1, 0.36 * PANEL, least=LABEL - 1)  # it would hide too much
    short = {"handlelength": 1.2, "handletextpad": 0.5}  # room for the shares of the modes beside it
    key = ax.legend(
        loc="lower right", fontsize=size, frameon=True, framealpha=0.8, edgecolor="none", markerscale=3, **short
    )
    for handle in filter(None, key.legend_handles):
        handle.set_alpha(1.0)
        if isinstance(handle, Line2D):  # its markers are large already
            handle.set_markersize(7)


def note(ax: Axes, text: str, colour: str) -> None:
    """A remark in the middle of the lower edge, above the shares of the modes."""
    box = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": colour, "alpha": 0.9}
    place: dict[str, Any] = {"transform": ax.transAxes, "ha": "center", "va": "bottom", "zorder": 10}
    size = fitting(text, LABEL, 0.9 * PANEL, least=LABEL)
    ax.text(0.5, 0.1, text, fontsize=size, color=colour, bbox=box, **place)


def observed(observation: LinearObservation, bounds: float, zoom: float = 1.0) -> list[tuple[Tensor, Tensor]]:
    """For each observed number the ends of the line `h . x = y`, `(2, 2)`, and a band about it, `(4, 2)`.

    The band is `2 s / |h|` wide to either side. Lengths are multiplied by `zoom`; the line crosses the picture anyhow.
    """
    found = []
    for row, value in zip(observation.matrix, observation.value, strict=True):
        h = torch.tensor(row, dtype=torch.float64)
        length = h.norm().item()
        normal = h / length
        foot, along = zoom * value / length * normal, torch.stack([-normal[1], normal[0]])
        far = 4.0 * bounds + math.hypot(*foot.tolist())
        ends = torch.stack([foot - far * along, foot + far * along])
        side = 2.0 * zoom * observation.std / length * normal
        found.append((ends, torch.cat([ends - side, (ends + side).flip(0)])))
    return found
