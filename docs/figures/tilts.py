"""Table of `docs/tilts.md`: `python -m docs.figures.tilts`, two minutes on one core.

For each distribution and tilt, of 8192 samples in 128 steps: the KL divergence over 64 cells of equal mass, of exact
samples (the mean over eight draws), of sums of scores and of corrected particles; the effective sample size; the
logarithm of the integral, exact and estimated.
Rows that are in the table already are not measured again.
"""

import json
from collections.abc import Sequence
from typing import Any

import torch

from docs.figures.parts import TABLES, generator
from toy_score import (
    EDM,
    Angular,
    DDPMAncestral,
    Distribution,
    EightGaussians,
    ExactDenoiser,
    FeynmanKacCorrector,
    FractalTree,
    GridDensity,
    ScaledScore,
    SplitNormal,
    Tilt,
)
from toy_score.metrics import PartitionKL
from toy_score.requests import CPU, block_size

ROWS: list[tuple[Distribution, EDM]] = [
    (EightGaussians(), EDM(sigma_min=0.02, sigma_max=200.0)),
    (SplitNormal(), EDM(sigma_min=0.02, sigma_max=200.0)),
    (FractalTree(depth=3), EDM(sigma_min=0.005, sigma_max=50.0)),
]
STEPS, BLOCKS, CLASS, FLOORS = 128, 2, 1, 8
TABLE = TABLES / "tilts.json"


def measure(truth: GridDensity, tilt: Tilt, naive: ScaledScore | None) -> dict[str, Any]:
    """The figures of a row."""
    scale = truth.factors[0].reference(8192).std(dim=0).mean().item()
    corrector, n = FeynmanKacCorrector(STEPS, Angular(scale)), BLOCKS * block_size(CPU)
    ancestral = DDPMAncestral(n_steps=STEPS, grid=Angular(scale))
    metric, weights = PartitionKL(truth, cuts=6), torch.tensor(list(truth.mode_weights.values()))

    def figures(x: torch.Tensor) -> dict[str, float]:
        metric.reset()
        metric.update(x)
        shares = torch.nn.functional.one_hot(truth.modes(x), len(weights)).double().mean(dim=0)
        return {"kl": metric.compute().item(), "modes": 0.5 * (shares - weights).abs().sum().item()}

    means, sizes, blocks = [], [], []
    for block in range(BLOCKS):
        noise = corrector.stream(0, block * block_size(CPU), block_size(CPU), CPU)

        def observe(i: int, x: torch.Tensor, memory: Any) -> None:
            if memory is not None:
                sizes.append(memory.ess.min().item())
                if i == STEPS:
                    means.append(memory.log_mean[0].item())

        x = corrector.walk(tilt, corrector.start(tilt.schedule, noise), noise, observe=observe)
        blocks.append(x[:: corrector.per_sample])
    floors = [figures(truth.sample(n, torch.Generator().manual_seed(seed))) for seed in range(FLOORS)]
    exact = {name: sum(floor[name] for floor in floors) / FLOORS for name in floors[0]}
    found = {"exact": exact, "sum": figures(ancestral(tilt, n, generator()))}
    if naive is not None:
        found["scaled"] = figures(ancestral(naive, n, generator()))
    log_Z = torch.tensor(means)
    return {
        **found,
        "corrected": figures(torch.cat(blocks)),
        "smallest ess": min(sizes),
        "log Z": truth.log_integral,
        "estimate": (log_Z.logsumexp(dim=0) - torch.tensor(float(BLOCKS)).log()).item(),
        "sd of a block": log_Z.std().item(),
    }


def markdown(table: dict[str, Any]) -> str:
    """The table of the page."""
    lines = ["| target | exact | scaled score | sum of scores | corrected | ESS | log Z (estimate) |", "|---" * 7 + "|"]
    for name, row in table.items():
        kl = [f"{row[key]['kl']:.4f}" if key in row else "" for key in ("exact", "scaled", "sum", "corrected")]
        size, log_Z = f"{row['smallest ess']:.2f}", f"{row['log Z']:.3f} ({row['estimate']:.3f})"
        lines.append(f"| {' | '.join([name.replace(' | ', ', ').replace('_', ' '), *kl, size, log_Z])} |")
    return "\n".join(lines) + "\n"


@torch.no_grad()
def main(rows: Sequence[tuple[Distribution, EDM]] = ROWS) -> None:
    """All rows."""
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    for p, schedule in rows:
        exact = ExactDenoiser(p, schedule)
        one = exact.conditioned_on(CLASS)
        cases = {f"p^{b:g}": ([exact], [b], ScaledScore(exact, b)) for b in (0.5, 2.0)}
        cases |= {f"w = {w:g}": ([exact, one], [1.0 - w, w], None) for w in (1.5, 3.0)}  # type: ignore[dict-item]
        for name, (denoisers, exponents, naive) in cases.items():
            key = f"{p.name} | {name}"
            if key in table:
                continue
            truth = GridDensity([d.distribution for d in denoisers], exponents)
            table[key] = measure(truth, Tilt(denoisers, exponents), naive)
            TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
            print(key, table[key], flush=True)
    TABLE.with_suffix(".md").write_text(markdown(table), encoding="utf-8")


if __name__ == "__main__":
    main()
