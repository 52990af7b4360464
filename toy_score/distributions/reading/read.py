"""Choice of the reader for a file."""

from pathlib import Path

from toy_score.distributions.reading.arrays import read_arrays
from toy_score.distributions.reading.pictures import read_picture
from toy_score.distributions.reading.sheet import Choice, Key, Table, table_of
from toy_score.distributions.reading.text import read_text

__all__ = ["read_table"]

ARRAYS, PICTURES, TEXTS = (".npy", ".npz"), (".png", ".jpg", ".jpeg"), (".csv", ".tsv", ".txt")


def read_table(
    path: str | Path,
    columns: list[Key] | None = None,
    label_column: Key | None = None,
    group_column: Key | None = None,
    group: str | int | None = None,
) -> Table:
    """Read the points in a file.

    - `.csv`: separated by commas, semicolons, tabs or spaces, with or without a header. Empty lines and lines that
      begin with `#` are skipped. Decimal commas are read if commas do not separate the columns. A first line that
      only counts the rows is skipped.
    - `.npy`: an array `(n, 2)` or `(n, 3)`, or a structured array, whose fields are the columns.
    - `.npz`: the array `x` or `samples`, or the only one; the classes may be in `labels`. If `x` is `(n,)`, every array
      `(n,)` is a column.
    - `.png`, `.jpg`: 50 000 points drawn from the dark pixels; see `read_picture`.

    Without `columns`, x and y are the columns of these names, or else the first two columns, and a third column has the
    classes. A leading column of row numbers is skipped where it can be recognised, and refused where it may be x.
    `print(table)` shows what was read.

    Args:
        columns: the names or numbers, counted from 1, of two columns; then classes are read from `label_column` only.
        label_column: name or number of the column with the classes.
        group_column: name or number of a column; only the rows in which it is `group` are read.
        group: the value that selects the rows.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is of another kind, damaged or too large, has no such columns, or holds anything but
            finite points. The message names the row, counted from 1.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    choice = Choice(columns, label_column, group_column, group)
    kind = path.suffix.lower()
    if kind in TEXTS:
        return table_of(read_text(path), choice)
    if kind in ARRAYS:
        return table_of(read_arrays(path), choice)
    if kind in PICTURES:
        if choice != Choice():
            raise ValueError(f"{path.name} is a picture, which has no columns; leave out the choice of columns")
        return read_picture(path)
    raise ValueError(f"cannot read points from {path.name!r}: the name must end in .csv, .npy, .npz, .png or .jpg")
