r"""Mixtures of Gaussians.

Component k, with weight `w_k`, mean `mu_k` and covariance `S_k`, becomes under noise of level `sigma` a Gaussian with
covariance `C_k = S_k + sigma^2 I`. Written out, its logarithm is a polynomial in the point,

    log w_k N(x; mu_k, C_k) = -1/2 x' A_k x + b_k' x + c_k,    A_k = C_k^-1,  b_k = A_k mu_k,
    c_k = log w_k - 1/2 b_k' mu_k - 1/2 log det C_k - log 2 pi,

and with the responsibilities `r_k(x)`, the softmax of these over k,

    grad log p_sigma = sum_k r_k (b_k - A_k x),      E[x0 | x] = x + sigma^2 grad log p_sigma.

So two matrix products and a softmax evaluate all components at all points. The polynomial and Tweedie's formula cancel
digits: they amplify rounding errors by up to `x^2 / sigma^2`. Everything is therefore computed in float64, whatever the
dtype of the points. This takes less time than the differences `x - mu_k`, which float32 would need.
"""

import functools
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from toy_score.constants import Constant
from toy_score.distributions.base import Distribution, OneClass, by_rows, column, device_of, evenly_spread, pair, wide
from toy_score.distributions.tails import LOG_2PI

__all__ = ["Gaussians", "Mixture", "checked", "isotropic"]

CPU_CHUNK, GPU_CHUNK = 1 << 16, 1 << 22  # components x points at a time: they stay in the cache; they take 32 MB
MAX_PAIRS = 1 << 26  # components x nodes of the grid on which an entropy is integrated: about a second


class Mixture(NamedTuple):
    """The components of a mixture of Gaussians."""

    means: Tensor
    """`mu`, `(K, 2)`."""

    covariances: Tensor
    """`S`, `(K, 2, 2)`, symmetric and positive definite, or semidefinite: then `sigma = 0` raises a ValueError."""

    weights: Tensor | None = None
    """`(K,)`, positive, in any unit; equal if None."""

    labels: Tensor | None = None
    """`(K,)`, the class of each component, counted from 0; if None, each is a class of its own."""

    names: Sequence[str] | None = None
    """Of the classes; their numbers if None."""


