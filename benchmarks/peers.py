"""Other libraries on the same heart: the same network, points, batches, steps and optimizer, their loss and samplers.

    pip install -e '.[peers]'
    python -m benchmarks.peers [--quick]

Azula, diffusers and torchcfm have no training loop. Each uses the bare loop written here, with fresh points, the
learning-rate schedule of `edm_heart` and the original study's network. Schedule, preconditioning, loss and sampler are
the library's, used as in its documentation. Our models are trained by the Trainer, without pictures, so the training
seconds of the other libraries are a lower bound. Samplers run at about 17, 50 and 100 evaluations.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.study import network
from benchmarks.timing import main, trainer_only
from toy_score import (
    EDM,
    DPMSolver2M,
    EDMModule,
    EDMPreconditioning,
    FlowMatchingModule,
    Heart,
    HeartDataModule,
    Heun,
    RungeKutta4,
    ScoreModule,
    WarmupCosine,
)
from toy_score.callbacks import EMA
from toy_score.commands.errors import quiet
from toy_score.metrics import SlicedWasserstein

BATCH, STEPS, LR, N, DRAWS = 1024, 6500, 0.02, 20_000, 4

Draw = Callable[[int], Tensor]
"""So many samples."""


class TwoInputs(nn.Module):
    """The original study's network for libraries that call `net(x, t)` with a time for all rows or one for each."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.net(torch.cat([x, t.reshape(-1, 1).expand(len(x), 1)], dim=1))


