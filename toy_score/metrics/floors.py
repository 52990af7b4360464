"""Figures with their noise floors.

A value of a metric has a meaning only beside the value that exact samples get. The floor of a metric is measured: the
same metric, the same number of samples, the same reference, on samples of the exact law, drawn many times. Where the
law of a metric of exact samples is known, as that of counts or of a mean, it is used instead
(`SampleMetric.known_floor`). So a metric only says what it computes; value, floor, ratio and z of all of them are
computed here.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torchmetrics import Metric, MetricCollection

from toy_score.distributions import Distribution, Points
from toy_score.metrics.base import SampleMetric
from toy_score.metrics.classifier import C2ST
from toy_score.metrics.counts import (
    InvalidMass,
    ModeReverseKL,
    ModesFound,
    ModeTotalVariation,
    ModeWeights,
    NearModes,
    NonFinite,
)
from toy_score.metrics.cross_entropy import CrossEntropyGap
from toy_score.metrics.floor_cache import Values, keep, kept, key_of
from toy_score.metrics.gaussianised import GaussianisedTest
from toy_score.metrics.kernels import MMD, KernelSteinDiscrepancy
from toy_score.metrics.projections import EnergyDistance, SlicedWasserstein
from toy_score.metrics.transport import ExactW2
from toy_score.progress import watched
from toy_score.seeds import seed_of

__all__ = ["ALL", "PAPER", "Floor", "noise_floors", "sample_metrics"]

MINIMAL: dict[str, type[SampleMetric]] = {
    "sliced_w1": SlicedWasserstein,
    "energy": EnergyDistance,
    "gaussianised_ks": GaussianisedTest,
    "cross_entropy_gap": CrossEntropyGap,
    "mode_weights": ModeWeights,
    "mode_total_variation": ModeTotalVariation,
    "mode_reverse_kl": ModeReverseKL,
    "modes_found": ModesFound,
    "near_modes": NearModes,
    "invalid_mass": InvalidMass,
    "nonfinite": NonFinite,
}
PAPER: dict[str, type[SampleMetric]] = {"exact_w2": ExactW2, "mmd": MMD, "kernel_stein": KernelSteinDiscrepancy}
CLASSIFIER: dict[str, type[SampleMetric]] = {"c2st": C2ST}
ALL = MINIMAL | PAPER | CLASSIFIER

SLOW_DRAWS = 16
"""How often a floor that is slow to measure is measured at most."""

ROUNDING = 1e-9
"""The relative size of a scatter that is due to rounding."""

SAME_STATES = (
    ("sliced_w1", "energy"),
    ("mode_weights", "mode_total_variation", "mode_reverse_kl"),
    ("modes_found", "near_modes"),
)


def sample_metrics(
    distribution: Distribution,
    papers: bool = False,
    leave_out: Collection[str] = (),
    classifier: bool = False,
    **kwargs: Any,
) -> MetricCollection:
    """The metrics of samples, by name; `update(x)` with samples `(n, 2)`, in as many pieces as one likes.

    Args:
        distribution: the truth; metrics that say nothing about it are left out.
        papers: besides the minimal set, in which each defect shows, what papers report: exact W2, MMD and the
            kernel Stein discrepancy.
        leave_out: names of metrics that are not wanted.
        classifier: besides, the classifier two-sample test.
        kwargs: of every metric, those of `torchmetrics.Metric`.

    Raises:
        ValueError: for `papers` if scipy is not installed.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        name: cls(distribution, **kwargs)
        for name, cls in _classes(distribution, papers, classifier).items()
        if name not in leave_out
    }
    # The default merges metrics whose states look alike after the first update, and silently returns wrong numbers;
    # so the groups with equal states are given.
    groups = [[name for name in group if name in metrics] for group in SAME_STATES]
    groups += [[name] for name in metrics if not any(name in group for group in groups)]
    return MetricCollection(metrics, compute_groups=[group for group in groups if group])


def _classes(distribution: Distribution, papers: bool, classifier: bool) -> dict[str, type[SampleMetric]]:
    """The metrics that say something about the distribution, by name."""
    chosen = MINIMAL | (PAPER if papers else {}) | (CLASSIFIER if classifier else {})
    return {name: cls for name, cls in chosen.items() if cls.applies_to(distribution)}


