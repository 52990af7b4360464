"""`fit`: train a model."""

import copy
import math
import shlex
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from toy_score.callbacks import EMA, Checkpoint, Dashboard, Pictures, RunReport, checkpoint_path
from toy_score.catalog import config_file, configs_folder
from toy_score.commands.arguments import Given
from toy_score.commands.build import Built, check_counters, instantiated, restoring, say, trainer_of
from toy_score.commands.complete import complete
from toy_score.component import to_config, written
from toy_score.data import PointsDataModule, ToyDataModule, typed
from toy_score.files import shown
from toy_score.modules import Constant, ScoreModule, read_checkpoint, rehearse
from toy_score.runs import LOGS
from toy_score.training import RunLogger, groups_per_validation, keep_settings

__all__ = ["run", "run_name"]


def run(given: Given) -> None:
    """Train, and leave the run in its folder."""
    built = Built(given)
    settings, model, data = built.settings, built.model, built.data
    if settings["name"] is None:
        settings["name"] = run_name(given.config_names[-1] if given.config_names else None)
    check_name(settings["name"])
    trainer = _trainer(settings, data)
    _check_length(trainer, model, data)
    if settings["ckpt_path"] is not None:
        with restoring(settings["ckpt_path"]):
            _check_resumable(settings["ckpt_path"], model, trainer, data)
    data.setup("fit")  # data that cannot be read are refused before there is a folder
    rehearse(model, data)
    if settings["init_from"] is not None:
        _take_weights(settings["init_from"], model, data)
    keep_settings(settings, trainer)
    with restoring(settings["ckpt_path"]):
        trainer.fit(model, datamodule=data, ckpt_path=settings["ckpt_path"])
    say(verdict(trainer))
    if checkpoint := checkpoint_path(trainer):
        path = shlex.quote(shown(checkpoint))
        say(f"next:        python -m toy_score test --ckpt_path {path}")
        if model.denoiser.source is None:  # the page removes Gaussian noise
            say(f"             python -m toy_score play {path} --output play.html")


def check_name(name: str) -> None:
    """Check that a run of this name lies within the folder of the runs.

    Raises:
        ValueError: if it does not.
    """
    if not name.strip() or Path(name).is_absolute() or {".", ".."} & set(name.split("/")):
        raise ValueError(f"--name {name!r} is not a folder within {LOGS}; choose a name such as my_run")


def run_name(config: str | None) -> str:
    """The folder of a run: the name of its config, e.g. `ncsn_heart` or `original_ncsn_heart`."""
    if config is None:
        return "default"
    path = (config_file(config) or Path(config)).resolve()
    shipped = path.is_relative_to(configs_folder().resolve())
    parts = path.relative_to(configs_folder().resolve()).with_suffix("").parts if shipped else (path.stem,)
    return "_".join(parts)


def verdict(trainer: pl.Trainer) -> str:
    """How the run ended, in one sentence: by its last validation."""
    seen = {name: float(value) for name, value in trainer.callback_metrics.items()}
    if "val/score_error" in seen:
        error = seen["val/score_error"]
        return f"Verdict: the score error is {error:.4f}, where 0 is exact and 1 a network that predicts nothing."
    if "val/loss" in seen:
        return f"Verdict: the validation loss is {seen['val/loss']:.4f}."
    return "Verdict: the run was not validated."


