r"""What a network is validated on: the same noisy points every time, and the exact answers there.

At noise level k each clean point `x_0` is seen as `x = alpha_k x_0 + sigma_k eps`, with noise `eps` that is drawn once.
One evaluation of the network at these points gives both

    loss_k        = E |noise_theta(x) - eps|^2 / 2           (denoising score matching; Vincent 2011),
    score error_k = E |noise_theta(x) - E[eps | x]|^2 / 2    (see `ScoreError`),

and the exact `E[eps | x]` is computed once, since the points do not change.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from toy_score.denoisers import Denoiser
from toy_score.metrics import STUDY_LEVELS
from toy_score.schedules import Schedule
from toy_score.seeds import seed_of

__all__ = ["Validation"]


class Validation:
    """Fixed noisy points at K noise levels.

    Args:
        x0: clean points, `(n, 2)`.
        schedule: the schedule of the denoisers that are validated.
        truth: the exact denoiser on that schedule; None if it is unknown.
        noise_seed: seed of the noise.
        levels: K noise levels `sigma / alpha`, > 0; a level outside the range of the schedule is moved to its end.
    """

    def __init__(
        self,
        x0: Tensor,
        schedule: Schedule,
        truth: Denoiser | None,
        noise_seed: int,
        levels: Sequence[float] = STUDY_LEVELS,
    ):
        self._x0 = x0
        generator = Generator(x0.device).manual_seed(seed_of("validation levels", noise_seed))
        self._eps = torch.randn(len(levels), *x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
        t = schedule.time(torch.tensor(levels, dtype=torch.float64, device=x0.device)).to(x0.dtype)
        self._levels = [schedule.level(t_k[None, None]) for t_k in t]
        parts = zip(self._levels, self._eps, strict=True)
        self._x = torch.stack([level.alpha * x0 + level.sigma * eps for level, eps in parts])
        self._exact = None if truth is None else self.noise(truth)

    def is_of(self, x0: Tensor) -> bool:
        """Whether these are its clean points."""
        same_type = (self._x0.device, self._x0.dtype) == (x0.device, x0.dtype)
        return same_type and torch.equal(self._x0, x0)

    def noise(self, denoiser: Denoiser) -> Tensor:
        """The noise that a denoiser sees in the points, `(K, n, 2)`."""
        return torch.stack([denoiser.noise(x, level) for x, level in zip(self._x, self._levels, strict=True)])

    def loss(self, noise: Tensor) -> Tensor:
        """The denoising loss of answers `noise`, `(K, n, 2)`, at each level: `(K,)` float64."""
        return _half_square(noise - self._eps)

    def score_error(self, noise: Tensor) -> Tensor | None:
        """The normalised score error of answers `noise`, `(K, n, 2)`, at each level: `(K,)` float64.

        None if the truth is unknown.
        """
        return None if self._exact is None else _half_square(noise - self._exact)


def _half_square(difference: Tensor) -> Tensor:
    """Half the mean squared length of the rows at each level."""
    return 0.5 * difference.double().square().sum(dim=-1).mean(dim=-1)
