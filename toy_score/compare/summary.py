"""The results: the ranking of models, the best cell of each, and its reference."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from toy_score.compare.contestants import NETWORK, OWN_SCHEDULE, WIDE, Cell, Contestant, distinct
from toy_score.distributions import Distribution

__all__ = ["ALARM", "Entry", "Group", "best", "faults", "headline", "protocol_text", "spread", "summarise"]

Row = dict[str, Any]

ALARM = 5.0
"""Standard deviations from the noise floor beyond which a metric raises an alarm."""
ALARMING = ("energy_z", "cross_entropy_gap_z", "mode_weights_worst_z")
"""Metrics of errors that sliced W1 misses."""
FAR = 1.5
"""Noise floors beyond which the samples of an exact denoiser are not exact, if chance does not explain it."""


@dataclass(frozen=True)
class Entry:
    """A contestant with its rows; several trainings of one model are one, with the means of their rows.

    Attributes:
        rows: all of them.
        best: the one that `best` chooses; None if no samples were fit to be measured.
        reference: the row of the exact denoiser with the same sampler on the same schedule.
        cell: that the best row belongs to; of the first training.
        trainings: the ratio of each training in the best row; none for a single training.
    """

    contestant: Contestant
    rows: list[Row]
    best: Row | None
    reference: Row | None
    cell: Cell | None
    trainings: tuple[float, ...] = ()


@dataclass(frozen=True)
class Group:
    """Everything on one distribution.

    Attributes:
        label: its name.
        floor, floor_sd: of the sliced W1: mean over exact samples, standard deviation of a mean over the seeds.
        noise: two of those standard deviations, as a multiple of the floor.
        models: the networks, the best first.
        wide: the exact denoiser on a wide schedule; None if no sampler of the list can be used there.
        rows: all of them, of references too.
    """

    label: str
    distribution: Distribution
    floor: float
    floor_sd: float
    noise: float
    models: list[Entry]
    wide: Entry | None
    rows: list[Row]

    @property
    def entries(self) -> list[Entry]:
        """The models, then the exact denoiser on a wide schedule."""
        return [*self.models, *([self.wide] if self.wide else [])]


def summarise(cells: Sequence[Cell], rows: dict[str, Row]) -> list[Group]:
    """The groups, one for each distribution, in the order of the models."""
    distributions = distinct(cell.contestant.distribution for cell in cells)
    names = [p.name.replace("_", " ") or repr(p) for p in distributions]
    groups = []
    for p, name in zip(distributions, names, strict=True):
        its = [cell for cell in cells if cell.contestant.distribution == p]
        table = {cell.key: rows[cell.key] for cell in its}
        contestants = distinct(cell.contestant for cell in its)
        alike = distinct((c.kind, c.training or c.name) for c in contestants)
        trainings = [[c for c in contestants if (c.kind, c.training or c.name) == key] for key in alike]
        entries = [_entry(some, its, table) for some in trainings]
        models = [entry for entry in entries if entry.contestant.kind == NETWORK]
        models.sort(key=lambda e: e.best["sliced_w1"] if e.best else math.inf)
        first = next(iter(table.values()))
        floor, sd = first["sliced_w1_floor"], first["sliced_w1_floor_sd"]
        groups.append(
            Group(
                label=name if names.count(name) == 1 else repr(p),
                distribution=p,
                floor=floor,
                floor_sd=sd,
                noise=2.0 * sd / floor,
                models=models,
                wide=next((entry for entry in entries if entry.contestant.kind == WIDE), None),
                rows=list(table.values()),
            )
        )
    return groups


def _entry(trainings: Sequence[Contestant], cells: Sequence[Cell], table: dict[str, Row]) -> Entry:
    """The entry of one contestant, or of several trainings of one model."""
    first = trainings[0]
    own = [[cell for cell in cells if cell.contestant is contestant] for contestant in trainings]
    if len(trainings) == 1:
        contestant, rows = first, [table[cell.key] for cell in own[0]]
    else:
        contestant = replace(first, name=f"{first.name} and {len(trainings) - 1} of other seeds")
        rows = [mean_row([table[c.key] for c in same], contestant.name) for same in zip(*own, strict=True)]
    chosen = best(rows)
    place = next((k for k, row in enumerate(rows) if row is chosen), None)
    cell = None if place is None else own[0][place]
    ratios = () if place is None or len(own) == 1 else tuple(table[c[place].key]["sliced_w1_ratio"] for c in own)
    return Entry(contestant, rows, chosen, _reference(chosen, table), cell, ratios)


def mean_row(rows: Sequence[Row], name: str) -> Row:
    """The row of several trainings of one model with one sampler: means, the worst of what raises an alarm.

    A figure is None, as one that is not finite, if it is None for one of them.
    """
    mean: Row = {**rows[0], "model": name, "nonfinite": sum(row["nonfinite"] for row in rows)}
    for key, value in rows[0].items():
        values = [row[key] for row in rows]
        if None in values:
            mean[key] = None
        elif key in ALARMING:
            mean[key] = max(values, key=abs)
        elif isinstance(value, float):
            mean[key] = statistics.fmean(values)
    return mean


def spread(entry: Entry) -> str:
    """How far the trainings of one model differ: `± 0.05 (3 trainings)`; empty for a single one."""
    n = len(entry.trainings)
    return f" ± {statistics.stdev(entry.trainings):.2f} ({n} trainings)" if n > 1 else ""


def faults(group: Group) -> list[str]:
    """A line for each entry whose exact denoiser is itself far from the floor: its network is not at fault there."""
    found = []
    for entry in group.models:
        row = entry.reference
        if row and row["sliced_w1_ratio"] and row["sliced_w1_ratio"] > FAR and (row["sliced_w1_z"] or 0.0) > ALARM:
            found.append(
                f"{entry.contestant.name}: the exact denoiser with {row['sampler']} is itself at "
                f"{row['sliced_w1_ratio']:.1f} noise floors: the sampler, its grid or the schedule is at fault there"
            )
    return found


def _reference(row: Row | None, table: dict[str, Row]) -> Row | None:
    if row is None:
        return None
    same = (r for r in table.values() if r["kind"] == OWN_SCHEDULE)
    return next((r for r in same if (r["schedule"], r["sampler"]) == (row["schedule"], row["sampler"])), None)


def best(rows: Sequence[Row]) -> Row | None:
    """The row with the fewest evaluations among those that do not differ significantly from the lowest sliced W1.

    Two means over the seeds differ significantly if they differ by more than two standard deviations of their
    difference. Rows in which another metric raises an alarm are left out, unless all do.
    """
    rows = [row for row in rows if row["sliced_w1"] is not None and not row["nonfinite"]]
    if not rows:
        return None
    least = min(rows, key=lambda row: row["sliced_w1"])
    tie = 2.0 * math.sqrt(2.0) * least["sliced_w1_floor_sd"]
    alike = [row for row in rows if row["sliced_w1"] <= least["sliced_w1"] + tie]
    alike = [row for row in alike if not any(abs(row.get(name) or 0.0) > ALARM for name in ALARMING)] or alike
    return min(alike, key=lambda row: (row["nfe"], row["sliced_w1"]))


def headline(groups: Sequence[Group]) -> str:
    """`Three models on the heart`."""
    words = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    models = []
    for group in groups:
        n = len(group.models)
        models.append(f"{words[n] if n < len(words) else n} model{'s' if n > 1 else ''} on the {group.label}")
    text = ", ".join(models)
    return text[0].upper() + text[1:]


def protocol_text(groups: Sequence[Group], n_samples: int, seeds: int) -> str:
    """How quality is measured, in a paragraph."""
    floors = ", ".join(f"{g.floor:.4f} ± {g.floor_sd:.4f}{' on ' + g.label if len(groups) > 1 else ''}" for g in groups)
    means = f", averaged over {seeds} seeds," if seeds > 1 else ""
    return (
        f"Quality is the sliced Wasserstein-1 distance of {_thousands(n_samples)} samples to the exact law{means} as a "
        f"multiple of its noise floor: the value that exact samples get ({floors}). Values below 1 are due to chance."
    )


def _thousands(n: int) -> str:
    return f"{n:,}".replace(",", " ")
