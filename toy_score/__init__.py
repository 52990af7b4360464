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
    "distributions": ["Distribution", "EightGaussians", "GaussianMixture", "Heart", "SplitNormal"],
    "schedules": ["DDPM", "VE", "Schedule"],
    "backbones": ["MLP", "Backbone", "Fourier", "Raw"],
    "parameterisations": [
        "DataPrediction",
        "EDMPreconditioning",
        "LogSigma",
        "NoisePrediction",
        "ScorePrediction",
        "Sigma",
        "Time",
    ],
    "denoisers": ["Denoiser", "ExactDenoiser", "NetworkDenoiser"],
    "samplers": ["AnnealedLangevin", "DDPMAncestral", "Heun", "Langevin", "Sampler", "Trajectory"],
    "objectives": ["AllLevels", "DenoisingScoreMatching", "RandomLevels", "UniformTimes"],
    "data": ["HeartDataModule", "SplitNormalDataModule", "ToyDataModule"],
    "modules": ["DDPMModule", "NCSNModule", "ScoreModule", "WarmupCosine"],
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["__version__", *_ROOM_OF]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'toy_score' has no attribute {name!r}")
    return getattr(importlib.import_module(f"toy_score.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
