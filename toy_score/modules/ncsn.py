"""The noise-conditional score network (Song & Ermon 2019)."""

from typing import Any

from toy_score.modules.base import ScoreModule
from toy_score.objectives import AllLevels, TrainingTimes
from toy_score.parameterisations import Conditioning, Parameterisation, ScorePrediction, Sigma
from toy_score.samplers import AnnealedLangevin, Sampler
from toy_score.schedules import VE, Schedule

__all__ = ["NCSNModule"]


class NCSNModule(ScoreModule):
    """NCSN: the score at every level of a geometric ladder, sampled by annealed Langevin dynamics.

    The loss is denoising score matching, averaged over all levels with the weight `sigma^2` (eqs. 5 and 6). The
    defaults are the original study's; further arguments are those of `ScoreModule`.
    """

    def __init__(
        self,
        schedule: Schedule = VE(sigma_min=0.01, sigma_max=5.0, n_levels=10),
        parameterisation: Parameterisation = ScorePrediction(),
        conditioning: Conditioning = Sigma(),
        times: TrainingTimes = AllLevels(),
        sampler: Sampler = AnnealedLangevin(),
        **kwargs: Any,
    ):
        super().__init__(schedule, parameterisation, conditioning, times, sampler, **kwargs)
