"""Quality against evaluations of the denoiser, for every sampler, with the exact denoiser in the network's place.

    python -m docs.figures.samplers [--folder DIR]

The grid is evaluated as `compare` evaluates it: the sliced W1 of 20 000 samples to the exact distribution, the mean of
four seeds, as a multiple of its noise floor (the value that exact samples get). What remains is the error of the
sampler: its steps and its prior. Most samplers run on a schedule from 0.02 to 500, on which the prior costs nothing; a
second table has the schedules and samplers of NCSN and DDPM. Writes `docs/tables/samplers.md`, `.json`,
`docs/tables/exact.md` and `docs/images/samplers.png`. An interrupted run continues with the same DIR.
"""

import argparse
import colorsys
import itertools
import json
import tempfile
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.timing import machine, markdown
from docs.figures.parts import IMAGES, TABLES
from toy_score import (
    DDIM,
    DDPM,
    EDM,
    SRA1,
    VE,
    AdamsBashforth,
    AdaptiveDormandPrince,
    Angular,
    AnnealedLangevin,
    ConsistentAnnealedSampling,
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
    LangevinCorrector,
    LinearFlow,
    PredictorCorrector,
    Restart,
    ReverseDiffusion,
    RungeKutta4,
    SDEDPMSolver2M,
    SplitNormal,
    StochasticMidpoint,
    Trailing,
)
from toy_score.compare.contestants import WIDE, Cell, Contestant
from toy_score.compare.grid import Protocol, evaluate
from toy_score.compare.samplers import short
from toy_score.compare.store import Store
from toy_score.samplers import Sampler
from toy_score.schedules import Schedule

PROTOCOL = Protocol(n_samples=20_000, seeds=4)
GOOD = 1.2  # times the noise floor
TOYS = [Heart(), SplitNormal(), EightGaussians()]
NO_PRIOR, LINE = EDM(0.02, 500.0), LinearFlow(0.02, 500.0)
ON_THE_LINE = {"DPMSolver2M", "ExponentialAdams"}
FLOW: dict[str, list[Sampler]] = {
    "RungeKutta4": [RungeKutta4(n) for n in (3, 4, 5, 8)],
    "AdamsBashforth": [AdamsBashforth(n) for n in (6, 8, 11, 16, 24)],
    "DPMSolver2M": [DPMSolver2M(n, Trailing()) for n in (8, 12, 16, 24, 40)],
    "ExponentialAdams": [ExponentialAdams(n, 4, Trailing()) for n in (8, 12, 16, 24, 40)],
    "AdaptiveDormandPrince": [AdaptiveDormandPrince(tolerance) for tolerance in (1e-1, 1e-2, 1e-3)],
    "DormandPrince": [DormandPrince(n) for n in (3, 4, 6, 8)],
    "Heun": [Heun(n) for n in (8, 16, 32, 64)],
    "Euler": [Euler(n) for n in (16, 64, 256, 1024)],
}
STOCHASTIC: dict[str, list[Sampler]] = {
    "Restart": [Restart(n) for n in (5, 6)],
    "StochasticMidpoint": [StochasticMidpoint(n) for n in (12, 16, 24)],
    "EDMStochastic": [EDMStochastic(n, S_churn=5.0) for n in (16, 24, 32)],
    "SRA1": [SRA1(n) for n in (16, 32, 48)],
    "SDEDPMSolver2M": [SDEDPMSolver2M(n) for n in (32, 64, 80)],
    "DDIM, eta 0.5": [DDIM(n, 0.5) for n in (64, 128, 160)],
    "DDPMAncestral": [DDPMAncestral("posterior", n, Angular()) for n in (64, 128, 192)],
    "EulerMaruyama": [EulerMaruyama(n) for n in (64, 128, 192)],
    "ReverseDiffusion": [ReverseDiffusion(n) for n in (64, 128, 256)],
}
LANGEVIN: dict[str, list[Sampler]] = {
    "PredictorCorrector, RK4": [PredictorCorrector(RungeKutta4(n), LangevinCorrector(0.1)) for n in (4, 6)],
    "ConsistentAnnealedSampling": [ConsistentAnnealedSampling(n, 2.0, 1.5, Angular()) for n in (32, 64, 128)],
    "PredictorCorrector": [PredictorCorrector(ReverseDiffusion(n)) for n in (32, 128)],
    "AnnealedLangevin": [
        AnnealedLangevin(k, eps=4e-4, n_levels=levels) for levels, k in ((40, 10), (80, 20), (80, 60))
    ],
}
GROUPS = {"the flow": FLOW, "stochastic": STOCHASTIC, "Langevin": LANGEVIN}
MODELS: list[tuple[Schedule, Sampler]] = [
    (VE(0.01, 20.0), StochasticMidpoint(32)),
    (VE(0.01, 20.0), ConsistentAnnealedSampling(128, 2.0, 1.5, Angular())),
    (VE(0.01, 5.0), Heun(40)),
    (VE(0.01, 20.0), Heun(40)),
    (DDPM(), Heun(40)),
    (DDPM(), DDPMAncestral("posterior", n_steps=100)),
    (DDPM(), DDPMAncestral("forward")),  # the original study's DDPM
    (VE(0.01, 5.0), AnnealedLangevin(uniform_start=1.5)),  # the original study's NCSN
]
"""Schedules and samplers as models have them."""


