"""The scripts that draw the figures of the documents and make their tables.

Each is run from the repository's root, `python -m docs.figures.gallery`; pictures go to `docs/images/`, tables to
`docs/tables/`. They use one thread, like the commands, unless OMP_NUM_THREADS is set.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; the commands that they run inherit it
