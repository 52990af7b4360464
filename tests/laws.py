"""Values of the metrics for exact samples, by theory: thresholds with a known rate of false alarms."""

import functools
import math

import torch

SURE = math.log(1e6)  # exp(-SURE) is the false alarm rate of the thresholds below


def laws(p, n):
    """Mean of the sliced W1, spread of the energy distance, and thresholds at 1e-6, for n exact samples.

    Sliced W1: on each direction `sqrt(n) (F - G)` is a Brownian bridge of variance `G (1 - G)`, and the mean of its
    modulus is `sqrt(2 G (1 - G) / pi)`. By duality sqrt(n) W1 is the supremum of a Gaussian process of functions that
    are (2 / pi)-Lipschitz, so it exceeds its mean by `u s` with probability below `exp(-u^2 / 2)`, with
    `s^2 = (2 / pi)^2 tr Cov` (Borell's inequality).

    Energy: n times it is `sum_i l_i (chi^2_i - 1)` with the eigenvalues of the centred kernel `-|x - y|`, so it exceeds
    `2 |l|_2 sqrt(u) + 2 max(l) u` with probability below `exp(-u)` (Laurent & Massart 2000, lemma 1).

    Cross-entropy gap: a mean; 4.89 standard deviations.
    """
    mean, spread, trace, largest, nats = _constants(p)
    return {
        "sliced_w1 mean": mean / n**0.5,
        "energy sd": 2**0.5 * trace / n,
        "sliced_w1": (mean + (2 * SURE) ** 0.5 * spread) / n**0.5,
        "energy": 2 * (trace * SURE**0.5 + largest * SURE) / n,
        "cross_entropy_gap": 4.89 * nats / n**0.5,
    }


@functools.lru_cache
def _constants(p):
    """What the laws need to know of a distribution: means, Lipschitz spread, norm and top of the eigenvalues, nats."""
    x = p.reference()
    angles = torch.arange(64) * math.pi / 64
    y = (x @ torch.stack([angles.cos(), angles.sin()]).double()).sort(0).values
    G = torch.arange(1, len(y), dtype=torch.float64)[:, None] / len(y)
    mean = ((2 / math.pi * G * (1 - G)).sqrt() * y.diff(dim=0)).sum(0).mean().item()
    spread = 2 / math.pi * x.var(0).sum().sqrt().item()
    few = x[:1024]
    K = -torch.cdist(few, few)
    K = K - K.mean(0) - K.mean(1, keepdim=True) + K.mean()
    eigenvalues = torch.linalg.eigvalsh(K / len(few)).clamp(min=0)
    nats = p.log_prob(x, 0.05).std().item()
    return mean, spread, eigenvalues.norm().item(), eigenvalues.max().item(), nats
