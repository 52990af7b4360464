"""A step before the run: settings that do not fit each other are refused before the run has a folder."""

import torch

from toy_score.data import ToyDataModule
from toy_score.modules.base import ScoreModule
from toy_score.seeds import seed_of

__all__ = ["rehearse"]

ROWS = 64


def rehearse(model: ScoreModule, data: ToyDataModule) -> None:
    """Take a step of the training with a few points, on copies of the weights; the model stays as it is.

    Data, labels, network, objective, pairs and optimizer meet here for the first time, and what they refuse is refused
    in the same words as in the run itself.

    Args:
        model: takes the names of the classes and the standardisation from the data.
        data: whose points have been read.

    Raises:
        ValueError: if they do not fit each other.
    """
    known = model.data = data.known(model.standardisation)
    if known is not None:
        model.adopt(known)
        model.check_units(known)
        n, there_are = model.backbone.n_labels, known.distribution.n_labels
        if data.labels and 0 < n < there_are:
            raise ValueError(
                f"the points of {known.source} have {there_are} classes, the network knows {n}; "
                f"set --model.backbone.n_labels {there_are}"
            )
    model.check_choices()
    x0, labels = data.batch(0)
    x0, labels = x0[:ROWS].to(next(model.parameters()).dtype), None if labels is None else labels[:ROWS]
    model.loss(x0, labels, torch.Generator().manual_seed(seed_of("rehearsal")), 0).backward()
    try:
        copies = [torch.nn.Parameter(weights.detach().clone()) for weights in model.parameters()]
        for copy, weights in zip(copies, model.parameters(), strict=True):
            copy.grad = weights.grad
        model.new_optimizer(copies).step()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"--model.optimizer: {error}") from error
    model.zero_grad()
