"""Noise floors kept on disk, so that the next command need not measure them again.

A floor depends on the distribution, the numbers of samples and draws, and the code that measures it: its versions and
sources, the processor and the number of threads, which may change the last digit. All of this together is the *key* of
an entry, and the name of its file is the key's SHA-256. An entry that is damaged, or whose key is another, is not used,
so a floor that was kept is the one that would be measured, bit for bit.

Entries are in `floors/` of the folder that the environment variable TOY_SCORE_CACHE names, by default `toy_score` in
the user's cache folder ($XDG_CACHE_HOME, or `~/.cache`). `TOY_SCORE_CACHE=off` keeps nothing. The folder may be removed
at any time.
"""

import functools
import hashlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from toy_score.component import to_config
from toy_score.distributions import Distribution, Points
from toy_score.files import locked, replacing
from toy_score.version import __version__

__all__ = ["Values", "keep", "kept", "key_of"]

Values = dict[str, tuple[float, ...]]
"""The numbers of each metric's `Floor`, by its name."""

PACKAGE = Path(__file__).parents[1]
SOURCES = ("metrics", "distributions", "checks.py", "component", "constants.py", "seeds.py")
"""The code that floors depend on, in the package."""


def key_of(distribution: Distribution, real: Points | None, **numbers: int) -> str | None:
    """All that a floor depends on, as JSON; None where it is not known, so that nothing can be kept.

    That is so for the classes of users, whose sources may be anywhere.

    Args:
        distribution: the truth.
        real: the points that exact samples are taken from, if any.
        numbers: of samples, of draws, and so on, by name.
    """
    try:
        described = {"distribution": _described(distribution), "real": None if real is None else _described(real)}
    except TypeError:  # it cannot be described by plain values
        return None
    if any(path.partition(".")[0] != PACKAGE.name for path in _class_paths(described)):
        return None
    machine = [platform.machine(), torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]
    code = {"toy_score": __version__, "torch": str(torch.__version__), "sources": _digest_of_sources()}
    return json.dumps({**described, **numbers, **code, "machine": machine})


def kept(key: str | None) -> Values | None:
    """The values that were kept for a key; None if there are none that can be trusted."""
    folder = _folder()
    if key is None or folder is None:
        return None
    try:
        digest, _, content = _file(folder, key).read_text(encoding="utf-8").partition("\n")
        if digest != _sha256(content):
            return None
        entry = json.loads(content)
        return {name: tuple(numbers) for name, numbers in entry["floors"].items()} if entry["key"] == key else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def keep(key: str | None, values: Values) -> None:
    """Keep the values of a key, if there is a folder that can be written; another process may be doing so already."""
    folder = _folder()
    if key is None or folder is None:
        return
    content = json.dumps({"key": key, "floors": values})  # floats are written so that they are read as they were
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        path = _file(folder, key)
        with locked(path), replacing(path) as file:
            file.write(f"{_sha256(content)}\n{content}".encode())


def _folder() -> Path | None:
    """Where the entries are; None if nothing shall be kept, or if there is no home."""
    chosen = os.environ.get("TOY_SCORE_CACHE")
    if chosen == "off":
        return None
    if chosen:
        return Path(chosen) / "floors"
    try:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(caches) / "toy_score" / "floors"


def _file(folder: Path, key: str) -> Path:
    return folder / f"{_sha256(key)}.json"


def _described(distribution: Distribution) -> Any:
    """A description that two distributions share only if they are the same: that of points has their contents."""
    if type(distribution) is not Points:
        return to_config(distribution)
    labels = None if distribution.labels is None else _contents(distribution.labels)
    return {"points": _contents(distribution.points), "labels": labels, "names": to_config(distribution.names)}


def _contents(x: Tensor) -> list[Any]:
    return [str(x.dtype), list(x.shape), hashlib.sha256(x.detach().cpu().contiguous().numpy().tobytes()).hexdigest()]


def _class_paths(described: Any) -> Iterator[str]:
    """All paths of classes in a description."""
    if isinstance(described, dict):
        if "class_path" in described:
            yield described["class_path"]
        for value in described.values():
            yield from _class_paths(value)
    elif isinstance(described, list):
        for value in described:
            yield from _class_paths(value)


@functools.cache
def _digest_of_sources() -> str:
    files = [f for name in SOURCES for f in ((PACKAGE / name).rglob("*.py") if "." not in name else [PACKAGE / name])]
    return _sha256("\n".join(f"{file.name}\n{file.read_text(encoding='utf-8')}" for file in sorted(files)))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
