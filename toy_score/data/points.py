"""The user's own points: a file in, samples in its units out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from toy_score.data.base import ToyDataModule
from toy_score.data.known import Batch, KnownData
from toy_score.distributions import Distribution, Points
from toy_score.distributions.reading import Table, read_table
from toy_score.requests import SampleRequest
from toy_score.seeds import seed_of
from toy_score.standardisation import Standardisation

__all__ = ["PointsDataModule"]

FEWEST = 50
N_VALIDATED = 4096  # held-out points on which the loss is validated, at most: it is worked out at ten noise levels


class PointsDataModule(ToyDataModule):
    """The points in a file; the model works in their standardised coordinates and returns samples in their units.

    A batch is drawn from the training points with replacement. The file is read when a command needs it, which
    `predict` does not: the checkpoint holds mean and scale. Once `setup` has read it, `known()` is what is known of the
    points, in the units of the model, or else standardised by the training points.

    Args:
        path: of a `.csv`, `.npy` or `.npz` file, or a picture; see `toy_score.distributions.reading`.
        held_out: share of the points that are not trained on, in (0, 1), but compared with.
        batch_size: points per step, >= 1.
        steps_at_once: how many steps the trainer is handed at a time, >= 1.
        labels: give the points with their classes, for a network with class conditioning (`backbone.n_labels`).
        n_samples: how many samples `predict` asks for, >= 1.
        data_seed: seed of the split and of the batches.
        sample_seed: seed of the samples.
        columns: names or numbers, counted from 1, of the two columns that are x and y; guessed if None.
        label_column: name or number of the column with the classes; if None, a third column, unless `columns` is given.
        group_column: name or number of a column that selects rows: those in which it is `group`.
        group: the value that selects them.

    Raises:
        ValueError: if a number is out of range; in `setup`, if there is no path, or what it leads to are not points.
    """

    def __init__(
        self,
        path: str = "",
        held_out: float = 0.1,
        batch_size: int = 1024,
        steps_at_once: int = 10,
        labels: bool = False,
        n_samples: int = 20_000,
        data_seed: int = 0,
        sample_seed: int = 0,
        columns: list[str | int] | None = None,
        label_column: str | int | None = None,
        group_column: str | int | None = None,
        group: str | int | None = None,
    ):
        super().__init__(
            batch_size=batch_size,
            steps_at_once=steps_at_once,
            labels=labels,
            n_samples=n_samples,
            data_seed=data_seed,
            sample_seed=sample_seed,
        )
        if not 0 < held_out < 1:
            raise ValueError(f"held_out is a share of the points in (0, 1), got {held_out}")
        self.path, self.held_out = path, held_out
        self.columns, self.label_column = columns, label_column
        self.group_column, self.group = group_column, group
        self._table: Table | None = None  # of an array, which is not read from a file
        self._shown = ""
        self._split: tuple[Points, Points] | None = None

    @classmethod
    def of(cls, points: Any, labels: Any = None, columns: Sequence[str] | None = None, **settings: Any) -> Self:
        """The points of an array, a tensor or a data frame instead of a file.

        Args:
            points: `(n, 2)`, finite.
            labels: the class of each point, `(n,)` whole numbers counted from 0 without gaps; none if None.
            columns: the names of x and y; those of the data frame if None.
            settings: arguments of the data module but `path` and those that choose columns and rows.

        Raises:
            ValueError: if the points are not as stated.
        """
        columns = tuple(map(str, getattr(points, "columns", ("x", "y")) if columns is None else columns))
        given = points if isinstance(points, torch.Tensor) else np.asarray(points, dtype=np.float64)
        x = torch.as_tensor(given).detach().cpu()
        if len(columns) != 2:
            raise ValueError(f"points must have two columns, x and y, got {', '.join(columns)}")
        checked = Points(x.double(), None if labels is None else torch.as_tensor(labels).cpu().long())
        module = cls(labels=labels is not None, **settings)
        module._table = Table(checked.points, checked.labels, None, (columns[0], columns[1]), "the array")
        return module

    def setup(self, stage: str = "fit") -> None:
        """Read the file, unless only samples are asked for."""
        if stage != "predict":
            self._divide(self._table or self._read())

    def _read(self) -> Table:
        if not self.path:
            raise ValueError("whose points? add --data.path my.csv (or .npy, .npz, .png, .jpg)")
        try:
            table = read_table(self.path, self.columns, self.label_column, self.group_column, self.group)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error}; --data.path says where the points are") from None
        if str(table) != self._shown:  # `fit` calls this twice
            self._shown = str(table)
            _show(table)
        return table

    def _divide(self, table: Table) -> None:
        """Into points to train on and others that are held out."""
        points = Points.read(table)
        if len(points) < FEWEST:
            raise ValueError(f"{table.source} holds {len(points)} points; at least {FEWEST} are needed")
        generator = torch.Generator().manual_seed(seed_of("held-out points", self.data_seed))
        shuffled = points.subset(len(points), generator)
        n = len(points) - max(round(self.held_out * len(points)), 1)
        self._split, self._known = (shuffled[:n], shuffled[n:]), None
        self._units = Standardisation.of(shuffled.points[:n], table.columns)

    @property
    def distribution(self) -> Distribution:  # type: ignore[override]  # read-only here, and known once the file is read
        """The training points, in the units of the model."""
        return self._known_data().distribution

    def _describe(self, standardisation: Standardisation | None) -> KnownData | None:
        if self._split is None:
            return None
        units = replace(standardisation or self._units, columns=self._units.columns)
        training, held_out = (self._standardised(part, units) for part in self._split)
        return KnownData(training, held_out, self._batch(training), units, type(self).__name__)

    def _parts(self) -> tuple[Points, Points]:
        """The training points and those that are held out, in the units of the file.

        Raises:
            RuntimeError: before `setup` has read them.
        """
        if self._split is None:
            raise RuntimeError("the points have not been read; call setup() first")
        return self._split

    def _standardised(self, part: Points, units: Standardisation) -> Points:
        names = None if part.labels is None else list(part.mode_weights)
        name = f"points of {Path(self.path).name or 'an array'}"
        return Points(units(part.points).float(), part.labels, names, name)

    def validation_points(self) -> Batch:
        held_out = self._known_data().held_out
        if held_out is None:
            raise RuntimeError("a data module of points holds some of them out")
        return self._batch(held_out[:N_VALIDATED])

    def test_dataloader(self) -> DataLoader[SampleRequest]:
        """As many samples as half of the training points at most: their floor is that of so many real points.

        If the samples are of one class, half of the points of that class.

        Raises:
            ValueError: if these are fewer than four points.
        """
        target = None if self.trainer is None else getattr(self.trainer.lightning_module, "target", None)
        real = self._parts()[0] if target is None else target.distribution
        if len(real) < 4:
            raise ValueError(
                f"{real.name}: {len(real)} training points are too few to compare samples with, 4 are needed"
            )
        return self._requests(min(self.n_samples, len(real) // 2), self.repeats)

    def _batch(self, points: Points) -> Batch:
        return Batch(points.points, points.labels if self.labels else None)


@rank_zero_only
def _show(table: Table) -> None:
    print(table, flush=True)
