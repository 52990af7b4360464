r"""Exact Schroedinger bridges between mixtures of Gaussians, from their potentials.

The coupling of every Schroedinger bridge has the form (Schroedinger 1931; Leonard 2014)

    pi(x_0, x_1) = phi(x_0) N(x_0 - x_1; 0, sigma^2 I) psi(x_1) / Z

with a potential at each end. Let `phi_t = phi * N(0, t sigma^2 I)` and `psi_t = psi * N(0, (1 - t) sigma^2 I)`. Then

    p_t = phi_t psi_t / Z,    score = grad log phi_t + grad log psi_t,
    SDE, source to data:    dx = -sigma^2 grad log phi_t dt + sigma dw,  dt < 0,
    flow:                   dx = (sigma^2 / 2) (grad log psi_t - grad log phi_t) dt,
    E[x_0 | x_t] = x_t + t sigma^2 grad log phi_t,    v = sigma^2 ((1 - t) grad log psi_t - t grad log phi_t).

So the bridge is known wherever two noisy scores are. If both potentials are mixtures of Gaussians, so is every `p_t`,
the two ends included: component (k, j) is the product of `N(m_k, A_k + t sigma^2 I)` and `N(n_j, B_j + (1 - t) sigma^2
I)`, with a weight in proportion to `a_k b_j N(m_k - n_j; 0, A_k + B_j + sigma^2 I)`, which does not depend on `t`.

Korotin et al. (2024, LightSB) take the mixture at one end only, with a given law at the other. That process has the
drift above, but no closed form of its second end; with two potentials both ends follow.
"""

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from toy_score.bridges.base import KnownBridge, SchrodingerBridge
from toy_score.checks import check_positive
from toy_score.component import Component
from toy_score.denoisers import At
from toy_score.distributions import GaussianMixture
from toy_score.distributions.mixtures import Gaussians
from toy_score.schedules import LinearFlow

__all__ = ["MixtureBridge"]

LEAST_SHARE = 1e-30  # of a component that is kept: lighter ones are below the rounding errors of any density


@dataclass(frozen=True, eq=False)
class Products:
    """What the components (k, j) are made of: means and covariances of each factor, `(K, 2)` and `(K, 2, 2)`, and
    their weights, `(K,)`."""

    m: Tensor
    A: Tensor
    n: Tensor
    B: Tensor
    weights: Tensor


