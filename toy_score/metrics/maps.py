r"""How far a flow map is from the truth, and how good its samples are in a few evaluations.

The map error from noise level `t` to noise level `s`, on the circle, where `z = x / R` (see `Denoiser.flow`), is

    E|Z_theta(z, t -> s) - Z(z, t -> s)|^2 / E|x_0|^2,    z ~ the noised data of level t,

with the exact map `Z`. It needs no sampling and has no noise floor.

With `x = X(z)` the point to which one evaluation takes unit noise `z ~ N(0, I)`, the density of the one-step samples is
known where they are, as long as no two `z` have one `x`: `log q(x) = log N(z) - log |det dX / dz|`. So their reverse KL
from the data with noise of the lowest level, `E log q(x) - E log p(x)`, is a plain mean.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from toy_score.flow_maps import ExactFlowMap, FlowMap
from toy_score.likelihood import one_step
from toy_score.metrics.base import ExactMetric
from toy_score.metrics.projections import SlicedWasserstein
from toy_score.requests import SampleRequest
from toy_score.samplers import MapSteps
from toy_score.schedules import Schedule

__all__ = ["EVALUATIONS", "INNER_LEVELS", "ExactPaths", "MapError", "Maps", "map_table"]

INNER_LEVELS = (10.0, 3.0, 1.0, 0.3, 0.1)
"""Noise levels at which maps begin and end, besides the schedule's highest and lowest."""

EVALUATIONS = (1, 2, 4, 8)
POINTS = 2048  # of the map error and of the one-step density


class ExactPaths:
    """Exact paths through some noise levels, from the noised data of the highest.

    Args:
        truth: the exact map.
        x0: clean points, `(n, 2)`.
        generator: source of the noise.
        inner: noise levels between the highest and the lowest; those that the schedule does not reach are left out.
    """

    def __init__(self, truth: ExactFlowMap, x0: Tensor, generator: Generator, inner: Sequence[float] = INNER_LEVELS):
        self.levels = map_levels(truth.schedule, inner)
        at = [truth.schedule.level_at(ratio) for ratio in self.levels]
        eps = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
        self.x = [at[0].alpha * x0 + at[0].sigma * eps]  # [K][n, 2]
        for t, s in itertools.pairwise(at):
            self.x.append(truth.map(self.x[-1], t, s))
        self.at, self.square = at, x0.double().square().sum()


def map_levels(schedule: Schedule, inner: Sequence[float] = INNER_LEVELS) -> list[float]:
    """The schedule's highest level, the inner ones that it reaches, and its lowest."""
    low, high = schedule.ratios
    return [high, *(r for r in inner if 1.01 * low < r < high / 1.01), low]


class MapError(ExactMetric):
    """The map error between all pairs of the noise levels of some exact paths.

    Args:
        schedule: of the maps.
        kwargs: those of `torchmetrics.Metric`.
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    total: Tensor
    square: Tensor

    def __init__(self, schedule: Schedule, **kwargs: Any):
        super().__init__(**kwargs)
        self.levels = map_levels(schedule)
        K = len(self.levels)
        self.add_state("total", torch.zeros(K, K, dtype=torch.float64), "sum")
        self.add_state("square", torch.zeros((), dtype=torch.float64), "sum")

    @torch.no_grad()
    def update(self, flow_map: FlowMap, paths: ExactPaths) -> None:
        """Compare a map with exact paths of its schedule."""
        for (i, t), (j, s) in itertools.combinations(enumerate(paths.at), 2):
            error = (flow_map.map(paths.x[i], t, s) - paths.x[j]) / s.radius
            self.total[i, j] += error.double().square().sum()
        self.square += paths.square

    def compute(self) -> Tensor:
        """The error from level i to level j, `(K, K)`; nan where `j <= i`, and before the first point."""
        above = torch.ones_like(self.total, dtype=torch.bool).triu(1)
        return (self.total / self.square).masked_fill(~above, torch.nan)


class Maps:
    """All that is measured of a flow map: its error, its samples in a few evaluations, and its one-step density.

    Args:
        truth: the exact map, on the schedule of the maps to come.
    """

    def __init__(self, truth: ExactFlowMap):
        self._truth, self._device = truth, torch.device("cpu")
        self.error = MapError(truth.schedule)
        self.reset()

    def to(self, device: torch.device) -> "Maps":
        """The metrics' states, to a device."""
        self._device = device
        self.error.to(device)
        return self

    def reset(self) -> None:
        """Forget all points."""
        self.error.reset()
        self._seen = 0
        self._gaps: list[Tensor] = []
        self._w1: dict[tuple[int, int], SlicedWasserstein] = {}

    @torch.no_grad()
    def update(self, flow_map: FlowMap, request: SampleRequest, x0: Tensor, generator: Generator) -> None:
        """Add the samples of a request in each number of evaluations; of the points `x0`, `(n, 2)`, the first 2048."""
        for n in EVALUATIONS:
            metric = self._w1.setdefault(
                (n, request.seed), SlicedWasserstein(self._truth.distribution).to(self._device)
            )
            noise = Generator(self._device).manual_seed(request.seed)
            metric.update(MapSteps(n)(flow_map, request.n, noise, request.first))
        x0 = x0[: max(POINTS - self._seen, 0)]
        if len(x0):
            self._seen += len(x0)
            self.error.update(flow_map, ExactPaths(self._truth, x0, generator))
            z = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
            x, log_q = one_step(flow_map, z)
            log_p = self._truth.distribution.log_prob(x, self._truth.schedule.ratios[0])
            self._gaps.append(log_q.double() - log_p.double())

    def summary(self) -> dict[str, Any]:
        """All figures as plain numbers, by name."""
        error, gaps = self.error.compute(), torch.cat(self._gaps) if self._gaps else torch.empty(0)
        w1 = {n: [metric.compute() for (k, _), metric in self._w1.items() if k == n] for n in EVALUATIONS}
        return {
            "levels": self.error.levels,
            "map_error": [[None if math.isnan(e) else e for e in row] for row in error.tolist()],
            "one_step_map_error": error[0, -1].item(),
            "one_step_reverse_kl": gaps.mean().item(),
            "one_step_reverse_kl_standard_error": (gaps.std() / max(len(gaps), 1) ** 0.5).item(),
            "sliced_w1": {str(n): torch.stack(values).mean().item() for n, values in w1.items() if values},
        }


def map_table(summary: dict[str, Any], floor: float) -> list[str]:
    """The lines of the report for `Maps.summary`; `floor` is that of the sliced W1."""
    levels, w1 = summary["levels"], summary["sliced_w1"]
    lines = ["Error of the flow map, E|Z - exact|^2 / E|x0|^2, from a noise level to a lower one"]
    lines += [f"{'from':>9} to" + "".join(f"{s:>10.3g}" for s in levels[1:])]
    for t, row in zip(levels[:-1], summary["map_error"], strict=False):
        lines.append(f"{t:>12.3g}" + "".join(f"{'' if e is None else format(e, '.1e'):>10}" for e in row[1:]))
    lines += ["", f"{'evaluations of the map':<30}" + "".join(f"{n:>10}" for n in w1)]
    lines += [f"{'sliced W1, x the floor':<30}" + "".join(f"{value / floor:>10.2f}" for value in w1.values())]
    kl, se = summary["one_step_reverse_kl"], summary["one_step_reverse_kl_standard_error"]
    return [*lines, f"{'reverse KL of one step, nats':<30}{kl:>10.5f} +- {se:.5f}"]
