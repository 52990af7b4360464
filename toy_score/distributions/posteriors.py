r"""What is left of a distribution after a noisy linear observation: exact at every noise level.

The posterior of `x_0 ~ p`, given `y = H x_0 + s eta`, is `p(x_0) N(y; H x_0, s^2 I) / Z`. A Gaussian of a mixture, with
weight `w`, mean `mu` and covariance `S`, becomes one with

    S' = (I + S P)^-1 S,     mu' = (I + S P)^-1 (mu + S b),     w' = w N(y; H mu, H S H' + s^2 I) / Z,

`P = H'H / s^2` and `b = H'y / s^2`. A Gaussian on a half-plane stays on it, and its weight changes by the mass there.
`lines.py` has the posteriors of all other distributions.
"""

import torch
from torch import Generator, Tensor

from toy_score.distributions.base import Distribution, device_of, evenly_spread
from toy_score.distributions.halfplanes import HalfPlaneGaussians, HalfPlaneParts
from toy_score.distributions.lines import ExactPosterior, _LinePosterior, class_weights, entropy, shares
from toy_score.distributions.mixtures import Gaussians, Mixture
from toy_score.distributions.observations import LinearObservation
from toy_score.distributions.tails import beyond

__all__ = ["posterior"]


def posterior(prior: Distribution, observation: LinearObservation) -> Distribution:
    """The exact posterior of a distribution, in the best form that there is for it."""
    if isinstance(prior, Gaussians):
        return _GaussianPosterior(prior, observation)
    return (_HalfPlanePosterior if isinstance(prior, HalfPlaneGaussians) else _LinePosterior)(prior, observation)


class _GaussianPosterior(ExactPosterior, Gaussians):
    """Of a mixture of Gaussians: another one."""

    def mixture(self) -> Mixture:
        p, names = self.prior, list(self.prior.mode_weights)
        mu, S, log_w = _conditioned(p._mu, p._S, p._w.log(), self.observation)
        return Mixture(mu, S, shares(log_w), p._labels, names)


class _HalfPlanePosterior(ExactPosterior, HalfPlaneGaussians):
    """Of Gaussians on half-planes: others, on the same half-planes. Its entropy is accurate to 0.02 nats."""

    def parts(self) -> HalfPlaneParts:
        mu, S, a, c, w = (torch.tensor(values, dtype=torch.float64) for values in self.prior.parts())
        log_w = w.log() - torch.special.log_ndtr(_edge(mu, S, a, c))
        mu, S, log_w = _conditioned(mu, S, log_w, self.observation)
        w = shares(log_w + torch.special.log_ndtr(_edge(mu, S, a, c)))
        return HalfPlaneParts(*(values.tolist() for values in (mu, S, a, c, w)))

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(mode_weights=class_weights(self.prior, self.observation))

    def modes(self, x: Tensor) -> Tensor:
        return self.prior.modes(x)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        u = torch.rand(n, 3, generator=generator, device=device_of(generator), dtype=torch.float64)
        return self._place(u.clamp(min=1e-300)).float()

    def sample_labelled(self, n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        x = self.sample(n, generator)
        return x, self.modes(x)

    def reference(self, n: int = 65_536) -> Tensor:
        return self._place(evenly_spread(n, 3))

    def _place(self, u: Tensor) -> Tensor:
        """Points from uniform numbers `(n, 3)`: of the part, across its edge and along it."""
        mu, S, a, c, w = (torch.tensor(values, dtype=torch.float64).to(u.device) for values in self.parts())
        k = torch.searchsorted(w.cumsum(dim=0)[:-1], u[:, 0].contiguous(), right=True)
        spread, edge = _spread(S, a), _edge(mu, S, a, c)
        across = (S @ a[:, :, None])[:, :, 0] / spread[:, None]
        along = torch.stack([-a[:, 1], a[:, 0]], dim=-1) * (torch.linalg.det(S).sqrt() / spread)[:, None]
        z = beyond(-edge[k], u[:, 1])
        return mu[k] + across[k] * z[:, None] + along[k] * torch.special.ndtri(u[:, 2:])

    def entropy(self) -> float:
        return entropy(self)


def _conditioned(mu: Tensor, S: Tensor, log_w: Tensor, observation: LinearObservation) -> tuple[Tensor, Tensor, Tensor]:
    """Means, covariances and logarithmic weights of Gaussians after an observation, `(K, 2)`, `(K, 2, 2)`, `(K,)`."""
    H, y, v = observation.rows(mu), mu.new_tensor(observation.value), observation.std**2
    identity = torch.eye(2, dtype=mu.dtype)
    after = torch.linalg.solve(
        identity + S @ (H.T @ H / v), torch.cat([(mu + S @ (H.T @ y / v))[:, :, None], S], dim=2)
    )
    V = H @ S @ H.T + v * torch.eye(len(H), dtype=mu.dtype)
    e = (y - mu @ H.T)[:, :, None]
    log_N = -0.5 * (e.mT @ torch.linalg.solve(V, e))[:, 0, 0] - 0.5 * torch.linalg.det(V).log()
    covariances = after[:, :, 1:]
    return after[:, :, 0], 0.5 * (covariances + covariances.mT), log_w + log_N


def _spread(S: Tensor, a: Tensor) -> Tensor:
    """The standard deviation of `a . x`, `(K,)`."""
    return (a[:, None] @ S @ a[:, :, None])[:, 0, 0].sqrt()


def _edge(mu: Tensor, S: Tensor, a: Tensor, c: Tensor) -> Tensor:
    """How many standard deviations a mean is inside its half-plane, `(K,)`."""
    return (a * (mu - c)).sum(dim=-1) / _spread(S, a)
