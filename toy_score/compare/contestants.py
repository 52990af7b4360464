r"""What is compared: the models, and the exact denoisers that serve as references.

A model's samples have errors from three sources: its network, the sampler's steps, and the prior of its schedule. The
exact denoiser *on the model's own schedule*, with the same sampler and the same noise, has the last two only: it is the
reference line of the model. The exact denoiser on a wide schedule, whose prior has no visible error, has the error of
the steps only. It shows the cost of the model's schedule. It is not a bound: with few steps, a narrower schedule can be
better.
"""

import glob
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from toy_score.compare.samplers import OWN, Written
from toy_score.component import check_config, from_config
from toy_score.data import ToyDataModule
from toy_score.denoisers import Denoiser, ExactDenoiser
from toy_score.distributions import Distribution
from toy_score.evaluation.doctor import DETAIL_KL, detail_kl
from toy_score.files import digest
from toy_score.flow_maps import ExactFlowMap, FlowMap
from toy_score.modules import ScoreModule, read_checkpoint
from toy_score.runs import checkpoint_file
from toy_score.samplers import AnnealedLangevin, Langevin, Sampler
from toy_score.schedules import LinearFlow, Schedule

__all__ = ["NETWORK", "OWN_SCHEDULE", "WIDE", "Cell", "Contestant", "cells", "line_up", "load_models"]

Item = TypeVar("Item")

NETWORK, OWN_SCHEDULE, WIDE = "network", "exact, own schedule", "exact, wide schedule"
"""The kinds of contestants."""

MAP_TOLERANCE = 1e-5  # of exact flow maps: errors of samples of about 1e-4


@dataclass(frozen=True)
class Contestant:
    """A denoiser in the comparison, trained or exact.

    Attributes:
        name: for tables and figures; unique for a distribution.
        kind: `NETWORK`, `OWN_SCHEDULE` or `WIDE`.
        denoiser: it, with its schedule.
        distribution: the truth.
        own: the samplers that came with the model, or with the models whose reference this is, in their order.
        digest: of the checkpoint's contents.
        training: what determined the weights besides the seeds, as text; models that agree in it are trainings of one
            model.
    """

    name: str
    kind: str
    denoiser: Denoiser
    distribution: Distribution
    own: tuple[Sampler, ...] = ()
    digest: str = ""
    training: str = ""

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule


@dataclass(frozen=True)
class Cell:
    """One entry of the grid: a contestant with a sampler.

    Attributes:
        label: of the sampler in the list: cells of one label make a line in the figures.
        own: whether it is the sampler that the model came with.
    """

    contestant: Contestant
    sampler: Sampler
    label: str
    own: bool

    @property
    def key(self) -> str:
        """What identifies the cell in a comparison."""
        return f"{self.contestant.name} on {self.contestant.distribution!r} by {self.sampler!r}"


def load_models(words: Sequence[str], device: str) -> list[Contestant]:
    """The models that the words name: checkpoints, folders of runs, or patterns.

    Raises:
        FileNotFoundError, ValueError: if one is not there, cannot be read, or has no known truth.
    """
    paths = checkpoint_paths(words)
    return [_load(path, name, device, paths) for path, name in zip(paths, unique_names(paths), strict=True)]


def _load(path: Path, name: str, device: str, paths: Sequence[Path]) -> Contestant:
    checkpoint = read_checkpoint(path)
    config: Any = checkpoint.get("hyper_parameters")
    data = checkpoint.get("datamodule_hyper_parameters")
    check_config(config, ScoreModule, "model")
    known = from_config(data, ToyDataModule, "data").known() if data else None
    if known is None:
        raise ValueError(f"the truth of the data of {str(path)!r} is not known: there is nothing to compare it with")
    guide = (config.get("init_args") or {}).get("guide")  # opened only if it is one of the models that the user names
    named = guide is not None and Path(guide).resolve() in {other.resolve() for other in paths}
    arguments = {"guide": guide} if named else {}
    model = ScoreModule.load_from_checkpoint(path, map_location=device, **arguments).to(device)
    if model.denoiser.source is not None:
        raise ValueError(
            f"compare and play take models that remove Gaussian noise; {str(path)!r} is a {model.name} from "
            f"{model.denoiser.source!r}: measure it with test"
        )
    known = known if model.told is None else known.of_class(model.told)
    observation = model.observation_in_units
    truth = (known if observation is None else known.after(observation)).distribution
    training = _training(checkpoint)
    return Contestant(name, NETWORK, model.sampling_denoiser, truth, (model.sampler,), digest(path), training)


def _training(checkpoint: dict[str, Any]) -> str:
    """Settings, length and averaging of a training, without its seeds."""
    described = [checkpoint["hyper_parameters"], checkpoint["datamodule_hyper_parameters"]]
    settings: list[Any] = [
        {name: value for name, value in (part.get("init_args") or {}).items() if not name.endswith("_seed")}
        for part in described
    ]
    average = (checkpoint.get("callbacks") or {}).get("EMA") or {}
    settings += [part["class_path"] for part in described]
    settings += [checkpoint.get("global_step"), average.get("decay"), average.get("every_n_steps")]
    return json.dumps(settings, sort_keys=True)


