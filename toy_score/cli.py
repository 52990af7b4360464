"""The command line: `fit`, `validate`, `test` and `predict` over YAML configs, flags and checkpoints.

It is Lightning's, with four repairs:

- a checkpoint describes its model and data completely, so that `predict`, `test` and `validate` need nothing else;
- what the user says beats what the checkpoint says, and the difference is printed;
- naming another class (say, `--model.sampler Heun`) does not inherit the replaced one's settings;
- bad input gets one line and exit code 2.
"""

import contextlib
import copy
import difflib
import logging
import math
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # lightning 2.6 calls what jsonargparse 5 removes

import jsonargparse
import lightning.pytorch as pl
import torch
import yaml
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException

import toy_score.data
import toy_score.modules
from toy_score.callbacks import EMA, Checkpoint, Pictures, RunReport, SampleWriter, TestReport
from toy_score.catalog import config_file, configs_folder, entries
from toy_score.component import Component, check_config, from_config, to_config, written
from toy_score.data import PointsDataModule, ToyDataModule
from toy_score.evaluation import TestOptions
from toy_score.files import locked
from toy_score.metrics import check_finite
from toy_score.modules import Constant, ScoreModule, read_checkpoint, trained_units

__all__ = ["ToyCLI", "one_line_errors", "run"]

say = rank_zero_only(print)

USER_ERRORS = (ValueError, TypeError, OSError, MisconfigurationException)

UNASKED = (
    "Tip:",
    "💡",
    "GPU available",
    "TPU available",
    "Seed set to",
    "`Trainer.fit` stopped",
    "Restoring states",
    "Found current_model_state",
    "Detected KeyboardInterrupt",
    "An KeyboardInterrupt was raised",
    "An SIGTERMException was raised",
    "Loaded model",
    "`Trainer(val_check_interval=1",
)

UNASKED_WARNINGS = (
    ".*The dirpath has changed.*",
    ".*number of training batches.*",
    ".*does not have many workers.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*Be aware that when using.*",
)

FIT_DEFAULTS = {
    "max_epochs": -1,
    "max_steps": 7500,
    "val_check_interval": None,  # see `groups_per_validation`
    "check_val_every_n_epoch": None,
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 50,
    "enable_model_summary": False,
    "inference_mode": False,  # energies and divergences are derivatives, in validation and sampling too
}

KEPT = ("backbone", "optimizer", "lr_schedule")
"""Settings of a model that a resumed run keeps, since their state is in the checkpoint."""


class ToyParser(LightningArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str, ex: Exception | None = None) -> None:  # type: ignore[override]
        own = {option.lstrip("-") for action in self._actions for option in action.option_strings}
        sys.stderr.write(f"error: {gist(message, [*toy_score.__all__, *own])}\n")
        self.exit(2)


