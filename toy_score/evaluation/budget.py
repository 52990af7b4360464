r"""The error budget: where the distance between the samples and the truth comes from.

The exact distribution is known, so causes can be added one by one. Each row adds one cause to the row above it:

| row | denoiser | steps | start |
|---|---|---|---|
| floor | exact samples | | |
| prior | exact | fine | the sampler's |
| discretisation | exact | the sampler's | the sampler's |
| guidance or rule, if there is any | exact, with it | the sampler's | the sampler's |
| diagonal, of a flow map by `MapSteps` | trained, its flow | fine | the sampler's |
| network | trained | the sampler's | the sampler's |

The row `diagonal` follows the flow of a flow map's own denoiser in fine steps, so what the row `network` has more is
the error of its long steps. The rows below have one cause alone; the last has the optimal denoiser of the training
points in the network's place:

| row | denoiser | steps | start | compared with |
|---|---|---|---|---|
| discretisation alone | exact | the sampler's | noised data | floor |
| guidance or rule alone, if there is any | exact, with it | fine | noised data | floor |
| network alone | trained | fine | noised data | floor, or guidance alone |
| finite data | optimal for the training points | the sampler's | the sampler's | discretisation |

The increments do not add up to the total error. By the triangle inequality, an increment is at most the distance
between the distributions of its two rows. It can be less, or negative, where errors cancel or where a sampler that adds
noise corrects a wrong start. An error well below the floor is hard to see: for an error `d` and a floor `f`, sliced W1
is about `sqrt(d^2 + f^2)`. The energy distance is an unbiased estimate of a squared norm, in which errors in unrelated
directions add up.

All rows use the same noise, so they differ by their causes and not by chance.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from toy_score.denoisers import Denoiser, ExactDenoiser
from toy_score.distributions import Distribution, Points
from toy_score.evaluation.causes import METRICS, ErrorBudget, Row
from toy_score.flow_maps import ExactFlowMap, FlowMap
from toy_score.metrics import (
    CrossEntropyGap,
    EnergyDistance,
    Floor,
    ModeWeights,
    NonFinite,
    SlicedWasserstein,
    noise_floors,
)
from toy_score.progress import PATIENCE, bar
from toy_score.samplers import Angular, DormandPrince, Grid, MapSteps, NoiseStream, Sampler, Start
from toy_score.schedules import Schedule
from toy_score.seeds import seed_of

__all__ = ["error_budget"]

Samples = Callable[[int], Tensor] | Sequence[dict[str, Tensor]]

FINE = 16  # steps of order 5, 92 evaluations: their error is a hundredth of the floor of 20 000 samples, or less
PATH_TOLERANCE = 1e-5  # of exact maps: errors of samples of about 1e-4
OF_A_PATH = 200  # evaluations of an exact map, about
PAIRS = 4_000_000_000  # training points times samples times evaluations that finite data may cost a draw: a minute


def error_budget(
    truth: ExactDenoiser,
    denoiser: Denoiser,
    sampler: Sampler,
    points: Tensor | None = None,
    guided: Denoiser | None = None,
    cause: str = "guidance",
    n: int = 20_000,
    seeds: Sequence[int] = range(4),
    floors: dict[str, Floor] | None = None,
    readings: Sequence[dict[str, Tensor]] | None = None,
    title: str = "",
    device: torch.device | str = "cpu",
    tell: Callable[[str], None] | None = None,
) -> ErrorBudget:
    """Measure the budget of a trained denoiser and a sampler.

    Args:
        truth: the exact denoiser of what the samples should be.
        denoiser: the trained one, on the same schedule.
        sampler: as it is used.
        points: the training points, `(N, 2)`, if they are a fixed set; None if every batch was fresh.
        guided: the optimal denoiser with guidance, or with the rule that tells it an observation; None without either.
        cause: what distinguishes it from the truth, `guidance` or `rule`.
        n: samples of a draw, >= 1.
        seeds: of the sampler's generator, one for each draw; a single draw gives no standard deviation.
        floors: of `noise_floors`, for this n; measured if None.
        readings: what `sample_metrics` computed for the trained denoiser's samples of these seeds; measured if None.
        title: for table and picture; distribution and sampler if empty.
        device: where the denoiser lives.
        tell: called with a line of text before every draw; if None, a bar counts them where somebody is watching.

    Raises:
        ValueError: if there is no seed, or the denoisers' schedules differ.
    """
    if not seeds:
        raise ValueError("an error budget needs a seed for each draw, got none")
    if truth.schedule != denoiser.schedule:
        raise ValueError(f"the network runs on {denoiser.schedule!r}, the truth on {truth.schedule!r}; give them one")
    if isinstance(truth, ExactFlowMap):  # samples need no finer paths, and these are quicker
        truth = replace(truth, tolerance=max(truth.tolerance, PATH_TOLERANCE))
    p, begin = truth.distribution, sampler.times(truth.schedule)[:1]
    measured = 4 + 2 * (guided is not None) + (readings is None) + (points is not None)
    measured += isinstance(denoiser, FlowMap) and isinstance(sampler, MapSteps)
    draws = _Draws(p, n, seeds, tell, measured * len(seeds))

    def samples(asked: Denoiser, by: Sampler, start: Callable[[int], Start]) -> Callable[[int], Tensor]:
        return lambda seed: by(asked, n, torch.Generator(device).manual_seed(seed), start=start(seed))

    def own(seed: int) -> Start:
        return sampler.start

    def noised(seed: int) -> Start:
        return _noised_data(p, begin, seed)

    fine, steps, start = _fine(p, begin), "its own", "its own"
    rows = [
        draws.floor(floors),
        draws.row("prior", "exact", "fine", start, "floor", samples(truth, fine, own)),
        draws.row("discretisation", "exact", steps, start, "prior", samples(truth, sampler, own)),
    ]
    if guided is not None:
        x = samples(guided, sampler, own)
        rows += [draws.row(cause, f"exact, {cause}", steps, start, "discretisation", x)]
    if isinstance(denoiser, FlowMap) and isinstance(sampler, MapSteps):
        x = samples(denoiser, fine, own)
        rows += [draws.row("diagonal", "trained", "fine", start, "discretisation", x)]
    network = samples(denoiser, sampler, own) if readings is None else readings
    rows += [
        draws.row("network", "trained", steps, start, rows[-1].name, network),
        draws.row("discretisation alone", "exact", steps, "noised data", "floor", samples(truth, sampler, noised)),
    ]
    if guided is not None:
        x = samples(guided, fine, noised)
        rows += [draws.row(f"{cause} alone", f"exact, {cause}", "fine", "noised data", "floor", x)]
    above = "floor" if guided is None else f"{cause} alone"
    rows += [draws.row("network alone", "trained", "fine", "noised data", above, samples(denoiser, fine, noised))]
    note = "Finite data: none, every batch was fresh"
    if points is not None:
        known = Points(points.cpu())
        note = f"Finite data: the optimal denoiser of the {len(known)} training points in the network's place"
        each = sampler.nfe(truth.schedule) * (OF_A_PATH if isinstance(sampler, MapSteps) else 1)
        if len(known) * n * each <= PAIRS:
            x = samples(replace(truth, distribution=known), sampler, own)
            rows += [draws.row("finite data", "optimal", steps, start, "discretisation", x)]
        else:
            note += ", sampled exactly:\nthe points are resampled, because this sampler would take too long"
            rows += [draws.row("finite data", "optimal", "exact", "", "floor", lambda seed: _again(known, n, seed))]
    draws.shown.close()
    return ErrorBudget(title or f"{p.name}, {sampler!r}", n, rows, note)


class _Draws:
    """Draws of `n` samples for each of the seeds, `total` in all, measured against the truth `p`."""

    def __init__(
        self, p: Distribution, n: int, seeds: Sequence[int], tell: Callable[[str], None] | None = None, total: int = 0
    ):
        self.p, self.n, self.seeds = p, n, seeds
        options = {} if tell is None else {"disable": True}
        self.shown = bar(total, "draws", "error budget", delay=PATIENCE, leave=False, **options)
        self.tell = self.shown.set_postfix_str if tell is None else tell
        self.metrics = {  # by the names of `sample_metrics`
            "sliced_w1": SlicedWasserstein(p, sync_on_compute=False),  # measured by one process, without the others
            "energy": EnergyDistance(p, sync_on_compute=False),
            "cross_entropy_gap": CrossEntropyGap(p, sync_on_compute=False),
            "mode_weights": ModeWeights(p, sync_on_compute=False),
            "nonfinite": NonFinite(p, sync_on_compute=False),
        }
        self.weights = torch.tensor(list(p.mode_weights.values()), dtype=torch.float64)

    def row(self, name: str, denoiser: str, steps: str, start: str, above: str, samples: Samples) -> Row:
        """A row of samples: a function from a seed to samples, or their readings where they are measured already."""
        readings = self._drawn(name, samples) if callable(samples) else samples
        figures = {key: _figure([reading[key] for reading in readings]) for key in METRICS if key != "worst_mode"} | {
            "worst_mode": _figure([self.worst_mode(reading["mode_weights"].cpu()) for reading in readings])
        }
        nonfinite = _figure([reading["nonfinite"] for reading in readings]).mean
        return Row(name, denoiser, steps, start, above, figures, len(readings), nonfinite)

    def _drawn(self, name: str, samples: Callable[[int], Tensor]) -> list[dict[str, Tensor]]:
        """The readings of a draw for each seed."""
        readings = []
        for k, seed in enumerate(self.seeds):
            self.tell(f"{name}, {k + 1} of {len(self.seeds)}")
            readings.append(self.read(samples(seed).cpu()))
            self.shown.update(1)
        return readings

    def read(self, x: Tensor) -> dict[str, Tensor]:
        """The metrics of a draw."""
        for metric in self.metrics.values():
            metric.reset()
            metric.update(x)
        return {name: metric.compute() for name, metric in self.metrics.items()}

    def floor(self, floors: dict[str, Floor] | None, draws: int = 64) -> Row:
        """Exact samples; their counts in the modes are multinomial, so the worst mode needs no samples."""
        self.tell("floor")
        floors = noise_floors(self.p, self.n, draws) if floors is None else floors
        generator = torch.Generator().manual_seed(seed_of("floor of the worst mode"))
        modes = torch.multinomial(self.weights.expand(draws, -1), self.n, replacement=True, generator=generator)
        shares = torch.nn.functional.one_hot(modes, len(self.weights)).double().mean(dim=1)
        worst = _figure([self.worst_mode(share) for share in shares])
        return Row(
            "floor",
            "exact samples",
            "",
            "",
            "",
            {**{key: floors[key] for key in METRICS if key in floors}, "worst_mode": worst},
            draws,
        )

    def worst_mode(self, shares: Tensor) -> Tensor:
        """The largest deviation of a mode's share, in binomial standard deviations; 0 for a single mode."""
        w = self.weights
        return ((shares - w).abs() / (w * (1.0 - w) / self.n).clamp(min=1e-18).sqrt()).max()


