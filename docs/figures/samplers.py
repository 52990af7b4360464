"""Quality against evaluations of the denoiser, for every sampler, with the exact denoiser in the network's place.

    python -m docs.figures.samplers [--folder DIR]

The grid is evaluated as `compare` evaluates it: the sliced W1 of 20 000 samples to the exact distribution, the mean of
four seeds, as a multiple of its noise floor (the value that exact samples get). What remains is the error of the
sampler: its steps and its prior. Most samplers run on a schedule from 0.02 to 500, on which the prior costs nothing; a
second table has the schedules and samplers of NCSN and DDPM. Writes `docs/tables/samplers.md`, `.json` and
`docs/images/samplers.png`. An interrupted run continues with the same DIR.
"""

import argparse
import json
import tempfile
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.timing import machine, markdown
from docs.figures.parts import IMAGES, TABLES
from toy_score import (
    DDIM,
    DDPM,
    EDM,
    VE,
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
from toy_score.compare.contestants import WIDE, Cell, Contestant
from toy_score.compare.grid import Protocol, evaluate
from toy_score.compare.store import Store
from toy_score.samplers import Sampler
from toy_score.schedules import Schedule

PROTOCOL = Protocol(n_samples=20_000, seeds=4)
GOOD = 1.2  # times the noise floor
TOYS = [Heart(), SplitNormal(), EightGaussians()]
NO_PRIOR, LINE = EDM(0.02, 500.0), LinearFlow(0.02, 500.0)
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
MODELS: list[tuple[Schedule, Sampler]] = [
    (VE(0.01, 5.0), AnnealedLangevin(uniform_start=1.5)),  # the original study's NCSN
    (VE(0.01, 5.0), AnnealedLangevin()),
    (VE(0.01, 20.0), AnnealedLangevin()),
    (VE(0.01, 20.0), AnnealedLangevin(steps_per_level=10, n_levels=40)),
    (VE(0.01, 20.0), AnnealedLangevin(steps_per_level=10, n_levels=40, eps=2.5e-4)),  # configs/ncsn_heart.yaml
    (VE(0.01, 5.0), Heun(40)),
    (VE(0.01, 20.0), Heun(40)),
    (DDPM(), DDPMAncestral("forward")),  # the original study's DDPM
    (DDPM(), DDPMAncestral("posterior")),
    (DDPM(), DDPMAncestral("posterior", n_steps=100)),
    (DDPM(), Heun(40)),
]
"""Schedules and samplers as models have them."""


def main() -> None:
    """Evaluate the cells that are not yet in DIR, and write tables and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=None, metavar="DIR")
    folder = Path(parser.parse_args().folder or tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    grid = [(family, LINE if family in ON_THE_LINE else NO_PRIOR, s) for family in FAMILIES for s in FAMILIES[family]]
    grid += [("models", schedule, sampler) for schedule, sampler in MODELS]
    cells = [[cell(p, schedule, family, sampler) for p in TOYS] for family, schedule, sampler in grid]
    store = Store(folder, {"n_samples": PROTOCOL.n_samples, "seeds": PROTOCOL.seeds}, {"machine": machine()})
    everything = [c for row in cells for c in row]
    evaluate(everything, PROTOCOL, store, lambda c: print(c.key, store.rows[c.key]["sliced_w1_ratio"], flush=True))
    rows = [
        {
            "family": family,
            "schedule": f"`{schedule!r}`",
            "sampler": f"`{sampler!r}`",
            "evaluations": sampler.nfe(schedule),
            **{title(p): f"{store.rows[c.key]['sliced_w1_ratio']:.2f}" for p, c in zip(TOYS, row, strict=True)},
        }
        for (family, schedule, sampler), row in zip(grid, cells, strict=True)
    ]
    (TABLES / "samplers.json").write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    (TABLES / "samplers.md").write_text(tables(rows))
    picture(rows).savefig(IMAGES / "samplers.png")


def cell(p: Heart | SplitNormal | EightGaussians, schedule: Schedule, family: str, sampler: Sampler) -> Cell:
    """The exact denoiser of a distribution on a schedule, with a sampler."""
    return Cell(Contestant(f"exact, {schedule!r}", WIDE, ExactDenoiser(p, schedule), p), sampler, family, own=False)


def title(p: Heart | SplitNormal | EightGaussians) -> str:
    return p.name.replace("_", " ")


def tables(rows: list[dict[str, str]]) -> str:
    """Per family, the fewest evaluations that reach 1.2 noise floors on all toys; then the models' own samplers."""
    best = []
    for family in FAMILIES:
        tried = [row for row in rows if row["family"] == family]
        good = [row for row in tried if max(float(row[title(p)]) for p in TOYS) <= GOOD]
        best.append({key: (good or tried[-1:])[0][key] for key in tried[0] if key not in ("family", "schedule")})
    models = [{key: row[key] for key in row if key != "family"} for row in rows if row["family"] == "models"]
    return f"{markdown(best)}\n\n{markdown(models)}\n\n{machine()}\n"


def picture(rows: list[dict[str, str]]) -> Figure:
    """Quality against evaluations, one panel per toy, one line per sampler."""
    figure = Figure(figsize=(13, 5.2), dpi=110)
    axes = figure.subplots(1, len(TOYS), sharey=True)
    for ax, p in zip(axes, TOYS, strict=True):
        for i, family in enumerate(FAMILIES):
            points = [(row["evaluations"], float(row[title(p)])) for row in rows if row["family"] == family]
            style = ("o-", "s--", "^:")[i // 6]
            ax.loglog(*zip(*points, strict=True), style, color=f"C{i % 6}", markersize=4, linewidth=1.2, label=family)
        ax.axhspan(0.5, GOOD, color="#e8f0e8", zorder=0)
        ax.set(title=title(p), xlabel="evaluations of the denoiser", ylim=(0.6, 100))
        ax.grid(color="#eeeeee", which="both")
    axes[0].set_ylabel("sliced W1 / noise floor")
    axes[-1].legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    figure.suptitle(
        f"Every sampler with the exact denoiser; shaded: within {GOOD} x the noise floor", fontweight="bold"
    )
    figure.subplots_adjust(left=0.055, right=0.845, bottom=0.11, top=0.86, wspace=0.06)
    return figure


if __name__ == "__main__":
    main()