def main() -> None:
    """Evaluate the cells that are not yet in DIR, and write tables and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=None, metavar="DIR")
    folder = Path(parser.parse_args().folder or tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    families = {family: samplers for group in GROUPS.values() for family, samplers in group.items()}
    grid = [
        (family, LINE if family in ON_THE_LINE else NO_PRIOR, s) for family, tried in families.items() for s in tried
    ]
    grid += [("models", schedule, sampler) for schedule, sampler in MODELS]
    cells = [[cell(p, schedule, family, sampler) for p in TOYS] for family, schedule, sampler in grid]
    store = Store(folder, {"n_samples": PROTOCOL.n_samples, "seeds": PROTOCOL.seeds}, {"machine": machine()})
    everything = [c for row in cells for c in row]
    evaluate(everything, PROTOCOL, store, lambda c: print(c.key, store.rows[c.key]["sliced_w1_ratio"], flush=True))
    rows = [
        {
            "family": family,
            "schedule": f"`{short(schedule)}`",
            "sampler": f"`{short(sampler)}`",
            "evaluations": sampler.nfe(schedule),
            **{title(p): f"{store.rows[c.key]['sliced_w1_ratio']:.2f}" for p, c in zip(TOYS, row, strict=True)},
        }
        for (family, schedule, sampler), row in zip(grid, cells, strict=True)
    ]
    (TABLES / "samplers.json").write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    (TABLES / "samplers.md").write_text(best(rows, families) + "\n")
    models = [{key: row[key] for key in row if key != "family"} for row in rows if row["family"] == "models"]
    (TABLES / "exact.md").write_text(markdown(models) + "\n")
    picture(rows).savefig(IMAGES / "samplers.png")


def cell(p: Heart | SplitNormal | EightGaussians, schedule: Schedule, family: str, sampler: Sampler) -> Cell:
    """The exact denoiser of a distribution on a schedule, with a sampler."""
    return Cell(Contestant(f"exact, {schedule!r}", WIDE, ExactDenoiser(p, schedule), p), sampler, family, own=False)


def title(p: Heart | SplitNormal | EightGaussians) -> str:
    return p.name.replace("_", " ")


def worst(row: dict[str, str]) -> float:
    """The largest multiple of the noise floor on the three toys."""
    return max(float(row[title(p)]) for p in TOYS)


def best(rows: list[dict[str, str]], families: dict[str, list[Sampler]]) -> str:
    """Per family, the fewest evaluations tried that reach 1.2 noise floors on all toys; else the most tried."""
    table = []
    for family in families:
        tried = [row for row in rows if row["family"] == family]
        row = next((row for row in tried if worst(row) <= GOOD), tried[-1])
        schedule = row["schedule"].partition("(")[0] + "`"  # both are from 0.02 to 500
        others = {key: row[key] for key in row if key not in ("family", "schedule", "sampler")}
        table.append({"sampler": row["sampler"], "schedule": schedule, **others})
    return markdown(table)


def picture(rows: list[dict[str, str]]) -> Figure:
    """Quality on the worst of the three toys against evaluations: a panel for each kind, a line for each sampler."""
    figure = Figure(figsize=(12, 5.2), dpi=125)
    axes = figure.subplots(1, len(GROUPS), sharex=True, sharey=True)
    colours = map(colour, itertools.count())
    for ax, (group, families) in zip(axes, GROUPS.items(), strict=True):
        ends = []
        for family, its in zip(families, colours, strict=False):
            points = sorted((int(row["evaluations"]), worst(row)) for row in rows if row["family"] == family)
            ax.loglog(*zip(*points, strict=True), "o-", color=its, markersize=4, linewidth=1.4)
            ends.append((points[0], family, its))
        names(ax, ends)
        ax.axhspan(0.5, GOOD, color="#e8f0e8", zorder=0)
        ax.set(title=group, xlabel="evaluations of the denoiser", xlim=(5, 9000), ylim=(0.7, 150))
        ax.grid(color="#eeeeee", which="both")
    axes[0].set_ylabel("sliced W1 / noise floor, worst of three toys")
    figure.suptitle(
        f"Every sampler with the exact denoiser; shaded: within {GOOD} x the noise floor", fontweight="bold"
    )
    figure.subplots_adjust(left=0.055, right=0.99, bottom=0.11, top=0.86, wspace=0.05)
    return figure


def colour(i: int) -> tuple[float, float, float]:
    """A colour for each sampler: neighbours have hues far apart and different brightness, and none comes twice."""
    return colorsys.hls_to_rgb((0.58 + 0.618034 * i) % 1.0, (0.36, 0.46, 0.28)[i % 3], 0.7)


def names(ax: Axes, ends: list[tuple[tuple[int, float], str, tuple[float, float, float]]]) -> None:
    """A column of names in the colours of their lines, in the order in which the lines begin."""
    for k, (_, family, color) in enumerate(sorted(ends)):
        place = {"transform": ax.transAxes, "ha": "right", "va": "center"}
        ax.text(0.98, 0.96 - 0.055 * k, family, color=color, fontsize=9, fontweight="bold", **place)


if __name__ == "__main__":
    main()
