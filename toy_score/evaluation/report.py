"""The report of a test: every figure beside the noise floor, the value that exact samples get."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from toy_score.distributions import Distribution, Points
from toy_score.evaluation.tables import as_html, line
from toy_score.metrics import Floor, GaussianisedTest, InvalidMass
from toy_score.metrics.bridges import bridge_table
from toy_score.metrics.fields import field_table
from toy_score.metrics.floors import ALL
from toy_score.metrics.maps import map_table
from toy_score.metrics.memorisation import memorisation_table

__all__ = ["Report"]

MODE_TOTALS = ("mode_total_variation", "mode_reverse_kl", "modes_found", "near_modes")
COUNTS = tuple(ALL[name].label for name in ("modes_found", "near_modes"))  # whole numbers, often the same in all draws
FEW_MODES = 4  # the table names the share of each of so many, the totals of more


@dataclass
class Report:
    """The results of a test: printed as a table, kept as JSON.

    Attributes:
        title: distribution, model, sampler.
        distribution: the truth.
        n: number of samples of a draw.
        readings: what the metrics of `sample_metrics` computed, for every draw.
        floors: of `noise_floors`, for the same metrics and as many samples as were finite.
        levels, score_error, score_error_se: noise levels, normalised score error there, and its standard error.
        likelihood: summary of the metric `Likelihood`, if it was measured.
        fields: summary of `Fields`, if it was measured.
        maps: summary of `Maps`, if the denoiser is a flow map.
        bridge: summary of `Bridges`, if the denoiser is a bridge.
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
    maps: dict[str, Any] | None = None
    bridge: dict[str, Any] | None = None
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

    @property
    def mean_score_error(self) -> float | None:
        """Mean of the score error over the noise levels; None if it was not measured."""
        return sum(self.score_error) / len(self.score_error) if self.score_error else None

    @property
    def n_nonfinite(self) -> int:
        """The number of samples that are not finite, in all draws together."""
        return round(self.mean("nonfinite").item() * self.n * self.repeats)

    def as_dict(self) -> dict[str, object]:
        """Everything as plain numbers."""
        return {
            "title": self.title,
            "n": self.n,
            "repeats": self.repeats,
            "score_error": {
                "mean": self.mean_score_error,
                "per_level": [
                    {"sigma": s, "error": e, "standard_error": se}
                    for s, e, se in zip(self.levels, self.score_error, self.score_error_se, strict=True)
                ],
            },
            **({"likelihood": self.likelihood} if self.likelihood else {}),
            **({"fields": self.fields} if self.fields else {}),
            **({"maps": self.maps} if self.maps else {}),
            **({"bridge": self.bridge} if self.bridge else {}),
            **({"memorisation": self.memorisation} if self.memorisation else {}),
            **{name: self._with_floor(name) | self._of_draws(name) for name in self.floors},
            "mode_weights": self._modes(),
            "invalid_mass": {"value": self.mean("invalid_mass").item(), "truth": 0.0},
            "nonfinite": self.n_nonfinite,
        }

    def _with_floor(self, name: str) -> dict[str, Any]:
        """Value and floor of a metric, as `_row` prints them."""
        value, floor = self.mean(name).item(), self.floors[name].of_mean(self.repeats)
        figures = {"value": value, "floor": floor.mean, "floor_sd": floor.scatter, "z": floor.z(value)}
        if ALL[name].plot_lower_bound == 0.0 and floor.mean > 0:  # a distance; others scatter around their floor
            figures["ratio"] = value / floor.mean
        if name == "gaussianised_ks":
            figures["p_value"] = min(self.repeats * min(self._p_values()), 1.0)  # Bonferroni, once more
        return figures

    def _p_values(self) -> list[float]:
        """The p-value of the Gaussianised Kolmogorov-Smirnov test of each draw."""
        return [
            GaussianisedTest.p_value_of(r["gaussianised_ks"].item(), round(self.n * (1 - r["nonfinite"].item())))
            for r in self.readings
        ]

    def _of_draws(self, name: str) -> dict[str, list[float]]:
        """What the JSON has of each draw."""
        return {"p_values": self._p_values()} if name == "gaussianised_ks" else {}

    def _modes(self) -> dict[str, dict[str, float]]:
        shares, n = self.mean("mode_weights").flatten().tolist(), max(self.n_finite, 1.0) * self.repeats
        held_out = len(self.distribution) if isinstance(self.distribution, Points) else None
        return {
            name: {"share": share, "truth": w, "z": _z_of_share(share, w, n, held_out)}
            for (name, w), share in zip(self.distribution.mode_weights.items(), shares, strict=True)
        }

    def rows(self) -> list[dict[str, Any]]:
        """The lines of the table: label, value, floor, floor_sd, z, and where they have a meaning ratio and p_value."""
        modes = self._modes()
        few = len(modes) <= FEW_MODES
        named = [name for name in self.floors if not (few and name in MODE_TOTALS)]
        rows = [{"label": ALL[name].label, **self._with_floor(name)} for name in named]
        for mode, r in modes.items() if few else ():
            sd = math.sqrt(r["truth"] * (1 - r["truth"]) / (max(self.n_finite, 1.0) * self.repeats))
            rows += [
                {
                    "label": f"share of the mode {mode}",
                    "value": r["share"],
                    "floor": r["truth"],
                    "floor_sd": sd,
                    "z": r["z"],
                }
            ]
        return rows

    def _repr_html_(self) -> str:
        return as_html(self)

    def __str__(self) -> str:
        draws = f", means over {self.repeats} draws" if self.repeats > 1 else ""
        note = []
        if isinstance(self.distribution, Points):
            note = ["the column 'exact samples' resamples the training points"]
            draws += f", compared with {len(self.distribution)} held-out points"
        lines = [self.title, f"{self.n} samples{draws}", *note, "", *self._score_lines()]
        lines += [f"{'metric':<30}{'value':>10}{'exact samples':>24}{'z':>8}"]
        rows = self.rows()
        lines += [line(**row) for row in rows]
        if not isinstance(self.distribution, Points):
            lines += [f"{InvalidMass.label:<30}{self.mean('invalid_mass').item():>10.5f}{'0':>24}"]
        if any(row["z"] is None for row in rows if row["label"] not in COUNTS):
            lines += ["where z is missing, exact samples do not scatter: there is no scale to judge the value by"]
        lines += self._likelihood_lines()
        if self.maps is not None:
            lines += ["", *map_table(self.maps, self.floors["sliced_w1"].mean)]
        if self.bridge is not None:
            lines += ["", *bridge_table(self.bridge)]
        if self.fields is not None:
            lines += ["", *field_table(self.fields)]
        if self.memorisation is not None:
            lines += ["", *memorisation_table(self.memorisation)]
        if self.n_nonfinite:
            lines += [f"{self.n_nonfinite} samples are not finite; the figures above leave them out"]
        return "\n".join(lines)

    def _score_lines(self) -> list[str]:
        mean = self.mean_score_error
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


def _z_of_share(share: float, truth: float, n: float, held_out: int | None) -> float:
    """By how many standard deviations a share of `n` samples differs from the truth, or from that of held-out points.

    Those scatter as well, and may have none of a class: the variance is that of the pooled share.
    """
    pooled, size = truth, n
    if held_out is not None:
        pooled, size = (n * share + held_out * truth) / (n + held_out), 1.0 / (1.0 / n + 1.0 / held_out)
    return (share - truth) / math.sqrt(max(pooled * (1.0 - pooled), 1e-12) / size)
