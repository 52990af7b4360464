"""Training from Python: `fit(EDMModule(), Heart())`, and what it shares with the command `fit`."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from toy_score.callbacks import EMA, Checkpoint, Dashboard, Pictures, ProgressBar, RunReport, run_folder
from toy_score.component import defaults, to_config
from toy_score.data import DistributionDataModule, PointsDataModule, ToyDataModule, typed
from toy_score.distributions import Distribution, Points
from toy_score.files import replacing
from toy_score.modules import EDMModule, ScoreModule, rehearse
from toy_score.progress import is_watched
from toy_score.quiet import silenced
from toy_score.runs import LOGS, next_version
from toy_score.yaml_values import dump

__all__ = [
    "PARTS",
    "TRAINER_DEFAULTS",
    "RunLogger",
    "fit",
    "groups_per_validation",
    "is_first_process",
    "keep_settings",
    "written_out",
]

Model = TypeVar("Model", bound=ScoreModule)

TRAINER_DEFAULTS: dict[str, Any] = {
    "max_epochs": -1,
    "max_steps": 7500,
    "val_check_interval": None,  # see `groups_per_validation`
    "check_val_every_n_epoch": None,
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 50,
    "enable_model_summary": False,
    "inference_mode": False,  # energies and divergences are derivatives, in validation and sampling too
}
"""What differs from Lightning's own defaults."""

PARTS = {"trainer": pl.Trainer, "ema": EMA, "checkpoint": Checkpoint, "pictures": Pictures}
"""The sections of a config, besides `model` and `data`, whose class does not change."""


class RunLogger(TensorBoardLogger):
    """TensorBoard's, whose folder `version_N` is made when it is first asked for; of two runs, each gets its own."""

    @property
    def version(self) -> int | str:
        if self._number is None and is_first_process():  # Lightning sends the folder to the other processes
            self._number = next_version(Path(self.root_dir))
        return self._number or 0

    _number: int | None = None


@overload
def fit(
    model: Model,
    data: Any,
    steps: int = ...,
    run: str | None = ...,
    callbacks: Sequence[pl.Callback] = ...,
    progress: bool | None = ...,
    **trainer: Any,
) -> Model: ...
@overload
def fit(
    model: Any,
    *,
    steps: int = ...,
    run: str | None = ...,
    callbacks: Sequence[pl.Callback] = ...,
    progress: bool | None = ...,
    **trainer: Any,
) -> EDMModule: ...
def fit(
    model: Any,
    data: Any = None,
    steps: int = TRAINER_DEFAULTS["max_steps"],
    run: str | None = None,
    callbacks: Sequence[pl.Callback] = (),
    progress: bool | None = None,
    **trainer: Any,
) -> ScoreModule:
    """Train a model and return it with its averaged weights: `fit(EDMModule(), Heart()).sample(1000)`.

    Args:
        model: trained in place; if it was trained before, it goes on from its weights with a new optimizer. It may be
            left out: `fit(points)` trains an `EDMModule()`.
        data: a distribution; points `(n, 2)` as an array, a tensor or a data frame, which are standardised, a tenth of
            them held out; a `DataLoader` that gives points, or points and class labels, in the units of the model; or a
            data module, for settings such as `HeartDataModule(batch_size=256)` or `PointsDataModule.of(x, labels)`.
        steps: of the optimizer, >= 1.
        run: name of the run. Then it is kept as the command `fit` keeps one, in `lightning_logs/RUN/version_N`: the
            checkpoint, the settings as `config.yaml`, the logs for TensorBoard and the pictures. If None, nothing is
            written. Of a `DataLoader` of your own there are no settings to keep.
        callbacks: of Lightning. Weights are averaged by `EMA()`, unless there is an EMA among these; so it is with the
            `Checkpoint`, the `Pictures` and the `RunReport` of a run.
        progress: whether to show a bar; if None, on a terminal and in a notebook.
        trainer: further arguments of Lightning's `Trainer`, for example `accelerator="cpu"` or `max_time="00:01:00"`.

    Raises:
        TypeError: if `model` is no model, `data` no data, or there is a model without data.
        ValueError: if a number is out of range, or the points are not as stated.

    Example:
        >>> model = fit(EDMModule(), Heart(), steps=20, progress=False)  # steps=2000 is some twenty seconds, and good
        >>> model.sample(1000, seed=0).shape
        torch.Size([1000, 2])
    """
    if data is None:
        if isinstance(model, ScoreModule):
            raise TypeError(f"fit needs data to train on, as in fit({type(model).__name__}(), Heart())")
        model, data = EDMModule(), model
    if not isinstance(model, ScoreModule):
        raise TypeError(
            f"fit trains a model such as EDMModule(), got {type(model).__name__}; "
            "without a model, name what follows the data: fit(points, steps=2000)"
        )
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    source = _source(data)
    bar = is_watched() if progress is None else progress
    arguments = {**TRAINER_DEFAULTS, "max_steps": steps, "logger": False, "enable_checkpointing": False}
    usual: list[type[pl.Callback]] = [EMA, *([ProgressBar] if bar else [])]
    if run is not None:
        arguments |= {"logger": RunLogger(str(LOGS), run, default_hp_metric=False), "enable_checkpointing": True}
        usual += [Checkpoint, Pictures, Dashboard, RunReport]
    if isinstance(source, ToyDataModule):
        per_epoch = source.batches_per_epoch
        arguments["val_check_interval"] = groups_per_validation(None, steps, None, per_epoch, source.steps_at_once)
    else:
        arguments["limit_val_batches"] = 0
    given = tuple(type(callback) for callback in callbacks)
    own = [*callbacks, *(cls() for cls in usual if not any(issubclass(other, cls) for other in given))]
    model.train()
    with silenced():
        trained = pl.Trainer(**arguments | {"callbacks": own, "enable_progress_bar": bar} | trainer)
        if run is not None and isinstance(source, ToyDataModule):
            source.setup("fit")  # what cannot be trained is refused before there is a folder
            rehearse(model, source)
            keep_settings(_settings(run, model, source, own, {"max_steps": steps, **trainer}), trained)
        if isinstance(source, ToyDataModule):
            trained.fit(model, datamodule=source)
        else:
            trained.fit(model, train_dataloaders=source)
    return model.eval()


