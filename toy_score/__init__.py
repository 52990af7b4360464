"""Score-based generative models on the plane, where the truth is known.

    from toy_score import VE, ExactDenoiser, Heart, Heun

    truth = ExactDenoiser(Heart(), VE(sigma_min=0.01, sigma_max=20.0))
    x = Heun(n_steps=20)(truth, n=10_000)

Names are imported when they are first used, so that `import toy_score` costs nothing.
"""

import importlib
from typing import Any

from toy_score.version import __version__

_ROOMS = {
    "distributions": [
        "AnisotropicGaussians",
        "Checkerboard",
        "Circles",
        "Distribution",
        "EightGaussians",
        "FortyGaussians",
        "FractalTree",
        "GaussianGrid",
        "GaussianMixture",
        "Heart",
        "Moons",
        "NCSNMixture",
        "Pinwheel",
        "Points",
        "Rings",
        "SCurve",
        "SplitNormal",
        "SwissRoll",
        "TwoSpirals",
    ],
    "schedules": ["DDPM", "EDM", "VE", "VP", "Cosine", "LinearFlow", "Schedule", "SubVP"],
    "backbones": ["MLP", "Backbone", "Fourier", "Raw"],
    "parameterisations": [
        "DataPrediction",
        "EDMPreconditioning",
        "Energy",
        "FlowPrediction",
        "LogSigma",
        "NoisePrediction",
        "ScorePrediction",
        "Sigma",
        "Time",
        "VelocityPrediction",
    ],
    "denoisers": ["Denoiser", "ExactDenoiser", "Guided", "NetworkDenoiser", "Rescheduled"],
    "samplers": [
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
        "Heun",
        "Karras",
        "Langevin",
        "LangevinCorrector",
        "NoPredictor",
        "PredictorCorrector",
        "ReverseDiffusion",
        "RungeKutta4",
        "Sampler",
        "Trailing",
        "Trajectory",
        "Uniform",
    ],
    "objectives": [
        "AllLevels",
        "DenoisingScoreMatching",
        "ExplicitScoreMatching",
        "ImplicitScoreMatching",
        "LikelihoodWeighting",
        "LogNormalSigma",
        "OutputWeighting",
        "RandomLevels",
        "SigmaSquared",
        "SlicedScoreMatching",
        "UniformLogSNR",
        "UniformTimes",
    ],
    "standardisation": ["Standardisation"],
    "evaluation": ["Evaluation", "TestOptions", "diagnose", "error_budget", "evaluate"],
    "likelihood": ["ProbabilityFlow"],
    "data": [
        "AnisotropicGaussiansDataModule",
        "CheckerboardDataModule",
        "CirclesDataModule",
        "EightGaussiansDataModule",
        "FortyGaussiansDataModule",
        "FractalTreeDataModule",
        "GaussianGridDataModule",
        "GaussianMixtureDataModule",
        "HeartDataModule",
        "MoonsDataModule",
        "NCSNMixtureDataModule",
        "PinwheelDataModule",
        "PointsDataModule",
        "RingsDataModule",
        "SCurveDataModule",
        "SplitNormalDataModule",
        "SwissRollDataModule",
        "ToyDataModule",
        "TwoSpiralsDataModule",
    ],
    "modules": [
        "DDPMModule",
        "EDMModule",
        "FlowMatchingModule",
        "NCSNModule",
        "ScoreModule",
        "ScoreSDEModule",
        "WarmupCosine",
    ],
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["__version__", *_ROOM_OF]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'toy_score' has no attribute {name!r}")
    return getattr(importlib.import_module(f"toy_score.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
