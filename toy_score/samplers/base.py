"""The common part of all samplers: the loop over noise levels, the random numbers, the recording of paths.

A sampler defines one method, `step`, from one noise level to the next. `last` is the step from the lowest level to the
data; by default it returns the denoised point. A multistep method defines `multistep` instead, which receives the
memory of the previous steps and returns the new memory.

A sampler is an immutable value. `walk` is a pure function of the start points, the noise and the levels; `__call__`
draws the start points from the prior.

Each row of the result depends on the seed and its row number only: noise is drawn in blocks of rows, each with its own
generator. So sample i does not depend on the number of samples, the size of chunks, or the number of devices of a kind.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Generator, Tensor

from toy_score.checks import check_at_least
from toy_score.component import Component
from toy_score.denoisers import Denoiser
from toy_score.requests import block_size
from toy_score.samplers.grids import Grid
from toy_score.schedules import CLEAN, Level, Schedule
from toy_score.seeds import seed_of

__all__ = ["GridSampler", "MultistepSampler", "NoiseStream", "Sampler", "Start", "Trajectory"]

Memory = TypeVar("Memory")


class NoiseStream:
    """Standard noise for the rows `first ... first + n - 1` of the infinite table of noise that a seed defines."""

    def __init__(self, seed: int, first: int, n: int, device: torch.device | str = "cpu"):
        self._block = block_size(torch.device(device))
        begin, end = first // self._block, -(-(first + n) // self._block)
        self._rows = slice(first - begin * self._block, first - begin * self._block + n)
        self._generators = [
            Generator(device).manual_seed(seed_of("sampler noise", seed, block)) for block in range(begin, end)
        ]

    def normal(self) -> Tensor:
        """The next `(n, 2)` standard normal numbers."""
        return self._draw(torch.randn)

    def uniform(self) -> Tensor:
        """The next `(n, 2)` numbers uniform on [0, 1)."""
        return self._draw(torch.rand)

    def points(self, sample: Callable[[int, Generator], Tensor]) -> Tensor:
        """The next `(n, 2)` points of a distribution, by its method `sample`."""
        # A whole block is drawn even if a part is used: the noise of a row must not depend on other rows.
        blocks = [sample(self._block, g) for g in self._generators]
        return (blocks[0] if len(blocks) == 1 else torch.cat(blocks))[self._rows]

    def _draw(self, law: Callable[..., Tensor]) -> Tensor:
        return self.points(lambda n, g: law(n, 2, generator=g, device=g.device))


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The recorded path of some samples.

    Attributes:
        x: positions, `(m, n, 2)`: the start, then one entry per recorded step, the last one being the sample.
        ratio: noise level `sigma / alpha` at which each position stands, `(m,)`, descending.
        alpha: scale of the signal there, `(m,)`.
    """

    x: Tensor
    ratio: Tensor
    alpha: Tensor

    @property
    def y(self) -> Tensor:
        """The positions in Karras' variables, `x / alpha`, `(m, n, 2)`."""
        return self.x / self.alpha.to(self.x)[:, None, None]


Start = Callable[[Schedule, NoiseStream], Tensor]
"""Where samples begin: `(n, 2)` points at the schedule's highest level, made from its noise."""


