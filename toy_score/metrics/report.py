"""Figures with their noise floors.

No figure means anything without the figure that perfect samples would get. The floor of a metric is measured: the same
metric, the same number of samples, the same reference, on samples of the exact law, drawn many times.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from toy_score.distributions import Distribution
from toy_score.metrics.counts import InvalidMass, ModeWeights, NonFinite
from toy_score.metrics.cross_entropy import CrossEntropyGap
from toy_score.metrics.fields import field_table
from toy_score.metrics.projections import EnergyDistance, SlicedWasserstein
from toy_score.seeds import seed_of

__all__ = ["Floor", "Report", "noise_floors", "sample_metrics"]

WITH_FLOOR = ("sliced_w1", "energy", "cross_entropy_gap")


def sample_metrics(distribution: Distribution) -> MetricCollection:
    """The metrics of samples, by name; `update(x)` with samples `(n, 2)`, in as many pieces as one likes."""
    return MetricCollection(
        {
            "sliced_w1": SlicedWasserstein(distribution),
            "energy": EnergyDistance(distribution),
            "cross_entropy_gap": CrossEntropyGap(distribution),
            "mode_weights": ModeWeights(distribution),
            "invalid_mass": InvalidMass(distribution),
            "nonfinite": NonFinite(),
        },
        # The default merges metrics whose states look alike after the first update, and silently returns wrong numbers.
        compute_groups=False,
    )


@dataclass(frozen=True)
class Floor:
    """Mean and standard deviation of a metric over draws of perfect samples."""

    mean: float
    sd: float


def noise_floors(distribution: Distribution, n: int, draws: int = 64) -> dict[str, Floor]:
    """The floors of the metrics that have one, for `n` samples; about 4 s for 20 000."""
    metrics = sample_metrics(distribution)
    for metric in metrics.values():
        metric.distributed_available_fn = lambda: False  # every process draws the same: they must not be added up
    values: dict[str, list[float]] = {name: [] for name in WITH_FLOOR}
    for draw in range(draws):
        metrics.reset()
        metrics.update(distribution.sample(n, torch.Generator().manual_seed(seed_of("noise floor", draw))))
        for name in WITH_FLOOR:
            values[name].append(metrics[name].compute().item())
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
        floors: of `noise_floors`, for the same n.
        levels, score_error, score_error_se: noise levels, normalised score error there, and its standard error.
        likelihood: summary of the metric `Likelihood`, if it was measured.
        fields: summary of `Fields`, if it was measured.
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

    @property
    def repeats(self) -> int:
        """How many draws there were."""
        return len(self.readings)

    def mean(self, name: str) -> Tensor:
        """Mean of a metric over the draws."""
        return torch.stack([reading[name].double() for reading in self.readings]).mean(dim=0)

    def as_dict(self) -> dict[str, object]:
        """Everything as plain numbers."""
        measured = {name: self._with_floor(name) for name in WITH_FLOOR}
        measured["sliced_w1"]["ratio"] = measured["sliced_w1"]["value"] / self.floors["sliced_w1"].mean
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
            **measured,
            "mode_weights": self._modes(),
            "invalid_mass": {"value": self.mean("invalid_mass").item(), "truth": 0.0},
            "nonfinite": round(self.mean("nonfinite").item() * self.n * self.repeats),
        }

    def _with_floor(self, name: str) -> dict[str, float]:
        value, floor = self.mean(name).item(), self.floors[name]
        sd = floor.sd / math.sqrt(self.repeats)  # of the mean over the draws
        return {"value": value, "floor": floor.mean, "floor_sd": sd, "z": (value - floor.mean) / sd}

    def _modes(self) -> dict[str, dict[str, float]]:
        shares, n = self.mean("mode_weights").tolist(), self.n * self.repeats
        return {
            name: {"share": share, "truth": w, "z": (share - w) / math.sqrt(max(w * (1 - w), 1e-12) / n)}
            for (name, w), share in zip(self.distribution.mode_weights.items(), shares, strict=True)
        }

    def __str__(self) -> str:
        d = self.as_dict()
        draws = f", means over {self.repeats} draws" if self.repeats > 1 else ""
        lines = [self.title, f"{self.n} samples{draws}", ""]
        if self.score_error:
            lines += ["noise level sigma   normalised score error"]
            lines += [
                f"{s:17.3g}   {e:.6f} +- {se:.6f}"
                for s, e, se in zip(self.levels, self.score_error, self.score_error_se, strict=True)
            ]
            lines += [f"{'mean':>17}   {d['score_error']['mean']:.6f}", ""]
        lines += [f"{'metric':<28}{'value':>10}{'perfect samples':>22}{'z':>8}"]
        names = {"sliced_w1": "sliced W1", "energy": "energy distance", "cross_entropy_gap": "cross-entropy gap, nats"}
        for key, name in names.items():
            r = d[key]
            floor = f"{r['floor']:.5f} +- {r['floor_sd']:.5f}"
            ratio = f"   {r['ratio']:.2f} x the floor" if "ratio" in r else ""
            lines += [f"{name:<28}{r['value']:>10.5f}{floor:>22}{r['z']:>8.1f}{ratio}"]
        for mode, r in d["mode_weights"].items():
            floor = f"{r['truth']:.5f} +- {math.sqrt(r['truth'] * (1 - r['truth']) / self.n / self.repeats):.5f}"
            lines += [f"{'share of the mode ' + mode:<28}{r['share']:>10.5f}{floor:>22}{r['z']:>8.1f}"]
        lines += [f"{'mass where there is none':<28}{d['invalid_mass']['value']:>10.5f}{'0':>22}"]
        if self.likelihood is not None:
            r = self.likelihood
            lines += [
                "",
                f"negative log-likelihood, nats {r['nll']:>9.5f} +- {r['nll_standard_error']:.5f}   "
                f"(entropy {r['entropy']:.5f}; {r['bits_per_dimension']:.5f} bits per dimension)",
                f"its gap to the exact density {r['gap']:>10.5f} +- {r['gap_standard_error']:.5f}   (0 is perfect)",
                f"data to latent and back      {r['round_trip']:>10.5f}              (mean distance)",
            ]
            if r["failed"]:
                lines += [f"the flow of {r['failed']} points could not be followed; the figures leave them out"]
        if self.fields is not None:
            lines += ["", *field_table(self.fields)]
        if d["nonfinite"]:
            lines += [f"{d['nonfinite']} samples are not finite; the figures above leave them out"]
        return "\n".join(lines)
