"""Picture and table of `docs/posteriors.md`: `python -m docs.figures.posteriors`, half an hour on one core.

For each prior and observation, the sliced W1 distance to the exact posterior of 20 000 samples (4096 for the other
priors and for the networks), over the noise floor, for three seeds: of the rules with a perfect prior, of particles,
and of both with a trained network. Rows that are in the table already are not measured again.
"""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from docs.figures.parts import IMAGES, TABLES, generator, model, trained
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
from toy_score.plotting import posterior, to_png

PRIORS: list[Distribution] = [EightGaussians(), Heart(), SplitNormal(), NCSNMixture()]
OBSERVATIONS = [LinearObservation([[1.0, 0.0]], [y], s) for y, s in ((1.0, 0.3), (0.0, 1.0), (2.0, 0.1))]
ANCESTRAL = DDPMAncestral(n_steps=256, grid=Angular())
SEEDS, FLOORS = range(3), 64
COLOURS = 64  # of the picture, whose file is a quarter as large for it
TABLE = TABLES / "posteriors.json"
Table = dict[str, list[float]]


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
    p: Distribution, o: LinearObservation, kind: str, prior: Denoiser, names: list[str], n: int, table: Table
) -> None:
    """Add the distances of these methods, in noise floors of `n` samples, to the table."""
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
        samples = (sampler(denoiser, n, torch.Generator().manual_seed(seed)) for seed in SEEDS)
        table[key] = [distance(x) / floor for x in samples]
        TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        TABLE.with_suffix(".md").write_text(markdown(table), encoding="utf-8")
        print(key, *(f"{value:.2f}" for value in table[key]), flush=True)


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
    image = posterior(samples, p.posterior(o).sample(2000, generator()), p, o, title)
    png = Image.open(io.BytesIO(to_png(image))).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    png.save(IMAGES / "posteriors.png", optimize=True)


def markdown(table: Table) -> str:
    """The table of the page: a row for each prior and observation, a column for each method."""
    columns = ["prior", "DPS", "PGDM", "TMPD", "FK", "TDS", "exact"]
    lines = [f"| prior, observation, denoiser | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in dict.fromkeys(key.rpartition(" | ")[0] for key in table):
        cells = [torch.tensor(table.get(f"{row} | {column}", [])) for column in columns]
        text = [f"{cell.mean():.3g} ({cell.std():.1g})" if len(cell) else "" for cell in cells]
        lines.append(f"| {row.replace(' | ', ', ').replace('_', ' ')} | {' | '.join(text)} |")
    return "\n".join(lines) + "\n"


@torch.no_grad()
def main(runs: Path) -> None:
    """All rows, those of the eight Gaussians first."""
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    schedule, first = EDM(sigma_min=0.02, sigma_max=500.0), PRIORS[0]
    rules = ["exact", "prior", "DPS", "PGDM", "TMPD", "TDS"]
    perfect = ExactDenoiser(first, schedule)
    for o in OBSERVATIONS:
        measure(first, o, "perfect", perfect, rules, 20_000, table)
    for p in PRIORS[1:]:
        for o in OBSERVATIONS:
            measure(p, o, "perfect", ExactDenoiser(p, schedule), rules, 4096, table)
    for p in PRIORS:
        network = trained_on(p, runs).denoiser
        for o in OBSERVATIONS:
            measure(p, o, "network", network, rules[1:], 4096, table)
    for o in OBSERVATIONS:
        measure(first, o, "perfect", perfect, ["FK"], 20_000, table)
    picture(perfect, OBSERVATIONS[0])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "posterior_runs"))
