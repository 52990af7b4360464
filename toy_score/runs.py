"""Where runs are: the folder of a new one, and the checkpoint of an old one. Nothing heavy is imported."""

from collections.abc import Iterator
from pathlib import Path

__all__ = ["LATEST", "LOGS", "checkpoint_file", "next_version", "runs"]

LOGS = Path("lightning_logs")
LAST = Path("checkpoints") / "last.ckpt"
LATEST = "latest"


def runs() -> Iterator[Path]:
    """The folders of the runs in `lightning_logs`, the newest first."""
    folders = [path for path in LOGS.glob("*/version_*") if path.is_dir()]
    yield from sorted(folders, key=_changed, reverse=True)


def _changed(run: Path) -> float:
    newest = run / LAST
    return (newest if newest.is_file() else run).stat().st_mtime


def checkpoint_file(word: str) -> Path:
    """The checkpoint that a word names: a file, the `checkpoints/last.ckpt` of a run's folder, or the `latest` of all.

    Raises:
        FileNotFoundError: if there is none.
    """
    if word == LATEST and not Path(word).exists():
        found = next((run / LAST for run in runs() if (run / LAST).is_file()), None)
        if found is None:
            raise FileNotFoundError("there is no run with a checkpoint in lightning_logs; train one with fit")
        return found
    path = Path(word)
    if path.is_dir():
        if not (path / LAST).is_file():
            raise FileNotFoundError(f"there is no checkpoint in {word!r}: {path / LAST} is missing")
        return path / LAST
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint {word!r}; fit writes lightning_logs/RUN/checkpoints/last.ckpt, "
            "and `latest` is the newest one"
        )
    return path


def next_version(root: Path) -> int:
    """Make the next folder `version_N` of the runs in `root`; of two runs that begin at once, each gets its own."""
    root.mkdir(parents=True, exist_ok=True)
    numbers = [path.name.removeprefix("version_") for path in root.glob("version_*")]
    n = max((int(number) + 1 for number in numbers if number.isdigit()), default=0)
    while True:
        try:
            (root / f"version_{n}").mkdir()
            return n
        except FileExistsError:
            n += 1
