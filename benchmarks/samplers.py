"""Quality against evaluations of the denoiser, for every sampler, with a perfect network: the exact denoiser.

    python -m benchmarks.samplers

The sliced W1 of 20 000 samples to the exact law, as a multiple of its floor (1 is perfection), averaged over four
seeds. What is left is the sampler's own: its steps and its prior. The schedule reaches from 0.02 to 500, so that the
prior does not show; each sampler is tried with more and more steps. Results go to `benchmarks/results/`.
"""

import json
from pathlib import Path

import torch
from matplotlib.figure import Figure

from toy_score import (
    DDIM,
    EDM,
    AdamsBashforth,
    AdaptiveDormandPrince,
    AnnealedLangevin,
    DDPMAncestral,
    DormandPrince,
    DPMSolver2M,
    EDMStochastic,
    EightGaussians,
    Euler,
    EulerMaruyama,
    ExactDenoiser,
    ExponentialAdams,
    Heart,
    Heun,
    Karras,
    LangevinCorrector,
    LinearFlow,
    PredictorCorrector,
    ReverseDiffusion,
    RungeKutta4,
    SplitNormal,
    Trailing,
)
from toy_score.metrics import SlicedWasserstein, noise_floors
from toy_score.samplers import Sampler
from toy_score.schedules import Schedule

N, SEEDS = 20_000, 4
TOYS = [Heart(), SplitNormal(), EightGaussians()]
WIDE, LINE = EDM(0.02, 500.0), LinearFlow(0.02, 500.0)
ON_THE_LINE = {"DPMSolver2M", "ExponentialAdams"}
FAMILIES: dict[str, list[Sampler]] = {
    "AdamsBashforth": [AdamsBashforth(n) for n in (6, 8, 11, 16, 24)],
    "RungeKutta4": [RungeKutta4(n) for n in (3, 4, 5, 8)],
    "DormandPrince": [DormandPrince(n) for n in (3, 4, 6, 8)],
    "AdaptiveDormandPrince": [AdaptiveDormandPrince(tolerance) for tolerance in (1e-1, 1e-2, 1e-3)],
    "DPMSolver2M": [DPMSolver2M(n, Trailing()) for n in (8, 12, 16, 24, 40)],
    "ExponentialAdams": [ExponentialAdams(n, 4, Trailing()) for n in (8, 12, 16, 24, 40)],
    "Heun": [Heun(n) for n in (8, 16, 32, 64)],
    "Euler": [Euler(n) for n in (16, 64, 256, 1024)],
    "DDIM, eta 0.5": [DDIM(n, 0.5) for n in (16, 64, 256, 1024)],
    "EDMStochastic": [EDMStochastic(n) for n in (16, 32, 64, 128)],
    "EulerMaruyama": [EulerMaruyama(n) for n in (64, 256, 1024)],
    "ReverseDiffusion": [ReverseDiffusion(n) for n in (64, 256, 1024)],
    "DDPMAncestral": [DDPMAncestral("posterior", n, Karras()) for n in (64, 256, 1024)],
    "PredictorCorrector": [PredictorCorrector(ReverseDiffusion(n)) for n in (32, 128, 512, 1024)],
    "PredictorCorrector, Heun": [PredictorCorrector(Heun(n), LangevinCorrector(0.1)) for n in (16, 32, 64)],
    "AnnealedLangevin": [
        AnnealedLangevin(k, eps=4e-4, n_levels=levels) for levels, k in ((40, 10), (80, 20), (80, 60))
    ],
}


def main() -> None:
    """Print the table, and write `results/samplers.md`, `.json` and `.png`."""
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    floors = [noise_floors(p, N, draws=64)["sliced_w1"].mean for p in TOYS]
    rows = []
    for family, samplers in FAMILIES.items():
        schedule = LINE if family in ON_THE_LINE else WIDE
        for sampler in samplers:
            ratios = [distance(p, schedule, sampler) / floor for p, floor in zip(TOYS, floors, strict=True)]
            rows.append({"family": family, "sampler": repr(sampler), "nfe": sampler.nfe(schedule), "ratios": ratios})
            print(f"{family:<26}{rows[-1]['nfe']:>6}  " + "  ".join(f"{r:6.2f}" for r in ratios), flush=True)
    (results / "samplers.json").write_text(
        json.dumps({"n": N, "seeds": SEEDS, "floors": floors, "rows": rows}, indent=1)
    )
    (results / "samplers.md").write_text(table(rows))
    picture(rows).savefig(results.parents[1] / "docs/images/samplers.png")


def distance(p: Heart, schedule: Schedule, sampler: Sampler) -> float:
    """Mean sliced W1 over the seeds."""
    metric, total = SlicedWasserstein(p), 0.0
    for seed in range(SEEDS):
        metric.reset()
        metric.update(sampler(ExactDenoiser(p, schedule), N, torch.Generator().manual_seed(seed)))
        total += metric.compute().item()
    return total / SEEDS


def table(rows: list[dict]) -> str:
    """Per family, the fewest evaluations tried that bring all three toys to 1.2 times the floor."""
    names = [p.name.replace("_", " ") for p in TOYS]
    lines = [f"| sampler | evaluations | {' | '.join(names)} |", "|---|---|" + "---|" * len(TOYS)]
    for family in FAMILIES:
        tried = [row for row in rows if row["family"] == family]
        row = next((row for row in tried if max(row["ratios"]) <= 1.2), tried[-1])
        lines.append(f"| `{row['sampler']}` | {row['nfe']} | {' | '.join(f'{r:.2f}' for r in row['ratios'])} |")
    return "\n".join(lines) + "\n"


def picture(rows: list[dict]) -> Figure:
    """Quality against evaluations, one panel per toy, one line per sampler."""
    figure = Figure(figsize=(13, 5.2), dpi=110)
    axes = figure.subplots(1, len(TOYS), sharey=True)
    for k, (ax, p) in enumerate(zip(axes, TOYS, strict=True)):
        for i, family in enumerate(FAMILIES):
            points = [(row["nfe"], row["ratios"][k]) for row in rows if row["family"] == family]
            style = ("o-", "s--", "^:")[i // 6]
            ax.loglog(*zip(*points, strict=True), style, color=f"C{i % 6}", markersize=4, linewidth=1.2, label=family)
        ax.axhspan(0.5, 1.2, color="#e8f0e8", zorder=0)
        ax.set(title=p.name.replace("_", " "), xlabel="evaluations of the denoiser", ylim=(0.6, 100))
        ax.grid(color="#eeeeee", which="both")
    axes[0].set_ylabel("sliced W1 / floor")
    axes[-1].legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    figure.suptitle("Every sampler with a perfect network; shaded: within 1.2 x the floor", fontweight="bold")
    figure.subplots_adjust(left=0.055, right=0.845, bottom=0.11, top=0.86, wspace=0.06)
    return figure


if __name__ == "__main__":
    main()
