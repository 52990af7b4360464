"""From the columns of a file to points: which columns are x, y and the classes, and which rows are read."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

__all__ = ["LARGEST_FILE", "Choice", "Key", "Sheet", "Table", "parse", "table_of"]

Key = str | int

LARGEST_FILE = 1 << 28  # bytes, unpacked: 16 million points in float64
SMALLEST, LARGEST = 1e-30, 1e30  # well within the range of float32, in which samples are written
ROW_NUMBERS = ("", "index", "id", "row", "rownames", "rowid", "unnamed: 0")  # as R, pandas and people name them
CLASSES = ("label", "labels", "class", "classes")
MANY = 20  # a third column with more values than this has classes only if there are ten times as many points


@dataclass(frozen=True)
class Choice:
    """Which columns and rows are read; see `read_table`."""

    columns: list[Key] | None = None
    label_column: Key | None = None
    group_column: Key | None = None
    group: str | int | None = None


@dataclass(frozen=True)
class Sheet:
    """What a file holds, before columns are chosen.

    Attributes:
        name: of the file.
        names: of the columns; `column 1` and so on if the file has none.
        named: whether the file names them.
        cells: the columns, each with one cell for each row.
        shown: row `i` as an error message shows it, with its number in the file.
        head: the file's columns as an error message shows them.
        decimal: the sign before decimals.
        notes: what was skipped, one line each.
        beside: how many of the last columns are read only if they are chosen, or named as classes.
    """

    name: str
    names: list[str]
    named: bool
    cells: Sequence[Sequence[str] | np.ndarray]
    shown: Callable[[int], str]
    head: str
    decimal: str = "."
    notes: list[str] = field(default_factory=list)
    beside: int = 0

    def wrong(self, row: int, what: str) -> ValueError:
        return ValueError(f"{self.shown(row)}: {what}")

    def title(self, k: int) -> str:
        return f"{self.names[k]!r} (column {k + 1})" if self.named else f"column {k + 1}"

    def find(self, key: Key, flag: str) -> int:
        """The column with a name or a number, counted from 1."""
        name, n = str(key).strip(), len(self.names)
        if self.named and self.names.count(name) == 1:
            return self.names.index(name)
        if name in self.names and self.named:
            raise ValueError(f"{self.name} has {self.names.count(name)} columns named {name!r}; give {flag} a number")
        if name.isascii() and name.isdigit() and 1 <= int(name) <= n:
            return int(name) - 1
        near = difflib.get_close_matches(name, self.names, 1) if self.named else []
        has = ", ".join(map(repr, self.names[:20])) if self.named else f"columns 1 to {n}"
        advice = f"did you mean {near[0]!r}? It has" if near else "it has"
        raise ValueError(f"{self.name} has no column {key!r}, which {flag} names; {advice} {has}")


@dataclass(frozen=True)
class Table:
    """The points of a file; `print(table)` shows what was read.

    Attributes:
        x: `(n, 2)` float64.
        labels: the classes `(n,)`, counted from 0, or None.
        names: of the classes, or None.
        columns: the names of x and y.
        source: the name of the file.
        notes: where x, y and the classes come from, and what was not read, one line each.
    """

    x: Tensor
    labels: Tensor | None = None
    names: list[str] | None = None
    columns: tuple[str, str] = ("x", "y")
    source: str = ""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"read {len(self.x)} points from {self.source}"]
        for axis, name in enumerate(self.columns):
            values = self.x[:, axis]
            low, high, mean, sd = (f(values).item() for f in (torch.min, torch.max, torch.mean, torch.std))
            lines.append(f"  {name}: from {low:.4g} to {high:.4g}, mean {mean:.4g}, sd {sd:.3g}")
            step = 2.0**-23 * abs(mean)
            if step > 1e-3 * sd > 0:
                lines.append(
                    f"  note: samples are float32, in steps of {step:.1g} here; subtract {mean:.4g} from {name}"
                )
        if self.labels is not None and self.names is not None:
            counts = self.labels.bincount(minlength=len(self.names)).tolist()
            shown = [f"{k} = {name} ({n})" for k, (name, n) in enumerate(zip(self.names, counts, strict=True))]
            more = [f"and {len(shown) - MANY} more"] if len(shown) > MANY else []
            lines.append(f"  classes: {', '.join(shown[:MANY] + more)}")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def table_of(sheet: Sheet, choice: Choice) -> Table:
    """The points in a sheet.

    Raises:
        ValueError: if there are no such columns, or a cell of them is wrong.
    """
    label = None if choice.label_column is None else sheet.find(choice.label_column, "label_column")
    notes = list(sheet.notes)
    if choice.columns is not None:
        if len(choice.columns) != 2:
            raise ValueError(f"columns must name two columns, x and y, got {choice.columns}")
        x, y = (sheet.find(key, "columns") for key in choice.columns)
        if x == y:
            raise ValueError(f"columns must name two different columns, got {choice.columns}")
    else:
        group = [] if choice.group_column is None else [sheet.find(choice.group_column, "group_column")]
        x, y, label = _guessed(sheet, label, group, notes)
    rows = _rows(sheet, choice, notes)
    if not len(rows):
        raise ValueError(f"{sheet.name} holds no points")
    points = torch.tensor(np.stack([_numbers(sheet, k, rows) for k in (x, y)], axis=1))
    named = sheet.named
    columns = (sheet.names[x] or "x", sheet.names[y] or "y") if named else ("x", "y")
    if label is not None:
        notes.append(f"the classes are {sheet.title(label)}")
    unread = [sheet.title(k) for k in range(len(sheet.names)) if k not in (x, y, label)]
    if unread:
        notes.append(f"not read: {', '.join(unread[:MANY])}{' and more' if len(unread) > MANY else ''}")
    if choice.columns is not None or unread or named:
        notes.append(f"x is {sheet.title(x)}, y is {sheet.title(y)}")
    labels, names = (None, None) if label is None else _classes(sheet, label, rows, choice.label_column is None)
    return Table(points, labels, names, columns, sheet.name, tuple(notes))


def _guessed(sheet: Sheet, label: int | None, group: list[int], notes: list[str]) -> tuple[int, int, int | None]:
    """x, y and the classes where the columns are not chosen."""
    lower = [name.lower() for name in sheet.names]
    inner = len(lower) - sheet.beside
    free = [k for k in range(len(lower)) if k != label and k not in group and (k < inner or lower[k] in CLASSES)]
    pair = [lower.index(name) for name in "xy" if name in lower] if sheet.named else []
    by_name = len(pair) == 2 and set(pair) <= set(free)
    if free and free[0] == 0 and 0 not in pair and _is_row_number(sheet, free):
        notes.append(f"skipped the row numbers in {sheet.title(0)}")
        free = free[1:]
    rest = [k for k in free if k not in pair] if by_name else free[2:]
    advice = "give x, y and, if there are classes, a third column with them; or choose, as in --data.columns '[1,2]'"
    if len(free) < 2 or (not by_name and len(rest) > (label is None)):
        raise ValueError(f"{sheet.head}: it has {len(sheet.names)} columns; {advice}")
    if label is None and rest:
        named = [k for k in rest if lower[k] in CLASSES]
        label = named[0] if named else rest[0] if len(rest) == 1 else None
    return (*(pair if by_name else free[:2]), label)  # type: ignore[return-value]


def _is_row_number(sheet: Sheet, free: list[int]) -> bool:
    """Whether the first column has row numbers.

    Raises:
        ValueError: if it counts the rows but could also be x.
    """
    if sheet.named and sheet.names[0].lower() == "":
        return True
    cells = sheet.cells[0]
    first = parse(cells[0], sheet.decimal) if len(cells) >= 10 else None  # shorter columns can count by chance
    if first not in (0, 1) or len(free) < 3:
        return False
    if any(parse(cell, sheet.decimal) != first + i for i, cell in enumerate(cells)):
        return False
    last = sheet.cells[free[2]]
    if (sheet.named and sheet.names[0].lower() in ROW_NUMBERS) or len(free) > 3:
        return True
    if all(_is_class(str(cell)) for cell in last):
        raise ValueError(
            f"{sheet.title(0)} of {sheet.name} counts the rows; it may be x, or row numbers: choose, "
            f"as in --data.columns '[1,2]' --data.label_column 3, or --data.columns '[2,3]'"
        )
    return True


def _rows(sheet: Sheet, choice: Choice, notes: list[str]) -> np.ndarray:
    """The rows that are read, by their index in the sheet."""
    rows = np.arange(len(sheet.cells[0]) if sheet.cells else 0)
    if choice.group_column is None:
        if choice.group is not None:
            raise ValueError(f"group is {choice.group!r}, but no group_column says in which column")
        return rows
    k = sheet.find(choice.group_column, "group_column")
    groups = [_word(cell) for cell in sheet.cells[k]]
    distinct = list(dict.fromkeys(groups))
    wanted = None if choice.group is None else _word(choice.group)
    if wanted not in distinct:
        what = "group_column needs a group" if wanted is None else f"there is no group {wanted!r}"
        more = ", ..." if len(distinct) > MANY else ""
        raise ValueError(f"{what}: {sheet.title(k)} of {sheet.name} has {', '.join(distinct[:MANY])}{more}")
    chosen = rows[[g == wanted for g in groups]]
    notes.append(f"read the rows in which {sheet.title(k)} is {wanted}, {len(chosen)} of {len(rows)}")
    return chosen


def parse(cell: object, decimal: str = ".") -> float | None:
    """The number in a cell, or None."""
    if not isinstance(cell, str):
        return float(cell)  # type: ignore[arg-type]
    if "_" in cell:  # Python reads 1_000 as a number
        return None
    try:
        return float(cell.replace(",", ".", 1) if decimal == "," else cell)
    except ValueError:
        return None


def _numbers(sheet: Sheet, k: int, rows: np.ndarray) -> np.ndarray:
    cells = sheet.cells[k]
    values = np.empty(len(rows))
    for i, row in enumerate(rows.tolist()):
        number = parse(cells[row], sheet.decimal)
        if number is None:
            raise sheet.wrong(row, f"{_short(cells[row])!r} is not a number")
        values[i] = number
    for bad, what in (
        (~np.isfinite(values), "a coordinate is not finite; remove or repair it"),
        (np.abs(values) > LARGEST, f"a coordinate is beyond {LARGEST:g}; remove it, or use another unit"),
    ):
        if bad.any():
            raise sheet.wrong(rows[int(bad.argmax())].item(), what)
    if 0 < np.abs(values).max() < SMALLEST:
        raise ValueError(f"all of {sheet.title(k)} of {sheet.name} is within {SMALLEST:g} of 0; use another unit")
    return values


def _classes(sheet: Sheet, k: int, rows: np.ndarray, guessed: bool) -> tuple[Tensor, list[str]]:
    """Labels counted from 0, in the order of their numbers or in alphabetical order, and the names of the classes."""
    cells = [str(sheet.cells[k][row]).strip() for row in rows.tolist()]
    for row, cell in zip(rows.tolist(), cells, strict=True):
        if not _is_class(cell):
            raise sheet.wrong(row, f"{_short(cell)!r} is not a class, which is a whole number or a word")
    values = [_word(cell) for cell in cells]
    distinct = set(values)
    if guessed and len(distinct) > max(MANY, len(rows) // 10):
        raise ValueError(
            f"{sheet.title(k)} of {sheet.name} has {len(distinct)} values in {len(rows)} rows; if they are classes, "
            f"add --data.label_column {k + 1}; if not, choose, as in --data.columns '[1,2]'"
        )
    numbers = all(parse(value) is not None for value in distinct)
    names = sorted(distinct, key=int if numbers else str)
    index = {name: i for i, name in enumerate(names)}
    return torch.tensor([index[value] for value in values]), names


def _word(cell: object) -> str:
    """A class or group as text; 9.0 becomes 9."""
    word = str(cell).strip()
    number = parse(word)
    return str(int(number)) if number is not None and number.is_integer() else word


def _is_class(cell: str) -> bool:
    number = parse(cell)
    return bool(cell) if number is None else number.is_integer()


def _short(cell: object) -> str:
    text = str(cell)
    return text if len(text) <= 60 else f"{text[:57]}..."
