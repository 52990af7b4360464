"""The words of a command: options, and settings of the model, the data and the trainer. Nothing heavy is imported.

What can be refused without knowing any class is refused here: an unknown option, a missing value or config, a command
that needs a checkpoint and has none.
"""

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from toy_score.catalog import config_file, entries
from toy_score.commands.options import OPTIONS, SECTIONS
from toy_score.runs import checkpoint_file
from toy_score.words import did_you_mean
from toy_score.yaml_values import EndlessError, load

__all__ = ["Given", "Text", "parse"]


class Text(str):
    """A value as it was typed, whose type is not known yet; `alone` is an option without a value, which means true."""

    alone = False


class Alone(Text):
    """`true`, of an option without a value."""

    alone = True


@dataclass(frozen=True)
class Given:
    """What a command was given.

    Attributes:
        command: its name.
        options: all options of the command by name; what no config and no flag says has its default.
        configs: the contents of the configs, in order.
        flags: for each section, the tree of its settings on the command line.
        config_names: as they were written.
        help: what to explain: "" nothing, "command", or the name of a section.
        print_config: whether only the settings are wanted.
    """

    command: str
    options: dict[str, Any]
    configs: list[dict[str, Any]] = field(default_factory=list)
    flags: dict[str, Any] = field(default_factory=dict)
    config_names: list[str] = field(default_factory=list)
    help: str = ""
    help_class: str | None = None
    print_config: bool = False

    def flag(self, path: str) -> str | None:
        """The text of a setting on the command line, e.g. of `model.guide`; None if it is not there."""
        node: Any = self.flags
        for part in path.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        return node.get("class_path") if isinstance(node, dict) else node

    def layers(self, section: str) -> list[Any]:
        """The changes of a section: of the configs in order, then of the flags."""
        changes = [config[section] for config in self.configs if config.get(section) is not None]
        return changes + ([self.flags[section]] if section in self.flags else [])


def parse(command: str, argv: Sequence[str]) -> Given:
    """Read the words that follow a command.

    Raises:
        ValueError, FileNotFoundError: for the first word that is refused.
    """
    named: dict[str, Text] = {}
    names: list[Text] = []
    flags: dict[str, Any] = {}
    help_of, help_class, print_config = "", None, False
    for name, value in _words(argv):
        section, _, rest = name.partition(".")
        if name in ("help", "h"):
            help_of = "command"
        elif name in ("config", "c"):
            names.append(value)
        elif name == "print_config":
            print_config = True
        elif rest == "help" and section in SECTIONS:
            help_of, help_class = section, None if value.alone else str(value)
        elif section in SECTIONS:
            _insert(flags, name.split("."), value)
        elif name in OPTIONS:
            named[name] = value
        else:
            raise ValueError(f"{command} has no option --{name}{_advice(command, name)}")
    configs = [content for name in names for content in _read_config(name)]
    options: dict[str, Any] = {}
    if not help_of:
        options = _options(command, named, configs)
        if not print_config or command == "fit":
            _check_complete(command, options, flags, configs)
    return Given(command, options, configs, flags, list(map(str, names)), help_of, help_class, print_config)


def _options(command: str, named: dict[str, Text], configs: list[dict[str, Any]]) -> dict[str, Any]:
    """All options of a command, by name: of the command line, else of the last config that has it, else the default."""
    _check_commands(command, named)
    said: dict[str, Any] = {}
    for config in configs:
        said |= {name: value for name, value in config.items() if name in OPTIONS and value is not None}
    if command != "fit":
        said.pop("ckpt_path", None)  # in the config of a run it says where that run began
    said |= named
    options = {
        name: _typed(name, said.get(name, option.default_of(command)))
        for name, option in OPTIONS.items()
        if command in option.commands
    }
    _choose_checkpoint(options, named)
    for name in ("ckpt_path", "init_from"):
        if options.get(name) is not None:
            options[name] = str(checkpoint_file(options[name]))
    return options


def _check_complete(
    command: str, options: dict[str, Any], flags: dict[str, Any], configs: list[dict[str, Any]]
) -> None:
    """Refuse a command without a checkpoint; of `fit`, only one without a model or data."""
    if options["ckpt_path"] is not None or options.get("init_from") is not None:
        return
    if command != "fit":
        raise ValueError(f"{command} needs a checkpoint: add --ckpt_path RUN/checkpoints/last.ckpt, or latest")
    for section, needed in _NEEDED.items():
        if section not in flags and not any(config.get(section) for config in configs):
            raise ValueError(f"fit needs {needed}")


_NEEDED = {
    "model": "a model: add --config, for example --config ncsn_heart (see `list configs`)",
    "data": "data: add --data, for example --data HeartDataModule (see `list distributions`)",
}


