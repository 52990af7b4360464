"""Measurements: speed always as a ratio to something measured beside it, quality always with its floor.

They have one thread, as the commands have, unless OMP_NUM_THREADS says otherwise.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; the commands that they run inherit it
