r"""How far a learned bridge is from the exact one, and how direct its paths are.

The velocity error at a time `t` is `E|u_theta(x_t, t) - u(x_t, t)|^2 / E|u(x_t, t)|^2`, over points `x_t` of
the exact bridge. It needs no sampling and has no noise floor; 1 is a network that says 0.

Of the flow's paths from the source, `x(t)` with `dx / dt = u`, are measured (Tong et al. 2024; Liu et al. 2023)

    path energy              PE = E int |u|^2 dt,
    normalised path energy   |PE - W2^2| / W2^2,  0 for optimal transport, whose `PE` is the least there is,
    straightness             1 - E|x(1) - x(0)|^2 / PE,  0 for straight lines at constant speed,

with `W2` between the source and the data, by the exact assignment of so many points of each.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from toy_score.bridges import Bridge, KnownBridge
from toy_score.distributions import Distribution
from toy_score.metrics.base import ExactMetric
from toy_score.metrics.transport import exact_w2
from toy_score.requests import SampleRequest
from toy_score.seeds import seed_of

__all__ = ["BRIDGE_TIMES", "Bridges", "VelocityError", "bridge_table", "follow", "squared_w2"]

BRIDGE_TIMES = (0.05, 0.25, 0.5, 0.75, 0.95)
POINTS, PATHS, STEPS = 4096, 4096, 100
ASSIGNED = 1024
"""Points of source and data whose exact assignment gives `W2`, in about a second. It comes out too large where the two
are near each other."""


class VelocityError(ExactMetric):
    """The velocity error at some times.

    Args:
        times: in (0, 1).
        kwargs: those of `torchmetrics.Metric`.
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    sums: Tensor

    def __init__(self, times: Sequence[float] = BRIDGE_TIMES, **kwargs: Any):
        super().__init__(**kwargs)
        self.times = list(times)
        self.add_state("sums", torch.zeros(2, len(self.times), dtype=torch.float64), "sum")

    @torch.no_grad()
    def update(self, bridge: Bridge, exact: KnownBridge, n: int, generator: Generator) -> None:
        """Compare at `n` points of the exact bridge at each time."""
        for i, t in enumerate(self.times):
            x = exact.sample(t, n, generator)
            u = exact.slope(x, t).double()
            error = (bridge.slope(x, t).double() - u).square().sum()
            self.sums[:, i] += torch.stack([error, u.square().sum()])

    def compute(self) -> Tensor:
        """The error at each time, `(K,)`; nan before the first point."""
        error, square = self.sums.double()
        return error / square

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """The error against time; a curve for each of several values."""
        from matplotlib import pyplot

        ax = pyplot.subplots()[1] if ax is None else ax
        for errors in [self.compute()] if val is None else [val] if isinstance(val, Tensor) else val:
            ax.semilogy(self.times, errors.cpu(), "o-")
        ax.set(xlabel="time t, from data to source", ylabel="velocity error")
        return ax.figure, ax


@torch.no_grad()
def follow(bridge: Bridge, x1: Tensor, n_steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """Euler's method in time from source points `x1`, `(n, 2)`: where it ends, `(n, 2)`, and `int |u|^2 dt`, `(n,)`."""
    x, energy = x1, x1.new_zeros(len(x1))
    top = bridge.schedule.t_max
    for k in range(n_steps, 0, -1):
        u = bridge.slope(x, min(k / n_steps, top))
        x, energy = x - u / n_steps, energy + u.square().sum(dim=1) / n_steps
    return x, energy


def squared_w2(distribution: Distribution, source: Distribution, n: int = ASSIGNED) -> float:
    """`W2^2` between so many points of the two, by exact assignment."""
    generator = torch.Generator().manual_seed(seed_of("points of both ends"))
    return exact_w2(distribution.sample(n, generator), source.sample(n, generator)).square().item()


class Bridges:
    """All that is measured of a bridge besides its samples: `update` with requests, then `summary`.

    Args:
        distribution: of the data.
        exact: the exact bridge for the same coupling; None if it is not known.
        device: where the bridges are.
    """

    def __init__(self, distribution: Distribution, exact: KnownBridge | None, device: torch.device):
        self._distribution, self._exact, self._device = distribution, exact, device
        self.error = VelocityError().to(device)
        self.reset()

    def reset(self) -> None:
        """Forget all points."""
        self.error.reset()
        self._seen = 0
        self._energies: list[Tensor] = []
        self._squares: list[Tensor] = []
        self._source: Distribution | None = None

    def update(self, bridge: Bridge, request: SampleRequest) -> None:
        """Add points of a request: of all, the first 4096 for the error of the velocity and as many paths."""
        n = min(request.n, POINTS - self._seen)
        if n <= 0:
            return
        self._seen, self._source = self._seen + n, bridge.source
        generator = Generator(self._device).manual_seed(seed_of("test points", request.seed, request.first))
        x1 = bridge.source.sample(n, generator)
        end, energy = follow(bridge, x1)
        self._energies.append(energy.double().cpu())
        self._squares.append((x1 - end).double().square().sum(dim=1).cpu())
        if self._exact is not None:
            self.error.update(bridge, self._exact, n, generator)

    def summary(self) -> dict[str, Any]:
        """All figures as plain numbers, by name."""
        energy, square = torch.cat(self._energies).mean().item(), torch.cat(self._squares).mean().item()
        w2 = None if self._source is None else squared_w2(self._distribution, self._source)
        return {
            "times": self.error.times,
            "velocity_error": None if self._exact is None else self.error.compute().tolist(),
            "path_energy": energy,
            "squared_w2": w2,
            "normalised_path_energy": None if w2 is None else abs(energy - w2) / w2,
            "straightness": 1.0 - square / energy,
        }


def bridge_table(summary: dict[str, Any]) -> list[str]:
    """The lines of the report for `Bridges.summary`."""
    lines = []
    if summary["velocity_error"] is not None:
        lines += ["Error of the velocity, E|u - exact|^2 / E|u|^2, by time (0: data, 1: source)"]
        lines += [f"{'time':<30}" + "".join(f"{t:>10.3g}" for t in summary["times"])]
        lines += [f"{'velocity error':<30}" + "".join(f"{e:>10.1e}" for e in summary["velocity_error"]), ""]
    lines += [f"Paths of the flow, by {STEPS} steps of Euler's method; W2 between source and data of {ASSIGNED} points"]
    lines += [f"{'path energy':<30}{summary['path_energy']:>10.4f}{'W2^2':>10}{summary['squared_w2']:>10.4f}"]
    lines += [f"{'normalised path energy':<30}{summary['normalised_path_energy']:>10.4f}"]
    return [*lines, f"{'straightness, 0 is straight':<30}{summary['straightness']:>10.4f}"]
