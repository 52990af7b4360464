"""The comparison as figures: the lines of each panel and their colours."""

from collections.abc import Sequence

from toy_score.compare.contestants import OWN_SCHEDULE, Contestant
from toy_score.compare.samplers import OWN
from toy_score.compare.summary import Entry, Group, Row
from toy_score.plotting import Line, Panel
from toy_score.plotting.style import SERIES

__all__ = ["EVALUATIONS", "SECONDS", "by_evaluations", "by_seconds", "model_colours", "sampler_colours"]

EVALUATIONS = "evaluations of the denoiser per sample"
SECONDS = "seconds for 20 000 samples"


def sampler_colours(groups: Sequence[Group]) -> dict[str, str]:
    """A colour for each sampler of the list, in its order; the models' own come last."""
    labels = dict.fromkeys(row["line"] for group in groups for row in group.rows if row["line"] != OWN)
    colours = {label: SERIES[i % len(SERIES)] for i, label in enumerate(labels)}
    return {**colours, OWN: SERIES[-1]}


def model_colours(groups: Sequence[Group]) -> dict[str, str]:
    """A colour for each model, from the other end, so that few models and few samplers share none."""
    names = dict.fromkeys(entry.contestant.name for group in groups for entry in group.models)
    return {name: SERIES[::-1][(i + 1) % len(SERIES)] for i, name in enumerate(names)}


def by_evaluations(groups: Sequence[Group]) -> list[Panel]:
    """A panel for each model, with a line for each sampler, and one for the exact denoiser on a wide schedule."""
    colours, panels = sampler_colours(groups), []
    for group in groups:
        suffix = f", {group.label}" if len(groups) > 1 else ""
        for entry in group.models:
            reference = [row for row in group.rows if _is_reference(row, entry.contestant, entry.rows)]
            lines = [
                *_lines(reference, colours, "dashed", "hollow star"),
                *_lines(entry.rows, colours, "line", "star"),
            ]
            panels.append(Panel(entry.contestant.name + suffix, lines, group.noise))
        wide = _lines(group.wide.rows, colours, "line", "star") if group.wide else []
        if wide:
            panels.append(Panel("exact denoiser, wide schedule" + suffix, wide, group.noise))
    return panels


def _is_reference(row: Row, contestant: Contestant, rows: Sequence[Row]) -> bool:
    same = {(r["schedule"], r["sampler"]) for r in rows}
    return row["kind"] == OWN_SCHEDULE and (row["schedule"], row["sampler"]) in same


def _lines(rows: Sequence[Row], colours: dict[str, str], look: str, alone: str) -> list[Line]:
    lines = []
    for label in dict.fromkeys(row["line"] for row in rows):
        its = [row for row in sorted(rows, key=lambda row: row["nfe"]) if row["line"] == label]
        name = "the model's own sampler" if label == OWN else label
        if label != OWN or len(its) > 1:
            lines.append(_line(name, its, colours[label], look))
        if label == OWN:
            lines.append(_line(name, [row for row in its if row["own"]], colours[label], alone))
    return lines


def _line(name: str, rows: Sequence[Row], colour: str, look: str) -> Line:
    return Line(name, [row["nfe"] for row in rows], [row["sliced_w1_ratio"] for row in rows], colour, look)


def by_seconds(groups: Sequence[Group]) -> list[Panel]:
    """A panel for each distribution: all cells of the models, and for each model the best quality within a time."""
    colours = model_colours(groups)
    return [
        Panel(group.label, [line for entry in group.models for line in _front(entry, colours)], group.noise)
        for group in groups
    ]


def _front(entry: Entry, colours: dict[str, str]) -> list[Line]:
    name = entry.contestant.name
    points = sorted((r["seconds"], r["sliced_w1_ratio"]) for r in entry.rows if r["sliced_w1_ratio"] is not None)
    front: list[tuple[float, float]] = []
    for point in points:
        if not front or point[1] < front[-1][1]:
            front.append(point)
    if not points:
        return []
    return [
        Line(name, [x for x, _ in some], [y for _, y in some], colours[name], look)
        for some, look in ((points, "faint"), (front, "line"))
    ]
