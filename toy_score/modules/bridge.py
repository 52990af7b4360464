"""Flows between two distributions: flow matching from any source, with any coupling."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor

from toy_score.bridges import (
    STANDARD_NORMAL,
    Bridge,
    ExactBridge,
    GaussianBridge,
    KnownBridge,
    NetworkBridge,
)
from toy_score.checks import check_at_least
from toy_score.couplings import Coupling, IndependentCoupling, OptimalTransport
from toy_score.data import data_module
from toy_score.distributions import Distribution, GaussianMixture
from toy_score.evaluation import Finding, diagnose_bridge
from toy_score.metrics import VelocityError
from toy_score.modules.base import ScoreModule
from toy_score.modules.batches import batches_of, conditioned, in_float32
from toy_score.modules.pairs import PairPool, of_flow, paired, pairs_of_data
from toy_score.objectives import (
    ConditionalFlowMatching,
    Context,
    Loss,
    TrainingTimes,
    UniformTimes,
)
from toy_score.parameterisations import Conditioning, FlowPrediction, Parameterisation, Time
from toy_score.samplers import Euler, Sampler, Trailing
from toy_score.schedules import LinearFlow
from toy_score.seeds import seed_of

if TYPE_CHECKING:
    from toy_score.plotting import Picture

__all__ = ["BridgeModule", "is_gaussian"]

PICTURED_TIMES = (0.1, 0.5, 0.9)


class BridgeModule(ScoreModule):
    """Flow matching between two distributions: the network predicts `E[x_1 - x_0 | x_t]` on lines between pairs.

    Samples begin at points of the source and follow the flow to the data. With a normal source and independent pairs it
    learns what `FlowMatchingModule` learns. Further arguments are those of `ScoreModule`; guidance and observations
    need Gaussian noise and are refused.

    Args:
        source: the distribution at `t = 1`, in the units of the model.
        coupling: which data point is paired with which source point.
        n_pairs: pairs that are made before the training and drawn from in random order, >= 1, unless the points of a
            pair are independent: then each step draws new source points. Without a data module of this package, each
            batch is paired when it comes.
        reflow: checkpoint of a model from the same source, whose samples and their starting points are the pairs, in
            the place of a coupling: rectified flow (Liu et al. 2023), which is straighter than that model's.

    Raises:
        ValueError: if an argument is out of range, for guidance or an observation, and for class labels with a coupling
            under which the source of a class is not the whole source.
    """

    denoiser_type = NetworkBridge

    def __init__(
        self,
        source: Distribution = STANDARD_NORMAL,
        coupling: Coupling = IndependentCoupling(),
        n_pairs: int = 40_960,
        reflow: str | None = None,
        schedule: LinearFlow = LinearFlow(sigma_min=1e-3, sigma_max=1e3),
        parameterisation: Parameterisation = FlowPrediction(),
        conditioning: Conditioning = Time(),
        times: TrainingTimes = UniformTimes(),
        sampler: Sampler = Euler(n_steps=100, grid=Trailing()),
        objective: Loss = ConditionalFlowMatching(),
        **kwargs: Any,
    ):
        super().__init__(schedule, parameterisation, conditioning, times, sampler, objective=objective, **kwargs)
        check_at_least(1, n_pairs=n_pairs)
        if self.guidance != 1 or self.guide is not None or self.observation is not None:
            raise ValueError(
                f"guidance and observations need Gaussian noise, which a {self.name} does not remove; choose "
                "--model FlowMatchingModule, or leave them out"
            )
        if reflow is not None and not coupling.is_independent:
            raise ValueError(
                f"the pairs are those of the flow of {reflow!r} or by {type(coupling).__name__}; leave out one"
            )
        if self.backbone.n_labels and not (coupling.is_independent and reflow is None):
            raise ValueError(
                "the points of a class come from a part of the source, unless pairs are independent; leave out "
                "backbone.n_labels, or choose --model.coupling IndependentCoupling without reflow"
            )
        self.source, self.coupling, self.n_pairs, self.reflow = source, coupling, n_pairs, reflow
        parts = (self.backbone, self.schedule, self.parameterisation, self.conditioning)
        self.denoiser = NetworkBridge(*parts, source=source)
        self._pool: PairPool | None = None
        self._validation_pairs: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def truth(self) -> None:
        """The exact denoiser, which removes Gaussian noise, is not what a bridge learns; see `exact_bridge`."""
        return None

    @property
    def exact_bridge(self) -> KnownBridge | None:
        """The exact flow for the pairs of the coupling, of the label's class; None if it is not known."""
        data = self.target
        exact = None if data is None else data.exact
        return None if exact is None or self.reflow is not None else self._exact_bridge(exact)

    def _exact_bridge(self, distribution: Distribution) -> KnownBridge | None:
        p, q = distribution, self.source
        if isinstance(self.coupling, OptimalTransport) and is_gaussian(p) and is_gaussian(q):
            return GaussianBridge(p, q, 0.0, self.line)
        known = self.coupling.is_independent and ExactBridge.is_known(p, q)
        return ExactBridge(p, q, self.line) if known else None

    @property
    def line(self) -> LinearFlow:
        """The schedule, which is that of a straight line."""
        if not isinstance(self.schedule, LinearFlow):
            raise ValueError(f"the schedule of a bridge is LinearFlow, got {self.schedule!r}")
        return self.schedule

    def doctor(self) -> list[Finding]:
        """Whether start, steps and coupling suit the two distributions, see `diagnose_bridge`."""
        p = self.distribution
        return [] if p is None else diagnose_bridge(p, self.source, self.schedule, self.coupling)

    @property
    def denoiser_of_class(self) -> Bridge:
        """The network, conditioned on the label if there is one."""
        bridge = self.sampling_denoiser
        if not isinstance(bridge, Bridge):
            raise TypeError(f"a bridge samples by a bridge, got {type(bridge).__name__}")
        return bridge

    # Pictures

    def plot_field(self, sigmas: Sequence[float] = ()) -> "Picture":
        """The learned velocity, see `plot_velocity`, in the place of the score, which a bridge does not have.

        Raises:
            ValueError: for noise levels, or if no data are known.
        """
        if sigmas:
            raise ValueError(f"a bridge has times, not noise levels; got {list(sigmas)}, use plot_velocity(times)")
        return self.plot_velocity()

    def plot_velocity(self, times: Sequence[float] = PICTURED_TIMES) -> "Picture":
        """The learned velocity at some times in (0, 1), above the exact one where it is known.

        Raises:
            ValueError: if no data are known.
        """
        from toy_score import plotting

        real = self._real(self._pictured())
        if real is None:
            raise ValueError("the velocity is drawn over the points of the path, and no data are known")
        ends = self._pictured_pairs(real)
        bridge, title = self.denoiser_of_class, self._title(self._pictured())
        return self._finished(plotting.velocity_field(bridge, self.exact_bridge, times, ends, title))

    def bridge_figures(self, bridge: Bridge, real: Tensor, title: str, final: bool) -> dict[str, "Picture"]:
        from toy_score import plotting

        ends = self._pictured_pairs(real)
        field = plotting.velocity_field(bridge, self.exact_bridge, PICTURED_TIMES, ends, title)
        pairs = {"pairs": plotting.pairs({type(self.coupling).__name__: ends}, title)} if final else {}
        return {"velocity_field": field, **pairs}

    def _pictured_pairs(self, real: Tensor) -> tuple[Tensor, Tensor]:
        if self.reflow is not None:
            return self._of_flow(len(real), seed_of("pictured pairs"))
        generator = torch.Generator().manual_seed(seed_of("pictured pairs"))
        return paired(real, self.source, self.coupling, generator)

    # Training

    def check_choices(self) -> None:
        """As for every model, and that `reflow` gives pairs for this source."""
        super().check_choices()
        if self.reflow is not None:
            self._of_flow(2, seed_of("pairs", self.noise_seed))

    def on_fit_start(self) -> None:
        super().on_fit_start()
        data, seed = data_module(self.trainer), self.noise_seed
        self._pool = None
        if self.reflow is not None:
            self._pool = self._pooled(*self._of_flow(self.n_pairs, seed_of("pairs", seed)))
        elif data is not None and not self.coupling.is_independent:
            self._pool = self._pooled(*pairs_of_data(data.batch, self.source, self.coupling, self.n_pairs, seed))

    def _pooled(self, x0: Tensor, x1: Tensor) -> PairPool:
        return PairPool(x0.to(self.device, self._float), x1.to(self.device, self._float), self.noise_seed)

    def _of_flow(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """Pairs of the flow of the model `reflow`."""
        first = ScoreModule.load_from_checkpoint(str(self.reflow), guide=None, guidance=1.0)
        begins = STANDARD_NORMAL if first.denoiser.source is None else first.denoiser.source
        if begins != self.source or first.standardisation != self.standardisation:
            raise ValueError(
                f"{self.reflow!r} goes from {begins!r} with standardisation {first.standardisation}, this model from "
                f"{self.source!r} with {self.standardisation}; give both the same source and data"
            )
        return of_flow(first.sampling_denoiser, first.sampler, n, seed)

    def ends(self, x0: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        if self._pool is None:
            return paired(x0, self.source, self.coupling, generator)
        step = self.trainer.global_step * self.trainer.world_size + self.global_rank
        return self._pool(step, len(x0))

    @in_float32()
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """The loss of fixed pairs and, where the exact flow is known, the error of the velocity there."""
        ((x0, labels),) = batches_of(batch, self._float)
        denoiser = conditioned(self.denoiser, labels)
        kept = self._validation_pairs
        if kept is None or len(kept[0]) != len(x0) or not torch.equal(kept[0], x0):
            kept = self._validation_pairs = (x0, *self._pairs_to_validate(x0))
        _, x0, x1 = kept
        generator = self._generator(seed_of("validation noise", self.noise_seed))
        t = self.times(len(x0), self.schedule, generator)
        losses = self.objective(denoiser, Context(x0, t, generator, x1))
        metrics = {"val/loss": float(losses.mean())}
        exact = self.exact_bridge
        if exact is not None and isinstance(self.denoiser, Bridge):
            metric = VelocityError(sync_on_compute=False).to(x0.device)
            metric.update(self.denoiser, exact, len(x0), generator)
            metrics["val/velocity_error"] = float(metric.compute().mean())
        self.log_dict(metrics, logger=False, batch_size=len(x0))
        for logger in self.loggers:
            logger.log_metrics(metrics, step=self.trainer.global_step)

    def _pairs_to_validate(self, x0: Tensor) -> tuple[Tensor, Tensor]:
        seed = seed_of("validation pairs", self.noise_seed)
        if self.reflow is None:
            return paired(x0, self.source, self.coupling, self._generator(seed))
        ends = self._of_flow(len(x0), seed)
        return ends[0].to(x0), ends[1].to(x0)

    def teardown(self, stage: str) -> None:
        super().teardown(stage)
        self._pool = self._validation_pairs = None


def is_gaussian(distribution: Distribution) -> TypeGuard[GaussianMixture]:
    """Whether it is a single Gaussian."""
    return isinstance(distribution, GaussianMixture) and len(distribution.means) == 1
