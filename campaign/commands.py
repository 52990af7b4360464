"""The commands that the campaigns interrupt and starve: what they write, and when two results are the same.

A command is small, so that it takes a second. Its pictures are a single pixel and its noise floors come from few
samples: what is written, and in which order, is not changed by that.
"""

import functools
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from campaign.children import Ended, run
from toy_score.modules import read_checkpoint

__all__ = ["COMPARE", "FIT", "PREDICT", "Command", "brief", "left_over", "same"]

RUN = "lightning_logs/default/version_0"
MODEL = "--model EDMModule --model.sampler.n_steps 2 --model.backbone.hidden [16] "
MODEL += "--data HeartDataModule --data.n_val 64 --data.batch_size 256"
LENGTH = "--trainer.max_steps 80 --trainer.val_check_interval 40 --checkpoint.every_n_steps 10"
PICTURES = "--pictures.frames 0 --pictures.n_samples 50 --pictures.every_n_steps 50 --pictures.sigmas [1]"
HERE = "--trainer.accelerator cpu"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a49444154789c63f80f00010101005a4d6df10000000049454e44ae426082"
)  # a picture of one white pixel


def brief() -> None:
    """In a process of its own: pictures of one pixel, animations of three frames, floors from two draws, no doctor."""
    from matplotlib.figure import Figure

    import toy_score.callbacks.samples as samples
    import toy_score.compare.grid as grid
    from toy_score import plotting
    from toy_score.modules import ScoreModule

    for name in ("samples", "trajectories", "vector_field", "summary", "score_errors", "comparison"):
        setattr(plotting, name, lambda *_, **__: Figure())
    Figure.savefig = lambda figure, file, **_: file.write(PIXEL)  # type: ignore[assignment,method-assign]
    samples.animation = functools.partial(samples.animation, frames=3)
    grid.noise_floors = functools.partial(grid.noise_floors, draws=2)
    ScoreModule.doctor = lambda model, *_: []  # type: ignore[method-assign]


@dataclass(frozen=True)
class Command:
    """A command whose result is known.

    Attributes:
        name: for tables.
        words: its command line.
        results: what it writes, relative to its folder: files, and folders with all that is in them.
        again: the command that goes on after an interruption, given the folder; the same one by default.
    """

    name: str
    words: str
    results: tuple[str, ...]
    again: Callable[[Path], str] | None = None

    def argv(self, folder: Path) -> list[str]:
        """The words with which it starts, or goes on, in a folder."""
        return (self.again(folder) if self.again else self.words).split()


def _continued(folder: Path) -> str:
    """The command that continues a run, or starts it if it has no checkpoint."""
    if (folder / RUN / "checkpoints/last.ckpt").exists():
        return f"fit --config {RUN}/config.yaml --ckpt_path {RUN}"
    return FIT.words


FIT = Command("fit", f"fit {MODEL} {LENGTH} {PICTURES} {HERE}", ("lightning_logs",), _continued)
PREDICT = {
    ending: Command(
        f"predict, {ending}", f"predict --ckpt_path {RUN} --output x.{ending} --n_samples 9000 {HERE}", (f"x.{ending}",)
    )
    for ending in ("npy", "csv", "npz", "gif")
}
COMPARE = Command(
    "compare", f"compare {RUN} --output D --n_samples 100 --seeds 1 --samplers Euler --n_steps 1,2", ("D",)
)


