"""The pictures of `docs/pictures.md`.

    python -m benchmarks.pictures [--runs DIR]

Trains EDM on the heart (20 s) unless a run of it is in DIR already, and writes `docs/images/`.
"""

import argparse
import tempfile
from pathlib import Path

import torch

from benchmarks.figures import IMAGES, generator, model
from toy_score import ExactDenoiser, Heart, ScoreModule, plotting
from toy_score.callbacks.pictures import animation
from toy_score.metrics import Fields


def main() -> None:
    """Make them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", default=None)
    edm = model("edm_heart", Path(parser.parse_args().runs or tempfile.mkdtemp()).resolve())
    exact, title = ExactDenoiser(Heart(), edm.schedule), "EDM on the heart, 20 s of training"
    files = {
        "noise_to_data.gif": moving(edm, exact, title),
        "fields.png": fields(edm, exact, title),
    }
    for name, content in files.items():
        (IMAGES / name).write_bytes(content)
        print(IMAGES / name, f"{len(content) / 1e3:.0f} kB", flush=True)


def moving(edm: ScoreModule, exact: ExactDenoiser, title: str) -> bytes:
    """Samples on their way."""
    return animation(edm.sampler, edm.denoiser, generator(), title, exact, Heart().sample(1500, generator()))


def fields(edm: ScoreModule, exact: ExactDenoiser, title: str) -> bytes:
    """Curl, eigenvalues, trajectories and straightness."""
    found = Fields(exact)
    with torch.no_grad():
        found.update(edm.denoiser, Heart().sample(4096, generator()), generator())
    figure = plotting.fields(edm.denoiser, exact, found.summary(), title)
    return plotting.to_png(figure)


if __name__ == "__main__":
    main()
