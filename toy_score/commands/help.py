"""`fit --help` and its like: the project's own options first, with the settings of the chosen config.

It is read off the source and the config, without importing torch.
"""

import inspect
import shutil
import textwrap
from collections.abc import Iterator
from typing import Any

from toy_score.catalog import Argument, arguments
from toy_score.commands.arguments import Given
from toy_score.commands.options import OPTIONS, SECTIONS

__all__ = ["show"]

ABOUT = {
    "fit": "train a model; logs, pictures and checkpoints go to lightning_logs/NAME/version_N",
    "validate": "loss and score error of a checkpoint on the validation points",
    "test": "measure the samples of a checkpoint against the truth: a table, and metrics.json",
    "predict": "sample from a checkpoint into a file",
}
EXAMPLE = {
    "fit": "--config ncsn_heart --model.sampler Heun --model.optimizer.lr 0.01 --trainer.max_steps 5000",
    "validate": "--ckpt_path latest",
    "test": "--ckpt_path latest --model.sampler Heun --model.sampler.n_steps 10 --budget",
    "predict": "--ckpt_path latest --n_samples 20000 --output heart.npy --model.sampler Heun",
}
DEFAULT_CLASS = {"model": "ScoreModule", "data": "ToyDataModule"}
CALLBACKS = {"ema": "EMA", "checkpoint": "Checkpoint", "pictures": "Pictures"}
TRAINER = {
    "max_steps": ("7500", "optimizer steps of the run; -1 for no limit"),
    "max_epochs": ("-1", "epochs of the run, of data.n_train points each; -1 for no limit"),
    "max_time": ("None", "time limit, DD:HH:MM:SS"),
    "val_check_interval": ("None", "optimizer steps between validations; 25 validations a run by default"),
    "accelerator": ("auto", "cpu, gpu, or auto"),
    "devices": ("auto", "number of devices, or a list of them"),
    "precision": ("None", "of the arithmetic, e.g. bf16-mixed; float32 by default"),
    "logger": ("None", "TensorBoard by default; false writes no run folder"),
    "callbacks": ("None", "further callbacks, in YAML: [{class_path: EarlyStopping, init_args: {monitor: val/loss}}]"),
    "enable_progress_bar": ("None", "true or false; by default, whether the output is a terminal"),
}


def show(given: Given) -> None:
    """Print the help that was asked for: of a command, or of a section, `--model.help CLASS`."""
    lines = _command(given) if given.help == "command" else _section(given, given.help, given.help_class)
    print("\n".join(lines))


def _command(given: Given) -> Iterator[str]:
    name = given.command
    yield f"toy_score {name}: {ABOUT[name]}"
    yield ""
    yield f"  python -m toy_score {name} {EXAMPLE[name]}"
    yield ""
    yield "Options"
    config = "a config by its name or path; several are merged, the later wins (see `list configs`)"
    yield from _entry("--config NAME", config)
    for option, about in OPTIONS.items():
        if name in about.commands:
            value = "" if about.type is bool else f" {'N' if about.type is int else 'VALUE'}"
            yield from _entry(f"--{option}{value}", about.help)
    yield from _entry("--print_config", "print all settings as YAML, and stop")
    yield from _entry("--model.help CLASS", "the settings of a class of models; likewise --data.help, --trainer.help")
    yield ""
    yield "Settings: of a config, or on the command line, where they win over configs, and these over a checkpoint"
    for section in SECTIONS if name == "fit" else ("model", "data"):
        yield ""
        yield from _section(given, section, None, few=True)


def _section(given: Given, section: str, named: str | None, few: bool = False) -> Iterator[str]:
    if section == "trainer":
        yield "Trainer of Lightning" + ("; --trainer.help shows all its settings" if few else "")
        yield from _settings("trainer", _trainer(few), _said(given, "trainer"))
        return
    said = _said(given, section)
    default = CALLBACKS.get(section) or str(said.get("class_path", DEFAULT_CLASS[section]))
    name = (named or default).rpartition(".")[2]
    yield (
        f"{section.capitalize()}: {name}"
        if section not in CALLBACKS
        else SECTIONS[section].partition(":")[0].capitalize()
    )
    try:
        known = arguments(name)
    except KeyError:
        yield f"  {name} is no class of toy_score; its settings are the arguments of its constructor"
        return
    yield from _settings(section, known, said.get("init_args", {}) if section not in CALLBACKS else said)


def _settings(section: str, known: list[Argument], said: dict[str, Any]) -> Iterator[str]:
    for argument in known:
        value = _call(said[argument.name]) if argument.name in said else argument.default
        written = f"--{section}.{argument.name}" + ("" if value is None else f" {value}")
        yield from _entry(written, argument.about)


def _said(given: Given, section: str) -> dict[str, Any]:
    """What configs and flags say of a section; the last one wins, argument by argument."""
    found: dict[str, Any] = {"init_args": {}} if section in DEFAULT_CLASS else {}
    for layer in given.layers(section):
        layer = {"class_path": str(layer)} if not isinstance(layer, dict) else layer
        if section not in DEFAULT_CLASS:
            found |= layer
            continue
        rest = {k: v for k, v in layer.items() if k not in ("class_path", "init_args")}
        found["init_args"] |= {**_dict(layer.get("init_args")), **rest}
        found |= {"class_path": layer["class_path"]} if "class_path" in layer else {}
    return found


def _trainer(few: bool) -> list[Argument]:
    if few:
        return [Argument(name, default, about) for name, (default, about) in TRAINER.items()]
    import lightning.pytorch as pl

    known = list(inspect.signature(pl.Trainer.__init__).parameters.values())[1:]
    text = inspect.cleandoc(pl.Trainer.__init__.__doc__ or "").partition("Args:\n")[2]
    about: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        head, colon, rest = line.strip().partition(": ")
        if colon and head in {p.name for p in known}:
            name = head
            about[name] = rest
        elif line.strip() in {f"{p.name}:" for p in known}:
            name = line.strip()[:-1]
            about[name] = ""
        elif name and line.startswith(" "):
            about[name] += f" {line.strip()}"
        elif line.strip():
            name = ""
    own = {name: Argument(name, default, text) for name, (default, text) in TRAINER.items()}
    return [own.get(p.name, Argument(p.name, str(p.default), about.get(p.name, "").strip())) for p in known]


def _call(value: Any) -> str:
    """A value of a config as it is written in Python."""
    if isinstance(value, dict):
        name = str(value.get("class_path", "")).rpartition(".")[2]
        rest = {k: v for k, v in value.items() if k not in ("class_path", "init_args")} | _dict(value.get("init_args"))
        return f"{name}({', '.join(f'{k}={_call(v)}' for k, v in rest.items())})"
    return str(value)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _entry(written: str, about: str) -> list[str]:
    """An option on one line, what it is below; nothing is cut."""
    width = max(min(shutil.get_terminal_size().columns, 100), 40)
    column = 28
    lines = textwrap.wrap(about, width - column) or [""]
    if len(written) + 4 <= column:
        first = f"  {written:<{column - 2}}{lines[0]}".rstrip()
        return [first, *(" " * column + line for line in lines[1:])]
    return [f"  {written}", *(" " * column + line for line in lines if line)]
