"""The animation of the README, the pictures of `docs/pictures.md`, and those of `fit` in `docs/results.md`.

    python -m docs.figures.pictures [--runs DIR]

Trains EDM on the heart, and NCSN and DDPM on the heart and the split normal (a minute each), unless runs of them are in
DIR already, and writes into `docs/images/`.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from docs.figures.parts import IMAGES, generator, model, small_png, trained
from toy_score import ExactDenoiser, Heart, ScoreModule, plotting
from toy_score.callbacks.pictures import animation
from toy_score.metrics import Fields
from toy_score.plotting.animation import moments
from toy_score.plotting.style import EXACT, GENERATED, LABEL, REAL, panels, square

FRAMES = 40


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", default=None)
    runs = Path(parser.parse_args().runs or tempfile.mkdtemp()).resolve()
    edm, ncsn = model("edm_heart", runs), model("ncsn_heart", runs)
    exact, title = ExactDenoiser(Heart(), edm.schedule), "EDM on the heart, a minute of training"
    files = {
        "learned_and_exact.gif": learned_and_exact(ncsn),
        "ncsn_heart_vector_field.png": small_png(ncsn.plot_field()),
        "noise_to_data.gif": moving(edm, exact, title),
        "fields.png": fields(edm, exact, title),
    }
    for config in ("ncsn_heart", "ddpm_heart", "ncsn_split_normal", "ddpm_split_normal"):
        files[f"{config}.png"] = (trained(config, runs).parents[1] / "pictures/summary.png").read_bytes()
    for name, content in files.items():
        (IMAGES / name).write_bytes(content)
        print(IMAGES / name, f"{len(content) / 1e3:.0f} kB", flush=True)


def learned_and_exact(ncsn: ScoreModule) -> bytes:
    """The same noise moved to data by the trained network and by the exact denoiser."""
    p, sampler, n = Heart(), ncsn.sampler, 800
    denoisers = {"learned score": ncsn.denoiser, "exact score": ExactDenoiser(p, ncsn.schedule)}
    every = max(len(sampler.times(ncsn.schedule)) // (4 * FRAMES), 1)
    with torch.no_grad():
        walks = [moments(sampler.trajectory(d, n, generator(), every), p.bounds, FRAMES) for d in denoisers.values()]
    figure, axes = panels(1, 2, "NCSN on the heart: the reverse SDE from the same noise")
    real = p.sample(1500, generator())
    clouds, corners = [], []
    for ax, title, colour in zip(axes[0], denoisers, (GENERATED, EXACT), strict=True):
        square(ax, p.bounds, title).tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
        blue, red = (ax.plot([], [], ".", color=c, markersize=2.5, alpha=0.5)[0] for c in (REAL, colour))
        clouds.append((blue, red))
        corners.append(ax.text(0.03, 0.03, "", transform=ax.transAxes, fontsize=LABEL))
    canvas, frames = FigureCanvasAgg(figure), []
    for pair in zip(*walks, strict=True):
        for moment, (blue, red), corner in zip(pair, clouds, corners, strict=True):
            blue.set_data(*(moment.zoom * real).T)
            red.set_data(*moment.z.T)
            corner.set_text(rf"$\sigma$ = {moment.ratio:.3g}")
        canvas.draw()
        frames.append(np.asarray(canvas.buffer_rgba())[:, :, :3].copy())
    return plotting.to_gif(frames)


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
