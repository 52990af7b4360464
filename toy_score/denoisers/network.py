"""A trained denoiser."""

import functools
from collections.abc import Callable, Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from toy_score.backbones import Backbone
from toy_score.denoisers.base import At, Denoiser
from toy_score.parameterisations import Conditioning, Parameterisation
from toy_score.schedules import Levels, Schedule

__all__ = ["NetworkDenoiser"]


class NetworkDenoiser(nn.Module, Denoiser):
    """A backbone with a parameterisation, which says what its output means, and a conditioning on the noise level.

    Args:
        backbone: the network.
        schedule: signal and noise over time.
        parameterisation: what the network predicts.
        conditioning: the number that encodes the noise level for the network.
        labels: what it is conditioned on, on its device: class labels, `(n,)` or `(1,)` integers, or conditions, `(n,
            d)` or `(1, d)`; see `conditioned_on`.

    Raises:
        ValueError: if the backbone is conditioned on another number of times: 1, or 2 for a flow map.
    """

    n_times: ClassVar[int] = 1
    """On how many times the network is conditioned."""

    def __init__(
        self,
        backbone: Backbone,
        schedule: Schedule,
        parameterisation: Parameterisation,
        conditioning: Conditioning,
        labels: Tensor | None = None,
    ):
        super().__init__()
        if backbone.n_numbers != self.n_times:
            model, takes, gets, choice = (
                ("a flow map", "two times", "one", "MapMLP")
                if self.n_times == 2
                else ("this model", "one time", "two", "MLP")
            )
            raise ValueError(
                f"{model} is conditioned on {takes}, {type(backbone).__name__} on {gets}; choose "
                f"--model.backbone {choice}"
            )
        self.backbone, self.schedule = backbone, schedule
        self.parameterisation, self.conditioning, self.labels = parameterisation, conditioning, labels

    def conditioned_on(self, labels: int | Sequence[float] | Tensor) -> Self:
        """The same network, conditioned on a class: one for all points, or one for each, `(n,)`; -1 for none.

        Or on a condition: `d` numbers for all points, or for each, `(n, d)`; nan for none.

        Raises:
            ValueError: for a label or a condition that the network does not know.
        """
        n, d = self.backbone.n_labels, self.backbone.n_conditions
        labels = torch.as_tensor(labels, device=next(self.parameters()).device)
        if labels.is_floating_point():
            if not d or labels.dim() not in (1, 2) or labels.shape[-1] != d:
                takes = f"it takes {d} numbers" if d else "train one with backbone.n_conditions"
                raise ValueError(f"this network cannot be conditioned on numbers {tuple(labels.shape)}: {takes}")
            return self._told(labels.reshape(-1, d))
        labels = labels.reshape(-1)
        if not n:
            raise ValueError("this network knows no labels; train one with backbone.n_labels and data.labels")
        if labels.device.type == "cpu" and not ((labels >= -1) & (labels < n)).all():
            raise ValueError(f"labels go from 0 to {n - 1} (-1: none), got {labels.min()} to {labels.max()}")
        return self._told(labels)

    def _told(self, labels: Tensor) -> Self:
        return type(self)(self.backbone, self.schedule, self.parameterisation, self.conditioning, labels)

    def denoise(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return _affine(*self.parameterisation.data(level.alpha, level.sigma), x, self._output(x, level))

    def noise(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return _affine(*self.parameterisation.noise(level.alpha, level.sigma), x, self._output(x, level))

    def score(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return _affine(*self.parameterisation.score(level.alpha, level.sigma), x, self._output(x, level))

    def velocity(self, x: Tensor, t: At) -> Tensor:
        level = self._level(x, t)
        return _affine(*self.parameterisation.velocity(level.alpha, level.sigma), x, self._output(x, level))

    def denoise_jacobian(self, x: Tensor, t: At) -> tuple[Tensor, Tensor]:
        level = self._level(x, t)
        return self._jacobian(*self.parameterisation.data(level.alpha, level.sigma), x, level)

    def flows(self, angles: Sequence[float]) -> list[Callable[[Tensor], Tensor]]:
        weights = next(self.parameters())
        exact = torch.promote_types(weights.dtype, torch.float32)
        level = self.level_at_angle(torch.tensor(angles, dtype=exact, device=weights.device)[:, None])
        (skip, out), R = self.parameterisation.velocity(level.alpha, level.sigma), level.radius
        c_in, c = R * self.parameterisation.c_in(level.alpha, level.sigma), self._condition(level)

        def slope(k: int, z: Tensor) -> Tensor:
            row = slice(k, k + 1)
            F = self.parameterisation.output(self.backbone, *self._inputs(c_in[row] * z, z, c[row])).to(z.dtype)
            return torch.addcmul(out[row] * F, R[row] * skip[row], z)

        return [functools.partial(slope, k) for k in range(len(angles))]

    def noise_jacobian(self, x: Tensor, t: At) -> tuple[Tensor, Tensor]:
        level = self._level(x, t)
        return self._jacobian(*self.parameterisation.noise(level.alpha, level.sigma), x, level)

    def velocity_jacobian(self, x: Tensor, t: At) -> tuple[Tensor, Tensor]:
        level = self._level(x, t)
        return self._jacobian(*self.parameterisation.velocity(level.alpha, level.sigma), x, level)

    def _jacobian(
        self, skip: Tensor | float, out: Tensor, x: Tensor, level: Levels, c: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`skip x + out F(c_in x, c)` and its derivatives, `skip I + out c_in dF`."""
        c_in, c = self.parameterisation.c_in(level.alpha, level.sigma), self._condition(level) if c is None else c
        F, dF = self.parameterisation.jacobian(self.backbone, *self._inputs(c_in * x, x, c))
        F, dF = F.to(x.dtype), dF.to(x.dtype)
        identity = torch.eye(2, dtype=x.dtype, device=x.device)
        skipped = skip[:, :, None] * identity if isinstance(skip, Tensor) else 0.0
        return _affine(skip, out, x, F), skipped + (out * c_in)[:, :, None] * dF

    def _condition(self, level: Levels) -> Tensor:
        """The number `c` that the network gets for a level, `(1, 1)` or `(n, 1)`."""
        return self.conditioning(*level)

    def _output(self, x: Tensor, level: Levels, c: Tensor | None = None) -> Tensor:
        c_in, c = self.parameterisation.c_in(level.alpha, level.sigma), self._condition(level) if c is None else c
        scaled = x if isinstance(c_in, float) else c_in * x
        return self.parameterisation.output(self.backbone, *self._inputs(scaled, x, c)).to(x.dtype)

    def _inputs(self, scaled: Tensor, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the network is given: points, the number `c` and the labels of all rows, or one for all of them.

        Points and `c` have the dtype of its weights, which need not be that of `x`: a network in bfloat16 or float64
        works with samplers in float32.
        """
        weights = next(self.backbone.parameters(), x)
        scaled, c, labels = scaled.to(weights.dtype), c.to(weights.dtype), self.labels
        if labels is not None and len(labels) not in (1, len(x)):
            labels = labels.repeat(len(x) // len(labels), *[1] * (labels.dim() - 1))  # as the batch, for each level
        if self.backbone.broadcasts:
            return scaled, c, labels
        return scaled, c.expand(len(x), -1), None if labels is None else labels.expand(len(x), *labels.shape[1:])


def _affine(skip: Tensor | float, out: Tensor, x: Tensor, F: Tensor) -> Tensor:
    """`skip x + out F`."""
    return torch.addcmul(out * F, skip, x) if isinstance(skip, Tensor) else out * F
