"""Flows between two distributions by the protocol of [SF]2M (Tong et al. 2024), table 2.

    python -m benchmarks.couplings                            # all pairs and methods from five seeds, about two hours
    python -m benchmarks.couplings moons_to_eight_gaussians   # one pair of distributions; printed, not written
    python -m benchmarks.couplings --seeds 1                  # one training of each

Each model is trained on 10 000 points of the data. Then new points of the source follow its flow in 100 steps of
Euler's method, and are compared with as many new points of the data by the exact W2. Seed k is that of the weights, the
points and the noise. `independent` is I-CFM, `optimal` OT-CFM with parts of 512 points, `bridge` [SF]2M with optimal
pairs and sigma = 1, along its flow. Every result is kept as JSON in `results/couplings/` with the digest of its
settings, so an interrupted benchmark goes on where it stopped.

`noise floor` is the W2 of two sets of exact points, the mean of two. Where there are modes, most of it comes from
chance: how many of the points fall on each. `W2, even points` has less of it: source and data are evenly spread there
(Sobol points), and its floor is the exact flow of independent pairs on the same points, in the same steps. `path
energy` is the normalised one, `|E int |u|^2 dt - W2^2| / W2^2`, with the W2 of 2048 points of source and data. `mark`
is this project's aim, `published` the best W2 of the paper's table; whether its test points were its training points is
not known. CPU seconds are those of the training, with the making of the pairs.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from benchmarks.quality import spread
from benchmarks.timing import RESULTS, main, trainer_only
from toy_score import (
    MLP,
    BridgeModule,
    DistributionDataModule,
    EightGaussians,
    ExactBridge,
    IndependentCoupling,
    LinearFlow,
    Moons,
    OptimalTransport,
    SchrodingerBridgeModule,
    SCurve,
)
from toy_score.bridges import STANDARD_NORMAL, Bridge
from toy_score.callbacks import EMA
from toy_score.component import to_config
from toy_score.distributions import Distribution
from toy_score.metrics import follow, squared_w2
from toy_score.metrics.transport import exact_w2
from toy_score.seeds import seed_of

EIGHT = EightGaussians(radius=5.0, std=0.1**0.25, scale=1.0)
MOONS = Moons(std=0.1, centre=(-1.0, 0.0))
S_CURVE = SCurve(std=0.05, scale=1.0 / 1.5)
PAIRS: dict[str, tuple[Distribution, Distribution, float, float]] = {
    "moons_to_eight_gaussians": (MOONS, EIGHT, 0.40, 0.601),
    "normal_to_moons": (STANDARD_NORMAL, MOONS, 0.08, 0.124),
    "normal_to_s_curve": (STANDARD_NORMAL, S_CURVE, 0.11, 0.128),
    "normal_to_eight_gaussians": (STANDARD_NORMAL, EIGHT, 0.24, 0.275),
}
"""Source, data, the mark and the published W2."""

N, STEPS, BATCH, SIZE = 10_000, 4000, 512, 512
ENERGY_POINTS = 2048


def model(method: str, source: Distribution) -> BridgeModule:
    """A new model."""
    make: dict[str, Callable[..., BridgeModule]] = {
        "independent": partial(BridgeModule, coupling=IndependentCoupling()),
        "optimal": partial(BridgeModule, coupling=OptimalTransport(SIZE)),
        "bridge": partial(SchrodingerBridgeModule, coupling=OptimalTransport(SIZE)),
    }
    optimizer = partial(torch.optim.Adam, lr=3e-3, fused=True)
    return make[method](source=source, backbone=MLP((128, 128, 128), "silu"), optimizer=optimizer)


METHODS = ("optimal", "independent", "bridge")


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """A row for each pair and method; a seed of all before the next one."""
    folder = None if options.quick else RESULTS / "couplings"
    results: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for seed in range(options.seeds):
        for pair in options.parts:
            for method in options.methods:
                run = kept(pair, method, seed, folder, options.points)
                results.setdefault((pair, method), []).append(run)
    rows = []
    for (pair, method), runs in results.items():
        _, _, mark, published = PAIRS[pair]
        floor = kept(pair, "exact", 0, folder, options.points)
        rows.append(
            {
                "pair": pair.replace("_", " "),
                "method": method,
                "seeds": len(runs),
                "W2": spread([run["w2"] for run in runs], ".3f"),
                "noise floor": f"{floor['w2']:.3f}",
                "W2, even points": spread([run["even_w2"] for run in runs], ".3f"),
                "its floor": f"{floor['even_w2']:.3f}",
                "mark": mark,
                "published": published,
                "path energy": spread([run["path_energy"] for run in runs], ".3f"),
                "straightness": spread([run["straightness"] for run in runs], ".4f"),
                "CPU": spread([run["cpu_seconds"] for run in runs], ".0f") + " s",
            }
        )
    return {f"{options.points} test points, {N} training points, {STEPS} training steps of {BATCH} points": rows}


def kept(pair: str, method: str, seed: int, folder: Path | None, n_test: int = N) -> dict[str, Any]:
    """The result of a pair, a method and a seed: the one that was measured before, or a new one."""
    if folder is None:
        return measured(pair, method, seed, 200, n=200, steps=20)
    source, data = PAIRS[pair][:2]
    settings: dict[str, Any] = {"n": N, "test": n_test, "steps": STEPS, "batch": BATCH, "data": to_config(data)}
    if method != "exact":
        settings["model"] = to_config(model(method, source))
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{pair}-{method}-{seed}.json"
    if path.exists() and (run := json.loads(path.read_text()))["settings"] == digest:
        return run
    run = {
        "pair": pair,
        "method": method,
        "seed": seed,
        "settings": digest,
        "n_test": n_test,
        **measured(pair, method, seed, n_test),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(run, indent=1) + "\n")
    print(json.dumps(run), flush=True)
    return run


def measured(pair: str, method: str, seed: int, n_test: int, n: int = N, steps: int = STEPS) -> dict[str, Any]:
    """Train, follow the flow and compare; for the method `exact`, compare exact points with others."""
    source, data = PAIRS[pair][:2]
    if method == "exact":
        draws = [exact_w2(points(data, n_test, 2 * k), points(data, n_test, 2 * k + 1)).item() for k in range(2)]
        exact = ExactBridge(data, source, LinearFlow(sigma_min=1e-3, sigma_max=1e3))
        return {"w2": mean(draws), "draws": draws, "even_w2": even_w2(exact, data, n_test)}
    torch.manual_seed(seed)
    begun = time.process_time()
    net = model(method, source)
    net.noise_seed = seed
    points_module = DistributionDataModule(
        data, n_train=n, fresh=False, batch_size=min(BATCH, n), steps_at_once=10, data_seed=seed
    )
    trainer = trainer_only(steps, callbacks=[EMA()], accelerator="cpu")
    trainer.fit(net, points_module)
    cpu = time.process_time() - begun
    net.eval()
    begins = points(source, n_test, 1000 + seed)
    ends, energy = follow(net.denoiser, begins)
    w2 = squared_w2(data, source, min(ENERGY_POINTS, n_test))
    return {
        "cpu_seconds": cpu,
        "w2": exact_w2(ends, points(data, n_test, 2000 + seed)).item(),
        "even_w2": even_w2(net.denoiser, data, n_test),
        "path_energy": abs(energy.mean().item() - w2) / w2,
        "energy": energy.mean().item(),
        "squared_w2": w2,
        "straightness": 1.0 - ((begins - ends).square().sum(dim=1).mean() / energy.mean()).item(),
    }


def even_w2(bridge: Bridge, data: Distribution, n: int) -> float:
    """The W2 of evenly spread source points, moved by the flow, to evenly spread points of the data."""
    ends, _ = follow(bridge, bridge.source.reference(n).float())
    return exact_w2(ends, data.reference(n)).item()


def points(distribution: Distribution, n: int, number: int) -> torch.Tensor:
    """Test points: no training sees them."""
    return distribution.sample(n, torch.Generator().manual_seed(seed_of("points of couplings", number)))


def options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark alone."""
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each pair and method; 5 by default")
    parser.add_argument("--points", type=int, default=N, help="test points; 10000 by default")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, help="all by default")


if __name__ == "__main__":
    main("couplings", measure, __doc__, list(PAIRS), options)
