"""Writing samples to a file while they are made, so that an interrupted command can be given again and goes on."""

import csv
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from toy_score.callbacks.pictures import animation, standardised
from toy_score.component import to_config
from toy_score.data import SampleRequest, data_module, requests_of
from toy_score.files import digest, replacing
from toy_score.modules import ScoreModule, score_module
from toy_score.requests import chunk_size
from toy_score.seeds import seed_of

__all__ = ["SampleWriter"]

FORMATS = (".npy", ".npz", ".csv", ".gif", ".png")
N_PATHS = 64  # trajectories are for looking at
N_MOVING = 1000
ROW = 2 * np.dtype(np.float32).itemsize


class SampleWriter(BasePredictionWriter):
    """Streams the samples of `predict` to a file, in constant memory; the file is complete or absent.

    While they are made, the samples are in `PATH.part`, and `PATH.part.state` holds their settings and which chunks are
    there. The same command goes on from there, also after a kill; which processes made which chunk does not
    matter. After SIGTERM it stops at the end of a chunk, after Ctrl-C at once.

    Args:
        path: `.npy`, a float32 array `(n, 2)`; `.csv`, with the columns of the file that was trained on, or
            `x,y`; or `.npz`, with `samples` and, for the
            first 64 of them, `trajectory` `(m, 64, 2)` and its noise levels `ratio` `(m,)`; or `.gif`, the animation of
            at most 1000 of them on their way, with the field that leads them; or `.png`, a picture of the samples.
        overwrite: replace an existing file, and what an interrupted command with other settings left.
        ckpt_path: the checkpoint of the model, whose content is one of the settings.

    Raises:
        FileExistsError: if the file exists and must not be replaced.
        ValueError: for another ending, or if there are samples of other settings to go on from.
        OSError: if the file cannot be written; nothing is sampled then.
    """

    def __init__(self, path: str, overwrite: bool = False, ckpt_path: str | None = None):
        super().__init__("batch")
        self.path, self.overwrite, self.ckpt_path = Path(path), overwrite, ckpt_path
        if self.path.suffix not in FORMATS:
            raise ValueError(f"cannot write {path!r}: the name must end in {', '.join(FORMATS)}")
        if self.path.is_dir():
            raise IsADirectoryError(f"{path!r} is a folder; choose another --output")
        if self.path.exists() and not overwrite:
            raise FileExistsError(f"{path!r} exists; choose another --output or add --overwrite")
        self._part = self.path.with_name(self.path.name + ".part")
        self._state = self.path.with_name(self.path.name + ".part.state")

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Look for an interrupted command's samples, and ask the data module only for those that are missing."""
        data = data_module(trainer)
        if data is None:
            raise TypeError(
                "SampleWriter writes the samples that a data module of toy_score requests; give the trainer one"
            )
        if self.path.suffix == ".gif" and score_module(pl_module).denoiser.source is not None:
            raise ValueError(
                f"{str(self.path)!r}: animations begin with Gaussian noise, samples of a bridge at points of a source; "
                "choose .png, or .npz for the trajectories"
            )
        self._n_samples, device = data.n_samples, trainer.strategy.root_device
        self._settings = {
            "n_samples": data.n_samples,
            "seed": data.sample_seed,
            "checkpoint": digest(self.ckpt_path),
            "model or sampler": to_config(pl_module),
            "device": device.type,  # each kind has random numbers and chunks of its own
        }
        self._chunk = chunk_size(data.n_samples, device)
        self._n_chunks = -(-data.n_samples // self._chunk)
        head, done = self._left_behind()
        differing = self._differing(head) if done else ""
        if differing and not self.overwrite:
            raise ValueError(
                f"{str(self._part)!r} was begun with another {differing}; repeat that command to go on, "
                f"or add --overwrite to begin anew"
            )
        self._done = [] if differing else done
        # Where all chunks are there but not yet the file, the last one is made again: the trainer must have work.
        data.skip(self._done[: self._n_chunks - 1])

    def _left_behind(self) -> tuple[bytes, list[int]]:
        """What an interrupted command left: its settings, and the numbers of the chunks that are there."""
        if not (self._part.exists() and self._state.exists()):
            return b"", []
        head, _, marks = self._state.read_bytes().partition(b"\n")
        return head, [i for i, mark in enumerate(marks) if mark == ord("x")]

    def _differing(self, head: bytes) -> str:
        try:
            begun = json.loads(head)
            return ", ".join(key for key, value in self._settings.items() if begun.get(key) != value)
        except (ValueError, AttributeError):
            return "version of toy_score"

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            if self._done:
                share = len(self._done) / self._n_chunks
                print(f"going on with {str(self._part)!r}, of which {share:.0%} is there", flush=True)
            else:
                self._create(self._n_samples)
        trainer.strategy.barrier()
        self._lost = 0
        self._file, self._marks = open(self._part, "r+b"), open(self._state, "r+b")  # noqa: SIM115  closed at the end
        self._marks_at = len(self._marks.readline())
        np.lib.format.read_magic(self._file)
        np.lib.format.read_array_header_1_0(self._file)
        self._rows_at = self._file.tell()

    def _create(self, n: int) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": (n, 2)}
        try:
            self._state.unlink(missing_ok=True)  # first: rows that are not there must not be said to be
            with open(self._part, "wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                file.truncate(file.tell() + n * ROW)
            self._state.write_bytes(json.dumps(self._settings).encode() + b"\n" + b"." * self._n_chunks)
        except OSError as error:
            there = self.path.parent.is_dir()
            why = error.strerror if there else f"there is no folder {str(self.path.parent)!r}"
            raise OSError(f"cannot write {str(self.path)!r}: {why}; choose another --output") from None

    def write_on_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        prediction: dict[str, Any],
        batch_indices: Any,
        batch: SampleRequest,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        # Not a memory map: the pages of one count as memory of the process, all of them in the end.
        rows = prediction["samples"].float().cpu().numpy()
        lost = int((~np.isfinite(rows)).any(axis=1).sum())
        if lost == len(rows):
            raise ValueError(
                f"no sample is finite: {score_module(pl_module).sampler!r} diverges, or the weights are nan; "
                "take smaller steps"
            )
        self._lost += lost
        try:
            self._file.seek(self._rows_at + batch.first * ROW)
            self._file.write(rows.tobytes())
            self._file.flush()
            os.fsync(self._file.fileno())  # the rows are there before they are said to be
            self._marks.seek(self._marks_at + batch.first // self._chunk)
            self._marks.write(b"x")
            self._marks.flush()
        except OSError as error:
            raise OSError(f"cannot write {str(self._part)!r}: {error.strerror or error}") from error
        if trainer.received_sigterm:  # Lightning's loops of training and test look at it, that of prediction does not
            raise SIGTERMException

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()
        if self._lost:
            print(f"{self._lost} samples are not finite", flush=True)
        trainer.strategy.barrier()
        if not trainer.is_global_zero:
            return
        if self.path.suffix == ".npy":
            self._state.unlink(missing_ok=True)
            os.replace(self._part, self.path)
            return
        samples, model = np.load(self._part, mmap_mode="r"), score_module(pl_module)
        seed = requests_of(trainer.predict_dataloaders).seeds[0]
        with replacing(self.path) as file:
            if self.path.suffix == ".csv":
                file.write(header_of(model).encode("utf-8"))
                np.savetxt(file, samples, "%.8g", ",")
            elif self.path.suffix == ".npz":
                paths = model.trajectory(min(N_PATHS, len(samples)), seed)
                trajectory, ratio = paths.x.cpu().numpy(), paths.ratio.numpy()
                np.savez_compressed(file, samples=samples, trajectory=trajectory, ratio=ratio)
            elif self.path.suffix == ".png":
                from toy_score.plotting import to_png

                file.write(to_png(model.picture_of(torch.from_numpy(np.array(samples)))))
            else:
                file.write(self._animation(model, min(N_MOVING, len(samples)), seed))
            file.flush()
            os.fsync(file.fileno())
            del samples  # a system such as Windows removes no file that is mapped
            self._forget()  # before the file takes its place: the same command is refused then, and would leave these

    def _animation(self, model: ScoreModule, n: int, seed: int) -> bytes:
        exact = model.reference_denoiser
        target = None if exact is None and model.observation is not None else model.target
        p = None if target is None else target.distribution
        real = None if p is None else p.sample(n, torch.Generator().manual_seed(seed_of("pictured points")))
        title = model.name if p is None else f"{model.name} on the {p.name.replace('_', ' ')}"
        if model.standardisation is not None:
            title += standardised(model.standardisation)
        generator = torch.Generator(model.device).manual_seed(seed)
        observation = model.observation_in_units
        return animation(
            model.sampler, model.sampling_denoiser, generator, title, exact, real, n=n, observation=observation
        )

    @rank_zero_only
    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if not self._left_behind()[1]:
            self._forget()
        elif isinstance(exception, KeyboardInterrupt | SIGTERMException):
            print(f"{str(self._part)!r} keeps what is done; the same command goes on from there", flush=True)

    def _close(self) -> None:
        self._file.close()
        self._marks.close()

    def _forget(self) -> None:
        self._state.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)


def header_of(model: ScoreModule) -> str:
    """The first line of a table of the model's samples: the names of its columns."""
    columns = ("x", "y") if model.standardisation is None else model.standardisation.columns
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(" ".join(name.split()) for name in columns)
    return re.sub("^(#[^,]*)", r'"\1"', line.getvalue())  # a line that begins with # would be a comment
