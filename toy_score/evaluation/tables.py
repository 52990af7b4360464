"""A report's figures as lines of text and as a table of a notebook."""

import html
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toy_score.evaluation.report import Report

__all__ = ["as_html", "line"]

FAR = 3.0  # standard deviations from exact samples, beyond which a figure is bold


def line(
    label: str,
    value: float,
    floor: float,
    floor_sd: float,
    z: float | None,
    ratio: float | None = None,
    p_value: float | None = None,
) -> str:
    """One line of the table: a figure, its floor, and how the two compare."""
    shown, scatter = _figures(value, floor, floor_sd)
    return f"{label:<30}{shown:>10}{scatter:>24}{_z(z):>8}   {_comment(ratio, p_value)}".rstrip()


def as_html(report: "Report") -> str:
    """The table of a report; figures far from those of exact samples are bold, the rest of the report is text below."""
    head = ("metric", "value", "exact samples", "z", "")
    cells = ["".join(f"<th>{name}</th>" for name in head)]
    for row in report.rows():
        shown, scatter = _figures(row["value"], row["floor"], row["floor_sd"])
        far = row["z"] is not None and not abs(row["z"]) <= FAR
        figures = (shown, scatter, _z(row["z"]), _comment(row.get("ratio"), row.get("p_value")))
        style = ' style="font-weight: bold"' if far else ""
        names = f'<td style="text-align: left">{html.escape(row["label"])}</td>'
        cells.append(f"{names}{''.join(f'<td{style}>{figure}</td>' for figure in figures)}")
    draws = f", means over {report.repeats} draws" if report.repeats > 1 else ""
    table = "".join(f"<tr>{row}</tr>" for row in cells)
    return (
        f"<div><strong>{html.escape(report.title)}</strong><br>{report.n} samples{draws}</div><table>{table}</table>"
        f"<details><summary>the whole report</summary><pre>{html.escape(str(report))}</pre></details>"
    )


def _figures(value: float, floor: float, floor_sd: float) -> tuple[str, str]:
    """Value and floor, with two digits of the scatter."""
    digits = 5 if not 0 < floor_sd < math.inf else min(max(1 - math.floor(math.log10(floor_sd)), 5), 7)
    return f"{value:.{digits}f}", f"{floor:.{digits}f} +- {floor_sd:.{digits}f}"


def _z(z: float | None) -> str:
    return "" if z is None else f"{z:.1f}"


def _comment(ratio: float | None, p_value: float | None) -> str:
    words = [] if ratio is None else [f"{ratio:.2f} x the floor"]
    words += [] if p_value is None else [f"p = {p_value:.2g}"]
    return ", ".join(words)
