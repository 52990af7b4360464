"""Arrays of numpy: `.npy`, and the arrays of an `.npz` that are as long as the points.

The header of an array has its size. It is read first, so a file that would unpack to more than the limit is refused
before anything is unpacked.
"""

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from toy_score.distributions.reading.sheet import LARGEST_FILE, Sheet

__all__ = ["read_arrays"]

POINTS, LABELS = ("x", "samples"), "labels"


class _TooLargeError(ValueError):
    pass


def read_arrays(path: Path) -> Sheet:
    """The columns in an `.npy` or `.npz` file.

    Raises:
        ValueError: if it is damaged, holds objects, declares more than 256 MiB, or has no points.
    """
    try:
        arrays = _npz(path) if zipfile.is_zipfile(path) else {"": _npy(path)}
    except _TooLargeError:
        raise ValueError(f"{path.name} unpacks to more than {LARGEST_FILE >> 20} MiB; keep some of the rows") from None
    except Exception:  # damaged bytes can make numpy and zipfile raise any exception
        raise ValueError(f"{path.name} cannot be read as an array of numbers: damaged, or with objects in it") from None
    name = next((n for n in ("", *POINTS) if n in arrays), None)
    if name is None:
        others = [n for n in arrays if n != LABELS]
        if len(others) != 1:
            raise ValueError(
                f"{path.name} has the arrays {', '.join(others) or 'of labels alone'}; name the points 'x'"
            )
        name = others[0]
    array = arrays.pop(name)
    names, columns, named = _columns(path, array)
    notes, inner = [], len(names)
    for other, values in arrays.items():
        if values.shape == (len(array),):
            names, columns = [*names, other], [*columns, values]
            named = named or array.ndim == 1
        elif other == LABELS:
            raise ValueError(f"the labels in {path.name} are {values.shape}, not one for each of {len(array)} points")
        else:
            notes.append(f"not read: the array {other!r} {values.shape}")
    if array.ndim == 1 and array.dtype.names is None:
        names[0] = name
    if len(names) < 2:
        raise ValueError(_expected(path, array))
    if array.ndim == 2 and len(names) > array.shape[1]:
        # The columns of the array of points have no names. The other arrays have names, such as `labels`.
        if array.shape[1] > 2 and LABELS in names:
            raise ValueError(
                f"{path.name} has {array.shape[1]} columns in {name!r} and an array 'labels'; save x as (n, 2)"
            )
        names, named = [*"xy", *names[2:]] if array.shape[1] == 2 else names, True

    def shown(i: int) -> str:
        row = [column[i].item() if hasattr(column[i], "item") else column[i] for column in columns[:20]]
        return f"row {i + 1} of {path.name} is {row}"

    beside = len(names) - inner if array.ndim == 2 else 0
    return Sheet(path.name, names, named, columns, shown, _expected(path, array), notes=notes, beside=beside)


def _columns(path: Path, array: np.ndarray) -> tuple[list[str], list[np.ndarray], bool]:
    """Names and values of the columns of the points, and whether they have names of their own."""
    if array.dtype.names is not None and array.ndim == 1 and len(array):
        return list(array.dtype.names), [array[n] for n in array.dtype.names], True
    two = array.ndim == 2 and 2 <= array.shape[1] <= 1000
    if not (two or array.ndim == 1) or not len(array) or array.dtype.kind not in "fiu":
        raise ValueError(_expected(path, array))
    columns = [array] if array.ndim == 1 else list(array.T)
    return [f"column {k}" for k in range(1, len(columns) + 1)], columns, False


def _npy(path: Path) -> np.ndarray:
    with open(path, "rb") as file:
        _check(file)
    return np.load(path, allow_pickle=False)


def _npz(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        total = 0
        for entry in archive.infolist():
            with archive.open(entry) as file:
                total += _check(file)
        if max(total, sum(entry.file_size for entry in archive.infolist())) > LARGEST_FILE:
            raise _TooLargeError
    with np.load(path, allow_pickle=False) as loaded:
        return {name: loaded[name] for name in loaded.files}


def _check(file: IO[bytes]) -> int:
    """The size that the header of an array declares, in bytes."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    size = math.prod(shape) * max(dtype.itemsize, 1)
    if size > LARGEST_FILE:
        raise _TooLargeError
    return size


def _expected(path: Path, array: np.ndarray) -> str:
    return f"{path.name} must hold numbers (n, 2), or (n, 3) with classes, not {array.dtype} {array.shape}"
