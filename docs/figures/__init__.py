"""The scripts that draw the figures of the documents, and make the tables that stand beside them.

Each is run from the repository's root, `python -m docs.figures.gallery`; pictures go to `docs/images/`, tables to
`docs/tables/`. They use one thread, as the commands do, unless OMP_NUM_THREADS says otherwise.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; the commands that they run inherit it
