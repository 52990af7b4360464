"""The denoising diffusion probabilistic model (Ho et al. 2020)."""

from typing import Any

from toy_score.modules.base import ScoreModule
from toy_score.objectives import RandomLevels, TrainingTimes
from toy_score.parameterisations import Conditioning, NoisePrediction, Parameterisation, Time
from toy_score.samplers import DDPMAncestral, Sampler
from toy_score.schedules import DDPM, Schedule

__all__ = ["DDPMModule"]


class DDPMModule(ScoreModule):
    """DDPM: the noise at a random step of a ladder of T steps (eq. 14), sampled from the top of the ladder down.

    The network is conditioned on the scaled time `i / T`. The defaults are the original study's; further arguments are
    those of `ScoreModule`.
    """

    def __init__(
        self,
        schedule: Schedule = DDPM(beta_min=1e-4, beta_max=0.02, n_steps=1000),
        parameterisation: Parameterisation = NoisePrediction(),
        conditioning: Conditioning = Time(),
        times: TrainingTimes = RandomLevels(),
        sampler: Sampler = DDPMAncestral(variance="forward"),
        **kwargs: Any,
    ):
        super().__init__(schedule, parameterisation, conditioning, times, sampler, **kwargs)
