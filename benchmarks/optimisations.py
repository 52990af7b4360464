"""Each optimisation of speed against the code without it, measured in turns.

    python -m benchmarks.optimisations [--quick]

A ratio above 1 says how many times faster it is with the optimisation. Networks are those of the original study, 3 ->
128 -> 128 -> 2.
"""

import argparse
import copy
import functools
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F

from benchmarks.timing import interleaved, main, trainer_only
from toy_score import (
    MLP,
    VE,
    AnnealedLangevin,
    DenoisingScoreMatching,
    EDMPreconditioning,
    ExactDenoiser,
    Heart,
    HeartDataModule,
    LogSigma,
    NCSNModule,
    UniformTimes,
)
from toy_score.callbacks import EMA
from toy_score.commands.errors import quiet
from toy_score.metrics import ScoreError

Pair = tuple[Callable[[], Any], Callable[[], Any]]
"""Without the optimisation, and with it."""


def sampling(n: int) -> dict[str, Pair]:
    """Activations in place. This is measured first, because the allocator keeps memory once it has had large blocks."""
    sampler, model = AnnealedLangevin(steps_per_level=2), NCSNModule().eval()

    def walk() -> None:
        sampler(model.denoiser, n)

    def walk_without() -> None:
        with mock.patch.object(MLP, "_activate", lambda self, h: F.softplus(h)):
            walk()

    return {f"{n} rows, annealed Langevin, activations in place": (walk_without, walk)}


def forward(n: int) -> dict[str, Pair]:
    """Optimisations of the network without gradients."""
    net, x, c, h = MLP(), torch.randn(n, 2), torch.full((1, 1), 0.1), torch.randn(n, 128)
    silu, low, out = MLP(activation="silu"), MLP().bfloat16(), torch.empty(n, 128)
    x_low, c_low, c_rows = x.bfloat16(), c.bfloat16(), c.expand(n, 1).contiguous()

    def recorded() -> None:
        with torch.enable_grad():
            net(x, c)

    def inferred() -> None:
        with torch.inference_mode():
            net(x, c)

    def exp_log() -> None:
        torch.clamp(h, max=80.0, out=out)
        torch.maximum(out.exp_().add_(1.0).log_(), h, out=out)

    def plain() -> torch.Tensor:
        return net(x, c)

    return {
        f"{n} rows, 4096 at a time": (plain, lambda: [net(rows, c) for rows in x.split(4096)]),
        f"{n} rows, noise level once and not per row": (lambda: net(x, c_rows), plain),
        f"{n} rows, no gradients recorded": (recorded, plain),
        f"{n} rows, inference_mode instead of no_grad": (plain, inferred),
        f"{n} rows, softplus as exp and log, in place": (lambda: F.softplus(h), exp_log),
        f"{n} rows, bfloat16": (plain, lambda: low(x_low, c_low)),
        f"{n} rows, silu instead of softplus (another network)": (plain, lambda: silu(x, c)),
    }


