r"""Feynman-Kac correctors: particles for powers and products of densities (Skreta et al. 2025).

With the notation of `tilts.Tilt`, `v = r^2` the variance of the noise of the samples, and time running towards the
data, the reverse SDE with the sum `S` of the scores, `dz = S |dv| + dW`, does not carry `prod_i p_i^b_i` of one level
to that of the next. It does so if each path has a weight,

    d log w / |dv| = 1/2 (1 - B) div S + 1/2 (|S|^2 - B sum_i b_i |s_i|^2)
                   = 1/2 (1 - B) (tr J - 2) / v  -  1/2 sum_i (b_i / B) |D_i - D|^2 / v^2,

`s_i` being the scores at the variance `B v`, and `J = sum_i (b_i / B) dD_i / dz`. (The Fokker-Planck equations of the
factors, and that of the SDE; no density appears.) Both integrals are trapezoidal sums over the steps, in `log v` and in
`1 / v`, and the steps are ancestral. So the errors are those of the steps and of the number of particles.

Where the scores lead the particles away from one another, as strong guidance does, the weights of few lines outgrow
those of all others. A Langevin step at each level, which leaves its target as it is and so needs no weight, brings the
particles back to where the target is, and makes copies differ (resample-move; Gilks & Berzuini 2001):

    z + h (D - z) + sqrt((2 h - h^2 g) v) eps,    g = 1 - mean tr J / 2.

With `g = 0` this is the unadjusted step; so it is exact where the target is normal.

The start is normal: `prod_i N(0, B v)^b_i`, whose integral is `(2 pi B v)^-B 2 pi v`. With it, the mean weight
estimates `Z`, the integral of `prod_i p_i^b_i`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from toy_score.denoisers import Denoiser
from toy_score.samplers.ancestral import forward_step
from toy_score.samplers.base import NoiseStream
from toy_score.samplers.particles import ParticleSampler, Population
from toy_score.schedules import Level, Schedule
from toy_score.tilts import Tilt

__all__ = ["FeynmanKacCorrector"]


@dataclass(frozen=True)
class FeynmanKacCorrector(ParticleSampler):
    """Samples of a `Tilt`, corrected by weights; the formulas are at the top of this file.

    With any other denoiser it is ancestral sampling.

    Its arguments are those of `ParticleSampler` and the following one. With `grid=Angular(scale)`, a scale of a fifth
    of the data's standard deviation has a bias several times smaller than a scale of one, where the steps at low noise
    are long.

    Args:
        langevin: `h`, the length of the Langevin steps, in [0, 1); 0 for none, which takes half of the evaluations.

    Raises:
        ValueError: if an argument is out of range.
    """

    langevin: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.langevin < 1:
            raise ValueError(f"langevin must be in [0, 1), got {self.langevin}; 0.1 is the default, 0 takes no steps")

    def nfe(self, schedule: Schedule) -> int:
        return (2 if self.langevin else 1) * (self.n_steps - 1) + 1

    def multistep(
        self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream, memory: Population | None
    ) -> tuple[Tensor, Population]:
        a, b = forward_step(t, s)
        keep = (s.sigma / t.sigma) ** 2
        z, u = noise.normal(), noise.uniform()
        if not isinstance(denoiser, Tilt):
            D, before = denoiser.denoise(x, t), self.unweighted(x)
            return a * keep * x + (s.alpha * b / t.sigma**2) * D + (b * keep) ** 0.5 * z, before
        before = self._begun(denoiser, x, t) if memory is None else memory
        D, spread, trace = before.evaluation
        x = a * keep * x + (s.alpha * b / t.sigma**2) * D + (b * keep) ** 0.5 * z
        after = self._evaluated(denoiser, x, s)
        log_w = (
            before.log_w
            + 0.5 * (1.0 - denoiser.total) * (trace + after[2] - 4.0) * math.log(t.ratio / s.ratio)
            - 0.25 * (spread + after[1]) * (s.ratio**-2 - t.ratio**-2)
        )
        population, k = self.resampled(before._replace(log_w=log_w), x, u, self.threshold)
        if k is not None:
            x, after = x[k], (after[0][k], after[1][k], after[2][k])
        if self.langevin:
            h, (D, _, trace) = self.langevin, after
            g = torch.cat([(1.0 - 0.5 * part.mean()).expand(len(part)) for part in trace.split(self.block(x))])
            spread = (s.ratio**2 * (2.0 * h - h**2 * g.clamp(0.0, 1.0))).sqrt()[:, None]
            x = x + s.alpha * (h * (D - x / s.alpha) + spread * noise.normal())
            after = self._evaluated(denoiser, x, s)
        return x, population._replace(evaluation=after)

    def multistep_last(
        self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream, memory: Population | None
    ) -> tuple[Tensor, Population]:
        """The denoised points, resampled by their weights."""
        u = noise.uniform()
        if not isinstance(denoiser, Tilt):
            return denoiser.denoise(x, t), self.unweighted(x)
        before = self._begun(denoiser, x, t) if memory is None else memory
        population, k = self.resampled(before._replace(evaluation=None), x, u, math.inf)
        x = before.evaluation[0]
        return x if k is None else x[k], population

    def _begun(self, denoiser: Tilt, x: Tensor, t: Level) -> Population:
        """The population at the start, where the target is normal, with the logarithm of its integral."""
        v, B = t.ratio**2, denoiser.total
        log_Z = math.log(2.0 * math.pi * v) - B * math.log(2.0 * math.pi * B * v)
        begun = self.unweighted(x)
        return begun._replace(log_mean=begun.log_mean + log_Z, evaluation=self._evaluated(denoiser, x, t))

    @staticmethod
    def _evaluated(denoiser: Tilt, x: Tensor, t: Level) -> tuple[Tensor, Tensor, Tensor]:
        """`D`, `(n, 2)`, `sum_i (b_i / B) |D_i - D|^2` and `tr J`, `(n,)`."""
        parts, traces = denoiser.parts(x, t)
        share = torch.tensor(denoiser.shares, dtype=x.dtype, device=x.device)[:, None]
        D = (share[:, :, None] * parts).sum(dim=0)
        return D, (share * (parts - D).square().sum(dim=-1)).sum(dim=0), (share * traces).sum(dim=0)
