"""Quality and training time of the configs, beside the study's loop measured in the same run.

    python -m benchmarks.quality                          # the four fast configs
    python -m benchmarks.quality original/ncsn_heart ...  # any others

Each config is fitted and tested by the command line, as a user would. The study's loop is timed for a few epochs
before and after each fit and extrapolated to its 1000 epochs. Results go to `benchmarks/results/`.
"""

import json
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.study import LOSSES, seconds_per_epoch
from toy_score import __version__

RESULTS = Path(__file__).parent / "results"
FAST = ["ncsn_heart", "ncsn_split_normal", "ddpm_heart", "ddpm_split_normal"]
STUDY_EPOCHS = 1000


def main(configs: list[str]) -> None:
    """Measure the configs and write `results/quality.json` and `results/quality.md`."""
    file = RESULTS / "quality.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    for config in configs:
        print(f"{config} ...", flush=True)
        results[config] = measure(config)
        print(json.dumps(results[config], indent=2), flush=True)
        RESULTS.mkdir(exist_ok=True)
        file.write_text(json.dumps(results, indent=2) + "\n")
        (RESULTS / "quality.md").write_text(table(results))


def measure(config: str) -> dict[str, object]:
    """Fit and test one config in an empty folder."""
    model, distribution = config.split("/")[-1].split("_", 1)
    known = model in LOSSES  # the study has no other models
    before = seconds_per_epoch(model, distribution) if known else 0.0
    with tempfile.TemporaryDirectory() as folder:
        said = command(folder, "fit", "--config", config)
        seconds = float(re.search(r"training:\s+([\d.]+) s", said)[1])
        run = next(Path(folder).glob("lightning_logs/*/version_0"))
        command(folder, "test", "--ckpt_path", run / "checkpoints/last.ckpt", "--output", "metrics.json")
        metrics = json.loads((Path(folder) / "metrics.json").read_text())
    study = STUDY_EPOCHS * (before + seconds_per_epoch(model, distribution)) / 2 if known else None
    return {
        "command": f"python -m benchmarks.quality {config}",
        "machine": machine(),
        "toy_score": __version__,
        "training_seconds": seconds,
        "study_seconds_extrapolated": None if study is None else round(study, 1),
        "speed_up": None if study is None else round(study / seconds, 1),
        "metrics": metrics,
    }


def command(folder: str, *argv: object) -> str:
    """Run toy_score in a folder; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "toy_score", *map(str, argv)], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"toy_score {' '.join(map(str, argv))} failed:\n{done.stderr}")
    return done.stdout


def machine() -> str:
    """What the figures were measured on."""
    cpu = next((line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")), "unknown CPU")
    return f"{cpu}, {torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}"


def _cpu_lines() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text().splitlines() if info.exists() else []


def table(results: dict[str, dict]) -> str:
    """The results as Markdown."""
    lines = [
        "| config | training | study's loop | ratio | score error | sliced W1 (floor) | ratio | energy | right half |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for config, r in results.items():
        m = r["metrics"]
        w = m["sliced_w1"]
        study = f"{r['study_seconds_extrapolated']:.0f} s | {r['speed_up']:.0f} x" if r["speed_up"] else "|"
        lines.append(
            f"| `{config}` | {r['training_seconds']:.1f} s | {study} "
            f"| {m['score_error']['mean']:.5f} | {w['value']:.4f} ({w['floor']:.4f}) | {w['ratio']:.2f} "
            f"| {m['energy']['value']:.5f} | {m['mode_weights']['right']['share']:.3f} |"
        )
    return "\n".join([*lines, "", next(iter(results.values()))["machine"], ""])


if __name__ == "__main__":
    main(sys.argv[1:] or FAST)
