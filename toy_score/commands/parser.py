"""A parser for commands without settings of a model: its errors are one line. Nothing heavy is imported."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from toy_score.commands.errors import refuse
from toy_score.words import did_you_mean

__all__ = ["Parser"]


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, which names the nearest option.

    Args:
        command: the name of the command.
        description: what it does, for `--help`.
    """

    def __init__(self, command: str, description: str):
        super().__init__(f"toy_score {command}", description=description, allow_abbrev=False)
        self._command = command

    def add_runs(self, number: str) -> None:
        """The words that name runs: `*` of them, or `+`, at least one."""
        what = "a checkpoint, the folder of a run, `latest`, or a quoted pattern"
        self.add_argument("models", nargs=number, metavar="RUN", help=what)

    def add_overwrite(self, effect: str) -> None:
        """The option `--overwrite`, and what it does."""
        self.add_flag("overwrite", effect)

    def add_flag(self, name: str, effect: str) -> None:
        """An option that is true or false and may stand alone, and what it does."""
        of_flag: dict[str, Any] = {"type": _flag, "nargs": "?", "const": True, "metavar": "true|false"}
        self.add_argument(f"--{name}", default=False, help=effect, **of_flag)

    def parse_args(self, argv: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]  # argv is given
        known = [option.lstrip("-") for action in self._actions for option in action.option_strings]
        for word in argv:
            name = word.partition("=")[0].lstrip("-")
            if word.startswith("--") and name not in known:
                advice = did_you_mean(name, known) or f"; see {self._command} --help"
                self.error(f"{self._command} has no option --{name}{advice}")
        return super().parse_args(argv)

    def error(self, message: str) -> NoReturn:
        raise SystemExit(refuse(message))


def _flag(text: str) -> bool:
    """`true` or `false`, the value of an option that may stand alone."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be true or false, got {text!r}")
    return text.lower() == "true"
