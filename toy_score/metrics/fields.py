r"""Whether a learned field is one that a density could have, and how straight its flow runs.

A score is a gradient, and the derivative of a denoiser is a covariance. In Karras' variables, `y = x / alpha` and
`r = sigma / alpha`,

    dD / dy = I + r^2 d score / dy = Cov[x_0 | y] / r^2        (Tweedie's formula to second order; Efron 2011),

symmetric and positive semidefinite at every point. A network that gives vectors need have neither property; one that
gives an energy has the first. Both are measured by numbers without unit, from one Jacobian per point.

How straight a flow `z(u)` runs from `u_0` to `u_1` is measured by the integral of Liu et al. (2023, eq. 9), per energy,

    S = 1 - E|z_1 - z_0|^2 / ((u_1 - u_0) int E|dz / du|^2 du)
      = int E|(z_1 - z_0) / (u_1 - u_0) - dz / du|^2 du / int E|dz / du|^2 du,

0 for straight lines at constant speed, which one step of Euler's method follows, and below 1 for all others. It depends
on the coordinates: which ones solvers step in is a choice. The exact flow of curved data is curved itself: that, not 0,
is what a network should reach.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from toy_score.denoisers import Denoiser, ExactDenoiser
from toy_score.metrics.base import ExactMetric
from toy_score.metrics.score_error import STUDY_LEVELS
from toy_score.schedules import Schedule
from toy_score.solvers import RK4, stages

__all__ = ["COORDINATES", "FieldSymmetry", "Fields", "Straightness", "denoiser_jacobian", "flow_path"]

COORDINATES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "karras": (torch.ones_like, lambda r: r),
    "circle": (lambda r: r.atan().cos(), torch.atan),
    "line": (lambda r: 1.0 / (1.0 + r), lambda r: r / (1.0 + r)),
}
"""By name, `z / y` and the clock `u`, as functions of `r`.

