r"""The one interface between models and everything that uses them.

For `x_t = alpha x_0 + sigma eps`, whoever can say `D(x, t) = E[x_0 | x_t = x]` can say all of

    noise(x, t)    = E[eps | x_t = x] = (x - alpha D) / sigma,
    score(x, t)    = grad log p_t(x)  = -noise / sigma          (Tweedie; Vincent 2011, Efron 2011),
    velocity(x, t) = (alpha noise - sigma D) / R,  R^2 = alpha^2 + sigma^2      (Salimans & Ho 2022).

Samplers, metrics and pictures ask these questions of a `Denoiser` and need not know who answers: a trained network,
or, because this is the plane, the truth.
"""

from toy_score.denoisers.base import At, Denoiser
from toy_score.denoisers.exact import ExactDenoiser
from toy_score.denoisers.guided import Guided, Rescheduled
from toy_score.denoisers.network import NetworkDenoiser

__all__ = ["At", "Denoiser", "ExactDenoiser", "Guided", "NetworkDenoiser", "Rescheduled"]
