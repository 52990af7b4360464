"""What a process does: an audit hook notes imports, changes of files, connections and new processes.

Python calls the hook for every such event, and it cannot be removed; so it is installed in processes that end with
their trials.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["HangError", "Watch", "cpu_limit"]

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod")
FOREIGN = ("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.fork", "os.exec")
FOREIGN += ("os.posix_spawn", "os.spawn")


class HangError(BaseException):
    """Raised where a trial takes too long; no `except Exception` stops it."""


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Interrupt the block after so many seconds of CPU time, which a busy machine does not lengthen.

    Raises:
        HangError: then.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise HangError(f"more than {seconds:g} s")

    signal.signal(signal.SIGPROF, interrupt)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)


class Watch:
    """Notes what is done that should not be: changes of files out of a folder, imports, connections, processes.

    Args:
        folder: in which files may be changed.
        known: the modules, by the first part of their names, that may be imported.
    """

    def __init__(self, folder: str, known: set[str]):
        self.folder, self.known = os.path.realpath(folder), known
        self.events: list[str] = []
        self._named, self._on = "", False
        sys.addaudithook(self._note)

    @contextmanager
    def looking(self, named: str) -> Iterator[list[str]]:
        """The list of what is done in the block that should not be.

        Args:
            named: a text whose words are modules that may be imported as well.
        """
        self.events, self._named, self._on = [], named, True
        try:
            yield self.events
        finally:
            self._on = False

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._on:
            return
        if event == "import":
            module = str(arguments[0])
            if module.partition(".")[0] not in self.known and module not in self._named:
                self.events.append(f"import of {module}")
        elif event == "open":
            if isinstance(arguments[2], int) and arguments[2] & WRITING:
                self._changed(event, arguments[0])
        elif event in CHANGES:
            for path in arguments[:2] if event in ("os.rename", "os.link") else arguments[:1]:
                self._changed(event, path)
        elif event in FOREIGN:
            self.events.append(event)

    def _changed(self, event: str, path: Any) -> None:
        if isinstance(path, int) or path is None:
            return
        real = os.path.realpath(os.fsdecode(path))
        if real != os.devnull and not (real + os.sep).startswith(self.folder + os.sep):
            self.events.append(f"{event} of {real}")
