"""Small errors planted in the mathematics, one at a time: each must be found by a test.

    python -m campaign.mutants [--number 80] [--seed 0] [--resume FILE]

Of the largest part so many are drawn, of the others in proportion to the root of their number: a compromise between a
share of each part and one share of all.

A mutant is the package with one change (`campaign/changes.py`). It is planted in a process that is forked after the
tests were collected. First every test runs once, and it is noted how long it takes and which functions it calls. Then
the tests that call the changed function run until one fails, those first that are quick and have found other errors of
the same file. A mutant whose changed line ran before, when the tests were collected, is tried again in a process that
imports the changed module anew.

Mutants that survive are tried a second time, with all tests of the files that have one that calls the changed function,
the slow ones too.

Whoever reads the list of survivors decides which are equivalent: they compute the same. Those are in
`campaign/survivors.py`.
"""

import contextlib
import io
import json
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from campaign.changes import ROOT, Changed, Mutant, mutants, plant
from campaign.record import Record, main
from campaign.survivors import again, is_equivalent, table

PARTS = {
    "parameterisations": ["parameterisations.py"],
    "schedules": ["schedules"],
    "denoisers": ["denoisers"],
    "objectives": ["objectives", "objectives/maps"],
    "likelihood": ["likelihood.py", "solvers.py"],
    "samplers": ["samplers"],
    "metrics": ["metrics"],
    "distributions": ["distributions"],
    "couplings": ["couplings"],
    "bridges": ["bridges"],
    "posteriors": ["posteriors.py"],
    "tilts": ["tilts.py"],
    "flow maps": ["flow_maps.py"],
}
"""What is changed."""

TESTS = """
properties numerics_promises schedules denoisers framework likelihood stable_target training_promises section3
map_objectives map_metrics flow_maps far_out properties_of_points distributions oracle zoo own_distribution points
reading values posteriors posterior_samplers tilts samplers gaussianised metrics paper_metrics fields floor_cache
not_finite data observed_models evaluation power validation couplings bridges bridge_objectives bridge_modules
mixture_bridge solvers ranges rehearsal two_moons_inference
"""
"""The files of tests that look at the mathematics, without `test_` and `.py`."""

SLOWEST = 10.0  # seconds of CPU time of a test that is used
OPTIONS = ["-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no", "-q", "-W", "ignore"]


@dataclass(frozen=True)
class Effort:
    """What is done to find a mutant.

    Attributes:
        slowest: seconds of CPU time of the slowest test.
        patience: seconds of CPU time for all tests.
        files: of tests, which are imported anew for a mutant that must be.
        neighbours: whether the other tests of the files of a test that calls the changed function are tried too.
    """

    slowest: float
    patience: float
    files: int
    neighbours: bool


QUICK = Effort(slowest=2.0, patience=4.0, files=3, neighbours=False)
FULL = Effort(slowest=SLOWEST, patience=40.0, files=10, neighbours=True)


