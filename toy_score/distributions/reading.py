"""Reading points from files: tables, arrays of numpy, and the dark pixels of a picture.

Whatever is wrong with a file is told in one line with the number of the row, counted from 1 as editors do in a table,
and from 0, as numpy does, in an array.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from toy_score.seeds import seed_of

__all__ = ["Table", "read_table"]

ARRAYS, PICTURES, TABLES = (".npy", ".npz"), (".png", ".jpg", ".jpeg"), (".csv", ".tsv", ".txt")
PICTURE_POINTS = 50_000
PAPER = 0.05  # darkness below which a pixel is background: compressed pictures are never quite white


class Table(NamedTuple):
    """What a file holds: points `(n, 2)` float64; their classes `(n,)`, counted from 0, and names, if it tells them."""

    x: Tensor
    labels: Tensor | None = None
    names: list[str] | None = None


def read_table(path: str | Path) -> Table:
    """The points in a file.

    - `.csv`: columns x, y and, if there is a third, the class, a whole number or a word; with or without a header;
      separated by commas, semicolons, tabs or spaces. Empty lines and lines that begin with `#` are passed over.
    - `.npy`: an array `(n, 2)`, or `(n, 3)` whose last column is the class.
    - `.npz`: the array `x` or `samples`, or the only one there is; the classes may be in an array `labels`.
    - `.png`, `.jpg`: 50 000 points drawn from the dark pixels, each uniform within a pixel that is chosen with a
      probability proportional to its darkness. The unit is a pixel, y points up, what is transparent is white.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is of another kind, damaged, or holds anything but finite points.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    kind = path.suffix.lower()
    if kind in TABLES:
        return _from_csv(path)
    if kind in ARRAYS:
        return _from_arrays(path)
    if kind in PICTURES:
        return _from_picture(path)
    raise ValueError(f"cannot read points from {path.name!r}: the name must end in .csv, .npy, .npz, .png or .jpg")


def _from_csv(path: Path) -> Table:
    rows: list[list[float]] = []
    classes: list[str] = []
    columns = 0
    for number, cells in _cells(path):

        def wrong(what: str, number: int = number, cells: list[str] = cells) -> ValueError:
            return ValueError(f"row {number} of {path.name} is {','.join(cells)!r}: {what}")

        numbers = [_number(cell) for cell in cells[:2]]
        if not columns:
            columns = len(cells)
            if columns not in (2, 3):
                raise wrong(f"it has {columns} columns; give x, y and, if there are classes, a third column with them")
            if numbers == [None, None]:
                continue  # a header
        if len(cells) != columns:
            raise wrong(f"it has {len(cells)} columns where the rows above have {columns}")
        point = [value for value in numbers if value is not None]
        if len(point) < len(numbers):
            raise wrong(f"{cells[numbers.index(None)]!r} is not a number")
        if not np.isfinite(point).all():
            raise wrong("a coordinate is not finite; remove or repair it")
        if columns == 3 and not _is_class(cells[2]):
            raise wrong(f"{cells[2]!r} is not a class, which is a whole number or a word")
        rows.append(point)
        classes += cells[2:]
    if not rows:
        raise ValueError(f"{path.name} holds no points")
    x = torch.tensor(rows, dtype=torch.float64)
    return Table(x, *_classes(classes)) if columns == 3 else Table(x)


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that say something, as their number in the file and their cells."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is not a text file in UTF-8") from None
    said = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    separator = next((s for s in ";\t," if said and s in said[0][1]), None)
    for number, line in said:
        cells = next(csv.reader([line], delimiter=separator)) if separator else line.split()
        yield number, [cell.strip() for cell in cells]


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _is_class(cell: str) -> bool:
    number = _number(cell)
    return bool(cell) if number is None else number.is_integer()


def _classes(told: list[str]) -> tuple[Tensor, list[str]]:
    """Labels counted from 0, in the order of the numbers or of the alphabet, and the names of the classes."""
    values = [str(int(float(cell))) if _number(cell) is not None else cell for cell in told]
    numbers = all(_number(value) is not None for value in values)
    names = sorted(set(values), key=int if numbers else str)
    index = {name: k for k, name in enumerate(names)}
    return torch.tensor([index[value] for value in values]), names


def _from_arrays(path: Path) -> Table:
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except Exception:  # numpy raises whatever the damaged bytes happen to provoke
        raise ValueError(f"{path.name} cannot be read as an array of numbers: damaged, or with objects in it") from None
    told = arrays.pop("labels", None)
    name = next((name for name in ("x", "samples", *arrays) if name in arrays), None)
    if name is None or (name not in ("", "x", "samples") and len(arrays) > 1):
        raise ValueError(f"{path.name} has the arrays {', '.join(arrays) or 'of labels alone'}; name the points 'x'")
    array = arrays[name]
    if array.ndim != 2 or array.shape[1] not in (2, 3) or not len(array) or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{path.name} must hold numbers (n, 2), or (n, 3) with classes, not {array.dtype} {array.shape}"
        )
    x = torch.tensor(array[:, :2].astype(np.float64))
    if not x.isfinite().all():
        row = int((~x.isfinite()).any(dim=1).nonzero()[0])
        raise ValueError(f"row {row + 1} of {path.name} is {x[row].tolist()}: a coordinate is not finite; repair it")
    told = array[:, 2] if array.shape[1] == 3 else told
    if told is None:
        return Table(x)
    if told.shape != (len(x),):
        raise ValueError(f"the labels in {path.name} are {told.shape}, not one for each of {len(x)} points")
    classes = [str(value) for value in told.tolist()]
    for row, cell in enumerate(classes, start=1):
        if not _is_class(cell):
            raise ValueError(f"the class of row {row} of {path.name} is {cell!r}, not a whole number or a word")
    return Table(x, *_classes(classes))


def _from_picture(path: Path) -> Table:
    from PIL import Image  # comes with matplotlib

    try:
        with Image.open(path) as file:
            picture = file.convert("RGBA")
    except Exception:  # Pillow raises whatever the damaged bytes happen to provoke
        raise ValueError(f"{path.name} cannot be read as a picture: it is damaged or of another kind") from None
    paper = Image.new("RGBA", picture.size, "white")
    darkness = 1.0 - np.asarray(Image.alpha_composite(paper, picture).convert("L"), dtype=np.float64)[::-1] / 255.0
    darkness = np.where(darkness < PAPER, 0.0, darkness)
    if not darkness.any():
        raise ValueError(f"{path.name} has no dark pixels, where the points are")
    generator = torch.Generator().manual_seed(seed_of("points of a picture"))
    u = torch.rand(PICTURE_POINTS, 3, generator=generator, dtype=torch.float64).numpy()
    edges = darkness.cumsum()
    pixel = np.searchsorted(edges[:-1], u[:, 0] * edges[-1], side="right")
    rows, columns = np.divmod(pixel, darkness.shape[1])
    return Table(torch.tensor(np.stack([columns, rows], axis=1) + u[:, 1:]))
