"""The figures of `docs/flow_maps.md`.

    python -m docs.figures.flow_maps [--runs DIR]

Trains the two networks (about 90 s each) unless their runs are in DIR already, and writes into `docs/images/`.
"""

import argparse
import math
import tempfile
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from docs.figures.parts import IMAGES, generator, model
from toy_score import EDM, Euler, ExactFlowMap, Heart, MapSteps, ScoreModule, SplitNormal, plotting
from toy_score.metrics import ExactPaths, MapError
from toy_score.plotting.style import EXACT, GENERATED, LABEL, LEARNED, REAL, TITLE, TRAJECTORY, panels, square

NAMES = ("flowmap_heart", "flowmap_split_normal")
SCHEDULE = EDM(sigma_min=0.02, sigma_max=500.0)


def main() -> None:
    """Make all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", default=None)
    parser.add_argument("--exact", action="store_true", help="only the figures that need no network")
    args = parser.parse_args()
    keep("flow_map_conditions", conditions())
    if args.exact:
        return
    runs = Path(args.runs or tempfile.mkdtemp()).resolve()
    models = {name: model(name, runs) for name in NAMES}
    keep("flow_map_origins", origins(models))
    keep("flow_map_evaluations", evaluations(models["flowmap_heart"]))
    keep("flow_map_error", errors(models["flowmap_heart"]))


def keep(name: str, figure: Figure) -> None:
    """Write a figure."""
    (IMAGES / f"{name}.png").write_bytes(plotting.to_png(figure))
    print(IMAGES / f"{name}.png", flush=True)


def conditions() -> Figure:
    """What each condition says, on one exact path of the heart's flow, on the circle."""
    exact = ExactFlowMap(Heart(), SCHEDULE)
    angles = torch.linspace(*(math.atan(r) for r in reversed(SCHEDULE.ratios)), 200, dtype=torch.float64)[:, None]
    z = torch.tensor([[-0.53, 1.45]], dtype=torch.float64)  # a path that bends
    path = exact.turn(z.expand(200, 2), angles[:1].expand(200, 1), angles)
    middle, half = 0.5 * (path.amin(dim=0) + path.amax(dim=0)), 0.75 * (path.amax(dim=0) - path.amin(dim=0)).max()
    limits = [(c - half, c + half) for c in middle.tolist()]
    figure, axes = panels(1, 4, "What a flow map must do, on an exact path of the heart")
    way = path.diff(dim=0).norm(dim=1).cumsum(dim=0)
    at = {name: int((way < share * way[-1]).sum()) for name, share in (("t", 0.22), ("u", 0.5), ("s", 0.85))}
    titles = ("semigroup: two maps make one", "Lagrangian: the end", "Eulerian: the start", "diagonal: the denoiser")
    for ax, title in zip(axes[0], titles, strict=True):
        ax.plot(*path.T.numpy(), color=EXACT, linewidth=1.2, alpha=0.5)
        ax.plot(*path[-1].numpy(), "o", color=REAL, markersize=5)
        ax.plot(*path[0].numpy(), "o", color=TRAJECTORY, markersize=5)
        ax.set_title(title, fontsize=TITLE - 1)
        ax.set(xticks=[], yticks=[], aspect="equal", xlim=limits[0], ylim=limits[1])
    point = {name: path[k].numpy() for name, k in at.items()}
    flow = {name: exact.flow(angles[k].item(), path[k : k + 1])[0] for name, k in at.items()}
    ahead = {name: (-0.5 * half * V / V.norm()).numpy() for name, V in flow.items()}  # towards the data
    first, end, start, diagonal = axes[0]
    jump(first, point["t"], point["u"], LEARNED, 0.35)
    jump(first, point["u"], point["s"], LEARNED, 0.35)
    jump(first, point["t"], point["s"], GENERATED, -0.45)
    jump(end, point["t"], point["s"], GENERATED, -0.45)
    arrow(end, point["s"], ahead["s"], LEARNED)
    say(end, "where it ends moves with\nthe velocity there")
    jump(start, point["t"], point["s"], GENERATED, -0.45)
    arrow(start, point["t"], ahead["t"], LEARNED)
    say(start, "if it begins further along\nthe path, it ends the same")
    for name in at:
        arrow(diagonal, point[name], ahead[name], LEARNED)
    say(diagonal, "the shortest maps give\nthe velocity")
    say(first, "t to s = t to u, then u to s")
    for ax, names in zip(axes[0], ("tus", "ts", "ts", "tus"), strict=True):
        for name in names:
            ax.plot(*point[name], "o", color=TRAJECTORY, markersize=3.5, zorder=5)
            ax.annotate(name, point[name], (5, 4), textcoords="offset points", fontsize=LABEL)
    first.annotate("noise", path[0].numpy(), (6, -10), textcoords="offset points", fontsize=LABEL - 1)
    first.annotate("data", path[-1].numpy(), (-8, 8), textcoords="offset points", fontsize=LABEL - 1, color=REAL)
    return figure


