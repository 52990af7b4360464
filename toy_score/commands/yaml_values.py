"""YAML as people write it: `1e-3` is a number, and `00:10:00` is none.

PyYAML follows YAML 1.1, where the first is a word and the second the number 600. Here numbers are those of YAML 1.2.
"""

import re
from collections.abc import Iterable
from typing import Any

import yaml

from toy_score.checks import check_extent

__all__ = ["dump", "load"]


DEEPEST = 50  # levels of lists and settings; the deepest config here has seven


class _Loader(yaml.SafeLoader):
    """The safe loader with the numbers of YAML 1.2."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A node; PyYAML itself takes a time that is quadratic in the depth, and then all of the stack."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise yaml.YAMLError(f"it is nested more than {DEEPEST} levels deep")
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _nodes(node: yaml.Node) -> Iterable[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


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
_Loader.add_constructor(_NUMBERS[0], lambda loader, node: int(node.value))
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
        yaml.YAMLError: if it is not YAML, or has no end: aliases can repeat what they name without limit.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        check_extent(node, _nodes)
        return loader.construct_document(node)
    except (ValueError, OverflowError) as error:  # of a number that is none, too
        raise yaml.YAMLError(str(error)) from None
    finally:
        loader.dispose()


def dump(value: Any) -> str:
    """A value as YAML, in the order of its keys."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
