"""Attempts to break the package, in large numbers: kills, full disks, damaged files, odd settings, extreme numbers.

`make campaign` runs all of them, and writes what was tried and what survived to docs/campaign.md. The test suite runs a
short form of each. `children.py` starts commands in processes of their own, `record.py` counts and writes the tables,
and `watch.py` observes what a process does.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; all processes inherit it
