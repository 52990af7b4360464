"""What a model shows of itself in a notebook: pictures in the units of the data, and its settings as a table."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from toy_score.bridges import Bridge
from toy_score.component import to_config, written
from toy_score.data import KnownData
from toy_score.distributions import Distribution
from toy_score.modules.sampling import SamplingModule
from toy_score.objectives import Loss, TrainingTimes
from toy_score.samplers import Sampler
from toy_score.seeds import seed_of

if TYPE_CHECKING:
    from toy_score.plotting import Picture

__all__ = ["PlottingModule"]

N_REAL = 2000


class PlottingModule(SamplingModule):
    """A `SamplingModule` with pictures of its samples, paths and field.

    Behind them are points, and the density, of the data that the model was trained on; where these are not known, as
    with the points of a file after a checkpoint is loaded, nothing. Matplotlib is imported by the first picture.
    """

    times: TrainingTimes
    objective: Loss

    def plot_samples(self, n: int = 2000, seed: int = 0, sampler: Sampler | None = None) -> "Picture":
        """`n` samples over real points, by the module's own sampler or another."""
        return self.picture_of(self.sample(n, seed, sampler))

    def picture_of(self, x: torch.Tensor) -> "Picture":
        """Samples `(n, 2)`, in the units of the data, over real points."""
        from toy_score import plotting

        p, units = self._pictured(), self.standardisation
        z = x.cpu() if units is None else units(x.cpu())
        return self._finished(plotting.samples(z, self._real(p), p, self._title(p)))

    def plot_trajectories(self, n: int = 4, seed: int = 0, sampler: Sampler | None = None) -> "Picture":
        """The paths of `n` samples, or of `6 n` if they are smooth; see `plotting.visible_paths`."""
        from toy_score import plotting

        generator = torch.Generator(self.device).manual_seed(seed)
        p = self._pictured()
        denoiser, bounds = self.sampling_denoiser, self._bounds(p)
        paths = plotting.visible_paths(sampler or self.sampler, denoiser, n, generator, bounds)
        return self._finished(plotting.trajectories(paths, self._real(p), p, self._title(p)))

    def plot_field(self, sigmas: Sequence[float] = (0.05, 0.5, 2.0)) -> "Picture":
        """The learned score at noise levels `sigmas`; below it the exact one, if known, and their difference."""
        from toy_score import plotting

        p, exact = self._pictured(), self.reference_denoiser
        figure = plotting.vector_field(
            self.sampling_denoiser, exact, sigmas, self._bounds(p), self._title(p), real=self._real(p)
        )
        return self._finished(figure)

    def bridge_figures(self, bridge: Bridge, real: torch.Tensor, title: str, final: bool) -> dict[str, "Picture"]:
        """The pictures of a model that is a bridge; none of another."""
        return {}

    def _pictured(self) -> Distribution | None:
        target: KnownData | None = self.target
        return None if target is None else target.distribution

    def _bounds(self, p: Distribution | None) -> float:
        return Distribution.bounds if p is None else p.bounds

    def _real(self, p: Distribution | None) -> torch.Tensor | None:
        return None if p is None else p.sample(N_REAL, torch.Generator().manual_seed(seed_of("pictured points")))

    def _title(self, p: Distribution | None) -> str:
        return self.name if p is None or not p.name else f"{self.name} on the {p.name.replace('_', ' ')}"

    def _finished(self, figure: "Picture") -> "Picture":
        from toy_score import plotting

        if self.standardisation is not None:
            plotting.in_units(figure, self.standardisation)
        return figure

    # Settings

    def _settings(self) -> dict[str, str]:
        """The choices that make up the model, each as the call that makes it."""
        p = self._pictured()
        shown = {
            "schedule": repr(self.schedule),
            "parameterisation": repr(self.parameterisation),
            "conditioning": repr(self.conditioning),
            "times": repr(self.times),
            "objective": repr(self.objective),
            "backbone": written(to_config(self.backbone)),
            "weights": f"{sum(weights.numel() for weights in self.parameters()):,}".replace(",", " "),
            "sampler": f"{self.sampler!r}, {self.sampler.nfe(self.schedule)} evaluations a sample",
        }
        optional = {"data": p, "standardisation": self.standardisation, "label": self.label, "guide": self.guide}
        return shown | {name: repr(value) for name, value in optional.items() if value is not None}

    def __repr__(self) -> str:
        lines = [f"  {name:<18}{value}" for name, value in self._settings().items()]
        return "\n".join([type(self).__name__, *lines])

    def _repr_html_(self) -> str:
        left = ' style="text-align: left"'
        rows = [
            f"<tr><th{left}>{name}</th><td{left}><code>{html.escape(value)}</code></td></tr>"
            for name, value in self._settings().items()
        ]
        return f"<strong>{type(self).__name__}</strong><table>{''.join(rows)}</table>"
