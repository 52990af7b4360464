"""From a description to the object."""

import functools
from typing import Any

from torch.optim import Optimizer

from toy_score.component.checking import check_config, imported

__all__ = ["from_config"]


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
    cls = imported(config["class_path"])
    if cls is None:
        raise ValueError(f"there is no class {config['class_path']!r}")
    arguments = _build(config.get("init_args") or {})
    if issubclass(cls, Optimizer):  # built later, once there are parameters
        return functools.partial(cls, **arguments)
    return cls(**arguments)
