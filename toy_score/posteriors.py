r"""Posterior samplers' denoisers: a prior's denoiser, corrected for an observation by a rule.

With `z = x_t / alpha`, `r = sigma / alpha`, the denoiser `D(z)` of the prior and its Jacobian `J = dD/dz`, the score of
the noisy posterior is that of the prior plus the gradient of `log p(y | x_t)`. This needs the law of `x_0` given `x_t`,
of which a denoiser knows the mean only. The rules take it for the Gaussian `N(D, V)`, so that

    log h_t = log N(y; H D, H V H' + s^2 I),     G = J' H' (H V H' + s^2 I)^-1 (y - H D),

`G` being its gradient where `V` is held fixed, and correct

    D_posterior = D + r^2 G,     noise_posterior = noise - r G.

| rule | V |
|---|---|
| `DPS` (Chung et al. 2023) | 0 |
| `PGDM` (Song et al. 2023) | `r^2 d^2 / (r^2 + d^2) I`: that of normal data of standard deviation d |
| `TMPD` (Boys et al. 2023), MMPS (Rozet et al. 2024) | `r^2 J`, by Tweedie's formula the exact covariance |

In the plane `J` is exact and costs as much as two evaluations; so the approximations for images that tell TMPD and MMPS
apart are not needed. No rule is exact but for a Gaussian prior: `x_0` given `x_t` is not normal.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from toy_score.checks import check_positive
from toy_score.component import Component
from toy_score.denoisers import At, Denoiser
from toy_score.distributions import LinearObservation, Reward
from toy_score.distributions.tails import LOG_2PI

__all__ = ["DPS", "PGDM", "TMPD", "Posterior", "PosteriorRule", "Rewarded", "Twist", "Twisted"]


class Twist(NamedTuple):
    """What is known at noisy points."""

    mean: Tensor
    """`D`, the denoised points of the prior, `(n, 2)`."""

    log_h: Tensor
    """`log h_t`, `(n,)`."""

    gradient: Tensor
    """`G`, its gradient in `x / alpha`, `(n, 2)`."""


class Twisted(Denoiser):
    """A denoiser of `p_t h_t`: of a prior and a function `h_t` of the noisy point, exact without noise.

    Particle methods use `h_t` to weight their particles, so that its errors at `t > 0` cost efficiency only.
    """

    denoiser: Denoiser
    """Of the prior."""

    @abstractmethod
    def twist(self, x: Tensor, t: At) -> Twist:
        """`D`, `log h_t` and its gradient at noisy points `(n, 2)`."""

    @abstractmethod
    def log_h(self, x: Tensor) -> Tensor:
        """`log h_0` of points without noise, `(n,)`."""

    def denoise(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        D, _, G = self.twist(x, level)
        return D + level.ratio.square() * G

    def noise(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return (x - level.alpha * self.denoise(x, level)) / level.sigma

    def velocity(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        D, R = self.denoise(x, level), level.radius
        return level.alpha / R * (x - level.alpha * D) / level.sigma - level.sigma / R * D


class PosteriorRule(Component, ABC):
    """What the covariance of the clean point, given the noisy one, is taken for."""

    @abstractmethod
    def covariance(self, J: Tensor, ratio: Tensor) -> Tensor:
        """`V`, `(n, 2, 2)` or `(1, 2, 2)`, from the denoiser's Jacobian `(n, 2, 2)` and `r`, `(n, 1)` or `(1, 1)`."""


@dataclass(frozen=True)
class DPS(PosteriorRule):
    """Diffusion posterior sampling (Chung et al. 2023): the clean point is taken for the denoised one, `V = 0`.

    These are the equations of the paper's theory; its code replaces the factor `1 / s^2` by a step size to be tuned.
    """

    def covariance(self, J: Tensor, ratio: Tensor) -> Tensor:
        return torch.zeros_like(J[:1])


@dataclass(frozen=True)
class PGDM(PosteriorRule):
    """Pseudoinverse-guided diffusion (Song et al. 2023): the covariance that round normal data would have.

    Args:
        data_std: `d`, the standard deviation of the data per coordinate, > 0; the paper's 1.

    Raises:
        ValueError: if it is not positive.
    """

    data_std: float = 1.0

    def __post_init__(self) -> None:
        check_positive(data_std=self.data_std)

    def covariance(self, J: Tensor, ratio: Tensor) -> Tensor:
        v, d = ratio.square(), self.data_std**2
        return (v * d / (v + d))[:, :, None] * torch.eye(2, dtype=J.dtype, device=J.device)


@dataclass(frozen=True)
class TMPD(PosteriorRule):
    """Tweedie moment projection (Boys et al. 2023), MMPS (Rozet et al. 2024): the exact covariance, `r^2 J`.

    The Jacobian of a network need not be a covariance: its nearest symmetric, positive semidefinite matrix is used.
    """

    def covariance(self, J: Tensor, ratio: Tensor) -> Tensor:
        return ratio.square()[:, :, None] * as_covariance(J)


