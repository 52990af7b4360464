"""Animations from noise to data: moving samples, and the score that moves them."""

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from toy_score.denoisers import Denoiser, ExactDenoiser
from toy_score.distributions import LinearObservation
from toy_score.plotting.parts import arrows, density, draw_density, draw_score, grid, observed
from toy_score.plotting.style import (
    EXACT,
    GENERATED,
    LABEL,
    LEARNED,
    REAL,
    TICK,
    TITLE,
    TRAJECTORY,
    fitting,
    literal,
    scaled,
    square,
)
from toy_score.progress import watched
from toy_score.samplers import Trajectory

__all__ = ["noise_to_data", "to_gif"]

SIZE, DPI = (6.4, 3.95), 100
SIDE = 0.7615
"""Share of a panel in the height; the rest, above it and below, grows with the letters."""
ARROWS, CELLS, TAILS, TAIL = 15, 64, 8, 6
COLOURS = 64
WIDEST_TITLE = 55  # letters of the default size
FRAME_MS, LAST_MS = 80, 2000


class Moment(NamedTuple):
    """What a frame shows: noise level, the scale of lengths, positions `(n, 2)`, progress in [0, 1]."""

    ratio: float
    zoom: float
    z: np.ndarray
    progress: float


def moments(paths: Trajectory, bounds: float, frames: int) -> list[Moment]:
    """The frames' moments, evenly spaced in the angle `arctan(3 r / bounds)`.

    Noise and data stay visible: at noise level `r` the half-width of the frame is `sqrt(bounds^2 + 9 r^2)`, so the flow
    moves about evenly in that angle. Several steps at one level are spread over the interval to the next level. Between
    two steps, a frame has each sample on a straight line, on the screen.
    """
    r, y = paths.ratio.double().numpy(), paths.y.double().cpu().numpy()
    angle = np.arctan(3.0 * r / bounds)
    z = y * np.cos(angle)[:, None, None]
    positions = np.arange(len(r))
    begins = np.flatnonzero(np.r_[True, r[1:] != r[:-1]])
    clock = np.interp(positions, begins, angle[begins])
    times = np.linspace(clock[0], clock[-1], frames)
    found = []
    for i, at in enumerate(np.interp(times, clock[::-1], positions[::-1])):
        k = min(int(at), len(r) - 2)
        w = at - k
        here = (1.0 - w) * angle[k] + w * angle[k + 1]
        found.append(
            Moment(bounds / 3.0 * np.tan(here), np.cos(here), (1.0 - w) * z[k] + w * z[k + 1], i / max(frames - 1, 1))
        )
    return found


def noise_to_data(
    learned: Denoiser,
    paths: Trajectory,
    title: str,
    exact: ExactDenoiser | None = None,
    real: Tensor | None = None,
    frames: int = 32,
    observation: LinearObservation | None = None,
) -> list[np.ndarray]:
    """Moving samples, red, over real points, blue; beside them the score that moves them.

    The picture zooms in as the noise falls (see `moments`); the half-width of the frame is in the corner. The last
    positions of some samples are drawn as tails. The right panel has the learned score at the noise level of the frame,
    drawn as in `vector_field`, over the exact noisy density, if the truth is known. The line below is the noise level,
    with a tick at each step of the sampler.

    Args:
        learned: the trained denoiser, or an exact one.
        paths: of the samples, in as many steps as the sampler takes.
        title: of the figure.
        exact: the truth, if it is known; `learned` itself if that is exact.
        real: real points `(n, 2)`, if there are any.
        frames: how many, >= 2.
        observation: of the clean points, if samples are of a posterior: a dashed line for each observed number, with a
            band of two standard deviations to either side, as in `posterior`.

    Raises:
        ValueError: if there are fewer than 2 frames.

    Returns:
        The frames, `(height, width, 3)` uint8 each.
    """
    if frames < 2:
        raise ValueError(f"an animation needs at least 2 frames, got {frames}")
    if exact is None and isinstance(learned, ExactDenoiser):
        exact = learned
    ends = paths.y[-1].abs()
    bounds = exact.distribution.bounds if exact is not None else 1.2 * ends[ends.isfinite()].quantile(0.99).item()
    taller = SIDE + scaled(1.0 - SIDE)
    figure = Figure(figsize=(SIZE[0], taller * SIZE[1]), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    size = TITLE * min(scaled(1.0), WIDEST_TITLE / max(len(title), 1))
    figure.suptitle(literal(title), fontsize=size, fontweight="bold", y=1.0 - scaled(0.015) / taller, va="top")
    left, right = (figure.add_axes((x, scaled(0.11) / taller, 0.47, SIDE / taller)) for x in (0.02, 0.51))
    for ax in (left, right):
        square(ax, bounds).tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    shown = moments(paths, bounds, frames)
    line = _noise_line(figure, shown, paths, bounds)
    view = _View(figure, left, right, line, learned, exact, real, bounds, observation)
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)  # what does not move is drawn once
    pictures = []
    for i in watched(range(len(shown)), "frames", "animation"):
        canvas.restore_region(still)
        view.show(shown[: i + 1])
        pictures.append(np.asarray(canvas.buffer_rgba())[:, :, :3].copy())
    return pictures


