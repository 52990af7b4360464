"""The mutants of a file: the module with one change in its mathematics, made in memory.

Another operator, comparison, constant or function, or a factor left out. Defaults of settings are choices, and are left
as they are; so are messages and types.
"""

import ast
import copy
import importlib
import importlib.abc
import importlib.util
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

__all__ = ["Changed", "Mutant", "mutants", "plant"]

ROOT = Path(__file__).resolve().parents[1]
IGNORED_KEYWORDS = ("dim", "dtype", "device", "keepdim", "strict", "compare", "repr", "init", "default", "prec")


@dataclass(frozen=True)
class Mutant:
    """One change of a file.

    Attributes:
        path: of the file, relative to the package.
        line: its number.
        what: the change, as it is shown.
        place: the function it is in, `Class.method` or `function`; None outside of functions.
        number: of the change, among those of the file.
    """

    path: str
    line: int
    what: str
    place: str | None
    number: int

    @property
    def key(self) -> str:
        """Which mutant it is, as long as its file is not changed."""
        return f"{self.path} {self.number}"

    @property
    def shown(self) -> str:
        """Where it is and what it does."""
        return f"{self.path}:{self.line} {self.what}"

    def code(self) -> Any:
        """The compiled code of the changed module."""
        tree, file = _parsed(self.path), str(ROOT / "toy_score" / self.path)
        parent, field, index, other = next(itertools.islice(_changes_of(tree), self.number, None))[:4]
        value = getattr(parent, field)
        if isinstance(value, list):
            value[index] = other
        else:
            setattr(parent, field, other)
        return compile(ast.fix_missing_locations(tree), file, "exec")


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Other expressions in the place of one, each with a name for the change."""
    if isinstance(node, ast.BinOp):
        swapped = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult}
        if type(node.op) in swapped:
            yield "operator", ast.BinOp(node.left, swapped[type(node.op)](), node.right)
        if isinstance(node.op, ast.Mult):
            yield "factor left out", node.right
            yield "factor left out", node.left
        if isinstance(node.op, ast.Add | ast.Sub):
            yield "term left out", node.left
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        other = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq}
        turned = {ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt}
        for table in (other, turned):
            if type(node.ops[0]) in table:
                yield "comparison", ast.Compare(node.left, [table[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield "constant", ast.Constant(node.value + 1 if type(node.value) is int else node.value * 2 or 1.0)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield "sign left out", node.operand
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        pairs = ("sin cos", "amin amax", "any all", "mean sum", "erf erfc", "argmin argmax", "floor ceil", "min max")
        pairs += ("cosh sinh", "var std", "exp expm1", "log log1p", "sqrt square", "randn rand", "i0e i1e")
        for pair in pairs:
            one, two = pair.split()
            if node.func.attr in (one, two):
                func = ast.Attribute(node.func.value, two if node.func.attr == one else one, ast.Load())
                yield "function", ast.Call(func, node.args, node.keywords)
        if node.func.attr == "exp" and node.args:
            yield "sign of exp", ast.Call(node.func, [ast.UnaryOp(ast.USub(), node.args[0])], node.keywords)
        for k, keyword in enumerate(node.keywords):
            if keyword.arg in ("min", "max") and node.func.attr == "clamp":
                yield "clamp left out", ast.Call(node.func, node.args, node.keywords[:k] + node.keywords[k + 1 :])
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "and, or", ast.BoolOp(other, node.values)
    elif isinstance(node, ast.IfExp):
        yield "branches exchanged", ast.IfExp(node.test, node.orelse, node.body)


def sites(
    tree: ast.AST, place: tuple[str, ...] = (), function: bool = False
) -> Iterator[tuple[ast.AST, str, int, Any]]:
    """The expressions that can be changed: (parent, field, index, place).

    Defaults of settings are choices, and are left as they are; so are messages and types.
    """
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        if (isinstance(tree, ast.AnnAssign) and not function) or (
            isinstance(tree, ast.FunctionDef) and field == "args"
        ):
            continue
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr | ast.Raise | ast.Assert):
                continue
            if isinstance(child, ast.keyword) and child.arg in IGNORED_KEYWORDS:
                continue
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                named = place if function else (*place, child.name)
                yield from sites(child, named, function or isinstance(child, ast.FunctionDef))
                continue
            yield tree, field, index, ".".join(place) if function else None
            yield from sites(child, place, function)


def _parsed(path: str) -> ast.Module:
    return ast.parse((ROOT / "toy_score" / path).read_text(encoding="utf-8"))


def _changes_of(tree: ast.Module) -> Iterator[tuple[ast.AST, str, int, ast.AST, str, int, str | None]]:
    """(parent, field, index, other expression, how it is shown, line, place) of all changes of a module."""
    for parent, field, index, place in sites(tree):
        value = getattr(parent, field)
        node = value[index] if isinstance(value, list) else value
        for what, other in changes(node):
            changed = ast.copy_location(copy.deepcopy(other), node)
            shown = f"{what}: {ast.unparse(node)} -> {ast.unparse(ast.fix_missing_locations(changed))}"
            yield parent, field, index, changed, shown, node.lineno, place


def mutants(path: str) -> list[Mutant]:
    """All mutants of a file of the package."""
    return [Mutant(path, line, what, place, k) for k, (*_, what, line, place) in enumerate(_changes_of(_parsed(path)))]


def plant(mutant: Mutant) -> bool:
    """Exchange the code of the changed function in the imported module; False if that is not possible."""
    if mutant.place is None:
        return False
    module = importlib.import_module(_module_name(mutant.path))
    code = mutant.code()
    owner: Any = module
    *classes, name = mutant.place.split(".")
    for part in classes:
        owner = vars(owner)[part]
    for part in (*classes, name):
        code = next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == part)
    function = vars(owner)[name]
    for wrapper in ("fget", "func", "__func__", "__wrapped__"):
        function = getattr(function, wrapper, None) or function
    if not isinstance(function, FunctionType) or len(function.__code__.co_freevars) != len(code.co_freevars):
        return False
    function.__code__ = code
    return True


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the changed module in the place of its file."""

    def __init__(self, mutant: Mutant):
        self.mutant, self.name = mutant, _module_name(mutant.path)

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self.name:
            return None
        file = ROOT / "toy_score" / self.mutant.path
        submodules = [str(file.parent)] if file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(name, file, loader=self, submodule_search_locations=submodules)

    def exec_module(self, module: ModuleType) -> None:
        exec(self.mutant.code(), vars(module))


def _module_name(path: str) -> str:
    return ".".join(("toy_score", *Path(path).with_suffix("").parts)).removesuffix(".__init__")
