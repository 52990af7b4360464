"""How a command ends badly: one line and an exit code. Nothing heavy is imported."""

import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from toy_score.quiet import silence

__all__ = ["one_line_errors", "quiet", "refuse"]

LONGEST = 800  # characters of a message


def refuse(message: str) -> int:
    """Print the one line of bad input, of which the middle is left out if a long value is in it; the exit code."""
    if len(message) > LONGEST:
        message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 2 :]}"
    print(f"error: {message}", file=sys.stderr)
    return 2


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Exit with 2 after bad input, 1 after a failure, 130 after Ctrl-C, 143 after SIGTERM, each explained in one line.

    With TOY_SCORE_DEBUG=1 in the environment, the traceback is shown instead.
    """
    try:
        with _readers_may_leave():
            yield
    except KeyboardInterrupt as stop:
        print(str(stop) or "stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except SystemExit as stop:  # Lightning's own, after it has shut down: with code 1, or after SIGTERM with none
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise SystemExit(130) from None
        if _is("lightning.pytorch.utilities.exceptions", "SIGTERMException", stop):
            print("stopped", file=sys.stderr)
            raise SystemExit(143) from None
        raise
    except Exception as error:
        if os.environ.get("TOY_SCORE_DEBUG"):
            raise
        lines = [line.strip() for line in _message(error).splitlines() if line.strip()]
        if (wanted := _memory(error)) is not None:
            refuse(wanted)
            raise SystemExit(2) from None
        bad_input = isinstance(error, (ValueError, TypeError, OSError, ImportError))
        bad_input |= _is("lightning.pytorch.utilities.exceptions", "MisconfigurationException", error)
        unsuited = None if bad_input else _of_lightning(error)
        refuse(unsuited or (lines[0] if lines else type(error).__name__))
        if bad_input or unsuited:
            raise SystemExit(2) from None
        if not isinstance(error, FloatingPointError):  # those are failures of the model, not of the program
            print("this is a defect of toy_score; TOY_SCORE_DEBUG=1 shows where", file=sys.stderr)
        raise SystemExit(1) from None


def _of_lightning(error: Exception) -> str | None:
    """What to say where a callback of Lightning fails in Lightning's own code, since it does not suit; None elsewhere.

    Some look for what not every model has: a learning rate by the name of `lr`, a loss that a step returns.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    places = [frame.f_globals.get("__name__", "") for frame in frames]
    if not places or not places[-1].startswith("lightning."):
        return None
    message = next(iter(str(error).splitlines()), type(error).__name__)
    if type(error) is RuntimeError and places[-1].startswith("lightning.pytorch.callbacks"):
        return message  # raised on purpose
    owners = [type(frame.f_locals.get("self")) for frame in frames]
    callback = next((o.__name__ for o in owners if o.__module__.startswith("lightning.pytorch.callbacks")), None)
    why = f"it looks for {message}" if isinstance(error, KeyError) else message
    return None if callback is None else f"{callback} does not suit this model: {why}; leave this callback out"


def _message(error: Exception) -> str:
    """What an error says; one of the operating system that nobody has put into words, with its file first."""
    if not (isinstance(error, OSError) and isinstance(error.filename, str | bytes) and error.strerror):
        return str(error)
    return f"{os.fsdecode(error.filename)!r}: {error.strerror}"


MEMORY = {
    "toy_score.callbacks.pictures": "--pictures.n_samples",
    "toy_score.plotting": "--pictures.n_samples",
    "toy_score.data": "--data.n_train, --data.n_val or --data.batch_size",
    "toy_score.backbones": "--model.backbone.hidden or --data.batch_size",
    "toy_score.modules": "--data.batch_size or --data.n_val",
    "toy_score.samplers": "--n_samples",
    "toy_score.metrics": "--n_samples",
    "toy_score.compare": "--n_samples",
}
"""What makes smaller what each part of the package keeps in memory."""


def _memory(error: Exception) -> str | None:
    """What to say where the memory was not enough: how much was wanted, and what makes it less; None elsewhere."""
    text = str(error)
    if not (isinstance(error, MemoryError) or re.search("allocate memory|out of memory|Invalid buffer size", text)):
        return None
    found = re.search(r"(?:allocate|size:?|to allocate) ([\d.]+ ?(?:[KMGTP]i?B|bytes))", text)
    flags, trace = "", error.__traceback__
    while trace is not None:  # the innermost part that is known counts
        name = trace.tb_frame.f_globals.get("__name__", "")
        flags = next((flag for part, flag in MEMORY.items() if name.startswith(part)), flags)
        trace = trace.tb_next
    wanted = f"{found[1]} at once are too much" if found else "there is too little of it"
    return f"out of memory: {wanted}; lower {flags or '--n_samples or --data.batch_size'}"


class _Output:
    """Standard output whose reader may stop, as in `fit | head`: then nothing more is written, and the command ends.

    A training ends as after SIGHUP: at the end of a step, with its checkpoint saved.
    """

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._end()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._end()

    def _end(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        handler = signal.getsignal(signal.SIGHUP) if hasattr(signal, "SIGHUP") else None
        if not callable(handler):
            raise SystemExit(128 + 13)  # as after SIGPIPE
        signal.raise_signal(signal.SIGHUP)


@contextmanager
def _readers_may_leave() -> Iterator[None]:
    stream = sys.stdout
    sys.stdout = _Output(stream)
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout = stream


def _not_of_files(thread: threading.ExceptHookArgs) -> None:
    if not issubclass(thread.exc_type, OSError):
        threading.__excepthook__(thread)


def _is(module: str, name: str, error: BaseException) -> bool:
    """Whether an error is of a class whose module may not be imported yet."""
    return module in sys.modules and isinstance(error, getattr(sys.modules[module], name))


def quiet() -> None:
    """Show only what was asked for: no information of Lightning about itself, no warning that is expected here.

    Nor the traceback of a thread whose file cannot be written: TensorBoard raises that error in the command as well.
    """
    threading.excepthook = _not_of_files
    silence()
