r"""The classifier two-sample test: can a network tell the samples from exact ones (Lopez-Paz & Oquab 2017)?

As in the benchmark of simulation-based inference (Lueckmann et al. 2021, appendix): as many exact points as samples are
drawn; both are standardised by the mean and the standard deviation of the exact ones; a perceptron with two hidden
layers of `10 d = 20` rectified units is trained on four fifths of them with Adam, batches of 200, rate 0.001 and weight
decay 0.0001, until the training loss has not fallen by 0.0001 for more than ten epochs; the share of the last fifth
that it gets right is averaged over the five fifths. 0.5 is chance, 1 a perfect distinction.
"""

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from toy_score.distributions import Distribution, Points
from toy_score.metrics.base import FirstPoints
from toy_score.seeds import seed_of

__all__ = ["C2ST"]

FOLDS, UNITS, BATCH, RATE, DECAY = 5, 20, 200, 1e-3, 1e-4
PATIENCE, TOLERANCE, EPOCHS = 10, 1e-4, 1000


class C2ST(FirstPoints):
    """The accuracy of a classifier between samples and exact points, a scalar in [0, 1]; 0.5 for exact samples.

    Sees whatever a small network can learn from so many points; its scatter is 0.35 to 0.5 over `sqrt(n)`. Of exact
    samples it may be a little below 0.5: the folds of the benchmark are not balanced, and a class that is the larger in
    the four that train is the smaller in the fifth. A value takes one or two seconds, more where the samples differ; so
    `test` measures it where a condition is given, and with `--classifier`.

    Args:
        distribution: the truth.
        n_points: how many samples it looks at, in [2, max_points]; the benchmark has 10 000.
        seed: of the exact points, the weights and the order of the points.
    """

    label = "C2ST"
    is_slow = True

    def __init__(self, distribution: Distribution, n_points: int = 10_000, seed: int = 0, **kwargs: Any):
        super().__init__(distribution, n_points, **kwargs)
        self.seed = seed

    @classmethod
    def applies_to(cls, distribution: Distribution) -> bool:
        return not isinstance(distribution, Points)  # whose samples repeat

    def compute(self) -> Tensor:
        """The accuracy; nan before the fifth sample."""
        x = self.kept()
        if len(x) < FOLDS:
            return x.new_tensor(math.nan)
        x = _in_order(x.cpu())  # the same, whatever the order in which processes hand them over
        exact = self.distribution.sample(len(x), torch.Generator().manual_seed(seed_of("exact points", self.seed)))
        return torch.tensor(accuracy(x, exact.double(), self.seed), device=self.device)


def _in_order(x: Tensor) -> Tensor:
    """The points `(n, 2)`, sorted by their first coordinate, then by their second."""
    by_second = x[x[:, 1].argsort()]
    return by_second[by_second[:, 0].argsort(stable=True)]


def accuracy(x: Tensor, exact: Tensor, seed: int = 0) -> float:
    """The accuracy of the classifier between points `(n, 2)` and as many exact ones, as at the top of this file."""
    generator = torch.Generator().manual_seed(seed_of("classifier", seed))
    points = torch.cat([exact, x])
    points = ((points - exact.mean(dim=0)) / exact.std(dim=0)).float()
    labels = torch.cat([torch.zeros(len(exact)), torch.ones(len(x))])
    order = torch.randperm(len(points), generator=generator)
    size = len(points) // FOLDS
    folds = order[: size * FOLDS].view(FOLDS, size)
    training = torch.stack([torch.cat([*folds[:k], *folds[k + 1 :]]) for k in range(FOLDS)])  # [folds, 4 size]
    weights = _trained(points[training], labels[training], generator)
    with torch.no_grad():
        right = (_logits(weights, points[folds]) > 0) == (labels[folds] > 0.5)
    return right.double().mean().item()


def _trained(x: Tensor, y: Tensor, generator: torch.Generator) -> list[Tensor]:
    """The weights of a network for each fold, of points `(folds, n, d)` and labels `(folds, n)`; all in one pass."""
    widths = [x.shape[2], UNITS, UNITS, 1]
    weights: list[Tensor] = []
    for a, b in itertools.pairwise(widths):
        bound = math.sqrt(6.0 / (a + b))  # Glorot & Bengio 2010
        for shape in ((len(x), a, b), (len(x), 1, b)):
            weights.append((bound * (2.0 * torch.rand(shape, generator=generator) - 1.0)).requires_grad_())
    optimizer = torch.optim.Adam(weights, lr=RATE, fused=True)
    best, kept = torch.full((len(x),), math.inf), [w.detach().clone() for w in weights]
    waited, running = torch.zeros(len(x)), torch.ones(len(x), dtype=torch.bool)
    with torch.enable_grad():
        for _ in range(EPOCHS):
            total, order = torch.zeros(len(x)), torch.randperm(x.shape[1], generator=generator)
            for rows in order.split(BATCH):
                losses = torch.nn.functional.binary_cross_entropy_with_logits(
                    _logits(weights, x[:, rows]), y[:, rows], reduction="none"
                ).mean(dim=1)
                decay = sum(w.square().sum(dim=(1, 2)) for w in weights[::2])
                optimizer.zero_grad()
                (losses + 0.5 * DECAY / len(rows) * decay).sum().backward()
                optimizer.step()
                total += losses.detach() * len(rows) / x.shape[1]
            waited = torch.where(total < best - TOLERANCE, 0.0, waited + 1.0)
            best = torch.minimum(best, total)
            for w, k in zip(weights, kept, strict=True):  # a fold that has stopped keeps its weights
                k[running] = w.detach()[running]
            running = running & (waited <= PATIENCE)
            if not running.any():
                break
    return kept


def _logits(weights: list[Tensor], x: Tensor) -> Tensor:
    """The networks' outputs, `(folds, n)`, for points `(folds, n, d)`."""
    for W, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = torch.relu(torch.baddbmm(b, x, W))
    return torch.baddbmm(weights[-1], x, weights[-2])[:, :, 0]
