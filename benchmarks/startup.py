"""The start-up of the commands: wall time by phase.

    python -m benchmarks.startup [--quick]

Each command runs several times as a separate process, in turn with the others; medians.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.timing import main, run

FIT = ["fit", "--config", "ncsn_heart", "--trainer.max_steps", "10", "--pictures.every_n_steps", "1000000"]


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """A row per command and phase."""
    with tempfile.TemporaryDirectory() as folder:
        run(folder, *FIT)
        checkpoint = next(Path(folder).glob("lightning_logs/ncsn_heart/version_0/checkpoints/last.ckpt"))
        predict = ["predict", "--ckpt_path", checkpoint, "--n_samples", 1000, "--output", "x.npy"]
        predict += ["--overwrite", "true", "--model.sampler", "Heun", "--model.sampler.n_steps", 20]
        plain = [*FIT, "--trainer.logger", "false"]  # no run, no pictures
        commands = {
            "--help": (["--help"], ("-m", "toy_score")),
            "import torch": ([], ("-c", "import torch")),
            "import torch and Lightning": ([], ("-c", "import lightning.pytorch")),
            "import all that predict needs": ([], ("-c", "import toy_score.commands.fit")),
            "predict, 1000 samples of Heun with 20 steps": (predict, ("-m", "toy_score")),
            "fit, to the first ten steps": (plain, ("-m", "toy_score")),
            "fit, the same with a run folder, TensorBoard and the first and last pictures": (FIT, ("-m", "toy_score")),
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(1 if options.quick else 5):
            for name, (argv, python) in commands.items():
                seconds[name].append(run(folder, *argv, python=python).seconds)
            print({name: round(times[-1], 2) for name, times in seconds.items()}, flush=True)
    rows = [{"process": name, "seconds": f"{median(times):.2f}"} for name, times in seconds.items()]
    return {"Wall time of whole processes; each import contains the ones above it": rows}


if __name__ == "__main__":
    main("startup", measure, __doc__)
