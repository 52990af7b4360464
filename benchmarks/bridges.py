"""Schroedinger bridges that are learned by [SF]2M (Tong et al. 2024), beside one that is known.

    python -m benchmarks.bridges             # from three seeds, about five minutes
    python -m benchmarks.bridges --seeds 1   # one training of each

The known bridge is the `MixtureBridge` of the potentials eight Gaussians and a normal distribution, with sigma = 1. Its
ends, both mixtures of eight Gaussians, are the data and the source. A `SchrodingerBridgeModule` learns it in 5000 steps
of 512 pairs: `entropic`, drawn from the entropic plans of 256 points; `optimal`, of the permutations of 256 points with
the least cost ([SF]2M-Exact); `exact`, drawn from the plan of the known bridge, which leaves the error of the network
alone. `nothing` is the known bridge itself, whose samples have the error of the steps and of chance.

The errors are `E|learned - exact|^2 / E|exact|^2` over points of the known bridge, of the drift of the SDE, of the
flow's slope and of the score, each the mean over five times from 0.05 to 0.95. Sliced W1 is that of 5000 samples to the
data, a mean from 10 000 of them, over its noise floor, along the SDE and along the flow in 100 steps. Seed k is that of
the weights, the points and the noise. CPU seconds are those of the training, with the making of the pairs.
"""

import argparse
import time
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from benchmarks.couplings import once
from benchmarks.quality import spread
from benchmarks.timing import RESULTS, main, trainer_only
from toy_score import (
    MLP,
    BridgeSDE,
    DistributionDataModule,
    EightGaussians,
    EntropicTransport,
    Euler,
    IndependentCoupling,
    MixtureBridge,
    OptimalTransport,
    SchrodingerBridgeModule,
    Trailing,
)
from toy_score.bridges import STANDARD_NORMAL, SchrodingerBridge
from toy_score.callbacks import EMA
from toy_score.component import to_config
from toy_score.metrics import BRIDGE_TIMES, SlicedWasserstein
from toy_score.samplers import Sampler
from toy_score.schedules import LinearFlow
from toy_score.seeds import seed_of

KNOWN = MixtureBridge(
    EightGaussians(radius=4.0, std=0.4, scale=1.0), STANDARD_NORMAL, 1.0, LinearFlow(sigma_min=1e-3, sigma_max=1e3)
)
STEPS, BATCH, SIZE, N_SAMPLES, N_POINTS = 5000, 512, 256, 10_000, 4096
METHODS = ("entropic", "optimal", "exact", "nothing")
COLUMNS = ("drift", "slope", "score", "SDE", "flow")


class OfKnownPairs(SchrodingerBridgeModule):
    """A module whose pairs are those of the known bridge, new in each step."""

    def ends(self, x0: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        return KNOWN.pairs(len(x0), generator)


def model(method: str) -> SchrodingerBridgeModule:
    """A new model."""
    kind, coupling = {
        "entropic": (SchrodingerBridgeModule, EntropicTransport(2.0 * KNOWN.sigma**2, SIZE)),
        "optimal": (SchrodingerBridgeModule, OptimalTransport(SIZE)),
        "exact": (OfKnownPairs, IndependentCoupling()),
    }[method]
    optimizer = partial(torch.optim.Adam, lr=5e-3, fused=True)
    backbone = MLP((128, 128, 128), "silu")
    return kind(KNOWN.sigma, KNOWN.source, coupling, backbone=backbone, optimizer=optimizer)


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """A row for each kind of pairs."""
    folder = None if options.quick else RESULTS / "couplings"
    results: dict[str, list[dict[str, Any]]] = {method: [] for method in METHODS}
    for seed in range(options.seeds):
        for method in METHODS:
            results[method].append(kept(method, seed, folder))
    rows = [
        {
            "pairs": method,
            "seeds": len(runs),
            **{name: spread([run[name] for run in runs], ".2g") for name in COLUMNS},
            "CPU": spread([run["cpu_seconds"] for run in runs], ".0f") + " s",
        }
        for method, runs in results.items()
    ]
    return {
        f"Errors of drift, slope and score; sliced W1 over its floor along the SDE and the flow, {STEPS} steps": rows
    }


def kept(method: str, seed: int, folder: Path | None) -> dict[str, Any]:
    """The result of a kind of pairs and a seed: the one that was measured before, or a new one."""
    if folder is None:
        return measured(method, seed, steps=10, n=500)
    settings: dict[str, Any] = {"bridge": to_config(KNOWN), "steps": STEPS, "batch": BATCH, "n": N_SAMPLES}
    if method != "nothing":
        settings["model"] = to_config(model(method))
    case = {"bridge": "known", "method": method, "seed": seed}
    return once(folder / f"known-{method}-{seed}.json", settings, case, lambda: measured(method, seed))


def measured(method: str, seed: int, steps: int = STEPS, n: int = N_SAMPLES) -> dict[str, Any]:
    """Train, and compare with the known bridge."""
    begun, bridge = time.process_time(), trained(method, seed, steps)
    result: dict[str, Any] = {"cpu_seconds": time.process_time() - begun}
    generator = torch.Generator().manual_seed(seed_of("points of bridges", seed))
    for name in ("drift", "slope", "score"):
        result[f"{name} by time"] = [relative_error(name, bridge, t, generator) for t in BRIDGE_TIMES]
        result[name] = mean(result[f"{name} by time"])
    samplers: dict[str, Sampler] = {"SDE": BridgeSDE(100), "flow": Euler(100, Trailing())}
    for name, sampler in samplers.items():
        metric = SlicedWasserstein(KNOWN.distribution)
        metric.update(sampler(bridge, n, generator))
        result[name] = (metric.expected(n // 2) / metric.noise_floor(n // 2)).item()
    return result


def trained(method: str, seed: int, steps: int) -> SchrodingerBridge:
    """A trained network, or the known bridge for the method `nothing`."""
    if method == "nothing":
        return KNOWN
    torch.manual_seed(seed)
    net = model(method)
    net.noise_seed, net.n_pairs = seed, min(net.n_pairs, steps * BATCH)
    data = DistributionDataModule(KNOWN.distribution, batch_size=BATCH, steps_at_once=10, data_seed=seed)
    trainer_only(steps, callbacks=[EMA()], accelerator="cpu").fit(net, data)
    net.eval()
    assert isinstance(net.denoiser, SchrodingerBridge)
    return net.denoiser


@torch.no_grad()
def relative_error(name: str, bridge: SchrodingerBridge, t: float, generator: torch.Generator) -> float:
    """`E|learned - exact|^2 / E|exact|^2` of one of its functions at a time."""
    x = KNOWN.sample(t, N_POINTS, generator)
    exact = getattr(KNOWN, name)(x, t).double()
    return ((getattr(bridge, name)(x, t) - exact).square().sum() / exact.square().sum()).item()


def options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark alone."""
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each kind of pairs; 3 by default")


if __name__ == "__main__":
    main("bridges", measure, __doc__, add_options=options)
