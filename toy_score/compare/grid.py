"""The grid: every cell sampled with the same seeds, measured, timed, and saved at once."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from toy_score.compare.contestants import Cell, Contestant
from toy_score.compare.samplers import short, work
from toy_score.compare.store import Store
from toy_score.distributions import Distribution
from toy_score.evaluation import Evaluation
from toy_score.metrics import Floor, noise_floors
from toy_score.requests import SampleRequest
from toy_score.seeds import seed_of

__all__ = ["Protocol", "draw", "evaluate", "seconds_of"]

TIMED = 20_000
"""The number of samples that the reported seconds are for."""

WARM_UP, PER_POINT = 256, 4e-6
"""Samples before the clock starts; seconds that the metrics need per sample, about."""


@dataclass(frozen=True)
class Protocol:
    """How every cell is measured.

    Args:
        n_samples: samples per seed, >= 100.
        seeds: how often a cell is sampled, >= 1; seed k of all cells starts from the same noise.
        seed: of the seeds.
        device: where samples are made.

    Raises:
        ValueError: if a number is too small.
    """

    n_samples: int = 20_000
    seeds: int = 3
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.n_samples < 100:
            raise ValueError(f"n_samples must be at least 100, got {self.n_samples}: fewer tell nothing")
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}")


def draw(cell: Cell, protocol: Protocol, k: int, n: int | None = None) -> Tensor:
    """The samples of a cell for seed `k`, `(n, 2)`."""
    generator = Generator(protocol.device).manual_seed(seed_of("compare", protocol.seed, k))
    return cell.sampler(cell.contestant.denoiser, protocol.n_samples if n is None else n, generator)


def evaluate(cells: Sequence[Cell], protocol: Protocol, store: Store, done: Callable[[Cell], None]) -> None:
    """Evaluate the cells that the store does not hold yet; `done` is called for each."""
    evaluations: dict[Distribution, Evaluation] = {}
    for cell in cells:
        if cell.key in store.rows:
            continue
        truth = cell.contestant.distribution
        if truth not in evaluations:
            evaluations[truth] = Evaluation(truth, range(protocol.seeds), device=protocol.device)
        if repr(truth) not in store.floors:
            floors = noise_floors(truth, protocol.n_samples)
            store.add_floors(repr(truth), {name: asdict(floor) for name, floor in floors.items()})
        floors = {name: Floor(**floor) for name, floor in store.floors[repr(truth)].items()}
        store.add(cell.key, measure(cell, protocol, evaluations[truth], floors))
        done(cell)


def measure(
    cell: Cell, protocol: Protocol, evaluation: Evaluation, floors: dict[str, Floor]
) -> dict[str, str | int | float | bool | None]:
    """One row of the table: what the cell is, how good, and how fast; None stands for what is not finite."""
    draw(cell, protocol, 0, WARM_UP)
    seconds, n = [], protocol.n_samples
    evaluation.reset()
    for k in range(protocol.seeds):
        begin = time.perf_counter()
        x = draw(cell, protocol, k)
        if x.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
        evaluation.update(x, SampleRequest(0, n, k))
    report, contestant = evaluation.report(floors=floors), cell.contestant
    metrics: dict[str, Any] = report.as_dict()
    row: dict[str, Any] = {
        "distribution": repr(contestant.distribution),
        "model": contestant.name,
        "kind": contestant.kind,
        "schedule": short(contestant.schedule),
        "sampler": short(cell.sampler),
        "line": cell.label,
        "own": cell.own,
        "n_steps": work(cell.sampler),
        "nfe": cell.sampler.nfe(contestant.schedule),
        "seconds": statistics.median(seconds) * TIMED / n,
    }
    for name in floors:
        values = torch.stack([reading[name].double() for reading in report.readings])
        row[name] = metrics[name]["value"]
        row[f"{name}_sd"] = values.std().item() if len(values) > 1 else None
        row |= {f"{name}_{key}": metrics[name][key] for key in ("floor", "floor_sd", "z")}
    row["sliced_w1_ratio"] = metrics["sliced_w1"]["ratio"]
    row["mode_weights_worst_z"] = max((mode["z"] for mode in metrics["mode_weights"].values()), key=abs)
    row["invalid_mass"], row["nonfinite"] = metrics["invalid_mass"]["value"], metrics["nonfinite"]
    return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in row.items()}


def seconds_of(cells: Sequence[Cell], protocol: Protocol, store: Store) -> float:
    """About how long the evaluation of cells takes: a step of each contestant's is timed."""
    per_call: dict[str, float] = {}
    total = 0.0
    for cell in cells:
        contestant = cell.contestant
        if contestant.name not in per_call:
            per_call[contestant.name] = _one_call(contestant, protocol)
        total += protocol.seeds * cell.sampler.nfe(contestant.schedule) * per_call[contestant.name]
        total += protocol.seeds * PER_POINT * protocol.n_samples
    floors = len({repr(cell.contestant.distribution) for cell in cells} - set(store.floors))
    return total + 64 * PER_POINT * protocol.n_samples * floors


@torch.no_grad()
def _one_call(contestant: Contestant, protocol: Protocol) -> float:
    x = torch.randn(protocol.n_samples, 2, generator=Generator().manual_seed(0)).to(protocol.device)
    level = contestant.schedule.level_at(1.0)
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        contestant.denoiser.noise(x, level).cpu()
        times.append(time.perf_counter() - begin)
    return min(times)
