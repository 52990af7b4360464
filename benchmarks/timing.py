"""What the benchmarks of speed share: timing side by side, commands with their time and peak memory, tables."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import lightning.pytorch as pl
import torch

from benchmarks.quality import RESULTS, machine

__all__ = ["Run", "interleaved", "main", "markdown", "run", "trainer_only"]


def interleaved(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each, after a call to warm up; they take turns, so that a busy moment befalls all."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if repeat:
                times[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def trainer_only(steps: int, **settings: Any) -> pl.Trainer:
    """A Trainer that trains for so many steps and does nothing else: no files, no bars, no validation."""
    return pl.Trainer(
        max_steps=steps,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        **settings,
    )


# A process counts the memory of the one that it was split from: it is started by one that has hardly any.
LAUNCH = """
import os, sys, time
start = time.perf_counter()
_, status, usage = os.wait4(os.spawnv(os.P_NOWAIT, sys.argv[2], sys.argv[2:]), 0)
with open(sys.argv[1], "w") as file:
    print(time.perf_counter() - start, usage.ru_maxrss, file=file)
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Run:
    """A finished command.

    Attributes:
        seconds: wall time.
        megabytes: peak memory of its main process.
        said: what it printed.
    """

    def __init__(self, seconds: float, megabytes: float, said: str):
        self.seconds, self.megabytes, self.said = seconds, megabytes, said


def run(folder: str | Path, *argv: object, python: tuple[str, ...] = ("-m", "toy_score"), threads: int = 0) -> Run:
    """Run a command in a folder, with so many threads if that is said.

    Raises:
        SystemExit: if it fails.
    """
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    with tempfile.TemporaryFile("w+") as out, tempfile.NamedTemporaryFile("r") as usage:
        command = [sys.executable, "-c", LAUNCH, usage.name, sys.executable, *python, *map(str, argv)]
        status = subprocess.run(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, env=environment).returncode
        out.seek(0)
        said = out.read()
        if status:
            raise SystemExit(f"{' '.join(map(str, argv))} failed:\n{said}")
        seconds, kilobytes = usage.read().split()
    return Run(float(seconds), float(kilobytes) / 1024, said)


def markdown(rows: list[dict[str, Any]]) -> str:
    """Rows as a table; the columns are the keys of the first."""
    columns = list(rows[0])
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(str(row[c]) for c in columns)} |" for row in rows)])


def main(name: str, measure: Callable[[argparse.Namespace], dict[str, list[dict[str, Any]]]], doc: str) -> None:
    """The command line of a benchmark: measure, print the tables, write them to `results/NAME.md` and `.json`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it runs; nothing is written")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, where it matters")
    options = parser.parse_args()
    if options.device != "cpu" and not (options.device == "cuda" and torch.cuda.is_available()):
        parser.error(f"--device {options.device}: there is no such device here; leave it out for the CPU")
    tables = measure(options)
    device = machine() if options.device == "cpu" else f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    parts = [f"`python -m benchmarks.{name}`, {device}"]
    text = "\n\n".join(parts + [f"{title}\n\n{markdown(rows)}" for title, rows in tables.items()])
    print(text)
    if not options.quick:
        suffix = "" if options.device == "cpu" else f"_{options.device}"
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}{suffix}.md").write_text(text + "\n")
        found = {"command": f"python -m benchmarks.{name}", "machine": device, "tables": tables}
        (RESULTS / f"{name}{suffix}.json").write_text(json.dumps(found, indent=1) + "\n")