class _View:
    """The moving parts, made once and updated for each frame."""

    def __init__(
        self,
        figure: Figure,
        left: Axes,
        right: Axes,
        line: Axes,
        learned: Denoiser,
        exact: ExactDenoiser | None,
        real: Tensor | None,
        bounds: float,
        observation: LinearObservation | None,
    ):
        self.figure, self.learned, self.exact, self.bounds = figure, learned, exact, bounds
        self.real = None if real is None else real.cpu().numpy()
        self.observation, self.lines, self.bands = observation, [], []
        for _ in () if observation is None else observation.value:
            self.lines += left.plot([], [], color=EXACT, linewidth=0.9, linestyle="--", animated=True)
            self.bands += left.fill([], [], color=EXACT, alpha=0.08, linewidth=0, animated=True)
        dots: dict[str, Any] = {"marker": "o", "linestyle": "", "markeredgewidth": 0, "animated": True}
        (self.blue,) = left.plot([], [], color=REAL, markersize=1.8, alpha=0.35, **dots)
        (self.red,) = left.plot([], [], color=GENERATED, markersize=2.2, alpha=0.75, **dots)
        self.tails = LineCollection([], linewidths=0.7, animated=True)
        left.add_collection(self.tails)
        (self.heads,) = left.plot([], [], color=TRAJECTORY, markersize=2.6, **dots)
        self.image = None
        if exact is not None:
            self.image = draw_density(right, exact.distribution, bounds, 1.0, CELLS)
            self.image.set(animated=True, interpolation="bilinear")
        colour = EXACT if isinstance(learned, ExactDenoiser) else LEARNED
        self.quiver = draw_score(right, learned, 1.0, bounds, ARROWS, colour)
        self.quiver.set_animated(True)
        (self.mark,) = line.plot([], [], color=GENERATED, markersize=7, **dots)
        corner: dict[str, Any] = {"fontsize": scaled(LABEL), "animated": True, "va": "bottom"}
        box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
        self.sigma = left.text(0.03, 0.03, "", transform=left.transAxes, bbox=box, **corner)
        self.widths = [
            ax.text(0.97, 0.03, "", transform=ax.transAxes, ha="right", color=EXACT, bbox=box, **corner)
            for ax in (left, right)
        ]
        _head(left, 0.02, "generated", GENERATED)
        if real is not None:
            _head(left, 0.02 + scaled(0.25), "real", REAL)
        _head(right, 0.02, field_title(learned, exact), colour)

    def show(self, past: list[Moment]) -> None:
        """Move everything to the last of these moments, and draw it."""
        now, b = past[-1], self.bounds
        if self.real is not None:
            self.blue.set_data(*(now.zoom * self.real).T)
        self.red.set_data(*now.z.T)
        if self.observation is not None:
            shapes = observed(self.observation, b, now.zoom)
            for line, band, (ends, corners) in zip(self.lines, self.bands, shapes, strict=True):
                line.set_data(*ends.T.numpy())
                band.set_xy(corners.numpy())
        tails = np.stack([moment.z[:TAILS] for moment in past[-TAIL:]], axis=1)  # [tails, positions, 2]
        self.heads.set_data(*tails[:, -1].T)
        pieces = np.stack([tails[:, :-1], tails[:, 1:]], axis=2)  # [tails, pieces, 2, 2]
        fade = np.linspace(0.0, 0.8, TAIL)[TAIL - pieces.shape[1] :]
        self.tails.set_segments(list(pieces.reshape(-1, 2, 2)))
        self.tails.set_color([(*_rgb(TRAJECTORY), a) for a in fade] * len(pieces))
        if self.exact is not None and self.image is not None:
            self.image.set_data(density(self.exact.distribution, b / now.zoom, now.ratio, CELLS).numpy())
        self.quiver.set_UVC(*arrows(self.learned, grid(b / now.zoom, ARROWS), now.ratio).T.numpy())
        self.mark.set_data([now.progress], [0.0])
        self.sigma.set_text(rf"$\sigma$ = {now.ratio:.3g}")
        for text in self.widths:
            text.set_text(f"\u00b1 {width:.0f}" if (width := b / now.zoom) > 100 else f"\u00b1 {width:.3g}")
        clouds = self.blue, self.red, self.tails, self.heads
        for artist in (self.image, self.quiver, *self.bands, *self.lines, *clouds, self.mark, self.sigma, *self.widths):
            if artist is not None:
                self.figure.draw_artist(artist)


