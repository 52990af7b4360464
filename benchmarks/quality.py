"""Quality and training time of the configs, beside the original study's training loop measured in the same run.

    python -m benchmarks.quality                     # all that docs/results.md shows, about half an hour
    python -m benchmarks.quality ncsn_heart ...      # some of them; printed, not written

Each config is fitted and tested by the command line, as a user would. The loop of the original study is timed for a few
epochs before and after each fit and extrapolated to its 1000 epochs. `floor` is the noise floor: the value that exact
samples get. `KS p` is of the Gaussianised Kolmogorov-Smirnov test over all draws. `largest z` is the largest deviation
from exact samples of all metrics, in standard deviations.
"""

import argparse
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.study import LOSSES, seconds_per_epoch
from benchmarks.timing import command, main

FAMILIES = ("ncsn", "ddpm", "edm", "flow", "flowmap", "vp", "ve", "subvp", "energy")
CONFIGS = [f"{family}_{toy}" for toy in ("heart", "split_normal") for family in FAMILIES]
CONFIGS += ["original/ncsn_heart", "original/ddpm_heart"]
STUDY_EPOCHS = 1000


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """A row per config."""
    return {"20 000 samples, the mean of four draws": [measured(config, options.quick) for config in options.parts]}


def measured(config: str, quick: bool = False) -> dict[str, str]:
    """Fit and test one config in an empty folder."""
    model, distribution = config.split("/")[-1].split("_", 1)
    known = model in LOSSES  # the original study has no other models
    shorter = (["--trainer.max_steps", 20], ["--n_samples", 500]) if quick else ([], [])
    before = seconds_per_epoch(model, distribution) if known else 0.0
    with tempfile.TemporaryDirectory() as folder:
        printed = command(folder, "fit", "--config", config, *shorter[0])
        seconds = float(re.search(r"training:\s+([\d.]+) s", printed)[1])
        run = next(Path(folder).glob("lightning_logs/*/version_0"))
        checkpoint = run / "checkpoints/last.ckpt"
        command(folder, "test", "--ckpt_path", checkpoint, "--output", "metrics.json", *shorter[1])
        metrics = json.loads((Path(folder) / "metrics.json").read_text())
    study = STUDY_EPOCHS * (before + seconds_per_epoch(model, distribution)) / 2 if known else None
    return row(config, seconds, study, metrics)


def row(config: str, seconds: float, study: float | None, metrics: dict[str, Any]) -> dict[str, str]:
    """What `test` measured, in one line; `study` is how long the original study's loop takes, None without one."""
    w1, gap = metrics["sliced_w1"], metrics["cross_entropy_gap"]
    scores = {name: entry["z"] for name, entry in metrics.items() if isinstance(entry, dict) and "z" in entry}
    worst = max(scores, key=lambda name: abs(scores[name]))
    return {
        "config": f"`{config}`",
        "training": f"{seconds:.0f} s",
        "original loop": "" if study is None else f"{study:.0f} s",
        "evaluations": re.search(r"([\d ]+) evaluations", metrics["title"])[1].strip(),
        "score error": f"{metrics['score_error']['mean']:.5f}",
        "sliced W1 / floor": f"{w1['ratio']:.2f}",
        "KS p": f"{metrics['gaussianised_ks']['p_value']:.2g}",
        "gap, nats (z)": f"{gap['value']:+.4f} ({gap['z']:+.1f})",
        "largest z": f"{scores[worst]:+.1f} {worst.replace('_', ' ')}",
    }


if __name__ == "__main__":
    main("quality", measure, __doc__, CONFIGS)
