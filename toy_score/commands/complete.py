"""Descriptions of objects, completed: what is said of one, over what was there before, over the defaults of its class.

A description is `{"class_path": ..., "init_args": {...}}`, as in `component`. A change of it is the same with parts
left out, or the name of a class, or the arguments alone: `{"n_steps": 10}`. Another class starts from its own defaults;
of the settings of the one that it replaces, it keeps none.
"""

import importlib
import inspect
import types
from collections.abc import Iterable, Iterator
from inspect import Parameter
from typing import Any, Union, get_args, get_origin

from torch.optim import Optimizer

import toy_score
from toy_score.catalog import KINDS
from toy_score.commands.arguments import Text
from toy_score.component import (
    Described,
    argument_type,
    check_config,
    class_path,
    defaults,
    parameters,
    to_config,
)
from toy_score.words import did_you_mean
from toy_score.yaml_values import load

__all__ = ["UnknownArgumentError", "complete", "complete_arguments"]

PLAIN = {"builtins", "datetime", "pathlib", "torch", "types", "collections.abc", "typing"}


class UnknownArgumentError(ValueError):
    """A setting that there is not, with the setting that was probably meant.

    Args:
        name: of the argument.
        owner: what has no such argument, e.g. `model.sampler: Heun`.
        known: the arguments that it has.
    """

    def __init__(self, name: Any, owner: str, known: Iterable[str]):
        self.name, self.owner, self.known, self.elsewhere = str(name), owner, list(known), ""

    def look_in(self, settings: Any, where: str) -> None:
        """Look for a setting of that name in the settings that are called `where`."""
        if not self.elsewhere:
            self.elsewhere = next((path for path in paths(settings, where) if path.endswith(f".{self.name}")), "")

    def __str__(self) -> str:
        near = did_you_mean(self.name, self.known)
        if self.elsewhere and not (near and near.endswith(f" {self.name}?")):
            near = f"; did you mean {self.elsewhere}?"
        return f"{self.owner} has no argument {self.name!r}{near or '; it has ' + (', '.join(self.known) or 'none')}"


def paths(settings: Any, where: str) -> Iterator[str]:
    """The names of all settings in a description, as they are written on the command line."""
    arguments = settings.get("init_args", settings) if isinstance(settings, dict) else {}
    for name, value in (arguments or {}).items():
        yield f"{where}.{name}"
        yield from paths(value, f"{where}.{name}")


def complete(change: Any, expected: Any, base: Any, where: str) -> Any:
    """A value of the expected type: the change over the base, all of it described.

    Args:
        change: plain values; a `Text` is read as YAML, if what it then is fits, and otherwise is a word.
        expected: the type, as an annotation.
        base: the description that is changed, complete itself; None for none.
        where: the name of the setting, for errors.

    Raises:
        UnknownArgumentError: if a class has no such argument.
        ValueError: if there is no such class, or for a value of another type; it names the setting, the value, and what
            can be instead.
    """
    bases = _bases(expected)
    if isinstance(change, Text):
        change = _read(change, expected, bases, where)
    if bases and isinstance(change, str) and not _fits(change, expected):
        change = {"class_path": change}
    if bases and isinstance(change, dict) and not isinstance(change, Text):
        return _object(change, bases, base, where)
    if isinstance(change, (list, tuple)) and (items := _items(expected)) is not None and _bases(items):
        return [complete(item, items, None, f"{where}[{i}]") for i, item in enumerate(change)]
    check_config(change, expected, where)
    return _float(change, expected)


def complete_arguments(cls: type, changes: dict[str, Any], base: dict[str, Any], where: str) -> dict[str, Any]:
    """The arguments of a class: changes over the base, each complete, in the order of its constructor.

    Raises:
        ValueError: as `complete` does, and for an argument that is missing.
    """
    known = parameters(cls)
    arguments = dict(base)
    for name, change in changes.items():
        if name not in known:
            unknown = UnknownArgumentError(str(name), f"{where}: {cls.__name__}", known)
            unknown.look_in(base, where)
            raise unknown
        expected, default = argument_type(known[name]), known[name].default
        none_is_default = _bases(expected) and not _fits(None, expected) and default is not Parameter.empty
        if change in (None, "null") and none_is_default:  # version 0.1 wrote null for the default
            arguments[name] = to_config(default)
            continue
        try:
            arguments[name] = complete(change, expected, base.get(name), f"{where}.{name}")
        except UnknownArgumentError as unknown:
            unknown.look_in(base, where)
            raise
    # A class of another package may itself give to its base what that requires, as TensorBoardLogger does.
    required = known if issubclass(cls, Described) else inspect.signature(cls).parameters
    missing = [name for name in known if name in required and name not in arguments]
    missing = [name for name in missing if known[name].default is Parameter.empty]
    if missing and not issubclass(cls, Optimizer):
        raise ValueError(f"{where}: {cls.__name__} needs {missing[0]}; add --{where}.{missing[0]}")
    return {name: arguments[name] for name in known if name in arguments}


