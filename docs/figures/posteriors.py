"""The table of `docs/posteriors.md`: `python -m docs.figures.posteriors`, half an hour on one core.

For each prior and observation, the sliced W1 distance to the exact posterior of 20 000 samples, over the noise floor,
for three seeds: of the rules with a perfect prior, of particles, and of the rules with a trained network. Rows that are
in the table already are not measured again.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from docs.figures.parts import TABLES, model
from toy_score import (
    DPS,
    EDM,
    PGDM,
    TMPD,
    Angular,
    Checkerboard,
    DDPMAncestral,
    Denoiser,
    Distribution,
    EightGaussians,
    ExactDenoiser,
    FeynmanKac,
    Heart,
    LinearObservation,
    Moons,
    Posterior,
    Sampler,
    TwistedDiffusion,
)
from toy_score.metrics import SlicedWasserstein

PRIORS: list[Distribution] = [EightGaussians(), Moons(), Heart(), Checkerboard()]
OBSERVATIONS = [LinearObservation([[1.0, 0.0]], [y], s) for y, s in ((1.0, 0.3), (0.0, 1.0), (2.0, 0.1))]
ANCESTRAL = DDPMAncestral(n_steps=256, grid=Angular())
SEEDS, N, FLOORS = (0, 1, 2), 20_000, 16
TABLE = TABLES / "posteriors.json"


def methods(
    prior: Denoiser, spread: float, exact: Denoiser | None, o: LinearObservation
) -> dict[str, Callable[[int], Tensor]]:
    """By name, how samples of a seed are made."""

    def by(sampler: Sampler, denoiser: Denoiser) -> Callable[[int], Tensor]:
        return lambda seed: sampler(denoiser, N, torch.Generator().manual_seed(seed))

    found = {"exact": by(ANCESTRAL, exact)} if exact is not None else {}
    found |= {
        "prior": by(ANCESTRAL, prior),
        "DPS": by(ANCESTRAL, Posterior(prior, o, DPS())),
        "PGDM": by(ANCESTRAL, Posterior(prior, o, PGDM(spread))),
        "TMPD": by(ANCESTRAL, Posterior(prior, o, TMPD())),
        "FK": by(FeynmanKac(), Posterior(prior, o, TMPD())),
        "TDS": by(TwistedDiffusion(), Posterior(prior, o, TMPD())),
        "TDS, 4 particles": by(TwistedDiffusion(per_sample=4), Posterior(prior, o, TMPD())),
    }
    return found


def measure(
    p: Distribution, o: LinearObservation, prior: Denoiser, names: list[str], table: dict[str, list[float]]
) -> None:
    """Add the distances of these methods, in noise floors, to the table."""
    q, kind = p.posterior(o), "exact" if isinstance(prior, ExactDenoiser) else "network"
    metric = SlicedWasserstein(q)

    def distance(x: Tensor) -> float:
        metric.reset()
        metric.update(x)
        return metric.compute().item()

    floor = sum(distance(q.sample(N, torch.Generator().manual_seed(100 + k))) for k in range(FLOORS)) / FLOORS
    known = ExactDenoiser(q, prior.schedule) if kind == "exact" else None
    for name, samples in methods(prior, p.reference(8192).std(dim=0).mean().item(), known, o).items():
        key = f"{p.name} | {o.value[0]:g} +- {o.std:g} | {kind} | {name}"
        if name not in names or key in table:
            continue
        table[key] = [distance(samples(seed)) / floor for seed in SEEDS]
        TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        print(key, *(f"{value:.2f}" for value in table[key]), flush=True)


@torch.no_grad()
def main(runs: Path) -> None:
    """All rows, those of the eight Gaussians first."""
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    rules = ["exact", "prior", "DPS", "PGDM", "TMPD", "TDS"]
    for p in PRIORS:
        exact = ExactDenoiser(p, EDM(sigma_min=0.02, sigma_max=500.0))
        for o in OBSERVATIONS:
            measure(p, o, exact, rules, table)
    for o in OBSERVATIONS:
        measure(
            PRIORS[0],
            o,
            ExactDenoiser(PRIORS[0], EDM(sigma_min=0.02, sigma_max=500.0)),
            ["FK", "TDS, 4 particles"],
            table,
        )
    network = model("edm_eight_gaussians", runs).denoiser
    for o in OBSERVATIONS:
        measure(PRIORS[0], o, network, ["prior", "DPS", "PGDM", "TMPD", "TDS"], table)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "/tmp/toy_score_posteriors"))
