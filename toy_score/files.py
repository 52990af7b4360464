"""Files that are complete or absent: what is written replaces its target only when all of it is on the disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["replacing"]


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file to write to; when the block ends, it takes the place of `path`.

    It is `PATH.part` until then, in the same folder and so on the same file system, where `os.replace` is atomic: at
    every moment `path` is the old file or the new one, both whole. If the block raises, `path` stays as it was and
    nothing is left behind.

    Raises:
        OSError: if the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # a rename may reach the disk before the contents do
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
