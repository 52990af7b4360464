"""Picture and tables of `docs/posteriors.md`: `python -m docs.figures.posteriors`, half an hour on one core.

For each prior and observation, the sliced W1 distance to the exact posterior over the noise floor of as many samples:
of the rules and of particles with a perfect prior, of 20 000 samples for the first prior and of 4096 for all; and the
same with a trained network. Three seeds, one for the networks of all priors but the first. What is in the table already
is not measured again.
"""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib import rc_context
from torch import Tensor

from docs.figures.parts import IMAGES, TABLES, generator, model, small_png, trained
from toy_score import (
    DPS,
    EDM,
    PGDM,
    TMPD,
    Angular,
    DDPMAncestral,
    Denoiser,
    Distribution,
    EightGaussians,
    ExactDenoiser,
    FeynmanKac,
    Heart,
    LinearObservation,
    NCSNMixture,
    Posterior,
    Sampler,
    ScoreModule,
    SplitNormal,
    TwistedDiffusion,
)
from toy_score.metrics import SlicedWasserstein
from toy_score.plotting import posterior

PRIORS: list[Distribution] = [EightGaussians(), Heart(), SplitNormal(), NCSNMixture()]
OBSERVATIONS = [LinearObservation([[1.0, 0.0]], [y], s) for y, s in ((1.0, 0.3), (0.0, 1.0), (2.0, 0.1))]
ANCESTRAL = DDPMAncestral(n_steps=256, grid=Angular())
MANY, FEW = 20_000, 4096  # samples
FLOORS = 64
LARGEST = 1000.0  # distances beyond are not told apart: some samples have left for infinity
LETTERS = 13  # legible where a page shows the picture at half its size
TABLE = TABLES / "posteriors.json"
Table = dict[str, list[float | None]]


def methods(prior: Denoiser, data_std: float, o: LinearObservation) -> dict[str, tuple[Sampler, Denoiser]]:
    """By name, the sampler and the denoiser."""
    corrected = Posterior(prior, o, TMPD())
    return {
        "prior": (ANCESTRAL, prior),
        "DPS": (ANCESTRAL, Posterior(prior, o, DPS())),
        "PGDM": (ANCESTRAL, Posterior(prior, o, PGDM(data_std))),
        "TMPD": (ANCESTRAL, corrected),
        "FK": (FeynmanKac(), corrected),
        "TDS": (TwistedDiffusion(), corrected),
    }


def measure(
    p: Distribution,
    o: LinearObservation,
    kind: str,
    prior: Denoiser,
    names: list[str],
    n: int,
    seeds: int,
    table: Table,
) -> None:
    """Add the distances of these methods, in noise floors of `n` samples, to the table, one for each seed."""
    q = p.posterior(o)
    metric = SlicedWasserstein(q)

    def distance(x: Tensor) -> float:
        metric.reset()
        metric.update(x)
        return metric.compute().item()

    floor = 0.0
    known = {"exact": (ANCESTRAL, ExactDenoiser(q, prior.schedule))}
    for name, (sampler, denoiser) in (known | methods(prior, p.reference(8192).std(dim=0).mean().item(), o)).items():
        key = f"{p.name} | {o.value[0]:g} +- {o.std:g} | {kind} | {name}"
        if name not in names or key in table:
            continue
        draws = (q.sample(n, torch.Generator().manual_seed(100 + k)) for k in range(FLOORS))
        floor = floor or sum(map(distance, draws)) / FLOORS
        samples = (sampler(denoiser, n, torch.Generator().manual_seed(seed)) for seed in range(seeds))
        values = (distance(x) / floor for x in samples)
        table[key] = [value if math.isfinite(value) else None for value in values]
        TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        TABLE.with_suffix(".md").write_text(markdown(table), encoding="utf-8")
        print(key, *(written(value) for value in table[key]), flush=True)


def trained_on(p: Distribution, runs: Path) -> ScoreModule:
    """The model of the prior's config; NCSN's mixture, which has none, takes that of the eight Gaussians."""
    if isinstance(p, NCSNMixture):
        return ScoreModule.load_from_checkpoint(trained("edm_eight_gaussians", runs, "--data", "NCSNMixtureDataModule"))
    return model(f"edm_{p.name}", runs)


def picture(prior: ExactDenoiser, o: LinearObservation) -> None:
    """2000 samples of each method beside the exact posterior."""
    p = prior.distribution
    chosen = methods(prior, p.reference(8192).std(dim=0).mean().item(), o)
    samples = {
        name: replace(sampler, n_steps=128)(denoiser, 2000, generator())
        for name, (sampler, denoiser) in chosen.items()
        if name != "prior"
    }
    title = f"Posterior samplers with a perfect prior, x observed as {o.value[0]} ± {o.std}"
    with rc_context({"font.size": LETTERS}):
        figure = posterior(samples, p.posterior(o).sample(2000, generator()), p, o, title)
        (IMAGES / "posteriors.png").write_bytes(small_png(figure))


def written(value: float | None) -> str:
    """A distance in floors, or that some samples left for infinity."""
    return "lost" if value is None or value > LARGEST else f"{value:.3g}"


def markdown(table: Table) -> str:
    """The tables of the page: of the first prior with many samples, and of all priors, perfect and trained."""
    methods = {"prior": "prior itself", "DPS": "DPS", "PGDM": "PGDM", "TMPD": "TMPD", "TDS": "TDS"}
    labels = [f"{o.value[0]:g} +- {o.std:g}" for o in OBSERVATIONS]
    columns = [*methods.values(), "exact posterior"]

    def cell(row: str, name: str, scatter: bool = False) -> str:
        values = table.get(f"{row} | {name}", [])
        found = torch.tensor([math.inf if value is None else value for value in values])
        text = written(found.mean().item()) if values else ""
        return f"{text} ({found.std():.1g})" if values and scatter else text

    lines = [f"| observation | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for label in labels:
        row = f"{PRIORS[0].name} | {label} | perfect, many"
        lines.append(f"| {label} | {' | '.join(cell(row, name, True) for name in [*methods, 'exact'])} |")
    lines += ["", f"| prior, observation | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for p in PRIORS:
        for label in labels:
            row = f"{p.name} | {label}"
            both = [[cell(f"{row} | {kind}", name) for kind in ("perfect", "network")] for name in methods]
            text = [*(" / ".join(filter(None, pair)) for pair in both), cell(f"{row} | perfect", "exact")]
            lines.append(f"| {p.name.replace('_', ' ')}, {label} | {' | '.join(text)} |")
    return "\n".join(lines) + "\n"


@torch.no_grad()
def main(runs: Path) -> None:
    """All rows, those of the eight Gaussians first."""
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    schedule, first = EDM(sigma_min=0.02, sigma_max=500.0), PRIORS[0]
    rules = ["exact", "prior", "DPS", "PGDM", "TMPD", "TDS"]
    perfect = ExactDenoiser(first, schedule)
    for o in OBSERVATIONS:
        measure(first, o, "perfect, many", perfect, rules, MANY, 3, table)
    for p in PRIORS:
        for o in OBSERVATIONS:
            measure(p, o, "perfect", ExactDenoiser(p, schedule), rules, FEW, 3, table)
    for p in PRIORS:
        network = trained_on(p, runs).denoiser
        for o in OBSERVATIONS:
            measure(p, o, "network", network, rules[1:], FEW, 3 if p is first else 1, table)
    picture(perfect, OBSERVATIONS[0])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "posterior_runs"))
