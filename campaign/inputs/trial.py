"""What a trial is, and changes of plain values and of bytes at random."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import toy_score

__all__ = ["ENDLESS", "EVIL", "HOSTILE", "LAUGHS", "WORDS", "Kind", "Trial", "damaged", "places", "replaced"]


@dataclass(frozen=True)
class Trial:
    """A command line to try.

    Attributes:
        what: how its input was changed; its row in the table.
        argv: the words.
        text: all that the input says in words: what it names may be imported.
    """

    what: str
    argv: list[str]
    text: str = ""


@dataclass(frozen=True)
class Kind:
    """A kind of inputs.

    Attributes:
        prepare: makes what all trials start from, in a folder, as files `good*`.
        trial: makes a trial of it and writes its files.
    """

    prepare: Callable[[Path], Any]
    trial: Callable[[random.Random, Any, Path], Trial]


ENDLESS = "[" * 5000
LAUGHS = "x: [" + "".join(f"&a{i} [{f'*a{i - 1}, *a{i - 1}' if i else '0'}], " for i in range(40)) + "0]"
"""Forty lists, each twice the one before: 2^40 items to a program that follows every alias."""

HOSTILE: list[Any] = [None, True, False, 0, -1, 1, 2, 10**30, -(10**12), 10**12, 0.0, -0.0, 0.5, 1e308, 1e-320]
HOSTILE += [
    float("inf"),
    float("-inf"),
    float("nan"),
    1e-30,
    1e30,
    "",
    " ",
    "null",
    "a" * 5000,
    "0",
    "1e-3",
    "é\u202e\n",
]
HOSTILE += ["../outside", "\0", "os.system", "evil.Evil", "evil", "toy_score.commands.fit.run", "toy_score.Sampler"]
HOSTILE += ["torch.optim.LBFGS", "builtins.eval", "Heun", "[1", "{a: b}", "!!python/object/apply:os.system ['true']"]
HOSTILE += [[], [0], [[]], [[[[1]]]], [float("nan")] * 3, {}, {"class_path": "os.system"}, {"class_path": None}]
HOSTILE += [{"init_args": 3}, {"class_path": "evil.Evil", "init_args": {}}, {"class_path": "Heun", "init_args": []}]
HOSTILE += [{"": 1}, {1: 2}, {None: 1}, {"class_path": "toy_score.Heun", "n_steps": -1}, [1] * 3000, {"lr": "much"}]
WORDS = ["", "=", "--", "-c", "--config", "--model", "--model.", "--.x", "--model..n", "--model.init_args", "--help=3"]
WORDS += ["--trainer.callbacks", "--trainer.devices", "--data.distribution", "--name", "--name=", "--seed_everything"]
WORDS += ["--ckpt_path", "--print_config", "--model.sampler.grid.rho", "--model.backbone.hidden", "--ema.decay", "\0"]
EVIL = "open('code ran', 'w').close()\nclass Evil: pass\n"


def replaced(chance: random.Random, value: Any) -> Any:
    """A tree of plain values with one change at a random place."""
    found = list(places(value))
    if not found:
        return chance.choice(HOSTILE)
    path = chance.choice(found)
    return _changed(chance, value, list(path))


def places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, item in items:
        yield (*path, key)
        if len(path) < 12:
            yield from places(item, (*path, key))


def _changed(chance: random.Random, value: Any, path: list[Any]) -> Any:
    key, *rest = path
    made: Any = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        made[key] = _changed(chance, made[key], rest)
        return made
    how = chance.randrange(6)
    if how == 0:
        del made[key]
    elif how == 1 and isinstance(made, dict):
        word = str(key)
        made[chance.choice([word[:-1], word + "s", word.upper(), 3, None, ""])] = made.pop(key)
    elif how == 2:
        made[key] = [made[key]]
    elif how == 3:
        made[key] = chance.choice(["", "toy_score."]) + chance.choice(toy_score.__all__)
    else:
        made[key] = chance.choice(HOSTILE)
    return made


def damaged(chance: random.Random, content: bytes) -> bytes:
    """Bytes with some of them changed, left out, put in or repeated."""
    made = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 8])):
        if not made:
            return bytes(made)
        at, n = chance.randrange(len(made)), chance.choice([1, 1, 4, 40])
        how = chance.randrange(6)
        if how == 0:
            made[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            del made[at : at + n]
        elif how == 2:
            made[at:at] = chance.randbytes(n)
        elif how == 3:
            made[at:at] = made[at : at + n] * chance.choice([1, 2, 50])
        elif how == 4:
            made[at : at + n] = chance.choice([b"\0", b"\xff", b"\n", b"nan", b"-", b"9", b",", b"1e999", b"\x80"]) * n
        else:
            del made[at:]
    return bytes(made)
