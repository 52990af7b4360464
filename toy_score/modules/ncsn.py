"""The noise-conditional score network (Song & Ermon 2019)."""

from typing import Any

from toy_score.modules.base import ScoreModule
from toy_score.objectives import DenoisingScoreMatching, LogNormalSigma, Loss, OutputWeighting, TrainingTimes
from toy_score.parameterisations import Conditioning, EDMPreconditioning, LogSigma, Parameterisation
from toy_score.samplers import Angular, Sampler, StochasticMidpoint
from toy_score.schedules import VE, Schedule

__all__ = ["NCSNModule"]


class NCSNModule(ScoreModule):
    """NCSN: the score at all noise levels of `x + sigma eps`, by denoising score matching.

    The defaults are good for data of about unit variance, not the paper's: a continuum of levels up to 20, a scaled
    network, and a sampler of 95 evaluations. `configs/original/ncsn_heart.yaml` has the settings of the original study:
    ten levels up to 5, all of them for every point (eqs. 5 and 6), and annealed Langevin dynamics. Further arguments
    are those of `ScoreModule`.
    """

    def __init__(
        self,
        schedule: Schedule = VE(sigma_min=0.01, sigma_max=20.0, n_levels=10),
        parameterisation: Parameterisation = EDMPreconditioning(sigma_data=1.0),
        conditioning: Conditioning = LogSigma(),
        times: TrainingTimes = LogNormalSigma(mean=-0.5, std=1.8),
        sampler: Sampler = StochasticMidpoint(n_steps=48, grid=Angular(scale=0.3)),
        objective: Loss = DenoisingScoreMatching(weighting=OutputWeighting()),
        **kwargs: Any,
    ):
        super().__init__(schedule, parameterisation, conditioning, times, sampler, objective=objective, **kwargs)
