"""EDM: the design space of diffusion models, elucidated (Karras et al. 2022)."""

from typing import Any

from toy_score.modules.base import ScoreModule
from toy_score.objectives import DenoisingScoreMatching, LogNormalSigma, Objective, OutputWeighting, TrainingTimes
from toy_score.parameterisations import Conditioning, EDMPreconditioning, LogSigma, Parameterisation
from toy_score.samplers import Angular, Sampler, StochasticMidpoint
from toy_score.schedules import EDM, Schedule

__all__ = ["EDMModule"]


class EDMModule(ScoreModule):
    """EDM: a preconditioned denoiser, noise levels from a log-normal law, weighted so that the network's error counts.

    `sigma_data` and the law of the levels are those of data of about unit variance, not the paper's for images. The
    sampler is stochastic, which forgets errors of the network that the paper's, `Heun(n_steps=18)`, keeps. Further
    arguments are those of `ScoreModule`.
    """

    def __init__(
        self,
        schedule: Schedule = EDM(sigma_min=0.01, sigma_max=80.0),
        parameterisation: Parameterisation = EDMPreconditioning(sigma_data=1.0),
        conditioning: Conditioning = LogSigma(),
        times: TrainingTimes = LogNormalSigma(mean=-0.5, std=1.5),
        sampler: Sampler = StochasticMidpoint(n_steps=48, grid=Angular(scale=0.3)),
        objective: Objective = DenoisingScoreMatching(weighting=OutputWeighting()),
        **kwargs: Any,
    ):
        super().__init__(schedule, parameterisation, conditioning, times, sampler, objective=objective, **kwargs)
