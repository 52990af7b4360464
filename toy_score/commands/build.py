"""Model, data and trainer of a command, built once from its settings."""

import importlib
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from toy_score.callbacks import ProgressBar
from toy_score.commands.arguments import Given
from toy_score.commands.settings import checkpoint_settings, merged
from toy_score.component import from_config, to_config, written
from toy_score.data import ToyDataModule
from toy_score.files import locked
from toy_score.modules import ScoreModule, trained_units
from toy_score.modules.checkpoints import read_checkpoint
from toy_score.progress import is_watched
from toy_score.quiet import silenced
from toy_score.training import is_first_process

__all__ = ["Built", "check_counters", "locked_output", "restoring", "say", "trainer_of"]

say = rank_zero_only(print)


MOST_DEVICES = 1024
UNCHECKED = (AttributeError, LookupError, OverflowError, TypeError)
"""What Lightning raises for settings that it does not check."""

KEPT = ("backbone", "optimizer", "lr_schedule")
"""Settings of a model that a resumed run keeps, since their state is in the checkpoint."""


PICTURED = {".gif": 600, ".png": 2000}
"""Samples in a picture, by the ending of its name."""


class Built:
    """A command's settings, and what is built of them.

    Attributes:
        given: the words of the command.
        stored: the descriptions of model and data in the checkpoint; empty without one.
        settings: all settings, merged.
        model, data: the objects.
    """

    def __init__(self, given: Given):
        self.given = given
        start = given.options.get("ckpt_path") or given.options.get("init_from")
        self.stored = checkpoint_settings(start, given.flag("data") is not None)
        self.settings = settings = merged(given, self.stored)
        if given.command in ("test", "predict"):
            _choose_samples(settings)
        if self.stored:
            _check_paths(given, self.stored, settings)
            _keep_what_belongs_to_the_weights(given, self.stored["model"], settings["model"])
        pl.seed_everything(settings["seed_everything"], workers=True, verbose=False)
        self.data: ToyDataModule = from_config(settings["data"], ToyDataModule, "data")
        self.model: ScoreModule = from_config(settings["model"], ScoreModule, "model")
        if given.flag("model.rule") is not None and self.model.observation is None:
            raise ValueError(
                "--model.rule corrects samples for an observation; add --model.observation, or leave it out"
            )
        self._announce()

    def _announce(self) -> None:
        """Print what beats the checkpoint: of the objects, since `null` stands for a default in some arguments."""
        silent = {"n_samples", "sample_seed"}
        if self.given.command == "fit" and self.settings["ckpt_path"]:
            silent |= set(KEPT)  # a difference in these is refused
        if isinstance(self.model.label, int) and self.model.class_names is not None:
            say(f"class: {self.model.label} is {self.model.class_names[self.model.label]}")
        for part, stored in self.stored.items():
            chosen = to_config(self.model if part == "model" else self.data)
            if chosen["class_path"] != stored["class_path"]:
                say(f"{part}: {written(chosen)} (the checkpoint has {written(stored)})")
                continue
            for key, value in stored["init_args"].items():
                now = chosen["init_args"][key]
                if differs(now, value) and key not in silent:
                    say(f"{part}.{key}: {written(now)} (the checkpoint has {written(value)})")


def _choose_samples(settings: dict[str, Any]) -> None:
    """The number and the seed of the samples are options, too."""
    data = settings["data"]["init_args"]
    if settings["n_samples"] is None:  # in a picture, more would hide one another
        settings["n_samples"] = PICTURED.get(Path(str(settings["output"])).suffix)
    for option, argument in (("n_samples", "n_samples"), ("seed", "sample_seed")):
        if settings[option] is not None:
            data[argument] = settings[option]


def _check_paths(given: Given, stored: dict[str, Any], settings: dict[str, Any]) -> None:
    """Ask for the guide that the checkpoint names, and say which file of points is read because it names it."""
    model, data = settings["model"]["init_args"], settings["data"]["init_args"]
    guide = stored["model"]["init_args"].get("guide")
    asked = guide is None or model["guide"] is not None or given.flag("model.guide") is not None
    if not asked and model["guidance"] != 1:
        raise ValueError(
            f"the checkpoint names the guide {guide!r}, and a path in a checkpoint is not opened unasked: "
            f"add --model.guide {guide}, or --model.guidance 1 for samples without guidance"
        )
    path = stored.get("data", {"init_args": {}})["init_args"].get("path")
    if path and given.command != "predict" and data.get("path") == path:
        say(f"data.path: {path} (named by the checkpoint)")


