"""The results so far, in one file that is replaced as a whole after every cell, so a comparison can be interrupted at
any time."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toy_score.files import locked, replacing

__all__ = ["Store", "locked_folder", "write"]

FIGURES = tuple(f"{name}.{kind}" for kind in ("png", "pdf", "svg") for name in ("evaluations", "seconds"))
OUTPUTS = ("results.csv", "results.md", *FIGURES, "index.html")
"""What a comparison writes besides `results.json`."""


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Make the folder of a comparison, and keep other comparisons out of it until the block ends.

    Raises:
        BlockingIOError: if another comparison writes into it.
        OSError: if it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot write to {str(folder)!r}: {error.strerror}; choose another --output") from None
    with locked(folder / "results.json"):
        yield


class Store:
    """The state of a comparison in a folder: `results.json.part` while it runs, `results.json` when it is complete.

    Args:
        folder: an existing one, which `locked_folder` keeps for this comparison.
        settings: the settings that determine the numbers, as plain values; a comparison with other settings is not
            continued.
        about: further information: date, machine, command line.
        overwrite: start again if the folder holds another comparison; one with the same settings is continued.

    Attributes:
        rows: what is done, by the key of the cell.
        floors: the noise floors, by the repr of the distribution.
        about: as given, or as stored.

    Raises:
        FileExistsError: if the folder holds a comparison with other settings, or files that are of none.
        OSError: if the folder cannot be written.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], about: dict[str, Any], overwrite: bool = False):
        self.folder, self.settings, self.about = folder, settings, about
        self.rows: dict[str, dict[str, Any]] = {}
        self.floors: dict[str, dict[str, Any]] = {}
        self._final, self._part = folder / "results.json", folder / "results.json.part"
        try:
            kept = self._part if self._part.exists() else self._final
            try:
                if kept.exists():
                    self._go_on(kept)
                elif there := [name for name in OUTPUTS if (folder / name).exists()]:
                    raise FileExistsError(
                        f"{str(folder / there[0])!r} exists and is not of a comparison; choose another --output, "
                        "or add --overwrite to replace it"
                    )
            except FileExistsError:
                if not overwrite:
                    raise
            self._save()
        except OSError as error:
            if error.strerror is None:  # a sentence of our own
                raise
            raise OSError(f"cannot write to {str(folder)!r}: {error.strerror}; choose another --output") from None

    def _go_on(self, path: Path) -> None:
        advice = "choose another --output, or add --overwrite to start anew"
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            settings, about, floors = kept["settings"], kept["about"], kept["floors"]
            rows = {row.pop("key"): row for row in kept["cells"]}
        except (ValueError, KeyError, TypeError):
            raise FileExistsError(f"{str(path)!r} is not a comparison; {advice}") from None
        for name in {**self.settings, **settings}:
            old, new = settings.get(name), self.settings.get(name)
            if old != new:
                raise FileExistsError(
                    f"{str(self.folder)!r} holds a comparison with {name} = {_shown(old)}, not {_shown(new)}; {advice}"
                )
        self.rows, self.floors, self.about = rows, floors, about

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Keep a row."""
        self.rows[key] = row
        self._save()

    def add_floors(self, name: str, floors: dict[str, Any]) -> None:
        """Keep the floors of a distribution."""
        self.floors[name] = floors
        self._save()

    def finish(self, keys: list[str]) -> None:
        """All is done: put the rows in order and the file in its place."""
        self.rows = {key: self.rows[key] for key in keys}
        self._save()
        os.replace(self._part, self._final)

    def _save(self) -> None:
        contents = {
            "settings": self.settings,
            "about": self.about,
            "floors": self.floors,
            "cells": [{"key": key, **row} for key, row in self.rows.items()],
        }
        write(self._part, json.dumps(contents, indent=1, allow_nan=False) + "\n")


def write(path: Path, contents: str | bytes) -> None:
    """A file that is complete or as it was before."""
    with replacing(path) as file:
        file.write(contents.encode("utf-8") if isinstance(contents, str) else contents)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else text[:57] + "..."
