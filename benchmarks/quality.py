"""Quality and training time of the configs, each trained from several seeds.

    python -m benchmarks.quality                     # all that docs/results.md shows, about an hour
    python -m benchmarks.quality ncsn_heart ...      # some of them; printed, not written
    python -m benchmarks.quality --seeds 1           # one training of each
    python -m benchmarks.quality --kept ...          # the runs that are at hand, whatever their settings; none is made

Each config is fitted and tested by the command line, as a user would, without animations. Seed k is that of the
weights, the points, the training noise and the samples. Every run is kept as JSON in `results/quality/` and is not
measured again as long as the config's settings stay the same, so an interrupted benchmark goes on where it stopped.
The values of a kept run are compared with the present noise floors, not with those of its day.

A value is the median over the seeds, with its range. `evaluations` is of the denoiser per sample. `floor` is the noise
floor: the value that exact samples get. `KS` counts the draws of samples whose Gaussianised Kolmogorov-Smirnov test has
p >= 0.01. `gap` is the cross-entropy gap that is farthest from that of exact samples, z in their standard deviations.
`largest z` is the largest deviation of all metrics and seeds. `invalid mass` is the share of samples where the density
is zero, of which exact samples have none; one of the 80 000 samples of a seed is 0.00001. Each metric is the mean of
four draws of 20 000 samples.
CPU seconds are those of the whole `fit`, with its start and its pictures, on one thread.
"""

import argparse
import hashlib
import json
import re
import resource
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import toy_score
from benchmarks.timing import RESULTS, command, main
from toy_score.commands.arguments import parse
from toy_score.commands.settings import merged
from toy_score.metrics import Floor, noise_floors

FAMILIES = ("ncsn", "ddpm", "edm", "flow", "flowmap", "vp", "ve", "subvp", "energy")
CONFIGS = [f"{family}_{toy}" for toy in ("split_normal", "heart") for family in FAMILIES]
CONFIGS += ["original/ncsn_heart", "original/ddpm_heart"]
TABLE = ("sliced_w1", "energy", "gaussianised_ks", "cross_entropy_gap")
ACCEPTED = 0.01
"""The p-value from which a draw passes the Kolmogorov-Smirnov test."""


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """A row per config; a seed of all configs before the next one."""
    folder = None if options.quick else RESULTS / "quality"
    runs: dict[str, list[dict[str, Any]]] = {config: [] for config in options.parts}
    for seed in range(options.seeds):
        for config in options.parts:
            if options.kept:
                runs[config] += at_hand(config, seed)
            else:
                runs[config].append(kept(config, seed, folder) if folder else measured(config, seed, quick=True))
    runs = {config: [beside_floors(run) for run in of_seeds] for config, of_seeds in runs.items() if of_seeds}
    if not runs:
        raise SystemExit(f"no runs of {', '.join(options.parts)} are kept in {RESULTS / 'quality'}; leave out --kept")
    trained = "the runs at hand, which may be of other settings" if options.kept else "trained"
    title = f"20 000 samples, the mean of four draws; {trained} from {options.seeds} seeds"
    return {title: [row(config, of_seeds) for config, of_seeds in runs.items()]}


def kept(
    config: str,
    seed: int,
    folder: Path,
    measure: Callable[[str, int], dict[str, Any]] | None = None,
    flags: Sequence[str] = (),
    name: str | None = None,
) -> dict[str, Any]:
    """The run of a config from a seed: the one that was measured before, or a new one.

    Args:
        config, seed: of the run.
        folder: where it is kept, under its name.
        measure: makes a new one, by default `measured`.
        flags: of `fit`, that change the config.
        name: of the run; by default that of the config.
    """
    path = folder / f"{name or config.replace('/', '_')}-{seed}.json"
    settings = merged(parse("fit", ["--config", config, *flags]), {})
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]
    if path.exists() and (run := json.loads(path.read_text()))["settings"] == digest:
        return run
    run = {"config": config, "seed": seed, "settings": digest, **(measure or measured)(config, seed)}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(run, indent=1) + "\n")
    return run


def at_hand(config: str, seed: int) -> list[dict[str, Any]]:
    """The kept run of a config from a seed, if there is one, also if the config has changed since then."""
    path = RESULTS / "quality" / f"{config.replace('/', '_')}-{seed}.json"
    return [json.loads(path.read_text())] if path.exists() else []


