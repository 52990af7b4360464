"""The record of a campaign: trials and failures are counted, shown while it runs, and written to docs/campaign.md."""

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.timing import machine, markdown

__all__ = ["Record", "main"]

PAGE = Path(__file__).resolve().parents[1] / "docs" / "campaign.md"
EVERY = 10.0  # seconds between two lines of progress
SHOWN = 20  # failures


class Record:
    """Counts the trials of each kind, and keeps what went wrong.

    Args:
        show: prints a line.
        file: every trial that has a key is added to it at once; those that are in it count as tried.

    Attributes:
        tried: the number of trials, by kind.
        failures: (kind, what went wrong), in order.
        notes: how the trials of a kind ended, (kind, how), each with its number.
    """

    def __init__(self, show: Callable[[str], object] = print, file: Path | None = None):
        self.tried: Counter[str] = Counter()
        self.failures: list[tuple[str, str]] = []
        self.notes: Counter[tuple[str, str]] = Counter()
        self.show, self._begun, self._shown = show, time.monotonic(), time.monotonic()
        self._keys: set[str] = set()
        self._kept: dict[str, Any] = {}
        self._file: Path | None = None
        if file is not None and file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                if "kept" in entry:
                    self._kept[entry["key"]] = entry["kept"]
                else:
                    self.add(entry["kind"], entry["failure"], entry["note"], entry["key"])
                self._begun = time.monotonic() - entry["seconds"]
        self._file = file

    @property
    def seconds(self) -> float:
        """Since it began; without the time between two sittings."""
        return time.monotonic() - self._begun

    def has(self, key: str) -> bool:
        """Whether the trial of this key has been made."""
        return key in self._keys

    def keep(self, key: str, value: Any) -> None:
        """Keep a value for a later sitting."""
        self._kept[key] = value
        self._write({"key": key, "kept": value})

    def kept(self, key: str) -> Any:
        """What was kept; None if nothing was."""
        return self._kept.get(key)

    def _write(self, entry: dict[str, Any]) -> None:
        if self._file is not None:
            with open(self._file, "a", encoding="utf-8") as file:
                print(json.dumps({**entry, "seconds": round(self.seconds, 1)}), file=file)

    def add(self, kind: str, failure: str | None, note: str = "", key: str | None = None) -> None:
        """Count a trial.

        Args:
            kind: its row in the table.
            failure: what went wrong; None if it survived.
            note: how it ended, to be counted in the last column.
            key: which trial it is, for one that need not be repeated when the campaign goes on.
        """
        self.tried[kind] += 1
        if failure is not None:
            self.failures.append((kind, failure))
            self.show(f"FAILED  {kind}: {failure}")
        if note:
            self.notes[kind, note] += 1
        if key is not None:
            self._keys.add(key)
            self._write({"kind": kind, "failure": failure, "note": note, "key": key})
        if time.monotonic() - self._shown > EVERY:
            self._shown = time.monotonic()
            self.show(f"{self.tried.total():>6} trials, {len(self.failures)} failures, {self.seconds:.0f} s   {kind}")

    def rows(self) -> list[dict[str, object]]:
        """The table: a row for each kind of trial."""
        failed = Counter(kind for kind, _ in self.failures)
        return [
            {
                "trial": kind,
                "tried": tried,
                "survived": tried - failed[kind],
                "how they ended": ", ".join(f"{n} {note}" for (k, note), n in self.notes.items() if k == kind),
            }
            for kind, tried in self.tried.items()
        ]


def main(
    name: str,
    campaign: Callable[[Record, int, int], list[dict[str, object]] | None],
    number: int,
    doc: str,
    unit: str,
) -> None:
    """The command line of a campaign; exits with 1 if anything failed.

    The tables of a whole campaign, one of at least the default number of trials, are written to docs/campaign.md; those
    of a shorter one with `--write`.

    Args:
        name: of its module.
        campaign: `campaign(record, number, seed)` makes the trials; it may return a table of its own.
        number: the default number.
        doc: the help.
        unit: what the number counts, for the help.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=number, help=f"{unit} (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write the table to docs/campaign.md, however short")
    parser.add_argument("--resume", type=Path, help="keep the trials in this file, and go on from it")
    options = parser.parse_args()
    record = Record(_show, options.resume)
    rows = campaign(record, options.number, options.seed) or record.rows()
    command = f"python -m campaign.{name} --number {options.number} --seed {options.seed}"
    heading = f"`{command}`, {time.strftime('%Y-%m-%d')}, {record.seconds:.0f} s, {machine()}"
    text = f"{heading}\n\n{markdown(rows)}"
    print(f"\n{text}")
    if options.number >= number or options.write:
        write(name, text)
    for kind, failure in record.failures[:SHOWN]:
        print(f"FAILED  {kind}: {failure}")
    sys.exit(bool(record.failures))


def write(name: str, text: str, page: Path = PAGE) -> None:
    """Put a table between the marks of its campaign in the page."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    old = page.read_text(encoding="utf-8")
    new = re.sub(re.escape(begin) + ".*?" + re.escape(end), lambda _: begin + text + end, old, flags=re.DOTALL)
    if begin not in old:
        raise ValueError(f"{page} has no place for {name}; add {begin!r} and {end!r}")
    page.write_text(new, encoding="utf-8")


def _show(line: str) -> None:
    print(line, flush=True)