class Calls:
    """The functions of the package that are called, (path, `Class.method`), while it is in use as a context."""

    def __enter__(self) -> "Calls":
        self._seen: set[CodeType] = set()
        sys.settrace(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        self._seen.add(frame.f_code)

    @property
    def functions(self) -> set[tuple[str, str]]:
        """Those of the package; a function within a function counts as the outer one."""
        package = str(ROOT / "toy_score") + os.sep
        ours = [code for code in self._seen if code.co_filename.startswith(package)]
        return {(code.co_filename[len(package) :], code.co_qualname.partition(".<locals>")[0]) for code in ours}


class Trials:
    """A plugin of pytest that runs the collected tests once, and then for each mutant, in forked processes.

    Args:
        chosen: mutants, each with its part.
        record: of the trials.
        calls: of the time in which the tests are collected.
    """

    def __init__(self, chosen: list[tuple[str, Mutant]], record: Record, calls: Calls):
        self.chosen, self.record, self.calls = chosen, record, calls
        self.kills: Counter[tuple[str, int]] = Counter()  # (path, test)

    def pytest_runtestloop(self, session: Any) -> bool:
        sys.settrace(None)
        self.at_import = self.calls.functions
        keys = {k: f"test {item.nodeid}" for k, item in enumerate(session.items)}
        for k, entry in self.measured(session, [k for k, key in keys.items() if self.record.kept(key) is None]):
            self.record.keep(keys[k], entry)
        kept = {k: entry for k, key in keys.items() if (entry := self.record.kept(key))}
        self.seconds = {k: seconds for k, (seconds, _) in kept.items()}
        self.called = {k: {tuple(one) for one in called} for k, (_, called) in kept.items()}
        self.record.show(f"{len(self.seconds)} of {len(session.items)} tests, {len(self.chosen)} mutants")
        for part, mutant in self.chosen:
            if not self.record.has(mutant.key):
                survivor = None if self.found(session, mutant, QUICK) else mutant.shown
                self.record.add(part, survivor, key=mutant.key)
        names = {name for _, name in self.record.failures if not is_equivalent(name)}
        for mutant in [mutant for _, mutant in self.chosen if mutant.shown in names]:
            if self.record.kept(again(mutant.shown)) is None:
                self.record.keep(again(mutant.shown), self.found(session, mutant, FULL))
        return True

    def found(self, session: Any, mutant: Mutant, effort: Effort) -> bool:
        """Whether a test fails with this mutant."""
        function = (mutant.path, mutant.place)
        if mutant.place is not None:
            tests = self.order(mutant, [k for k, called in self.called.items() if function in called], effort)
            if effort.neighbours:
                files = {session.items[k].path for k in tests}
                tests += [k for k in self.called if session.items[k].path in files and k not in set(tests)]
            if (number := self.forked(session, tests, mutant, effort.patience)) is not None:
                self.kills[mutant.path, number] += 1
                return True
            if function not in self.at_import:
                return False
        tests = [k for k, called in self.called.items() if any(path == mutant.path for path, _ in called)]
        names = [session.items[k].nodeid for k in self.order(mutant, tests, effort)]
        files = list(dict.fromkeys(name.partition("::")[0] for name in names))[: effort.files]
        return anew(mutant, [name for name in names if name.partition("::")[0] in files], effort.patience)

    def order(self, mutant: Mutant, tests: list[int], effort: Effort) -> list[int]:
        """Tests that are quick enough, in the order in which they are tried."""
        tests = [k for k in tests if self.seconds[k] < effort.slowest]
        promise = {k: (1 + 2 * self.kills[mutant.path, k]) / (0.02 + self.seconds[k]) for k in tests}
        return sorted(tests, key=lambda k: -promise[k])

    def measured(self, session: Any, numbers: list[int]) -> Iterator[tuple[int, list[Any]]]:
        """Tests by number: seconds of CPU time, and the functions called; nothing of one that fails or is slow."""
        reading, writing = os.pipe()
        if not os.fork():
            signal.signal(signal.SIGPROF, _too_slow)
            with os.fdopen(writing, "w") as out:
                for k in numbers:
                    begun = time.process_time()
                    signal.setitimer(signal.ITIMER_PROF, 1.5 * SLOWEST)
                    with Calls() as calls:
                        good = passes(session.items[k])
                    signal.setitimer(signal.ITIMER_PROF, 0.0)
                    seconds = time.process_time() - begun
                    entry = [seconds, sorted(calls.functions)] if good and seconds < SLOWEST else []
                    print(json.dumps([k, entry]), file=out, flush=True)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as lines:
            yield from map(json.loads, lines)
        os.wait()

    def forked(self, session: Any, order: list[int], mutant: Mutant, patience: float) -> int | None:
        """The test that finds the mutant, planted in this process; -1 if another thing did, None if nothing does."""
        reading, writing = os.pipe()
        if not (pid := os.fork()):
            os.close(reading)
            os._exit(self.fate(session, order, mutant, patience, writing))
        os.close(writing)
        with os.fdopen(reading) as lines:
            last = [int(line) for line in lines][-1:]
        status = os.waitpid(pid, 0)[1]
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            return None
        return last[0] if last else -1

    def fate(self, session: Any, order: list[int], mutant: Mutant, patience: float, out: int) -> int:
        """In a process of its own: whether a test fails, 1 if one does; the numbers of those that begin are written."""
        try:
            if not plant(mutant):
                return 0
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            begun = time.process_time()
            for k in order:
                os.write(out, f"{k}\n".encode())
                # A mutant may never end: it is killed then.
                signal.setitimer(signal.ITIMER_PROF, 10.0 * self.seconds[k] + 5.0)
                if not passes(session.items[k]):
                    return 1
                signal.setitimer(signal.ITIMER_PROF, 0.0)
                if time.process_time() - begun > patience:
                    break
            return 0
        except BaseException:
            return 1


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TimeoutError("slower than the tests that are used")


def passes(item: Any) -> bool:
    """Run a test; whether it passed, or was skipped."""
    from _pytest.runner import runtestprotocol

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return not any(report.failed for report in runtestprotocol(item, nextitem=None, log=False))


def anew(mutant: Mutant, tests: list[str], patience: float) -> bool:
    """Whether the tests find a mutant that is imported anew, in a process that has not imported the package."""
    if not (pid := os.fork()):
        for name in list(sys.modules):
            first = name.partition(".")[0]
            if first in ("toy_score", "benchmarks", "conftest", "laws", "properties") or name.startswith("test_"):
                del sys.modules[name]
        os._exit(_fate_anew(mutant, tests, patience))
    status = os.waitpid(pid, 0)[1]
    return not (os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0)


def _fate_anew(mutant: Mutant, tests: list[str], patience: float) -> int:
    import pytest

    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + 2 * patience),) * 2)
    sys.meta_path.insert(0, Changed(mutant))
    files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
    wanted = {test: k for k, test in enumerate(tests)}

    class Order:
        def pytest_collection_modifyitems(self, items: list[Any]) -> None:
            items[:] = sorted((i for i in items if i.nodeid in wanted), key=lambda i: wanted[i.nodeid])

        def pytest_runtestloop(self, session: Any) -> bool:
            if len(session.items) < len(wanted):  # a file of tests cannot be imported
                os._exit(1)
            begun = time.process_time()
            for item in session.items:
                if not passes(item):
                    os._exit(1)
                if time.process_time() - begun > patience:
                    break
            os._exit(0)

    if not files:
        return 0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        pytest.main([*OPTIONS, *files], plugins=[Order()])
    return 1  # it could not be collected