def field_title(denoiser: Denoiser, exact: ExactDenoiser | None) -> str:
    """What the arrows are, and what lies behind them."""
    if isinstance(denoiser, ExactDenoiser):
        return "exact score" + (", over the noisy density" if exact is not None else "")
    return "learned score" + (", over the exact noisy density" if exact is not None else "")


def _head(ax: Axes, x: float, words: str, colour: str) -> None:
    size = fitting(words, LABEL, SIDE * SIZE[1], least=LABEL)
    ax.text(x, 1.02, words, transform=ax.transAxes, color=colour, fontsize=size)


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255.0 for i in (1, 3, 5))


def _noise_line(figure: Figure, shown: list[Moment], paths: Trajectory, bounds: float) -> Axes:
    """The noise level, from left to right as the frames run; a tick at each step of the sampler."""
    share = scaled(SIZE[1]) / figure.get_figheight()
    ax = figure.add_axes((0.1, 0.05 * share, 0.88, 0.045 * share))
    ax.set(xlim=(-0.01, 1.01), ylim=(-1, 1), yticks=[])
    ax.spines[:].set_visible(False)
    ax.axhline(0.0, color=EXACT, linewidth=0.8)
    progress, levels = np.array([m.progress for m in shown]), np.array([m.ratio for m in shown])

    def place(r: np.ndarray) -> np.ndarray:
        return np.interp(np.arctan(3.0 * r / bounds), np.arctan(3.0 * levels / bounds)[::-1], progress[::-1])

    stands = np.unique(paths.ratio.double().numpy())
    ax.vlines(place(stands), -0.35, 0.35, color=EXACT, linewidth=0.6)
    named = np.array([s for s in (100.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.0) if s <= levels[0]])
    ax.set_xticks(place(named), [f"{s:g}" for s in named])
    ax.tick_params(labelsize=scaled(TICK), length=0, pad=1)
    ax.text(-0.03, 0.0, r"$\sigma$", fontsize=scaled(LABEL), color=EXACT, ha="right", va="center", clip_on=False)
    return ax


def to_gif(frames: Sequence[np.ndarray]) -> bytes:
    """The frames as the contents of a GIF file that repeats and pauses at its end; one palette for all frames."""
    images = [Image.fromarray(frame) for frame in frames]
    some = np.concatenate([frames[0], frames[len(frames) // 2], frames[-1]])
    palette = Image.fromarray(some).quantize(COLOURS)
    first, *others = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images)
    buffer = io.BytesIO()
    times = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    first.save(buffer, format="GIF", save_all=True, append_images=others, duration=times, loop=0)
    return buffer.getvalue()
