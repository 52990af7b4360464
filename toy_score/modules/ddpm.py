"""The denoising diffusion probabilistic model (Ho et al. 2020)."""

from typing import Any

from toy_score.modules.base import ScoreModule
from toy_score.objectives import DenoisingScoreMatching, LogNormalSigma, Loss, OutputWeighting, TrainingTimes
from toy_score.parameterisations import Conditioning, LogSigma, Parameterisation, VelocityPrediction
from toy_score.samplers import Angular, Sampler, StochasticMidpoint
from toy_score.schedules import DDPM, Schedule

__all__ = ["DDPMModule"]


class DDPMModule(ScoreModule):
    """DDPM: denoising along the chain of T noise levels of a variance-preserving schedule.

    The defaults are good for data of about unit variance, not the paper's: the network predicts the velocity, at levels
    from a log-normal law, and the sampler takes 95 evaluations. `configs/original/ddpm_heart.yaml` has the settings of
    the original study: the noise at a random step of the chain (eq. 14), conditioned on `i / T`, and sampling from the
    top of the chain down. Further arguments are those of `ScoreModule`.
    """

    def __init__(
        self,
        schedule: Schedule = DDPM(beta_min=1e-4, beta_max=0.02, n_steps=1000),
        parameterisation: Parameterisation = VelocityPrediction(),
        conditioning: Conditioning = LogSigma(),
        times: TrainingTimes = LogNormalSigma(mean=-0.5, std=1.8),
        sampler: Sampler = StochasticMidpoint(n_steps=48, grid=Angular(scale=0.3)),
        objective: Loss = DenoisingScoreMatching(weighting=OutputWeighting()),
        **kwargs: Any,
    ):
        super().__init__(schedule, parameterisation, conditioning, times, sampler, objective=objective, **kwargs)
