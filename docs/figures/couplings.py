"""The figures of `docs/couplings.md`; none needs a network.

    python -m docs.figures.couplings

Writes into `docs/images/`.
"""

import argparse

import torch
from matplotlib.figure import Figure

from docs.figures.flow_maps import keep
from docs.figures.parts import SEED
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

LINE = LinearFlow(sigma_min=1e-3, sigma_max=1e3)
SOURCE, DATA = Moons(std=0.1, centre=(-1.0, 0.0)), EightGaussians(radius=5.0, std=0.5623, scale=1.0)
N = 512


def main() -> None:
    """Make all figures."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    keep("coupling_pairs", pairs())
    keep("coupling_velocity", velocity())
    keep("coupling_bridges", bridges())


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


if __name__ == "__main__":
    main()