def training(n: int) -> dict[str, Pair]:
    """Optimisations of the training step."""
    net, x = MLP(), torch.randn(n, 3)
    first = net.layers[0]
    for p in net.parameters():
        p.grad = torch.randn_like(p)
    kinds = {"loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}
    optimizers = {name: torch.optim.Adam(copy.deepcopy(net).parameters(), **kind) for name, kind in kinds.items()}
    for optimizer in optimizers.values():
        for p in optimizer.param_groups[0]["params"]:
            p.grad = torch.randn_like(p)

    def step(h: torch.Tensor) -> None:
        first.weight.grad = None
        h.sum().backward()

    return {
        f"{n} rows, first layer's gradient the narrow side first": (
            lambda: step(F.linear(x, first.weight, first.bias)),
            lambda: step(torch.addmm(first.bias, x, first.weight.T.contiguous())),
        ),
        "Adam, foreach": (optimizers["loop"].step, optimizers["foreach"].step),
        "Adam, fused": (optimizers["loop"].step, optimizers["fused"].step),
    }


def threads(n: int) -> dict[str, Pair]:
    """Two threads against one; the ratio depends on the other processes of the machine."""
    net, x, c = MLP(), torch.randn(n, 2), torch.full((1, 1), 0.1)

    def with_threads(k: int, gradient: bool) -> None:
        torch.set_num_threads(k)
        with torch.set_grad_enabled(gradient):
            y = net(x, c)
            if gradient:
                y.square().mean().backward()

    return {
        f"{n} rows, two threads, evaluation": tuple(functools.partial(with_threads, k, False) for k in (1, 2)),
        f"{n} rows, two threads, forward and backward": tuple(functools.partial(with_threads, k, True) for k in (1, 2)),
    }


def compiled(n: int, repeats: int) -> dict[str, Any]:
    """`torch.compile` of forward and backward, and the number of steps that make up for the compilation."""
    net, x, c = MLP(), torch.randn(n, 2), torch.full((n, 1), 0.1)

    def step(f: Callable[..., torch.Tensor]) -> None:
        f(x, c).square().mean().backward()

    fast, start = torch.compile(net), time.perf_counter()
    try:
        step(fast)
    except Exception as error:  # whatever a machine without a compiler raises
        return {"optimisation": f"{n} rows, torch.compile", "ratio": type(error).__name__}
    cost = time.perf_counter() - start
    seconds = interleaved({"eager": lambda: step(net), "compiled": lambda: step(fast)}, repeats)
    gain = seconds["eager"] - seconds["compiled"]
    after = f"pays after {cost / gain:.0f} steps" if gain > 0 else "never pays"
    name = f"{n} rows, torch.compile of forward and backward ({cost:.0f} s to compile; {after})"
    return {"optimisation": name, "ratio": f"{seconds['eager'] / seconds['compiled']:.2f}"}


def trained(antithetic: bool, precision: str, steps: int) -> tuple[float, float]:
    """Mean normalised score error after some steps of 1024 rows, either 1024 points or 512 twice, and their seconds."""
    torch.manual_seed(0)
    adam = functools.partial(torch.optim.Adam, lr=0.05, fused=True)
    objective, p = DenoisingScoreMatching(antithetic=antithetic), Heart()
    model = NCSNModule(
        VE(0.01, 20.0), EDMPreconditioning(0.8), LogSigma(), UniformTimes(), objective=objective, optimizer=adam
    )
    trainer = trainer_only(steps, precision=precision, callbacks=[EMA()], accelerator="cpu")
    start = time.perf_counter()
    trainer.fit(model, HeartDataModule(batch_size=512 if antithetic else 1024))
    seconds = time.perf_counter() - start
    error, (a, b) = ScoreError(), (torch.Generator().manual_seed(seed) for seed in (1, 2))
    error.update(model.eval().denoiser, ExactDenoiser(p, model.schedule), p.sample(20_000, a), b)
    return error.compute().mean().item(), seconds


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Two tables: optimisations that save time, and those that save steps."""
    quiet()
    n, repeats, steps = (64, 1, 50) if options.quick else (20_000, 20, 1500)
    before, rows = torch.get_num_threads(), []
    with torch.no_grad():
        rows += [_ratio(name, pair, repeats) for name, pair in sampling(n).items()]
        pairs = forward(n)
        rows += [_ratio(name, pair, repeats) for name, pair in pairs.items()]
    rows += [_ratio(name, pair, 10 * repeats) for name, pair in training(1024).items()]
    for size in () if options.quick else (256, 1024, n):
        rows += [_ratio(name, pair, repeats) for name, pair in threads(size).items()]
    torch.set_num_threads(before)
    if not options.quick:
        rows.append(compiled(1024, 10 * repeats))
        print(rows[-1], flush=True)
    errors = []
    for what, how in {
        "independent noise": (False, "32-true"),
        "antithetic noise": (True, "32-true"),
        "antithetic noise, bf16-mixed": (True, "bf16-mixed"),
    }.items():
        error, seconds = trained(*how, steps)
        row = {"training of as many rows and steps": what, "score error": f"{error:.5f}", "seconds": f"{seconds:.1f}"}
        errors.append(row)
        print(row, flush=True)
    return {"With the optimisation against without it, one call": rows, f"After {steps} steps of 1024 rows": errors}


def _ratio(name: str, pair: Pair, repeats: int) -> dict[str, Any]:
    seconds = interleaved({"without": pair[0], "with": pair[1]}, repeats)
    row = {"optimisation": name, "ratio": f"{seconds['without'] / seconds['with']:.2f}"}
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main("optimisations", measure, __doc__)