class Sampler(Component, ABC):
    """Turns noise into samples by evaluating a denoiser, learned or exact."""

    evaluations_per_step: int = 1
    """Evaluations of the denoiser per `step`."""

    follows_flow: ClassVar[bool] = False
    """Whether it solves the probability flow from `denoise` and `noise` alone: then the source need not be normal."""

    @abstractmethod
    def times(self, schedule: Schedule) -> Tensor:
        """The times at which the steps begin, descending, `(m,)` float64; the last step ends at the data."""

    @abstractmethod
    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        """One step from level `t` to the lower level `s`, `(n, 2)` to `(n, 2)`."""

    def multistep(
        self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream, memory: Any
    ) -> tuple[Tensor, Any]:
        """A step that may use the `memory` of the steps before, None at first; returns the memory for the next step.

        A one-step method has no memory.
        """
        return self.step(denoiser, x, t, s, noise), None

    def last(self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream) -> Tensor:
        """The step from the lowest level `t` to the data, `(n, 2)` to `(n, 2)`; one evaluation of the denoiser."""
        return denoiser.denoise(x, t)

    def multistep_last(
        self, denoiser: Denoiser, x: Tensor, t: Level, noise: NoiseStream, memory: Any
    ) -> tuple[Tensor, Any]:
        """The last step, and what is left in memory; particle methods use it for their weights."""
        return self.last(denoiser, x, t, noise), None

    def ancestry(self, positions: list[Tensor], memory: Any) -> list[Tensor]:
        """The positions so far, `(n, 2)` each, of the ancestors of the rows; a particle method moves them."""
        return positions

    def nfe(self, schedule: Schedule) -> int:
        """Number of evaluations of the denoiser per sample."""
        return self.evaluations_per_step * (len(self.times(schedule)) - 1) + 1

    def start(self, schedule: Schedule, noise: NoiseStream) -> Tensor:
        """Where the samples begin: by default the prior `N(0, sigma(t_max)^2 I)` of the schedule."""
        return schedule.prior_sigma * noise.normal()

    def begin(self, denoiser: Denoiser, noise: NoiseStream) -> Tensor:
        """Where the samples of a denoiser begin, `(n, 2)`: at points of its source if it has one, else at `start`."""
        source, schedule = denoiser.source, denoiser.schedule
        return self.start(schedule, noise) if source is None else schedule.prior_sigma * noise.points(source.sample)

    def check(self, denoiser: Denoiser) -> None:
        """Check that it can use a denoiser: unless the sampler says otherwise, any whose source is normal.

        Raises:
            ValueError: if it cannot.
        """
        if denoiser.source is not None and not self.follows_flow:
            name, of = type(self).__name__, type(denoiser).__name__
            begin = f"{name} removes Gaussian noise, but samples of {of} begin at points of a source"
            raise ValueError(f"{begin}; choose a solver of the flow such as Euler, Heun or RungeKutta4")

    def stream(self, seed: int, first: int, n: int, device: torch.device) -> NoiseStream:
        """The noise of the rows `first ... first + n - 1`."""
        return NoiseStream(seed, first, n, device)

    def levels(self, schedule: Schedule) -> list[Level]:
        """The levels at which the steps begin, highest first, followed by `CLEAN`."""
        times = self.times(schedule)
        columns = (times.tolist(), schedule.alpha(times).tolist(), schedule.sigma(times).tolist())
        return [*map(Level, *columns), CLEAN]

    def __call__(
        self,
        denoiser: Denoiser,
        n: int,
        generator: Generator | None = None,
        first: int = 0,
        start: Start | None = None,
    ) -> Tensor:
        """Draw samples.

        Args:
            denoiser: a trained network or the exact answer.
            n: how many, >= 1.
            generator: source of all randomness (the default generator if None); samples are made on its device.
            first: number of the first row. Two calls for rows 0..999 and 1000..1999, with equally seeded generators,
                give what one call for 2000 gives.
            start: where they begin; see `begin` if None.

        Returns:
            `(n, 2)` float32.

        Raises:
            ValueError: if `n < 1`.
        """
        if n < 1:
            raise ValueError(f"the number of samples must be at least 1, got {n}")
        seed, device = draw_seed(generator)
        chunks = []
        at_once = block_size(device)
        for row in range(first, first + n, at_once):
            noise = self.stream(seed, row, min(at_once, first + n - row), device)
            x = self.begin(denoiser, noise) if start is None else start(denoiser.schedule, noise)
            chunks.append(self.walk(denoiser, x, noise))
        return chunks[0] if len(chunks) == 1 else torch.cat(chunks)

    def trajectory(
        self, denoiser: Denoiser, n: int, generator: Generator | None = None, every: int = 1, skip: int = 0
    ) -> Trajectory:
        """Draw samples and keep their paths; the samples are those of `__call__` with the same generator state.

        Args:
            every: record one of this many steps; the end is always recorded, and the start unless it is skipped.
            skip: number of positions to leave out at the beginning; the start is the first position.
        """
        seed, device = draw_seed(generator)
        levels = self.levels(denoiser.schedule)
        positions: list[Tensor] = []
        at: list[Level] = []

        def observe(step: int, x: Tensor, memory: Any) -> None:
            positions[:] = self.ancestry(positions, memory)
            if step >= skip and (step % every == 0 or step == len(levels) - 1):
                positions.append(x.clone())
                at.append(levels[step])

        noise = self.stream(seed, 0, n, device)
        self.walk(denoiser, self.begin(denoiser, noise), noise, levels, observe)
        ratio, alpha = torch.tensor([[level.ratio, level.alpha] for level in at]).T
        return Trajectory(torch.stack(positions), ratio, alpha)

    @torch.no_grad()
    def walk(
        self,
        denoiser: Denoiser,
        x: Tensor,
        noise: NoiseStream,
        levels: Sequence[Level] | None = None,
        observe: Callable[[int, Tensor, Any], None] | None = None,
    ) -> Tensor:
        """A step from each level to the next.

        Args:
            denoiser: a trained network or the exact answer.
            x: where the walk begins, `(n, 2)`, at the first of the levels.
            noise: source of the noise of stochastic steps.
            levels: highest first; by default those of `levels`, which end at the data.
            observe: `observe(i, x, memory)` is called at every position, with the memory of a multistep method; the
                start is number 0.

        Returns:
            The points at the last of the levels, `(n, 2)`.
        """
        self.check(denoiser)
        memory = None
        levels = self.levels(denoiser.schedule) if levels is None else levels
        if observe is not None:
            observe(0, x, memory)
        for i, (t, s) in enumerate(itertools.pairwise(levels), start=1):
            if s is CLEAN:
                x, memory = self.multistep_last(denoiser, x, t, noise, memory)
            else:
                x, memory = self.multistep(denoiser, x, t, s, noise, memory)
            if observe is not None:
                observe(i, x, memory)
        return x


class MultistepSampler(Sampler, Generic[Memory]):
    """A sampler whose steps use earlier evaluations; it defines `multistep`."""

    @abstractmethod
    def multistep(
        self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream, memory: Memory | None
    ) -> tuple[Tensor, Memory]:
        """A step with the `memory` of the steps before, None at first; returns the memory for the next step."""

    def step(self, denoiser: Denoiser, x: Tensor, t: Level, s: Level, noise: NoiseStream) -> Tensor:
        """The first step of a walk."""
        return self.multistep(denoiser, x, t, s, noise, None)[0]


def draw_seed(generator: Generator | None) -> tuple[int, torch.device]:
    """A seed drawn from the generator, and its device."""
    device = generator.device if generator is not None else torch.device("cpu")
    return int(torch.randint(2**62, (), generator=generator, device=device).item()), device


class GridSampler(Sampler):
    """A sampler that takes `n_steps` steps, the last one to the data, from the times of a grid.

    Each such sampler is a frozen dataclass with these two fields, whose defaults are its own:

    Args:
        n_steps: number of steps, >= 1.
        grid: at which times they begin.

    Raises:
        ValueError: if `n_steps < 1`.
    """

    n_steps: int
    grid: Grid

    def __post_init__(self) -> None:
        check_at_least(1, n_steps=self.n_steps)

    def times(self, schedule: Schedule) -> Tensor:
        return self.grid(schedule, self.n_steps)
