"""Section 3 of NCSN (Song & Ermon 2019): Langevin dynamics with and without annealing, score matching without noise.

    python -m docs.figures.section3 [--run RUN] [--seeds 16]

The authors' setting: the mixture 1/5 N((-5, -5), I) + 4/5 N((5, 5), I), 1280 chains from a uniform start on [-8, 8]^2;
plain, a thousand steps of size 0.1; annealed, ten component widths from 20 to 1, a hundred steps of size
0.1 (width / 1)^2 each; a step is `x + (step / 2) score + sqrt(step) z`. Components of width `s` are points under noise
of level `s`: the distribution here is two points, the schedule `VE(1, 20)`, and its lowest level is the mixture.

Also trains the network of `configs/ncsn_section3.yaml`, unless RUN is a folder where that has been done, and maps its
error. Writes `docs/tables/section3.md` and two pictures into `docs/images/`.
"""

import argparse
import itertools
import math
import tempfile
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from docs.figures.parts import IMAGES, TABLES, model
from toy_score import (
    VE,
    AnnealedLangevin,
    Denoiser,
    ExactDenoiser,
    Langevin,
    NCSNMixture,
    Sampler,
    ScoreModule,
)
from toy_score.plotting.style import DENSITY, EXACT, GENERATED, LABEL, LEARNED, REAL, TICK, panels, square

DATA, POINTS, WIDTHS = NCSNMixture(), NCSNMixture(std=1e-3), VE(sigma_min=1.0, sigma_max=20.0, n_levels=10)
TRUTH = ExactDenoiser(POINTS, WIDTHS)
CHAINS, SQUARE = 1280, 8.0
PLAIN = Langevin(n_steps=1000, eps=0.1, uniform_start=SQUARE)
ANNEALED = AnnealedLangevin(steps_per_level=100, eps=0.1, uniform_start=SQUARE)
SLOWER = AnnealedLangevin(steps_per_level=1000, eps=0.1, uniform_start=SQUARE)


def main() -> None:
    """Make the table and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default=None)
    parser.add_argument("--seeds", type=int, default=16)
    arguments = parser.parse_args()
    network = model("ncsn_section3", Path(arguments.run or tempfile.mkdtemp()).resolve())
    cases: list[tuple[str, Denoiser | None, Sampler | None, int]] = [
        ("exact samples", None, None, arguments.seeds),
        ("plain, exact score", TRUTH, PLAIN, arguments.seeds),
        ("annealed, exact score", TRUTH, ANNEALED, arguments.seeds),
        ("annealed, ten times the steps", TRUTH, SLOWER, max(arguments.seeds // 4, 2)),
        ("plain, learned score", network.denoiser, network.sampler, max(arguments.seeds // 4, 2)),
    ]
    lines = ["| chains | share of (5, 5) | standard error | a draw of 1280 | draws |", "|---|---|---|---|---|"]
    shown = {}
    for name, denoiser, sampler, seeds in cases:
        x = [draw(denoiser, sampler, seed) for seed in range(seeds)]
        shares = torch.stack([weight(y) for y in x])
        error = math.sqrt(0.8 * 0.2 / (CHAINS * seeds))
        lines += [f"| {name} | {shares.mean():.4f} | {error:.4f} | {shares[0]:.3f} +- {shares.std():.3f} | {seeds} |"]
        print(lines[-1], flush=True)
        shown[name] = x[0]
    lines += ["", *map_of_errors(network)]
    print("\n".join(lines[-8:]))
    (TABLES / "section3.md").write_text("\n".join(lines) + "\n")
    for name, figure in (("chains", chains(shown)), ("scores", scores(network))):
        path = IMAGES / f"ncsn_section3_{name}.png"
        figure.savefig(path, dpi=90)
        print(path)


def draw(denoiser: Denoiser | None, sampler: Sampler | None, seed: int) -> Tensor:
    """1280 chains, or as many exact samples."""
    generator = torch.Generator().manual_seed(seed)
    return DATA.sample(CHAINS, generator) if sampler is None else sampler(denoiser, CHAINS, generator)


def weight(x: Tensor) -> Tensor:
    """Share of the mode at (5, 5); the truth is 0.8."""
    return (DATA.modes(x) == 1).double().mean()


def errors(network: ScoreModule, x: Tensor) -> Tensor:
    """`|score_theta - score|^2` at points `(n, 2)`, against the data without noise."""
    with torch.no_grad():
        learned = network.denoiser.score(x, network.schedule.t_min)
    return (learned - DATA.score(x, 1e-3)).square().sum(dim=1)


def map_of_errors(network: ScoreModule) -> list[str]:
    """The error of the learned score, on the data and elsewhere."""
    generator = torch.Generator().manual_seed(0)
    places = {
        "the data": DATA.sample(20_000, generator),
        "the heavier mode": DATA.conditioned_on(1).sample(20_000, generator),
        "the lighter mode": DATA.conditioned_on(0).sample(20_000, generator),
        "between the modes, (-2, -2) to (2, 2)": torch.linspace(-2, 2, 2001)[:, None].expand(-1, 2),
        "the square of the start": SQUARE * (2 * torch.rand(20_000, 2, generator=generator) - 1),
    }
    lines = ["| where | mean squared error of the score | mean squared score |", "|---|---|---|"]
    for name, x in places.items():
        size = DATA.score(x, 1e-3).square().sum(dim=1).mean()
        lines += [f"| {name} | {errors(network, x).mean():.3f} | {size:.3f} |"]
    return lines


def chains(shown: dict[str, Tensor]) -> Figure:
    """The authors' third figure, with the share of each mode."""
    names = ("exact samples", "plain, exact score", "annealed, exact score", "plain, learned score")
    figure, axes = panels(1, 4, "1280 chains from a uniform start: the weights of two distant modes")
    for ax, name in zip(axes[0], names, strict=True):
        square(ax, SQUARE, name)
        x, colour = shown[name], REAL if name == "exact samples" else GENERATED
        ax.scatter(*x.T, s=3, color=colour, alpha=0.5, linewidths=0)
        share = weight(x).item()
        for text, corner in ((f"{share:.3f}", (-0.6, 6.4)), (f"{1 - share:.3f}", (-1.4, -6.9))):
            ax.text(*corner, text, fontsize=LABEL + 1, color=colour)
    figure.text(0.5, 0.012, "numbers: share of each mode; the truth is 0.8 and 0.2", fontsize=LABEL, ha="center")
    return figure


