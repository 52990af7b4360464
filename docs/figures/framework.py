"""The figures of `docs/one_framework.md`.

    python -m docs.figures.framework [--runs DIR]

Trains the four networks (a minute each) unless their runs are in DIR already, and writes into `docs/images/`.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from matplotlib.figure import Figure

from docs.figures.parts import IMAGES, SEED, generator, model
from toy_score import (
    DDIM,
    DDPM,
    EDM,
    VE,
    VP,
    AnnealedLangevin,
    Cosine,
    DDPMAncestral,
    ExactDenoiser,
    Guided,
    Heart,
    Heun,
    LinearFlow,
    PredictorCorrector,
    ReverseDiffusion,
    RungeKutta4,
    ScoreModule,
    SplitNormal,
    SubVP,
    plotting,
)
from toy_score.plotting.style import EXACT, GENERATED, LABEL, REAL, TRAJECTORY, foot, panels, plain, square


def main() -> None:
    """Make all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", default=None)
    runs = Path(parser.parse_args().runs or tempfile.mkdtemp()).resolve()
    names = ("ncsn_heart", "ddpm_heart", "edm_heart", "edm_split_normal_labels")
    models = {name: model(name, runs) for name in names}
    edm = models["edm_heart"]
    figures = {
        "schedules": schedules(),
        "walks": walks(),
        "ddpm_is_ncsn": crossed(models["ncsn_heart"], models["ddpm_heart"]),
        "density": plotting.density(
            edm.denoiser, ExactDenoiser(Heart(), edm.schedule), "EDM on the heart, a minute of training"
        ),
        "guidance": guidance(models["edm_split_normal_labels"]),
    }
    for name, figure in figures.items():
        (IMAGES / f"{name}.png").write_bytes(plotting.to_png(figure))
        print(IMAGES / f"{name}.png", flush=True)


def schedules() -> Figure:
    """Signal, noise, their ratio, drift and diffusion of all schedules, over time."""
    all_of_them = [VE(), EDM(), LinearFlow(), VP(), SubVP(), Cosine(), DDPM()]
    figure = Figure(figsize=(9, 5.8), dpi=120)
    *axes, key = figure.subplots(2, 3).flat
    for k, schedule in enumerate(all_of_them):
        t = torch.linspace(schedule.t_min, schedule.t_max, 400, dtype=torch.float64)
        alpha, sigma = schedule(t)
        curves = (alpha, sigma, sigma / alpha, -schedule.drift(t), schedule.diffusion(t))
        style = {"color": f"C{k}", "linewidth": 1.6, "linestyle": ":" if isinstance(schedule, DDPM) else "-"}
        for ax, curve in zip(axes, curves, strict=True):
            ax.plot(t, curve, label=type(schedule).__name__, **style)
    titles = (r"signal $\alpha$", r"noise $\sigma$", r"ratio $\sigma / \alpha$", "drift $-f$", "diffusion $g$")
    for ax, title in zip(axes, titles, strict=True):
        plain(ax, title).set_xlabel("time $t$", fontsize=LABEL)
        if "signal" not in title:
            ax.set_yscale("symlog" if "drift" in title else "log")
    key.axis("off")
    key.legend(*axes[0].get_legend_handles_labels(), fontsize=LABEL + 1, frameon=False, loc="center")
    figure.subplots_adjust(left=0.06, right=0.985, bottom=0.08, top=0.94, wspace=0.26, hspace=0.4)
    return figure


def walks() -> Figure:
    """From noise to data, with the exact denoiser: one start, four samplers."""
    p, truth = SplitNormal(), ExactDenoiser(SplitNormal(), VP())
    samplers = {
        "reverse SDE (300)": ReverseDiffusion(300),
        "predictor-corrector (2 x 150)": PredictorCorrector(ReverseDiffusion(150)),
        "probability flow, Heun (2 x 20)": Heun(20),
        "probability flow, RK4 (4 x 8)": RungeKutta4(8),
    }
    figure, axes = panels(2, 2, "From noise to data, with the exact score")
    real = p.sample(1500, generator())
    for ax, (name, sampler) in zip(axes.flat, samplers.items(), strict=True):
        square(ax, p.bounds, name)
        ax.scatter(*real.T, s=2, color=REAL, alpha=0.25, linewidths=0)
        paths = sampler.trajectory(truth, 6, generator())
        t = VP().time(paths.ratio.double().clamp(min=1e-9))
        y = paths.x / VP().alpha(t).float()[:, None, None]
        y[-1] = paths.x[-1]
        for k in range(6):
            ax.plot(*y[:, k].T, color=TRAJECTORY, linewidth=0.6, alpha=0.7)
        ax.scatter(*y[-1].T, s=14, color=GENERATED, zorder=3)
    foot(figure, "black: paths of six samples; red: their ends; blue: real points; in brackets: evaluations")
    return figure


def crossed(ncsn: ScoreModule, ddpm: ScoreModule) -> Figure:
    """Two networks, each with the samplers of both."""
    figure, axes = panels(2, 2, "Either network, either sampler")
    p = Heart()
    real = p.sample(2000, generator())
    langevin, ancestral = AnnealedLangevin(10, n_levels=40), DDPMAncestral("posterior", 500)
    cases = [
        ("NCSN by annealed Langevin", ncsn, langevin),
        ("NCSN by DDPM's ancestral rule", ncsn, ancestral),
        ("DDPM by annealed Langevin", ddpm, langevin),
        ("DDPM by its ancestral rule", ddpm, ancestral),
    ]
    for ax, (name, module, sampler) in zip(axes.flat, cases, strict=True):
        square(ax, p.bounds, name)
        ax.scatter(*real.T, s=2.5, color=REAL, alpha=0.4, linewidths=0)
        ax.scatter(*module.sample(2000, SEED, sampler).T, s=2.5, color=GENERATED, alpha=0.45, linewidths=0)
    foot(figure, "red: 2000 samples; blue: as many real points")
    return figure


def guidance(module: ScoreModule) -> Figure:
    """One class with increasing guidance, learned and exact."""
    figure, axes = panels(2, 4, "Guidance to the right half of the split normal: above learned, below exact")
    p, sampler = SplitNormal(), DDIM(100)
    truth = ExactDenoiser(p, module.schedule)
    real = p.sample(2000, generator())
    for row, whole in enumerate((module.denoiser, truth)):
        for ax, weight in zip(axes[row], (0.0, 1.0, 2.0, 4.0), strict=True):
            square(ax, p.bounds, f"weight {weight:g}")
            ax.scatter(*real.T, s=2.5, color=REAL, alpha=0.25, linewidths=0)
            x = sampler(Guided(whole.conditioned_on(1), whole, weight), 1500, generator())
            ax.scatter(*x.T, s=2.5, color=GENERATED if row == 0 else EXACT, alpha=0.5, linewidths=0)
    foot(figure, "red: samples of the network; grey: of the exact score; blue: real points of both halves")
    return figure


if __name__ == "__main__":
    main()
