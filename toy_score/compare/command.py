"""The command `compare`."""

import argparse
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from toy_score.commands.errors import one_line_errors, quiet
from toy_score.commands.parser import Parser
from toy_score.progress import bar, is_watched

if TYPE_CHECKING:
    from toy_score.compare.contestants import Cell
    from toy_score.compare.grid import Protocol
    from toy_score.compare.store import Store

__all__ = ["run"]

SAMPLERS, STEPS = "own", "5,10,20"
FULL_SAMPLERS, FULL_STEPS = "own,Heun,DDIM,RungeKutta4,DPMSolver2M", "5,10,20,50"
FORMATS = ("png", "pdf", "svg")

DESCRIPTION = """\
Compare models: each by its own sampler with several numbers of steps, beside the exact denoiser of the distribution
that the model was trained on. Runs that differ only in their seeds are one model, with mean and spread. It writes
results.csv, results.json, results.md, two figures and index.html, a page that needs nothing else. Interrupted, the same
command goes on where it was."""


def parser() -> Parser:
    """The options, without importing what they are for."""
    p = Parser("compare", description=DESCRIPTION)
    p.add_runs("+")
    p.add_argument("--output", required=True, metavar="DIR", help="the folder for the results, made if it is not there")
    p.add_argument(
        "--samplers",
        metavar="LIST",
        help="names or calls as in `list samplers`, e.g. 'Heun,DDIM(eta=0.5)'; own is the one that a model came with, "
        "with its own number of steps as well; what has no steps, or has them written out, as Heun(n_steps=7), is "
        f"evaluated once; with --import mine also mine.Midpoint (default: {SAMPLERS})",
    )
    p.add_argument(
        "--n_steps",
        metavar="LIST",
        help="numbers of steps; of steps per level for AnnealedLangevin, of the predictor's for PredictorCorrector "
        f"(default: {STEPS})",
    )
    p.add_flag("full", f"other defaults: --samplers {FULL_SAMPLERS} --n_steps {FULL_STEPS}")
    p.add_argument("--n_samples", type=int, default=20_000, help="samples for each seed (default: %(default)s)")
    p.add_argument("--seeds", type=int, default=3, help="how often each cell is sampled (default: %(default)s)")
    p.add_argument("--seed", type=int, default=0, help="seed of the seeds (default: %(default)s)")
    p.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: cuda if there is one)")
    p.add_argument("--figures", choices=FORMATS, default="png", help="format of the two figures (default: %(default)s)")
    p.add_overwrite("start anew if the folder holds a comparison with other settings")
    return p


def run(argv: list[str], command: str) -> None:
    """Run the command, kept with the results as it was given; exits as `errors.one_line_errors` says."""
    args = parser().parse_args(argv)
    quiet()
    with one_line_errors():
        _run(args, command)


def _run(args: argparse.Namespace, command: str) -> None:
    from pathlib import Path

    from toy_score.compare import contestants, grid, samplers, store
    from toy_score.version import __version__

    n_steps = _n_steps(args.n_steps or (FULL_STEPS if args.full else STEPS))
    protocol = grid.Protocol(args.n_samples, args.seeds, args.seed, _device(args.device))
    written = samplers.parse_samplers(args.samplers or (FULL_SAMPLERS if args.full else SAMPLERS))
    models = contestants.load_models(args.models, protocol.device)
    cells = contestants.cells(contestants.line_up(models), written, n_steps)
    settings = {
        "toy_score": __version__,
        "models": {model.name: model.digest for model in models},
        "samplers": [w.label for w in written],
        "n_steps": n_steps,
        "n_samples": protocol.n_samples,
        "seeds": protocol.seeds,
        "seed": protocol.seed,
        "device": protocol.device,
    }
    about = {"command": command, "date": time.strftime("%Y-%m-%d %H:%M"), **_machine(protocol.device)}
    folder = Path(args.output)
    with store.locked_folder(folder):
        _measure(cells, protocol, store.Store(folder, settings, about, args.overwrite), args.figures)