class Gaussians(Distribution):
    """A mixture of Gaussians; the formulas are at the top of this file."""

    _has_density: bool
    _mu: Tensor
    _S: Tensor
    _w: Tensor
    _labels: Tensor
    _of_class: Tensor
    _columns: Constant

    @abstractmethod
    def mixture(self) -> Mixture:
        """The components; called once, when the object is made."""

    def __post_init__(self) -> None:
        means, covariances, weights, labels, names = self.mixture()
        K = len(means)
        weights = torch.ones(K) if weights is None else weights
        labels = torch.arange(K) if labels is None else labels
        mu, S, w = means.double(), covariances.double(), weights.double() / weights.double().sum()
        of_class = torch.nn.functional.one_hot(labels).double()  # (K, classes)
        shares = (w @ of_class).tolist()
        names = [str(k) for k in range(len(shares))] if names is None else names
        reach = mu.abs() + 3.0 * torch.diagonal(S, dim1=-2, dim2=-1).sqrt()
        columns = torch.stack([*mu.T, S[:, 0, 0], S[:, 0, 1], S[:, 1, 1], w.log() - LOG_2PI])[:, None, :]
        self._set(
            mode_weights=dict(zip(names, shares, strict=True)),
            n_labels=len(shares) if len(shares) > 1 else 0,
            bounds=math.ceil(2.0 * reach.max().item()) / 2.0,
            _has_density=bool((torch.linalg.det(S) > 0).all()),
            _mu=mu,
            _S=S,
            _w=w,
            _labels=labels,
            _of_class=of_class,
            _columns=Constant(columns),
        )

    def log_prob(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        def log_p(p: _Components) -> Tensor:
            return p.top[:, 0] + p.exp.sum(dim=-1).log()

        return self._by_rows(log_p, x, sigma).to(x.dtype)

    def score(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self._by_rows(_Components.score, x, sigma).to(x.dtype)

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self._by_rows(lambda p: p.x + p.v * p.score(), x, sigma).to(x.dtype)

    def score_and_denoise(self, x: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor]:
        def both(p: _Components) -> Tensor:
            score = p.score()
            return torch.cat([score, p.x + p.v * score], dim=1)

        return pair(self._by_rows(both, x, sigma).to(x.dtype))

    def modes(self, x: Tensor) -> Tensor:
        """The class with the largest posterior probability, `(n,)` integers."""
        of_class = self._of_class.to(x.device)
        return self._by_rows(lambda p: (p.exp @ of_class).argmax(dim=-1), x, 0.0)

    def deviations(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Distance from the nearest component in standard deviations, `(n,)` float64, and its class, `(n,)` integers.

        `min_k sqrt((x - mu_k)' S_k^-1 (x - mu_k))`, the Mahalanobis distance, as a polynomial in `x`.
        """
        A = torch.linalg.inv(self._S)
        b = (A @ self._mu[:, :, None])[:, :, 0]
        c = (b * self._mu).sum(dim=1)
        matrix = torch.stack([A[:, 0, 0], 2 * A[:, 0, 1], A[:, 1, 1], *(-2 * b).T, c]).to(x.device)  # [6, K]
        found = []
        for y in x.double().split(max(CPU_CHUNK // len(c), 1)):
            x0, x1 = y.T
            found.append((torch.stack([x0 * x0, x0 * x1, x1 * x1, x0, x1, torch.ones_like(x0)], dim=1) @ matrix).min(1))
        squares, k = (
            (torch.cat(parts) for parts in zip(*found, strict=True)) if found else (x[:, 0].double(), x[:, 0].long())
        )
        return squares.clamp(min=0).sqrt(), self._labels.to(x.device)[k]

    def pull(self, x: Tensor) -> Tensor:
        """Gaussianised points `z`, `(n, 2)` float64: standard normal if `x` is distributed like this, and only then.

        `z_0 = Phi^-1(P(x_0))` and `z_1 = Phi^-1(P(x_1 | x_0))` (Rosenblatt 1952). The conditional distribution function
        `P(x_1 | x_0)` is the mean of those of the components, weighted by their posterior probabilities given `x_0`.
        """
        mu0, mu1 = self._mu.T.to(x.device)
        s00, s01, s11 = (self._S.to(x.device)[:, i, j] for i, j in ((0, 0), (0, 1), (1, 1)))
        log_w, slope = self._w.log().to(x.device), s01 / s00
        pulled = []
        for y in x.double().split(max(CPU_CHUNK // len(mu0), 1)):
            d0 = (y[:, :1] - mu0) / s00.sqrt()  # [rows, K]
            log_q = log_w - 0.5 * (d0.square() + s00.log())
            posterior = torch.softmax((log_q - log_q.amax(dim=1, keepdim=True)).clamp(min=-600.0), dim=1)
            d1 = (y[:, 1:] - mu1 - slope * (y[:, :1] - mu0)) / (s11 - slope * s01).sqrt()
            u = torch.stack(
                [torch.special.ndtr(d0) @ log_w.exp(), (posterior * torch.special.ndtr(d1)).sum(dim=1)], dim=1
            )
            pulled.append(torch.special.ndtri(u.clamp(1e-300, 1.0 - 1e-16)))
        return torch.cat(pulled)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return self.sample_labelled(n, generator)[0]

    def sample_labelled(self, n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        device = device_of(generator)
        u = torch.rand(n, generator=generator, device=device, dtype=torch.float64)
        z = torch.randn(n, 2, generator=generator, device=device)
        k = self._component(u)
        return self._place(k, z), self._labels.to(k.device)[k]

    def _component(self, u: Tensor) -> Tensor:
        """The component for each uniform number on [0, 1), `(n,)`, by the inverse distribution function."""
        edges = self._w.cumsum(dim=0)[:-1].to(u.device)
        return torch.searchsorted(edges, u, right=True)

    def _place(self, k: Tensor, z: Tensor) -> Tensor:
        """`mu_k + L_k z` with `S_k = L_k L_k'`: maps standard normal points to points of the components `k`."""
        mu, S = (c.to(z)[k] for c in (self._mu, self._S))
        l00 = S[:, 0, 0].sqrt()
        l10 = torch.where(l00 > 0, S[:, 0, 1] / l00, 0.0)
        l11 = (S[:, 1, 1] - l10.square()).clamp(min=0).sqrt()
        return mu + torch.stack([l00 * z[:, 0], l10 * z[:, 0] + l11 * z[:, 1]], dim=-1)

    def reference(self, n: int = 65_536) -> Tensor:
        u = evenly_spread(n, 3)  # the first dimension chooses the component, the others choose the point
        return self._place(self._component(u[:, 0].contiguous()), torch.special.ndtri(u[:, 1:]))

    def _conditioned_on(self, label: int) -> Distribution:
        return _Class(self, label)

    def entropy(self) -> float:
        """By the trapezoidal rule, with steps of a quarter of the smallest standard deviation: accurate to 1e-7 nats.

        Where this would take too long, the mean over 2^18 evenly spread points: accurate to 1e-3 nats.
        """
        return self._entropy

    @functools.cached_property
    def _entropy(self) -> float:
        smallest = torch.linalg.eigvalsh(self._S).min().clamp(min=1e-12).sqrt().item()
        reach = 9.0 * torch.diagonal(self._S, dim1=-2, dim2=-1).sqrt()
        low, high = (self._mu - reach).amin(dim=0), (self._mu + reach).amax(dim=0)
        steps = ((high - low) / (smallest / 4.0)).ceil()
        if steps.prod() * len(self._w) > MAX_PAIRS:
            return -self.log_prob(self.reference(1 << 18)).mean().item()
        sides = [
            torch.linspace(a, b, int(m) + 1, dtype=torch.float64) for a, b, m in zip(low, high, steps, strict=True)
        ]
        cell = ((high - low) / steps).prod()
        log_p = self.log_prob(torch.cartesian_prod(*sides))
        return -(log_p.exp() * log_p).sum().mul(cell).item()

    def _by_rows(self, function: Callable[["_Components"], Tensor], x: Tensor, sigma: float | Tensor) -> Tensor:
        """`function` of the components at the points, computed in chunks of rows to bound the memory."""
        columns = self._columns.to(x.device)
        if not self._has_density and not (column(sigma, x) > 0).all():
            raise ValueError("a covariance is singular, so there is no density without noise; sigma must be positive")
        rows = (CPU_CHUNK if x.device.type == "cpu" else GPU_CHUNK) // columns.shape[-1]
        return by_rows(lambda y, s: function(_Components(columns, y, s.square())), wide(x), sigma, rows)


class _Components:
    """All components at some points: `exp(log w_k N(x; mu_k, C_k) - top)`, `(n, K)`; `top` is the maximum over k."""

    def __init__(self, columns: Tensor, x: Tensor, v: Tensor):
        mu0, mu1, s00, s01, s11, log_weight = columns  # (1, K)
        c00, c11 = s00 + v, s11 + v  # (1, K), or (n, K) where each row has a noise level of its own
        det = c00 * c11 - s01 * s01
        a00, a01, a11 = c11 / det, -s01 / det, c00 / det
        b0, b1 = a00 * mu0 + a01 * mu1, a01 * mu0 + a11 * mu1
        constant = log_weight - 0.5 * (b0 * mu0 + b1 * mu1 + det.log())
        self.x, self.v = x, v
        x0, x1 = x[:, 0], x[:, 1]
        powers = torch.stack([-0.5 * x0 * x0, -x0 * x1, -0.5 * x1 * x1, x0, x1, torch.ones_like(x0)], dim=-1)
        log_q = _contract(powers, torch.stack([a00, a01, a11, b0, b1, constant], dim=-2))
        self.top = log_q.detach().amax(dim=-1, keepdim=True)
        # Terms below 1e-260 do not matter, and arithmetic with denormal numbers takes ten times as long.
        self.exp = (log_q - self.top).clamp(min=-600.0).exp()
        self.parts = torch.stack([a00, a01, a11, b0, b1, torch.ones_like(b0)], dim=-1)

    def score(self) -> Tensor:
        """`sum_k r_k (b_k - A_k x)`, `(n, 2)`."""
        *sums, total = _contract(self.exp, self.parts).unbind(dim=-1)
        a00, a01, a11, b0, b1 = (s / total for s in sums)
        x0, x1 = self.x[:, 0], self.x[:, 1]
        return torch.stack([b0 - a00 * x0 - a01 * x1, b1 - a01 * x0 - a11 * x1], dim=-1)


def _contract(rows: Tensor, matrices: Tensor) -> Tensor:
    """Each row `(n, m)` times its matrix: `(1, m, k)` for all, or `(n, m, k)`; `(n, k)`."""
    if len(matrices) == 1:
        return rows @ matrices[0]
    return (rows[:, None, :] @ matrices)[:, 0, :]


class _Class(OneClass, Gaussians):
    """The components of one class of a mixture."""

    def mixture(self) -> Mixture:
        whole = self.whole
        k = (whole._labels == self.label).nonzero()[:, 0]
        return Mixture(whole._mu[k], whole._S[k], whole._w[k], torch.zeros(len(k), dtype=torch.long))


def isotropic(stds: Tensor) -> Tensor:
    """Covariances of round Gaussians, `(K, 2, 2)`, from their standard deviations, `(K,)`."""
    return stds.double().square()[:, None, None] * torch.eye(2, dtype=torch.float64)


def checked(name: str, values: object, shape: tuple[int | str, ...]) -> Tensor:
    """Values as a float64 tensor of a shape, in which a letter stands for any number above 0."""
    try:
        numbers = torch.tensor(values, dtype=torch.float64)
        fits = len(shape) == numbers.dim() and all(
            n == m if isinstance(m, int) else n > 0 for n, m in zip(numbers.shape, shape, strict=True)
        )
    except (TypeError, ValueError):
        fits = False
    if not fits or not numbers.isfinite().all():
        raise ValueError(f"{name} must be {' x '.join(map(str, shape))} finite numbers, got {values}")
    return numbers