Karras' variables; the circle, `x / R` over the angle; and the line of flow matching, `z = (1 - u) x_0 + u eps`.
"""

PIECES = 16  # of an interval of the flow: its straightness comes out too small by a share of 1 / 16^2
POINTS, TRAJECTORIES = 20_000, 1000  # more would not change the second digit
ROUNDING = 1e-4  # an eigenvalue of the exact denoiser, in float32, may come out negative by so much


def denoiser_jacobian(denoiser: Denoiser, y: Tensor, sigma: float) -> Tensor:
    """`dD_i / dy_j`, `(n, 2, 2)`, at points `y = x / alpha`, `(n, 2)`, of noise level `sigma / alpha`.

    Its curl, entry (1, 0) less entry (0, 1), is `sigma^2` times that of the score. A level beyond the schedule's is
    replaced by the nearest.
    """
    level = denoiser.schedule.level_at(sigma)
    _, J = denoiser.noise_jacobian(level.alpha * y, level)
    return torch.eye(2, dtype=y.dtype, device=y.device) - level.sigma * J


def smallest_eigenvalue(M: Tensor) -> Tensor:
    """Of the symmetric part of 2 x 2 matrices, `(n, 2, 2)` to `(n,)`."""
    half = 0.5 * (M[:, 0, 0] - M[:, 1, 1])
    return 0.5 * (M[:, 0, 0] + M[:, 1, 1]) - torch.hypot(half, 0.5 * (M[:, 0, 1] + M[:, 1, 0]))


def flow_path(denoiser: Denoiser, code: Tensor, ratios: Tensor) -> Tensor:
    """Positions `y = x / alpha`, `(m, n, 2)`, of the probability flow at noise levels `ratios`, `(m,)`, descending.

    It starts from unit noise `code`, `(n, 2)`, by one Runge-Kutta step on the circle from level to level.
    """
    angles = ratios.double().atan().tolist()
    z, path = math.sin(angles[0]) * code, []
    for angle, following in zip(angles, [*angles[1:], None], strict=True):
        path.append(z / math.cos(angle))
        if following is not None:
            z, _ = stages(RK4, denoiser.flow, angle, z, following - angle)
    return torch.stack(path)


class FieldSymmetry(ExactMetric):
    """What share of a field is not a gradient, and where its denoiser's Jacobian is no covariance, per noise level.

    With `A` the antisymmetric part of a Jacobian, whose squared Frobenius norm is half the squared curl:

    - `curl`: `E|A|^2 / E|J|^2` for the Jacobian `J` of the score; 1 for a pure rotation;
    - `asymmetry`: the same of the denoiser; the two have one `A` in Karras' variables, but at low noise the denoiser's
      Jacobian is near `I` and the score's small, at high noise the other way about;
    - `negative`: share of the points where the denoiser's Jacobian has a negative eigenvalue (below -1e-4, and of its
      symmetric part).

    All are 0 for the truth. Expectations are over the noisy points of the level.

    Args:
        levels: noise levels `sigma / alpha`, > 0; a schedule that does not reach one is measured at its nearest.
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    n: Tensor
    sums: Tensor

    def __init__(self, levels: Sequence[float] = STUDY_LEVELS):
        super().__init__()
        self.levels = list(levels)
        self.add_state("n", torch.zeros((), dtype=torch.int64), "sum")
        self.add_state("sums", torch.zeros(4, len(self.levels), dtype=torch.float64), "sum")

    @torch.no_grad()
    def update(self, denoiser: Denoiser, x0: Tensor, generator: Generator) -> None:
        """Add noisy versions of the points `x0`, `(n, 2)`, at each level."""
        for i, sigma in enumerate(self.levels):
            sigma = denoiser.schedule.level_at(sigma).ratio
            y = x0 + sigma * torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
            M = denoiser_jacobian(denoiser, y, sigma).double()
            A = 0.5 * (M - M.mT)
            J = torch.eye(2, dtype=M.dtype, device=M.device) - M
            negative = smallest_eigenvalue(M) < -ROUNDING
            self.sums[:, i] += torch.stack([A.square().sum(), J.square().sum(), M.square().sum(), negative.sum()])
        self.n += len(x0)

    def compute(self) -> Tensor:
        """`curl`, `asymmetry` and `negative`, `(3, K)`; nan before the first point."""
        A, J, M, negative = self.sums.double()
        return torch.stack([A / J, A / M, negative / self.n])

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """The three against noise level; three curves for each of several values."""
        from matplotlib import pyplot

        ax = pyplot.subplots()[1] if ax is None else ax
        for shares in [self.compute()] if val is None else [val] if isinstance(val, Tensor) else val:
            for name, values in zip(("curl", "asymmetry", "negative"), shares, strict=True):
                ax.semilogx(self.levels, values.cpu(), "o-", label=name)
        ax.set(xlabel="sigma", ylabel="share")
        ax.legend()
        return ax.figure, ax


class Straightness(ExactMetric):
    """How straight the probability flow runs in all `COORDINATES`: from noise level to noise level, and on the whole.

    The flow is taken for the polygon through 17 positions per interval.

    Args:
        schedule: whose flow; from its highest level to its lowest.
        levels: noise levels that divide it; those it does not reach are left out.
    """

    higher_is_better = False
    plot_lower_bound, plot_upper_bound = 0.0, 1.0
    sums: Tensor

    def __init__(self, schedule: Schedule, levels: Sequence[float] = STUDY_LEVELS):
        super().__init__()
        low, high = schedule.ratios
        inside = sorted((s for s in levels if 1.01 * low < s < high / 1.01), reverse=True)
        self.edges = [high, *inside, low]
        angles = torch.tensor(self.edges, dtype=torch.float64).atan()
        share = torch.arange(PIECES, dtype=torch.float64) / PIECES
        nodes = torch.lerp(angles[:-1, None], angles[1:, None], share).flatten()
        self._ratios = torch.cat([nodes, angles[-1:]]).tan()
        self.add_state("sums", torch.zeros(2, len(COORDINATES), len(self.edges), dtype=torch.float64), "sum")

    @torch.no_grad()
    def update(self, denoiser: Denoiser, code: Tensor) -> None:
        """Add the flow's trajectories from unit noise `code`, `(n, 2)`."""
        y, r = flow_path(denoiser, code, self._ratios).double(), self._ratios.to(code.device)
        for i, (scale, clock) in enumerate(COORDINATES.values()):
            z, u = scale(r)[:, None, None] * y, clock(r)
            energy = ((z[1:] - z[:-1]).square().sum(dim=(1, 2)) / (u[:-1] - u[1:])).view(-1, PIECES).sum(dim=1)
            z, u = z[::PIECES], u[::PIECES]
            moved = (z[1:] - z[:-1]).square().sum(dim=(1, 2))
            total = energy.sum() * (u[0] - u[-1]), (z[0] - z[-1]).square().sum()
            self.sums[0, i] += torch.cat([energy * (u[:-1] - u[1:]), total[0][None]])
            self.sums[1, i] += torch.cat([moved, total[1][None]])

    def compute(self) -> Tensor:
        """`S`, `(3, K + 1)`: a row for each of `COORDINATES`, an entry for each interval and one for the whole flow."""
        energy, moved = self.sums.double()
        return 1.0 - moved / energy


