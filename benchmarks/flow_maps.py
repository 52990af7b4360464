r"""Flow maps: the quality of samples in a few evaluations and the error of the map, from several seeds.

    python -m benchmarks.flow_maps                     # all that docs/flow_maps.md shows, about an hour
    python -m benchmarks.flow_maps heart moons         # some of it; printed, not written
    python -m benchmarks.flow_maps --seeds 1           # one training of each
    python -m benchmarks.flow_maps --runs DIR          # runs are kept in DIR, and those that are there not made again

Each config is fitted by the command line, as a user would, without animations and validations. Seed k is that of the
weights, the points and the training noise. What was measured is kept as JSON in `results/flow_maps/` as long as the
settings stay the same, so an interrupted benchmark goes on where it stopped.

**Sliced W1** of one draw of 20 000 exact samples scatters by more than a quarter of its mean. So its mean over all
draws is computed, from 400 000 samples (`SlicedWasserstein.expected`), and divided by that of exact samples, the noise
floor. **Map error** is `E|Z - exact|^2 / E|x0|^2` of 4096 exact paths, from the highest noise level to the lowest, and
**flow error** the same for the flow of the network's denoiser in 48 steps: what is left if long steps cost nothing.
**Checkerboard**: KL(true || model) of histograms of 60 x 60 bins on [-2.5, 2.5]^2, of 100 000 samples of each, for
cells of side 1 (ours, of side 2, are halved); an empty bin of the model counts as 1e-10.

A value is the median over the seeds, with its range. CPU seconds are those of the whole `fit`, with its start and its
pictures, but without validations, on one thread.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.quality import cpu_seconds, kept, spread
from benchmarks.timing import RESULTS, command, main
from toy_score import (
    Angular,
    Checkerboard,
    Distribution,
    ExactFlowMap,
    Heart,
    MapSteps,
    Moons,
    RungeKutta4,
    Sampler,
    ScoreModule,
    SplitNormal,
)
from toy_score.metrics import ExactPaths, InvalidMass, MapError, SlicedWasserstein
from toy_score.objectives.maps.trajectories import angles_of, followed

TOYS: dict[str, Distribution] = {"heart": Heart(), "split_normal": SplitNormal(), "moons": Moons()}
SAMPLERS: dict[str, Sampler] = {
    "1": MapSteps(1),
    "2": MapSteps(2),
    "2, new noise": MapSteps(2, renoise=1.0),
    "4": MapSteps(4),
    "8": MapSteps(8),
    "flow": RungeKutta4(12, grid=Angular(0.3)),
}
"""What the columns are named, and how the samples are made; the last solves the flow of the network's denoiser."""

PUBLISHED = {1: 0.405, 2: 0.369, 4: 0.280, 8: 0.207, 16: 0.194}
"""KL of self-distilled maps (LSD) on the checkerboard at so many evaluations, from a public reproduction: an MLP of
4-256x4-2, 20 000 steps of 2048 points."""

OBJECTIVES = {
    "TrajectoryDistillation": 1000,
    "Lagrangian": 600,
    "Eulerian": 600,
    "MeanFlow": 700,
    "Consistency": 1300,
    "Progressive": 1200,
}
"""Steps that take each objective about the same processor time on the heart, by the time of a step."""

Run = dict[str, Any]


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """The tables of the parts asked for."""
    tables: dict[str, list[dict[str, Any]]] = {}
    n = 2000 if options.quick else 400_000
    toys = [part for part in options.parts if part in TOYS]
    if toys:
        title = f"Sliced W1 / floor by evaluations; trained from {options.seeds} seeds"
        runs = {
            toy: [toy_run(f"flowmap_{toy}", toy, seed, options, n) for seed in range(options.seeds)] for toy in toys
        }
        tables[title] = [{"config": f"`flowmap_{toy}`", **toy_row(of_seeds)} for toy, of_seeds in runs.items()]
    if "checkerboard" in options.parts:
        found = [checkerboard_run(seed, options) for seed in range(options.seeds)]
        tables["Checkerboard: KL(true || model), nats"] = checkerboard_rows(found)
    if "objectives" in options.parts:
        rows = []
        for objective, steps in OBJECTIVES.items():
            flags = ("--model.objective", objective, "--trainer.max_steps", str(steps))
            run = toy_run("flowmap_heart", "heart", 0, options, n, *flags)
            rows.append({"objective": f"`{objective}`", "steps": steps, **toy_row([run])})
        tables["The heart by each objective, in equal time: sliced W1 / floor by evaluations, one seed"] = rows
    return tables


def remembered(name: str, config: str, seed: int, options: argparse.Namespace, measured: Any, *flags: str) -> Run:
    """What was measured of a run before, or now."""
    shorter = ("--trainer.max_steps", "10") if options.quick else ()

    def train_and_measure(config: str, seed: int) -> Run:
        with tempfile.TemporaryDirectory() as folder:
            runs = Path(options.runs).resolve() if options.runs and not options.quick else Path(folder)
            checkpoint, cpu = trained(config, seed, runs / f"{name}-{seed}", *flags, *shorter)
            model = ScoreModule.load_from_checkpoint(checkpoint)
            return {"cpu_seconds": cpu, "parameters": sum(p.numel() for p in model.parameters()), **measured(model)}

    if options.quick:
        return train_and_measure(config, seed)
    return kept(config, seed, RESULTS / "flow_maps", train_and_measure, flags, name)


