r"""The exact Schroedinger bridge between two Gaussians, and for `sigma = 0` the optimal transport between them.

With data `N(m_0, S_0)`, source `N(m_1, S_1)` and Brownian motion of variance `sigma^2` per unit of time as reference,
the coupling of the bridge is Gaussian with (Mallasto et al. 2022; Bunne et al. 2023)

    C = Cov(x_0, x_1) = (S_0^1/2 (4 S_0^1/2 S_1 S_0^1/2 + sigma^4 I)^1/2 S_0^-1/2 - sigma^2 I) / 2.

All of `x_0`, `x_1` and `x_t = (1 - t) x_0 + t x_1 + sigma sqrt(t (1 - t)) z` are jointly Gaussian, so

    m_t = (1 - t) m_0 + t m_1,
    S_t = (1 - t)^2 S_0 + t^2 S_1 + t (1 - t) (C + C' + sigma^2 I),
    score(x) = -S_t^-1 (x - m_t),
    v(x) = E[x_1 - x_0 | x_t = x] = m_1 - m_0 + ((1 - t) (C' - S_0) + t (S_1 - C)) S_t^-1 (x - m_t).
"""

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from toy_score.bridges.base import STANDARD_NORMAL, KnownBridge, SchrodingerBridge
from toy_score.component import Component
from toy_score.denoisers import At
from toy_score.distributions import GaussianMixture
from toy_score.schedules import Levels, LinearFlow

__all__ = ["GaussianBridge"]


@dataclass(frozen=True)
class GaussianBridge(Component, SchrodingerBridge, KnownBridge):
    """The exact bridge between two Gaussians; the formulas are at the top of this file.

    Args:
        distribution: of the data, a `GaussianMixture` of one component.
        source: where the flow begins, likewise.
        sigma: of the Brownian motion, >= 0; 0 is optimal transport, which has no score.
        schedule: the times.

    Raises:
        ValueError: if `sigma` is negative, or a distribution has several components.
    """

    distribution: GaussianMixture
    source: GaussianMixture = STANDARD_NORMAL
    sigma: float = 1.0
    schedule: LinearFlow = LinearFlow()
    _moments: tuple[Tensor, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < float("inf"):
            raise ValueError(f"sigma must be at least 0, got {self.sigma}")
        moments = []
        for name in ("distribution", "source"):
            mu, S, *_ = getattr(self, name).mixture()
            if len(mu) != 1:
                raise ValueError(f"{name} must be one Gaussian, got {len(mu)} components; choose ExactBridge")
            moments += [mu[0].double(), S[0].double()]
        m0, S0, m1, S1 = moments
        eye = torch.eye(2, dtype=torch.float64)
        root = square_root(S0)
        D = square_root(4.0 * root @ S1 @ root + self.sigma**4 * eye)
        C = 0.5 * (root @ D @ torch.linalg.inv(root) - self.sigma**2 * eye)
        self._set(_moments=(m0, S0, m1, S1, C))

    @property
    def coupling_covariance(self) -> Tensor:
        """`C = Cov(x_0, x_1)`, `(2, 2)` float64."""
        return self._moments[4]

    def mean(self, t: At) -> Tensor:
        """`m_t`, `(1, 2)` or `(n, 2)` float64."""
        level = self._level(torch.empty(0, 2, dtype=torch.float64), t)
        return level.alpha * self._moments[0] + level.sigma * self._moments[2]

    def covariance(self, t: At) -> Tensor:
        """`S_t`, `(1, 2, 2)` or `(n, 2, 2)` float64."""
        return self._covariance(self._level(torch.empty(0, 2, dtype=torch.float64), t))

    def _covariance(self, level: Levels) -> Tensor:
        a, b = level.alpha[:, :, None], level.sigma[:, :, None]
        _, S0, _, S1, C = (v.to(a.device) for v in self._moments)
        eye = torch.eye(2, dtype=S0.dtype, device=a.device)
        return a**2 * S0 + b**2 * S1 + a * b * (C + C.T + self.sigma**2 * eye)

    def sample(self, t: float, n: int, generator: Generator | None = None) -> Tensor:
        device = "cpu" if generator is None else generator.device
        z = torch.randn(n, 2, generator=generator, device=device, dtype=torch.float64)
        root = torch.linalg.cholesky(self.covariance(t)[0]).to(device)
        return (self.mean(t).to(device) + z @ root.T).float()

    def parts(self, x: Tensor, t: At) -> tuple[Tensor, Tensor]:
        y = x.double()
        level = self._level(y, t)
        m0, S0, m1, S1, C = (v.to(x.device) for v in self._moments)
        centred = y - level.alpha * m0 - level.sigma * m1
        score = -torch.linalg.solve(self._covariance(level), centred[:, :, None])  # [n, 2, 1]
        G = level.alpha[:, :, None] * (C.T - S0) + level.sigma[:, :, None] * (S1 - C)
        v = m1 - m0 - (G @ score)[:, :, 0]
        return v.to(x.dtype), (self.sigma**2 * score[:, :, 0]).to(x.dtype)


def square_root(S: Tensor) -> Tensor:
    """The symmetric square root of a symmetric positive semidefinite matrix, `(2, 2)`."""
    values, vectors = torch.linalg.eigh(S)
    return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
