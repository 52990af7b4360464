"""How many exact scores a second each distribution gives.

    python -m benchmarks.oracles

A million points of the noisy law at sigma = 0.5, in float32, on one thread and on two; the median of some repetitions.
Results go to `benchmarks/results/`.
"""

import json
import statistics
import time
from pathlib import Path

import torch

from benchmarks.quality import machine
from toy_score import __version__, distributions
from toy_score.catalog import entries
from toy_score.distributions import Distribution

RESULTS = Path(__file__).parent / "results"
N, SIGMA, REPETITIONS, THREADS = 1_000_000, 0.5, 5, (1, 2)
NEED_ARGUMENTS = {"GaussianMixture", "Points"}


def zoo() -> list[Distribution]:
    """Every distribution that needs no arguments, in order of their names."""
    names = [entry.name.split("(")[0] for entry in entries("distributions")]
    return [getattr(distributions, name)() for name in names if name not in NEED_ARGUMENTS]


def main() -> None:
    """Measure all and write `results/oracles.json` and `results/oracles.md`."""
    results = {}
    for p in zoo():
        results[repr(p)] = {str(threads): throughput(p, threads) for threads in THREADS}
        print(f"{p!r}: " + ", ".join(f"{rate:.3g}/s on {k}" for k, rate in results[repr(p)].items()), flush=True)
    RESULTS.mkdir(exist_ok=True)
    said = {"machine": machine(), "toy_score": __version__, "n": N, "sigma": SIGMA, "scores_per_second": results}
    (RESULTS / "oracles.json").write_text(json.dumps(said, indent=2) + "\n")
    (RESULTS / "oracles.md").write_text(table(results) + f"\n{N:,} points, float32, sigma = {SIGMA}. {machine()}\n")


def throughput(p: Distribution, threads: int) -> float:
    """Exact scores a second."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    x = p.sample(N, generator) + SIGMA * torch.randn(N, 2, generator=generator)
    seconds = []
    with torch.inference_mode():
        p.score(x[: N // 10], SIGMA)
        for _ in range(REPETITIONS):
            start = time.perf_counter()
            p.score(x, SIGMA)
            seconds.append(time.perf_counter() - start)
    return N / statistics.median(seconds)


def table(results: dict[str, dict[str, float]]) -> str:
    """The results as Markdown, in millions."""
    lines = ["| distribution | million scores a second, 1 thread | 2 threads |", "|---|---|---|"]
    for name, rates in results.items():
        lines.append(f"| `{name}` | " + " | ".join(f"{rate / 1e6:.2f}" for rate in rates.values()) + " |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