def _trainer(settings: dict[str, Any], data: ToyDataModule) -> pl.Trainer:
    arguments = dict(settings["trainer"])
    steps = arguments["val_check_interval"]
    if arguments["logger"] in (None, True):
        root = str(Path(arguments["default_root_dir"] or "") / LOGS)
        options = {"save_dir": root, "name": settings["name"], "default_hp_metric": False}
        arguments["logger"] = {"class_path": "TensorBoardLogger", "init_args": options}
    loggers = arguments["logger"]
    arguments["logger"] = [_logger(one) for one in loggers] if isinstance(loggers, list) else _logger(loggers)
    ema = [EMA(**settings["ema"])] if settings["ema"]["decay"] != 0 else []
    ends = [Checkpoint(**settings["checkpoint"]), Pictures(**settings["pictures"]), Dashboard(), RunReport()]
    callbacks = [*ema, *ends]
    if not (isinstance(steps, int) or steps == arguments["check_val_every_n_epoch"]):
        return trainer_of(arguments, callbacks)  # Lightning's own intervals: of time, or of epochs
    if steps is not None and steps < 1:
        raise ValueError(f"trainer.val_check_interval must be at least 1 step, got {steps}")
    trainer = trainer_of(arguments, callbacks, val_check_interval=1)
    if not typed(trainer).fast_dev_run:
        per_epoch = math.ceil(data.batches_per_epoch / trainer.world_size)
        trainer.val_check_interval = groups_per_validation(
            steps, trainer.max_steps, trainer.max_epochs, per_epoch, data.steps_at_once
        )
    return trainer


def _logger(described: Any) -> Any:
    """A logger, of which TensorBoard's numbers the runs so that two that begin at once have a folder each."""
    if isinstance(described, dict) and described["class_path"].rpartition(".")[2] == "TensorBoardLogger":
        arguments = described["init_args"]
        return (RunLogger if arguments.get("version") is None else TensorBoardLogger)(**arguments)
    logger = instantiated(described)
    if isinstance(logger, CSVLogger) and described["init_args"].get("version") is None:
        warnings.filterwarnings("ignore", message=".*Previous log files in this directory.*")  # config.yaml is there
    return logger


def _check_length(trainer: pl.Trainer, model: ScoreModule, data: ToyDataModule) -> None:
    """Refuse a run without a step, or with settings of the trainer that would not do what they say."""
    for name in ("max_steps", "max_epochs", "limit_train_batches"):
        if getattr(trainer, name) == 0:
            raise ValueError(f"trainer.{name} must be at least 1, got 0")
    if overfit := typed(trainer).overfit_batches:
        raise ValueError(
            f"trainer.overfit_batches {overfit} would not repeat batches; "
            "train on few points instead: --data.fresh false --data.n_train 1024"
        )
    if trainer.accumulate_grad_batches != 1:
        raise ValueError(
            f"trainer.accumulate_grad_batches {trainer.accumulate_grad_batches} is not supported; "
            "use a larger --data.batch_size"
        )
    if trainer.gradient_clip_val:
        raise ValueError(
            f"trainer.gradient_clip_val {trainer.gradient_clip_val} is not supported; use --model.gradient_clip"
        )
    model.run_length(trainer, data)


def _check_resumable(path: str, model: ScoreModule, trainer: pl.Trainer, data: ToyDataModule) -> None:
    """Refuse to continue a run that is over, or with settings that its state in the checkpoint would undo."""
    checkpoint, length = read_checkpoint(path), model.run_length(trainer, data)
    reached, planned = checkpoint["global_step"], checkpoint.get("run_length")
    other = f"start a new run from the weights: --init_from {path}"
    no_state = ValueError(f"{path!r} does not hold the state of a training that can go on; {other}")
    try:
        kept = kept_settings(checkpoint)
    except DAMAGED:
        raise no_state from None
    if length is not None and reached >= length:
        limit = "max_steps" if trainer.max_steps == length else "max_epochs"
        raise ValueError(
            f"{path!r} is at step {reached}, where --trainer.{limit} {getattr(trainer, limit)} ends; "
            f"ask for more steps to continue, or {other}"
        )
    timer = next((callback for callback in typed(trainer).callbacks if isinstance(callback, Timer)), None)
    seconds = checkpoint["callbacks"].get("Timer", {}).get("time_elapsed", {}).get("train", 0.0)
    if timer is not None and seconds >= timer.time_remaining():
        raise ValueError(f"{path!r} has trained for {seconds:.0f} s; ask for more --trainer.max_time, or {other}")
    for name, value in chosen_settings(model, trainer).items():
        if name in kept and value != kept[name]:
            raise ValueError(
                f"{name} is {written(value)}, in the checkpoint {written(kept[name])}; "
                f"a resumed run keeps the latter; set that, or {other}"
            )
    try:
        _restore(checkpoint, model)
    except DAMAGED:
        raise no_state from None
    if planned not in (None, length) and not isinstance(model.lr_schedule, Constant):
        say(f"length: {length} steps (the checkpoint has {planned}); the learning-rate schedule follows it")


