"""The settings of a command, merged once: a checkpoint below configs below flags, over the defaults of the code."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl

from toy_score.commands.arguments import Given
from toy_score.commands.complete import UnknownArgumentError, complete, complete_arguments
from toy_score.component import check_config, defaults
from toy_score.data import ToyDataModule
from toy_score.modules import ScoreModule, read_checkpoint
from toy_score.training import PARTS, TRAINER_DEFAULTS

__all__ = ["checkpoint_settings", "merged"]


def merged(given: Given, stored: dict[str, Any]) -> dict[str, Any]:
    """All settings of a command: its options, a description of the model and of the data, and arguments of `PARTS`.

    Args:
        stored: the descriptions that a checkpoint holds, as `checkpoint_settings` returns them.

    Raises:
        ValueError: as `complete` does.
    """
    settings: dict[str, Any] = dict(given.options)
    for section, base in (("data", ToyDataModule), ("model", ScoreModule)):
        with _the_other_section(settings, section):
            described = stored.get(section)
            if section == "model" and described is not None:  # a path in a checkpoint is not opened by itself
                described = {**described, "init_args": {**described["init_args"], "guide": None}}
            for change in given.layers(section):
                described = complete(change, base, described, section)
        if described is None:
            raise ValueError(
                "the checkpoint does not say on what data it was trained; add --data HeartDataModule or so"
            )
        check_config(described, base, section)
        settings[section] = described
    for section, cls in PARTS.items():
        arguments = {**defaults(cls)["init_args"], **(TRAINER_DEFAULTS if cls is pl.Trainer else {})}
        for change in given.layers(section):
            if not isinstance(change, dict):
                raise ValueError(f"{section}: must be settings by name, got {change!r}")
            with _the_other_section(settings, section):
                arguments = complete_arguments(cls, change, arguments, section)
        settings[section] = arguments
    return settings


@contextmanager
def _the_other_section(settings: dict[str, Any], section: str) -> Iterator[None]:
    """Look for an unknown argument in the sections that are there already as well."""
    try:
        yield
    except UnknownArgumentError as unknown:
        for other in ("data", "model"):
            if other != section and other in settings:
                unknown.look_in(settings[other], other)
        raise


def checkpoint_settings(path: str | None, named_anew: bool = False) -> dict[str, Any]:
    """The model and the data that a checkpoint describes, complete; not data that are `named_anew`."""
    if path is None:
        return {}
    checkpoint = read_checkpoint(path)
    model, data = checkpoint.get("hyper_parameters"), checkpoint.get("datamodule_hyper_parameters")
    check_config(model, ScoreModule, "model")  # nothing that a checkpoint names is imported
    try:
        check_config(data, ToyDataModule | None, "data")
    except ValueError:
        if not named_anew:
            raise
        data = None
    described = {"model": complete(model, ScoreModule, None, "model")}
    if data:
        described["data"] = complete(data, ToyDataModule, None, "data")
    return described
