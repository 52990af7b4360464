"""From an object to its description by plain values, `{"class_path": ..., "init_args": ...}`."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

from toy_score.component.base import Described, argument_names, parameters

__all__ = ["class_path", "defaults", "to_config", "written"]


def defaults(cls: type) -> dict[str, Any]:
    """Describe an object that is built without arguments, `{"class_path": ..., "init_args": {...}}`.

    `init_args` has every argument with a default, described by plain values, and no argument without one.
    """
    described = {
        name: to_config(parameter.default)
        for name, parameter in parameters(cls).items()
        if parameter.default is not parameter.empty
    }
    return {"class_path": class_path(cls), "init_args": described}


def to_config(value: Any) -> Any:
    """Describe a component, or an optimizer factory (`functools.partial`), by plain values.

    Returns:
        `{"class_path": "toy_score.Heun", "init_args": {"n_steps": 18, ...}}` for a component; its `defaults` for a
        class of components or networks; lists and dicts item by item; plain values as they are.

    Raises:
        TypeError: for an object that is neither a plain value nor a component.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [to_config(item) for item in value]
    if isinstance(value, dict):
        return {key: to_config(item) for key, item in value.items()}
    if isinstance(value, type):
        return defaults(value) if issubclass(value, Described) else {"class_path": class_path(value), "init_args": {}}
    if isinstance(value, functools.partial):
        return {"class_path": class_path(value.func), "init_args": to_config(value.keywords)}
    cls = type(value)
    if not issubclass(cls, Described):
        raise TypeError(f"{value!r} cannot be described by plain values; derive its class from one of toy_score")
    names = argument_names(cls)
    if lost := [name for name in names if not hasattr(value, name)]:
        raise TypeError(f"{cls.__name__} must keep its argument {lost[0]!r} as an attribute of that name")
    return {"class_path": class_path(cls), "init_args": {name: to_config(getattr(value, name)) for name in names}}


def class_path(cls: Callable[..., Any]) -> str:
    """The shortest public path: `toy_score.Heun`, not `toy_score.samplers.ode.Heun`, so that a file may move."""
    parts = cls.__module__.split(".")
    for end in range(1, len(parts) + 1):
        module = importlib.import_module(".".join(parts[:end]))
        if getattr(module, cls.__name__, None) is cls:
            return f"{module.__name__}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def written(config: Any) -> str:
    """A description of a component as its constructor call, with all arguments in order of their names."""
    if isinstance(config, dict) and "class_path" in config:
        arguments = sorted((config.get("init_args") or {}).items())
        return f"{config['class_path'].split('.')[-1]}({', '.join(f'{k}={written(v)}' for k, v in arguments)})"
    return str(list(config) if isinstance(config, tuple) else config)