def _words(argv: Sequence[str]) -> list[tuple[str, Text]]:
    """Pairs of an option, without dashes, and its value."""
    found: list[tuple[str, Text]] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith("--") and word not in ("-c", "-h"):
            quote = "; quote a value that has spaces" if found and any(c in found[-1][1] for c in "[{(") else ""
            raise ValueError(f"unexpected word {word!r}: options begin with --{quote}")
        name, equals, value = word.partition("=")
        name = name.lstrip("-")
        if not equals and words and not words[0].startswith("--") and name not in ("h", "help", "print_config"):
            equals, value = "=", words.pop(0)
        found.append((name, Text(value) if equals else Alone("true")))
    return found


def _insert(tree: dict[str, Any], path: list[str], value: Text) -> None:
    """Put a value into a tree of settings; that of a node with settings of its own is its class."""
    *parents, last = [part for part in path if part != "init_args"]
    for parent in parents:
        below = tree.setdefault(parent, {})
        tree[parent] = tree = below if isinstance(below, dict) else {"class_path": below}
    if isinstance(tree.get(last), dict):
        tree[last]["class_path"] = value
    else:
        tree[last] = value


def _check_commands(command: str, named: dict[str, Text]) -> None:
    for name, value in named.items():
        if command not in OPTIONS[name].commands:
            if name == "init_from":
                raise ValueError(
                    f"{command} does not take --init_from, which starts a run of fit; use --ckpt_path {value}"
                )
            raise ValueError(f"{command} has no option --{name}; {' and '.join(OPTIONS[name].commands)} have it")


def _choose_checkpoint(options: dict[str, Any], named: dict[str, Text]) -> None:
    """The config that a run keeps may name either; the command line decides which one holds now."""
    resumed, start = named.get("ckpt_path"), named.get("init_from")
    if resumed and start:
        raise ValueError(
            f"--ckpt_path {resumed} continues a run, --init_from {start} starts a new one; choose one of them"
        )
    if resumed and "init_from" in options:
        options["init_from"] = None
    elif start:
        options["ckpt_path"] = None


def _typed(name: str, value: Any) -> Any:
    """The value of an option, of its type."""
    kind = OPTIONS[name].type
    if value is None or (isinstance(value, Text) and value == "null"):
        return None
    if isinstance(value, Text) and value.alone and kind is not bool:
        raise ValueError(f"--{name} needs a value: {OPTIONS[name].help}")
    if kind is str and not isinstance(value, dict | list):
        return str(value)
    try:
        read = load(value) if isinstance(value, Text) else value
    except (yaml.YAMLError, EndlessError):
        read = None
    if type(read) is not kind:
        kinds = {bool: "true or false", int: "a whole number", str: "a word"}
        raise ValueError(f"--{name} must be {kinds[kind]}, got {reprlib.repr(value)}")
    return read


def _advice(command: str, name: str) -> str:
    known = [option for option, about in OPTIONS.items() if command in about.commands]
    return did_you_mean(name, [*known, "config", *SECTIONS]) or f"; see {command} --help"


def _read_config(name: Text, is_base: bool = False) -> list[dict[str, Any]]:
    """The contents of a config, after those of the config beside it that it names as its `base`, if it does."""
    if name.alone or not name.strip():
        raise ValueError("--config needs a value: a path, or a name (see `list configs`)")
    path = config_file(name)
    if path is None:
        names = [entry.name for entry in entries("configs")]
        near = did_you_mean(name.removeprefix("configs/").removesuffix(".yaml"), names, 0.8)
        raise FileNotFoundError(f"there is no config {str(name)!r}{near or '; a path, or one of ' + ', '.join(names)}")
    try:
        content = load(Path(path).read_text(encoding="utf-8"))
    except EndlessError as error:
        raise ValueError(f"cannot read the config {str(name)!r}: {error}") from None
    except OSError as error:
        raise OSError(f"cannot read the config {str(name)!r}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(name)!r} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ValueError(
            f"the config {str(name)!r} has no `model:` or `data:` section; see `list configs` for examples"
        )
    base = content.pop("base", None)
    for key in content:
        if key not in SECTIONS and key not in OPTIONS:
            near = did_you_mean(str(key), [*SECTIONS, *OPTIONS])
            raise ValueError(f"a config has no setting {key!r}{near or '; it has ' + ', '.join(SECTIONS)}")
    if base is None:
        return [content]
    if is_base or not isinstance(base, str):
        why = "is a base and has one itself" if is_base else f"has the base {base!r}, which is not a file"
        raise ValueError(f"the config {str(name)!r} {why}; name one config without a base")
    return [*_read_config(Text(Path(path).parent / base), is_base=True), content]
