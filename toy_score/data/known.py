"""What is known of the data, as one object that does not change."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor

from toy_score.distributions import Distribution, LinearObservation, Points
from toy_score.standardisation import Standardisation

__all__ = ["Batch", "KnownData"]


class Batch(NamedTuple):
    """A batch: points `x`, `(n, 2)`, and their class labels, `(n,)` integers, or conditions, `(n, d)`, if any."""

    x: Tensor
    labels: Tensor | None = None


@dataclass(frozen=True, eq=False)
class KnownData:
    """What is known of the data, in the units of the model. A data module makes it, for the module to keep.

    Attributes:
        distribution: the exact distribution; the training points, as `Points`, where only points are known.
        held_out: points that are not trained on; None where the exact distribution is known.
        training: the fixed set that is trained on; None if points are drawn anew for every batch.
        standardisation: from the units of the data to those of the model; None if they are the same.
        source: the name of the data module, for messages.
    """

    distribution: Distribution
    held_out: Points | None = None
    training: Batch | None = None
    standardisation: Standardisation | None = None
    source: str = ""

    @property
    def exact(self) -> Distribution | None:
        """The exact distribution; None where only points are known."""
        return None if isinstance(self.distribution, Points) else self.distribution

    @property
    def reference(self) -> Distribution | None:
        """What samples are compared with: the exact distribution, or else the points that were held out."""
        return self.held_out if self.exact is None else self.exact

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes, class k being entry k; None if the points have no classes."""
        return tuple(self.distribution.mode_weights) if self.distribution.n_labels else None

    @property
    def training_points(self) -> Points | None:
        """The fixed set that is trained on, without labels; None if there is none."""
        return None if self.training is None else Points(self.training.x)

    def after(self, observation: LinearObservation) -> "KnownData":
        """What is known of the points given an observation of them, in the units of the model.

        Raises:
            ValueError: where only points are known, of which too few fit the observation.
        """
        if self.exact is None:
            raise ValueError(
                f"the exact posterior is known for exact distributions only, not for the points of {self.source}; "
                "leave out --model.observation, or sample with predict"
            )
        return replace(self, distribution=self.exact.posterior(observation), training=None)

    def of_class(self, label: int | Sequence[float]) -> "KnownData":
        """What is known of one class, or given a condition; no point is trained on with exactly that.

        Raises:
            ValueError: if there is no such class or condition, or if the training points come without labels.
        """
        training = None if isinstance(label, Sequence) else self.training
        if training is not None:
            if training.labels is None:
                raise ValueError(f"the training points of class {label} are not known; add --data.labels true")
            rows = training.labels == label
            training = Batch(training.x[rows], training.labels[rows])
        distribution, held_out = self.distribution.conditioned_on(label), self.held_out
        if held_out is not None:
            try:
                held_out = held_out.conditioned_on(label)
            except ValueError as error:
                raise ValueError(f"{error} and held out; raise --data.held_out") from None
        return replace(self, distribution=distribution, held_out=held_out, training=training)
