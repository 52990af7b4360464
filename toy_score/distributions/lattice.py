r"""A density that is known up to a factor, by its values on a lattice.

It is *defined* as a mixture of round Gaussians at the nodes `(a_j, b_k)` of a square lattice. Their standard deviation
is the lattice's spacing, and their weights `W_jk` are in proportion to the density there. So noisy density, score,
denoiser and samples are exact, and the only error is the blur: a variance of the spacing's square. Under noise the
Gaussians are products, `N(x_0; a_j, v) N(x_1; b_k, v)`, so sums over all nodes are two products of matrices,

    p_sigma(x) = f' W g,     f_j = N(x_0; a_j, v),  g_k = N(x_1; b_k, v),  v = spacing^2 + sigma^2.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from toy_score.checks import check_at_least
from toy_score.component import as_tuple
from toy_score.constants import Constant
from toy_score.distributions.base import Distribution, by_rows, device_of, evenly_spread, wide
from toy_score.distributions.rewards import Reward
from toy_score.distributions.tails import LOG_2PI

__all__ = ["GridDensity"]

CHUNK = 2048  # points at a time


@dataclass(frozen=True)
class GridDensity(Distribution):
    """`prod_i p_i(x)^b_i exp(reward(x)) / Z`, of one or more distributions, on a lattice over a square.

    `log_integral` is the logarithm of `Z`, the integral. The modes are those of the first distribution.

    Args:
        factors: the distributions `p_i`; where the density of one with a positive exponent is 0, that of the target is.
        exponents: `b_i`, one for each.
        reward: 0 if None.
        cells: nodes on a side, >= 64; the spacing is the side, three times the first one's bounds, over their number.

    Raises:
        ValueError: if there is not one exponent for each distribution, or the integral is not finite and positive.
    """

    name = "grid_density"

    factors: Sequence[Distribution]
    exponents: Sequence[float]
    reward: Reward | None = None
    cells: int = 600
    _ticks: Constant = field(init=False, repr=False, compare=False)
    _W: Constant = field(init=False, repr=False, compare=False)

    log_integral = 0.0
    spacing = 0.0

    def __post_init__(self) -> None:
        check_at_least(64, cells=self.cells)
        self._set(factors=as_tuple(self.factors), exponents=as_tuple(self.exponents))
        if not self.factors or len(self.factors) != len(self.exponents):
            raise ValueError(f"there must be one exponent for each of {len(self.factors)} distributions, at least one")
        first = self.factors[0]
        spacing = 3.0 * first.bounds / self.cells
        ticks = (torch.arange(self.cells, dtype=torch.float64) - 0.5 * (self.cells - 1)) * spacing
        nodes = torch.cartesian_prod(ticks, ticks)
        log_p = self._unnormalised(nodes)
        log_integral = (log_p.logsumexp(dim=0) + 2.0 * math.log(spacing)).item()
        if not math.isfinite(log_integral):
            raise ValueError(f"the integral of the density must be finite and positive, got exp({log_integral})")
        W = (log_p - log_p.logsumexp(dim=0)).exp()
        modes = first.modes(nodes)
        shares = torch.zeros(len(first.mode_weights), dtype=torch.float64).index_add(0, modes, W)
        self._set(
            bounds=first.bounds,
            mode_weights=dict(zip(first.mode_weights, shares.clamp(min=1e-300).tolist(), strict=True)),
            log_integral=log_integral,
            spacing=spacing,
            _ticks=Constant(ticks),
            _W=Constant(W.view(self.cells, self.cells)),
        )

    def _unnormalised(self, x: Tensor) -> Tensor:
        """`sum_i b_i log p_i(x)`, -inf where a factor with a positive exponent is 0."""
        parts = [b * p.log_prob(x) for p, b in zip(self.factors, self.exponents, strict=True)]
        parts += [] if self.reward is None else [self.reward(x)]
        none = torch.stack([part == -math.inf for part in parts]).any(dim=0)
        return torch.where(none, -math.inf, torch.stack(parts).nan_to_num().sum(dim=0))

    def log_prob(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        return self._by_rows(lambda sums: sums.log_p, x, sigma)

    def score(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self._by_rows(lambda sums: (sums.mean - sums.x) / sums.v, x, sigma)

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """`x + sigma^2 score`; the Gaussians at the nodes have an extent of their own."""
        return self._by_rows(lambda s: torch.lerp(s.x, s.mean, s.sigma.square() / s.v), x, sigma)

    def _by_rows(self, function: Callable[["_Sums"], Tensor], x: Tensor, sigma: float | Tensor) -> Tensor:
        return by_rows(lambda y, s: function(_Sums(self, y, s)), wide(x), sigma, CHUNK).to(x.dtype)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        device = device_of(generator)
        u = torch.rand(n, generator=generator, device=device, dtype=torch.float64)
        return self._place(u, torch.randn(n, 2, generator=generator, device=device, dtype=torch.float64)).float()

    def reference(self, n: int = 65_536) -> Tensor:
        u = evenly_spread(n, 3)
        return self._place(u[:, 0].contiguous(), torch.special.ndtri(u[:, 1:]))

    def _place(self, u: Tensor, z: Tensor) -> Tensor:
        """Nodes by uniform numbers `(n,)`, moved by normal ones `(n, 2)`."""
        k = torch.searchsorted(self._W.to(u.device).flatten().cumsum(dim=0), u).clamp(max=self.cells**2 - 1)
        ticks = self._ticks.to(u.device)
        return torch.stack([ticks[k // self.cells], ticks[k % self.cells]], dim=-1) + self.spacing * z

    def modes(self, x: Tensor) -> Tensor:
        return self.factors[0].modes(x)

    def entropy(self) -> float:
        """Accurate to the blur of the lattice."""
        W = self._W.value
        return -(torch.special.xlogy(W, W)).sum().item() + 2.0 * math.log(self.spacing)


class _Sums:
    """The sums over the nodes, for points `(n, 2)` and levels `(n, 1)` or `(1, 1)`, float64."""

    def __init__(self, p: GridDensity, x: Tensor, sigma: Tensor):
        ticks, W = p._ticks.to(x.device), p._W.to(x.device)
        self.x, self.sigma, self.v = x, sigma, sigma.square() + p.spacing**2
        logs = [-0.5 * (x[:, j : j + 1] - ticks).square() / self.v for j in (0, 1)]
        tops = [log.detach().amax(dim=1, keepdim=True) for log in logs]
        f, g = ((log - top).exp() for log, top in zip(logs, tops, strict=True))
        fW = f @ W  # [n, cells]
        total = (fW * g).sum(dim=1)
        self.log_p = total.log() + (tops[0] + tops[1] - self.v.log())[:, 0] - LOG_2PI
        self.mean = torch.stack([((f * ticks) @ W * g).sum(dim=1), (fW * g * ticks).sum(dim=1)], dim=1) / total[:, None]
