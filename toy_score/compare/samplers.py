"""Samplers as written on the command line, and the argument of each that sets its number of evaluations."""

import ast
import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import toy_score
from toy_score.catalog import entries
from toy_score.component import Component, argument_names, from_config, to_config
from toy_score.samplers import PredictorCorrector, Sampler
from toy_score.words import did_you_mean

__all__ = ["OWN", "Written", "parse_samplers", "short", "with_steps", "work"]

OWN = "own"
"""In a list of samplers: each model's own."""

WORK = ("n_steps", "steps_per_level")
"""The arguments that set the number of evaluations; for one with a predictor, those of the predictor."""


@dataclass(frozen=True)
class Written:
    """A sampler of the list.

    Attributes:
        label: as it is written; the name of its line in figures.
        sampler: what is meant, with its defaults; None for `own`, the sampler that each model came with.
        fixed: its number of steps is written out, or its work is not a number of steps: it is evaluated once, as it is.
            Those that `own` stands for are evaluated as they are and at each number of steps.
    """

    label: str
    sampler: Sampler | None
    fixed: bool

    def at(self, n_steps: Sequence[int], own: Sequence[Sampler] = ()) -> list[Sampler]:
        """The samplers to evaluate: one for each number of steps, unless it is fixed; of `own`, those given too."""
        if self.sampler is None:
            return [*own, *(with_steps(s, n) for s in own if _work_argument(s) is not None for n in n_steps)]
        return [self.sampler] if self.fixed else [with_steps(self.sampler, n) for n in n_steps]


def parse_samplers(text: str) -> list[Written]:
    """Read `own,Heun,DDIM(eta=0.5)`: names or constructor calls, separated by commas.

    Raises:
        ValueError: for what is no such list, an unknown sampler or argument, with the nearest there is.
    """
    try:
        written = ast.parse(f"[{text}]", mode="eval").body
    except SyntaxError:
        written = None
    if not isinstance(written, ast.List):  # or more than a list, as `Heun] + [DDIM` would be
        raise ValueError(f"cannot read the samplers {text!r}; write them like Heun,DDIM(eta=0.5)")
    if not written.elts:
        raise ValueError("there is no sampler in the list; write it like Heun,DDIM(eta=0.5)")
    names = [entry.name.split("(")[0] for entry in entries("samplers")]
    return [_read(item, names) for item in written.elts]


def _read(item: ast.expr, names: list[str]) -> Written:
    label = ast.unparse(item)
    name = label.split("(")[0]
    if label == OWN:
        return Written(label, None, fixed=False)
    if name not in names and not ("." in name and issubclass(_class_named(name) or object, Sampler)):
        raise ValueError(f"there is no sampler {name!r}{did_you_mean(name, names)}; `list samplers` tells them")
    config = _config(item)
    try:
        sampler = from_config(config, Sampler, name)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{label}: {error}") from None
    if sampler.evaluations_per_step == 0:
        raise ValueError(f"{name} leaves all work to a corrector; write PredictorCorrector(predictor={name})")
    return Written(label, sampler, fixed=_work_argument(sampler) is None or _says_work(config))


def _config(node: ast.expr) -> Any:
    """What is written, as `to_config` would describe it: only the arguments that are there, by name."""
    if not isinstance(node, (ast.Name, ast.Attribute, ast.Call)):
        try:
            return ast.literal_eval(node)
        except ValueError:
            raise ValueError(f"cannot read {ast.unparse(node)!r} in the samplers; write a number or a call") from None
    name = ast.unparse(node.func if isinstance(node, ast.Call) else node)
    cls = _class_named(name)
    if cls is None:
        raise ValueError(f"there is no {name!r}{did_you_mean(name, toy_score.__all__)}")
    known, arguments = argument_names(cls), {}
    if isinstance(node, ast.Call):
        arguments = dict(zip(known, node.args, strict=False)) | {k.arg or "**": k.value for k in node.keywords}
    for argument in arguments:
        if argument not in known:
            raise ValueError(
                f"{name} has no argument {argument!r}{did_you_mean(str(argument), known)}; it has {', '.join(known)}"
            )
    path = name if "." in name else f"toy_score.{name}"
    return {"class_path": path, "init_args": {k: _config(v) for k, v in arguments.items()}}


def _class_named(name: str) -> type[Component] | None:
    """A public class of toy_score, or `module.Class` of a module that was imported; None if there is none."""
    module, _, last = name.rpartition(".")
    cls = getattr(sys.modules.get(module), last, None) if module else getattr(toy_score, name, None)
    return cls if isinstance(cls, type) and issubclass(cls, Component) else None


def _says_work(config: dict[str, Any]) -> bool:
    arguments = config["init_args"]
    return bool(set(WORK) & set(arguments)) or ("predictor" in arguments and _says_work(arguments["predictor"]))


def work(sampler: Sampler) -> int | None:
    """How much work a sampler does: the value of that argument; None if it leaves it to the schedule or has none."""
    if isinstance(sampler, PredictorCorrector):
        return work(sampler.predictor)
    return getattr(sampler, _work_argument(sampler) or "", None)


def with_steps(sampler: Sampler, n: int) -> Sampler:
    """The same sampler doing other work.

    Raises:
        ValueError: for a sampler whose work is not a number.
    """
    arguments: dict[str, Any] = {name: getattr(sampler, name) for name in argument_names(type(sampler))}
    if isinstance(sampler, PredictorCorrector):
        return type(sampler)(**{**arguments, "predictor": with_steps(sampler.predictor, n)})
    name = _work_argument(sampler)
    if name is None:
        raise ValueError(f"{type(sampler).__name__} takes no number of steps; choose one with {' or '.join(WORK)}")
    return type(sampler)(**{**arguments, name: n})


def _work_argument(sampler: Sampler) -> str | None:
    if isinstance(sampler, PredictorCorrector):
        return _work_argument(sampler.predictor)
    return next((name for name in WORK if name in argument_names(type(sampler))), None)


def short(value: Any) -> str:
    """A component as its constructor call, with the arguments that are not the defaults, and the one for the work."""
    if not isinstance(value, Component):
        return repr(value)
    defaults = {p.name: p.default for p in inspect.signature(type(value)).parameters.values()}
    shown = [
        name
        for name in argument_names(type(value))
        if name in WORK or to_config(getattr(value, name)) != _plain(defaults.get(name))
    ]
    return f"{type(value).__name__}({', '.join(f'{name}={short(getattr(value, name))}' for name in shown)})"


def _plain(default: Any) -> Any:
    return None if default is inspect.Parameter.empty else to_config(default)
