"""Table of `docs/tilts.md`: `python -m docs.figures.tilts`, six minutes on one core.

For each distribution and tilt, of 8192 samples in 128 steps, means over two draws: the KL divergence over 64 cells of
equal mass, of exact samples (over eight draws), of sums of scores and of corrected particles; the smallest effective
sample size; the logarithm of the integral, exact and estimated. Draws that are in the table already are not made again;
a number as argument is how many draws there are to be.
"""

import json
import sys
from collections.abc import Sequence
from statistics import mean
from typing import Any

import torch

from docs.figures.parts import SEED, TABLES
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

ROWS: list[tuple[Distribution, EDM, int]] = [
    (EightGaussians(), EDM(sigma_min=0.02, sigma_max=200.0), 600),
    (SplitNormal(), EDM(sigma_min=0.02, sigma_max=200.0), 600),
    (FractalTree(depth=3), EDM(sigma_min=0.005, sigma_max=50.0), 1200),
]
"""Distribution, schedule, and nodes on a side of the truth's lattice: 600 are too few for the limbs of the tree."""

SCALE = 0.2  # of the grid, in standard deviations of the data: at 1, the steps at low noise are too long
STEPS, BLOCKS, CLASS, DRAWS, FLOORS = 128, 2, 1, 2, 8
TABLE = TABLES / "tilts.json"
Figures = dict[str, float]


class Divergence:
    """Of samples from the truth: the KL divergence, and half the sum of the differences of the modes' shares."""

    def __init__(self, truth: GridDensity):
        self.truth, self.metric = truth, PartitionKL(truth, cuts=6)
        self.weights = torch.tensor(list(truth.mode_weights.values()))

    def __call__(self, x: torch.Tensor) -> Figures:
        self.metric.reset()
        self.metric.update(x)
        shares = torch.nn.functional.one_hot(self.truth.modes(x), len(self.weights)).double().mean(dim=0)
        return {"kl": self.metric.compute().item(), "modes": 0.5 * (shares - self.weights).abs().sum().item()}


def exact(divergence: Divergence, n: int) -> Figures:
    """The mean figures of exact samples."""
    floors = [divergence(divergence.truth.sample(n, torch.Generator().manual_seed(seed))) for seed in range(FLOORS)]
    return {name: mean([floor[name] for floor in floors]) for name in floors[0]}


def draw(divergence: Divergence, tilt: Tilt, naive: ScaledScore | None, seed: int) -> dict[str, Any]:
    """The figures of a draw, and of its populations the smallest effective sample size and the estimates of log Z."""
    scale = SCALE * divergence.truth.factors[0].reference(8192).std(dim=0).mean().item()
    corrector, n = FeynmanKacCorrector(STEPS, Angular(scale)), BLOCKS * block_size(CPU)
    ancestral = DDPMAncestral(n_steps=STEPS, grid=Angular(scale))
    means, sizes, blocks = [], [], []
    for block in range(BLOCKS):
        noise = corrector.stream(seed, block * block_size(CPU), block_size(CPU), CPU)

        def observe(i: int, x: torch.Tensor, memory: Any) -> None:
            if memory is not None:
                sizes.append(memory.ess.min().item())
                if i == STEPS:
                    means.append(memory.log_mean[0].item())

        x = corrector.walk(tilt, corrector.start(tilt.schedule, noise), noise, observe=observe)
        blocks.append(x[:: corrector.per_sample])
    found: dict[str, Any] = {"corrected": divergence(torch.cat(blocks)), "ess": min(sizes), "log Z": means}
    for name, denoiser in {"sum": tilt, "scaled": naive}.items():
        if denoiser is not None:
            found[name] = divergence(ancestral(denoiser, n, torch.Generator().manual_seed(SEED + seed)))
    return found


def markdown(table: dict[str, Any]) -> str:
    """The table of the page."""
    lines = ["| target | exact | scaled score | sum of scores | corrected | ESS | log Z (estimate) |", "|---" * 7 + "|"]
    for name, row in table.items():
        draws = row["draws"]
        kl = [f"{row['exact']['kl']:.4f}"]
        for key in ("scaled", "sum", "corrected"):
            kl.append(f"{mean([d[key]['kl'] for d in draws]):.4f}" if key in draws[0] else "")
        means = torch.tensor([log_Z for d in draws for log_Z in d["log Z"]])
        estimate = (means.logsumexp(dim=0) - torch.tensor(float(len(means))).log()).item()
        size, log_Z = f"{min(d['ess'] for d in draws):.2f}", f"{row['log Z']:.3f} ({estimate:.3f})"
        lines.append(f"| {' | '.join([name.replace(' | ', ', ').replace('_', ' '), *kl, size, log_Z])} |")
    return "\n".join(lines) + "\n"


@torch.no_grad()
def main(draws: int = DRAWS, rows: Sequence[tuple[Distribution, EDM, int]] = ROWS) -> None:
    """All rows, as many draws of each."""
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    for p, schedule, cells in rows:
        whole = ExactDenoiser(p, schedule)
        one = whole.conditioned_on(CLASS)
        cases: dict[str, tuple[list[ExactDenoiser], list[float], ScaledScore | None]] = {
            **{f"p^{b:g}": ([whole], [b], ScaledScore(whole, b)) for b in (0.5, 2.0)},
            **{f"w = {w:g}": ([whole, one], [1.0 - w, w], None) for w in (1.5, 3.0)},
        }
        for name, (denoisers, exponents, naive) in cases.items():
            key = f"{p.name} | {name}"
            if key in table and len(table[key]["draws"]) >= draws:
                continue
            truth = GridDensity([d.distribution for d in denoisers], exponents, cells=cells)
            divergence = Divergence(truth)
            if key not in table:
                floor = exact(divergence, BLOCKS * block_size(CPU))
                table[key] = {"exact": floor, "log Z": truth.log_integral, "draws": []}
            for seed in range(len(table[key]["draws"]), draws):
                table[key]["draws"].append(draw(divergence, Tilt(denoisers, exponents), naive, seed))
            TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
            print(key, table[key], flush=True)
    TABLE.with_suffix(".md").write_text(markdown(table), encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS)