def _source(data: Any) -> "ToyDataModule | DataLoader[Any]":
    """The data module of what the user has, or the user's own loader."""
    if isinstance(data, (ToyDataModule, DataLoader)):
        return data
    if isinstance(data, Points):
        return PointsDataModule.of(data.points, data.labels)
    if isinstance(data, Distribution):
        return DistributionDataModule(data)
    if isinstance(data, (str, Path)):
        return PointsDataModule(str(data))
    if hasattr(data, "__array__") or isinstance(data, (list, tuple)):
        return PointsDataModule.of(data)
    raise TypeError(
        f"fit takes a distribution, points (n, 2), a DataLoader or a data module, got {type(data).__name__}"
    )


def _settings(
    run: str, model: ScoreModule, data: ToyDataModule, callbacks: Sequence[pl.Callback], trainer: dict[str, Any]
) -> dict[str, Any]:
    """The settings with which the command `fit` would do the same; objects among those of the trainer have no text."""
    plain = {name: value for name, value in trainer.items() if isinstance(value, (bool, int, float, str, type(None)))}
    settings = {"name": run, "seed_everything": 0, "model": to_config(model), "data": to_config(data)}
    settings["trainer"] = {**defaults(pl.Trainer)["init_args"], **TRAINER_DEFAULTS, **plain}
    for section, cls in PARTS.items():
        for callback in callbacks:
            if isinstance(callback, cls):
                settings[section] = {name: to_config(getattr(callback, name)) for name in defaults(cls)["init_args"]}
    return {**settings, "ckpt_path": None, "init_from": None}


def keep_settings(settings: dict[str, Any], trainer: pl.Trainer) -> None:
    """Keep the full config in the run's folder; that of a resumed run becomes `config-1.yaml`, and so on."""
    log_dir = run_folder(trainer)
    if log_dir is None or typed(trainer).fast_dev_run or not trainer.is_global_zero:
        return
    folder = Path(log_dir)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"config-{n}.yaml" if (n := len(list(folder.glob("config*.yaml")))) else "config.yaml"
    with replacing(folder / name) as file:
        file.write(written_out(settings).encode("utf-8"))


def written_out(settings: dict[str, Any]) -> str:
    """The settings as YAML, complete: a config that gives the same command again."""
    order = ("name", "seed_everything", "model", "data", *PARTS)
    rest = [name for name in settings if name not in order]
    return dump({name: settings[name] for name in (*order, *rest) if name in settings})


def groups_per_validation(
    steps: int | None, max_steps: int, max_epochs: int | None, per_epoch: int, at_once: int
) -> int:
    """After how many groups of `at_once` optimizer steps, Lightning's batches, validation follows, >= 1.

    Args:
        steps: optimizer steps between validations; if None, a 25th of the run. All shipped configs divide by that.
        max_steps, max_epochs: where the run ends, -1 or None if not there.
        per_epoch: optimizer steps in an epoch, the last group of which may be smaller.
        at_once: optimizer steps in a group.
    """
    if steps is None:
        ends = [max_steps, (max_epochs or -1) * per_epoch]
        length: int = min((end for end in ends if end > 0), default=TRAINER_DEFAULTS["max_steps"])
        steps = length // 25
    return max(steps * math.ceil(per_epoch / at_once) // per_epoch, 1)


def is_first_process() -> bool:
    """Whether this is the first of several processes, or the only one."""
    return getattr(rank_zero_only, "rank", 0) == 0  # Lightning sets the attribute when it is imported, without a type