def _keep_what_belongs_to_the_weights(given: Given, stored: dict[str, Any], chosen: dict[str, Any]) -> None:
    """The class of the model, its standardisation and the names of its classes."""
    if chosen["class_path"] != stored["class_path"]:
        held, other = (spec["class_path"].rpartition(".")[2] for spec in (stored, chosen))
        advice = f"; leave out --model {given.flag('model')}" if given.flag("model") else f", the config has {other}"
        raise ValueError(f"the checkpoint holds a {held}{advice}")
    if units := chosen["init_args"]["standardisation"]:
        trained_units(stored, from_config(units))
    else:
        chosen["init_args"]["standardisation"] = stored["init_args"]["standardisation"]
    if not given.options.get("init_from"):  # a new run may have other data
        chosen["init_args"]["class_names"] = chosen["init_args"]["class_names"] or stored["init_args"]["class_names"]


def differs(chosen: Any, stored: Any) -> bool:
    """Whether two descriptions disagree in anything that the stored one says."""
    if isinstance(stored, dict) and isinstance(chosen, dict):
        stored = {key: value for key, value in stored.items() if value != {}}  # no arguments may be left unsaid
        return any(key not in chosen or differs(chosen[key], value) for key, value in stored.items())
    return written(chosen) != written(stored)


def trainer_of(arguments: dict[str, Any], callbacks: list[pl.Callback], **changes: Any) -> pl.Trainer:
    """The trainer of these settings, with the callbacks after those that the settings name."""
    built = {name: instantiated(value) for name, value in (arguments | changes).items()}
    devices = built["devices"]
    if isinstance(devices, int) and devices > MOST_DEVICES:  # Lightning makes a list of them
        raise ValueError(f"trainer.devices must be at most {MOST_DEVICES}, got {devices}")
    own = built["callbacks"] or []
    bar = built["enable_progress_bar"]
    if bar is None:
        built["enable_progress_bar"] = bar = is_watched()
    own = own if isinstance(own, list) else [own]
    has_bar = any(isinstance(callback, pl.callbacks.ProgressBar) for callback in own)
    bars = [ProgressBar()] if bar and not has_bar else []
    try:
        return pl.Trainer(**built | {"callbacks": [*own, *bars, *callbacks]})
    except UNCHECKED as error:
        given = [f"trainer.{name} {value!r}" for name, value in arguments.items() if not _is_taken(name, value)]
        raise ValueError(f"the trainer cannot be made with {', '.join(given) or 'its settings'}: {error}") from error


def _is_taken(name: str, value: Any) -> bool:
    """Whether Lightning makes a trainer of this setting alone."""
    try:
        with silenced():
            pl.Trainer(**{name: instantiated(value)})
    except Exception:
        return False
    return True


def instantiated(value: Any) -> Any:
    """What a description in the trainer's settings describes: a callback, a logger, a strategy."""
    if isinstance(value, list):
        return [instantiated(item) for item in value]
    if not (isinstance(value, dict) and "class_path" in value):
        return value
    module, _, name = value["class_path"].rpartition(".")
    arguments = {name: instantiated(item) for name, item in value["init_args"].items()}
    make = getattr(importlib.import_module(module), name)
    try:
        return make(**arguments)
    except UNCHECKED as error:
        raise ValueError(f"{name} cannot be made with {value['init_args']}: {error}") from error


def locked_output(path: str | Path) -> AbstractContextManager[None]:
    """Keep other commands from writing a file; of several processes, the first holds the lock."""
    return locked(path) if is_first_process() else nullcontext()


RESTORING = {
    *("_restore_modules_and_callbacks", "restore_training_state", "resume_start"),
    *("_check_resumable", "check_counters"),
}
"""Functions that read the entries of a checkpoint: of Lightning, and of the commands."""


@contextmanager
def restoring(path: str | Path | None) -> Iterator[None]:
    """Say which checkpoint it is whose entries Lightning cannot restore; it raises whatever they happen to provoke.

    Raises:
        ValueError: then, with the path.
    """
    try:
        if path is not None:
            check_counters(read_checkpoint(path)["loops"])
        yield
    except (AttributeError, LookupError, RuntimeError, TypeError) as error:
        frames = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
        if not frames & RESTORING:
            raise
        raise ValueError(
            f"{str(path)!r} cannot be restored: an entry of it is missing or of another kind; use another checkpoint"
        ) from error


LISTS = {"combined_loader", "base_lrs", "_last_lr", "lr_lambdas"}
"""Entries of a state that are no counters: of a loader of one's own, and of a learning-rate schedule."""


def check_counters(state: Any) -> None:
    """Counters of steps are numbers: Lightning and torch take anything, and fail where they add 1 to it.

    Raises:
        TypeError: otherwise.
    """
    if isinstance(state, dict):
        for key in state.keys() - LISTS:
            check_counters(state[key])
    elif not (state is None or isinstance(state, (int, float, Tensor))):
        raise TypeError(f"a counter is {state!r}")