class Reference:
    """A folder in which all commands ran without interruption, and new folders with the same run in them.

    Use it as a context; everything is removed at its end.
    """

    def __enter__(self) -> "Reference":
        self._all = tempfile.TemporaryDirectory()
        self.folder = Path(self._all.name) / "reference"
        self.folder.mkdir()
        self.finish(FIT)
        return self

    def __exit__(self, *_: object) -> None:
        self._all.cleanup()

    def finish(self, command: Command) -> None:
        """Run a command in the folder of the reference, unless that was done before.

        Raises:
            RuntimeError: if it fails.
        """
        if not (self.folder / command.results[0]).exists():
            ended = run(self.folder, *command.words.split(), prepare=brief)
            if ended.code:
                raise RuntimeError(f"{command.name}: {ended.tells}")

    def new(self, command: Command) -> Path:
        """An empty folder, with the finished run in it if the command is not the one that makes it."""
        folder = Path(tempfile.mkdtemp(dir=self._all.name))
        if command is not FIT:
            self.finish(command)
            shutil.copytree(self.folder / "lightning_logs", folder / "lightning_logs")
        return folder

    def differences(self, command: Command, folder: Path) -> str | None:
        """What is not as after an uninterrupted command: another result, or something left over; None if all is."""
        if command is FIT:
            runs = sorted((folder / "lightning_logs/default").glob("version_*"))
            last = runs[-1] / "checkpoints/last.ckpt"
            if not same(read(self.folder / RUN / "checkpoints/last.ckpt"), read(last)):
                return "the resumed run is another one"
        else:
            for name in files(self.folder / command.results[0]):
                if not (folder / command.results[0] / name).is_file():
                    return f"there is no {command.results[0]}/{name}"
            for name in files(folder / command.results[0]):
                here, there = folder / command.results[0] / name, self.folder / command.results[0] / name
                if not there.is_file() or not same(read(there), read(here)):
                    return f"{command.results[0]}/{name} is another one"
        return f"left over: {', '.join(stray)}" if (stray := left_over(folder)) else None


def files(path: Path) -> list[str]:
    """The files in a folder, relative to it; of a file, only itself, `.`."""
    return ["."] if path.is_file() else sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())


TEMPORARY = (".new", ".part", ".state", ".lock", ".tmp")


def left_over(folder: Path) -> list[str]:
    """Temporary files that are still there, but for the unfinished file of a run that was killed.

    Nobody writes into the folder of a run that has ended, so the `.new` of its checkpoint or its `config.yaml` stays
    where a kill left it; nothing reads it.
    """
    stray = [name for name in files(folder) if name.endswith(TEMPORARY)]
    return [name for name in stray if not (name.startswith("lightning_logs/") and name.endswith(".new"))]


def read(path: Path) -> Any:
    """The contents of a result that must be the same each time."""
    if path.suffix == ".ckpt":
        content = read_checkpoint(path)
        return {key: content[key] for key in ("global_step", "state_dict", "optimizer_states", "current_model_state")}
    if path.suffix == ".npz":
        return dict(np.load(path))
    if path.parent.name == "D":  # a comparison: figures and date apart, and times
        if path.name != "results.json":
            return None
        content = json.loads(path.read_text())
        cells = [{k: v for k, v in cell.items() if k != "seconds"} for cell in content["cells"]]
        return {"settings": content["settings"], "floors": content["floors"], "cells": cells}
    return path.read_bytes()


def same(a: Any, b: Any) -> bool:
    """Whether two contents are the same, bit for bit."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    return bool(a == b)


def whole(reference: Reference, command: Command, folder: Path) -> str | None:
    """What is wrong with the files that an interrupted command left: each must be complete or absent."""
    if command is FIT:
        for path in folder.rglob("last.ckpt"):
            try:
                read_checkpoint(path)
            except ValueError as error:
                return str(error)
        return None
    result = folder / command.results[0]
    if command is COMPARE:
        final = result / "results.json"
        ok = not final.exists() or same(read(final), read(reference.folder / "D/results.json"))
    else:
        ok = not result.exists() or same(read(result), read(reference.folder / command.results[0]))
    return None if ok else f"{command.results[0]} is neither whole nor absent"


def resumed(reference: Reference, command: Command, folder: Path) -> tuple[str | None, Ended]:
    """Give an interrupted command again; what is wrong then, and how it ended."""
    ended = run(folder, *command.argv(folder), prepare=brief)
    over = "is at step" in ended.err if command is FIT else "exists; choose another" in ended.err
    if ended.code and not (ended.refused and over):
        return f"it does not go on: {ended.tells}", ended
    return reference.differences(command, folder), ended