def campaign(record: Record, number: int, seed: int) -> list[dict[str, object]]:
    """Mutants of each part, drawn at random, `number` of the largest; the table of what was found."""
    import pytest

    os.chdir(ROOT)
    os.environ["TOY_SCORE_SHRINK"] = "no"
    sys.dont_write_bytecode = True
    everything = {part: [m for path in paths(places) for m in mutants(path)] for part, places in PARTS.items()}
    totals = {part: len(ms) for part, ms in everything.items()}
    numbers = allotted(number, totals)
    # A larger number adds to those of a smaller one.
    drawn = {p: random.Random(f"{seed} {p}").sample(ms, len(ms))[: numbers[p]] for p, ms in everything.items()}
    # In turn: a campaign that is stopped has tried the same share of each part's.
    turns = sorted((i / len(ms), part, m) for part, ms in drawn.items() for i, m in enumerate(ms))
    files = [f"tests/test_{name}.py" for name in TESTS.split()]
    with contextlib.redirect_stderr(io.StringIO()), Calls() as calls:
        pytest.main([*OPTIONS, *files], plugins=[Trials([(part, m) for _, part, m in turns], record, calls)])
    return table(record, totals)


def allotted(number: int, totals: dict[str, int]) -> dict[str, int]:
    """How many mutants are drawn of each part, of which there are `totals`: `number sqrt(n / max n)`, at least 5."""
    largest = max(totals.values())
    return {part: min(n, max(5, round(number * (n / largest) ** 0.5))) for part, n in totals.items()}


def paths(places: Iterable[str]) -> list[str]:
    """The files of some places, relative to the package."""
    package = ROOT / "toy_score"
    files = [
        f for place in places for f in ([package / place] if place.endswith(".py") else package.glob(f"{place}/*.py"))
    ]
    return sorted(Path(file).relative_to(package).as_posix() for file in files)


if __name__ == "__main__":
    main("mutants", campaign, 80, __doc__, "mutants of the largest part; of smaller ones fewer")
