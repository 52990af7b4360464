"""The page: one file of HTML, style, JavaScript and numbers, which needs nothing else."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from toy_score.compare.contestants import Contestant, distinct
from toy_score.component import to_config
from toy_score.distributions import Checkerboard, Distribution, EightGaussians, Heart, Moons, Rings, SplitNormal
from toy_score.play.export import GRIDS, SAMPLERS, describe, export_distribution, export_network, export_schedule
from toy_score.samplers import RungeKutta4, Sampler
from toy_score.schedules import EDM, Schedule
from toy_score.version import __version__

__all__ = ["mathematics", "page"]

FOLDER = Path(__file__).parent
DENOISERS = ("networks.js", "observations.js")
MATHEMATICS = ("special.js", "distributions.js", "schedules.js", *DENOISERS, "samplers.js", "measure.js")
DRAWING = ("state.js", "view.js", "motion.js", "app.js", "controls.js")

GALLERY = (Heart(), SplitNormal(), EightGaussians(), Moons(), Rings(), Checkerboard())
"""What can be looked at beside the data of the runs."""

N_POINTS = 500
"""Points of the cloud."""

OWN_POINTS: dict[str, Any] = {"label": "your own points", "family": "points", "bounds": 4.0}


def page(models: Sequence[Contestant], start: Distribution | None = None) -> str:
    """The page as text.

    Args:
        models: the networks, with their distributions.
        start: the distribution to begin with where there is no network; the heart if None.

    Raises:
        ValueError: for a network or a distribution that the page cannot compute.
    """
    own = [m.distribution for m in models] or [Heart() if start is None else start]
    shown = distinct([*own, *GALLERY])
    distributions = [{**export_distribution(p), "schedule": export_schedule(wide(p.bounds))} for p in shown]
    distributions.append({**OWN_POINTS, "schedule": export_schedule(wide(OWN_POINTS["bounds"]))})
    networks = [{"name": m.name, "data": shown.index(m.distribution), **export_network(m.denoiser)} for m in models]
    samplers, first = _samplers(models)
    steps = {label: _steps(described) for label, described in samplers.items()}
    numbers = {
        "distributions": distributions,
        "networks": networks,
        "samplers": samplers,
        "steps": steps,
        "grids": {cls.__name__: to_config(cls()) for cls in GRIDS},
        "points": N_POINTS,
        "start": {"data": 0, "network": 0 if models else -1, "sampler": first, "steps": steps[first]},
    }
    name = own[0].name.replace("_", " ")
    if models:
        heading = f"A diffusion model of the {name}, to play with"
        lead = "Noise hides the data; the arrows show the way back, as a network learned it and as it exactly is."
    else:
        heading = f"Diffusion of the {name}, to play with"
        lead = "Noise hides the data; the arrows show the exact way back at every noise level, without a network."
    return Template((FOLDER / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(heading),
        heading=escape(heading),
        lead=escape(lead),
        points=N_POINTS,
        about=escape(f"Made with toy_score {__version__}."),
        page=json.dumps(numbers).replace("</", "<\\/"),
        script=mathematics() + "\n" + _script(DRAWING),
    )


def mathematics() -> str:
    """The part of the JavaScript that computes, and knows no browser."""
    return _script(MATHEMATICS)


def wide(bounds: float) -> Schedule:
    """The schedule without a network: from a fraction of the finest detail to far above the size of the data."""
    return EDM(sigma_min=bounds / 250.0, sigma_max=100.0 * bounds)


def _samplers(models: Sequence[Contestant]) -> tuple[dict[str, Any], str]:
    """The samplers by label, and the label of the first model's own; RungeKutta4 where the page has not that one."""
    labelled = {_label(sampler, m): sampler for m in models for sampler in m.own if type(sampler) in SAMPLERS}
    for model in models:
        for sampler in model.own:
            if type(sampler) not in SAMPLERS:
                print(f"the page has no sampler {type(sampler).__name__}, that of {model.name}; choose another there")
    first = next(iter(labelled), RungeKutta4.__name__)
    labelled |= {cls.__name__: cls() for cls in SAMPLERS}
    return {label: describe(sampler, SAMPLERS, "sampler") for label, sampler in labelled.items()}, first


def _label(sampler: Sampler, model: Contestant) -> str:
    name = type(sampler).__name__
    return name if sampler == type(sampler)() else f"{name} of {model.name}"


def _steps(described: dict[str, Any]) -> int:
    """The number of steps that a sampler takes; that of a chain if it leaves it to the schedule."""
    arguments = described["init_args"]
    return arguments.get("steps_per_level") or arguments.get("n_steps") or Schedule.n_steps


def _script(names: Sequence[str]) -> str:
    return "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names)
