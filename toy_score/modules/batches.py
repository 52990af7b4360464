"""The batches that a step is given, whatever loader they come from."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from toy_score.data import Batch
from toy_score.denoisers import NetworkDenoiser

__all__ = ["batches_of", "conditioned", "in_float32"]


@contextmanager
def in_float32() -> Iterator[None]:
    """Make new tensors float32 where Lightning makes them bfloat16 or float16, as its precision `bf16-true` does.

    Times, noise and exact answers need the digits; a network of lower precision rounds what it is given itself.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.promote_types(before, torch.float32))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def batches_of(given: Any, dtype: torch.dtype) -> list[Batch]:
    """The batches in what a loader gives, with points of this dtype.

    Args:
        given: a group of batches, as a `ToyDataModule` hands them over, or one batch as PyTorch's loaders give it:
            points `(n, 2)`, alone or in a list, or points and class labels `(n,)` or conditions `(n, d)`.

    Raises:
        ValueError: if it is neither.
    """
    if isinstance(given, list) and given and all(isinstance(batch, Batch) for batch in given):
        return [Batch(batch.x.to(dtype), batch.labels) for batch in given]
    parts = list(given) if isinstance(given, list | tuple) else [given]
    x, labels = [*parts, None, None][:2]
    if len(parts) > 2 or not _are_points(x) or not (labels is None or _are_labels(labels, len(x))):
        got = ", ".join(f"{p.dtype} {tuple(p.shape)}" if isinstance(p, Tensor) else repr(p)[:60] for p in parts)
        raise ValueError(
            f"a batch must be points (n, 2), or points and whole-number labels (n,) or conditions (n, d), got {got}"
        )
    if labels is not None:
        labels = labels.to(dtype) if labels.is_floating_point() else labels.long()
    return [Batch(x.to(dtype), labels)]


def _are_points(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dim() == 2 and x.shape[1] == 2 and x.is_floating_point()


def _are_labels(labels: Any, n: int) -> bool:
    if not isinstance(labels, Tensor) or labels.shape[:1] != (n,):
        return False
    return labels.dim() == (2 if labels.is_floating_point() else 1)


def conditioned(denoiser: NetworkDenoiser, labels: Tensor | None) -> NetworkDenoiser:
    """The denoiser, conditioned on the labels or conditions of its points if they have any.

    Raises:
        ValueError: if the network expects labels or conditions and there are none.
    """
    if labels is not None:
        return denoiser.conditioned_on(labels)
    if denoiser.backbone.n_labels or denoiser.backbone.n_conditions:
        what = "labels" if denoiser.backbone.n_labels else "conditions"
        raise ValueError(f"the network knows {what} but the data come without; add --data.labels true")
    return denoiser