def trained(config: str, seed: int, folder: Path, *flags: str) -> tuple[Path, float]:
    """The checkpoint of a config in a folder, trained unless it is there, and the CPU seconds of its `fit`."""
    time = folder / "cpu_seconds.json"
    if not time.exists():
        folder.mkdir(parents=True, exist_ok=True)
        seeds = ["--seed_everything", seed, "--model.noise_seed", seed, "--data.data_seed", seed]
        before = cpu_seconds()
        lean = ["--pictures.frames", 0, "--trainer.limit_val_batches", 0]
        command(folder, "fit", "--config", config, *seeds, *lean, *flags)
        time.write_text(json.dumps(cpu_seconds() - before))
    return sorted(folder.glob("lightning_logs/*/version_*/checkpoints/last.ckpt"))[-1], json.loads(time.read_text())


def toy_run(config: str, toy: str, seed: int, options: argparse.Namespace, n: int, *flags: str) -> Run:
    """A training of a config, measured on the distribution that it learns."""
    name = "_".join([config, *flags[1:2]])
    return remembered(name, config, seed, options, lambda model: toy_values(model, TOYS[toy], n), *flags)


@torch.no_grad()
def toy_values(model: ScoreModule, p: Distribution, n: int) -> Run:
    """The map error, and the quality of `n` samples of each sampler."""
    paths = ExactPaths(ExactFlowMap(p, model.schedule), p.sample(min(n, 4096), generator(0)), generator(1))
    error = MapError(model.schedule)
    error.update(model.denoiser, paths)
    z = followed(model.denoiser, paths.x[0] / paths.at[0].radius, angles_of(model.schedule, 48, scale=0.3)).z[-1]
    flow_error = (z * paths.at[-1].radius - paths.x[-1]).double().square().sum() / paths.square
    run: Run = {"map_error": error.compute()[0, -1].item(), "flow_error": flow_error.item()}
    run |= {"sliced_w1": {}, "invalid": {}}
    size = min(20_000, n)
    for column, sampler in SAMPLERS.items():
        distance, invalid = SlicedWasserstein(p), InvalidMass(p)
        for k in range(max(n // size // (1 if isinstance(sampler, MapSteps) else 4), 1)):
            x = model.sample(size, seed=k, sampler=sampler)
            distance.update(x)
            invalid.update(x)
        run["sliced_w1"][column] = (distance.expected(size) / distance.noise_floor(size)).item()
        run["invalid"][column] = invalid.compute().item()
    return run


def toy_row(runs: list[Run]) -> dict[str, str]:
    """The runs of a config in a line."""
    values = {name: spread([run["sliced_w1"][name] for run in runs], ".2f") for name in SAMPLERS}
    return {
        "parameters": f"{runs[0]['parameters']}",
        "CPU": spread([run["cpu_seconds"] for run in runs], ".0f") + " s",
        **{what: spread([run[what.replace(" ", "_")] for run in runs], ".1e") for what in ("map error", "flow error")},
        **values,
        "without density (1)": spread([100.0 * run["invalid"]["1"] for run in runs], ".2f") + " %",
    }


def checkerboard_run(seed: int, options: argparse.Namespace) -> Run:
    """A training on the checkerboard: the KL at each number of evaluations."""
    n, p = 2000 if options.quick else 100_000, Checkerboard()

    def values(model: ScoreModule) -> Run:
        real = p.sample(n, generator(0)) / p.side
        kl = {k: histogram_kl(real, model.sample(n, seed=seed, sampler=MapSteps(k)) / p.side) for k in PUBLISHED}
        floor = histogram_kl(real, p.sample(n, generator(1)) / p.side)
        return {"kl": {str(k): value for k, value in kl.items()}, "floor": floor}

    return remembered("flowmap_checkerboard", "flowmap_checkerboard", seed, options, values)


def checkerboard_rows(runs: list[Run]) -> list[dict[str, str]]:
    """Ours beside the published."""
    cpu = spread([run["cpu_seconds"] for run in runs], ".0f")
    ours = {str(k): spread([run["kl"][str(k)] for run in runs], ".3f") for k in PUBLISHED}
    return [
        {"": f"`flowmap_checkerboard`, {runs[0]['parameters']} parameters, {cpu} CPU s", **ours},
        {"": "LSD, a public reproduction, 199 170 parameters", **{str(k): f"{kl:.3f}" for k, kl in PUBLISHED.items()}},
        {"": "exact samples", **{str(k): f"{runs[0]['floor']:.3f}" for k in PUBLISHED}},
    ]


def histogram_kl(real: Tensor, x: Tensor, bins: int = 60, half_width: float = 2.5) -> float:
    """KL(real || x) of the histograms of points `(n, 2)`; a point outside counts for the total alone."""
    shares = []
    for points in (real, x):
        cells = ((points.double() + half_width) * (bins / (2.0 * half_width))).floor().long()
        inside = ((cells >= 0) & (cells < bins)).all(dim=1)
        counts = torch.bincount(cells[inside] @ torch.tensor([bins, 1]), minlength=bins * bins)
        shares.append(counts.double() / len(points))
    p, q = shares
    return (torch.xlogy(p, p) - torch.xlogy(p, q.clamp(min=1e-10))).sum().item()


def generator(seed: int) -> torch.Generator:
    """A new generator."""
    return torch.Generator().manual_seed(seed)


def options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark alone."""
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each config; 3 by default")
    parser.add_argument("--runs", help="keep the runs in this folder, and do not train those that are there")


if __name__ == "__main__":
    main("flow_maps", measure, __doc__, [*TOYS, "checkerboard", "objectives"], options)
