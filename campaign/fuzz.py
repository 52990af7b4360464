"""Odd settings, damaged checkpoints and damaged files of points, in large numbers.

    python -m campaign.fuzz [--number 2000] [--seed 0]

Each trial is a whole command in a process that is watched: `fit`, `predict` and `compare` with odd settings, up to
where they would train or sample; `predict`, `validate` and `fit` with a damaged checkpoint; `fit` with a damaged file.
It must run, or be refused in one line with exit code 2. It must not end in a traceback or a defect, take more than two
seconds of CPU time or two gigabytes, import a module that its input does not name, change a file out of its folder,
open a connection, or start a process.
"""

import contextlib
import gc
import io
import os
import random
import resource
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from campaign.children import context
from campaign.inputs import CHECKPOINTS, POINTS, SETTINGS, Trial
from campaign.record import Record, main
from campaign.watch import HangError, Watch, cpu_limit

KINDS = {"settings": SETTINGS, "checkpoints": CHECKPOINTS, "data": POINTS}
TIMES = {"settings": 5, "checkpoints": 1, "data": 1}
"""How many times as many trials there are of each kind."""

SECONDS, BYTES = 2.0, 2 << 30
LONGEST = 1000  # characters of a message
PATIENCE = 120.0  # seconds, in which a trial must end on a busy machine
PLAIN = (TypeError, AttributeError, KeyError, IndexError, AssertionError, RecursionError)
"""Errors that no check raises on purpose, where they come from an expression."""


@dataclass(frozen=True)
class Verdict:
    """How a trial ended: what went wrong, if anything did, and in which way it survived."""

    failure: str | None
    note: str


def campaign(record: Record, number: int, seed: int) -> None:
    """All trials: `number` checkpoints and files, five times as many settings."""
    for kind, times in TIMES.items():
        fuzz(record, kind, range(number * times), seed)


def fuzz(record: Record, kind: str, numbers: range, seed: int, prepare: Callable[[], None] | None = None) -> None:
    """Trials of a kind by their numbers; each depends on its number and the seed alone."""
    left = [number for number in numbers if not record.has(f"{kind} {number}")]
    repeated: set[int] = set()
    while left:
        with tempfile.TemporaryDirectory() as folder:
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=_trials, args=(there, kind, left, seed, folder, prepare))
            process.start()
            there.close()
            try:
                while left and here.poll(PATIENCE):
                    number, what, verdict = here.recv()
                    left.remove(number)
                    failure = verdict.failure and f"trial {number} of seed {seed}, {what}: {verdict.failure}"
                    record.add(f"{kind}: {what}", failure, verdict.note, f"{kind} {number}")
            except EOFError:
                pass
            process.join(1.0)
            died = process.exitcode if process.exitcode is not None else "none, it hung"
            process.kill()
            process.join()
            if left and left[0] not in repeated:
                repeated.add(left[0])  # a busy machine may have had no time for it: it must die a second time
            elif left:
                why = f"trial {left[0]} of seed {seed}: the process died, exit code {died}"
                record.add(kind, why, key=f"{kind} {left[0]}")
                left.pop(0)


def _trials(
    results: Connection, kind: str, numbers: list[int], seed: int, folder: str, prepare: Callable[[], None] | None
) -> None:
    gc.freeze()  # no collection looks through what the parent has imported
    os.chdir(folder)
    sys.path.insert(0, folder)
    sys.dont_write_bytecode = True
    sys.argv = ["toy_score"]
    good = KINDS[kind].prepare(Path(folder))
    spare(kind)
    if prepare is not None:
        prepare()
    resource.setrlimit(resource.RLIMIT_AS, (_size() + BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    watch = Watch(folder, {name.partition(".")[0] for name in sys.modules} | set(sys.stdlib_module_names))
    for number in numbers:
        _empty(Path(folder))
        trial = KINDS[kind].trial(random.Random(f"{kind} {seed} {number}"), good, Path(folder))
        results.send((number, trial.what, judge(trial, watch)))


def judge(trial: Trial, watch: Watch) -> Verdict:
    """Run the command of a trial and say how it ended."""
    from toy_score.__main__ import main as entry

    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    REFUSED.clear()
    with watch.looking(trial.text) as events, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            with cpu_limit(SECONDS):
                entry(trial.argv)
        except SystemExit as stop:
            code = stop.code
        except HangError as hang:
            return Verdict(f"{hang}, at {_places(hang)} {trial.argv}", "")
        except BaseException as error:
            return Verdict(f"{error!r} at {_places(error)} {trial.argv}", "")
    lines = [line for line in err.getvalue().splitlines() if line.startswith("error: ")]
    if events:
        return Verdict(f"{', '.join(events[:3])} {trial.argv}", "")
    if "this is a defect" in err.getvalue():
        return Verdict(f"a defect: {lines[:1]} at {_places(REFUSED[-1])} {trial.argv}", "")
    if code in (0, None):
        return Verdict(None, "ran")
    if code not in (1, 2) or len(lines) != 1 or len(lines[0]) > LONGEST:
        return Verdict(f"exit code {code}, {len(lines)} lines: {err.getvalue()[:300]!r} {trial.argv}", "")
    if REFUSED and isinstance(REFUSED[-1], PLAIN) and not _raised_on_purpose(REFUSED[-1]):
        return Verdict(f"not a sentence: {lines[0]} at {_places(REFUSED[-1])} {trial.argv}", "")
    return Verdict(None, "refused" if not REFUSED or _by_us(REFUSED[-1]) else "refused in words of a library")


REFUSED: list[BaseException] = []
"""The error of which a command has made one line."""


def spare(kind: str) -> None:
    """In a process of its own: leave out what trials are not about, and note errors that become one line."""
    import lightning.pytorch as pl
    from PIL import Image

    import toy_score.commands.errors as errors
    import toy_score.commands.test as test
    import toy_score.compare.command as compare
    import toy_score.compare.contestants as contestants
    from toy_score.modules import ScoreModule
    from toy_score.schedules import LinearFlow

    Image.init()  # imports all formats, and what they may need
    refuse = errors.refuse

    def noting(message: str) -> int:
        if error := sys.exc_info()[1]:
            REFUSED.append(error)
        return refuse(message)

    errors.refuse = noting
    compare._measure = lambda *_: None
    contestants.wide_schedule = lambda distribution: LinearFlow()
    ScoreModule.doctor = lambda model, *_: []  # type: ignore[method-assign]
    if kind != "checkpoints":
        for name in ("fit", "predict", "test"):
            setattr(pl.Trainer, name, lambda *_, **__: None)
        test.verdict = lambda path: ""


def _places(error: BaseException) -> str:
    """Where an error comes from: the innermost lines of this project, and the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/toy_score/" in frame.filename][-3:]
    return " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in [*frames[-1:], *reversed(ours)])


def _innermost(error: BaseException) -> traceback.FrameSummary | None:
    return next(reversed(traceback.extract_tb(error.__traceback__)), None)


def _raised_on_purpose(error: BaseException) -> bool:
    frame = _innermost(error)
    return frame is None or (frame.line or "").startswith("raise ")


def _by_us(error: BaseException) -> bool:
    frame = _innermost(error)
    return frame is not None and f"{os.sep}toy_score{os.sep}" in frame.filename


def _empty(folder: Path) -> None:
    """Remove what earlier trials have written."""
    import shutil

    for path in folder.iterdir():
        if not path.name.startswith("good"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _size() -> int:
    """The address space of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main("fuzz", campaign, 2000, __doc__, "damaged checkpoints and files, of each; five times as many settings")