@dataclass(frozen=True)
class Floor:
    """A metric of exact samples.

    Attributes:
        mean: over the draws.
        sd: standard deviation of a draw.
        error: standard deviation of the mean, where the draws share a finite set of real points; see `noise_floors`.
    """

    mean: float
    sd: float
    error: float = 0.0

    def of_mean(self, repeats: int) -> "Floor":
        """The floor of the mean over so many draws."""
        return Floor(self.mean, self.sd / math.sqrt(repeats), self.error)

    @property
    def scatter(self) -> float:
        """The standard deviation of the difference between a value of exact samples and the mean."""
        return math.hypot(self.sd, self.error)

    def z(self, value: float) -> float | None:
        """By how many standard deviations a value exceeds the floor; None where exact samples do not scatter.

        Equal draws differ by rounding, since they are summed in different orders.
        """
        rounding = ROUNDING * max(abs(self.mean), abs(value), 1e-5)
        return (value - self.mean) / self.scatter if self.scatter > rounding else None


def noise_floors(
    distribution: Distribution,
    n: int,
    draws: int = 64,
    papers: bool = False,
    real: Points | None = None,
    classifier: bool = False,
) -> dict[str, Floor]:
    """The floors of the metrics of `sample_metrics` that have one, for `n` samples.

    About 2 s for 20 000, 15 s more for those of `papers`, 20 s more for that of `classifier`; what was measured before
    is read from disk (see `floor_cache`).

    Where only N real points are known, a draw is `n` of them without replacement. It has the law of `n` independent
    samples, but the draws share points: they scatter about their own mean with `1 - f` of the variance `V` of
    independent ones, `f = n / N` (the finite population correction; Cochran 1977, section 2.6), and their mean scatters
    with `f V`. So `V` is the observed variance over `1 - f`, and the error of the mean is `sqrt(f V)`.

    Args:
        distribution: the truth.
        n: number of samples, as many as the metrics will be given.
        draws: how often; their standard deviation is then known to a share of `1 / sqrt(2 draws)`. At most 16 for the
            classifier.
        papers, classifier: as in `sample_metrics`.
        real: where the distribution is only held-out points, whose own samples are too near to them: the real points
            that exact samples are taken from, at least `2 n`, so that the draws differ.

    Raises:
        ValueError: if there are fewer real points.
    """
    if real is not None and len(real) < 2 * n:
        raise ValueError(
            f"the noise floor of {n} samples takes at least {2 * n} real points, there are {len(real)}; "
            f"measure at most {len(real) // 2} samples"
        )
    key = key_of(distribution, real, n=n, draws=draws, papers=papers, classifier=classifier)
    values = kept(key)
    if values is None:
        values = _measured(distribution, n, draws, _classes(distribution, papers, classifier), real)
        keep(key, values)
    return {name: Floor(*numbers) for name, numbers in values.items()}


def _measured(
    distribution: Distribution, n: int, draws: int, chosen: dict[str, type[SampleMetric]], real: Points | None
) -> Values:
    """What a `Floor` holds, of each metric."""
    shared = 0.0 if real is None else n / len(real)
    classes = {name: cls for name, cls in chosen.items() if cls.has_floor}
    known: Values = {}
    if real is None:
        laws = {name: cls.known_floor(distribution, n) for name, cls in classes.items()}
        known = {name: law for name, law in laws.items() if law is not None}
    values: dict[str, list[float]] = {name: [] for name in classes if name not in known}
    for draw in watched(range(draws), "draws", f"noise floors of {n} samples"):
        if draw in (0, SLOW_DRAWS):
            measured = [name for name in values if draw == 0 or not classes[name].is_slow]
            # Every process draws the same samples, so their counts must not be added up.
            metrics = sample_metrics(
                distribution, True, leave_out=ALL.keys() - measured, classifier=True, sync_on_compute=False
            )
        metrics.reset()
        generator = torch.Generator().manual_seed(seed_of("noise floor", draw))
        metrics.update(distribution.sample(n, generator) if real is None else real.subset(n, generator).points)
        results = metrics.compute()
        for name in measured:
            values[name].append(results[name].item())
    tensors = {name: torch.tensor(v, dtype=torch.float64) for name, v in values.items()}
    sd = {name: v.std().item() / math.sqrt(1.0 - shared) for name, v in tensors.items()}
    found = known | {name: (v.mean().item(), sd[name], math.sqrt(shared) * sd[name]) for name, v in tensors.items()}
    return {name: found[name] for name in classes}
