"""Samplers: from noise to samples, over any denoiser."""

from toy_score.samplers.ancestral import DDIM, DDPMAncestral
from toy_score.samplers.base import GridSampler, MultistepSampler, NoiseStream, Sampler, Start, Trajectory
from toy_score.samplers.grids import Angular, Geometric, Grid, Karras, Trailing, Uniform
from toy_score.samplers.langevin import AnnealedLangevin, Langevin
from toy_score.samplers.multistep import AdamsBashforth, DPMSolver2M, ExponentialAdams
from toy_score.samplers.ode import AdaptiveDormandPrince, DormandPrince, EDMStochastic, Euler, Heun, RungeKutta4
from toy_score.samplers.sde import (
    Corrector,
    EulerMaruyama,
    LangevinCorrector,
    NoPredictor,
    PredictorCorrector,
    ReverseDiffusion,
)

__all__ = [
    "DDIM",
    "AdamsBashforth",
    "AdaptiveDormandPrince",
    "Angular",
    "AnnealedLangevin",
    "Corrector",
    "DDPMAncestral",
    "DPMSolver2M",
    "DormandPrince",
    "EDMStochastic",
    "Euler",
    "EulerMaruyama",
    "ExponentialAdams",
    "Geometric",
    "Grid",
    "GridSampler",
    "Heun",
    "Karras",
    "Langevin",
    "LangevinCorrector",
    "MultistepSampler",
    "NoPredictor",
    "NoiseStream",
    "PredictorCorrector",
    "ReverseDiffusion",
    "RungeKutta4",
    "Sampler",
    "Start",
    "Trailing",
    "Trajectory",
    "Uniform",
]
