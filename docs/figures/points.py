"""Training on a file: 10 000 points of a known distribution, by the command line, compared with fresh points.

    python -m docs.figures.points                 # moons, S-curve and eight Gaussians
    python -m docs.figures.points moons           # one of them
    python -m docs.figures.points --picture       # docs/images/points.png from a run on the moons

The points are written to a `.csv` file, `fit --config edm_points` trains on it, and `predict` draws as many samples.
The model sees nothing of the distribution itself. There are three draws of the training points, each with its own fit,
because the result depends on the draw. The table has the exact W2 (optimal assignment, in the units of the file) of
samples to fresh points, beside that of other real points to the same fresh points; and the memorisation of the model,
beside that of the optimal denoiser of the training points. Results go to `docs/tables/`.
"""

import argparse
import json
import re
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import command, machine
from docs.figures.parts import IMAGES, TABLES
from toy_score import __version__, plotting
from toy_score.data import PointsDataModule
from toy_score.denoisers import ExactDenoiser
from toy_score.distributions import Distribution, EightGaussians, Moons, SCurve
from toy_score.metrics import Memorisation
from toy_score.metrics.transport import exact_w2
from toy_score.modules import ScoreModule
from toy_score.plotting.style import EXACT, GENERATED, LABEL, REAL, TICK, TITLE, in_units, panels, square
from toy_score.samplers import Heun
from toy_score.schedules import EDM
from toy_score.seeds import seed_of

TOYS: dict[str, Distribution] = {"moons": Moons(), "s_curve": SCurve(), "eight_gaussians": EightGaussians()}
N, DRAWS, YARDSTICK = 10_000, 3, 2000


