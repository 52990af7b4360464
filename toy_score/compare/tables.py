"""The results as CSV and Markdown."""

import csv
import html
import io
import re
from collections.abc import Sequence
from typing import Any

from toy_score.compare.summary import Group, faults, headline, protocol_text, spread

__all__ = ["READING", "as_csv", "as_markdown", "number", "with_z"]

READING = (
    "The best cell of a model is the one with the fewest evaluations among those that do not differ significantly from "
    "the model's lowest sliced W1. The number of the exact denoiser is that of the same cell with it in the network's "
    "place: same sampler, same schedule, same noise. The distance from 1 to it is due to the steps and the prior; from "
    "it to the model, to the network. The exact denoiser on a wide schedule shows the cost of the model's schedule. It "
    "is not a bound: with few steps a narrower schedule can be better."
)


def as_csv(groups: Sequence[Group]) -> str:
    """One line for each cell, with all its figures; empty where there is none, or none for its distribution."""
    rows = [row for group in groups for row in group.rows]
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, fieldnames=list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def as_markdown(groups: Sequence[Group], n_samples: int, seeds: int, command: str) -> str:
    """The ranking, then all cells."""
    lines = [f"# {headline(groups)}", "", protocol_text(groups, n_samples, seeds), "", f"    {command}", ""]
    for group in groups:
        lines += [f"## {group.label}", ""]
        lines += ["| | model | sliced W1 / floor | exact denoiser | sampler | evaluations | seconds |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for k, entry in enumerate(group.entries, start=1):
            row, name = entry.best, literal(entry.contestant.name)
            place = "" if entry is group.wide else k
            if row is None:
                lines += [f"| {place} | {name} | no finite samples | | | | |"]
                continue
            reference = number(None if entry.reference is None else entry.reference["sliced_w1_ratio"], 2)
            seconds = number(row["seconds"], 2)
            ratio = number(row["sliced_w1_ratio"], 2) + spread(entry)
            lines += [f"| {place} | {name} | {ratio} | {reference} | `{row['sampler']}` | {row['nfe']} | {seconds} |"]
        lines += ["", *(part for text in faults(group) for part in (literal(text), "")), READING, ""]
        lines += ["### All cells", ""]
        lines += [
            "| model | sampler | evaluations | seconds | sliced W1 | / floor | energy (z) | cross-entropy gap (z) "
            "| mode weights, worst z | invalid mass | not finite |"
        ]
        lines += ["|---|---|---|---|---|---|---|---|---|---|---|"]
        for row in group.rows:
            cells = [
                literal(row["model"]),
                f"`{row['sampler']}`",
                row["nfe"],
                number(row["seconds"], 2),
                f"{number(row['sliced_w1'], 4)} ± {number(row['sliced_w1_sd'], 4)}",
                number(row["sliced_w1_ratio"], 2),
                with_z(row, "energy"),
                with_z(row, "cross_entropy_gap"),
                number(row["mode_weights_worst_z"], 1),
                number(row["invalid_mass"], 5),
                row["nonfinite"],
            ]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
        lines.append("")
    return "\n".join(lines)


def literal(name: str) -> str:
    """A name that a user chose, such as that of a file, for Markdown: nothing in it is markup."""
    return re.sub(r"([\\|*`\[\]])", r"\\\1", html.escape(name, quote=False))


def number(value: float | None, digits: int) -> str:
    """With so many digits after the point; three digits in all where it is large; a dash for nothing."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if abs(value) < 1e3 else f"{value:.2e}"


def with_z(row: dict[str, Any], name: str) -> str:
    """`0.00018 (1.2)`."""
    return f"{number(row[name], 5)} ({number(row[name + '_z'], 1)})"
