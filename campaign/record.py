"""The record of a campaign: trials and failures are counted, shown while it runs, and written to docs/campaign.md."""

import argparse
import re
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.timing import machine, markdown

__all__ = ["Record", "main"]

PAGE = Path(__file__).resolve().parents[1] / "docs" / "campaign.md"
EVERY = 10.0  # seconds between two lines of progress
SHOWN = 20  # failures


class Record:
    """Counts the trials of each kind, and keeps what went wrong.

    Attributes:
        tried: the number of trials, by kind.
        failures: (kind, what went wrong), in order.
        notes: how the trials of a kind ended, (kind, how), each with its number.
    """

    def __init__(self, show: Callable[[str], object] = print):
        self.tried: Counter[str] = Counter()
        self.failures: list[tuple[str, str]] = []
        self.notes: Counter[tuple[str, str]] = Counter()
        self._show, self._begun, self._shown = show, time.monotonic(), time.monotonic()

    def add(self, kind: str, failure: str | None, note: str = "") -> None:
        """Count a trial.

        Args:
            kind: its row in the table.
            failure: what went wrong; None if it survived.
            note: how it ended, to be counted in the last column.
        """
        self.tried[kind] += 1
        if failure is not None:
            self.failures.append((kind, failure))
            self._show(f"FAILED  {kind}: {failure}")
        if note:
            self.notes[kind, note] += 1
        if time.monotonic() - self._shown > EVERY:
            self._shown = time.monotonic()
            seconds = self._shown - self._begun
            self._show(f"{self.tried.total():>6} trials, {len(self.failures)} failures, {seconds:.0f} s   {kind}")

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


def main(name: str, campaign: Callable[[Record, int, int], None], number: int, doc: str, unit: str) -> None:
    """The command line of a campaign; exits with 1 if anything failed.

    The tables of a whole campaign, one of at least the default number of trials, are written to docs/campaign.md.

    Args:
        name: of its module.
        campaign: `campaign(record, number, seed)` makes the trials.
        number: the default number.
        doc: the help.
        unit: what the number counts, for the help.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=number, help=f"{unit} (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: %(default)s)")
    options = parser.parse_args()
    record, begun = Record(show=_show), time.monotonic()
    campaign(record, options.number, options.seed)
    command = shlex.join(["python", "-m", f"campaign.{name}", *sys.argv[1:]])
    heading = f"`{command}`, {time.strftime('%Y-%m-%d')}, {time.monotonic() - begun:.0f} s, {machine()}"
    text = f"{heading}\n\n{markdown(record.rows())}"
    print(f"\n{text}")
    if options.number >= number:
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
