"""What there is to choose from, read off the source without importing it, so that `list` answers at once."""

import ast
import functools
import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import toy_score

__all__ = ["KINDS", "Argument", "Entry", "arguments", "config_file", "configs_folder", "entries"]

ROOT = Path(__file__).parent
ROOMS = (
    "backbones",
    "callbacks",
    "couplings",
    "data",
    "distributions",
    "modules",
    "objectives",
    "parameterisations",
    "posteriors",
    "samplers",
    "schedules",
)
"""Where the classes are whose arguments `--help` explains."""

KINDS: dict[str, tuple[str, str] | None] = {
    "distributions": ("Distribution", "distributions"),
    "samplers": ("Sampler", "samplers"),
    "schedules": ("Schedule", "schedules"),
    "modules": ("ScoreModule", "modules"),
    "configs": None,
    "grids": ("Grid", "samplers"),
    "objectives": ("Loss", "objectives"),
    "parameterisations": ("Parameterisation", "parameterisations"),
    "rules": ("PosteriorRule", "posteriors"),
    "couplings": ("Coupling", "couplings"),
    "backbones": ("Backbone", "backbones"),
    "runs": None,
}
"""For each kind, the base class and the room of its subclasses; configs and runs are files."""


class Entry(NamedTuple):
    """A thing to choose: how it is written, and what it is, in a line."""

    name: str
    summary: str


class Argument(NamedTuple):
    """An argument of a constructor: its name, its default as it is written, None if there is none, and what it is."""

    name: str
    default: str | None
    about: str


def entries(kind: str, own: Sequence[str] = ()) -> list[Entry]:
    """All there is of a kind, by name: the public classes that can be built, the configs, or the runs.

    Args:
        kind: one of `KINDS`.
        own: modules of the user's that are imported; what they define of the kind comes last.
    """
    if kind == "configs":
        return [Entry(_config_name(path), _first_comment(path)) for path in sorted(configs_folder().rglob("*.yaml"))]
    if kind == "runs":
        from toy_score.runs import LAST, runs

        return [Entry(str(run), "" if (run / LAST).is_file() else "without a checkpoint") for run in runs()]
    place = KINDS[kind]
    if place is None:
        raise ValueError(f"{kind} are not classes")
    root, modules = place[0], {m: _defined(Path(f)) for m in own if (f := getattr(sys.modules[m], "__file__", None))}
    classes = {**_classes(place[1]), **{name: node for defined in modules.values() for name, node in defined.items()}}
    bases = {name: {_base_name(base) for base in node.bases} for name, node in classes.items()}

    def is_subclass(name: str) -> bool:
        return any(base == root or (base in classes and is_subclass(base)) for base in bases[name])

    concrete = (set(classes) - set().union(*bases.values())) | (set(classes) & set(toy_score.__all__))
    known, where = {**_all_classes(), **classes}, {name: f"{m}." for m, defined in modules.items() for name in defined}
    chosen = [name for name in sorted(concrete) if is_subclass(name) and not name.startswith("_")]
    chosen.sort(key=where.__contains__)
    return [Entry(where.get(name, "") + _call(classes[name], known), _summary(classes[name])) for name in chosen]