def main(names: list[str]) -> None:
    """Measure and write `results/points.json` and `results/points.md`."""
    file = TABLES / "points.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    for name in names:
        print(f"{name} ...", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            results[name] = measure(name, Path(folder))
        print(json.dumps(results[name], indent=2), flush=True)
        file.write_text(json.dumps(results, indent=2) + "\n")
        (TABLES / "points.md").write_text(table(results))


def measure(name: str, folder: Path) -> dict[str, object]:
    """Fit and sample in a folder, for several draws of the training points, and compare with fresh points."""
    seconds, w2, floor, excess, chance, optimum = [], [], [], [], [], []
    for k in range(DRAWS):
        run = folder / str(k)
        run.mkdir()
        training, data, checkpoint = fitted(name, run, k)
        command(run, "predict", "--ckpt_path", checkpoint, "--n_samples", N, "--output", "samples.npy", "--seed", k)
        x, fresh = torch.tensor(np.load(run / "samples.npy")), points(name, "fresh points", k)
        seconds.append(training)
        w2.append(exact_w2(x, fresh).item())
        floor.append(exact_w2(points(name, "real points", k), fresh).item())
        found = memorisation(name, data)
        found.update(data.known().standardisation(x))
        summary = found.summary()
        excess.append(summary["excess"])
        chance.append(summary["excess_floor"])
        optimum.append(optimal(name, data).summary()["excess"])
    return {
        "command": f"python -m docs.figures.points {name}",
        "machine": machine(),
        "toy_score": __version__,
        "n": N,
        "training_seconds": seconds,
        "w2": w2,
        "floor": floor,
        "ratio": sum(w2) / sum(floor),
        "excess": excess,
        "excess_of_fresh_points": chance,
        "excess_of_the_optimal_denoiser": optimum,
    }


def points(name: str, purpose: str, k: int = 0) -> Tensor:
    """A draw of the distribution itself."""
    return TOYS[name].sample(N, torch.Generator().manual_seed(seed_of(f"{purpose} of the benchmark", k)))


def fitted(name: str, folder: Path, k: int = 0) -> tuple[float, PointsDataModule, Path]:
    """A fit to a file of points by the command line: its seconds, the data as it saw them, its checkpoint."""
    np.savetxt(folder / "my.csv", points(name, "training points", k).numpy(), "%.8g", ",", header="x,y", comments="")
    printed = command(folder, "fit", "--config", "edm_points", "--data.path", "my.csv")
    data = PointsDataModule(str(folder / "my.csv"))
    data.setup()
    checkpoint = folder / "lightning_logs/edm_points/version_0/checkpoints/last.ckpt"
    return float(re.search(r"training:\s+([\d.]+) s", printed)[1]), data, checkpoint


def memorisation(name: str, data: PointsDataModule) -> Memorisation:
    """The metric, with fresh exact points in the model's coordinates."""
    return Memorisation(data.known().distribution, data.known().standardisation(points(name, "judging points")))


def optimal(name: str, data: PointsDataModule) -> Memorisation:
    """The metric for samples of the optimal denoiser of the training points."""
    truth = ExactDenoiser(data.distribution, EDM(sigma_min=0.002, sigma_max=80.0))
    found = memorisation(name, data)
    found.update(Heun(n_steps=18)(truth, YARDSTICK, torch.Generator().manual_seed(seed_of("yardstick"))))
    return found


def table(results: dict[str, dict]) -> str:
    """The results as Markdown."""
    lines = [
        f"| {N} points of | training | exact W2 (real points) | ratio | memorised (fresh points; optimal denoiser) |",
        "|---|---|---|---|---|",
    ]
    for name, r in results.items():
        seconds, w2, floor, excess, chance, optimum = (
            np.mean(r[key])
            for key in (
                "training_seconds", "w2", "floor", "excess", "excess_of_fresh_points", "excess_of_the_optimal_denoiser"
            )
        )  # fmt: skip
        lines.append(
            f"| {name.replace('_', ' ')} | {seconds:.1f} s | {w2:.4f} ({floor:.4f}) | {r['ratio']:.2f} "
            f"| {excess:.3f} ({chance:.3f}; {optimum:.3f}) |"
        )
    return "\n".join([*lines, "", next(iter(results.values()))["machine"], ""])


def picture(name: str = "moons") -> None:
    """The points of the file, samples, and the distances of both to the training points."""
    with tempfile.TemporaryDirectory() as folder:
        _, data, checkpoint = fitted(name, Path(folder))
        model = ScoreModule.load_from_checkpoint(checkpoint)
    found, seed = memorisation(name, data), torch.Generator().manual_seed(0)
    with torch.no_grad():
        z = model.sampler(model.denoiser, len(data.distribution), seed)
    found.update(z)
    figure, axes = panels(1, 3, f"A file of {N} points, trained on, sampled from")
    for ax, x, colour, title in (
        (axes[0, 0], data.distribution.points, REAL, "the points of my.csv"),
        (axes[0, 1], z, GENERATED, "samples"),
    ):
        square(ax, data.distribution.bounds, title).scatter(*x.T.numpy(), s=1.5, color=colour, alpha=0.5, linewidths=0)
    in_units(figure, data.known().standardisation)
    ax = axes[0, 2]
    samples, best = found.summary()["histogram"], optimal(name, data).summary()["histogram"]
    for counts, label, colour in (
        (samples["fresh"], "fresh points", REAL),
        (samples["samples"], "samples", GENERATED),
        (best["samples"], "the optimal denoiser's samples", EXACT),
    ):
        ax.stairs(counts, samples["edges"], color=colour, linewidth=1.6, label=label)
    ax.set(xscale="log", xlim=(1e-4, 3), xlabel="distance to the nearest training point", ylim=(0, 0.5))
    ax.set_title("share at each distance", fontsize=TITLE - 1)
    ax.tick_params(labelsize=TICK)
    ax.tick_params(axis="y", direction="in", pad=2)  # clear of the neighbour's frame
    ax.legend(fontsize=LABEL - 1, frameon=False, loc="upper left")
    (IMAGES / "points.png").write_bytes(plotting.to_png(figure))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("toys", nargs="*", choices=[[], *TOYS], help="all three if none is named")
    parser.add_argument("--picture", action="store_true", help="draw instead")
    arguments = parser.parse_args()
    picture() if arguments.picture else main(arguments.toys or list(TOYS))
