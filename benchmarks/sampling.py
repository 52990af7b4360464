"""Sampling throughput against the roofline, the network alone on the same rows, and against the original sampler.

    python -m benchmarks.sampling [--quick] [--device cuda]

The roofline is the time of the network alone for the evaluations of a sampler, with all rows at once or 4096 at a time,
whichever is faster; 1 means that the rest of the sampler takes no time. It is the median of the ratios of many short
rounds in which both take turns, with one thread of the processor's time, so that other processes change it little. As
in the commands, freed memory stays with the process. The sampler of the original study is re-created
from its description: all rows in one batch, the noise level as a third input of each row, and gradients recorded, so
the graph of all steps stays in memory, 45 MB a step. It runs 100 steps in a new process, which must allocate this
memory, and its rate is extrapolated to 1000.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.study import network
from benchmarks.timing import main, rounds
from toy_score import (
    DDIM,
    VE,
    AdamsBashforth,
    AnnealedLangevin,
    DDPMAncestral,
    DPMSolver2M,
    EDMPreconditioning,
    EDMStochastic,
    EulerMaruyama,
    Heun,
    LogSigma,
    NCSNModule,
    PredictorCorrector,
    ReverseDiffusion,
    RungeKutta4,
)
from toy_score.memory import keep_memory

SAMPLERS = [
    AnnealedLangevin(steps_per_level=10),
    DDPMAncestral(n_steps=40),
    DDIM(n_steps=40),
    EulerMaruyama(n_steps=40),
    ReverseDiffusion(n_steps=40),
    PredictorCorrector(ReverseDiffusion(n_steps=20)),
    EDMStochastic(n_steps=20),
    Heun(n_steps=20),
    RungeKutta4(n_steps=10),
    AdamsBashforth(n_steps=40),
    DPMSolver2M(n_steps=40),
]
STUDY_STEPS, STUDY_ROWS = 100, 20_000


def study_sampler(net: torch.nn.Module, n: int, steps: int, device: str) -> torch.Tensor:
    """Langevin dynamics as in the original study, some steps at its lowest level."""
    x, sigma, step = 3.0 * torch.rand(n, 2, device=device) - 1.5, torch.tensor(0.01, device=device), 1e-4
    for _ in range(steps):
        score = net(torch.cat([x, sigma.expand(n, 1)], dim=1))
        x = x + 0.5 * step * score + step**0.5 * torch.randn_like(x)
    return x


def clock_of(device: str) -> Callable[[], float]:
    """The processor's time where one thread does all the work: other processes change it little."""
    return time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter


def study_step(n: int, steps: int, device: str) -> float:
    """Seconds of a step of the original study's sampler, in this process."""
    torch.manual_seed(0)
    net = network().to(device)
    study_sampler(net, n, 1, device)
    clock = clock_of(device)
    begun = clock()
    study_sampler(net, n, steps, device).sum().item()  # waits for the GPU
    return (clock() - begun) / steps


def study_step_afresh(n: int, steps: int, device: str, rounds: int = 3) -> float:
    """The median over processes that do nothing else."""
    context = multiprocessing.get_context("spawn")
    seconds = []
    for _ in range(rounds):
        with context.Pool(1) as pool:
            seconds.append(pool.apply(study_step, (n, steps, device)))
    return statistics.median(seconds)


@torch.no_grad()
def evaluate(backbone: torch.nn.Module, x: torch.Tensor, at_once: int, times: int) -> None:
    """The network alone, at one noise level."""
    c = torch.full((1, 1), 0.1, device=x.device)
    for rows in x.split(at_once):
        for _ in range(times):
            backbone(rows, c)


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """A row per sampler."""
    n, repeats = (64, 1) if options.quick else (8192, 25)
    torch.manual_seed(0)
    model = NCSNModule(VE(0.01, 20.0), EDMPreconditioning(0.8), LogSigma()).to(options.device).eval()
    x, rows = torch.randn(n, 2, device=options.device), []

    def sample(sampler: Any) -> torch.Tensor:
        return sampler(model.denoiser, n, torch.Generator(options.device).manual_seed(0))

    for sampler in SAMPLERS:
        nfe = sampler.nfe(model.schedule)
        functions = {
            "sampler": partial(sample, sampler),
            "whole": partial(evaluate, model.backbone, x, n, nfe),
            "tiles": partial(evaluate, model.backbone, x, 4096, nfe),
        }
        seconds = rounds(functions, repeats, clock_of(options.device))
        step = statistics.median(seconds["sampler"]) / nfe
        share = {
            name: statistics.median(a / b for a, b in zip(seconds[name], seconds["sampler"], strict=True))
            for name in ("whole", "tiles")
        }
        row = {
            "sampler": type(sampler).__name__,
            "evaluations": nfe,
            "million rows x evaluations / s": f"{n / step / 1e6:.2f}",
            "of the roofline": f"{min(share.values()):.2f}",
            "of the network on all rows at once": f"{share['whole']:.2f}",
            "against the original sampler": "",
        }
        if isinstance(sampler, AnnealedLangevin):
            study = (
                study_step(n, 2, "cpu") / n
                if options.quick
                else study_step_afresh(STUDY_ROWS, STUDY_STEPS, options.device) / STUDY_ROWS
            )
            row["against the original sampler"] = f"{study / (step / n):.2f} x"
        print(row, flush=True)
        rows.append(row)
    return {f"{n} rows, medians of {repeats} rounds in which all take turns": rows}


if __name__ == "__main__":
    keep_memory()
    main("sampling", measure, __doc__)
