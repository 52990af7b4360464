"""How a command ends badly: one line and an exit code. Nothing heavy is imported."""

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["one_line_errors", "quiet", "refuse"]

INFORMATION = ("pytorch.utilities.rank_zero", "fabric.utilities.rank_zero", "fabric.utilities.seed")
"""Loggers of Lightning that tell what device there is, what it restores, and what else could be bought."""

EXPECTED_WARNINGS = (
    ".*The dirpath has changed.*",  # of a resumed run, which has a folder of its own
    ".*number of training batches.*",  # a batch of Lightning's is a group of steps
    ".*does not have many workers.*",  # a loader indexes points that lie on the device
    ".*isinstance.treespec, LeafSpec.*",  # Lightning 2.6 with torch 2.13
    ".*Be aware that when using.*",  # the callbacks of fit are not those of test
)


LONGEST = 800  # characters of a message


def refuse(message: str) -> int:
    """Print the one line of bad input, of which the middle is left out if a long value is in it; the exit code."""
    if len(message) > LONGEST:
        message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 2 :]}"
    print(f"error: {message}", file=sys.stderr)
    return 2


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Exit with 2 after bad input, with 1 after a failure, with 130 after Ctrl-C, each explained in one line.

    With TOY_SCORE_DEBUG=1 in the environment, the traceback is shown instead.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        print(str(stop) or "stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except SystemExit as stop:  # Lightning's own, with code 1, after it has shut down
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise SystemExit(130) from None
        raise
    except Exception as error:
        if _is("lightning.pytorch.utilities.exceptions", "SIGTERMException", error):
            print("stopped", file=sys.stderr)
            raise SystemExit(143) from None
        if os.environ.get("TOY_SCORE_DEBUG"):
            raise
        if _lacks_memory(error):
            refuse("there is not enough memory for these settings; choose smaller numbers, or fewer samples")
            raise SystemExit(2) from None
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        refuse(lines[0] if lines else type(error).__name__)
        bad_input = isinstance(error, (ValueError, TypeError, OSError))
        if bad_input or _is("lightning.pytorch.utilities.exceptions", "MisconfigurationException", error):
            raise SystemExit(2) from None
        if not isinstance(error, FloatingPointError):  # those are failures of the model, not of the program
            print("this is a defect of toy_score; TOY_SCORE_DEBUG=1 shows where", file=sys.stderr)
        raise SystemExit(1) from None


def _not_of_files(thread: threading.ExceptHookArgs) -> None:
    if not issubclass(thread.exc_type, OSError):
        threading.__excepthook__(thread)


def _lacks_memory(error: Exception) -> bool:
    """Whether memory was asked for that there is not; torch has an error of its own for graphics cards only."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in ("allocate memory", "out of memory"))


def _is(module: str, name: str, error: Exception) -> bool:
    """Whether an error is of a class whose module may not be imported yet."""
    return module in sys.modules and isinstance(error, getattr(sys.modules[module], name))


def quiet() -> None:
    """Show only what was asked for: no information of Lightning about itself, no warning that is expected here.

    Nor the traceback of a thread whose file cannot be written: TensorBoard raises that error in the command as well.
    """
    threading.excepthook = _not_of_files
    for name in INFORMATION:
        logging.getLogger(f"lightning.{name}").setLevel(logging.WARNING)
    for text in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message=text)
