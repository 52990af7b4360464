"""The independent coupling."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from toy_score.couplings.base import Coupling

__all__ = ["IndependentCoupling"]


@dataclass(frozen=True)
class IndependentCoupling(Coupling):
    """The two points of a pair are independent: I-CFM (Tong et al. 2024), and flow matching for a Gaussian source."""

    is_independent = True

    def __call__(self, x0: Tensor, x1: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        rows = torch.arange(len(x0), device=x0.device)
        return rows, rows