class Fields:
    """The diagnostics of a denoiser beside those of the truth: `update` with points, then `summary`.

    Args:
        truth: the exact denoiser, on the schedule of the denoisers to come.
    """

    def __init__(self, truth: ExactDenoiser):
        self._truth, self._seen = truth, 0
        self.symmetry = {name: FieldSymmetry() for name in ("learned", "exact")}
        self.straightness = {name: Straightness(truth.schedule) for name in ("learned", "exact")}

    def to(self, device: torch.device) -> "Fields":
        """The metrics' states, to a device."""
        for metric in (*self.symmetry.values(), *self.straightness.values()):
            metric.to(device)
        return self

    def reset(self) -> None:
        """Forget the points."""
        self._seen = 0
        for metric in (*self.symmetry.values(), *self.straightness.values()):
            metric.reset()

    def update(self, model: Denoiser, x0: Tensor, generator: Generator) -> None:
        """Add noisy versions of the points `x0`, `(n, 2)`: the first 20 000, and 1000 trajectories, altogether."""
        x0, rows = x0[: max(POINTS - self._seen, 0)], min(len(x0), max(TRAJECTORIES - self._seen, 0))
        self._seen += len(x0)
        code = torch.randn(rows, 2, generator=generator, device=x0.device)
        state = generator.get_state()
        for name, denoiser in (("learned", model), ("exact", self._truth)):
            generator.set_state(state)  # the very same points
            self.symmetry[name].update(denoiser, x0, generator)
            if rows:
                self.straightness[name].update(denoiser, code)

    def summary(self) -> dict[str, Any]:
        """All figures as plain numbers, by name."""
        results: dict[str, Any] = {"levels": self.symmetry["exact"].levels, "edges": self.straightness["exact"].edges}
        for name in ("learned", "exact"):
            shares, straight = self.symmetry[name].compute().tolist(), self.straightness[name].compute().tolist()
            results[name] = dict(zip(("curl", "asymmetry", "negative"), shares, strict=True))
            results[name]["straightness"] = dict(zip(COORDINATES, straight, strict=True))
        return results


def field_table(summary: dict[str, Any]) -> list[str]:
    """The lines of the report for `Fields.summary`."""
    learned, exact = summary["learned"], summary["exact"]
    lines = [
        "Is the field a gradient, its denoiser's Jacobian a covariance? (0 if so; exact in brackets)",
        f"{'noise level sigma':>17}{'curl of score':>24}{'asymmetry of denoiser':>24}{'negative eigenvalues':>24}",
    ]
    for i, sigma in enumerate(summary["levels"]):
        cells = (f"{learned[k][i]:.2e} ({exact[k][i]:.0e})" for k in ("curl", "asymmetry"))
        negative = f"{learned['negative'][i]:.4f} ({exact['negative'][i]:.4f})"
        lines.append(f"{sigma:17.3g}" + "".join(f"{cell:>24}" for cell in (*cells, negative)))
    lines += ["", "Straightness of the flow, 0 is a straight line (exact in brackets)"]
    lines += [f"{'noise levels':>17}" + "".join(f"{name:>24}" for name in COORDINATES)]
    edges = summary["edges"]
    spans = [f"{a:.3g} to {b:.3g}" for a, b in itertools.pairwise(edges)] + ["all the way"]
    for i, span in enumerate(spans):
        cells = (f"{learned['straightness'][k][i]:.5f} ({exact['straightness'][k][i]:.5f})" for k in COORDINATES)
        lines.append(f"{span:>17}" + "".join(f"{cell:>24}" for cell in cells))
    return lines