class ToyCLI(LightningCLI):
    """See the top of this file."""

    def __init__(self, argv: list[str]):
        self.argv = argv
        with contextlib.ExitStack() as self.locks:  # of the files that the command writes, until it ends
            super().__init__(
                ScoreModule,
                ToyDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                seed_everything_default=0,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                save_config_callback=None,
                trainer_defaults=FIT_DEFAULTS,
                parser_class=ToyParser,
                parser_kwargs={"allow_abbrev": False, "prog": "toy_score"},
                args=argv,
            )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        loaders = {"model", "datamodule", "dataloaders", "train_dataloaders", "val_dataloaders"}
        skip = {*loaders, "weights_only", "verbose", "return_predictions"}
        return {name: set(skip) for name in ("fit", "validate", "test", "predict")}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        # For every command, so that a config of `fit` serves the others too; only `fit` uses them.
        parser.add_lightning_class_args(EMA, "ema")
        parser.add_lightning_class_args(Checkpoint, "checkpoint")
        parser.add_lightning_class_args(Pictures, "pictures")

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        # For every command, since the config of a run may name it; only `fit` takes it from the command line.
        told = "a checkpoint: fit starts a new run from its weights, at step 0 (--ckpt_path goes on with its run)"
        parser.add_argument("--init_from", type=str | None, help=told)
        if subcommand == "fit":
            interval = next(action for action in parser._actions if action.dest == "trainer.val_check_interval")
            interval.help = "optimizer steps between validations; 25 times a run if not given, and always at the end"
        if subcommand in ("test", "predict"):
            parser.add_argument("--n_samples", type=int | None, help="how many samples; data.n_samples if not given")
            parser.add_argument("--seed", type=int | None, help="seed of the samples; data.sample_seed if not given")
            parser.add_argument("--overwrite", type=bool, default=False, help="replace an existing output")
        if subcommand == "test":
            parser.add_argument(
                "--output",
                type=str | None,
                help="a .json file; metrics.json of the run if not given; it may hold metrics of the same settings",
            )
            parser.add_argument("--likelihood", type=bool, default=False, help="measure the likelihood as well")
            parser.add_argument("--fields", type=bool, default=False, help="curl, symmetry and straightness as well")
            parser.add_argument("--budget", type=bool, default=False, help="say where the error comes from as well")
            parser.add_argument("--papers", type=bool, default=False, help="measure exact W2, MMD and KSD as well")
        if subcommand == "predict":
            parser.add_argument("--output", type=str, default="samples.npy", help="a .npy, .npz, .csv or .gif file")
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        argv, command = list(self.argv), self.argv[0]
        self.from_checkpoint: dict[str, Any] = {}
        resumed, start = option(argv, "--ckpt_path"), option(argv, "--init_from")
        if start and command != "fit":
            raise ValueError(f"{command} does not take --init_from, which starts a run of fit; use --ckpt_path {start}")
        path = resumed or (start if command == "fit" else None)
        if path is not None and command in self._subcommand_parsers:
            self.from_checkpoint = checkpoint_settings(path, option(argv, "--data") is not None)
            named, held = option(argv, "--model"), self.from_checkpoint["model"]["class_path"].rpartition(".")[2]
            if named is not None and named.rpartition(".")[2] != held:
                raise ValueError(f"the checkpoint holds a {held}; leave out --model {named}")
            defaults = copy.deepcopy(self.from_checkpoint)
            defaults["model"]["init_args"].pop("guide", None)  # a path in a checkpoint is not opened unasked
            self._subcommand_parsers[command].set_defaults(defaults)
        elif command in ("validate", "test", "predict") and not {"-h", "--help"} & set(argv):
            raise ValueError(f"{command} needs a checkpoint: add --ckpt_path RUN/checkpoints/last.ckpt")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.config = parser.parse_args(find_configs(argv))
        if command != "fit":
            if self.from_checkpoint:
                self.config[command].ckpt_path = path  # a config after the flag may say `ckpt_path: null`
            return
        # The config that a run keeps may name either. The command line decides which one holds now.
        fit = self.config.fit
        fit.ckpt_path = resumed or (None if start else fit.ckpt_path)
        fit.init_from = start or (None if resumed else fit.init_from)
        if fit.ckpt_path and fit.init_from:
            raise ValueError(
                f"--ckpt_path {fit.ckpt_path} goes on with a run, --init_from {fit.init_from} starts a new one; "
                "choose one of them"
            )

    def _parse_ckpt_path(self) -> None:
        """Nothing: the checkpoint is read before parsing, with the lowest priority; Lightning gives it the highest."""

    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        if self.subcommand == "fit":
            if config.trainer.logger is None:
                config.trainer.logger = {"class_path": "TensorBoardLogger", "init_args": self._logger_settings()}
        else:
            config.trainer.logger = False  # nothing but `fit` makes a run
            self._subcommand_parsers[self.subcommand].callback_keys = []
        if config.trainer.enable_progress_bar is None:
            config.trainer.enable_progress_bar = sys.stderr.isatty()
        if self.subcommand in ("test", "predict"):
            arguments = config.data.init_args
            if self.subcommand == "predict" and config.n_samples is None and config.output.endswith(".gif"):
                config.n_samples = 600  # more would hide one another
            arguments.n_samples = arguments.n_samples if config.n_samples is None else config.n_samples
            arguments.sample_seed = arguments.sample_seed if config.seed is None else config.seed
        if self.from_checkpoint:
            self._check_paths()
            self._keep_what_belongs_to_the_weights()

    def _check_paths(self) -> None:
        """Ask for the guide that the checkpoint names, and say which file of points is read for its sake."""
        model, data = (self.config[self.subcommand][part].init_args for part in ("model", "data"))
        guide = self.from_checkpoint["model"]["init_args"].get("guide")
        asked = guide is None or model.guide is not None or option(self.argv, "--model.guide") is not None
        if not asked and model.guidance != 1:
            raise ValueError(
                f"the checkpoint names the guide {guide!r}, and a path in a checkpoint is not opened unasked: "
                f"add --model.guide {guide}, or --model.guidance 1 for samples without guidance"
            )
        path = self.from_checkpoint.get("data", {"init_args": {}})["init_args"].get("path")
        if path and self.subcommand != "predict" and data.get("path") == path:
            say(f"data.path: {path} (named by the checkpoint)")

    def _logger_settings(self) -> dict[str, Any]:
        name = option(self.argv, "--config") or option(self.argv, "-c")
        return {"save_dir": "lightning_logs", "name": run_name(name), "default_hp_metric": False}

    def _keep_what_belongs_to_the_weights(self) -> None:
        """The class of the model and its standardisation, which no config may change."""
        stored, chosen = self.from_checkpoint["model"], self.config[self.subcommand].model
        if chosen.class_path != stored["class_path"]:  # by a config
            raise ValueError(f"the checkpoint holds a {_class_name(stored)}, the config has another model")
        if units := chosen.init_args.get("standardisation"):
            trained_units(stored, from_config(units.as_dict()))
        elif "standardisation" in stored["init_args"]:
            chosen.init_args.standardisation = stored["init_args"]["standardisation"]

    def after_instantiate_classes(self) -> None:
        """Print what beats the checkpoint: of the objects, since `null` stands for a default in some arguments."""
        for part, stored in self.from_checkpoint.items():
            chosen = to_config(self.model if part == "model" else self.datamodule)
            if chosen["class_path"] != stored["class_path"]:
                say(f"{part}: {written(chosen)} (the checkpoint has {written(stored)})")
                continue
            for key, value in stored["init_args"].items():
                now = chosen["init_args"][key]
                silent = ("n_samples", "sample_seed")
                if self.subcommand == "fit" and self.config.fit.ckpt_path:
                    silent += KEPT  # a difference in these is refused
                if differs(now, value) and key not in silent:
                    say(f"{part}.{key}: {written(now)} (the checkpoint has {written(value)})")

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        config = self.config[self.subcommand]
        callbacks: list[pl.Callback] = []
        if self.subcommand == "fit":
            callbacks = [RunReport()]
            if config.ema.decay == 0:
                self._subcommand_parsers["fit"].callback_keys.remove("ema")
        if self.subcommand == "test":
            options = TestOptions(config.likelihood, config.fields, config.budget, config.papers)
            report = TestReport(config.output, config.overwrite, config.ckpt_path, options)
            self._lock(report.path)
            callbacks = [report]
        if self.subcommand == "predict":
            self._lock(config.output)
            callbacks = [SampleWriter(config.output, config.overwrite, config.ckpt_path)]
        self.trainer_defaults = {**self.trainer_defaults, "callbacks": callbacks}
        steps = config.trainer.val_check_interval
        if self.subcommand != "fit" or not (isinstance(steps, int) or steps == config.trainer.check_val_every_n_epoch):
            return super().instantiate_trainer(**kwargs)  # Lightning's own intervals: of time, or of epochs
        if steps is not None and steps < 1:
            raise ValueError(f"trainer.val_check_interval must be at least 1 step, got {steps}")
        trainer = super().instantiate_trainer(**kwargs, val_check_interval=1)
        if not trainer.fast_dev_run:
            per_epoch = math.ceil(self.datamodule.batches_per_epoch / trainer.world_size)
            trainer.val_check_interval = groups_per_validation(
                steps, trainer.max_steps, trainer.max_epochs, per_epoch, self.datamodule.steps_at_once
            )
        return trainer

    def _lock(self, path: str | Path) -> None:
        if rank_zero_only.rank == 0:  # before there are other processes, which write to the same file
            self.locks.enter_context(locked(path))

    def before_fit(self) -> None:
        """Keep the full config in the run's folder; that of a resumed run becomes `config-1.yaml`, and so on."""
        self._check_length()
        if self.config.fit.ckpt_path is not None:
            self._check_resumable(self.config.fit.ckpt_path)
        self.datamodule.setup("fit")  # data that cannot be read are told of before there is a folder
        if self.model.standardisation is not None:  # otherwise the model takes that of the data
            self.model.check_units(self.datamodule.known(self.model.standardisation))
        if self.config.fit.init_from is not None:
            self._take_weights(self.config.fit.init_from)
        logger = self.trainer.logger
        if isinstance(logger, TensorBoardLogger) and logger._version is None and self.trainer.is_global_zero:
            logger._version = next_version(Path(logger.root_dir))
        log_dir = self.trainer.log_dir  # collective: every process asks
        if log_dir is None or self.trainer.fast_dev_run or not self.trainer.is_global_zero:
            return
        folder = Path(log_dir)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"config-{n}.yaml" if (n := len(list(folder.glob("config*.yaml")))) else "config.yaml"
        self._parser("fit").save(self.config.fit, folder / name, skip_none=False, multifile=False)

    def _check_length(self) -> None:
        """Refuse a run without a step, or with settings of the trainer that would not do what they say."""
        trainer = self.trainer
        for name in ("max_steps", "max_epochs", "limit_train_batches"):
            if getattr(trainer, name) == 0:
                raise ValueError(f"trainer.{name} must be at least 1, got 0")
        if trainer.overfit_batches:
            raise ValueError(
                f"trainer.overfit_batches {trainer.overfit_batches} would not repeat batches; "
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
        self.model.run_length(trainer, self.datamodule)

    def _check_resumable(self, path: str) -> None:
        """Refuse to go on with a run that is over, or with settings that its state in the checkpoint would undo."""
        checkpoint, length = read_checkpoint(path), self.model.run_length(self.trainer, self.datamodule)
        reached, planned = checkpoint["global_step"], checkpoint.get("run_length")
        other = f"start a new run from the weights: --init_from {path}"
        if length is not None and reached >= length:
            limit = "max_steps" if self.trainer.max_steps == length else "max_epochs"
            raise ValueError(
                f"{path!r} is at step {reached}, where --trainer.{limit} {getattr(self.trainer, limit)} ends; "
                f"ask for more steps to go on, or {other}"
            )
        timer = next((callback for callback in self.trainer.callbacks if isinstance(callback, Timer)), None)
        seconds = checkpoint["callbacks"].get("Timer", {}).get("time_elapsed", {}).get("train", 0.0)
        if timer is not None and seconds >= timer.time_remaining():
            raise ValueError(f"{path!r} has trained for {seconds:.0f} s; ask for more --trainer.max_time, or {other}")
        kept = kept_settings(checkpoint)
        for name, value in chosen_settings(self.model, self.trainer).items():
            if name in kept and value != kept[name]:
                raise ValueError(
                    f"{name} is {written(value)}, in the checkpoint {written(kept[name])}; "
                    f"a resumed run keeps the latter; set that, or {other}"
                )
        if planned not in (None, length) and not isinstance(self.model.lr_schedule, Constant):
            say(f"length: {length} steps (the checkpoint has {planned}); the learning-rate schedule follows it")

    def _take_weights(self, path: str) -> None:
        """Start from the averaged weights of a checkpoint, in the units in which they work."""
        checkpoint = read_checkpoint(path)
        stored, state = checkpoint["hyper_parameters"], checkpoint["state_dict"]
        if stored["class_path"] != (own := to_config(self.model)["class_path"]):
            raise ValueError(
                f"{path!r} holds a {_class_name(stored)}, not a {own.rpartition('.')[2]}; leave out --model"
            )
        shapes = {name: weights.shape for name, weights in state.items()}
        if shapes != {name: weights.shape for name, weights in self.model.state_dict().items()}:
            raise ValueError(
                f"the weights of {path!r} are those of {written(stored['init_args']['backbone'])}, they do not fit "
                f"{written(to_config(self.model.backbone))}; leave out --model.backbone"
            )
        self.model.on_load_checkpoint(checkpoint)
        self.model.load_state_dict(state)
        if self.model.standardisation is not None and not isinstance(self.datamodule, PointsDataModule):
            raise ValueError(
                f"the weights of {path!r} work in standardised units; continue with points: --data PointsDataModule"
            )
        say(f"weights:     those of {path} after {checkpoint['global_step']} steps")

    def predict(self, **kwargs: Any) -> None:
        self.trainer.predict(**kwargs, return_predictions=False)
        say(f"{self.datamodule.n_samples} samples of {self.model.sampler!r} in {self.config.predict.output}")

    def validate(self, **kwargs: Any) -> None:
        self.trainer.validate(**kwargs, verbose=False)
        for name, value in self.trainer.callback_metrics.items():
            say(f"{name:<32}{float(value):.6f}")
        say("\ndoctor: would a perfect network succeed?")
        for finding in self.model.doctor():
            say(finding)
        check_finite({name: float(value) for name, value in self.trainer.callback_metrics.items()})

    def test(self, **kwargs: Any) -> None:
        self.trainer.test(**kwargs, verbose=False)


def run(argv: list[str]) -> None:
    """Run a command; exits as `one_line_errors` says."""
    quiet()
    with one_line_errors():
        ToyCLI(argv)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Exit with 2 after bad input, with 1 after a failure, with 130 after Ctrl-C, each told in one line.

    With TOY_SCORE_DEBUG=1 in the environment, the traceback is shown instead.
    """
    try:
        yield
    except (KeyboardInterrupt, SIGTERMException) as stop:
        interrupted = isinstance(stop, KeyboardInterrupt)
        print(str(stop) if interrupted and str(stop) else "stopped", file=sys.stderr)
        raise SystemExit(130 if interrupted else 143) from None
    except SystemExit as stop:  # Lightning's own, with code 1, after it has shut down
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise SystemExit(130) from None
        raise
    except Exception as error:
        if os.environ.get("TOY_SCORE_DEBUG"):
            raise
        print(f"error: {gist(str(error)) or type(error).__name__}", file=sys.stderr)
        if isinstance(error, USER_ERRORS):
            raise SystemExit(2) from None
        if not isinstance(error, FloatingPointError):  # those are failures of the model, not of the program
            print("this is a defect of toy_score; TOY_SCORE_DEBUG=1 shows where", file=sys.stderr)
        raise SystemExit(1) from None


def chosen_settings(model: ScoreModule, trainer: pl.Trainer) -> dict[str, Any]:
    """Those settings of a run, by their names, whose state is in its checkpoints."""
    optimizer = model.optimizer([torch.nn.Parameter(torch.zeros(1))])
    ema = next((callback for callback in trainer.callbacks if isinstance(callback, EMA)), None)
    average = ema.state_dict() if ema else {}
    return _named(to_config(model), type(optimizer).__name__, optimizer.defaults, average)


def kept_settings(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The same settings as a checkpoint has them; those of the optimizer as its state says."""
    model, group = checkpoint["hyper_parameters"], checkpoint["optimizer_states"][0]["param_groups"][0]
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


def checkpoint_settings(path: str, named_anew: bool = False) -> dict[str, Any]:
    """What a checkpoint says of its model and data, as defaults of the parser; not of data that are `named_anew`."""
    checkpoint = read_checkpoint(path)
    settings = {"model": checkpoint.get("hyper_parameters"), "data": checkpoint.get("datamodule_hyper_parameters")}
    check_config(settings["model"], ScoreModule, "model")  # before parsing, which imports the classes that it meets
    try:
        check_config(settings["data"], ToyDataModule | None, "data")
    except ValueError:
        if not named_anew:
            raise
        settings["data"] = None
    return {part: {**stored, "init_args": stored.get("init_args") or {}} for part, stored in settings.items() if stored}


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
        steps = min((end for end in ends if end > 0), default=FIT_DEFAULTS["max_steps"]) // 25
    return max(steps * math.ceil(per_epoch / at_once) // per_epoch, 1)


def option(argv: list[str], name: str) -> str | None:
    """The last value of an option, `--name value` or `--name=value`."""
    value = None
    for word, following in zip(argv, [*argv[1:], None], strict=True):
        if word == name:
            value = following
        elif word.startswith(name + "="):
            value = word.removeprefix(name + "=")
    return value


def find_configs(argv: list[str]) -> list[str]:
    """Replace the name of a config that comes with the package by its path.

    Raises:
        FileNotFoundError: if there is neither a file nor a config of that name.
        ValueError: if the file is not YAML.
    """
    found = list(argv)
    for i, word in enumerate(argv):
        flag, equals, name = word.partition("=")
        if flag not in ("--config", "-c"):
            continue
        name = name if equals else (argv[i + 1] if i + 1 < len(argv) else "")
        path = config_file(name)
        if path is None:
            names = [entry.name for entry in entries("configs")]
            near = difflib.get_close_matches(name.removeprefix("configs/").removesuffix(".yaml"), names, 1, 0.8)
            advice = f"did you mean {near[0]}?" if near else f"a path, or one of {', '.join(names)}"
            raise FileNotFoundError(f"there is no config {name!r}; {advice}")
        try:
            yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{name!r} is not YAML: {' '.join(str(error).split())}") from None
        found[i if equals else i + 1] = f"{flag}={path}" if equals else str(path)
    return found


def forget_replaced_class(parser: Any, previous: Any, value: Any) -> None:
    """Start another class from its own defaults.

    jsonargparse keeps those settings of the replaced class that the new one accepts by name: `n_steps` or `grid` of one
    sampler would become that of the next, in configs and on the command line alike.
    """
    if previous and "init_args" in previous and _class_name(previous) != _class_name(value):
        for name in list(previous["init_args"].keys()):
            previous["init_args"].pop(name)


jsonargparse._typehints.discard_init_args_on_class_path_change = forget_replaced_class
_compare = jsonargparse._typehints.ActionTypeHint.discard_init_args_on_class_path_change


def compare_classes(parser: Any, previous: Any, value: Any) -> None:
    """The same for the components within; a class that is named without arguments has none to compare."""
    if value is not None:
        _compare(parser, previous, value)


jsonargparse._typehints.ActionTypeHint.discard_init_args_on_class_path_change = staticmethod(compare_classes)


def is_described(cls: type) -> bool:
    """Whether an object of this class is described by plain values where it is a default argument."""
    return issubclass(cls, Component) or _is_described(cls)


def description(value: Any) -> dict[str, Any]:
    """The plain values of a default argument.

    jsonargparse reads a default off the source of the signature and gives up at a negative number or a component within
    a component: the config that a run keeps would then have words where the component was, and not be read again.
    """
    return to_config(value) if isinstance(value, Component) else _description(value)


_is_described, _description = jsonargparse._signatures.is_convertible_to_dict, jsonargparse._signatures.convert_to_dict
jsonargparse._signatures.is_convertible_to_dict = is_described
jsonargparse._signatures.convert_to_dict = description


def _class_name(spec: Any) -> str:
    return spec["class_path"].rpartition(".")[2]


def run_name(config: str | None) -> str:
    """The folder of a run: the name of its config, e.g. `ncsn_heart` or `original_ncsn_heart`."""
    if config is None:
        return "default"
    path = (config_file(config) or Path(config)).resolve()
    shipped = path.is_relative_to(configs_folder().resolve())
    parts = path.relative_to(configs_folder().resolve()).with_suffix("").parts if shipped else (path.stem,)
    return "_".join(parts)


def differs(chosen: Any, stored: Any) -> bool:
    """Whether two descriptions disagree in anything that the stored one says."""
    if isinstance(stored, dict) and isinstance(chosen, dict):
        stored = {key: value for key, value in stored.items() if value != {}}  # no arguments may be left unsaid
        return any(key not in chosen or differs(chosen[key], value) for key, value in stored.items())
    return written(chosen) != written(stored)


MISSING = (
    "the checkpoint does not say on what data it was trained; add --data, as --data HeartDataModule",
    "fit needs a model and data: add --config, as --config ncsn_heart (`list configs` tells them)",
)
NOISE = ("Does not validate", "Subtypes:", "Errors:", "Given value", "Expected a path", "Expected a <class 'NoneType'>")


def gist(message: str, known: Iterable[str] = ()) -> str:
    """The one line of a parser's nested message that names what is wrong, and the nearest of the `known` words."""
    lines = [line.strip(" -\t") for line in message.splitlines()]
    lines = [line for line in lines if line and not line.startswith(NOISE)]
    key = next((line.split('"')[1] + ": " for line in lines if line.startswith("Parser key")), "")
    told = [line for line in lines if not line.startswith("Parser key")] or ["invalid value"]
    told = [line for line in told if line != "Expected a <class 'bool'>"] or told  # a number, where both will do
    line = next((line for line in told if not line.startswith("Expected a dot import")), told[0])
    value = re.search(r"Given value: (\S+)$", message)
    choices = re.findall(r"'([^']+)'", " ".join(line for line in told if line.startswith("Expected a typing.Literal")))
    if choices and value:
        return f"{key}must be one of {', '.join(choices)}, got {value[1]}"
    if line.startswith("Expected a dot import"):
        line = f"there is no class {line.split(': ')[-1]!r}"
    elif line.startswith("Expected a <class") and value and "Got value" not in line:
        line = f"{line}. Got value: {value[1]}"
    elif line.startswith("Problem with given class_path") and len(told) > 1:
        line = f"{line} {told[told.index(line) + 1]}"  # the cause is a line of its own
    elif line.startswith("Import path does not correspond") and value:
        line = f"{value[1]} is not {line.removeprefix('Import path does not correspond to ')}"
    elif abstract := re.match(r"Expected an instantiatable class, but [\w.]*?(\w+) is abstract", line):
        line = f"name the class first, which {abstract[1]} it is: --help tells those there are"
    elif missing := re.match(r"the following arguments are required: (\w+)\.(data|model)", line):
        line = MISSING[missing[1] == "fit"]
    elif line.startswith("Unexpected config"):
        line = "the config holds no settings, as `model:` and `data:` on lines of their own would be; `list configs`"
    line = re.sub(r"<class '(\w+)'>", r"\1", line)
    line = re.sub(r"Expected a (\w+)\. Got value: (.+)", r"must be of type \1, got \2", line)
    return key + line + nearest(line, known)


def nearest(line: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` for a misspelt word of a message, if one of the `known` words is near it."""
    misspelt = re.search(r"(?:there is no class|does not accept option|Option) '([\w.]+)'|arguments: --([\w.]+)", line)
    if misspelt is None:
        return ""
    word = misspelt[1] or misspelt[2]
    known = list(known)
    near = [match for part in (word, word.split(".")[-1]) for match in difflib.get_close_matches(part, known, 1, 0.5)]
    return f"; did you mean {near[0]}?" if near else ""


def quiet() -> None:
    """Leave the user's screen to what the user asked for."""

    class NotAdvice(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            return not record.getMessage().lstrip().startswith(UNASKED)

    for name in ("pytorch.utilities.rank_zero", "fabric.utilities.rank_zero", "fabric.utilities.seed"):
        logging.getLogger(f"lightning.{name}").addFilter(NotAdvice())
    for text in UNASKED_WARNINGS:
        warnings.filterwarnings("ignore", message=text)


# Named here so that YAML may say `class_path: TensorBoardLogger`.
_ = TensorBoardLogger
