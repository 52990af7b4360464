"""Small errors planted in the mathematics, one at a time: each must be found by a test.

    python -m campaign.mutants [--number 300] [--seed 0]

A mutant is the package with one change: another operator, comparison, constant or function, or a factor left out. It is
made in memory, in a process that is forked after the tests were collected; no file is changed. The tests of its part
run, quickest first, until one fails. A mutant that survives because the changed line ran before, when the tests were
collected, is tried again in a process that imports the changed module anew.

Whoever reads the list of survivors decides which are equivalent: they compute the same.
"""

import ast
import contextlib
import copy
import importlib
import importlib.abc
import importlib.util
import io
import itertools
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from campaign.record import Record, main

ROOT = Path(__file__).resolve().parents[1]
PARTS = {
    "parameterisations": (["parameterisations.py"], ["properties", "numerics_promises"]),
    "schedules": (["schedules"], ["properties", "schedules", "numerics_promises"]),
    "denoisers": (["denoisers"], ["numerics_promises", "denoisers", "likelihood"]),
    "objectives": (["objectives"], ["stable_target", "denoisers", "training_promises"]),
    "likelihood": (["likelihood.py", "solvers.py"], ["likelihood", "samplers"]),
    "distributions": (
        ["distributions"],
        ["far_out", "properties_of_points", "distributions", "oracle", "reading", "own_distribution", "zoo", "points"],
    ),
    "metrics": (
        ["metrics"],
        ["gaussianised", "metrics", "numerics_promises", "paper_metrics", "fields", "floor_cache"],
    ),
    "samplers": (["samplers"], ["samplers", "numerics_promises", "properties", "properties_of_points"]),
}
"""What is changed, and the tests that look at it."""

SLOWEST = 2.0  # seconds of CPU time of a test that is used; slower ones are left to those who have time
PATIENCE = 30.0  # seconds of CPU time for the tests of a mutant
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


class Trials:
    """A plugin of pytest that runs the collected tests once, and then for each mutant, in forked processes."""

    def __init__(self, chosen: list[Mutant], record: Record, part: str):
        self.chosen, self.record, self.part = chosen, record, part

    def pytest_runtestloop(self, session: Any) -> bool:
        order = self.durations(session)
        self.record._show(f"{self.part}: {len(order)} of {len(session.items)} tests, {len(self.chosen)} mutants")
        for mutant in self.chosen:
            killer = self.forked(session, order, mutant)
            if killer is None:
                killer = anew(mutant, [session.items[k].nodeid for k, _ in order])
            failure = None if killer else f"{mutant.path}:{mutant.line} {mutant.what}"
            self.record.add(self.part, failure)
        return True

    def durations(self, session: Any) -> list[tuple[int, float]]:
        """The tests that pass, and are quick, with their seconds of CPU time; the quickest first."""
        reading, writing = os.pipe()
        if not os.fork():
            with os.fdopen(writing, "w") as out:
                for k, item in enumerate(session.items):
                    begun = time.process_time()
                    if passes(item):
                        out.write(f"{k} {time.process_time() - begun}\n")
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as lines:
            timed = [(int(k), float(seconds)) for k, seconds in map(str.split, lines)]
        os.wait()
        return sorted((entry for entry in timed if entry[1] < SLOWEST), key=lambda entry: entry[1])

    def forked(self, session: Any, order: list[tuple[int, float]], mutant: Mutant) -> str | None:
        """Whether the tests kill the mutant: the end of the process; None if they do not."""
        pid = os.fork()
        if not pid:
            os._exit(_fate(session, order, mutant))
        status = os.waitpid(pid, 0)[1]
        return None if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 else "killed"


def _fate(session: Any, order: list[tuple[int, float]], mutant: Mutant) -> int:
    try:
        if not plant(mutant):
            return 0
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        begun = time.process_time()
        for k, seconds in order:
            signal.setitimer(signal.ITIMER_PROF, 10.0 * seconds + 5.0)  # a mutant may never end: it is killed then
            if not passes(session.items[k]):
                return 1
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            if time.process_time() - begun > PATIENCE:
                break
        return 0
    except BaseException:
        return 1


def passes(item: Any) -> bool:
    """Run a test; whether it passed, or was skipped."""
    from _pytest.runner import runtestprotocol

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return not any(report.failed for report in runtestprotocol(item, nextitem=None, log=False))


def anew(mutant: Mutant, tests: list[str]) -> str | None:
    """Whether the tests kill a mutant that is imported anew, in a process that has not imported the package."""
    pid = os.fork()
    if not pid:
        for name in [name for name in sys.modules if name.split(".")[0] in ("toy_score", "benchmarks", "campaign")]:
            if not name.startswith("campaign"):
                del sys.modules[name]
        for name in [
            name for name in sys.modules if name.startswith("test_") or name in ("conftest", "laws", "properties")
        ]:
            del sys.modules[name]
        os._exit(_fate_anew(mutant, tests))
    status = os.waitpid(pid, 0)[1]
    return None if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 else "killed"


def _fate_anew(mutant: Mutant, tests: list[str]) -> int:
    import pytest

    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + 2 * PATIENCE),) * 2)
    sys.meta_path.insert(0, Changed(mutant))
    files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
    wanted = {test: k for k, test in enumerate(tests)}

    class Order:
        def pytest_collection_modifyitems(self, items: list[Any]) -> None:
            items[:] = sorted((i for i in items if i.nodeid in wanted), key=lambda i: wanted[i.nodeid])

        def pytest_runtestloop(self, session: Any) -> bool:
            if len(session.items) < len(wanted):  # a file of tests cannot be imported
                os._exit(1)
            begun = time.process_time()
            for item in session.items:
                if not passes(item):
                    os._exit(1)
                if time.process_time() - begun > PATIENCE:
                    break
            os._exit(0)

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        pytest.main([*OPTIONS, *files], plugins=[Order()])
    return 1  # it could not be collected


OPTIONS = ["-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no", "-q", "-W", "ignore"]


def campaign(record: Record, number: int, seed: int) -> None:
    """`number` mutants in all, drawn from all mutants of all parts."""
    import pytest

    os.chdir(ROOT)
    os.environ["TOY_SCORE_SHRINK"] = "no"
    sys.dont_write_bytecode = True
    everything = [(part, m) for part, (places, _) in PARTS.items() for path in paths(places) for m in mutants(path)]
    print(f"{len(everything)} mutants in all", flush=True)
    drawn = random.Random(seed).sample(everything, min(number, len(everything)))
    for part, (_, tests) in PARTS.items():
        if not (chosen := [m for p, m in drawn if p == part]):
            continue
        files = [f"tests/test_{name}.py" for name in tests]
        with contextlib.redirect_stderr(io.StringIO()):
            pytest.main([*OPTIONS, *files], plugins=[Trials(chosen, record, part)])


def paths(places: list[str]) -> list[str]:
    """The files of some places, relative to the package."""
    package = ROOT / "toy_score"
    files = [
        f for place in places for f in ([package / place] if place.endswith(".py") else package.glob(f"{place}/*.py"))
    ]
    return sorted(str(file.relative_to(package)) for file in files)


if __name__ == "__main__":
    main("mutants", campaign, 300, __doc__, "mutants, drawn from all")
