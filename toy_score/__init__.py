"""Score-based generative models on the plane, where the truth is known.

    from toy_score import VE, ExactDenoiser, Heart, Heun

    truth = ExactDenoiser(Heart(), VE(sigma_min=0.01, sigma_max=20.0))
    x = Heun(n_steps=20)(truth, n=10_000)

Names are imported when they are first used, so that `import toy_score` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

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
        "GridDensity",
        "Heart",
        "LinearObservation",
        "LinearReward",
        "Moons",
        "NCSNMixture",
        "Pinwheel",
        "Points",
        "Reward",
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
    "posteriors": ["DPS", "PGDM", "TMPD", "Posterior", "PosteriorRule", "Rewarded"],
    "tilts": ["ScaledScore", "Tilt"],
    "samplers": [
        "DDIM",
        "SRA1",
        "AdamsBashforth",
        "AdaptiveDormandPrince",
        "Angular",
        "AnnealedLangevin",
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
        "Heun",
        "Karras",
        "Langevin",
        "LangevinCorrector",
        "NoPredictor",
        "PredictorCorrector",
        "Restart",
        "ReverseDiffusion",
        "RungeKutta4",
        "SDEDPMSolver2M",
        "Sampler",
        "StochasticMidpoint",
        "Trailing",
        "Trajectory",
        "TwistedDiffusion",
        "Uniform",
    ],
    "objectives": [
        "AllLevels",
        "Context",
        "DenoisingScoreMatching",
        "ExplicitScoreMatching",
        "ImplicitScoreMatching",
        "LikelihoodWeighting",
        "LogNormalSigma",
        "OutputWeighting",
        "RandomLevels",
        "SigmaSquared",
        "SlicedScoreMatching",
        "StableTarget",
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


if TYPE_CHECKING:  # what `__getattr__` gives, for type checkers: `as` marks a name as public
    from toy_score.backbones import (
        MLP as MLP,
        Backbone as Backbone,
        Fourier as Fourier,
        Raw as Raw,
    )
    from toy_score.data import (
        AnisotropicGaussiansDataModule as AnisotropicGaussiansDataModule,
        CheckerboardDataModule as CheckerboardDataModule,
        CirclesDataModule as CirclesDataModule,
        EightGaussiansDataModule as EightGaussiansDataModule,
        FortyGaussiansDataModule as FortyGaussiansDataModule,
        FractalTreeDataModule as FractalTreeDataModule,
        GaussianGridDataModule as GaussianGridDataModule,
        GaussianMixtureDataModule as GaussianMixtureDataModule,
        HeartDataModule as HeartDataModule,
        MoonsDataModule as MoonsDataModule,
        NCSNMixtureDataModule as NCSNMixtureDataModule,
        PinwheelDataModule as PinwheelDataModule,
        PointsDataModule as PointsDataModule,
        RingsDataModule as RingsDataModule,
        SCurveDataModule as SCurveDataModule,
        SplitNormalDataModule as SplitNormalDataModule,
        SwissRollDataModule as SwissRollDataModule,
        ToyDataModule as ToyDataModule,
        TwoSpiralsDataModule as TwoSpiralsDataModule,
    )
    from toy_score.denoisers import (
        Denoiser as Denoiser,
        ExactDenoiser as ExactDenoiser,
        Guided as Guided,
        NetworkDenoiser as NetworkDenoiser,
        Rescheduled as Rescheduled,
    )
    from toy_score.distributions import (
        AnisotropicGaussians as AnisotropicGaussians,
        Checkerboard as Checkerboard,
        Circles as Circles,
        Distribution as Distribution,
        EightGaussians as EightGaussians,
        FortyGaussians as FortyGaussians,
        FractalTree as FractalTree,
        GaussianGrid as GaussianGrid,
        GaussianMixture as GaussianMixture,
        GridDensity as GridDensity,
        Heart as Heart,
        LinearObservation as LinearObservation,
        LinearReward as LinearReward,
        Moons as Moons,
        NCSNMixture as NCSNMixture,
        Pinwheel as Pinwheel,
        Points as Points,
        Reward as Reward,
        Rings as Rings,
        SCurve as SCurve,
        SplitNormal as SplitNormal,
        SwissRoll as SwissRoll,
        TwoSpirals as TwoSpirals,
    )
    from toy_score.evaluation import (
        Evaluation as Evaluation,
        TestOptions as TestOptions,
        diagnose as diagnose,
        error_budget as error_budget,
        evaluate as evaluate,
    )
    from toy_score.likelihood import (
        ProbabilityFlow as ProbabilityFlow,
    )
    from toy_score.modules import (
        DDPMModule as DDPMModule,
        EDMModule as EDMModule,
        FlowMatchingModule as FlowMatchingModule,
        NCSNModule as NCSNModule,
        ScoreModule as ScoreModule,
        ScoreSDEModule as ScoreSDEModule,
        WarmupCosine as WarmupCosine,
    )
    from toy_score.objectives import (
        AllLevels as AllLevels,
        Context as Context,
        DenoisingScoreMatching as DenoisingScoreMatching,
        ExplicitScoreMatching as ExplicitScoreMatching,
        ImplicitScoreMatching as ImplicitScoreMatching,
        LikelihoodWeighting as LikelihoodWeighting,
        LogNormalSigma as LogNormalSigma,
        OutputWeighting as OutputWeighting,
        RandomLevels as RandomLevels,
        SigmaSquared as SigmaSquared,
        SlicedScoreMatching as SlicedScoreMatching,
        StableTarget as StableTarget,
        UniformLogSNR as UniformLogSNR,
        UniformTimes as UniformTimes,
    )
    from toy_score.parameterisations import (
        DataPrediction as DataPrediction,
        EDMPreconditioning as EDMPreconditioning,
        Energy as Energy,
        FlowPrediction as FlowPrediction,
        LogSigma as LogSigma,
        NoisePrediction as NoisePrediction,
        ScorePrediction as ScorePrediction,
        Sigma as Sigma,
        Time as Time,
        VelocityPrediction as VelocityPrediction,
    )
    from toy_score.posteriors import (
        DPS as DPS,
        PGDM as PGDM,
        TMPD as TMPD,
        Posterior as Posterior,
        PosteriorRule as PosteriorRule,
        Rewarded as Rewarded,
    )
    from toy_score.samplers import (
        DDIM as DDIM,
        SRA1 as SRA1,
        AdamsBashforth as AdamsBashforth,
        AdaptiveDormandPrince as AdaptiveDormandPrince,
        Angular as Angular,
        AnnealedLangevin as AnnealedLangevin,
        ConsistentAnnealedSampling as ConsistentAnnealedSampling,
        Corrector as Corrector,
        DDPMAncestral as DDPMAncestral,
        DormandPrince as DormandPrince,
        DPMSolver2M as DPMSolver2M,
        EDMStochastic as EDMStochastic,
        Euler as Euler,
        EulerMaruyama as EulerMaruyama,
        ExponentialAdams as ExponentialAdams,
        FeynmanKac as FeynmanKac,
        FeynmanKacCorrector as FeynmanKacCorrector,
        Geometric as Geometric,
        Grid as Grid,
        Heun as Heun,
        Karras as Karras,
        Langevin as Langevin,
        LangevinCorrector as LangevinCorrector,
        NoPredictor as NoPredictor,
        PredictorCorrector as PredictorCorrector,
        Restart as Restart,
        ReverseDiffusion as ReverseDiffusion,
        RungeKutta4 as RungeKutta4,
        Sampler as Sampler,
        SDEDPMSolver2M as SDEDPMSolver2M,
        StochasticMidpoint as StochasticMidpoint,
        Trailing as Trailing,
        Trajectory as Trajectory,
        TwistedDiffusion as TwistedDiffusion,
        Uniform as Uniform,
    )
    from toy_score.schedules import (
        DDPM as DDPM,
        EDM as EDM,
        VE as VE,
        VP as VP,
        Cosine as Cosine,
        LinearFlow as LinearFlow,
        Schedule as Schedule,
        SubVP as SubVP,
    )
    from toy_score.standardisation import (
        Standardisation as Standardisation,
    )
    from toy_score.tilts import (
        ScaledScore as ScaledScore,
        Tilt as Tilt,
    )


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'toy_score' has no attribute {name!r}")
    return getattr(importlib.import_module(f"toy_score.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
