"""The figures of `docs/couplings.md`.

    python -m docs.figures.couplings [--exact]

Trains the network of the animation, that of `benchmarks.bridges` with entropic pairs (40 s of one core), and writes
into `docs/images/`. `--exact` makes the figures that need no network.
"""

import argparse

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from benchmarks.bridges import KNOWN, STEPS, trained
from docs.figures.flow_maps import keep
from docs.figures.parts import IMAGES, SEED
from toy_score import (
    BridgeSDE,
    EightGaussians,
    EntropicTransport,
    Euler,
    ExactBridge,
    GaussianBridge,
    GaussianMixture,
    IndependentCoupling,
    LinearFlow,
    Moons,
    OptimalTransport,
    Trailing,
    plotting,
)
from toy_score.bridges import SchrodingerBridge
from toy_score.plotting.style import EXACT, GENERATED, LABEL, REAL, SERIES, TRAJECTORY, panels, square

LINE = LinearFlow(sigma_min=1e-3, sigma_max=1e3)
SOURCE, DATA = Moons(std=0.1, centre=(-1.0, 0.0)), EightGaussians(radius=5.0, std=0.5623, scale=1.0)
N, FRAMES, TAILS = 512, 34, 5


def main() -> None:
    """Make all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exact", action="store_true", help="only the figures that need no network")
    args = parser.parse_args()
    keep("coupling_pairs", pairs())
    keep("coupling_velocity", velocity())
    keep("coupling_bridges", bridges())
    if not args.exact:
        content = moving(trained("entropic", 0, STEPS))
        (IMAGES / "coupling_bridge.gif").write_bytes(content)
        print(IMAGES / "coupling_bridge.gif", f"{len(content) / 1e3:.0f} kB", flush=True)


def generator(k: int = 0) -> torch.Generator:
    """Generator `k` of the figures."""
    return torch.Generator().manual_seed(SEED + k)


def pairs() -> Figure:
    """The same points, paired in three ways."""
    x0, x1 = DATA.sample(N, generator()), SOURCE.sample(N, generator(1))
    shown = {}
    for name, coupling in (
        ("independent", IndependentCoupling()),
        ("entropic, epsilon = 8", EntropicTransport(epsilon=8.0, size=N)),
        ("optimal", OptimalTransport(size=N)),
    ):
        rows0, rows1 = coupling(x0, x1, generator(2))
        shown[name] = x0[rows0], x1[rows1]
    return plotting.pairs(shown, "Pairs of 512 points of the moons and of the eight Gaussians")


def velocity() -> Figure:
    """The exact velocity of independent pairs at three times."""
    exact, ends = ExactBridge(DATA, SOURCE, LINE), (DATA.sample(2000, generator()), SOURCE.sample(2000, generator(1)))
    return plotting.velocity_field(exact, None, (0.1, 0.5, 0.9), ends, "The exact velocity of independent pairs")


def bridges() -> Figure:
    """Paths between the same two Gaussians: independent pairs, optimal transport, and a Schroedinger bridge."""
    p = GaussianMixture([[3.0, 1.0]], covariances=[[[0.3, 0.2], [0.2, 1.0]]])
    q = GaussianMixture([[-3.0, -1.0]], stds=0.7)
    shown = {}
    for name, bridge, sampler in (
        ("independent pairs, flow", ExactBridge(p, q, LINE), Euler(100, Trailing())),
        ("optimal transport, flow", GaussianBridge(p, q, 0.0, LINE), Euler(100, Trailing())),
        ("Schroedinger bridge, SDE", GaussianBridge(p, q, 1.0, LINE), BridgeSDE(100)),
    ):
        shown[name] = sampler.trajectory(bridge, 60, generator())
    return plotting.bridge_paths(shown, q.sample(600, generator()), p.sample(600, generator(1)), "Three bridges")


def moving(learned: SchrodingerBridge) -> bytes:
    """The same source points moved to the data with the same noise, by the learned bridge and by the exact one."""
    figure, axes = panels(1, 2, "A Schroedinger bridge from the same points with the same noise")
    source, data = KNOWN.source.sample(800, generator(1)), KNOWN.distribution.sample(800, generator(2))
    clouds, corners, paths = [], [], []
    for ax, bridge, name, colour in zip(
        axes[0], (learned, KNOWN), ("learned", "exact"), (GENERATED, EXACT), strict=True
    ):
        square(ax, 5.5, name).tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
        for x, of in ((source, SERIES[2]), (data, REAL)):
            ax.plot(*x.T, ".", color=of, markersize=2.0, alpha=0.25, zorder=1)
        clouds.append(ax.plot([], [], ".", color=colour, markersize=3.5, alpha=0.7)[0])
        tails = LineCollection([], colors=TRAJECTORY, linewidths=0.7, alpha=0.7)
        corners.append((ax.add_collection(tails), ax.text(0.03, 0.03, "", transform=ax.transAxes, fontsize=LABEL)))
        with torch.no_grad():
            paths.append(BridgeSDE(100).trajectory(bridge, 400, generator()).x)  # [101, n, 2]
    canvas, frames = FigureCanvasAgg(figure), []
    for k in torch.linspace(0, len(paths[0]) - 1, FRAMES).round().int().tolist():
        for x, cloud, (tails, corner) in zip(paths, clouds, corners, strict=True):
            cloud.set_data(*x[k].T)
            tails.set_segments(list(x[: k + 1, :TAILS].transpose(0, 1).numpy()))
            corner.set_text(f"t = {1 - k / (len(x) - 1):.2f}")
        canvas.draw()
        frames.append(np.asarray(canvas.buffer_rgba())[:, :, :3].copy())
    return plotting.to_gif(frames)


if __name__ == "__main__":
    main()
