"""Measurements of speed, as ratios to something measured in the same run, and of quality, with the noise floor.

They use one thread, like the commands, unless OMP_NUM_THREADS is set. `timing.py` is the harness. *The original study*
is the project named in README.md; `study.py` re-creates its training loops.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; the commands that they run inherit it
