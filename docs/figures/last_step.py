"""The last step at a hard edge: samples in the gap of the split normal, by the exact denoiser and by trained networks.

    python -m docs.figures.last_step [--n 20000] [--draws 16]     # the exact denoiser, by lowest level and last step
    python -m docs.figures.last_step CHECKPOINT ...               # checkpoints that sample by StochasticMidpoint

Prints the tables of `docs/default_models.md`. z is in standard deviations of a single draw of exact samples.
"""

import argparse
from dataclasses import replace
from statistics import mean

import torch
from torch import Tensor

from benchmarks.timing import markdown
from toy_score import (
    VE,
    Angular,
    Denoiser,
    ExactDenoiser,
    ScoreModule,
    SplitNormal,
    StochasticMidpoint,
    evaluate,
)

DENOISINGS = (0, 1, 2, 3, 6)
DEPTHS = (1, 2, 3)
"""How far beyond the edge the denoised point is compared with the exact one, in units of the noise."""
TRUTH = SplitNormal()


def drawn(sampler: StochasticMidpoint, denoiser: Denoiser, n: int, seed: int) -> Tensor:
    """Samples, `(n, 2)`."""
    return sampler(denoiser, n, torch.Generator().manual_seed(seed))


def exact(level: float, denoisings: int, n: int, draws: int) -> dict[str, str]:
    """The row of the exact denoiser with a lowest level and a number of denoisings; 0 is the step of the flow."""
    sampler = StochasticMidpoint(48, Angular(0.3), denoisings)
    x = drawn(sampler, ExactDenoiser(TRUTH, VE(level, 20.0)), n * draws, 7)
    reports = [evaluate(part, TRUTH).as_dict() for part in x.split(n)]
    z = {name: mean(r[name]["z"] for r in reports) for name in ("gaussianised_ks", "cross_entropy_gap")}
    return {
        "lowest level": f"{level:g}",
        "denoisings": str(denoisings),
        "invalid mass": f"{TRUTH.invalid(x).double().mean().item():.4f}",
        **{f"{name}, z": f"{value:+.1f}" for name, value in z.items()},
    }


def learned(path: str, n: int) -> dict[str, str]:
    """The row of a checkpoint: shares of the samples in the gap, and errors of the denoised point beyond the edges."""
    model = ScoreModule.load_from_checkpoint(path).eval()
    if not isinstance(model.sampler, StochasticMidpoint):
        raise SystemExit(f"{path} samples by {type(model.sampler).__name__}; take one that does by StochasticMidpoint")
    level = model.schedule.level_at(r := model.schedule.ratios[0])
    ends = [drawn(replace(model.sampler, denoisings=k), model.denoiser, n, 0) for k in (0, 1)]
    with torch.no_grad():
        while len(ends) <= DENOISINGS[-1]:
            ends.append(model.denoiser.denoise(level.alpha * ends[-1], level))
    beyond = {k: 1.0 - ends[k][:, 0].abs() for k in DENOISINGS}
    shares = {f"{k} denoisings": (beyond[k] > 0).double().mean().item() for k in DENOISINGS}
    shares["once, farther than r"] = (beyond[1] > r).double().mean().item()
    errors = {f"error at {u} r": f"{error_beyond(model, u):.2f}" for u in DEPTHS}
    return {"checkpoint": path, "lowest level": f"{r:.2g}", **{k: f"{v:.5f}" for k, v in shares.items()}, **errors}


@torch.no_grad()
def error_beyond(model: ScoreModule, depth: float) -> float:
    """Of the denoised point at the lowest level `r`, `depth r` beyond both edges, in units of `r`.

    Root mean square over the part of the edges from -1.5 to 1.5.
    """
    level = model.schedule.level_at(r := model.schedule.ratios[0])
    along = torch.linspace(-1.5, 1.5, 31)
    x = torch.cat([torch.stack([torch.full_like(along, side * (1.0 - depth * r)), along], dim=1) for side in (-1, 1)])
    exact = ExactDenoiser(TRUTH, model.schedule).denoise(level.alpha * x, level)
    difference = (model.denoiser.denoise(level.alpha * x, level) - exact)[:, 0] / r
    return difference.square().mean().sqrt().item()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*")
    parser.add_argument("--n", type=int, default=20_000, help="samples of a draw")
    parser.add_argument("--draws", type=int, default=16, help="draws, for the exact denoiser")
    options = parser.parse_args()
    if options.checkpoints:
        print(markdown([learned(path, options.n) for path in options.checkpoints]))
    else:
        levels = (0.02, 0.01, 0.005)
        print(markdown([exact(level, k, options.n, options.draws) for level in levels for k in DENOISINGS]))


if __name__ == "__main__":
    main()
