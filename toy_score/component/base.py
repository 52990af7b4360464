"""Components and the arguments of their constructors."""

import inspect
from dataclasses import Field
from typing import Any, ClassVar

__all__ = ["Component", "Described", "argument_names", "argument_type", "as_tuple", "parameters"]


class Described:
    """Marks the classes that a description may name: they keep every constructor argument as an attribute.

    Their constructors take plain values and other described objects, and open no files.
    """


class Component(Described):
    """Base of the components: each is a frozen dataclass whose fields are its constructor arguments.

    `__post_init__` checks the fields and computes what follows from them.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # so that type checkers allow `dataclasses.replace`

    def _set(self, **values: Any) -> None:
        """Set attributes of a frozen object; for `__post_init__` alone."""
        vars(self).update(values)


def argument_names(cls: type) -> list[str]:
    """Names of the constructor arguments of a class, in order; those that its bases take by `**kwargs` come last."""
    return list(parameters(cls))


def parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The constructor arguments of a class by name, in the order of `argument_names`."""
    collected: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base) or base is object:
            continue
        own = list(_signature(vars(base)["__init__"]).parameters.values())[1:]
        collected |= {p.name: p for p in own if p.kind is not p.VAR_KEYWORD and p.name not in collected}
        if not any(p.kind is p.VAR_KEYWORD for p in own):
            break
    return collected


def _signature(function: Any) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except NameError:  # an annotation names something that is imported for type checkers only
        return inspect.signature(function)


def argument_type(parameter: inspect.Parameter) -> Any:
    """The annotated type of an argument; if there is none, `Described` where its default is one, else `Any`."""
    if parameter.annotation is parameter.empty or isinstance(parameter.annotation, str):
        return Described if isinstance(parameter.default, Described) else Any
    return parameter.annotation


def as_tuple(values: Any) -> Any:
    """Lists and tuples, also nested ones, as tuples, so that components are hashable; other values unchanged."""
    return tuple(map(as_tuple, values)) if isinstance(values, (list, tuple)) else values
