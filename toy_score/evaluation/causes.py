"""The causes of an error, from the rows of an error budget, and its table; `budget` measures the rows."""

import math
from dataclasses import dataclass

from toy_score.metrics import Floor

__all__ = ["METRICS", "SURE", "ErrorBudget", "Row"]

METRICS = {
    "sliced_w1": "sliced W1",
    "energy": "energy distance",
    "cross_entropy_gap": "cross-entropy gap",
    "worst_mode": "worst mode, |z|",
}
"""What is measured, and what tables call it; the worst mode's share is counted in binomial standard deviations."""

DIGITS = {"sliced_w1": 4, "energy": 5, "cross_entropy_gap": 4, "worst_mode": 1}

SURE = 5.0  # standard deviations for a significant increment: for means of three draws, false alarm below 1e-4


@dataclass(frozen=True)
class Row:
    """One row of a budget.

    Attributes:
        name: the cause that is new in this row.
        denoiser, steps, start: which denoiser, which steps of the sampler and which start, in words.
        above: the row that this one is compared with; empty for the floor.
        figures: mean and standard deviation of a draw, for each of `METRICS`.
        draws: how many draws there were.
        nonfinite: share of the samples that are not finite; the metrics leave them out.
    """

    name: str
    denoiser: str
    steps: str
    start: str
    above: str
    figures: dict[str, Floor]
    draws: int
    nonfinite: float = 0.0

    @property
    def w1(self) -> Floor:
        """The sliced W1."""
        return self.figures["sliced_w1"]


