"""Freed memory stays with the process.

glibc returns freed memory to the system at limits that follow the largest block freed so far, and the layers of a
network are freed in blocks of that size. Whether it returns them after each layer depends on what else lies in its
heap. If it does, each layer pays a page fault for every 4 kB, up to a third of the time of sampling.
"""

import contextlib
import ctypes
import os

__all__ = ["keep_memory"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT, LARGE = 256 << 20, 32 << 20  # bytes: freed at the end of the heap; blocks from which on each is mapped alone


def keep_memory() -> None:
    """Keep up to 256 MB of freed memory, unless the environment has limits of its own (MALLOC_TRIM_THRESHOLD_, ...)."""
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)
