"""Freed memory: whether the process keeps it."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, sys
from toy_score.memory import keep_memory
if sys.argv[1] == "kept":
    keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
faults = []
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [libc.malloc(4 << 20) for _ in range(4)]
    for block in blocks:
        libc.memset(block, 1, 4 << 20)
    for block in blocks:
        libc.free(block)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(faults[5:]))
"""


OWN = {"MALLOC_ARENA_MAX": "4"}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's limits")
@pytest.mark.parametrize(("choice", "environment"), [("kept", {}), ("default", {}), ("kept", OWN)])
def test_freed_layers_are_not_faulted_in_again_unless_the_environment_has_limits_of_its_own(choice, environment):
    """Four blocks of the size of a layer, used and freed again and again; 4096 pages without the limits."""
    command = [sys.executable, "-c", PROGRAM, choice]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment | {"PATH": ""}).stdout
    assert (int(printed) < 10) == (choice == "kept" and not environment)
