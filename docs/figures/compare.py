"""The figure of `docs/compare.md`: three models on the heart, beside the exact denoiser.

    python -m docs.figures.compare [--runs DIR]

Trains NCSN, DDPM and EDM (a minute each) unless their runs are in DIR already, and writes `docs/images/compare.png`.
The page is `DIR/compared/index.html`; a browser makes `compare_page.png` of it.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from benchmarks.timing import command
from docs.figures.parts import IMAGES, trained

MODELS = ("ncsn_heart", "ddpm_heart", "edm_heart")


def main() -> None:
    """Compare, and keep the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default=None)
    runs = Path(parser.parse_args().runs or tempfile.mkdtemp()).resolve()
    checkpoints = [trained(name, runs) for name in MODELS]
    command(runs, "compare", "--output", "compared", *checkpoints)
    shutil.copy(runs / "compared/evaluations.png", IMAGES / "compare.png")
    print((runs / "compared/results.md").read_text(), flush=True)


if __name__ == "__main__":
    main()
