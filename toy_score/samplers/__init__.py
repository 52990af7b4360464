"""Samplers: from noise to samples, over any denoiser."""

from toy_score.samplers.additive import SRA1, StochasticMidpoint
from toy_score.samplers.ancestral import DDIM, ConsistentAnnealedSampling, DDPMAncestral
from toy_score.samplers.base import GridSampler, MultistepSampler, NoiseStream, Sampler, Start, Trajectory
from toy_score.samplers.bridges import BridgeSDE
from toy_score.samplers.grids import Angular, Geometric, Grid, Karras, Trailing, Uniform
from toy_score.samplers.langevin import AnnealedLangevin, Langevin
from toy_score.samplers.maps import MapSteps
from toy_score.samplers.multistep import AdamsBashforth, DPMSolver2M, ExponentialAdams, SDEDPMSolver2M
from toy_score.samplers.ode import AdaptiveDormandPrince, DormandPrince, EDMStochastic, Euler, Heun, RungeKutta4
from toy_score.samplers.particles import ParticleSampler
from toy_score.samplers.restart import Restart
from toy_score.samplers.sde import (
    Corrector,
    EulerMaruyama,
    LangevinCorrector,
    NoPredictor,
    PredictorCorrector,
    ReverseDiffusion,
)
from toy_score.samplers.tilting import FeynmanKacCorrector
from toy_score.samplers.twisting import FeynmanKac, TwistedDiffusion

__all__ = [
    "DDIM",
    "SRA1",
    "AdamsBashforth",
    "AdaptiveDormandPrince",
    "Angular",
    "AnnealedLangevin",
    "BridgeSDE",
    "ConsistentAnnealedSampling",
    "Corrector",
    "DDPMAncestral",
    "DPMSolver2M",
    "DormandPrince",
    "EDMStochastic",
    "Euler",
    "EulerMaruyama",
    "ExponentialAdams",
    "FeynmanKac",
    "FeynmanKacCorrector",
    "Geometric",
    "Grid",
    "GridSampler",
    "Heun",
    "Karras",
    "Langevin",
    "LangevinCorrector",
    "MapSteps",
    "MultistepSampler",
    "NoPredictor",
    "NoiseStream",
    "ParticleSampler",
    "PredictorCorrector",
    "Restart",
    "ReverseDiffusion",
    "RungeKutta4",
    "SDEDPMSolver2M",
    "Sampler",
    "Start",
    "StochasticMidpoint",
    "Trailing",
    "Trajectory",
    "TwistedDiffusion",
    "Uniform",
]