def checkpoint_paths(words: Sequence[str]) -> list[Path]:
    """The checkpoints that the words name, each once: a file, `RUN/checkpoints/last.ckpt` of a folder, a pattern.

    A run without a checkpoint is skipped, which is printed.

    Raises:
        FileNotFoundError: if nothing fits a pattern, if there is no such file, or if no run has a checkpoint.
    """
    found: dict[Path, Path] = {}
    for word in words:
        fitting = [word] if not glob.has_magic(word) or Path(word).exists() else sorted(glob.glob(word))
        if not fitting:
            raise FileNotFoundError(f"nothing fits {word!r}; name checkpoints or folders of runs")
        for name in fitting:
            try:
                path = checkpoint_file(name)
            except FileNotFoundError as error:
                if not Path(name).is_dir():
                    raise
                print(f"skipped: {error}")
                continue
            found.setdefault(path.resolve(), path)
    if not found:
        raise FileNotFoundError("none of the runs has a checkpoint; train one with fit")
    return list(found.values())


def unique_names(paths: Sequence[Path]) -> list[str]:
    """`ncsn_heart v0` for `ncsn_heart/version_0/checkpoints/last.ckpt`, the file's own name elsewhere; numbered if
    two are alike."""
    names: list[str] = []
    for path in (p.resolve() for p in paths):
        run = path.parent.parent
        in_run = path.parent.name == "checkpoints" and run.name.startswith("version_")
        name = f"{run.parent.name} v{run.name.removeprefix('version_')}" if in_run else path.stem
        same = sum(other.split(" #")[0] == name for other in names)
        names.append(f"{name} #{same + 1}" if same else name)
    return names


def line_up(models: Sequence[Contestant]) -> list[Contestant]:
    """All contestants of each distribution: the models, the exact denoiser on their schedules, and on a wide one."""
    found: list[Contestant] = []
    for distribution in distinct(m.distribution for m in models):
        alike = [m for m in models if m.distribution == distribution]
        found += alike
        for schedule in distinct(m.schedule for m in alike):
            its = [m for m in alike if m.schedule == schedule]
            own = tuple(distinct(sampler for m in its for sampler in m.own))
            name = f"exact, schedule of {', '.join(m.name for m in its)}"
            found.append(Contestant(name, OWN_SCHEDULE, _exact(distribution, schedule, its), distribution, own))
        exact = _exact(distribution, wide_schedule(distribution), alike)
        found.append(Contestant(WIDE, WIDE, exact, distribution, tuple(distinct(s for m in alike for s in m.own))))
    return found


def _exact(distribution: Distribution, schedule: Schedule, models: Sequence[Contestant]) -> ExactDenoiser:
    """The exact denoiser, with the exact flow map if one of the models is a flow map."""
    if any(isinstance(model.denoiser, FlowMap) for model in models):
        return ExactFlowMap(distribution, schedule, MAP_TOLERANCE)
    return ExactDenoiser(distribution, schedule)


def wide_schedule(distribution: Distribution) -> Schedule:
    """A schedule without visible errors: its prior is the distribution of the noised data, and its lowest level blurs
    no detail.

    From a fiftieth of the data's standard deviation, or less if they have finer detail, to 450 times as much.
    """
    scale = distribution.reference(8192).var(dim=0).mean().sqrt().item()
    low, high = 0.02 * scale, 450.0 * scale
    while low > 1e-4 * scale and detail_kl(distribution, low, 2048) > DETAIL_KL:
        low /= 2.0
    return LinearFlow(float(f"{low:.2g}"), float(f"{high:.2g}"))


def cells(contestants: Iterable[Contestant], samplers: Sequence[Written], n_steps: Sequence[int]) -> list[Cell]:
    """The grid, every cell once, without those of a sampler that cannot use the denoiser.

    Raises:
        ValueError: for a cell that would diverge, or a sampler that can use none of the denoisers.
    """
    found: dict[str, Cell] = {}
    refused: dict[str, str] = {}
    for contestant in contestants:
        for written in samplers:
            for sampler in written.at(n_steps, contestant.own):
                try:
                    sampler.check(contestant.denoiser)
                except ValueError as error:
                    refused[written.label] = str(error)
                    continue
                cell = Cell(contestant, sampler, written.label, sampler in contestant.own)
                try:
                    check(cell)
                except ValueError:
                    if contestant.kind == WIDE and written.label == OWN:  # its levels are not those the sampler is for
                        continue
                    raise
                if cell.key in found and found[cell.key].label == OWN:  # rather a point of a line than one alone
                    del found[cell.key]
                found.setdefault(cell.key, cell)
    labels = {cell.label for cell in found.values()}
    if useless := next((why for label, why in refused.items() if label not in labels), None):
        raise ValueError(useless)
    return list(found.values())


def check(cell: Cell) -> None:
    """Refuse Langevin steps that diverge on a schedule.

    Raises:
        ValueError: for such a cell.
    """
    sampler, schedule = cell.sampler, cell.contestant.schedule
    if isinstance(sampler, (AnnealedLangevin, Langevin)):
        low = getattr(sampler, "sigma", None) or schedule.ratios[0]
        if sampler.eps >= 4.0 * low**2:
            raise ValueError(
                f"{cell.label} diverges for {cell.contestant.name}: at noise level {low:.3g} Langevin steps are stable "
                f"below {4.0 * low**2:.2g}, and eps = {sampler.eps:g}; write {type(sampler).__name__}(eps={low**2:.2g})"
            )


def distinct(items: Iterable[Item]) -> list[Item]:
    """The items, without repetitions, in order; they need only know when they are equal."""
    found: list[Item] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found
