"""What there is to choose from, read off the source without importing it, so that `list` answers at once."""

import ast
from pathlib import Path
from typing import NamedTuple

__all__ = ["KINDS", "Entry", "config_file", "configs_folder", "entries"]

ROOT = Path(__file__).parent

KINDS: dict[str, tuple[str, str] | None] = {
    "distributions": ("Distribution", "distributions"),
    "samplers": ("Sampler", "samplers"),
    "schedules": ("Schedule", "schedules"),
    "modules": ("ScoreModule", "modules"),
    "configs": None,
}
"""For each kind, the base class and where its kin live; configs are files."""


class Entry(NamedTuple):
    """A thing to choose: how it is written, and what it is, in a line."""

    name: str
    summary: str


def entries(kind: str) -> list[Entry]:
    """All there is of a kind, by name: the public classes at the ends of the family tree, or the configs."""
    where = KINDS[kind]
    if where is None:
        return [Entry(_config_name(path), _first_comment(path)) for path in sorted(configs_folder().rglob("*.yaml"))]
    root, place = where
    files = sorted((ROOT / place).glob("*.py")) if (ROOT / place).is_dir() else [ROOT / place]
    classes = {
        node.name: node
        for file in files
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    }
    bases = {name: {_base_name(base) for base in node.bases} for name, node in classes.items()}

    def is_kin(name: str) -> bool:
        return any(base == root or (base in classes and is_kin(base)) for base in bases[name])

    ends = set(classes) - set().union(*bases.values())
    chosen = [classes[name] for name in sorted(ends) if is_kin(name) and not name.startswith("_")]
    return [Entry(_call(node), (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")) for node in chosen]


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


def _call(node: ast.ClassDef) -> str:
    """`Heun(n_steps=18, grid=Karras())`: the constructor with its defaults."""
    init = next((f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"), None)
    if init is None:  # a dataclass: its fields are the arguments
        fields = [f for f in node.body if isinstance(f, ast.AnnAssign)] if node.decorator_list else []
        fields = [f for f in fields if not ast.unparse(f.annotation).startswith("ClassVar")]
        return f"{node.name}({', '.join(f'{ast.unparse(f.target)}={_default(f)}' for f in fields)})"
    names = [a.arg for a in init.args.args[1:]]
    defaults = [ast.unparse(d) for d in init.args.defaults]
    n_plain = len(names) - len(defaults)
    pairs = zip(names[n_plain:], defaults, strict=True)
    return f"{node.name}({', '.join([*names[:n_plain], *(f'{name}={default}' for name, default in pairs)])})"


def _default(field: ast.AnnAssign) -> str:
    return "..." if field.value is None else ast.unparse(field.value)
