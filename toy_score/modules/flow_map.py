"""Flow maps: models that take a sample from noise to data in a single evaluation, or a few."""

from typing import Any

from torch import Tensor

from toy_score.backbones import Backbone, MapMLP
from toy_score.flow_maps import ExactFlowMap, FlowMap, NetworkFlowMap
from toy_score.metrics import ExactPaths, MapError
from toy_score.modules.base import ScoreModule
from toy_score.objectives import LogNormalSigma, Loss, TrainingTimes
from toy_score.objectives.maps import TrajectoryDistillation
from toy_score.parameterisations import Conditioning, EDMPreconditioning, LogSigma, Parameterisation
from toy_score.samplers import MapSteps, Sampler
from toy_score.schedules import EDM, Schedule
from toy_score.seeds import seed_of

__all__ = ["FlowMapModule"]

N_PATHS = 512  # of a validation


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
        self._paths: ExactPaths | None = None

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self._paths = None

    def further_errors(self, x0: Tensor) -> dict[str, Tensor]:
        """The error of the map, `val/map_error` from noise to data, and from each level to data; if the truth is known.

        It is measured on exact paths, the same every time.
        """
        truth, flow_map = self.truth, self.denoiser
        if not isinstance(truth, ExactFlowMap) or not isinstance(flow_map, FlowMap):
            return {}
        if self._paths is None:
            self._paths = ExactPaths(truth, x0[:N_PATHS], self._generator(seed_of("validation paths", self.noise_seed)))
        metric = MapError(self.schedule).to(x0.device)
        metric.update(flow_map, self._paths)
        to_data = metric.compute()[:-1, -1]
        by_level = {f"val_map_error/from_{r:.3g}": error for r, error in zip(metric.levels, to_data, strict=False)}
        return {"val/map_error": to_data[0], **by_level}
