"""Samplers: from noise to samples, over any denoiser."""

from toy_score.samplers.ancestral import DDPMAncestral
from toy_score.samplers.base import NoiseStream, Sampler, Trajectory
from toy_score.samplers.langevin import AnnealedLangevin, Langevin
from toy_score.samplers.ode import Heun

__all__ = [
    "AnnealedLangevin",
    "DDPMAncestral",
    "Heun",
    "Langevin",
    "NoiseStream",
    "Sampler",
    "Trajectory",
]
