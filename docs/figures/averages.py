"""Averages of the weights: the score error of one training of `edm_heart` with several of them side by side.

    python -m docs.figures.averages [--steps 1000] [--seed 0]

The weights are averaged every ten steps, as by `EMA`: `average <- d average + (1 - d) weights`, with d after n updates
as the first column says. The errors are means over nine noise levels from 5 to 0.02. Prints the figures of
`docs/default_models.md`.
"""

import argparse
from collections.abc import Callable

import torch

from benchmarks.timing import markdown
from toy_score import EDM, MLP, EDMModule, EDMPreconditioning, ExactDenoiser, Heart, LogSigma
from toy_score.modules.lr_schedules import WarmupCosine
from toy_score.objectives import Context, LogNormalSigma, OutputWeighting, StableTarget

EVERY = 10
AVERAGES: dict[str, Callable[[int], float]] = {
    "0: the weights": lambda n: 0.0,
    "(1 + n) / (10 + n), as in the run": lambda n: (1 + n) / (10 + n),
    "(1 + n) / (5 + n)": lambda n: (1 + n) / (5 + n),
    "(1 + n) / (20 + n)": lambda n: (1 + n) / (20 + n),
    "0.998 a step from the start": lambda n: 0.998**EVERY,
}


def trained(steps: int, seed: int) -> tuple[EDMModule, dict[str, list[torch.Tensor]]]:
    """A model with the settings of `edm_heart`, and the averages of its weights."""
    torch.manual_seed(seed)
    model = EDMModule(
        backbone=MLP(activation="silu"),
        schedule=EDM(0.02, 500.0),
        parameterisation=EDMPreconditioning(0.8),
        conditioning=LogSigma(),
        times=LogNormalSigma(-0.5, 1.8),
        objective=StableTarget(weighting=OutputWeighting(), every=8),
    )
    weights = list(model.denoiser.parameters())
    optimizer = torch.optim.Adam(weights, betas=(0.9, 0.99), fused=True)
    averages = {name: [w.detach().clone() for w in weights] for name in AVERAGES}
    for k in range(steps):
        optimizer.param_groups[0]["lr"] = 0.02 * WarmupCosine()(k / steps)
        generator = torch.Generator().manual_seed(1_000_000 * seed + k)
        x0 = Heart().sample(8192, generator)
        t = model.times(len(x0), model.schedule, generator)
        loss = model.objective(model.denoiser, Context(x0, t, generator, None, None, None, k)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (k + 1) % EVERY == 0:
            for name, d in AVERAGES.items():
                for average, w in zip(averages[name], weights, strict=True):
                    average.lerp_(w.detach(), 1.0 - d((k + 1) // EVERY - 1))
    return model, averages


@torch.no_grad()
def error(model: EDMModule, weights: list[torch.Tensor], n: int = 4000) -> float:
    """The mean score error with other weights, which stay in the model."""
    for own, w in zip(model.denoiser.parameters(), weights, strict=True):
        own.copy_(w)
    x0 = Heart().sample(n, torch.Generator().manual_seed(5))
    eps = torch.randn(n, 2, generator=torch.Generator().manual_seed(6))
    truth, errors = ExactDenoiser(Heart(), model.schedule), []
    for sigma in torch.logspace(0.69897, -1.69897, 9).tolist():
        level = model.schedule.level_at(sigma)
        x = x0 + sigma * eps
        errors.append((model.denoiser.noise(x, level) - truth.noise(x, level)).square().sum(dim=1).mean().item() / 2)
    return sum(errors) / len(errors)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model, averages = trained(options.steps, options.seed)
    print(markdown([{"d": name, "score error": f"{error(model, a):.6f}"} for name, a in averages.items()]))


if __name__ == "__main__":
    main()