def _figure(values: Sequence[Tensor]) -> Floor:
    x = torch.stack([value.cpu().double() for value in values])
    return Floor(x.mean().item(), x.std().item() if len(x) > 1 else math.nan)


def _fine(p: Distribution, begin: Tensor) -> DormandPrince:
    """The probability flow from the time `begin`, in fine steps that are uniform in the angle at the data's scale."""
    even = Angular(p.reference(8192).std(dim=0).mean().item())
    return DormandPrince(FINE, _Below(begin.item(), even))


@dataclass(frozen=True)
class _Below(Grid):
    """The time `begin`, then the times of another grid that are below it."""

    begin: float
    grid: Grid

    def __call__(self, schedule: Schedule, n: int) -> Tensor:
        times, begin = self.grid(schedule, n), torch.tensor([self.begin], dtype=torch.float64)
        return torch.cat([begin, times[times < begin]])


def _noised_data(p: Distribution, begin: Tensor, seed: int) -> Start:
    """The exact start: the data, noised to the time `begin`."""
    generator = torch.Generator().manual_seed(seed_of("noised data", seed))

    def start(schedule: Schedule, noise: NoiseStream) -> Tensor:
        eps = noise.normal()
        alpha, sigma = (v.to(eps) for v in schedule(begin))
        return alpha * p.sample(len(eps), generator).to(eps) + sigma * eps

    return start


def _again(points: Points, n: int, seed: int) -> Tensor:
    """`n` of the points, drawn with replacement: the exact samples of their optimal denoiser."""
    return points.sample(n, torch.Generator().manual_seed(seed_of("points again", seed)))
