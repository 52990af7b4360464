"""Writing samples to a file while they are made."""

import os
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.callbacks import BasePredictionWriter
from numpy.lib.format import open_memmap

__all__ = ["SampleWriter"]

FORMATS = (".npy", ".npz", ".csv")
N_PATHS = 64  # trajectories are for looking at


class SampleWriter(BasePredictionWriter):
    """Streams the samples of `predict` to a file, in constant memory; the file is complete or absent.

    Args:
        path: `.npy`, a float32 array `(n, 2)`; `.csv`, with the header `x,y`; or `.npz`, with `samples` and, for the
            first 64 of them, `trajectory` `(m, 64, 2)` and its noise levels `ratio` `(m,)`.
        overwrite: replace an existing file.

    Raises:
        FileExistsError: if the file exists and must not be replaced.
        ValueError: for another ending.
        OSError: if the file cannot be written; nothing is sampled then.
    """

    def __init__(self, path: str, overwrite: bool = False):
        super().__init__("batch")
        self.path, self.overwrite = Path(path), overwrite
        if self.path.suffix not in FORMATS:
            raise ValueError(f"cannot write {path!r}: the name must end in {', '.join(FORMATS)}")
        if self.path.exists() and not overwrite:
            raise FileExistsError(f"{path!r} exists; choose another --output or add --overwrite true")
        self._part = self.path.with_name(self.path.name + ".part")

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        requests = trainer.predict_dataloaders.dataset
        if trainer.is_global_zero:
            try:
                open_memmap(self._part, "w+", np.float32, (requests.total, 2)).flush()
            except OSError as error:
                raise OSError(f"cannot write {str(self.path)!r}: {error.strerror}; choose another --output") from None
        trainer.strategy.barrier()
        self._samples = open_memmap(self._part, "r+")

    def write_on_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        prediction: dict[str, Any],
        batch_indices: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        x = prediction["samples"].float().cpu().numpy()
        self._samples[prediction["first"] : prediction["first"] + len(x)] = x

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._samples.flush()
        trainer.strategy.barrier()
        if not trainer.is_global_zero:
            return
        if self.path.suffix == ".csv":
            self._replace_part(lambda f: np.savetxt(f, self._samples, "%.8g", ",", header="x,y", comments=""))
        elif self.path.suffix == ".npz":
            requests = trainer.predict_dataloaders.dataset
            paths = pl_module.trajectory(min(N_PATHS, requests.total), requests.seeds[0])
            arrays = {"trajectory": paths.x.cpu().numpy(), "ratio": paths.ratio.numpy()}
            self._replace_part(lambda f: np.savez_compressed(f, samples=self._samples, **arrays))
        os.replace(self._part, self.path)

    def _replace_part(self, write: Any) -> None:
        other = self._part.with_suffix(".tmp")
        with open(other, "wb") as file:
            write(file)
        os.replace(other, self._part)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if trainer.is_global_zero:
            self._part.unlink(missing_ok=True)
