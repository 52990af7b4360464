"""How many exact scores a second each distribution computes.

    python -m benchmarks.oracles [--quick]

A million points of the noisy distribution at sigma = 0.5, in float32, on one thread and on two; the median of five
calls.
"""

import argparse
from statistics import median
from time import perf_counter
from typing import Any

import torch

from benchmarks.timing import main
from toy_score import distributions
from toy_score.catalog import entries
from toy_score.distributions import Distribution

SIGMA, REPETITIONS, THREADS = 0.5, 5, (1, 2)
NEED_ARGUMENTS = {"GaussianMixture", "GridDensity", "Points"}


def zoo() -> list[Distribution]:
    """Every distribution that needs no arguments, in order of their names."""
    names = [entry.name.split("(")[0] for entry in entries("distributions")]
    return [getattr(distributions, name)() for name in names if name not in NEED_ARGUMENTS]


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """A row per distribution."""
    n, rows = 1000 if options.quick else 1_000_000, []
    for p in zoo():
        rates = {f"{k} thread{'s' * (k > 1)}": f"{throughput(p, n, k) / 1e6:.2f}" for k in THREADS}
        rows.append({"distribution": f"`{p!r}`", **rates})
    return {f"million scores a second, {n:,} points, float32, sigma = {SIGMA}": rows}


def throughput(p: Distribution, n: int, threads: int) -> float:
    """Exact scores a second."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    x = p.sample(n, generator) + SIGMA * torch.randn(n, 2, generator=generator)
    seconds = []
    with torch.inference_mode():
        p.score(x[: n // 10], SIGMA)
        for _ in range(REPETITIONS):
            start = perf_counter()
            p.score(x, SIGMA)
            seconds.append(perf_counter() - start)
    return n / median(seconds)


if __name__ == "__main__":
    main("oracles", measure, __doc__)
