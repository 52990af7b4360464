"""Sampling with two processes against one, with one thread each.

    python -m benchmarks.processes [--quick]

Both are whole commands, `predict` with and without `--trainer.devices 2 --trainer.strategy ddp`. The difference between
a large and a small number of samples removes the start-up.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.startup import FIT
from benchmarks.timing import main, run

HEUN = ["--model.sampler", "Heun", "--model.sampler.n_steps", 10]
WAYS = {
    "one process": ["--trainer.devices", 1],
    "two processes": ["--trainer.devices", 2, "--trainer.strategy", "ddp"],
}


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Samples a second, and the ratio."""
    small, large, rounds = (8192, 16_384, 1) if options.quick else (65_536, 20 * 65_536, 2)
    seconds = {(way, n): [] for way in WAYS for n in (small, large)}
    with tempfile.TemporaryDirectory() as folder:
        run(folder, *FIT)
        checkpoint = next(Path(folder).glob("lightning_logs/ncsn_heart/version_0/checkpoints/last.ckpt"))
        for _ in range(rounds):
            for way, n in seconds:
                argv = ["predict", "--ckpt_path", checkpoint, "--n_samples", n, "--overwrite", "true", *HEUN]
                argv += ["--output", f"{way[:3]}.npy", "--trainer.accelerator", "cpu", *WAYS[way]]
                seconds[way, n].append(run(folder, *argv, threads=1).seconds)
                print(f"{way}, {n} samples: {seconds[way, n][-1]:.1f} s", flush=True)
        one, two = (np.load(Path(folder) / f"{name}.npy") for name in ("one", "two"))
    rate = {way: (large - small) / (min(seconds[way, large]) - min(seconds[way, small])) for way in WAYS}
    rows = [
        {"way": way, "samples a second": f"{rate[way]:.0f}", "ratio": f"{rate[way] / rate['one process']:.2f}"}
        for way in WAYS
    ]
    rows.append({"way": "the same samples", "samples a second": str(np.array_equal(one, two)), "ratio": ""})
    return {"`Heun` of 10 steps, 19 evaluations a sample": rows}


if __name__ == "__main__":
    main("processes", measure, __doc__)
