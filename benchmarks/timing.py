"""The harness of the benchmarks: timing side by side, commands with their time and peak memory, tables and files."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import lightning.pytorch as pl
import torch

from toy_score import __version__

__all__ = ["RESULTS", "Run", "command", "interleaved", "machine", "main", "markdown", "rounds", "run", "trainer_only"]

RESULTS = Path(__file__).parent / "results"


def interleaved(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each function, after one warm-up call; they take turns, so a busy moment affects all."""
    return {name: median(values) for name, values in rounds(functions, repeats).items()}


def rounds(
    functions: dict[str, Callable[[], Any]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each function in each round, after one warm-up call; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(repeats + 1):
        for name, function in functions.items():
            start = clock()
            function()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if repeat:
                times[name].append(clock() - start)
    return times


def trainer_only(steps: int, **settings: Any) -> pl.Trainer:
    """A Trainer that trains for this number of steps and does nothing else: no files, no bars, no validation."""
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


# The peak memory of a process includes that of its parent at the fork, so a small process starts it.
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
        printed: what it printed.
    """

    def __init__(self, seconds: float, megabytes: float, printed: str):
        self.seconds, self.megabytes, self.printed = seconds, megabytes, printed


def run(folder: str | Path, *argv: object, python: tuple[str, ...] = ("-m", "toy_score"), threads: int = 0) -> Run:
    """Run a command in a folder and measure it; `threads` sets OMP_NUM_THREADS, 0 leaves it.

    Raises:
        SystemExit: if it fails.
    """
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    with tempfile.TemporaryFile("w+") as out, tempfile.NamedTemporaryFile("r") as usage:
        command = [sys.executable, "-c", LAUNCH, usage.name, sys.executable, *python, *map(str, argv)]
        status = subprocess.run(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, env=environment).returncode
        out.seek(0)
        printed = out.read()
        if status:
            raise SystemExit(f"{' '.join(map(str, argv))} failed:\n{printed}")
        seconds, kilobytes = usage.read().split()
    return Run(float(seconds), float(kilobytes) / 1024, printed)


def command(folder: str | Path, *argv: object) -> str:
    """Run toy_score in a folder; what it printed on standard output.

    Raises:
        SystemExit: if it fails.
    """
    argv = tuple(map(str, argv))
    done = subprocess.run([sys.executable, "-m", "toy_score", *argv], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"toy_score {' '.join(argv)} failed:\n{done.stderr}")
    return done.stdout


def machine() -> str:
    """Processor, threads, versions of torch and Python."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    return f"{cpu}, {torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}"


def markdown(rows: list[dict[str, Any]]) -> str:
    """Rows as a table; the columns are the keys of the first."""
    columns = list(rows[0])
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(str(row[c]) for c in columns)} |" for row in rows)])


def main(
    name: str,
    measure: Callable[[argparse.Namespace], dict[str, list[dict[str, Any]]]],
    doc: str,
    parts: Sequence[str] = (),
    add_options: Callable[[argparse.ArgumentParser], None] | None = None,
) -> None:
    """The command line of a benchmark: measure, print the tables, write them to `results/NAME.md` and `.json`.

    Args:
        name: of the benchmark.
        measure: the tables by their titles; given the options, of which `parts` names what to measure.
        doc: the help.
        parts: what can be measured alone, if anything; such a measurement is printed and not written.
        add_options: adds the benchmark's own options.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if parts:
        parser.add_argument("parts", nargs="*", choices=[[], *parts], metavar="PART", help=", ".join(parts))
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it runs; nothing is written")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, where it matters")
    if add_options is not None:
        add_options(parser)
    options = parser.parse_args()
    if options.device != "cpu" and not (options.device == "cuda" and torch.cuda.is_available()):
        parser.error(f"--device {options.device}: there is no such device here; leave it out for the CPU")
    everything = not options.quick
    if parts:
        everything &= not options.parts
        options.parts = options.parts or list(parts)
    tables = measure(options)
    device = machine() if options.device == "cpu" else f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    heading = [f"`python -m benchmarks.{name}`, {device}, toy_score {__version__}"]
    text = "\n\n".join(heading + [f"{title}\n\n{markdown(rows)}" for title, rows in tables.items()])
    print(text)
    if everything:
        suffix = "" if options.device == "cpu" else f"_{options.device}"
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}{suffix}.md").write_text(text + "\n")
        results = {"command": f"python -m benchmarks.{name}", "machine": device, "tables": tables}
        (RESULTS / f"{name}{suffix}.json").write_text(json.dumps(results, indent=1) + "\n")