@dataclass(frozen=True)
class Posterior(Component, Twisted):
    """A prior's denoiser after an observation, by a rule; the formulas are at the top of this file.

    It is a denoiser as any other, for all samplers, metrics and pictures. The exact one, where the distribution is
    known, is `ExactDenoiser(distribution.posterior(observation), schedule)`.

    Args:
        denoiser: of the prior, trained or exact.
        observation: of the clean point.
        rule: how the observation is told to the noisy point.

    Raises:
        ValueError: if the denoiser is a bridge.

    Example:
        >>> seen = LinearObservation(matrix=[[1.0, 0.0]], value=[1.0], std=0.5)  # x_0 was about 1
        >>> x, level = torch.tensor([[2.0, 1.0]]), EDM().level_at(1.0)
        >>> Posterior(ExactDenoiser(Heart(), EDM()), seen, rule=TMPD()).denoise(x, level)
        tensor([[1.0366, 0.9123]])
        >>> ExactDenoiser(Heart().posterior(seen), EDM()).denoise(x, level)  # the truth
        tensor([[1.0488, 0.8898]])
    """

    denoiser: Denoiser
    observation: LinearObservation
    rule: PosteriorRule = TMPD()

    def __post_init__(self) -> None:
        self.denoiser.check_gaussian("Posterior")
        self._set(schedule=self.denoiser.schedule)

    def twist(self, x: Tensor, t: At) -> Twist:
        level, H = self._level(x, t), self.observation.rows(x)
        D, J = self.denoiser.denoise_jacobian(x, level)
        J = level.alpha[:, :, None] * J  # from dD/dx to dD/dz
        V = H @ self.rule.covariance(J, level.ratio) @ H.T
        V = V + self.observation.std**2 * torch.eye(len(H), dtype=x.dtype, device=x.device)
        e = self.observation.residual(D)
        solved, log_det = _solve(V, e)
        log_h = -0.5 * ((e * solved).sum(dim=-1) + log_det + len(H) * LOG_2PI)
        return Twist(D, log_h, ((solved @ H)[:, None] @ J)[:, 0])

    def log_h(self, x: Tensor) -> Tensor:
        return self.observation.log_likelihood(x)


@dataclass(frozen=True)
class Rewarded(Component, Twisted):
    """A prior's denoiser, tilted by the exponential of a reward, of which `h_t` is that of the denoised point.

    The target is `p(x) exp(reward(x)) / Z`; `TwistedDiffusion` samples it, while samplers without weights do not.

    Args:
        denoiser: of the prior, trained or exact.
        reward: of the clean point.

    Raises:
        ValueError: if the denoiser is a bridge.
    """

    denoiser: Denoiser
    reward: Reward

    def __post_init__(self) -> None:
        self.denoiser.check_gaussian("Rewarded")
        self._set(schedule=self.denoiser.schedule)

    def twist(self, x: Tensor, t: At) -> Twist:
        level = self._level(x, t)
        D, J = self.denoiser.denoise_jacobian(x, level)
        with torch.enable_grad():
            at = D if D.requires_grad else D.detach().requires_grad_()
            reward = self.reward(at)
            (slope,) = torch.autograd.grad(reward.sum(), at, create_graph=D.requires_grad)
        value = reward if D.requires_grad else reward.detach()
        return Twist(D, value, level.alpha * (slope[:, None] @ J)[:, 0])

    def log_h(self, x: Tensor) -> Tensor:
        return self.reward(x)


def as_covariance(M: Tensor) -> Tensor:
    """The nearest symmetric positive semidefinite matrices, `(n, 2, 2)`, in closed form.

    A symmetric matrix is `a I + B` with trace-free `B`, and its eigenvalues are `a +- b`, `2 b^2 = |B|^2`.
    """
    M = 0.5 * (M + M.mT)
    identity = torch.eye(2, dtype=M.dtype, device=M.device)
    a = 0.5 * (M[:, 0, 0] + M[:, 1, 1])[:, None, None]
    B = M - a * identity
    b = torch.hypot(B[:, 0, 0], B[:, 0, 1])[:, None, None]
    rank_one = 0.5 * (a + b).clamp(min=0) * (identity + B / b.clamp(min=1e-30))
    return torch.where(a >= b, M, rank_one)


def _solve(V: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
    """`V^-1 e` and `log det V`, for V `(n, m, m)`, e `(n, m)` and m = 1 or 2."""
    if e.shape[1] == 1:
        return e / V[:, 0], V[:, 0, 0].log()
    (a, b), (c, d) = V[:, 0].unbind(dim=-1), V[:, 1].unbind(dim=-1)
    det = a * d - b * c
    solved = torch.stack([d * e[:, 0] - b * e[:, 1], a * e[:, 1] - c * e[:, 0]], dim=-1)
    return solved / det[:, None], det.log()
