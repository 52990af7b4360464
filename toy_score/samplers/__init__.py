"""Samplers: from noise to samples, over any denoiser."""

from toy_score.samplers.ancestral import DDPMAncestral
from toy_score.samplers.base import CLEAN, Level, NoiseStream, Sampler, Trajectory
from toy_score.samplers.langevin import AnnealedLangevin, Langevin
from toy_score.samplers.ode import Heun

__all__ = [
    "CLEAN",
    "AnnealedLangevin",
    "DDPMAncestral",
    "Heun",
    "Langevin",
    "Level",
    "NoiseStream",
    "Sampler",
    "Trajectory",
]
