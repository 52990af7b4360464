"""Each command on a quiet and on a busy machine, with one thread and with torch's default number of threads.

    python -m benchmarks.busy [--quick]

`fit`, `predict` and `test` run as whole commands, start-up included: alone, beside one and beside three processes that
compute without end. All cases take turns; a time is the median of the rounds.

Beside `n` others on `c` cores, `k` threads get the share `c / (k + n)` of the processor. With its *fair share* a
command takes `max(1, (k + n) / c)` times as long as alone; more than that is time lost to waiting.
"""

import argparse
import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.timing import main, run

CONFIG = "edm_heart"
LOOPS = (0, 1, 3)
"""Numbers of processes that compute besides."""
LOOP = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"  # ends with the benchmark at the latest


@contextlib.contextmanager
def busy_loops(n: int) -> Iterator[list[subprocess.Popen]]:
    """A number of processes that compute until the block ends."""
    loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(n)]
    try:
        yield loops
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def default_threads() -> int:
    """The number of threads that torch chooses by itself here."""
    environment = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, "-c", "import torch; print(torch.get_num_threads())"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def commands(folder: str, quick: bool) -> dict[str, list[str]]:
    """The arguments of each command; the run that they use is trained here, and its noise floors are measured."""
    short = ["fit", "--config", CONFIG, "--trainer.accelerator", "cpu", "--name"]
    run(folder, *short, "trained", "--trainer.max_steps", 20, "--trainer.logger", "false", "--pictures.frames", 0)
    checkpoint = str(next(Path(folder).glob("**/last.ckpt")))
    test = ["test", "--ckpt_path", checkpoint, "--n_samples", "500" if quick else "20000"]
    run(folder, *test)
    return {
        "fit": [*short, "timed", "--trainer.max_steps", "10" if quick else "600", "--pictures.frames", "0"],
        "predict": ["predict", "--ckpt_path", checkpoint, "--n_samples", "500" if quick else "100000"],
        "test": test,
    }


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """A row for each command and number of threads."""
    cores, rounds = os.cpu_count() or 1, 1 if options.quick else 3
    numbers = sorted({1, default_threads()})
    times: dict[tuple[str, int, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        arguments = commands(folder, options.quick)
        for number in range(rounds):
            for name, threads, n in itertools.product(arguments, numbers, LOOPS):
                output = ["--output", f"{number}-{threads}-{n}.npy"] if name == "predict" else []
                with busy_loops(n):
                    seconds = run(folder, *arguments[name], *output, "--threads", threads).seconds
                times.setdefault((name, threads, n), []).append(seconds)
                print(f"{name}, threads {threads}, beside {n}: {seconds:.1f} s", flush=True)
    rows = []
    for name, threads in itertools.product(arguments, numbers):
        alone, *busy = (median(times[name, threads, n]) for n in LOOPS)
        row = {"command": f"`{name}`", "threads": str(threads), "alone": f"{alone:.1f} s"}
        for n, seconds in zip(LOOPS[1:], busy, strict=True):
            row[f"beside {n}"] = f"{seconds:.1f} s"
            row[f"of its fair share, {n}"] = f"{seconds / alone / max(1, (threads + n) / cores):.2f}"
        rows.append(row)
    return {f"Whole commands of `{CONFIG}` beside other processes, {cores} cores": rows}


if __name__ == "__main__":
    main("busy", measure, __doc__)
