"""YAML as people write it: `1e-3` is a number, and `00:10:00` is none.

PyYAML follows YAML 1.1, where the first is a word and the second the number 600. Here numbers are those of YAML 1.2.
"""

import re
from typing import Any

import yaml

__all__ = ["EndlessError", "dump", "load"]

MOST_VALUES, MOST_DIGITS = 100_000, 18
"""Values that a text may hold once its aliases are written out, and digits of a whole number of 64 bits."""


DEEPEST = 100  # brackets within each other


class EndlessError(ValueError):
    """What is YAML, but nests, repeats or counts without end."""


class _Loader(yaml.SafeLoader):
    """The safe loader with the numbers of YAML 1.2."""


_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NUMBERS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_NUMBERS[0], re.compile(r"^[-+]?[0-9]+(_[0-9]+)*$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _NUMBERS[1],
    re.compile(r"^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
    list("-+.0123456789"),
)


def _int(_: _Loader, node: yaml.ScalarNode) -> int:
    digits = node.value.lstrip("+-0").replace("_", "")
    if len(digits) > MOST_DIGITS:
        raise EndlessError(f"{_start(node.value)} is beyond the whole numbers of 64 bits")
    return int(node.value)


def _start(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:27]}..."


_Loader.add_constructor(_NUMBERS[0], _int)
_Loader.add_constructor(_NUMBERS[1], lambda loader, node: float(re.sub(r"\.(?=[iInN])", "", node.value)))


class _Dumper(yaml.SafeDumper):
    """Writes a list or a dict of plain values in one line."""


_Dumper.yaml_implicit_resolvers = {  # words that either of the two takes for numbers are quoted
    first: [*yaml.SafeDumper.yaml_implicit_resolvers.get(first, []), *_Loader.yaml_implicit_resolvers.get(first, [])]
    for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
}


def load(text: str) -> Any:
    """The value that a text in YAML says.

    Raises:
        yaml.YAMLError: if it is not YAML.
        EndlessError: if it has a value within itself, aliases that stand for more than 100 000 values, or a number
            of more than 64 bits.
    """
    depth = 0
    for sign in text:  # PyYAML takes seconds for thousands of brackets, and fails then
        depth += (sign in "[{") - (sign in "]}")
        if depth > DEEPEST:
            raise EndlessError("it is nested too deeply")
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _values(node, {})
        return loader.construct_document(node)
    except RecursionError:
        raise EndlessError("it is nested too deeply") from None
    finally:
        loader.dispose()


def _values(node: yaml.Node, counted: dict[int, int]) -> int:
    """How many values a node stands for, with its aliases written out; `counted` has those of the nodes before."""
    if id(node) not in counted:
        counted[id(node)] = 0  # until it is counted
        below = [] if isinstance(node, yaml.ScalarNode) else node.value
        parts = [part for item in below for part in (item if isinstance(item, tuple) else [item])]
        counted[id(node)] = 1 + sum(_values(part, counted) for part in parts)
        if counted[id(node)] > MOST_VALUES:
            raise EndlessError(f"its aliases stand for more than {MOST_VALUES} values")
    if not counted[id(node)]:
        raise EndlessError("a value contains itself by an alias")
    return counted[id(node)]


def dump(value: Any) -> str:
    """A value as YAML, in the order of its keys."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