def beside_floors(run: dict[str, Any]) -> dict[str, Any]:
    """A run whose values have the z and the ratio of the present noise floors."""
    metrics = dict(run["metrics"])
    lost = metrics["nonfinite"] / metrics["repeats"]
    data = getattr(toy_score, metrics["settings"]["data"].removeprefix("toy_score."))
    for name, floor in noise_floors(data().distribution, round(metrics["n"] - lost)).items():
        if name in metrics:  # metrics that were added since then are left out
            metrics[name] = {**metrics[name], **against(metrics[name]["value"], floor.of_mean(metrics["repeats"]))}
            if "ratio" in metrics[name]:
                metrics[name]["ratio"] = metrics[name]["value"] / floor.mean
    return {**run, "metrics": metrics}


def against(value: float, floor: Floor) -> dict[str, float | None]:
    """A value beside its floor."""
    return {"floor": floor.mean, "floor_sd": floor.scatter, "z": floor.z(value)}


def measured(config: str, seed: int, quick: bool = False) -> dict[str, Any]:
    """Fit and test one config in an empty folder: seconds of training and of CPU, and what `test` measured."""
    shorter = (["--trainer.max_steps", 20], ["--n_samples", 500]) if quick else ([], [])
    seeds = ["--seed_everything", seed, "--model.noise_seed", seed, "--data.data_seed", seed]
    with tempfile.TemporaryDirectory() as folder:
        before = cpu_seconds()
        printed = command(folder, "fit", "--config", config, *seeds, "--pictures.frames", 0, *shorter[0])
        cpu, seconds = cpu_seconds() - before, float(re.search(r"training:\s+([\d.]+) s", printed)[1])
        run = next(Path(folder).glob("lightning_logs/*/version_0"))
        checkpoint = run / "checkpoints/last.ckpt"
        command(folder, "test", "--ckpt_path", checkpoint, "--seed", seed, "--output", "metrics.json", *shorter[1])
        metrics = json.loads((Path(folder) / "metrics.json").read_text())
    return {"seconds": seconds, "cpu_seconds": cpu, "metrics": metrics}


def cpu_seconds() -> float:
    """CPU time of all commands so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def row(config: str, runs: list[dict[str, Any]]) -> dict[str, str]:
    """The runs of a config in one line."""
    metrics = [run["metrics"] for run in runs]
    deviations = [deviation for m in metrics for deviation in printed_deviations(m)]
    p = [p for m in metrics for p in m["gaussianised_ks"]["p_values"]]
    worst, name = max(deviations, key=lambda deviation: abs(deviation[0]))
    gap = max((m["cross_entropy_gap"] for m in metrics), key=lambda entry: abs(entry["z"]))
    return {
        "config": f"`{config}`",
        "training": spread([run["seconds"] for run in runs], ".0f") + " s",
        "CPU": spread([run["cpu_seconds"] for run in runs], ".0f") + " s",
        "evaluations": re.search(r"([\d ]+) evaluations", metrics[0]["title"])[1].strip(),
        "score error": spread([m["score_error"]["mean"] for m in metrics], ".5f"),
        "sliced W1 / floor": spread([m["sliced_w1"]["ratio"] for m in metrics], ".2f"),
        "KS": f"{sum(value >= ACCEPTED for value in p)} of {len(p)}",
        "gap, nats (z)": f"{gap['value']:+.4f} ({gap['z']:+.1f})",
        "largest z": f"{worst:+.1f} {name}",
        "invalid mass": spread([m["invalid_mass"]["value"] for m in metrics], ".5f"),
    }


def printed_deviations(metrics: dict[str, Any]) -> list[tuple[float, str]]:
    """The z of each metric in the table of `test`, which has the share of each mode and not their totals."""
    named = [(metrics[name], name.replace("_", " ")) for name in TABLE]
    shares = [(entry, f"share of the mode {mode}") for mode, entry in metrics["mode_weights"].items()]
    return [(entry["z"], name) for entry, name in named + shares]


def spread(values: list[float], form: str) -> str:
    """The median and the range of the values of the seeds."""
    middle, low, high = (format(value, form) for value in (median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def options(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark alone."""
    parser.add_argument("--kept", action="store_true", help="only the runs at hand, also those of other settings")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each config; 3 by default")


if __name__ == "__main__":
    main("quality", measure, __doc__, CONFIGS, options)
