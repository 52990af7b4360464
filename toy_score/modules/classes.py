"""The classes of a model: by number or by name."""

from collections.abc import Sequence

from toy_score.words import did_you_mean, shown

__all__ = ["class_number"]


def class_number(label: int | str, names: Sequence[str] | None) -> int:
    """The number of a class, which a label says, or names; `names[k]` is the name of class k, if names are known.

    Raises:
        ValueError: if there is no such class, or for a name where no names are known.
    """
    if names is None:
        if isinstance(label, str):
            raise ValueError(f"the names of the classes are not known here, so no class {label!r}; give its number")
        return label
    if label in names:
        return list(names).index(str(label))
    if isinstance(label, int) and 0 <= label < len(names):
        return label
    near = did_you_mean(label, names) if isinstance(label, str) else ""
    raise ValueError(f"there is no class {label!r}{near or ';'} the classes are {shown(names, numbered=True)}")
