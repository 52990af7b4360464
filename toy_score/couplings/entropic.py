r"""Minibatch entropic optimal transport.

The plan `P` between `n` points and `n` points of equal weights that minimises

    sum_ij P_ij |x_0i - x_1j|^2 + epsilon sum_ij P_ij log P_ij

has the form `P_ij = exp((f_i + g_j - |x_0i - x_1j|^2) / epsilon)`. Sinkhorn's iterations fit the potentials `f` and `g`
to the two marginals in turn (Cuturi 2013). The Schroedinger bridge whose reference is Brownian motion of variance
`sigma^2` per unit of time has the entropic plan of `epsilon = 2 sigma^2` as its coupling (Leonard 2014).
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from toy_score.checks import check_at_least, check_positive
from toy_score.couplings.base import Coupling, by_parts, square_costs

__all__ = ["EntropicTransport", "sinkhorn"]

CHECK = 10  # iterations between two looks at the marginals


@dataclass(frozen=True)
class EntropicTransport(Coupling):
    """Each data point of a part with a source point that is drawn from its row of the part's entropic plan.

    Small `epsilon` approaches `OptimalTransport`, large `epsilon` approaches `IndependentCoupling`.

    Args:
        epsilon: of the entropy, > 0, in squared units of length; `2 sigma^2` for the bridge of Brownian motion `sigma`.
        size: points of a part, >= 2.
        tolerance: largest error of a marginal, relative to a point's weight, > 0.
        max_iterations: of Sinkhorn, >= 1; then the plan is taken as it is. Small `epsilon` needs many.

    Raises:
        ValueError: if an argument is out of range.
    """

    epsilon: float = 2.0
    size: int = 256
    tolerance: float = 1e-3
    max_iterations: int = 1000

    def __post_init__(self) -> None:
        check_positive(epsilon=self.epsilon, tolerance=self.tolerance)
        check_at_least(2, size=self.size)
        check_at_least(1, max_iterations=self.max_iterations)

    def __call__(self, x0: Tensor, x1: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        columns = []
        for part in by_parts(len(x0), self.size):
            plan = sinkhorn(square_costs(x0[part], x1[part]), self.epsilon, self.tolerance, self.max_iterations)
            columns.append(part.start + torch.multinomial(plan, 1, generator=generator)[:, 0])
        return torch.arange(len(x0), device=x0.device), torch.cat(columns)


def sinkhorn(cost: Tensor, epsilon: float, tolerance: float = 1e-3, max_iterations: int = 1000) -> Tensor:
    """The entropic plan between points of equal weights, `(n, m)` float64; its columns have their exact sums.

    In the logarithm, so that no `epsilon` underflows, until the sums of the rows are right to a share `tolerance`.

    Args:
        cost: `(n, m)`.
        epsilon, tolerance, max_iterations: as in `EntropicTransport`.
    """
    K = -cost.double() / epsilon
    log_a, log_b = -math.log(cost.shape[0]), -math.log(cost.shape[1])
    f, g = K.new_zeros(cost.shape[0], 1), K.new_zeros(1, cost.shape[1])
    for iteration in range(1, max_iterations + 1):
        f = log_a - (K + g).logsumexp(dim=1, keepdim=True)
        g = log_b - (K + f).logsumexp(dim=0, keepdim=True)
        if iteration % CHECK == 0 or iteration == max_iterations:
            rows = (K + f + g).logsumexp(dim=1)
            if (rows - log_a).expm1().abs().max() <= tolerance:
                break
    return (K + f + g).exp()
