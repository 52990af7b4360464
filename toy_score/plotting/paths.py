"""Paths of samples for pictures: the part that fits into the picture, finely enough to be the path itself."""

import torch
from torch import Generator

from toy_score.bridges import Bridge
from toy_score.denoisers import Denoiser
from toy_score.samplers import Angular, NoiseStream, RungeKutta4, Sampler, Trajectory
from toy_score.schedules import Schedule

__all__ = ["first_visible", "visible_paths"]

FEW = 60  # positions; between so few, straight lines are not the path
FINE = 100  # steps of order 4


def visible_paths(
    sampler: Sampler, denoiser: Denoiser, n: int, generator: Generator, bounds: float, skip: int = 250
) -> Trajectory:
    """The last parts of the paths of `n` samples, or of `6 n` if they are smooth: these do not hide one another. Those
    of a bridge are drawn from their start.

    A sampler that takes a few steps along the flow jumps from one side of a picture to the other. Then the flow that
    it follows is solved in fine steps from the same start, and drawn from where its noise is as wide as the picture.

    Args:
        bounds: half-width of the picture.
        skip: most positions that a random path leaves out at the beginning; none whose noise fits into the picture.
    """
    schedule = denoiser.schedule
    if isinstance(denoiser, Bridge):  # its paths fit into the picture from their start
        return sampler.trajectory(denoiser, (6 if sampler.follows_flow else 1) * n, generator)
    first = first_visible(sampler, schedule, bounds / 4.0)
    if len(sampler.levels(schedule)) - first < FEW and follows_flow(sampler, denoiser, generator.device):
        flow = RungeKutta4(FINE, Angular(bounds / 4.0))
        return flow.trajectory(denoiser, 6 * n, generator, skip=first_visible(flow, schedule, bounds))
    return sampler.trajectory(denoiser, n, generator, skip=min(skip, first))


def first_visible(sampler: Sampler, schedule: Schedule, widest: float) -> int:
    """The first position of a walk whose noise level is at most `widest`."""
    levels = sampler.levels(schedule)
    return next((i for i, level in enumerate(levels) if level.ratio <= widest), 0)


def follows_flow(sampler: Sampler, denoiser: Denoiser, device: torch.device) -> bool:
    """Whether the sampler adds no noise: from one start, two streams of noise lead to the same sample."""
    noise = [NoiseStream(seed, 0, 1, device) for seed in (0, 1)]
    start = sampler.start(denoiser.schedule, NoiseStream(2, 0, 1, device))
    with torch.no_grad():
        ends = [sampler.walk(denoiser, start, stream) for stream in noise]
    return torch.equal(*ends)
