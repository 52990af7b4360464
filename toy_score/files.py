"""Files that are complete or absent, and written by one command at a time."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, overload

from filelock import FileLock, Timeout

__all__ = ["digest", "locked", "replacing", "shown"]


def shown(path: str | Path) -> str:
    """A path as messages show it: from the working directory on if the file is below that, or else as it was given."""
    relative = os.path.relpath(path)
    return os.fspath(path) if Path(relative).parts[:1] == (os.pardir,) else relative


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Keep other commands from writing `path` until the block ends.

    The operating system holds the lock, on the file `PATH.lock`, and releases it when the process ends, even if it is
    killed. The block removes that file when it ends.

    Raises:
        BlockingIOError: if another command holds the lock.
        OSError: if the folder does not exist or cannot be written.
    """
    path = Path(path)
    if not path.parent.is_dir():  # FileLock would make it
        raise FileNotFoundError(
            f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}; choose another --output"
        )
    lock = FileLock(path.with_name(path.name + ".lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise BlockingIOError(
            f"another command is writing {str(path)!r}; wait for it, or choose another --output"
        ) from None
    except OSError as error:
        raise OSError(f"cannot write {str(path)!r}: {error.strerror or error}; choose another --output") from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows does not remove open files
            os.unlink(lock.lock_file)  # before the release: `acquire` discards a lock on a file that is removed
        lock.release()


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file to write to; when the block ends, it takes the place of `path`.

    It is `PATH.new` until then, in the same folder and so on the same file system, where `os.replace` is atomic: at
    every moment `path` is the old file or the new one, both whole. If the block raises, `path` stays as it was and
    nothing is left behind.

    Raises:
        OSError: if the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    new = path.with_name(path.name + ".new")
    try:
        with open(new, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # a rename may reach the disk before the contents do
        os.replace(new, path)
    except OSError as error:
        new.unlink(missing_ok=True)
        if error.filename not in (None, str(new)):
            raise  # of another file
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error
    except BaseException:
        new.unlink(missing_ok=True)
        raise


@overload
def digest(path: str | Path) -> str: ...


@overload
def digest(path: None) -> None: ...


def digest(path: str | Path | None) -> str | None:
    """The SHA-256 of a file's contents; None for none."""
    return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()