def _object(change: dict[str, Any], bases: tuple[type, ...], base: Any, where: str) -> dict[str, Any]:
    changes = change.get("init_args") or {}
    if not isinstance(changes, dict):
        raise ValueError(f"{where}.init_args: must be settings by name, got {changes!r}")
    changes = changes | {name: value for name, value in change.items() if name not in ("class_path", "init_args")}
    described = isinstance(base, dict) and "class_path" in base
    if change.get("class_path") is not None:
        cls = _class_named(str(change["class_path"]), bases, where)
    elif described:
        cls = _class_named(base["class_path"], bases, where)
    elif len(concrete := [c for base in bases for c in _family(base) if not inspect.isabstract(c)]) == 1:
        (cls,) = concrete
    else:
        raise ValueError(f"{where}: choose a concrete {_kind(bases)} first, for example --{where} {_example(bases)}")
    path = class_path(cls)
    if described and base["class_path"] == path:
        kept = base.get("init_args") or {}
    else:  # of classes of other packages, only what is said is kept
        kept = defaults(cls)["init_args"] if issubclass(cls, Described) else {}
    return {"class_path": path, "init_args": complete_arguments(cls, changes, kept, where)}


def _read(text: Text, expected: Any, bases: tuple[type, ...], where: str) -> Any:
    """What a text means where a type is expected."""
    if text.alone and not _fits(True, expected):
        raise ValueError(f"--{where} needs a value")
    try:
        value = load(text)
    except Exception:  # whatever is no YAML is a word
        return str(text)
    if isinstance(value, (dict, list)) or (value is None and bases):
        return value
    return str(text) if not _fits(value, expected) and (bases or _fits(str(text), expected)) else value


def _fits(value: Any, expected: Any) -> bool:
    try:
        check_config(value, expected)
    except ValueError:
        return False
    return True


def _float(value: Any, expected: Any) -> Any:
    """The value, in which a whole number is a float where only a float is expected."""
    if isinstance(value, (list, tuple)):
        kinds = get_args(_sequence(expected))
        same = len(kinds) != len(value) or ... in kinds
        return [_float(item, (kinds or (Any,))[0] if same else kinds[i]) for i, item in enumerate(value)]
    members = get_args(expected) if get_origin(expected) in (Union, types.UnionType) else (expected,)
    whole = type(value) is int and float in members and int not in members
    return float(value) if whole else value


def _sequence(expected: Any) -> Any:
    """The list, tuple or sequence among the types that are expected."""
    members = get_args(expected) if get_origin(expected) in (Union, types.UnionType) else (expected,)
    return next((m for m in members if get_origin(m) not in (None, Union) and _is_many(get_origin(m))), None)


def _is_many(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Iterable) and not issubclass(origin, dict)


def _items(expected: Any) -> Any:
    """The type of the items of a list, if that is expected."""
    return next(iter(get_args(_sequence(expected))), None)


def _bases(expected: Any) -> tuple[type, ...]:
    """The classes of which an object is expected, or a subclass; none where plain values are."""
    origin, arguments = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType):
        return tuple(base for member in arguments for base in _bases(member))
    if arguments and not isinstance(origin, type):
        return ()
    if origin is not None and not _is_many(origin) and arguments and origin is not type:
        return _bases(arguments[-1])  # a callable that gives an optimizer
    is_class = isinstance(expected, type) and origin is None and expected.__module__ not in PLAIN
    return (expected,) if is_class else ()


def _class_named(name: str, bases: tuple[type, ...], where: str) -> type:
    """The concrete class of a short name or of a path, if it is a subclass of one of the bases."""
    kind = _kind(bases)
    cls: Any
    if "." in name:
        module, _, last = name.rpartition(".")
        try:
            cls = getattr(importlib.import_module(module), last, None)
        except (ImportError, TypeError, ValueError) as error:  # a name of dots is not one of a module
            raise ValueError(f"{where}: there is no class {name!r}: {error}") from None
        if cls is None:
            near = did_you_mean(last, dir(importlib.import_module(module)), 0.7)
            raise ValueError(f"{where}: there is no class {name!r}{near}")
    else:
        named = {c for base in bases for c in _family(base) if c.__name__ == name}
        own = {c for c in named if getattr(toy_score, name, None) is c}
        if len(own or named) > 1:
            choices = " or ".join(sorted(f"{c.__module__}.{c.__name__}" for c in named))
            raise ValueError(f"{where}: there are several classes {name!r}; write {choices}")
        cls = next(iter(own or named), None)
        if cls is None:
            known = sorted({c.__name__ for base in bases for c in _family(base) if not inspect.isabstract(c)})
            see = f"; see `list {_LISTS[kind]}`" if kind in _LISTS else f"; there are {', '.join(known)}"
            raise ValueError(f"{where}: there is no {kind} {name!r}{did_you_mean(name, known) or see}")
    if not (isinstance(cls, type) and issubclass(cls, bases)):
        raise ValueError(f"{where}: {name} is not a {kind}")
    if inspect.isabstract(cls):
        raise ValueError(f"{where}: choose a concrete {cls.__name__}, for example --{where} {_example(bases)}")
    return cls


def _family(base: type[Any]) -> Iterator[type[Any]]:
    """A class and all classes derived from it."""
    yield base
    for cls in base.__subclasses__():
        yield from _family(cls)


_LISTS = {base[0]: kind for kind, base in KINDS.items() if base}


def _kind(bases: tuple[type, ...]) -> str:
    return " or ".join(dict.fromkeys(base.__name__ for base in bases))


def _example(bases: tuple[type, ...]) -> str:
    """The name of a concrete class of the project, and the list of all of them."""
    names = sorted(c.__name__ for c in _family(bases[0]) if not inspect.isabstract(c) and c is not bases[0])
    public = [name for name in names if name in toy_score.__all__] or names or ["CLASS"]
    see = f" (see `list {_LISTS[bases[0].__name__]}`)" if bases[0].__name__ in _LISTS else ""
    return public[0] + see