@dataclass(frozen=True)
class MixtureBridge(Component, SchrodingerBridge, KnownBridge):
    """The exact Schroedinger bridge of two potentials; the formulas are at the top of this file.

    Its ends follow from the potentials: `distribution`, of the data, and `source` are mixtures of Gaussians.

    Args:
        data_potential: `phi`, a mixture of Gaussians.
        source_potential: `psi`, likewise.
        sigma: of the Brownian motion, > 0.
        schedule: the times.

    Raises:
        ValueError: if `sigma` is not positive, or a potential is no mixture of Gaussians with a density.

    Example:
        >>> bridge = MixtureBridge(GaussianMixture([[-2.0, 0.0], [2.0, 0.0]], 0.5), GaussianMixture([[0.0, 0.0]], 1.0))
        >>> bridge.source.mixture().means
        tensor([[-0.8889,  0.0000],
                [ 0.8889,  0.0000]], dtype=torch.float64)
    """

    data_potential: Gaussians
    source_potential: Gaussians
    sigma: float = 1.0
    schedule: LinearFlow = LinearFlow()
    distribution: GaussianMixture = field(init=False, repr=False, compare=False)
    source: GaussianMixture = field(init=False, repr=False, compare=False)
    _products: Products = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_positive(sigma=self.sigma)
        ends = []
        for name in ("data_potential", "source_potential"):
            potential = getattr(self, name)
            if not isinstance(potential, Gaussians) or not potential._has_density:
                raise ValueError(f"{name} must be a mixture of Gaussians with a density, got {potential!r}")
            ends.append((potential._mu, potential._S, potential._w))
        (m, A, a), (n, B, b) = ends
        k, j = (i.flatten() for i in torch.meshgrid(torch.arange(len(m)), torch.arange(len(n)), indexing="ij"))
        d, C = m[k] - n[j], A[k] + B[j] + self.sigma**2 * torch.eye(2, dtype=torch.float64)
        square = (d * torch.linalg.solve(C, d[:, :, None])[:, :, 0]).sum(dim=1)
        weights = (a[k].log() + b[j].log() - 0.5 * (square + torch.linalg.det(C).log())).softmax(dim=0)
        kept = weights > LEAST_SHARE
        k, j = k[kept], j[kept]
        self._set(_products=Products(m[k], A[k], n[j], B[j], weights[kept]))
        self._set(distribution=self.marginal(0.0), source=self.marginal(1.0))

    def marginal(self, t: float) -> GaussianMixture:
        """`p_t`, a component for each pair of components of the potentials; `t` in [0, 1].

        Raises:
            ValueError: if `t` is out of range.
        """
        if not 0 <= t <= 1:
            raise ValueError(f"t must be in [0, 1], got {t}")
        p, noise = self._products, self.sigma**2 * torch.eye(2, dtype=torch.float64)
        mean, S = product(p.m, p.A + t * noise, p.n, p.B + (1.0 - t) * noise)
        return GaussianMixture(mean.tolist(), covariances=S.tolist(), weights=p.weights.tolist())

    def sample(self, t: float, n: int, generator: Generator | None = None) -> Tensor:
        return self.marginal(t).sample(n, generator)

    def log_prob(self, x: Tensor, t: float) -> Tensor:
        """`log p_t(x)` of points `(n, 2)`, in nats, `(n,)`; `t` in [0, 1]."""
        return self.marginal(t).log_prob(x)

    def pairs(self, n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """`n` independent pairs of the coupling: data points and source points, `(n, 2)` float32 each."""
        p, variance = self._products, self.sigma**2
        identity = torch.eye(2, dtype=torch.float64)
        mean, S = product(p.m, p.A + variance * identity, p.n, p.B)
        device = "cpu" if generator is None else generator.device
        u = torch.rand(n, generator=generator, device=device, dtype=torch.float64)
        z0, z1 = torch.randn(2, n, 2, generator=generator, device=device, dtype=torch.float64)
        i = torch.searchsorted(p.weights.cumsum(dim=0)[:-1].to(device), u, right=True)
        x1 = placed(mean.to(device)[i], S.to(device)[i], z1)
        given, Q = product(p.m.to(device)[i], p.A.to(device)[i], x1, (variance * identity).to(device).expand(n, 2, 2))
        return placed(given, Q, z0).float(), x1.float()

    def parts(self, x: Tensor, t: At) -> tuple[Tensor, Tensor]:
        level = self._level(x.double(), t)
        of_data, of_source = self._scores(x, t)
        v = level.alpha * of_source - level.sigma * of_data
        return (self.sigma**2 * v).to(x.dtype), (self.sigma**2 * (of_data + of_source)).to(x.dtype)

    def drift(self, x: Tensor, t: At) -> Tensor:
        return (-(self.sigma**2) * self._scores(x, t)[0]).to(x.dtype)

    def _scores(self, x: Tensor, t: At) -> tuple[Tensor, Tensor]:
        """`grad log phi_t` and `grad log psi_t`, `(n, 2)` float64 each."""
        y = x.double()
        level = self._level(y, t)
        of_data = self.data_potential.score(y, self.sigma * level.sigma.sqrt())
        return of_data, self.source_potential.score(y, self.sigma * level.alpha.sqrt())


def product(m: Tensor, A: Tensor, n: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Means, `(K, 2)`, and covariances, `(K, 2, 2)`, of the densities in proportion to `N(x; m, A) N(x; n, B)`.

    With `G = A (A + B)^-1` they are `m + G (n - m)` and `G B`, without an inverse of `A` or `B`.
    """
    G = torch.linalg.solve(A + B, A).mT  # A and A + B are symmetric
    S = G @ B
    return m + (G @ (n - m)[:, :, None])[:, :, 0], 0.5 * (S + S.mT)


def placed(mean: Tensor, S: Tensor, z: Tensor) -> Tensor:
    """`mean + L z` with `S = L L'`, `(n, 2)`."""
    return mean + (torch.linalg.cholesky(S) @ z[:, :, None])[:, :, 0]
