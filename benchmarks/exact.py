"""What samplers reach with a perfect network: the exact denoiser in its place.

    python -m benchmarks.exact

The sliced W1 of 20 000 samples to the exact law as a multiple of its floor, so 1 is perfection, averaged over four
seeds. What is left is the sampler's own: its steps, its start, its prior. Results go to `benchmarks/results/`.
"""

from pathlib import Path

import torch

from toy_score import DDPM, VE, AnnealedLangevin, DDPMAncestral, ExactDenoiser, Heart, Heun, SplitNormal
from toy_score.metrics import SlicedWasserstein, noise_floors

N, SEEDS = 20_000, 4
CASES = [
    (VE(0.01, 5.0), AnnealedLangevin(uniform_start=1.5)),  # the study's
    (VE(0.01, 5.0), AnnealedLangevin()),
    (VE(0.01, 20.0), AnnealedLangevin()),
    (VE(0.01, 20.0), AnnealedLangevin(steps_per_level=10, n_levels=40)),  # the fast configs'
    (VE(0.01, 5.0), Heun(20)),
    (VE(0.01, 20.0), Heun(20)),
    (VE(0.01, 20.0), Heun(40)),
    (DDPM(), DDPMAncestral("forward")),  # the study's
    (DDPM(), DDPMAncestral("posterior")),
    (DDPM(), DDPMAncestral("posterior", n_steps=100)),
    (DDPM(), Heun(40)),
]


def main() -> None:
    """Print the table and write `results/exact.md`."""
    toys = [Heart(), SplitNormal()]
    floors = [noise_floors(p, N)["sliced_w1"].mean for p in toys]
    lines = [f"| schedule | sampler | evaluations | {' | '.join(p.name.replace('_', ' ') for p in toys)} |"]
    lines += ["|---|---|---|---|---|"]
    for schedule, sampler in CASES:
        ratios = [f"{_distance(p, schedule, sampler) / floor:.2f}" for p, floor in zip(toys, floors, strict=True)]
        lines += [f"| `{schedule!r}` | `{sampler!r}` | {sampler.nfe(schedule)} | {' | '.join(ratios)} |"]
        print(lines[-1], flush=True)
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "exact.md").write_text("\n".join(lines) + "\n")


def _distance(p: Heart | SplitNormal, schedule: VE | DDPM, sampler: Heun) -> float:
    metric, total = SlicedWasserstein(p), 0.0
    for seed in range(SEEDS):
        metric.reset()
        metric.update(sampler(ExactDenoiser(p, schedule), N, torch.Generator().manual_seed(seed)))
        total += metric.compute().item()
    return total / SEEDS


if __name__ == "__main__":
    main()
