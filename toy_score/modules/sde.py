"""Score networks of stochastic differential equations (Song et al. 2021)."""

from typing import Any

from toy_score.modules.base import ScoreModule
from toy_score.objectives import TrainingTimes, UniformTimes
from toy_score.parameterisations import Conditioning, LogSigma, NoisePrediction, Parameterisation
from toy_score.samplers import PredictorCorrector, Sampler
from toy_score.schedules import VP, Schedule

__all__ = ["ScoreSDEModule"]


class ScoreSDEModule(ScoreModule):
    """The score along a stochastic differential equation, VE, VP or sub-VP, sampled by predictor and corrector.

    The loss is denoising score matching at times uniform in `t`, weighted by `sigma^2` (eq. 7); for the likelihood
    weighting of Song et al. (2021b), `--model.times UniformLogSNR`, or `--model.objective.weighting
    LikelihoodWeighting` without importance sampling. Further arguments are those of `ScoreModule`.
    """

    def __init__(
        self,
        schedule: Schedule = VP(),
        parameterisation: Parameterisation = NoisePrediction(),
        conditioning: Conditioning = LogSigma(),
        times: TrainingTimes = UniformTimes(),
        sampler: Sampler = PredictorCorrector(),
        **kwargs: Any,
    ):
        super().__init__(schedule, parameterisation, conditioning, times, sampler, **kwargs)
