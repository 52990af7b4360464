"""Flow matching on the straight line from data to noise (Lipman et al. 2023; Liu et al. 2023)."""

from typing import Any

from toy_score.modules.base import ScoreModule
from toy_score.objectives import DenoisingScoreMatching, Objective, OutputWeighting, TrainingTimes, UniformTimes
from toy_score.parameterisations import Conditioning, FlowPrediction, Parameterisation, Time
from toy_score.samplers import AdamsBashforth, Sampler
from toy_score.schedules import LinearFlow, Schedule

__all__ = ["FlowMatchingModule"]


class FlowMatchingModule(ScoreModule):
    """Flow matching: the network predicts the velocity `eps - x_0` of the straight line, at times uniform in `t`.

    It is denoising score matching in other variables: the same network, read through another parameterisation. Further
    arguments are those of `ScoreModule`.
    """

    def __init__(
        self,
        schedule: Schedule = LinearFlow(),
        parameterisation: Parameterisation = FlowPrediction(),
        conditioning: Conditioning = Time(),
        times: TrainingTimes = UniformTimes(),
        sampler: Sampler = AdamsBashforth(),
        objective: Objective = DenoisingScoreMatching(weighting=OutputWeighting()),
        **kwargs: Any,
    ):
        super().__init__(schedule, parameterisation, conditioning, times, sampler, objective=objective, **kwargs)