def _measure(cells: "Sequence[Cell]", protocol: "Protocol", kept: "Store", figures: str) -> None:
    """Evaluate the cells that are missing, and write all files, the figures in the format of that name."""
    from toy_score.compare import grid, page, summary
    from toy_score.files import shown
    from toy_score.metrics import check_finite

    missing = [cell for cell in cells if cell.key not in kept.rows]
    known = len(cells) - len(missing)
    text = f"{len(cells)} cells" + (f", {known} of them are there already" if known else "")
    print(text + (f"; about {_duration(grid.seconds_of(missing, protocol, kept))}" if missing else ""), flush=True)
    try:
        with Progress(missing) as progress:
            grid.evaluate(missing, protocol, kept, progress.done)
    except KeyboardInterrupt:
        message = f"stopped after {len(kept.rows)} of {len(cells)} cells; the same command goes on from there"
        raise KeyboardInterrupt(message) from None
    kept.finish([cell.key for cell in cells])

    groups = summary.summarise(cells, kept.rows)
    page.write_all(groups, kept, protocol, figures)
    for group in groups:
        print(f"\n{group.label}: sliced W1 / floor of the best cell; floor {group.floor:.4f} +- {group.floor_sd:.4f}")
        width = max(28, *(len(entry.contestant.name) for entry in group.entries))
        for entry in group.entries:
            print(f"  {entry.contestant.name:<{width}}{_best(entry.best, summary.spread(entry))}")
        for text in summary.faults(group):
            print(f"  {text}")
    print(f"\npage:        {shown(kept.folder / 'index.html')}")
    results = f"{shown(kept.folder)}/results.csv, .json, .md"
    print(f"results:     {results}; evaluations.{figures}, seconds.{figures}")
    lost = {f"{row['model']} by {row['sampler']}": math.nan for row in kept.rows.values() if row["sliced_w1"] is None}
    check_finite(lost)  # after everything is printed and kept


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90.0 else f"{seconds / 60.0:.0f} min"


def _best(row: dict[str, Any] | None, spread: str) -> str:
    if row is None:
        return "no finite samples"
    quality = f"{row['sliced_w1_ratio']:7.2f}{spread.replace('±', '+-')}"
    return f"{quality}   {row['nfe']:>5} evaluations, {row['seconds']:.2f} s   {row['sampler']}"


class Progress:
    """A bar on a terminal; elsewhere a line now and then."""

    EVERY = 10.0  # seconds

    def __init__(self, cells: "Sequence[Cell]"):
        self._n, self._done, self._start = len(cells), 0, time.monotonic()
        self._last = self._start
        self._bar = bar(self._n, "cells") if is_watched() else None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def done(self, cell: "Cell") -> None:
        """Count a cell that is done."""
        self._done += 1
        text = f"{cell.contestant.name}, {type(cell.sampler).__name__}"
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update()
        elif time.monotonic() - self._last > self.EVERY or self._done == self._n:
            self._last = time.monotonic()
            print(f"{self._done:>5} of {self._n}, {self._last - self._start:.0f} s   {text}", flush=True)


def _n_steps(text: str) -> list[int]:
    try:
        numbers = sorted({int(word) for word in text.split(",")})
    except ValueError:
        raise ValueError(f"n_steps must be whole numbers separated by commas, got {text!r}; e.g. 5,10,20") from None
    if numbers[0] < 1:
        raise ValueError(f"n_steps must be at least 1, got {numbers[0]}")
    return numbers


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):
        raise ValueError(f"there is no device {name!r} here; leave out --device, or name cpu") from None
    return name


def _machine(device: str) -> dict[str, str]:
    """What ran where: processor, threads, versions."""
    import platform
    from pathlib import Path

    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    processor = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())
    where = torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{torch.get_num_threads()} threads"
    return {"machine": f"{processor}, {where}", "torch": torch.__version__, "python": platform.python_version()}
