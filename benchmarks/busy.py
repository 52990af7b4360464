"""Training on a busy machine, with one thread and with torch's default number of threads.

    python -m benchmarks.busy [--quick]

Each training is a whole command, `fit`, alone and beside as many busy loops as the machine has cores. The four take
turns; medians of the time of a step, without start-up. A training is stopped after a minute.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from statistics import median
from typing import Any

from benchmarks.timing import main, run

CONFIGS = ("edm_heart", "ddpm_heart")
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


def milliseconds(config: str, steps: int, threads: int, loops: int) -> float:
    """Milliseconds of a step of training, beside a number of busy loops."""
    argv = [
        "fit",
        "--config",
        config,
        "--threads",
        threads,
        "--trainer.accelerator",
        "cpu",
        "--trainer.logger",
        "false",
    ]
    argv += ["--trainer.max_steps", steps, "--trainer.max_time", "00:00:01:00", "--trainer.limit_val_batches", 0]
    with tempfile.TemporaryDirectory() as folder, busy_loops(loops):
        seconds, done = re.search(r"training:\s+([\d.]+) s, (\d+) steps", run(folder, *argv).printed).groups()
    return 1000 * float(seconds) / int(done)


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """A row for each config and number of threads."""
    configs, steps, rounds = (CONFIGS[:1], 10, 1) if options.quick else (CONFIGS, 600, 3)
    cores, default, rows = os.cpu_count() or 1, default_threads(), []
    cases = [(threads, loops) for threads in sorted({1, default}) for loops in (0, cores)]
    for config in configs:
        times: dict[tuple[int, int], list[float]] = {case: [] for case in cases}
        for _ in range(rounds):
            for case in cases:
                times[case].append(milliseconds(config, steps, *case))
                print(f"{config}, threads {case[0]}, busy loops {case[1]}: {times[case][-1]:.1f} ms a step", flush=True)
        found = {case: median(values) for case, values in times.items()}
        for threads in sorted({1, default}):
            alone, busy = found[threads, 0], found[threads, cores]
            rows.append(
                {
                    "config": config,
                    "threads": f"{threads}, torch's default" if threads == default else str(threads),
                    "a step, alone": f"{alone:.1f} ms",
                    "of one thread": f"{alone / found[1, 0]:.2f}",
                    "a step, busy": f"{busy:.1f} ms",
                    "of one thread busy": f"{busy / found[1, cores]:.2f}",
                    "busy, of alone": f"{busy / alone:.1f}",
                }
            )
    return {f"{steps} steps of training, alone and beside {cores} busy loops on {cores} cores": rows}


if __name__ == "__main__":
    main("busy", measure, __doc__)
