"""A component is an object built from plain values, so that YAML, Python and a checkpoint describe it the same way.

Components are frozen dataclasses: `repr`, equality, hash and `dataclasses.replace` come with the language. Networks and
Lightning's modules, which cannot be frozen, keep every constructor argument as an attribute of the same name. The
description of either, `{"class_path": ..., "init_args": ...}`, is read off the object itself, and only plain values
ever reach a checkpoint.
"""

import functools
import importlib
import inspect
import reprlib
import sys
import types
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import Field
from typing import Any, ClassVar, Literal, Union, get_args, get_origin

import torch

from toy_score.words import did_you_mean

__all__ = [
    "Component",
    "Described",
    "argument_names",
    "as_tuple",
    "check_config",
    "defaults",
    "from_config",
    "to_config",
    "written",
]

Optimizer = torch.optim.Optimizer


class Described:
    """Marks the classes that a description may name: they keep every constructor argument as an attribute.

    Their constructors take plain values and other described objects, and open no files.
    """


class Component(Described):
    """Base of the components: each is a frozen dataclass whose fields are its constructor arguments.

    `__post_init__` checks the fields, and works out what follows from them.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # so that type checkers allow `dataclasses.replace`

    def _set(self, **values: Any) -> None:
        """Set attributes of a frozen object; for `__post_init__` alone."""
        vars(self).update(values)


def argument_names(cls: type) -> list[str]:
    """Names of the constructor arguments of a class, in order, those that go to its bases by `**kwargs` last."""
    return list(_parameters(cls))


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The constructor arguments of a class by name, in the order of `argument_names`."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base) or base is object:
            continue
        parameters = list(_signature(vars(base)["__init__"]).parameters.values())[1:]
        found |= {p.name: p for p in parameters if p.kind is not p.VAR_KEYWORD and p.name not in found}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def _signature(function: Any) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except NameError:  # an annotation names what is imported for type checkers only
        return inspect.signature(function)


def defaults(cls: type) -> dict[str, Any]:
    """Describe an object that is built without arguments, `{"class_path": ..., "init_args": {...}}`.

    `init_args` has every argument that has a default, described by plain values; those without a default are left out.
    """
    described = {
        name: to_config(parameter.default)
        for name, parameter in _parameters(cls).items()
        if parameter.default is not parameter.empty
    }
    return {"class_path": _class_path(cls), "init_args": described}


def to_config(value: Any) -> Any:
    """Describe a component, or an optimizer factory (`functools.partial`), by plain values.

    Returns:
        `{"class_path": "toy_score.Heun", "init_args": {"n_steps": 18, ...}}` for a component; its `defaults` for a
        class of components or networks; lists and dicts item by item; plain values as they are.

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
        return defaults(value) if issubclass(value, Described) else {"class_path": _class_path(value), "init_args": {}}
    if isinstance(value, functools.partial):
        return {"class_path": _class_path(value.func), "init_args": to_config(value.keywords)}
    cls = type(value)
    if not issubclass(cls, Described):
        raise TypeError(f"{value!r} cannot be described by plain values; derive its class from one of toy_score")
    names = argument_names(cls)
    if lost := [name for name in names if not hasattr(value, name)]:
        raise TypeError(f"{cls.__name__} must keep its argument {lost[0]!r} as an attribute of that name")
    return {"class_path": _class_path(cls), "init_args": {name: to_config(getattr(value, name)) for name in names}}


def from_config(config: Any, expected: Any = Any, where: str = "description") -> Any:
    """Build what `to_config` described, once all of it is checked.

    Args:
        expected, where: as in `check_config`.

    Raises:
        ValueError: as `check_config` says.
    """
    check_config(config, expected, where)
    return _build(config)


def _build(config: Any) -> Any:
    if isinstance(config, (list, tuple)):
        return [_build(item) for item in config]
    if not isinstance(config, dict):
        return config
    if "class_path" not in config:
        return {key: _build(item) for key, item in config.items()}
    cls = _imported(config["class_path"])
    if cls is None:
        raise ValueError(f"there is no class {config['class_path']!r}")
    arguments = _build(config.get("init_args") or {})
    if issubclass(cls, Optimizer):  # built later, once there are parameters
        return functools.partial(cls, **arguments)
    return cls(**arguments)


def check_config(config: Any, expected: Any = Any, where: str = "description") -> None:
    """Check all of a description, before anything in it is imported or built.

    A class must be imported already, be derived from `Described` or be one of the optimizers of `torch.optim`, and be
    a subclass of what the annotation of the argument asks for. Other values must be of the annotated type.

    Args:
        expected: the type of the described object, as an annotation; `Any` for all that may be described.
        where: what the description is of, e.g. `model`: errors name its entries `model.sampler.n_steps`.

    Raises:
        ValueError: for the first entry that is refused.
    """
    try:
        _check(config, expected, where)
    except RecursionError:
        raise ValueError(f"{where}: the description is nested too deeply") from None


def _check(value: Any, expected: Any, where: str) -> None:
    if isinstance(value, dict) and "class_path" in value:
        _check_class(value, expected, where)
    elif expected is Any:
        if isinstance(value, (dict, list, tuple)):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                _check(item, Any, f"{where}[{key!r}]")
        elif not (value is None or isinstance(value, (bool, int, float, str))):
            raise ValueError(f"{where}: must be a plain value, got {reprlib.repr(value)}")
    elif not _fits(value, expected, where):
        raise ValueError(f"{where}: must be {_type_name(expected)}, got {reprlib.repr(value)}")


