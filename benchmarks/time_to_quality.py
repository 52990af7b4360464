"""Seconds of training until the original study's quality is reached, against the original study's loop.

    python -m benchmarks.time_to_quality [--quick]

The marks are the quality of the original study's settings on the heart after 1000 epochs (`configs/original/`): for
NCSN a normalised score error, averaged over its ten noise levels, of 0.00099 and a sliced W1 of 0.0313; for DDPM
0.03141 and 0.0757. Our config, with the same network, is trained by the command line with `--trainer.max_steps` raised
until it reaches both, in 20 000 points and samples by its own sampler. The result is the wall time of the first
training that reaches both, with a learning-rate schedule of its length and everything that `fit` does; the time for
pictures is a column of its own. The original study's loop is timed for some epochs before and after, and extrapolated
to its 1000. Start-up and imports are not included.
"""

import argparse
import re
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.study import seconds_per_epoch
from benchmarks.timing import main, run
from toy_score import ExactDenoiser, Heart, ScoreModule
from toy_score.metrics import ScoreError, SlicedWasserstein

MARKS = {
    "quick/ncsn_heart": {"score error": 0.00099, "sliced W1": 0.0313},
    "quick/ddpm_heart": {"score error": 0.03141, "sliced W1": 0.0757},
}
LADDER = [750, 1000, 1250, 1500, 2000, 2500, 3000, 4000]
EPOCHS = 1000


def quality(checkpoint: Path, n: int) -> dict[str, float]:
    """Score error and sliced W1 of a checkpoint, on `n` points and samples."""
    model, p = ScoreModule.load_from_checkpoint(checkpoint), Heart()
    error, distance = ScoreError(), SlicedWasserstein(p)
    generators = (torch.Generator().manual_seed(seed) for seed in (1, 2))
    error.update(model.denoiser, ExactDenoiser(p, model.schedule), p.sample(n, next(generators)), next(generators))
    distance.update(model.sample(n, seed=3))
    return {"score error": error.compute().mean().item(), "sliced W1": distance.compute().item()}


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """A row for each length tried; the last row of a config is the result."""
    rows = []
    for config, marks in MARKS.items():
        loop = config.removeprefix("quick/").split("_")[0]
        before = seconds_per_epoch(loop, "heart", 1 if options.quick else 3)
        for steps in [20] if options.quick else LADDER:
            with tempfile.TemporaryDirectory() as folder:
                printed = run(folder, "fit", "--config", config, "--trainer.max_steps", steps).printed
                found = quality(next(Path(folder).glob("**/last.ckpt")), 200 if options.quick else 20_000)
            training, drawing = (
                float(re.search(rf"{what}:\s+([\d.]+) s", printed)[1]) for what in ("training", "drawing")
            )
            reached = all(found[name] <= mark for name, mark in marks.items())
            rows.append(
                {
                    "config": config,
                    "steps": steps,
                    **{f"{name} (mark)": f"{found[name]:.5f} ({marks[name]})" for name in marks},
                    "training": f"{training:.1f} s",
                    "of that, pictures": f"{drawing:.1f} s",
                    "study's loop, extrapolated": "",
                    "ratio": "",
                    "without pictures": "",
                }
            )
            print(rows[-1], flush=True)
            if reached:
                after = seconds_per_epoch(loop, "heart")
                study = EPOCHS * (before + after) / 2
                rows[-1] |= {
                    "study's loop, extrapolated": f"{study:.0f} s",
                    "ratio": f"{study / training:.0f} x",
                    "without pictures": f"{study / (training - drawing):.0f} x",
                }
                break
    return {"Training to the original study's quality; the last row of each config counts": rows}


if __name__ == "__main__":
    main("time_to_quality", measure, __doc__)
