"""Commands whose disk is full, read-only, gone, or holds files that cannot be read.

    python -m campaign.storage [--number 20] [--seed 0]

A command must end with exit code 2 and one line, and leave what was good as it was; once the fault is removed, the same
command must go on to the result that one without a fault has, and nothing may be left over. The disk is full at a
random size of a file (a limit of the process), and, for root, at a random size of a small file system. A user who may
write everywhere becomes one who may not for the time of the command.
"""

import os
import random
import resource
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path

from campaign.children import Ended, Prepare, run, start
from campaign.commands import COMPARE, FIT, PREDICT, Command, Reference, brief, resumed, whole
from campaign.record import Record, main

NOBODY = 65534
COMMANDS = [FIT, PREDICT["npy"], PREDICT["csv"], PREDICT["npz"], PREDICT["gif"], COMPARE]
LARGEST = {"predict, npy": 72_000, "predict, csv": 200_000, "predict, npz": 80_000}
"""About the size of the largest file of a command, in bytes; of the others 20 kB."""


def campaign(record: Record, number: int, seed: int) -> None:
    """All trials: `number` full disks of each command, and one of each other fault."""
    chance = random.Random(seed)
    with Reference() as reference:
        for command in COMMANDS:
            for _ in range(number):
                most = LARGEST.get(command.name, 20_000)
                full(record, reference, command, f"{command.name}: a file cannot grow", chance.randrange(most))
        if os.getuid() == 0 and can_mount(reference):
            for command in COMMANDS:
                for _ in range(max(number // 4, 1)):
                    small(record, reference, command, chance)
        for command in COMMANDS:
            read_only(record, reference, command)
        for _ in range(max(number // 4, 1)):
            vanished(record, reference, chance)
        unreadable(record, reference)


def limited(size: int) -> None:
    """In a process of its own: no file may become larger than this, as on a full disk; and `brief`."""
    brief()
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def as_nobody() -> None:
    """In a process of its own: be a user who owns nothing, if this is root; and `brief`."""
    brief()
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def judge(record: Record, kind: str, reference: Reference, command: Command, folder: Path, ended: Ended) -> None:
    """Check how a command ended, and that it goes on once there is nothing in its way."""
    wrong = None if ended.refused or ended.code == 0 else ended.tells
    wrong = wrong or whole(reference, command, folder) or resumed(reference, command, folder)[0]
    record.add(kind, wrong, "refused" if ended.code else "ran")


def full(record: Record, reference: Reference, command: Command, kind: str, size: int) -> None:
    """Files end at some size."""
    folder = reference.new(command)
    ended = run(folder, *command.words.split(), prepare=partial(limited, size))
    judge(record, kind, reference, command, folder, ended)
    shutil.rmtree(folder)


def can_mount(reference: Reference) -> bool:
    """Whether this user may mount a file system."""
    probe = reference.new(FIT)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", probe], capture_output=True)
    if done.returncode == 0:
        subprocess.run(["umount", probe], check=True)
    return done.returncode == 0


def small(record: Record, reference: Reference, command: Command, chance: random.Random) -> None:
    """A file system with little room, which becomes large when the command goes on."""
    folder = reference.new(command)
    content = [path for path in folder.iterdir()]
    kilobytes = 256 + sum(f.stat().st_size // 1024 + 5 for path in content for f in path.rglob("*") if f.is_file())
    disk = Path(f"{folder}.disk")
    disk.mkdir()
    room = kilobytes + chance.randrange(400)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}k", "tmpfs", disk], check=True)
    try:
        for path in content:
            shutil.copytree(path, disk / path.name)
        used = shutil.disk_usage(disk).used // 1024
        room = used + 4 * chance.randrange(1, 60)
        subprocess.run(["mount", "-o", f"remount,size={room}k", disk], check=True)
        ended = run(disk, *command.words.split(), prepare=brief)
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        judge(record, f"{command.name}: no space left on the device", reference, command, disk, ended)
    finally:
        subprocess.run(["umount", disk], check=True)


def read_only(record: Record, reference: Reference, command: Command) -> None:
    """A folder in which nothing may be written."""
    folder = reference.new(command)
    folder.parent.chmod(0o755)
    folder.chmod(0o555)
    ended = run(folder, *command.words.split(), prepare=as_nobody)
    folder.chmod(0o755)
    judge(record, f"{command.name}: a folder that is read-only", reference, command, folder, ended)


def vanished(record: Record, reference: Reference, chance: random.Random) -> None:
    """The folder of a run is removed while it trains."""
    folder = reference.new(FIT)
    child = start(folder, *FIT.words.split(), prepare=brief)
    run_folder = folder / "lightning_logs"
    deadline = time.monotonic() + 60
    while not (run_folder / "default/version_0").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.5))
    shutil.rmtree(run_folder, ignore_errors=True)
    ended = child.wait()
    wrong = None if ended.refused or ended.code == 0 else ended.tells
    record.add("fit: the folder of the run is removed", wrong, "refused" if ended.code else "ran")


def unreadable(record: Record, reference: Reference) -> None:
    """Checkpoints, configs and points that may not be read, are folders, links to nothing, or never end."""
    makers = {"a file of another user": _secret, "a folder": Path.mkdir, "a link to nothing": _dangling}
    makers |= {"a link to itself": _circle, "an empty file": Path.touch, "a device without end": _endless}
    for what, make in makers.items():
        for argv, name in (
            ("predict --output x.npy --ckpt_path odd.ckpt", "odd.ckpt"),
            ("fit --config odd.yaml", "odd.yaml"),
            ("fit --model EDMModule --data PointsDataModule --data.path odd.csv --trainer.logger false", "odd.csv"),
            ("fit --model EDMModule --data PointsDataModule --data.path odd.npy --trainer.logger false", "odd.npy"),
            ("fit --model EDMModule --data PointsDataModule --data.path odd.png --trainer.logger false", "odd.png"),
            ("compare --output D odd.ckpt", "odd.ckpt"),
        ):
            folder = reference.new(FIT)
            folder.chmod(0o777)
            make(folder / name)
            prepare: Prepare = as_nobody if what == "a file of another user" else brief
            ended = run(folder, *argv.split(), prepare=prepare)
            wrong = None if ended.refused else f"{argv}: {ended.tells}"
            record.add(f"{what} in the place of an input", wrong, "refused")


def _secret(path: Path) -> None:
    path.write_text("x,y\n")
    path.chmod(0)


def _dangling(path: Path) -> None:
    path.symlink_to("nothing")


def _circle(path: Path) -> None:
    path.symlink_to(path.name)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


if __name__ == "__main__":
    main("storage", campaign, 20, __doc__, "full disks of each command")
