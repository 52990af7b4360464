"""Checks of all classes and values in a description, before anything in it is imported or built."""

import inspect
import reprlib
import sys
import types
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal, Union, get_args, get_origin

import torch
from torch.optim import Optimizer

from toy_score.component.base import Described, argument_type, parameters
from toy_score.words import did_you_mean

__all__ = ["check_config", "imported"]


def check_config(config: Any, expected: Any = Any, where: str = "description") -> None:
    """Check all of a description, before anything in it is imported or built.

    A class must already be imported. It must be derived from `Described` or be an optimizer of `torch.optim`, and it
    must be a subclass of the annotated type of the argument. Other values must have the annotated type.

    Args:
        expected: the type of the described object, as an annotation; `Any` for any object that can be described.
        where: name of the described object, e.g. `model`; errors name its entries, e.g. `model.sampler.n_steps`.

    Raises:
        ValueError: for the first entry that is refused.
    """
    try:
        _check(config, expected, where)
    except RecursionError:
        raise ValueError(f"{where}: the description is nested too deeply") from None


def _check(value: Any, expected: Any, where: str) -> None:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"{where}: must be a whole number of 64 bits, got {reprlib.repr(value)}")
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
    """Whether a value has a type. The items of a list are checked one by one, and errors name them."""
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
    cls = imported(path)
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
    known = parameters(cls)
    for name, value in (arguments or {}).items():
        if name not in known:
            advice = did_you_mean(str(name), known) or f"; it has {', '.join(known) or 'none'}"
            raise ValueError(f"{where}: {cls.__name__} has no argument {name!r}{advice}")
        _check(value, argument_type(known[name]), f"{where}.{name}")


def _bases(expected: Any) -> tuple[type, ...]:
    """The classes allowed for an expected type: a described class must be a subclass of one of them."""
    origin, arguments = get_origin(expected), get_args(expected)
    if expected is Any:
        return Described, Optimizer
    if origin in (Union, types.UnionType):
        return tuple(base for member in arguments for base in _bases(member))
    if origin is Callable and arguments:  # from parameters to an optimizer
        return _bases(arguments[-1])
    return (expected,) if isinstance(expected, type) and origin is None and expected is not types.NoneType else ()


def imported(class_path: Any) -> type | None:
    """The class with a path, if its module is imported and it may be described, else None; nothing is imported."""
    module, _, name = class_path.rpartition(".") if isinstance(class_path, str) else ("", "", "")
    scope = sys.modules.get(module)
    # `toy_score` imports its public names when they are first used, so they may be missing from `vars`.
    cls = getattr(scope, name, None) if module == "toy_score" else vars(scope).get(name) if scope else None
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