def jump(ax: Axes, begin: Tensor, end: Tensor, colour: str, bend: float) -> None:
    """A map, as a bent arrow."""
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.6, "connectionstyle": f"arc3,rad={bend}"}
    ax.annotate("", end, begin, arrowprops=style | {"shrinkA": 3, "shrinkB": 3})


def arrow(ax: Axes, begin: Tensor, along: Tensor, colour: str) -> None:
    """A velocity, as a straight arrow towards the data."""
    ax.annotate("", begin + along, begin, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.8})


def say(ax: Axes, text: str) -> None:
    """A sentence in a corner of a panel."""
    ax.text(0.97, 0.03, text, transform=ax.transAxes, fontsize=LABEL, ha="right", va="bottom")


def origins(models: dict[str, ScoreModule]) -> Figure:
    """Where each point of the noise goes in one evaluation, exact and learned: the colour is its place in the noise."""
    figure, axes = panels(2, 3, "Each point has the colour of the noise that it came from")
    z = torch.randn(6000, 2, generator=generator())
    hue = torch.atan2(z[:, 1], z[:, 0]) / (2 * math.pi) % 1.0
    value = 0.95 - 0.45 * torch.exp(-z.norm(dim=1))
    colours = hsv_to_rgb(torch.stack([hue, torch.full_like(hue, 0.75), value], dim=1).numpy())
    for row, (p, name) in enumerate(((Heart(), NAMES[0]), (SplitNormal(), NAMES[1]))):
        learned = models[name].denoiser
        exact, low = ExactFlowMap(p, learned.schedule, 1e-5), learned.schedule.level_at(learned.schedule.ratios[0])
        high = learned.schedule.level_at(learned.schedule.ratios[1])
        with torch.no_grad():
            ends = [flow_map.map(high.sigma * z, high, low) / low.alpha for flow_map in (exact, learned)]
        titles = ("noise", "the exact map", "one evaluation of the network")
        for ax, x, title in zip(axes[row], (z, *ends), titles, strict=True):
            square(ax, p.bounds, title if row == 0 else "")
            ax.scatter(*x.T.numpy(), s=2.0, c=colours, linewidths=0)
    return figure


def evaluations(learned: ScoreModule) -> Figure:
    """The heart in one, two and four evaluations: by the map, and by Euler's method with the same network's
    denoiser."""
    counts = (1, 2, 4)
    figure, axes = panels(2, 3, "The same network: its map above, its denoiser in steps of Euler's method below")
    p = Heart()
    real = p.sample(2500, generator())
    for row, kind in enumerate((MapSteps, Euler)):
        for ax, n in zip(axes[row], counts, strict=True):
            x = learned.sample(2500, seed=0, sampler=kind(n))
            square(ax, p.bounds, f"{n} evaluation{'s' if n > 1 else ''}, {'map' if row == 0 else 'Euler'}")
            ax.scatter(*real.T.numpy(), s=2.0, color=REAL, alpha=0.3, linewidths=0)
            ax.scatter(*x.T.numpy(), s=2.0, color=GENERATED, alpha=0.5, linewidths=0)
    return figure


def errors(learned: ScoreModule) -> Figure:
    """The map error of the trained network."""
    exact, metric = ExactFlowMap(Heart(), learned.schedule), MapError(learned.schedule)
    metric.update(learned.denoiser, ExactPaths(exact, Heart().sample(4096, generator()), generator()))
    return plotting.map_error(metric.levels, metric.compute().tolist(), "flowmap_heart")


if __name__ == "__main__":
    main()