def arguments(name: str, classes: Mapping[str, ast.ClassDef] | None = None) -> list[Argument]:
    """The arguments of a class in order, those that it hands to its base last.

    Args:
        name: of the class.
        classes: those that there are, by name; the public ones of the package if None.

    Raises:
        KeyError: if there is no such class.
    """
    classes = _all_classes() if classes is None else classes
    node = classes[name]
    of = next((ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg == "of"), None)
    if of is not None:  # the data module of a distribution
        return [*arguments(of, classes), *arguments(_base_name(node.bases[0]), classes)]
    about, init = _abouts(node), _constructor(node)
    if init is None:
        own = [Argument(ast.unparse(f.target), ast.unparse(f.value) if f.value else None, "") for f in _fields(node)]
        handed_on = True
    else:
        names = [a.arg for a in init.args.args[1:]]
        defaults = [None] * (len(names) - len(init.args.defaults)) + [ast.unparse(d) for d in init.args.defaults]
        own = [Argument(name, default, "") for name, default in zip(names, defaults, strict=True)]
        handed_on = init.args.kwarg is not None
    bases = [_base_name(base) for base in node.bases]
    of_bases = [a for base in bases if base in classes for a in arguments(base, classes)]
    inherited = of_bases if handed_on else []
    texts = {a.name: a.about for a in of_bases} | about
    own = [a._replace(about=texts.get(a.name, "")) for a in own]
    inherited = [a for a in inherited if a.name not in {mine.name for mine in own}]
    return inherited + own if init is None else own + inherited  # a dataclass has the fields of its base first


@functools.cache
def _classes(place: str) -> dict[str, ast.ClassDef]:
    """The classes of a room, by name."""
    files = sorted((ROOT / place).rglob("*.py")) if (ROOT / place).is_dir() else [(ROOT / place).with_suffix(".py")]
    return {name: node for file in files for name, node in _defined(file).items()}


def _defined(file: Path) -> dict[str, ast.ClassDef]:
    """The classes that a file defines, by name."""
    nodes = ast.parse(file.read_text(encoding="utf-8")).body
    return {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}


@functools.cache
def _all_classes() -> dict[str, ast.ClassDef]:
    return {name: node for room in ROOMS for name, node in _classes(room).items()}


def _constructor(node: ast.ClassDef) -> ast.FunctionDef | None:
    return next((f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"), None)


def _fields(node: ast.ClassDef) -> list[ast.AnnAssign]:
    """The fields of a dataclass that are arguments."""
    fields = [f for f in node.body if isinstance(f, ast.AnnAssign)] if node.decorator_list else []
    return [
        f for f in fields if ast.unparse(f.target)[0] != "_" and not ast.unparse(f.annotation).startswith("ClassVar")
    ]


def _summary(node: ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")


def _abouts(node: ast.ClassDef) -> dict[str, str]:
    """What the section `Args:` of a docstring says of each argument."""
    found: dict[str, str] = {}
    text = inspect.cleandoc(ast.get_docstring(node) or "").partition("Args:\n")[2].split("\n\n")[0]
    name = ""
    for line in text.splitlines():
        if line.startswith("    ") and line[4:5].strip():
            name, _, about = line.strip().partition(": ")
            found[name] = about
        elif name:
            found[name] += f" {line.strip()}"
    return found


def configs_folder() -> Path:
    """Where the configs are: beside the package in a checkout, inside it when installed."""
    installed = ROOT / "configs"
    return installed if installed.is_dir() else ROOT.parent / "configs"


def config_file(name: str) -> Path | None:
    """The file that `--config name` means: a path, or the name of a config that comes with the package."""
    if Path(name).is_file():
        return Path(name)
    shipped = configs_folder() / Path(name.removeprefix("configs/")).with_suffix(".yaml")
    return shipped if shipped.is_file() else None


def _config_name(path: Path) -> str:
    return path.relative_to(configs_folder()).with_suffix("").as_posix()


def _first_comment(path: Path) -> str:
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def _base_name(base: ast.expr) -> str:
    """`Sampler` of `Sampler` and of `Sampler[Memory]`."""
    return _base_name(base.value) if isinstance(base, ast.Subscript) else ast.unparse(base)


def _call(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> str:
    """`Heun(n_steps=18, grid=Karras())`: the constructor with its defaults, without what it hands on by `**kwargs`."""
    own = arguments(node.name, classes)
    if (init := _constructor(node)) is not None:
        own = own[: len(init.args.args) - 1]
    return f"{node.name}({', '.join(a.name if a.default is None else f'{a.name}={a.default}' for a in own)})"
