"""Figures with their noise floors.

No figure means anything without the figure that perfect samples would get. The floor of a metric is measured: the same
metric, the same number of samples, the same reference, on samples of the exact law, drawn many times. So a metric only
says what it computes; value, floor, ratio and z of all of them come about here.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from toy_score.distributions import Distribution, Points
from toy_score.metrics.base import SampleMetric
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
from toy_score.metrics.fields import field_table
from toy_score.metrics.gaussianised import GaussianisedTest
from toy_score.metrics.kernels import MMD, KernelSteinDiscrepancy
from toy_score.metrics.memorisation import memorisation_table
from toy_score.metrics.projections import EnergyDistance, SlicedWasserstein
from toy_score.metrics.transport import ExactW2
from toy_score.seeds import seed_of

__all__ = ["Floor", "Report", "check_finite", "finite_or_null", "noise_floors", "sample_metrics"]

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
ALL = MINIMAL | PAPER

SAME_STATES = (
    ("sliced_w1", "energy"),
    ("mode_weights", "mode_total_variation", "mode_reverse_kl"),
    ("modes_found", "near_modes"),
)
MODE_TOTALS = ("mode_total_variation", "mode_reverse_kl", "modes_found", "near_modes")
FEW_MODES = 4  # the table names the share of each of so many, the totals of more


def sample_metrics(distribution: Distribution, papers: bool = False) -> MetricCollection:
    """The metrics of samples, by name; `update(x)` with samples `(n, 2)`, in as many pieces as one likes.

    Args:
        distribution: the truth; metrics that say nothing about it are left out.
        papers: besides the minimal set, from which each defect can be told, what papers report: exact W2, MMD and the
            kernel Stein discrepancy.

    Raises:
        ValueError: for `papers` if scipy is not installed.
    """
    classes = ALL if papers else MINIMAL
    metrics = {name: cls(distribution) for name, cls in classes.items() if cls.applies_to(distribution)}
    # The default merges metrics whose states look alike after the first update, and silently returns wrong numbers:
    # said here is which states are the same.
    groups = [[name for name in group if name in metrics] for group in SAME_STATES]
    groups += [[name] for name in metrics if not any(name in group for group in groups)]
    return MetricCollection(metrics, compute_groups=[group for group in groups if group])


@dataclass(frozen=True)
class Floor:
    """Mean and standard deviation of a metric over draws of perfect samples."""

    mean: float
    sd: float

    def of_mean(self, repeats: int) -> "Floor":
        """The floor of the mean over so many draws."""
        return Floor(self.mean, self.sd / math.sqrt(repeats))

    def z(self, value: float) -> float | None:
        """By how many standard deviations a value exceeds the floor; None where perfect samples do not scatter."""
        return (value - self.mean) / self.sd if self.sd > 0 else None


def noise_floors(
    distribution: Distribution, n: int, draws: int = 64, papers: bool = False, real: Points | None = None
) -> dict[str, Floor]:
    """The floors of the metrics of `sample_metrics` that have one, for `n` samples.

    About 3 s for 20 000, and 15 s more for those of `papers`.

    Args:
        distribution: the truth.
        n: number of samples, as many as the metrics will be given.
        draws: how often; their standard deviation is then known to a share of `1 / sqrt(2 draws)`.
        papers: as in `sample_metrics`.
        real: where the distribution is only held-out points, whose own samples are too near to them: the real points
            that perfect samples are taken from, at least `2 n`, so that the draws differ.
    """
    metrics = sample_metrics(distribution, papers)
    for metric in metrics.values():
        metric.distributed_available_fn = lambda: False  # every process draws the same: they must not be added up
    names = [name for name, cls in ALL.items() if name in metrics and cls.has_floor]
    values: dict[str, list[float]] = {name: [] for name in names}
    for draw in range(draws):
        metrics.reset()
        generator = torch.Generator().manual_seed(seed_of("noise floor", draw))
        metrics.update(distribution.sample(n, generator) if real is None else real.subset(n, generator).points)
        found = metrics.compute()
        for name in names:
            values[name].append(found[name].item())
    tensors = {name: torch.tensor(v, dtype=torch.float64) for name, v in values.items()}
    return {name: Floor(v.mean().item(), v.std().item()) for name, v in tensors.items()}


@dataclass
class Report:
    """What `test` found: printed as a table, kept as JSON.

    Attributes:
        title: distribution, model, sampler.
        distribution: the truth.
        n: number of samples of a draw.
        readings: what the metrics of `sample_metrics` computed, for every draw.
        floors: of `noise_floors`, for the same metrics and as many samples as were finite.
        levels, score_error, score_error_se: noise levels, normalised score error there, and its standard error.
        likelihood: summary of the metric `Likelihood`, if it was measured.
        fields: summary of `Fields`, if it was measured.
        memorisation: summary of `Memorisation`, if the training points are a fixed set.
    """

    title: str
    distribution: Distribution
    n: int
    readings: list[dict[str, Tensor]]
    floors: dict[str, Floor]
    levels: list[float] = field(default_factory=list)
    score_error: list[float] = field(default_factory=list)
    score_error_se: list[float] = field(default_factory=list)
    likelihood: dict[str, float] | None = None
    fields: dict[str, Any] | None = None
    memorisation: dict[str, Any] | None = None

    @property
    def repeats(self) -> int:
        """How many draws there were."""
        return len(self.readings)

    @property
    def n_finite(self) -> float:
        """The number of samples of a draw that the metrics could count, on average."""
        return self.n * (1.0 - self.mean("nonfinite").item())

    def mean(self, name: str) -> Tensor:
        """Mean of a metric over the draws."""
        return torch.stack([reading[name].double() for reading in self.readings]).mean(dim=0)

    def as_dict(self) -> dict[str, object]:
        """Everything as plain numbers."""
        return {
            "title": self.title,
            "n": self.n,
            "repeats": self.repeats,
            "score_error": {
                "mean": sum(self.score_error) / len(self.score_error) if self.score_error else None,
                "per_level": [
                    {"sigma": s, "error": e, "standard_error": se}
                    for s, e, se in zip(self.levels, self.score_error, self.score_error_se, strict=True)
                ],
            },
            **({"likelihood": self.likelihood} if self.likelihood else {}),
            **({"fields": self.fields} if self.fields else {}),
            **({"memorisation": self.memorisation} if self.memorisation else {}),
            **{name: self._with_floor(name) for name in self.floors},
            "mode_weights": self._modes(),
            "invalid_mass": {"value": self.mean("invalid_mass").item(), "truth": 0.0},
            "nonfinite": round(self.mean("nonfinite").item() * self.n * self.repeats),
        }

    def _with_floor(self, name: str) -> dict[str, float | None]:
        value, floor = self.mean(name).item(), self.floors[name].of_mean(self.repeats)
        found = {"value": value, "floor": floor.mean, "floor_sd": floor.sd, "z": floor.z(value)}
        if ALL[name].plot_lower_bound == 0.0 and floor.mean > 0:  # a distance; others scatter around their floor
            found["ratio"] = value / floor.mean
        if name == "gaussianised_ks":
            p = [
                GaussianisedTest.p_value_of(r[name].item(), round(self.n * (1 - r["nonfinite"].item())))
                for r in self.readings
            ]
            found["p_value"] = min(self.repeats * min(p), 1.0)  # Bonferroni, once more
        return found

    def _modes(self) -> dict[str, dict[str, float]]:
        shares, n = self.mean("mode_weights").flatten().tolist(), max(self.n_finite, 1.0) * self.repeats
        if isinstance(self.distribution, Points):
            n = 1.0 / (1.0 / n + 1.0 / len(self.distribution))  # the shares of held-out points scatter as well
        return {
            name: {"share": share, "truth": w, "z": (share - w) / math.sqrt(max(w * (1 - w), 1e-12) / n)}
            for (name, w), share in zip(self.distribution.mode_weights.items(), shares, strict=True)
        }

    def __str__(self) -> str:
        d = self.as_dict()
        few = len(d["mode_weights"]) <= FEW_MODES
        named = [name for name in self.floors if not (few and name in MODE_TOTALS)]
        draws = f", means over {self.repeats} draws" if self.repeats > 1 else ""
        if isinstance(self.distribution, Points):
            draws += f", compared with {len(self.distribution)} held-out points; perfect are the training points"
        lines = [self.title, f"{self.n} samples{draws}", "", *self._score_lines(d["score_error"]["mean"])]
        lines += [f"{'metric':<30}{'value':>10}{'perfect samples':>24}{'z':>8}"]
        lines += [_row(ALL[name].label, **d[name]) for name in named]
        if few:
            for mode, r in d["mode_weights"].items():
                sd = math.sqrt(r["truth"] * (1 - r["truth"]) / (max(self.n_finite, 1.0) * self.repeats))
                lines += [_row(f"share of the mode {mode}", r["share"], r["truth"], sd, r["z"])]
        if not isinstance(self.distribution, Points):
            lines += [f"{InvalidMass.label:<30}{d['invalid_mass']['value']:>10.5f}{'0':>24}"]
        lines += self._likelihood_lines()
        if self.fields is not None:
            lines += ["", *field_table(self.fields)]
        if self.memorisation is not None:
            lines += ["", *memorisation_table(self.memorisation)]
        if d["nonfinite"]:
            lines += [f"{d['nonfinite']} samples are not finite; the figures above leave them out"]
        return "\n".join(lines)

    def _score_lines(self, mean: float | None) -> list[str]:
        if mean is None:
            return []
        levels = zip(self.levels, self.score_error, self.score_error_se, strict=True)
        return [
            "noise level sigma   normalised score error",
            *[f"{s:17.3g}   {e:.6f} +- {se:.6f}" for s, e, se in levels],
            f"{'mean':>17}   {mean:.6f}",
            "",
        ]

    def _likelihood_lines(self) -> list[str]:
        if self.likelihood is None:
            return []
        r = self.likelihood
        lines = [
            "",
            f"negative log-likelihood, nats {r['nll']:>9.5f} +- {r['nll_standard_error']:.5f}   "
            f"(entropy {r['entropy']:.5f}; {r['bits_per_dimension']:.5f} bits per dimension)",
            f"forward KL, nats             {r['forward_kl']:>10.5f} +- {r['forward_kl_standard_error']:.5f}   "
            f"(floor {r['forward_kl_floor']:.5f} +- {r['forward_kl_floor_standard_error']:.5f}: the exact denoiser's)",
            f"data to latent and back      {r['round_trip']:>10.5f}              (mean distance)",
        ]
        if r["failed"]:
            lines += [f"the flow of {r['failed']} points could not be followed; the figures leave them out"]
        return lines


def _row(
    label: str,
    value: float,
    floor: float,
    floor_sd: float,
    z: float | None,
    ratio: float | None = None,
    p_value: float | None = None,
) -> str:
    """One line of the table: a figure, its floor, and how the two compare."""
    told = "" if ratio is None else f"   {ratio:.2f} x the floor"
    told += "" if p_value is None else f", p = {p_value:.2g}"
    digits = (
        5 if not 0 < floor_sd < math.inf else min(max(1 - math.floor(math.log10(floor_sd)), 5), 7)
    )  # two of the scatter
    scatter = f"{floor:.{digits}f} +- {floor_sd:.{digits}f}"
    return f"{label:<30}{value:>10.{digits}f}{scatter:>24}{'' if z is None else format(z, '.1f'):>8}{told}".rstrip()


def finite_or_null(figures: Any) -> Any:
    """The same dictionaries and lists with None for nan and infinity, for which JSON has no literal."""
    if isinstance(figures, dict):
        return {key: finite_or_null(value) for key, value in figures.items()}
    if isinstance(figures, list | tuple):
        return [finite_or_null(value) for value in figures]
    return None if isinstance(figures, float) and not math.isfinite(figures) else figures


def check_finite(figures: Any) -> None:
    """Raise a FloatingPointError that names the figures that are nan or infinite, as `likelihood.nll`."""
    names = _not_finite(figures)
    if names:
        told = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        raise FloatingPointError(f"not finite: {told}; the network, the sampler or the truth gives nan or infinity")


def _not_finite(figures: Any, name: str = "") -> list[str]:
    if isinstance(figures, dict | list | tuple):
        items = figures.items() if isinstance(figures, dict) else enumerate(figures)
        return [found for key, value in items for found in _not_finite(value, f"{name}.{key}" if name else str(key))]
    return [name] if isinstance(figures, float) and not math.isfinite(figures) else []
