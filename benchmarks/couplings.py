"""Flows between two distributions by the protocol of [SF]2M (Tong et al. 2024), table 2.

    python -m benchmarks.couplings                            # all pairs and methods from five seeds, about two hours
    python -m benchmarks.couplings moons_to_eight_gaussians   # one pair of distributions; printed, not written
    python -m benchmarks.couplings --seeds 1                  # one training of each
    python -m benchmarks.couplings --kept                     # the results that are at hand; none is made

Each model is trained on 10 000 points of the data. Then new points of the source follow its flow in 100 steps of
Euler's method, and are compared with as many new points of the data by the exact W2. Seed k is that of the weights, the
points and the noise. `independent` is I-CFM, `optimal` OT-CFM with parts of 512 points, `bridge` [SF]2M with optimal
pairs and sigma = 1, along its flow. Every result is kept as JSON in `results/couplings/` with the digest of its
settings, so an interrupted benchmark goes on where it stopped.

`resampled` is the W2 of training points, drawn with replacement, to the same test points: what a model of the training
points without any error would have. `noise floor` is the W2 of two sets of exact points, the median of four draws and
their range. Where there are modes, most of it comes from chance: how many of the points fall on each. `equal shares` is
the floor of two sets with as many points of each class. `W2, even points` has less chance: 4000 points of source and
data are evenly spread there (Sobol points), and its floor is the exact flow of independent pairs on the same points, in
the same steps. `path energy` is the normalised one, `|E int |u|^2 dt - W2^2| / W2^2`, with the W2 of 2048 points of
source and data. `mark` is this project's aim, `published` the best W2 of the paper's table, both for 10 000 points. CPU
seconds are those of the training, with the making of the pairs.

With `--causes`, a second table has the causes of what is left from the normal to the moons: OT-CFM of seed 0 with one
setting changed.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
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
    "normal_to_eight_gaussians": (STANDARD_NORMAL, EIGHT, 0.24, 0.275),
    "moons_to_eight_gaussians": (MOONS, EIGHT, 0.40, 0.601),
    "normal_to_moons": (STANDARD_NORMAL, MOONS, 0.08, 0.124),
    "normal_to_s_curve": (STANDARD_NORMAL, S_CURVE, 0.11, 0.128),
}
"""Source, data, the mark and the published W2."""

N, STEPS, BATCH, SIZE = 10_000, 16_000, 512, 512
DRAWS, ENERGY_POINTS, EVEN_POINTS = 4, 2048, 4000
METHODS = ("optimal", "independent", "bridge")


@dataclass(frozen=True)
class Settings:
    """What a cause changes: training points, steps of the training and of Euler's method, points of a part."""

    n: int = N
    steps: int = STEPS
    euler: int = 100
    size: int = SIZE


