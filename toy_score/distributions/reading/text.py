"""Tables of text: the separator, the header, decimal commas, and a first line that counts the rows."""

import csv
import re
from pathlib import Path

from toy_score.distributions.reading.sheet import LARGEST_FILE, Sheet, parse

__all__ = ["read_text"]

LONGEST_ROW = 100_000  # characters; Python's csv module refuses a cell of 131 073
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")


def read_text(path: Path) -> Sheet:
    """The rows of a `.csv`, `.tsv` or `.txt` file.

    Raises:
        ValueError: if it is not a table, or larger than 256 MiB.
    """
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path.name} has more than {LARGEST_FILE >> 20} MiB; keep some of its rows, or save a .npy")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is not a text file in UTF-8; save it as one") from None
    numbered = [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    for number, line in numbered:
        if len(line) > LONGEST_ROW:
            raise ValueError(f"row {number} of {path.name} has {len(line)} characters; this is not a row of a table")
    if not numbered:
        raise ValueError(f"{path.name} holds no points")
    separator = _separator([line for _, line in numbered[:20]])
    rows = [_cells(line, separator) for _, line in numbered]
    lines = numbered

    def shown(i: int) -> str:
        number, line = lines[i]
        return f"row {number} of {path.name} is {line if len(line) <= 80 else line[:77] + '...'!r}"

    head = shown(0)
    decimal, notes = _decimal(rows, separator, shown), []
    if (counted := _counts(rows, decimal)) is not None:
        if counted != len(rows) - 1:
            raise ValueError(f"{shown(0)}, but {len(rows) - 1} rows follow; remove this line")
        notes.append(f"skipped the first line, which counts {counted} rows")
        rows, lines = rows[1:], lines[1:]
        head = shown(0)
    width, header = len(rows[0]), None
    if all(parse(cell, decimal) is None for cell in rows[0]) and width > 1:
        header, rows, lines = rows[0], rows[1:], lines[1:]
        if rows and len(rows[0]) == width + 1:  # R leaves out the name of the row numbers
            header, width = ["", *header], width + 1
    for i, row in enumerate(rows):
        if len(row) != width:
            raise ValueError(f"{shown(i)}: it has {len(row)} columns where the rows above have {width}")
    if not rows:
        raise ValueError(f"{path.name} holds no points")
    if decimal == ",":
        notes.append("decimal commas")
    names = header or [f"column {k}" for k in range(1, width + 1)]
    columns = [list(column) for column in zip(*rows, strict=True)]
    return Sheet(path.name, names, header is not None, columns, shown, head, decimal, notes)


def _separator(lines: list[str]) -> str | None:
    """The separator of the columns; None for spaces."""
    bare = [re.sub('"[^"]*"', '""', line) for line in lines]  # a quoted name may hold any sign
    for separator in ";\t":
        if separator in bare[0] or all(separator in line for line in bare[1:] or bare):
            return separator
    if any("," in line for line in bare):
        # 1,5 2,5 are two numbers with decimal commas, 1, 2 are two numbers after a comma. Some rows may be wrong.
        rows = lines[1:] or lines
        return None if 2 * sum(map(_is_spaced, rows)) > len(rows) else ","
    return None


def _is_spaced(line: str) -> bool:
    """Whether a line has numbers, with decimal commas if with any, that are separated by spaces."""
    cells = line.split()[:2]
    return len(cells) == 2 and all(parse(cell) is not None or DECIMAL_COMMA.fullmatch(cell) for cell in cells)


def _cells(line: str, separator: str | None) -> list[str]:
    # Also with spaces as separators, csv keeps quoted text together, as R writes it.
    text = line if separator else " ".join(line.split())
    return [cell.strip() for cell in next(csv.reader([text], delimiter=separator or " "))]


def _decimal(rows: list[list[str]], separator: str | None, shown: object) -> str:
    """The decimal sign: a comma if some number has a comma and no number has a point."""
    if separator == ",":
        return "."
    comma = next((i for i, row in enumerate(rows) if any(DECIMAL_COMMA.fullmatch(cell) for cell in row)), None)
    if comma is None:
        return "."
    for i, row in enumerate(rows):
        if any("." in cell and parse(cell) is not None for cell in row):
            raise ValueError(f"{shown(comma)} and {shown(i)}: use either decimal commas or points")  # type: ignore[operator]
    return ","


def _counts(rows: list[list[str]], decimal: str) -> int | None:
    """The number of rows that the first line states; None if it states none."""
    first = [parse(cell, decimal) for cell in rows[0]]
    if len(rows) < 2 or None in first or not all(number.is_integer() for number in first if number is not None):
        return None
    if len(first) == 1 and len(rows[1]) > 1:
        return int(first[0])  # type: ignore[arg-type]
    # The numbers of rows and columns, which `np.loadtxt(skiprows=1)` skips: no coincidence in a file of many rows.
    if first == [len(rows) - 1, 2] and len(rows) > 10:
        return len(rows) - 1
    return None
