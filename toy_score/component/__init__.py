"""A component is an object built from plain values, so that YAML, Python and a checkpoint describe it the same way.

Components are frozen dataclasses: `repr`, equality, hash and `dataclasses.replace` come with the language. Networks and
Lightning's modules, which cannot be frozen, keep every constructor argument as an attribute of the same name. The
description of an object, `{"class_path": ..., "init_args": ...}`, is made from its attributes. So checkpoints contain
plain values only.
"""

from toy_score.component.base import Component, Described, argument_names, argument_type, as_tuple, parameters
from toy_score.component.building import from_config
from toy_score.component.checking import check_config
from toy_score.component.describing import class_path, defaults, to_config, written

__all__ = [
    "Component",
    "Described",
    "argument_names",
    "argument_type",
    "as_tuple",
    "check_config",
    "class_path",
    "defaults",
    "from_config",
    "parameters",
    "to_config",
    "written",
]
