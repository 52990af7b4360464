"""Table of `docs/inference.md`: `python -m docs.figures.inference`, with the training some minutes on one core.

For some observations, the C2ST of 10 000 samples of the model of `configs/two_moons_inference.yaml`, of the exact
posterior's denoiser with the same sampler, and of exact samples; and sliced W1 over its noise floor. Rows that are in
the table already are not measured again.
"""

import json
import sys
from pathlib import Path

import torch

from docs.figures.parts import TABLES, model
from toy_score import ExactDenoiser, TwoMoonsInference
from toy_score.metrics import C2ST, SlicedWasserstein

CONDITIONS = [(0.0, 0.0), (-0.5, 0.3), (-0.2, -0.9)]
N, FLOORS = 10_000, 16
TABLE = TABLES / "inference.json"


def markdown(table: dict[str, dict[str, float]]) -> str:
    """The table of the page."""
    columns = list(next(iter(table.values())))
    lines = [f"| observation | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{row[column]:.3f}' for column in columns)} |" for name, row in table.items()]
    return "\n".join(lines) + "\n"


@torch.no_grad()
def main(runs: Path) -> None:
    """All rows."""
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    trained = model("two_moons_inference", runs)
    for condition in CONDITIONS:
        key = ", ".join(map(str, condition))
        if key in table:
            continue
        q = TwoMoonsInference().conditioned_on(condition)
        test, distance = C2ST(q, N), SlicedWasserstein(q)

        def measured(metric: C2ST | SlicedWasserstein, x: torch.Tensor) -> float:
            metric.reset()
            metric.update(x)
            return metric.compute().item()

        draws = [q.sample(N, torch.Generator().manual_seed(100 + k)) for k in range(FLOORS)]
        floor = sum(measured(distance, x) for x in draws) / FLOORS
        denoisers = {
            "model": trained.denoiser.conditioned_on(condition),
            "exact denoiser": ExactDenoiser(q, trained.schedule),
        }
        samples = {
            name: trained.sampler(denoiser, N, torch.Generator().manual_seed(0)) for name, denoiser in denoisers.items()
        }
        table[key] = {f"C2ST, {name}": measured(test, x) for name, x in (samples | {"exact samples": draws[0]}).items()}
        table[key] |= {f"W1, {name}": measured(distance, x) / floor for name, x in samples.items()}
        TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        TABLE.with_suffix(".md").write_text(markdown(table), encoding="utf-8")
        print(key, table[key], flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "inference_runs"))
