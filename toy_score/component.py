"""A component is an object built from plain values, so that YAML, Python and a checkpoint describe it the same way.

One convention carries it: *every constructor argument is kept as an attribute of the same name*. Then the description
of any component, `{"class_path": ..., "init_args": ...}`, is read off the object itself, and only plain values ever
reach a checkpoint.
"""

import functools
import importlib
import inspect
import sys
from typing import Any

import torch

__all__ = ["Component", "argument_names", "check_trusted", "from_config", "is_trusted", "to_config", "written"]

TRUSTED = ("toy_score.", "torch.optim.")
"""Prefixes of the class paths that a checkpoint may name. Importing a class path runs code, so nothing else is imported
for its sake; what the user has imported, and what is derived from a class of toy_score, may be named too."""


class Component:
    """Base of the components: what was said of the convention above, as `repr` and equality."""

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={getattr(self, name)!r}" for name in argument_names(type(self)))
        return f"{type(self).__name__}({arguments})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and to_config(self) == to_config(other)

    __hash__ = object.__hash__


def argument_names(cls: type) -> list[str]:
    """Names of the constructor arguments of a class, in order, those that go to its bases by `**kwargs` last."""
    names: dict[str, None] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base) or base is object:
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
        names |= dict.fromkeys(p.name for p in parameters if p.kind is not p.VAR_KEYWORD)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return list(names)


def to_config(value: Any) -> Any:
    """Describe a component, or an optimizer factory (`functools.partial`), by plain values.

    Returns:
        `{"class_path": "toy_score.Heun", "init_args": {"n_steps": 18, ...}}` for a component; lists and
        dicts item by item; plain values as they are.

    Raises:
        TypeError: for an object that is neither plain nor a component.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [to_config(item) for item in value]
    if isinstance(value, dict):
        return {key: to_config(item) for key, item in value.items()}
    if isinstance(value, type):
        return {"class_path": _class_path(value), "init_args": {}}
    if isinstance(value, functools.partial):
        # jsonargparse wraps the class that a YAML file names: it is then the last positional argument.
        target = value.args[-1] if value.args else value.func
        return {"class_path": _class_path(target), "init_args": to_config(value.keywords)}
    cls = type(value)
    if not _is_ours(cls):
        raise TypeError(f"{value!r} cannot be described by plain values; derive its class from one of toy_score")
    names = argument_names(cls)
    if lost := [name for name in names if not hasattr(value, name)]:
        raise TypeError(f"{cls.__name__} must keep its argument {lost[0]!r} as an attribute of that name")
    return {"class_path": _class_path(cls), "init_args": {name: to_config(getattr(value, name)) for name in names}}


def _is_ours(cls: type) -> bool:
    """Whether a class is one of toy_score, or derived from one."""
    return any(base.__module__.startswith("toy_score.") for base in cls.__mro__)


def is_trusted(config: Any) -> bool:
    """Whether `check_trusted` has nothing to say of a description."""
    try:
        check_trusted(config)
    except ValueError:
        return False
    return True


def check_trusted(config: Any) -> None:
    """Look through a description, before anything in it is built, for classes that must not be or are not there.

    Raises:
        ValueError: for a class path outside `TRUSTED` whose module was not imported, or one that no longer exists.
    """
    if isinstance(config, dict):
        if config.get("class_path") is not None:
            _import_trusted(config["class_path"])
        for item in config.values():
            check_trusted(item)
    elif isinstance(config, (list, tuple)):
        for item in config:
            check_trusted(item)


def from_config(config: Any) -> Any:
    """Build what `to_config` described.

    Raises:
        ValueError: for a class path outside `TRUSTED` whose module was not imported, or one that no longer exists.
    """
    if isinstance(config, list):
        return [from_config(item) for item in config]
    if not isinstance(config, dict):
        return config
    if "class_path" not in config:
        return {key: from_config(item) for key, item in config.items()}
    cls = _import_trusted(config["class_path"])
    arguments = from_config(config.get("init_args") or {})
    if issubclass(cls, torch.optim.Optimizer):  # built later, once there are parameters
        return functools.partial(cls, **arguments)
    return cls(**arguments)


def _class_path(cls: type) -> str:
    # The shortest public path: `toy_score.Heun`, not `toy_score.samplers.ode.Heun`, so that a file may move.
    parts = cls.__module__.split(".")
    for end in range(1, len(parts) + 1):
        module = importlib.import_module(".".join(parts[:end]))
        if getattr(module, cls.__name__, None) is cls:
            return f"{module.__name__}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def _import_trusted(class_path: str) -> type:
    module, _, name = str(class_path).rpartition(".")
    trusted = class_path.startswith(TRUSTED) if isinstance(class_path, str) else False
    if not trusted and not (isinstance(cls := getattr(sys.modules.get(module), name, None), type) and _is_ours(cls)):
        raise ValueError(
            f"refusing the class path {class_path!r}: only {' and '.join(TRUSTED)} classes are trusted; "
            f"if you trust the module, import it: --import {module}"
        )
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        raise ValueError(f"there is no class {class_path!r} in this version of toy_score; was it renamed?") from None
    if not isinstance(cls, type):
        raise ValueError(f"{class_path!r} is not a class")
    return cls


def written(config: Any) -> str:
    """A description of a component as its constructor call, with all arguments in order of their names."""
    if isinstance(config, dict) and "class_path" in config:
        arguments = sorted((config.get("init_args") or {}).items())
        return f"{config['class_path'].split('.')[-1]}({', '.join(f'{k}={written(v)}' for k, v in arguments)})"
    return str(list(config) if isinstance(config, tuple) else config)
