"""Commands that are killed, stopped by signals, or given twice at once.

    python -m campaign.kills [--number 20] [--seed 0] [--resume FILE]

A command is killed at a random moment, and at every moment at which it opens, renames or removes a file. Then its files
must be whole or absent, the same command given again must go on to the result that one without interruption has, bit
for bit, and nothing may be left over. So it is with SIGINT, twice within a moment too, SIGTERM and SIGHUP, which the
command must obey without a traceback, and with the same command given twice at once.
"""

import os
import random
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path

from campaign.children import Ended, run, start
from campaign.commands import COMPARE, FIT, PREDICT, Command, Reference, brief, resumed, whole
from campaign.record import Record, main

ALL = [FIT, *PREDICT.values(), COMPARE]
SIGNALS = {
    "SIGINT": [signal.SIGINT],
    "SIGINT twice": [signal.SIGINT, signal.SIGINT],
    "SIGTERM": [signal.SIGTERM],
    "SIGHUP": [signal.SIGHUP],
}
CHANGES = ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate")


def campaign(record: Record, number: int, seed: int) -> None:
    """All trials: `number` random kills of each command, half as many more of `fit`, and fewer of the other trials."""
    with Reference() as reference:
        for command in ALL:
            kills = new(record, f"{command.name}: kill -9 at random", number * 3 // 2 if command is FIT else number)
            seconds = duration(reference, command) if kills else 0.0
            for key in kills:
                killed_at_random(record, reference, command, random.Random(f"{seed} {key}").uniform(0, seconds), key)
            for key in new(record, f"{command.name}: twice at once", max(number // 10, 1)):
                twice_at_once(record, reference, command, key)
        for command in (PREDICT["npy"], PREDICT["csv"], COMPARE, FIT):
            killed_at_every_file(record, reference, command, at_most=max(number * 3 // 5, 2))
        for command in (FIT, PREDICT["csv"], COMPARE):
            for name, numbers in SIGNALS.items():
                sent = new(record, f"{command.name}: {name}", max(number // 5, 1))
                seconds = duration(reference, command) if sent else 0.0
                for key in sent:
                    signalled(record, reference, command, numbers, seconds, random.Random(f"{seed} {key}"), key)


def new(record: Record, kind: str, number: int) -> list[str]:
    """The keys of `number` trials of a kind that have not been made: the kind and a count."""
    return [key for key in (f"{kind} {k}" for k in range(number)) if not record.has(key)]


def kind_of(key: str) -> str:
    """The kind of a trial, its row in the table."""
    return key.rpartition(" ")[0]


def duration(reference: Reference, command: Command) -> float:
    """How long a command takes, uninterrupted, in seconds."""
    folder = reference.new(command)
    begin = time.monotonic()
    run(folder, *command.words.split(), prepare=brief)
    shutil.rmtree(folder)
    return time.monotonic() - begin


def killed_at_random(record: Record, reference: Reference, command: Command, after: float, key: str) -> None:
    """Kill a command some seconds after it has begun."""
    folder = reference.new(command)
    child = start(folder, *command.words.split(), prepare=brief)
    time.sleep(after)
    child.send(signal.SIGKILL)
    judge(record, key, reference, command, folder, child.wait())


def killed_at_every_file(record: Record, reference: Reference, command: Command, at_most: int) -> None:
    """Kill a command when it changes a file for the first time, the second, and so on, `at_most` times, evenly."""
    keys = new(record, f"{command.name}: kill -9 at a change of a file", at_most)
    if not keys:
        return
    counted = run(folder := reference.new(command), *command.words.split(), prepare=partial(killed_when, -1))
    shutil.rmtree(folder)
    n = int(counted.err.rpartition("changes: ")[2])
    for key in keys:
        folder = reference.new(command)
        k = int(key.rpartition(" ")[2]) * n // at_most
        ended = run(folder, *command.words.split(), prepare=partial(killed_when, k))
        judge(record, key, reference, command, folder, ended)


def killed_when(number: int) -> None:
    """In a process of its own: kill it before it changes a file for that time, from 0; -1 prints how many there are."""
    brief()
    here, seen = os.getcwd(), 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event not in CHANGES or (event == "open" and not (isinstance(arguments[2], int) and arguments[2] & 0o1103)):
            return
        path = arguments[0]
        if not isinstance(path, (str, os.PathLike)) or not os.path.abspath(path).startswith(here):
            return
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    sys.addaudithook(watch)
    if number < 0:
        import toy_score.__main__ as entry

        command = entry.main

        def counting(argv: list[str] | None = None) -> None:
            try:
                command(argv)
            finally:
                print(f"changes: {seen}", file=sys.stderr, flush=True)

        entry.main = counting


def signalled(
    record: Record,
    reference: Reference,
    command: Command,
    numbers: list[int],
    seconds: float,
    chance: random.Random,
    key: str,
) -> None:
    """Send signals at a random moment; a second one soon after the first."""
    folder = reference.new(command)
    child = start(folder, *command.words.split(), prepare=brief)
    for i, number in enumerate(numbers):
        time.sleep(chance.uniform(0, 0.1 if i else seconds))
        child.send(number)
    ended = child.wait()
    expected = {0, 1, 128 + numbers[0], -numbers[0]}  # 1: Lightning's own, of a second Ctrl-C
    bad = ended.code not in expected or "Traceback" in ended.err or "defect" in ended.err
    judge(record, key, reference, command, folder, ended, ended.tells if bad else None)


def twice_at_once(record: Record, reference: Reference, command: Command, key: str) -> None:
    """Start a command twice: each run of `fit` has a folder of its own, of the others one writes and one is refused."""
    folder = reference.new(command)
    children = [start(folder, *command.words.split(), prepare=brief) for _ in range(2)]
    ends = [child.wait() for child in children]
    wrong = None
    if command is FIT:
        runs = [path.name for path in sorted((folder / "lightning_logs/default").iterdir())]
        wrong = None if runs == ["version_0", "version_1"] and not any(end.code for end in ends) else str(runs)
    elif sorted(end.code for end in ends) not in ([0, 2], [0, 0]) or not all(e.refused for e in ends if e.code):
        wrong = "; ".join(end.tells for end in ends)
    wrong = wrong or reference.differences(command, folder)
    record.add(kind_of(key), wrong, key=key)
    shutil.rmtree(folder)


def judge(
    record: Record,
    key: str,
    reference: Reference,
    command: Command,
    folder: Path,
    ended: Ended,
    wrong: str | None = None,
) -> None:
    """Check what an interrupted command left, give it again, and compare."""
    note = (
        "completed before" if ended.code == 0 else "had begun" if any(unfinished(command, folder)) else "at its start"
    )
    wrong = wrong or whole(reference, command, folder)
    if wrong is None:
        wrong = resumed(reference, command, folder)[0]
    record.add(kind_of(key), wrong, note, key)
    shutil.rmtree(folder)


def unfinished(command: Command, folder: Path) -> list[Path]:
    """What a command has written so far."""
    return [path for name in command.results for path in folder.glob(f"{name}*")]


if __name__ == "__main__":
    main("kills", campaign, 20, __doc__, "random kills of each command")
