"""Flow maps: models that take a sample from noise to data in a single evaluation, or a few."""

from typing import Any

from toy_score.backbones import Backbone, MapMLP
from toy_score.flow_maps import ExactFlowMap, NetworkFlowMap
from toy_score.modules.base import ScoreModule
from toy_score.objectives import LogNormalSigma, Loss, TrainingTimes
from toy_score.objectives.maps import TrajectoryDistillation
from toy_score.parameterisations import Conditioning, EDMPreconditioning, LogSigma, Parameterisation
from toy_score.samplers import MapSteps, Sampler
from toy_score.schedules import EDM, Schedule

__all__ = ["FlowMapModule"]


class FlowMapModule(ScoreModule):
    """A flow map that is learned from data alone, and its denoiser on the diagonal, in one training.

    The objective is one of those that begin with the loss of the diagonal (see `list objectives`). With `MapSteps` the
    model samples in as many evaluations as asked for; every other sampler works with its denoiser. Further arguments
    are those of `ScoreModule`.
    """

    denoiser_type = NetworkFlowMap
    exact_type = ExactFlowMap

    def __init__(
        self,
        schedule: Schedule = EDM(sigma_min=0.02, sigma_max=500.0),
        parameterisation: Parameterisation = EDMPreconditioning(sigma_data=1.0),
        conditioning: Conditioning = LogSigma(),
        times: TrainingTimes = LogNormalSigma(mean=-0.5, std=1.8),
        sampler: Sampler = MapSteps(),
        backbone: Backbone | type[Backbone] = MapMLP,
        objective: Loss = TrajectoryDistillation(),
        **kwargs: Any,
    ):
        super().__init__(
            schedule, parameterisation, conditioning, times, sampler, backbone=backbone, objective=objective, **kwargs
        )