def _fits(value: Any, expected: Any, where: str) -> bool:
    """Whether a value is of a type; what is within a list is checked by itself."""
    origin, arguments = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType):
        return any(_is_valid(value, member, where) for member in arguments)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin in (list, tuple, Sequence, Collection, Iterable):
        if not isinstance(value, (list, tuple)):
            return False
        if origin is not tuple or arguments[1:] == (...,):
            arguments = arguments[:1] * len(value)
        if len(arguments) != len(value):
            return False
        for i, (item, kind) in enumerate(zip(value, arguments, strict=True)):
            _check(item, kind, f"{where}[{i}]")
        return True
    if isinstance(expected, type) and origin is None:
        number = isinstance(value, (int, float) if expected is float else expected)
        return number and (not isinstance(value, bool) or expected is bool)
    if origin in (Callable, type):  # an optimizer, or a class, is described by its class path
        return False
    _check(value, Any, where)
    return True


def _is_valid(value: Any, expected: Any, where: str) -> bool:
    try:
        _check(value, expected, where)
    except ValueError:
        return False
    return True


def _check_class(config: dict[str, Any], expected: Any, where: str) -> None:
    path, arguments, bases = config["class_path"], config.get("init_args"), _bases(expected)
    kind = " or ".join(base.__name__ for base in bases) or "plain value"
    cls = _imported(path)
    if cls is None:
        module = str(path).rpartition(".")[0]
        if module in sys.modules or module.partition(".")[0] == __name__.partition(".")[0]:
            raise ValueError(f"{where}: there is no class {path!r} in this version that is a {kind}; was it renamed?")
        raise ValueError(
            f"{where}: refusing the class path {path!r}: its module is not imported; "
            f"if you trust the module, import it: --import {module}"
        )
    if not issubclass(cls, bases) or inspect.isabstract(cls):
        raise ValueError(f"{where}: refusing the class path {path!r}: a concrete {kind} is expected here")
    if not isinstance(arguments, dict | None) or config.keys() - {"class_path", "init_args"}:
        raise ValueError(f"{where}: must have a class_path and a dict of init_args, got {reprlib.repr(config)}")
    parameters = _parameters(cls)
    for name, value in (arguments or {}).items():
        if name not in parameters:
            advice = did_you_mean(str(name), parameters) or f"; it has {', '.join(parameters) or 'none'}"
            raise ValueError(f"{where}: {cls.__name__} has no argument {name!r}{advice}")
        _check(value, _annotation(parameters[name]), f"{where}.{name}")


def _annotation(parameter: inspect.Parameter) -> Any:
    """The type of an argument; where none is annotated, that of its default as far as it is a described one."""
    if parameter.annotation is parameter.empty or isinstance(parameter.annotation, str):
        return Described if isinstance(parameter.default, Described) else Any
    return parameter.annotation


def _bases(expected: Any) -> tuple[type, ...]:
    """The classes of which one must be a base of a class that is described where a type is expected."""
    origin, arguments = get_origin(expected), get_args(expected)
    if expected is Any:
        return Described, Optimizer
    if origin in (Union, types.UnionType):
        return tuple(base for member in arguments for base in _bases(member))
    if origin is Callable and arguments:  # from parameters to an optimizer
        return _bases(arguments[-1])
    return (expected,) if isinstance(expected, type) and origin is None and expected is not types.NoneType else ()


def _imported(class_path: Any) -> type | None:
    """A class that may be described, by its path, if its module is imported; nothing is imported for its sake."""
    module, _, name = class_path.rpartition(".") if isinstance(class_path, str) else ("", "", "")
    scope = sys.modules.get(module)
    # The package itself imports its public names when they are first used.
    cls = getattr(scope, name, None) if module == __package__ else vars(scope).get(name) if scope else None
    if not isinstance(cls, type):
        return None
    public = issubclass(cls, Optimizer) and getattr(torch.optim, cls.__name__, None) is cls
    return cls if public or issubclass(cls, Described) else None


def _type_name(expected: Any) -> str:
    if get_origin(expected) in (Union, types.UnionType):
        return " or ".join(_type_name(member) for member in get_args(expected))
    if get_origin(expected) is Literal:
        return " or ".join(map(repr, get_args(expected)))
    if expected is types.NoneType:
        return "None"
    plain = isinstance(expected, type) and get_origin(expected) is None
    return f"of type {expected.__name__}" if plain else str(expected).replace("collections.abc.", "")


def _class_path(cls: Callable[..., Any]) -> str:
    # The shortest public path: `toy_score.Heun`, not `toy_score.samplers.ode.Heun`, so that a file may move.
    parts = cls.__module__.split(".")
    for end in range(1, len(parts) + 1):
        module = importlib.import_module(".".join(parts[:end]))
        if getattr(module, cls.__name__, None) is cls:
            return f"{module.__name__}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def as_tuple(values: Any) -> Any:
    """Lists and tuples, nested or not, as tuples: those of a component must be hashable. Other values as they are."""
    return tuple(map(as_tuple, values)) if isinstance(values, (list, tuple)) else values


def written(config: Any) -> str:
    """A description of a component as its constructor call, with all arguments in order of their names."""
    if isinstance(config, dict) and "class_path" in config:
        arguments = sorted((config.get("init_args") or {}).items())
        return f"{config['class_path'].split('.')[-1]}({', '.join(f'{k}={written(v)}' for k, v in arguments)})"
    return str(list(config) if isinstance(config, tuple) else config)