@dataclass(frozen=True)
class ErrorBudget:
    """A budget: printed as a table, kept as JSON.

    Attributes:
        title: distribution, model, sampler.
        n: number of samples of a draw.
        rows: the floor first.
        note: on the row of finite data.
    """

    title: str
    n: int
    rows: list[Row]
    note: str

    def __getitem__(self, name: str) -> Row:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)

    def increment(self, name: str, above: str | None = None, metric: str = "sliced_w1") -> float:
        """The increase of a metric from the row that it is compared with, or from `above`."""
        above = self[name].above if above is None else above
        return self[name].figures[metric].mean - (self[above].figures[metric].mean if above else 0.0)

    def z(self, name: str, above: str | None = None, metric: str = "sliced_w1") -> float:
        """The increment divided by its standard deviation under chance; 0 for the floor.

        The standard deviation is that of two rows of independent exact samples, estimated from many draws. The rows use
        the same noise, so the actual one is smaller. The result is 0 if the metric is constant for exact samples, as
        the share of a single mode is.
        """
        above = self[name].above if above is None else above
        sd = self["floor"].figures[metric].sd
        if not above or sd == 0.0:
            return 0.0
        scatter = sd * math.sqrt(1.0 / self[name].draws + 1.0 / self[above].draws)
        return self.increment(name, above, metric) / scatter

    @property
    def together(self) -> dict[str, dict[str, float]]:
        """For each metric, the difference of the row `network` from the floor, and its z."""
        return {
            metric: {
                "increment": self.increment("network", "floor", metric),
                "z": self.z("network", "floor", metric),
            }
            for metric in METRICS
            if metric in self["floor"].figures
        }

    @property
    def causes(self) -> dict[str, float]:
        """The causes that exceed the noise floor, with their costs in sliced W1, the largest first.

        The cost of the prior is the increase from noised data to the sampler's own start, with this sampler and the
        exact denoiser; it is 0 for a chain that corrects its start. The cost of the network is the larger of its
        increment and its cost alone. That of a flow map is split into the costs of its diagonal, which is its denoiser,
        and of its long steps.
        """
        pairs = {
            "prior": [("discretisation", "discretisation alone")],
            "discretisation": [("discretisation alone", "floor")],
            "guidance": [("guidance", "discretisation")],
            "rule": [("rule", "discretisation")],
            "network": [("network", self["network"].above), ("network alone", self["network alone"].above)],
            "finite data": [("finite data", self["finite data"].above)] if "finite data" in self else [],
        }
        if "diagonal" in self:  # the network is a flow map
            pairs["diagonal"] = [("diagonal", "discretisation"), *pairs["network"][1:]]
            pairs["map"] = pairs.pop("network")[:1]
        costs = {
            cause: max(self.increment(*pair) for pair in pairs if self.z(*pair) > SURE)
            for cause, pairs in pairs.items()
            if any(pair[0] in self and self.z(*pair) > SURE for pair in pairs)
        }
        return dict(sorted(costs.items(), key=lambda item: -item[1]))

    def __contains__(self, name: str) -> bool:
        return any(row.name == name for row in self.rows)

    def as_dict(self) -> dict[str, object]:
        """Everything as plain numbers."""
        rows = [
            {
                **{key: getattr(row, key) for key in ("name", "denoiser", "steps", "start", "above", "draws")},
                **{name: {"mean": figure.mean, "sd": figure.sd} for name, figure in row.figures.items()},
                "increment": self.increment(row.name) if row.above else None,
                "z": self.z(row.name) if row.above else None,
                "nonfinite": row.nonfinite,
            }
            for row in self.rows
        ]
        return {"n": self.n, "rows": rows, "causes": self.causes, "together": self.together, "note": self.note}

    def __str__(self) -> str:
        others = [name for name in METRICS if name != "sliced_w1"]
        lines = [
            f"error budget of {self.title}",
            f"{self.n} samples a draw, {self.rows[-1].draws} draws, {self['floor'].draws} of the floor: "
            "mean +- sd of a draw",
            "more, and its z: against the row above, or the row named",
            "",
            f"{'':<21}{'denoiser':<14}{'steps':<8}{'start':<12}{'sliced W1':<17}{'more':>7}{'z':>7}",
        ]
        previous = ""
        for row in self.rows:
            more = f"{self.increment(row.name):>+7.4f}{self.z(row.name):>7.1f}" if row.above else ""
            lines += [
                f"{row.name:<21}{row.denoiser:<14}{row.steps:<8}{row.start:<12}"
                f"{f'{row.w1.mean:.4f} +- {row.w1.sd:.4f}':<17}{more}".rstrip()
                + (f"  {row.above}" if row.above != previous else "")
            ]
            if row.nonfinite:
                lines += [f"{'':<21}{row.nonfinite:.2%} of these samples are not finite and left out"]
            previous = row.name
        lines += ["", f"{'':<21}" + "".join(f"{METRICS[name]:>23}" for name in others)]
        for row in self.rows:
            figures = (
                f"{row.figures[name].mean:.{DIGITS[name]}f} +- {row.figures[name].sd:.{DIGITS[name]}f}"
                for name in others
            )
            lines += [f"{row.name:<21}" + "".join(f"{figure:>23}" for figure in figures)]
        return "\n".join([*lines, "", self.note, self.verdict])

    @property
    def verdict(self) -> str:
        """The causes in one line; if there is none, whether the total error exceeds the floor in any metric."""
        if self.causes:
            costs = ", ".join(f"{cause} {cost:+.4f}" for cause, cost in self.causes.items())
            caution = "These costs do not add up to the total error: errors can cancel."
            return f"Above the noise floor, in sliced W1: {costs}. {caution}"
        exceeding = ", ".join(
            f"{more['increment']:+.{DIGITS[metric]}f} to {METRICS[metric].removesuffix(', |z|')} (z = {more['z']:.1f})"
            for metric, more in self.together.items()
            if not abs(more["z"]) <= SURE  # nan as well
        )
        if not exceeding:
            return "Nothing exceeds the noise floor"
        return (
            f"Together the causes add {exceeding}, though none alone exceeds {SURE:.0f} standard deviations in "
            "sliced W1; increase --data.repeats to separate them"
        )
