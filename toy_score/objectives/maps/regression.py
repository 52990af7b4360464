r"""Regression on the exact map, which only toys have."""

import functools
import math
from dataclasses import dataclass

import torch

from toy_score.denoisers import Denoiser, ExactDenoiser
from toy_score.flow_maps import FlowMap
from toy_score.objectives.base import Context
from toy_score.objectives.maps.trajectories import PathLoss, Paths, angles_of, followed
from toy_score.seeds import seed_of

__all__ = ["MapRegression"]


@dataclass(frozen=True)
class MapRegression(PathLoss):
    """The maps of a step are those of exact paths, drawn from a pool that is made once, at the first step.

    A path begins at a noised point at the highest level, and is followed by Runge-Kutta steps of order 4 with the exact
    denoiser.

    Args:
        n_paths: paths in the pool, >= 1.
        n_steps: steps of a path, >= 1; there are maps between all of their ends.

    Raises:
        ValueError: in training, if the exact distribution is not known, or if the points have classes or conditions.
    """

    n_paths: int = 65_536
    n_steps: int = 48

    def paths(self, flow_map: FlowMap, context: Context) -> Paths:
        truth, x0 = context.truth, context.x0
        if truth is None:
            raise ValueError("MapRegression needs the exact map, known for the distributions of toy_score alone")
        if getattr(flow_map, "labels", None) is not None:
            raise ValueError(
                "MapRegression has exact paths of all points together, not of classes or conditions; choose "
                "--model.objective TrajectoryDistillation"
            )
        return pool(truth, self.n_paths, self.n_steps, self.scale, str(x0.device))


@functools.lru_cache(maxsize=2)
def pool(truth: Denoiser, n: int, n_steps: int, scale: float, device: str) -> Paths:
    """Exact paths, always the same of the same arguments."""
    assert isinstance(truth, ExactDenoiser)
    generator = torch.Generator(device).manual_seed(seed_of("pool of exact paths"))
    angles = angles_of(truth.schedule, n_steps, scale)
    x0 = truth.distribution.sample(n, generator)
    eps = torch.randn(x0.shape, generator=generator, device=x0.device)
    parts = (math.cos(angles[0]) * x0 + math.sin(angles[0]) * eps).split(4096)
    paths = [followed(truth, part, angles) for part in parts]
    return Paths(torch.cat([part.z for part in paths], dim=1), paths[0].angles)
