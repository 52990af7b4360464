"""The cost of the Trainer in a training step: our step through Lightning against the same step in a bare loop.

    python -m benchmarks.overhead [--quick]

Both draw fresh points, perturb them, go forward and backward, and take a step of Adam with a learning-rate schedule.
The loops take turns.
"""

import argparse
from typing import Any

import torch

from benchmarks.timing import interleaved, main, trainer_only
from toy_score import HeartDataModule, NCSNModule, UniformTimes
from toy_score.callbacks import EMA
from toy_score.commands.errors import quiet
from toy_score.objectives import Context
from toy_score.seeds import seed_of


def bare(batch_size: int, steps: int, device: str) -> None:
    """A bare training loop."""
    model, data = NCSNModule(times=UniformTimes()).to(device), HeartDataModule(batch_size=batch_size)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: model.lr_schedule(min(k / steps, 1.0)))
    generator = torch.Generator(device)
    for k in range(steps):
        x0 = data.batch(k, device).x
        generator.manual_seed(seed_of("training noise", 0, 0, k))
        t = model.times(len(x0), model.schedule, generator)
        loss = model.objective(model.denoiser, Context(x0, t, generator)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()


def trained(batch_size: int, steps: int, device: str, steps_at_once: int, average: bool) -> None:
    """The same steps through Lightning."""
    accelerator, callbacks = "gpu" if device == "cuda" else device, [EMA()] if average else []
    trainer = trainer_only(steps, accelerator=accelerator, devices=1, callbacks=callbacks)
    data = HeartDataModule(batch_size=batch_size, steps_at_once=steps_at_once)
    trainer.fit(NCSNModule(times=UniformTimes()), data)


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Milliseconds a step, and the ratio to the bare loop."""
    quiet()
    rows = []
    for batch_size in (128,) if options.quick else (128, 1024):
        steps, repeats = (5, 1) if options.quick else (400, 5)
        loops = {
            "bare loop": lambda b=batch_size, n=steps: bare(b, n, options.device),
            "Trainer, 10 steps at once (the default)": lambda b=batch_size, n=steps: trained(
                b, n, options.device, 10, False
            ),
            "the same, with averaged weights": lambda b=batch_size, n=steps: trained(b, n, options.device, 10, True),
            "Trainer, step by step": lambda b=batch_size, n=steps: trained(b, n, options.device, 1, False),
        }
        seconds = interleaved(loops, repeats)
        for name, value in seconds.items():
            ratio = value / seconds["bare loop"]
            rows.append(
                {"batch": batch_size, "loop": name, "ms a step": f"{1e3 * value / steps:.3f}", "ratio": f"{ratio:.2f}"}
            )
            print(rows[-1], flush=True)
    return {"A step, setting up the Trainer included, of runs of 400 steps": rows}


if __name__ == "__main__":
    main("overhead", measure, __doc__)
