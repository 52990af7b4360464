"""Points to train on, and requests for samples.

Which points batch k of a run holds is a pure function of (`data_seed`, k). Training can therefore be interrupted and
resumed, or split over processes, without a change in what it sees. The points live on the model's device and a batch
is one indexing operation: for networks this small, a loader with worker processes and collation costs more than the
training step itself.
"""

import inspect
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from toy_score.component import Described
from toy_score.data.known import Batch, KnownData
from toy_score.distributions import Distribution
from toy_score.requests import CPU, SampleRequest, chunk_size, draw_seeds, sample_requests
from toy_score.seeds import seed_of
from toy_score.standardisation import Standardisation

__all__ = ["ToyDataModule"]


class ToyDataModule(Described, pl.LightningDataModule):
    """Points of a distribution for `fit`, requests for samples for `predict` and `test`.

    A subclass sets `distribution`, which is exact. `class HeartDataModule(ToyDataModule, of=Heart)` does so:
    such a class has the arguments of the distribution, then those below.

    Args:
        n_train: points in an epoch, >= 1.
        fresh: draw new points for every batch, so that no finite set can be memorised; otherwise `n_train` points are
            drawn once and shuffled anew for every epoch.
        batch_size: points per step, >= 1; the last batch of an epoch over a fixed set is the smaller remainder.
        steps_at_once: optimizer steps per Lightning batch, >= 1. Grouping amortises Lightning's overhead, which costs
            as much as a step of networks of this size.
        labels: give the points with their class labels, for a network with class conditioning (`backbone.n_labels`),
            or with the conditions that are observed with them (`backbone.n_conditions`).
        n_val: points of the validation set, >= 1.
        n_samples: how many samples `predict` asks for, and `test` measures at a time, >= 1.
        repeats: how many times `test` draws them, each with a seed of its own, >= 1: at the noise floor a single
            draw may be lucky or unlucky by half the floor.
        data_seed: seed of the points.
        sample_seed: seed of the samples.

    Raises:
        ValueError: if a number is below 1, or if labels are wanted of a distribution without labels or conditions.
    """

    distribution: Distribution

    def __init_subclass__(cls, of: type[Distribution] | None = None, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if of is not None:
            cls.__init__ = _constructor(of)  # type: ignore[method-assign]  # the constructor that a class statement asks for

    def __init__(
        self,
        n_train: int = 1_024_000,
        fresh: bool = True,
        batch_size: int = 1024,
        steps_at_once: int = 10,
        labels: bool = False,
        n_val: int = 4096,
        n_samples: int = 20_000,
        repeats: int = 4,
        data_seed: int = 0,
        sample_seed: int = 0,
    ):
        super().__init__()
        for name, value in {
            "n_train": n_train,
            "batch_size": batch_size,
            "steps_at_once": steps_at_once,
            "n_val": n_val,
            "n_samples": n_samples,
            "repeats": repeats,
        }.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.n_train, self.fresh, self.batch_size, self.n_val = n_train, fresh, batch_size, n_val
        self.steps_at_once, self.labels = steps_at_once, labels
        self.n_samples, self.repeats = n_samples, repeats
        self.data_seed, self.sample_seed = data_seed, sample_seed
        self._skipped: set[int] = set()
        self._known: KnownData | None = None
        self._points: Batch | None = None
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    def known(self, standardisation: Standardisation | None = None) -> KnownData | None:
        """What is known of the data, made when it is first asked for; None before a file of points is read.

        Args:
            standardisation: of the model, where it has one already; points in a file are handed to it in these units.
        """
        if self._known is None or standardisation not in (None, self._known.standardisation):
            self._known, self._points = self._describe(standardisation), None
        return self._known

    def _known_data(self) -> KnownData:
        """What is known of the data.

        Raises:
            RuntimeError: before a file of points is read.
        """
        known = self.known()
        if known is None:
            raise RuntimeError(f"{type(self).__name__} has not read its points; call setup() first")
        return known

    def _describe(self, standardisation: Standardisation | None) -> KnownData | None:
        """What is known of the data, in the units of a model; only points of a file can be in any."""
        training = None if self.fresh else self._draw(self.n_train, "training points", 0, torch.device("cpu"))
        return KnownData(self.distribution, training=training, source=type(self).__name__)

    def _draw(self, n: int, purpose: str, number: int, device: torch.device) -> Batch:
        # Drawn on the CPU, so that a run on a GPU sees the same points.
        generator = torch.Generator().manual_seed(seed_of(purpose, self.data_seed, number))
        if self.labels and not self.distribution.n_labels and not self.distribution.n_conditions:
            raise ValueError(f"{self.distribution!r} has no labels; leave out --data.labels")
        x, labels = self.distribution.sample_labelled(n, generator)
        if not x.isfinite().all():
            row = int((~x.isfinite()).any(dim=-1).nonzero()[0])
            raise ValueError(f"point {row} of the data is {x[row].tolist()}; remove or repair it")
        return Batch(x.to(device, non_blocking=True), labels.to(device, non_blocking=True) if self.labels else None)

    def validation_points(self) -> Batch:
        """The points on which the loss is validated, never trained on."""
        return self._draw(self.n_val, "validation points", 0, torch.device("cpu"))

    @property
    def batches_per_epoch(self) -> int:
        return math.ceil(self.n_train / self.batch_size)

    def batch(self, k: int, device: torch.device | str = "cpu") -> Batch:
        """Batch `k` of the run, counted from 0 over all epochs: `batch_size` points, a pure function of `k`."""
        device = torch.device(device)
        training = None if self.fresh else self._known_data().training
        if training is None:
            return self._draw(self.batch_size, "training points", k, device)
        epoch, number = divmod(k, self.batches_per_epoch)
        if self._points is None or self._points.x.device != device:
            x, labels = training
            self._points = Batch(x.to(device), labels if labels is None else labels.to(device))
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(seed_of("order of training points", self.data_seed, epoch))
            self._order = epoch, torch.randperm(self.n_train, generator=generator).to(device)
        rows = self._order[1][number * self.batch_size : (number + 1) * self.batch_size]
        x, labels = self._points
        return Batch(x[rows], labels if labels is None else labels[rows])

    def train_dataloader(self) -> "BatchLoader":
        trainer = self.trainer
        if trainer is None:
            return BatchLoader(self.batch, self.batches_per_epoch, self.steps_at_once)
        rank, world = trainer.global_rank, trainer.world_size
        device = trainer.strategy.root_device

        def batch(k: int) -> Batch:
            return self.batch(k * world + rank, device)

        per_epoch = math.ceil(self.batches_per_epoch / world)
        # Lightning restores a loader's state only within an epoch; the number of steps done is always right.
        return BatchLoader(batch, per_epoch, self.steps_at_once, trainer.max_steps, trainer.global_step)

    def val_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(_One(self.validation_points()), batch_size=1, collate_fn=_only)

    def test_dataloader(self) -> DataLoader[SampleRequest]:
        return self._requests(self.n_samples, self.repeats)

    def predict_dataloader(self) -> DataLoader[SampleRequest]:
        return self._requests(self.n_samples, 1)

    def _requests(self, n: int, repeats: int) -> DataLoader[SampleRequest]:
        device = CPU if self.trainer is None else self.trainer.strategy.root_device
        requests = SampleRequests(n, draw_seeds(self.sample_seed, repeats), self._skipped, device)
        return DataLoader(requests, batch_size=1, collate_fn=_only)

    def skip(self, chunks: Collection[int]) -> None:
        """Do not ask for these chunks of samples, by their numbers, since an interrupted command has made them."""
        self._skipped = set(chunks)


def _constructor(of: type[Distribution]) -> Callable[..., None]:
    """`__init__` of the data module of a distribution, with a signature that says all arguments there are."""
    own = dict(inspect.signature(of).parameters)
    common = list(inspect.signature(ToyDataModule.__init__).parameters.values())
    if clash := own.keys() & {p.name for p in common}:
        raise TypeError(
            f"{of.__name__} and ToyDataModule both have an argument {min(clash)!r}; rename that of the first"
        )
    signature = inspect.Signature([common[0], *own.values(), *common[1:]])

    def __init__(*args: Any, **kwargs: Any) -> None:  # noqa: N807
        arguments = signature.bind(*args, **kwargs).arguments
        self = arguments.pop("self")
        distribution = of(**{name: arguments.pop(name) for name in own if name in arguments})
        ToyDataModule.__init__(self, **arguments)
        self.distribution = distribution
        for name in own:  # every constructor argument is an attribute
            setattr(self, name, getattr(distribution, name))

    __init__.__signature__ = signature  # type: ignore[attr-defined]  # functions have no annotated `__signature__`
    __init__.__doc__ = of.__doc__  # what `--data.help` says of each
    return __init__


class BatchLoader:
    """Endless batches from batch `first` on, an epoch at a time in groups; it remembers where it stands.

    Groups end with the epoch, and with batch `stop`, after which the run has as many steps as it was asked for.
    """

    def __init__(
        self, batch: Callable[[int], Batch], batches_per_epoch: int, at_once: int, stop: int = -1, first: int = 0
    ):
        self._batch, self._per_epoch, self._at_once, self._stop = batch, batches_per_epoch, at_once, stop
        self._next = first

    def __len__(self) -> int:
        return math.ceil(self._per_epoch / self._at_once)

    def __iter__(self) -> Iterator[list[Batch]]:
        while True:
            left = self._per_epoch - self._next % self._per_epoch
            if self._stop > self._next:
                left = min(left, self._stop - self._next)
            group = range(self._next, self._next + min(self._at_once, left))
            self._next = group.stop
            yield [self._batch(k) for k in group]
            if self._next % self._per_epoch == 0:
                return

    def state_dict(self) -> dict[str, Any]:
        return {"next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._next = state["next"]


class SampleRequests(Dataset[SampleRequest]):
    """`total` samples of each seed in chunks for a device, but for the chunks that are `done`, by their numbers."""

    def __init__(self, total: int, seeds: Sequence[int], done: Collection[int] = (), device: torch.device = CPU):
        self.total, self.seeds = total, list(seeds)
        chunk = chunk_size(total, device)
        requests = sample_requests(total, seeds, device)
        self._left = [request for request in requests if request.first // chunk not in done]

    def __len__(self) -> int:
        return len(self._left)

    def __getitem__(self, i: int) -> SampleRequest:
        return self._left[i]


class _One(Dataset[Any]):
    """A data set of a single item."""

    def __init__(self, item: Any):
        self.item = item

    def __len__(self) -> int:
        return 1

    def __getitem__(self, i: int) -> Any:
        return self.item


def _only(items: list[Any]) -> Any:
    return items[0]