def scores(network: ScoreModule) -> Figure:
    """Density, learned and exact score, and the error of the learned one: over the plane, and against the density."""
    figure, axes = panels(1, 4, "Score matching without noise learns nothing where there are no data")
    side = (torch.arange(160) + 0.5) * (2 * SQUARE / 160) - SQUARE
    grid = torch.cartesian_prod(side, side)
    log_p = DATA.log_prob(grid).view(160, 160).T
    error = errors(network, grid).view(160, 160).T
    extent = (-SQUARE, SQUARE, -SQUARE, SQUARE)
    arrows = SQUARE * torch.cartesian_prod(*[torch.linspace(-0.94, 0.94, 18)] * 2)
    with torch.no_grad():
        fields = {"learned": network.denoiser.score(arrows, network.schedule.t_min), "exact": DATA.score(arrows, 1e-3)}
    for ax, name, colour in ((axes[0, 0], "exact", EXACT), (axes[0, 1], "learned", LEARNED)):
        square(ax, SQUARE, f"{name} score, over the density")
        ax.imshow(log_p.exp() ** 0.5, extent=extent, origin="lower", cmap=DENSITY, vmax=0.5, interpolation="nearest")
        v = fields[name] / (1.0 + fields[name].square().sum(dim=1, keepdim=True)).sqrt()
        ax.quiver(*arrows.T, *v.T, color=colour, pivot="mid", angles="xy", scale_units="xy", scale=1.15, width=0.005)
    ax = square(axes[0, 2], SQUARE, "squared error of the learned score")
    image = ax.imshow(
        error.log10(), extent=extent, origin="lower", cmap="magma_r", vmin=-3, vmax=2, interpolation="nearest"
    )
    ax.contour(side, side, log_p, levels=[-12.0, -8.0, -4.0], colors="white", linewidths=0.7, linestyles="solid")
    bar = figure.colorbar(image, cax=ax.inset_axes([0.56, 0.09, 0.4, 0.035]), orientation="horizontal")
    bar.set_ticks([-2, 0, 2], labels=["0.01", "1", "100"])
    bar.ax.tick_params(labelsize=TICK, length=2, color="white", labelcolor="white")
    bar.outline.set_edgecolor("white")
    against_density(axes[0, 3], log_p.flatten(), error.flatten())
    return figure


def against_density(ax, log_p: Tensor, error: Tensor) -> None:
    """Median and quartiles of the error at points of similar density."""
    edges = torch.linspace(-24, -2, 23)
    middle, quarters = [], []
    for low, high in itertools.pairwise(edges):
        there = error[(log_p >= low) & (log_p < high)]
        middle.append((low + high).item() / 2)
        quarters.append(there.quantile(torch.tensor([0.25, 0.5, 0.75])) if len(there) else torch.full((3,), math.nan))
    low, median, high = torch.stack(quarters).T
    ax.fill_between(middle, low, high, color=LEARNED, alpha=0.2, linewidth=0)
    ax.semilogy(middle, median, color=LEARNED)
    ax.set(xlim=(-24, -2), ylim=(1e-3, 1e3), box_aspect=1)
    ax.set_title("error against density", fontsize=10)
    ax.set_xlabel("log density, nats", fontsize=LABEL, labelpad=1)
    ax.tick_params(labelsize=TICK, length=2)
    ax.grid(color="#eeeeee")


if __name__ == "__main__":
    main()