DAMAGED = (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError)
"""What a state that is none may provoke where it is restored."""


def _restore(checkpoint: dict[str, Any], model: ScoreModule) -> None:
    """Try whether optimizer and learning-rate schedule take their states, and a step, before there is a run."""
    parameters = [torch.nn.Parameter(weights.detach().clone()) for weights in model.parameters()]
    for weights in parameters:
        weights.grad = torch.zeros_like(weights)
    optimizer = model.optimizer(parameters)
    (state,) = checkpoint["optimizer_states"]
    optimizer.load_state_dict(copy.deepcopy(state))
    optimizer.step(lambda: 0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    for stored in checkpoint["lr_schedulers"]:
        check_counters(stored)
        schedule.load_state_dict(copy.deepcopy(stored))
        schedule.step()


def _take_weights(path: str, model: ScoreModule, data: ToyDataModule) -> None:
    """Start from the averaged weights of a checkpoint, in the units in which they work."""
    checkpoint = read_checkpoint(path)
    stored, state = checkpoint["hyper_parameters"], checkpoint["state_dict"]
    shapes = {name: weights.shape for name, weights in state.items()}
    if shapes != {name: weights.shape for name, weights in model.state_dict().items()}:
        raise ValueError(
            f"the weights of {path!r} are those of {written(stored['init_args']['backbone'])}, they do not fit "
            f"{written(to_config(model.backbone))}; leave out --model.backbone"
        )
    model.on_load_checkpoint(checkpoint)
    model.load_state_dict(state)
    if model.standardisation is not None and not isinstance(data, PointsDataModule):
        raise ValueError(
            f"the weights of {path!r} work in standardised units; continue with points: --data PointsDataModule"
        )
    say(f"weights:     those of {path} after {checkpoint['global_step']} steps")


def chosen_settings(model: ScoreModule, trainer: pl.Trainer) -> dict[str, Any]:
    """Those settings of a run, by their names, whose state is in its checkpoints."""
    optimizer = model.optimizer([torch.nn.Parameter(torch.zeros(1))])
    ema = next((callback for callback in typed(trainer).callbacks if isinstance(callback, EMA)), None)
    average = ema.state_dict() if ema else {}
    return _named(to_config(model), type(optimizer).__name__, optimizer.defaults, average)


def kept_settings(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The same settings as a checkpoint has them; those of the optimizer as its state says."""
    model = complete(checkpoint["hyper_parameters"], ScoreModule, None, "model")
    group = checkpoint["optimizer_states"][0]["param_groups"][0]
    group = {**group, "lr": group.get("initial_lr", group["lr"])}  # before the schedule's factor
    average = checkpoint["callbacks"].get("EMA", {})
    return _named(model, _class_name(model["init_args"]["optimizer"]), group, average)


def _named(model: dict[str, Any], optimizer: str, group: dict[str, Any], average: dict[str, Any]) -> dict[str, Any]:
    settings = {"model": _class_name(model)}
    settings |= {f"model.{name}": model["init_args"][name] for name in ("backbone", "lr_schedule")}
    settings |= {"model.optimizer": optimizer, **{f"model.optimizer.{name}": value for name, value in group.items()}}
    settings |= {"ema": "on" if average else "off"}
    settings |= {f"ema.{name}": average[name] for name in ("decay", "every_n_steps") if name in average}
    return to_config(settings)


def _class_name(description: dict[str, Any]) -> str:
    return description["class_path"].rpartition(".")[2]