CAUSES = {
    "none": Settings(),
    "100 000 training points": Settings(n=100_000),
    "4000 training steps": Settings(steps=STEPS // 4),
    "400 steps of Euler": Settings(euler=400),
    "parts of 128 points": Settings(size=128),
}
"""Causes of the error of OT-CFM, by what is changed."""
CAUSES_OF = "normal_to_moons"


def model(method: str, source: Distribution, size: int = SIZE) -> BridgeModule:
    """A new model."""
    make: dict[str, Callable[..., BridgeModule]] = {
        "independent": partial(BridgeModule, coupling=IndependentCoupling()),
        "optimal": partial(BridgeModule, coupling=OptimalTransport(size)),
        "bridge": partial(SchrodingerBridgeModule, coupling=OptimalTransport(size)),
    }
    optimizer = partial(torch.optim.Adam, lr=3e-3, fused=True)
    return make[method](source=source, backbone=MLP((128, 128, 128), "silu"), optimizer=optimizer)


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """A row for each pair and method, a seed of all before the next one; then the causes."""
    folder = None if options.quick else RESULTS / "couplings"
    results: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for seed in range(options.seeds):
        for pair in options.parts:
            for method in options.methods:
                if options.kept and not path_of(folder or RESULTS, pair, method, seed, options.points).exists():
                    continue
                run = kept(pair, method, seed, folder, options.points)
                results.setdefault((pair, method), []).append(run)
    if not results:
        raise SystemExit(
            f"no results: --seeds {options.seeds}{' --kept' if options.kept else ''}; ask for a seed or more"
        )
    results = dict(sorted(results.items(), key=lambda item: options.parts.index(item[0][0])))
    exact = {pair: kept(pair, "exact", 0, folder, options.points) for pair in options.parts}
    perfect = {
        (pair, run["seed"]): kept(pair, "resampled", run["seed"], folder, options.points)
        for (pair, _), runs in results.items()
        for run in runs
    }
    rows = [
        table_row(pair, method, runs, exact[pair], [perfect[pair, run["seed"]]["w2"] for run in runs])
        for (pair, method), runs in results.items()
    ]
    title = f"{options.points} test points, {N} training points, {STEPS} training steps of {BATCH} points"
    tables = {title: rows}
    if options.causes and CAUSES_OF in options.parts:
        tables["OT-CFM from the normal to the moons with one setting changed, seed 0"] = [
            {
                "changed": cause,
                "W2, even points": f"{run['even_w2']:.3f}",
                "its floor": f"{exact[CAUSES_OF]['even_w2']:.3f}",
                "path energy": f"{run['path_energy']:.3f}",
                "CPU": f"{run['cpu_seconds']:.0f} s",
            }
            for cause in CAUSES
            for run in [kept(CAUSES_OF, "optimal", 0, folder, options.points, cause)]
        ]
    return tables


def table_row(
    pair: str, method: str, runs: list[dict[str, Any]], floor: dict[str, Any], resampled: list[float]
) -> dict[str, Any]:
    """A row of the first table, from the runs of all seeds, exact points, and training points drawn again."""
    _, _, mark, published = PAIRS[pair]
    values = {name: [run[name] for run in runs] for name in runs[0]}
    return {
        "pair": pair.replace("_", " "),
        "method": method,
        "seeds": len(runs),
        "W2": spread(values["w2"], ".3f"),
        "resampled": spread(resampled, ".3f"),
        "noise floor": spread(floor["draws"], ".3f"),
        "mark": mark,
        "published": published,
        "equal shares": f"{floor['equal_w2']:.3f}",
        "W2, even points": spread(values["even_w2"], ".3f"),
        "its floor": f"{floor['even_w2']:.3f}",
        "path energy": spread(values["path_energy"], ".3f"),
        "straightness": spread(values["straightness"], ".4f"),
        "CPU": spread(values["cpu_seconds"], ".0f") + " s",
    }


def kept(
    pair: str, method: str, seed: int, folder: Path | None, n_test: int = N, cause: str = "none"
) -> dict[str, Any]:
    """The result of a pair, a method and a seed: the one that was measured before, or a new one."""
    changed = CAUSES[cause]
    if folder is None:
        quick = {"pair": pair, "method": method, "seed": seed}
        return quick | measured(pair, method, seed, 200, replace(changed, n=200, steps=20))
    source, data = PAIRS[pair][:2]
    settings: dict[str, Any] = {
        "test": n_test,
        "even": EVEN_POINTS,
        "data": to_config(data),
        "source": to_config(source),
    }
    if method == "exact":
        settings["draws"] = DRAWS
    elif method == "resampled":
        settings["n"] = changed.n
    else:
        settings |= {"model": to_config(model(method, source, changed.size)), "batch": BATCH, **asdict(changed)}
    case = {"pair": pair, "method": method, "seed": seed, "cause": cause, "n_test": n_test}
    path = path_of(folder, pair, method, seed, n_test, cause)
    return once(path, settings, case, lambda: measured(pair, method, seed, n_test, changed))


def path_of(folder: Path, pair: str, method: str, seed: int, n_test: int, cause: str = "none") -> Path:
    """Where a result is kept."""
    of_cause = [] if cause == "none" else [cause.replace(" ", "_")]
    name = "-".join([pair, method, str(seed), *([] if n_test == N else [str(n_test)]), *of_cause])
    return folder / f"{name}.json"


def once(
    path: Path, settings: dict[str, Any], case: dict[str, Any], measure: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """What the file holds, if it was measured with these settings; otherwise it is measured and written."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    if path.exists() and (run := json.loads(path.read_text()))["settings"] == digest:
        return run
    run = case | {"settings": digest} | measure()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(run, indent=1) + "\n")
    print(json.dumps(run), flush=True)
    return run


def measured(pair: str, method: str, seed: int, n_test: int, settings: Settings) -> dict[str, Any]:
    """Train, follow the flow and compare; for the method `exact`, see `floors`."""
    source, data = PAIRS[pair][:2]
    if method == "exact":
        return floors(source, data, n_test)
    points_module = DistributionDataModule(
        data, n_train=settings.n, fresh=False, batch_size=min(BATCH, settings.n), steps_at_once=10, data_seed=seed
    )
    test_points = points(data, n_test, 2000 + seed)
    if method == "resampled":
        return {"w2": exact_w2(resampled(points_module, n_test, seed), test_points).item()}
    torch.manual_seed(seed)
    begun = time.process_time()
    net = model(method, source, settings.size)
    net.noise_seed, net.n_pairs = seed, min(net.n_pairs, settings.steps * BATCH)
    trainer = trainer_only(settings.steps, callbacks=[EMA()], accelerator="cpu")
    trainer.fit(net, points_module)
    cpu = time.process_time() - begun
    net.eval()
    begins = points(source, n_test, 1000 + seed)
    ends, energy = follow(net.denoiser, begins, settings.euler)
    w2 = squared_w2(data, source, min(ENERGY_POINTS, n_test))
    return {
        "cpu_seconds": cpu,
        "w2": exact_w2(ends, test_points).item(),
        "even_w2": even_w2(net.denoiser, data, min(EVEN_POINTS, n_test), settings.euler),
        "path_energy": abs(energy.mean().item() - w2) / w2,
        "energy": energy.mean().item(),
        "squared_w2": w2,
        "straightness": 1.0 - ((begins - ends).square().sum(dim=1).mean() / energy.mean()).item(),
    }


def floors(source: Distribution, data: Distribution, n_test: int) -> dict[str, Any]:
    """What exact points get against others, random or of equal shares, and the exact flow with even points."""
    draws = [exact_w2(points(data, n_test, 2 * k), points(data, n_test, 2 * k + 1)).item() for k in range(DRAWS)]
    equal = exact_w2(*(of_equal_shares(data, n_test, k) for k in range(2))).item()
    exact = ExactBridge(data, source, LinearFlow(sigma_min=1e-3, sigma_max=1e3))
    return {"draws": draws, "equal_w2": equal, "even_w2": even_w2(exact, data, min(EVEN_POINTS, n_test))}


def resampled(data: DistributionDataModule, n: int, seed: int) -> torch.Tensor:
    """Training points, drawn with replacement."""
    known = data.known()
    assert known is not None
    assert known.training is not None  # the points are not fresh
    generator = torch.Generator().manual_seed(seed_of("training points drawn again", seed))
    return known.training.x[torch.randint(len(known.training.x), (n,), generator=generator)]


def of_equal_shares(distribution: Distribution, n: int, number: int) -> torch.Tensor:
    """Points with as many of each class; of a distribution without classes, any points."""
    classes = distribution.n_labels
    if not classes:
        return points(distribution, n, 4000 + number)
    return torch.cat(
        [points(distribution.conditioned_on(k), n // classes, 4000 + 2 * k + number) for k in range(classes)]
    )


def even_w2(bridge: Bridge, data: Distribution, n: int, steps: int = 100) -> float:
    """The W2 of evenly spread source points, moved by the flow, to evenly spread points of the data."""
    ends, _ = follow(bridge, bridge.source.reference(n).float(), steps)
    return exact_w2(ends, data.reference(n)).item()


def points(distribution: Distribution, n: int, number: int) -> torch.Tensor:
    """Test points: no training sees them."""
    return distribution.sample(n, torch.Generator().manual_seed(seed_of("points of couplings", number)))


def options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark alone."""
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each pair and method; 5 by default")
    parser.add_argument("--points", type=int, default=N, help="test points; 10000 by default")
    parser.add_argument("--kept", action="store_true", help="the results that are at hand; none is made")
    parser.add_argument("--causes", action="store_true", help="the second table as well")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, help="all by default")


if __name__ == "__main__":
    main("couplings", measure, __doc__, list(PAIRS), options)
