"""The user's own points: a file in, samples in its units out."""

from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from toy_score.data.base import Batch, ToyDataModule
from toy_score.distributions import Points
from toy_score.distributions.reading import Table, read_table
from toy_score.seeds import seed_of
from toy_score.standardisation import Standardisation

__all__ = ["PointsDataModule"]

FEWEST = 50
N_VALIDATED = 4096  # held-out points on which the loss is validated, at most: it is worked out at ten noise levels


class PointsDataModule(ToyDataModule):
    """The points in a file; the model works in their standardised coordinates and returns samples in their units.

    A batch is drawn from the training points with replacement. The file is read when a command needs it, which
    `predict` does not: the checkpoint holds mean and scale. Besides the arguments, it has, once `setup` was called:

    - `distribution`: the training points, standardised, all that is known of the truth;
    - `held_out_points`: those that were not trained on, standardised likewise;
    - `standardisation`: the model's, if it has one already, or else that of the training points.

    Args:
        path: of a `.csv`, `.npy` or `.npz` file, or a picture; see `toy_score.distributions.reading`.
        held_out: share of the points that are not trained on, in (0, 1), but compared with.
        batch_size: points per step, >= 1.
        steps_at_once: how many steps the trainer is handed at a time, >= 1.
        labels: give the points with their classes, for a network that is told them (`backbone.n_labels`).
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

    distribution: Points

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
        self._shown = ""
        self.columns, self.label_column = columns, label_column
        self.group_column, self.group = group_column, group

    def setup(self, stage: str = "fit") -> None:
        """Read the file, unless only samples are asked for."""
        if stage == "predict":
            return
        if not self.path:
            raise ValueError("whose points? add --data.path my.csv (or .npy, .npz, .png, .jpg)")
        try:
            table = read_table(self.path, self.columns, self.label_column, self.group_column, self.group)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error}; --data.path says where the points are") from None
        if str(table) != self._shown:  # `fit` calls this twice
            self._shown = str(table)
            _show(table)
        points = Points.read(table)
        if len(points) < FEWEST:
            raise ValueError(f"{Path(self.path).name} holds {len(points)} points; at least {FEWEST} are needed")
        generator = torch.Generator().manual_seed(seed_of("held-out points", self.data_seed))
        shuffled = points.subset(len(points), generator)
        n = len(points) - max(round(self.held_out * len(points)), 1)
        model = getattr(self.trainer, "lightning_module", None)
        self.standardisation = getattr(model, "standardisation", None) or Standardisation.of(shuffled.points[:n])
        self.distribution, self.held_out_points = (self._standardised(part) for part in (shuffled[:n], shuffled[n:]))

    def _standardised(self, part: Points) -> Points:
        names = None if part.labels is None else list(part.mode_weights)
        standardised = Points(self.standardisation(part.points).float(), part.labels, names)
        standardised.name = f"points of {Path(self.path).name}"
        return standardised

    def training_points(self) -> Batch:
        return self._batch(self.distribution)

    def validation_points(self) -> Batch:
        return self._batch(self.held_out_points[:N_VALIDATED])

    def test_dataloader(self) -> DataLoader:
        """As many samples as half of the training points at most: their floor is that of so many real points."""
        return self._requests(min(self.n_samples, len(self.distribution) // 2), self.repeats)

    def _batch(self, points: Points) -> Batch:
        return Batch(points.points, points.labels if self.labels else None)


@rank_zero_only
def _show(table: Table) -> None:
    print(table, flush=True)
