"""What a Lightning Trainer holds, with types: its connectors set these attributes without annotations."""

from typing import Any, cast

import lightning.pytorch as pl

from toy_score.data.base import SampleRequests, ToyDataModule

__all__ = ["TypedTrainer", "data_module", "requests_of", "typed"]


class TypedTrainer(pl.Trainer):
    """A Trainer whose attributes have types (Lightning 2.6). It is never built: see `typed`."""

    callbacks: list[pl.Callback]
    datamodule: pl.LightningDataModule | None
    fast_dev_run: int | bool
    log_every_n_steps: int
    overfit_batches: int | float


def typed(trainer: pl.Trainer) -> TypedTrainer:
    """The same trainer, for a type checker."""
    return cast(TypedTrainer, trainer)


def data_module(trainer: pl.Trainer) -> ToyDataModule | None:
    """The trainer's data module; None if it has none, or one that is not of this package."""
    data = typed(trainer).datamodule
    return data if isinstance(data, ToyDataModule) else None


def requests_of(loader: Any) -> SampleRequests:
    """The requests for samples behind `trainer.test_dataloaders` or `trainer.predict_dataloaders`.

    Raises:
        TypeError: if they are not those of a data module of this package.
    """
    requests = getattr(loader, "dataset", None)
    if not isinstance(requests, SampleRequests):
        raise TypeError(f"samples are requested by a data module of toy_score, a ToyDataModule, got {loader!r}")
    return requests
