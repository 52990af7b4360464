"""All distributions in one picture.

    python -m docs.figures.gallery

For each distribution: samples, and the density under noise with the exact score as arrows. Writes
`docs/images/gallery.png`.
"""

import math

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.oracles import zoo
from docs.figures.parts import IMAGES, small_png
from toy_score.distributions import Distribution
from toy_score.plotting.parts import density, grid
from toy_score.plotting.style import DENSITY, DPI, EXACT, LABEL, REAL, TITLE, square

FILE = IMAGES / "gallery.png"
COLUMNS = 6  # distributions side by side are half as many: each takes two panels
N, ARROWS, NOISE = 3000, 15, 0.06  # the noise level as a multiple of the picture's half-width


def main() -> None:
    """Draw the gallery."""
    toys = zoo()
    rows = math.ceil(2 * len(toys) / COLUMNS)
    figure = Figure(figsize=(11.7, 2.05 * rows + 0.4), dpi=DPI)
    figure.suptitle("Samples, and beside them the exact density and score under noise", fontsize=TITLE + 2)
    space = {"left": 0.006, "right": 0.994, "bottom": 0.01, "top": 0.93, "wspace": 0.08, "hspace": 0.17}
    axes = figure.subplots(rows, COLUMNS, squeeze=False, gridspec_kw=space)
    for ax in axes.flat:
        ax.set_visible(False)
    for p, pair in zip(toys, axes.reshape(-1, 2), strict=False):
        clean(pair[0], p)
        noisy(pair[1], p, NOISE * p.bounds)
    FILE.write_bytes(small_png(figure, colours=48))
    print(FILE)


def clean(ax: Axes, p: Distribution) -> None:
    """Samples."""
    panel(ax, p, type(p).__name__)
    x = p.sample(N, torch.Generator().manual_seed(0))
    ax.scatter(*x.T.numpy(), s=0.9, color=REAL, alpha=0.5, linewidths=0)


def noisy(ax: Axes, p: Distribution, sigma: float) -> None:
    """The noisy density, and the direction of its score."""
    panel(ax, p, rf"$\sigma$ = {sigma:.2g}")
    b = p.bounds
    ax.imshow(density(p, b, sigma), extent=(-b, b, -b, b), origin="lower", cmap=DENSITY, vmin=0, vmax=1.4)
    y = grid(b, ARROWS)
    v = sigma * p.score(y, sigma)
    v = v / torch.sqrt(1.0 + v.square().sum(dim=-1, keepdim=True))
    ax.quiver(*y.T.numpy(), *v.T.numpy(), color=EXACT, pivot="mid", scale=1.1 * ARROWS, width=0.006)


def panel(ax: Axes, p: Distribution, title: str) -> None:
    """An empty square under its title."""
    ax.set_visible(True)
    square(ax, p.bounds)
    ax.set_title(title, fontsize=LABEL - 1, pad=3)
    ax.set(xticks=[], yticks=[])


if __name__ == "__main__":
    main()
