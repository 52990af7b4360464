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

ENDS = ("flow", "mean")
TRUTH = SplitNormal()


def drawn(sampler: StochasticMidpoint, denoiser: Denoiser, n: int, seed: int) -> Tensor:
    """Samples, `(n, 2)`."""
    return sampler(denoiser, n, torch.Generator().manual_seed(seed))


def exact(level: float, end: str, n: int, draws: int) -> dict[str, str]:
    """The row of the exact denoiser with a lowest level and a last step."""
    sampler = StochasticMidpoint(48, Angular(0.3), end)  # type: ignore[arg-type]
    x = drawn(sampler, ExactDenoiser(TRUTH, VE(level, 20.0)), n * draws, 7)
    reports = [evaluate(part, TRUTH).as_dict() for part in x.split(n)]
    z = {name: mean(r[name]["z"] for r in reports) for name in ("gaussianised_ks", "cross_entropy_gap")}
    return {
        "lowest level": f"{level:g}",
        "last step": end,
        "invalid mass": f"{TRUTH.invalid(x).double().mean().item():.4f}",
        **{f"{name}, z": f"{value:+.1f}" for name, value in z.items()},
    }


def learned(path: str, n: int) -> dict[str, str]:
    """The row of a checkpoint: shares of the samples in the gap, and farther in it than the lowest level."""
    model = ScoreModule.load_from_checkpoint(path).eval()
    if not isinstance(model.sampler, StochasticMidpoint):
        raise SystemExit(f"{path} samples by {type(model.sampler).__name__}; take one that does by StochasticMidpoint")
    r = model.schedule.ratios[0]
    beyond = {end: 1.0 - drawn(replace(model.sampler, end=end), model.denoiser, n, 0)[:, 0].abs() for end in ENDS}
    shares = {end: (beyond[end] > 0).double().mean().item() for end in ENDS}
    far = {f"mean, farther than {k} r": (beyond["mean"] > k * r).double().mean().item() for k in (1, 2)}
    return {"checkpoint": path, "lowest level": f"{r:.2g}", **{k: f"{v:.4f}" for k, v in (shares | far).items()}}


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
        print(markdown([exact(level, end, options.n, options.draws) for level in levels for end in ENDS]))


if __name__ == "__main__":
    main()
