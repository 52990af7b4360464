"""How time and memory grow with the number of samples, the number of steps, and the width of the network.

    python -m benchmarks.growth [--quick]

Samples are made by the command line, one process for each number; the system reports its peak memory. Steps and widths
are timed in this process.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.startup import FIT
from benchmarks.timing import interleaved, main, run
from toy_score import MLP, EDMPreconditioning, Euler, Heun, LogSigma, NCSNModule


def samples(numbers: list[int]) -> list[dict[str, Any]]:
    """`predict` with two evaluations a sample."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        run(folder, *FIT)
        checkpoint = next(Path(folder).glob("lightning_logs/ncsn_heart/version_0/checkpoints/last.ckpt"))
        predict = ["predict", "--ckpt_path", checkpoint, "--output", "x.npy", "--overwrite", "true"]
        predict += ["--model.sampler", "Euler", "--model.sampler.n_steps", 2]
        for n in numbers:
            done = run(folder, *predict, "--n_samples", n)
            rows.append({"samples": n, "seconds": f"{done.seconds:.1f}", "peak memory, MB": f"{done.megabytes:.0f}"})
            print(rows[-1], flush=True)
    return rows


def steps(n: int, numbers: list[int]) -> list[dict[str, Any]]:
    """Heun, in process."""
    model = NCSNModule(parameterisation=EDMPreconditioning(0.8), conditioning=LogSigma()).eval()
    functions = {str(k): lambda k=k: model.sample(n, sampler=Heun(k)) for k in numbers}
    return [
        {"steps": k, "seconds": f"{s:.3f}", "ms a step": f"{1e3 * s / int(k):.2f}"}
        for k, s in interleaved(functions, 3).items()
    ]


def widths(n: int, numbers: list[int]) -> list[dict[str, Any]]:
    """Euler with ten steps, in process, of networks of two hidden layers."""
    models = {w: NCSNModule(backbone=MLP((w, w)), parameterisation=EDMPreconditioning(0.8)).eval() for w in numbers}
    functions = {str(w): lambda m=model: m.sample(n, sampler=Euler(10)) for w, model in models.items()}
    parameters = {str(w): sum(p.numel() for p in model.parameters()) for w, model in models.items()}
    return [
        {"width": w, "parameters": parameters[w], "ms a step": f"{1e2 * s:.2f}"}
        for w, s in interleaved(functions, 3).items()
    ]


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Three tables."""
    torch.manual_seed(0)
    n = 200 if options.quick else 20_000
    numbers = [1000] if options.quick else [1000, 10_000, 100_000, 1_000_000, 10_000_000]
    return {
        "`predict` with `Euler` of 2 steps, start-up included": samples(numbers),
        f"`Heun`, {n} samples": steps(n, [5, 10, 20, 40, 80]),
        f"`Euler` of 10 steps, {n} samples, two hidden layers": widths(n, [32, 64, 128, 256, 512]),
    }


if __name__ == "__main__":
    main("growth", measure, __doc__)
