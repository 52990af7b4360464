"""Commands of toy_score in processes of their own, which start within milliseconds.

They are forked from a process that has imported the package and done nothing else.
"""

import gc
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Child", "Ended", "run", "start"]

context = multiprocessing.get_context("forkserver")
PRELOADED = ["commands.fit", "commands.predict", "commands.test", "compare.grid", "compare.page", "plotting"]
context.set_forkserver_preload(
    [*(f"toy_score.{name}" for name in PRELOADED), "torch.utils.tensorboard", "PIL.PngImagePlugin", "fsspec"]
)

Prepare = Callable[[], None]
"""What a process does before its command, such as lowering a limit; a function of a module, perhaps partial."""


def nothing() -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, negative for a signal that killed it, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def tells(self) -> str:
        """The end of what it printed, for a report of a failure."""
        return f"exit code {self.code}: {' | '.join((self.out + self.err).strip().splitlines()[-3:])}"

    @property
    def refused(self) -> bool:
        """Whether it ended with exit code 2 and one line that says why."""
        lines = self.err.strip().splitlines()
        return self.code == 2 and len(lines) == 1 and lines[0].startswith("error: ")


class Child:
    """A command that runs in a folder."""

    def __init__(self, folder: Path, argv: Sequence[object], prepare: Prepare = nothing):
        self._log = tempfile.TemporaryDirectory()
        words = [str(word) for word in argv]
        self.process = context.Process(target=_command, args=(str(folder), words, self._log.name, prepare))
        self.process.start()

    def send(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.process.is_alive() and self.process.pid:
            os.kill(self.process.pid, number)

    def wait(self, seconds: float = 120.0) -> Ended:
        """Wait for its end; a process that takes longer is killed.

        Raises:
            TimeoutError: then.
        """
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            raise TimeoutError(f"a command took more than {seconds:.0f} s")
        logs = [Path(self._log.name) / name for name in ("out", "err")]
        out, err = (path.read_text(errors="replace") if path.exists() else "" for path in logs)
        self._log.cleanup()
        return Ended(self.process.exitcode or 0, out, err)


def start(folder: Path, *argv: object, prepare: Prepare = nothing) -> Child:
    """Start a command in a folder."""
    return Child(folder, argv, prepare)


def run(folder: Path, *argv: object, prepare: Prepare = nothing) -> Ended:
    """Run a command in a folder to its end."""
    return start(folder, *argv, prepare=prepare).wait()


def _command(folder: str, argv: list[str], log: str, prepare: Prepare) -> Any:
    gc.freeze()  # no collection looks through what the parent has imported
    # As in the foreground of a terminal: a job in the background ignores SIGINT, and one of nohup SIGHUP.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(os.path.join(log, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.chdir(folder)
    sys.argv = ["toy_score", *argv]
    prepare()
    from toy_score.__main__ import main

    main(argv)
