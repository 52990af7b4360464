r"""Sampling with a flow map: few long steps, one evaluation each."""

from dataclasses import dataclass

from torch import Tensor

from toy_score.checks import check_shares
from toy_score.denoisers import Denoiser
from toy_score.flow_maps import FlowMap
from toy_score.samplers.base import GridSampler, NoiseStream
from toy_score.samplers.grids import Angular, Grid
from toy_score.schedules import Level, Schedule

__all__ = ["MapSteps"]


@dataclass(frozen=True)
class MapSteps(GridSampler):
    """A step of the flow map from each level to the next; one evaluation a step, and for one step one evaluation in
    all.

    With `renoise = g`, a step to noise level `r` maps to `sqrt(1 - g^2) r` and adds noise up to `r` (Kim et al. 2024,
    "Consistency trajectory models", algorithm 3): 0 is the deterministic flow, and 1 multistep consistency sampling,
    which maps to the data each time (Song et al. 2023, algorithm 1). New noise forgets errors of earlier steps.

    The last step ends at the schedule's lowest level. The point there, over `alpha`, is the sample: between that level
    and the data the flow moves points by about `r^2 |score| / 2`.

    Args:
        n_steps: number of steps, >= 1, as many evaluations.
        renoise: the share `g` of the noise that is new after a step, in [0, 1].
        grid: at which times the steps begin; it also has the time at which the last one ends. A scale below
            that of the data leaves more steps for low noise.

    Raises:
        ValueError: if an argument is out of range; in sampling, if the denoiser is no flow map.
    """

    n_steps: int = 1
    renoise: float = 0.0
    grid: Grid = Angular(0.3)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_shares(renoise=self.renoise)

    def times(self, schedule: Schedule) -> Tensor:
        return self.grid(schedule, self.n_steps + 1)[:-1]

    def check(self, denoiser: Denoiser) -> None:
        flow_map_of(denoiser)

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        schedule = denoiser.schedule
        low = (
            schedule.level_at(max((1.0 - self.renoise**2) ** 0.5 * s.ratio, schedule.ratios[0])) if self.renoise else s
        )
        x = flow_map_of(denoiser).map(x, t, low)
        added = max(s.ratio**2 - low.ratio**2, 0.0) ** 0.5
        return s.alpha * (x / low.alpha + added * noise.normal()) if added else x

    def last(self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream) -> Tensor:
        low = denoiser.schedule.level_at(denoiser.schedule.ratios[0])
        return flow_map_of(denoiser).map(x, t, low) / low.alpha


def flow_map_of(denoiser: Denoiser) -> FlowMap:
    """The denoiser, which is a flow map.

    Raises:
        ValueError: if it is none.
    """
    if not isinstance(denoiser, FlowMap):
        name = type(denoiser).__name__
        raise ValueError(f"MapSteps needs a flow map, {name} is none; train a FlowMapModule, or choose RungeKutta4")
    return denoiser
