"""Tables of `docs/inference.md`: `python -m docs.figures.inference`, ten minutes on one core.

For the ten observations of the benchmark, and one more, that the prior cuts, of the model of
`configs/two_moons_inference.yaml`: the C2ST of 10 000 samples, of those that are in the prior's square, and of exact
samples; sliced W1 over its noise floor; how many samples are outside the square; the normalised score error at some
noise levels. For some observations the same of the exact posterior's denoiser. What is in the table already is not
measured again.
"""

import json
import sys
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

from docs.figures.parts import TABLES, model
from toy_score import Denoiser, Distribution, ExactDenoiser, ScoreModule, TwoMoonsInference
from toy_score.metrics import C2ST, ScoreError, SlicedWasserstein

BENCHMARK = [
    (-0.6396706, 0.16234657),
    (-0.5676688, -0.33194834),
    (0.0030109584, -0.6457662),
    (-0.25049388, 0.633055),
    (-0.66463584, -0.42604533),
    (-0.12940255, 0.3873573),
    (0.19458583, 1.0400153),
    (0.13603824, 0.9160449),
    (-0.17962828, -0.5452459),
    (0.14563406, -1.170141),
]
"""Observations 1 to 10 of sbibm (Lueckmann et al. 2021), `sbibm/tasks/two_moons/files` in its repository."""

CUT = (-0.2, -0.9)
EXACT = [BENCHMARK[0], BENCHMARK[4]]  # of which the exact denoiser is sampled as well, which takes a while
LEVELS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
N, FLOORS, POINTS = 10_000, 16, 4096
TABLE = TABLES / "inference.json"
Row = dict[str, float]


def inside(x: Tensor) -> Tensor:
    """Which parameters are in the prior's square, `(n,)`."""
    return (x.abs() <= 1.0).all(dim=1)


def drawn(trained: ScoreModule, denoiser: Denoiser, q: Distribution, floor: float) -> Row:
    """C2ST and sliced W1 of samples, C2ST of those in the square, as many, and the share outside."""

    def draw(first: int) -> Tensor:
        return trained.sampler(denoiser, N, torch.Generator().manual_seed(0), first=first)

    x = draw(0)
    allowed, share = x[inside(x)], 1.0 - inside(x).double().mean().item()
    if len(allowed) < N:
        more = draw(N)
        allowed = torch.cat([allowed, more[inside(more)]])[:N]
    return {
        "C2ST": c2st(q, x),
        "C2ST inside": c2st(q, allowed),
        "W1": distance(q, x) / floor,
        "W1 inside": distance(q, allowed) / floor,
        "outside": share,
    }


def c2st(q: Distribution, x: Tensor) -> float:
    """The accuracy of the classifier."""
    metric = C2ST(q, N)
    metric.update(x)
    return metric.compute().item()


def distance(q: Distribution, x: Tensor) -> float:
    """Sliced W1."""
    metric = SlicedWasserstein(q)
    metric.update(x)
    return metric.compute().item()


def errors(denoiser: Denoiser, q: Distribution) -> list[float]:
    """The normalised score error at each of the levels."""
    metric, generator = ScoreError(LEVELS), torch.Generator().manual_seed(1)
    metric.update(denoiser, ExactDenoiser(q, denoiser.schedule), q.sample(POINTS, generator), generator)
    return metric.compute().tolist()


def markdown(table: dict[str, dict[str, Row]]) -> str:
    """The tables of the page."""
    columns = ["C2ST", "C2ST inside", "exact samples", "W1", "W1 inside", "outside"]
    lines = [f"| observation | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    rows = {name: row["model"] | {"exact samples": row["exact samples"]["C2ST"]} for name, row in table.items()}
    known = [rows[key(c)] for c in BENCHMARK if key(c) in rows]
    rows["mean of the ten"] = {column: mean([row[column] for row in known]) for column in columns}
    rows |= {f"{name}, exact denoiser": row["exact denoiser"] for name, row in table.items() if "exact denoiser" in row}
    for name, row in rows.items():
        lines.append(f"| {name} | {' | '.join(f'{row[column]:.3f}' if column in row else '' for column in columns)} |")
    lines += ["", f"| score error at | {' | '.join(map(str, LEVELS))} |", "|---" * (len(LEVELS) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{e:.4f}' for e in row['errors'].values())} |" for name, row in table.items()]
    return "\n".join(lines) + "\n"


def key(condition: tuple[float, float]) -> str:
    """The name of a row."""
    return ", ".join(f"{value:.3f}" for value in condition)


@torch.no_grad()
def main(runs: Path) -> None:
    """All rows."""
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    trained = model("two_moons_inference", runs)
    for condition in [*BENCHMARK, CUT]:
        q = TwoMoonsInference().conditioned_on(condition)
        row = table.setdefault(key(condition), {})
        draws = [q.sample(N, torch.Generator().manual_seed(100 + k)) for k in range(FLOORS)]
        floor = mean(distance(q, x) for x in draws)
        denoisers = {"model": trained.denoiser.conditioned_on(condition)}
        if condition in EXACT:
            denoisers["exact denoiser"] = ExactDenoiser(q, trained.schedule)
        for name, denoiser in denoisers.items():
            if name not in row:
                row[name] = drawn(trained, denoiser, q, floor)
        if "exact samples" not in row:
            row["exact samples"] = {"C2ST": c2st(q, draws[0])}
            row["errors"] = dict(zip(map(str, LEVELS), errors(denoisers["model"], q), strict=True))
        TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        TABLE.with_suffix(".md").write_text(markdown(table), encoding="utf-8")
        print(key(condition), row, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "inference_runs"))
