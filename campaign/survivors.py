"""What became of the planted errors: which survivors compute the same, and how many of all were found."""

import math
from collections import Counter

from campaign.record import Record

__all__ = ["EQUIVALENT", "again", "interval", "is_equivalent", "table"]

EQUIVALENT = {
    ("distributions/gaussians.py", "comparison: S[:, 0, 0] > 0 -> S[:, 0, 0] >= 0"): "0 has no positive determinant",
    (
        "couplings/entropic.py",
        "comparison: (rows - log_a).expm1().abs().max() <= tolerance -> (rows - log_a).expm1().abs().max() < tolerance",
    ): "only where they are equal",
    (
        "solvers.py",
        "comparison: h[rows].abs() < left.abs() -> h[rows].abs() <= left.abs()",
    ): "of equals, either",
    ("solvers.py", "comparison: excess <= 1.0 -> excess < 1.0"): "only where they are equal",
    (
        "couplings/entropic.py",
        "constant: 0 -> 1",
    ): "the start of a potential: one is overwritten, a constant in the other cancels",
    (
        "couplings/entropic.py",
        "constant: 1 -> 2",
    ): "the start of a potential: one is overwritten, a constant in the other cancels",
    ("distributions/points.py", "constant: 1 -> 2"): "points at a time, for the same sums",
    ("distributions/points.py", "constant: 1.0 -> 2.0"): "the noise at which the nearest point is the likeliest",
    ("distributions/boxes.py", "comparison: offset < 0 -> offset <= 0"): "in the middle, either side",
    ("distributions/folded.py", "constant: 1.0 -> 2.0"): "the length of a normal vector",
    ("distributions/halfplanes.py", "sign left out: -1 -> 1"): "of two axes, the last is number 1",
    ("metrics/kernels.py", "constant: 2.0 -> 4.0"): "a period that is longer, of as many more waves",
    ("objectives/times.py", "constant: 1e-06 -> 2e-06"): "a bound that two points in a million meet",
    (
        "objectives/maps/base.py",
        "comparison: share[0] < self.to_data -> share[0] <= self.to_data",
    ): "only where they are equal",
    ("posteriors.py", "comparison: a >= b -> a > b"): "of two equal matrices, either",
    ("samplers/particles.py", "comparison: ess < threshold -> ess <= threshold"): "only where they are equal",
    ("samplers/particles.py", "constant: 2 -> 3"): "the number of strips, or where the curve turns: another curve",
    (
        "samplers/particles.py",
        "operator: strip + torch.where(strip % 2 == 0, height, 1.0 - height)"
        " -> strip - torch.where(strip % 2 == 0, height, 1.0 - height)",
    ): "another curve",
    (
        "objectives/maps/trajectories.py",
        "comparison: u[0] < self.from_noise -> u[0] <= self.from_noise",
    ): "only where they are equal",
    ("solvers.py", "constant: 1e-10 -> 2e-10"): "a step grows fivefold at most, which is the bound below 3e-4",
}
"""Survivors that compute the same, (path, change), and why."""


def again(survivor: str) -> str:
    """The key of the second trial of a survivor, `path:line change`."""
    return f"again {survivor}"


def table(record: Record, totals: dict[str, int]) -> list[dict[str, object]]:
    """How many of the mutants that were tried were found, with an interval of 95 %, of each part and of all.

    In `all` each part counts by the number of those that were tried, in the last row by that of all its mutants.
    """
    survived = Counter(part for part, _ in record.failures)
    later = Counter(part for part, name in record.failures if record.kept(again(name)))
    same = Counter(part for part, name in record.failures if is_equivalent(name))
    rows: list[dict[str, object]] = []
    for name, parts in [*((part, [part]) for part in totals), ("all", list(totals))]:
        total, tried, lost, found, equal = (
            sum(counts[part] for part in parts) for counts in (totals, record.tried, survived, later, same)
        )
        row = {"part": name, "mutants": total, "tried": tried, "found": tried - lost, "by slow tests": found}
        k = tried - lost + found
        rows.append({**row, **shares(k / max(tried, 1), tried, tried == total), "equivalent survivors": equal})
    weights = {part: n / sum(totals.values()) for part, n in totals.items() if record.tried[part]}
    tried = {part: record.tried[part] for part in weights}
    share = {part: (tried[part] - survived[part] + later[part]) / tried[part] for part in weights}
    mean = sum(weights[part] * share[part] for part in weights) / sum(weights.values())
    smooth = {part: (share[part] * tried[part] + 1) / (tried[part] + 2) for part in weights}
    variance = sum(weights[part] ** 2 * smooth[part] * (1 - smooth[part]) / tried[part] for part in weights)
    effective = sum(weights[part] * smooth[part] * (1 - smooth[part]) for part in weights) / max(variance, 1e-9)
    blank = dict.fromkeys(rows[0], "")
    return [*rows, {**blank, "part": "all, by the number of mutants", **shares(mean, effective, False)}]


def shares(share: float, n: float, is_all: bool) -> dict[str, object]:
    """The share of n and its interval, for a row of the table."""
    low, high = interval(share * n, n)
    between = f"{low:.0%} to {high:.0%}" if n else ""
    return {"share": f"{share:.1%}" if n else "", "95 % interval": "all were tried" if is_all else between}


def is_equivalent(survivor: str) -> bool:
    """Whether a survivor, `path:line change`, is in the list of those that compute the same."""
    place, _, what = survivor.partition(" ")
    return (place.partition(":")[0], what) in EQUIVALENT


def interval(k: float, n: float, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share of which k of n were counted (Wilson 1927); of 95 % by default."""
    if n == 0:
        return 0.0, 1.0
    middle, width = k + z * z / 2, z * math.sqrt(k * (n - k) / n + z * z / 4)
    return max((middle - width) / (n + z * z), 0.0), min((middle + width) / (n + z * z), 1.0)