def fit(net: nn.Module, loss_of: Callable[[Tensor], Tensor], steps: int) -> None:
    """The bare loop."""
    data, factor = HeartDataModule(batch_size=BATCH), WarmupCosine()
    optimizer = torch.optim.Adam(net.parameters(), lr=LR, fused=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: factor(min(k / steps, 1.0)))
    for k in range(steps):
        loss = loss_of(data.batch(k, "cpu").x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()


def ours(module: ScoreModule, steps: int) -> dict[str, Draw]:
    """A fit by the Trainer, as on the command line, but without pictures and folder."""
    trainer = trainer_only(steps, callbacks=[EMA()], accelerator="cpu")
    trainer.fit(module, HeartDataModule(batch_size=BATCH))
    module.eval()
    return {
        "`RungeKutta4`, 17": partial(RungeKutta4(n_steps=5), module.denoiser),
        "`DPMSolver2M`, 50": partial(DPMSolver2M(n_steps=50), module.denoiser),
        "`Heun`, 99": partial(Heun(n_steps=50), module.denoiser),
    }


def edm(steps: int) -> dict[str, Draw]:
    """`edm_heart`."""
    adam = partial(torch.optim.Adam, lr=LR, fused=True)
    module = EDMModule(EDM(sigma_min=0.02, sigma_max=500.0), EDMPreconditioning(0.8), optimizer=adam)
    return ours(module, steps)


def flow(steps: int) -> dict[str, Draw]:
    """`flow_heart`."""
    module = FlowMatchingModule(optimizer=partial(torch.optim.Adam, lr=LR, fused=True))
    return ours(module, steps)


def azula(steps: int) -> dict[str, Draw]:
    """Karras' preconditioning on a variance-exploding schedule of the levels that `edm_heart` has."""
    from azula.denoise import KarrasDenoiser
    from azula.noise import VESchedule
    from azula.sample import DDIMSampler, HeunSampler

    denoiser = KarrasDenoiser(TwoInputs(), VESchedule(sigma_min=0.02, sigma_max=500.0))
    fit(denoiser, lambda x: denoiser.loss(x, torch.rand(len(x))), steps)
    denoiser.eval()

    def draw(sampler: Any, n: int) -> Tensor:
        return sampler(sampler.init((n, 2)))

    return {
        "`HeunSampler`, 18": partial(draw, HeunSampler(denoiser, steps=9, silent=True)),
        "`DDIMSampler`, 50": partial(draw, DDIMSampler(denoiser, steps=50, silent=True)),
        "`HeunSampler`, 100": partial(draw, HeunSampler(denoiser, steps=50, silent=True)),
    }


def diffusers(steps: int) -> dict[str, Draw]:
    """DDPM of a thousand steps, the noise predicted, betas as the library has them by default."""
    from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

    net, forward = TwoInputs(), DDPMScheduler(clip_sample=False)

    def loss_of(x: Tensor) -> Tensor:
        noise, t = torch.randn_like(x), torch.randint(1000, (len(x),))
        return (net(forward.add_noise(x, noise, t), t / 1000) - noise).square().mean()

    fit(net, loss_of, steps)

    @torch.no_grad()
    def draw(scheduler: Any, evaluations: int, n: int) -> Tensor:
        scheduler.set_timesteps(evaluations)
        x = torch.randn(n, 2) * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            x = scheduler.step(net(x, t / 1000), t, x).prev_sample
        return x

    return {
        "`DPMSolverMultistepScheduler`, 17": partial(draw, DPMSolverMultistepScheduler(), 17),
        "`DDIMScheduler`, 50": partial(draw, DDIMScheduler(clip_sample=False), 50),
        "`DPMSolverMultistepScheduler`, 100": partial(draw, DPMSolverMultistepScheduler(), 100),
    }


def torchcfm(steps: int) -> dict[str, Draw]:
    """Flow matching along straight lines, integrated by torchdiffeq."""
    from torchcfm.conditional_flow_matching import ConditionalFlowMatcher
    from torchdiffeq import odeint

    net, matcher = TwoInputs(), ConditionalFlowMatcher(sigma=0.0)

    def loss_of(x: Tensor) -> Tensor:
        t, x_t, u_t = matcher.sample_location_and_conditional_flow(torch.randn_like(x), x)
        return (net(x_t, t) - u_t).square().mean()

    fit(net, loss_of, steps)

    @torch.no_grad()
    def draw(method: str, n_steps: int, n: int) -> Tensor:
        times = torch.linspace(0.0, 1.0, n_steps + 1)
        return odeint(lambda t, x: net(x, t), torch.randn(n, 2), times, method=method)[-1]

    return {
        "`rk4`, 16": partial(draw, "rk4", 4),
        "`euler`, 50": partial(draw, "euler", 50),
        "`rk4`, 100": partial(draw, "rk4", 25),
    }


CONTESTANTS = {
    "toy_score, `edm_heart`": edm,
    "azula, `KarrasDenoiser`": azula,
    "toy_score, `flow_heart`": flow,
    "torchcfm, `ConditionalFlowMatcher`": torchcfm,
    "diffusers, `DDPMScheduler`": diffusers,
}


def distance(x: Tensor) -> float:
    """Sliced W1 to the exact law."""
    metric = SlicedWasserstein(Heart())
    metric.update(x)
    return metric.compute().item()


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """A row per library and sampler."""
    quiet()
    n, draws, steps = (200, 1, 20) if options.quick else (N, DRAWS, STEPS)
    exact = [distance(Heart().sample(n, torch.Generator().manual_seed(k))) for k in range(5 * draws)]
    floor, rows = mean(exact), []
    for name, contestant in CONTESTANTS.items():
        try:
            contestant(1)  # imports, and whatever a first step waits for
        except (ImportError, RuntimeError) as error:  # the latter from a library that was built for another torch
            print(f"{name} is left out: {error}; pip install -e '.[peers]'", flush=True)
            continue
        torch.manual_seed(0)
        begun = time.perf_counter()
        samplers = contestant(steps)
        training = time.perf_counter() - begun
        for sampler, draw in samplers.items():
            samples = [draw(n) for _ in range(draws)]
            begun = time.perf_counter()
            samples += [draw(n) for _ in range(draws)]
            seconds = (time.perf_counter() - begun) / draws
            found = [distance(x) for x in samples]
            rows.append(
                {
                    "library": name,
                    "training": f"{training:.1f} s",
                    "sampler, evaluations": sampler,
                    "seconds": f"{seconds:.2f}",
                    "sliced W1": f"{mean(found):.4f} +- {stdev(found) / len(found) ** 0.5:.4f}",
                    "of the floor": f"{mean(found) / floor:.2f}",
                }
            )
            print(rows[-1], flush=True)
    chance = f"{floor:.4f} +- {stdev(exact):.4f}"
    return {f"{steps} steps of {BATCH} rows, {n} samples {2 * draws} times; the floor is {chance}": rows}


if __name__ == "__main__":
    main("peers", measure, __doc__)
