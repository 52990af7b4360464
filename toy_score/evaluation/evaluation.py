"""The evaluation of samples, and of the denoiser that made them, against a reference.

`test` feeds an `Evaluation` chunk by chunk, `compare` draw by draw; `evaluate` measures samples at hand. All give the
same `Report`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from toy_score.bridges import Bridge, KnownBridge
from toy_score.denoisers import Denoiser, ExactDenoiser
from toy_score.distributions import Distribution, Points
from toy_score.evaluation.bridges import BridgeErrors
from toy_score.evaluation.budget import error_budget
from toy_score.evaluation.causes import ErrorBudget
from toy_score.evaluation.report import Report
from toy_score.flow_maps import ExactFlowMap, FlowMap
from toy_score.likelihood import ProbabilityFlow
from toy_score.metrics import (
    Fields,
    Floor,
    Likelihood,
    Maps,
    Memorisation,
    NonFinite,
    ScoreError,
    noise_floors,
    sample_metrics,
    study_levels,
)
from toy_score.requests import SampleRequest, draw_seeds, sample_requests
from toy_score.samplers import Sampler
from toy_score.seeds import seed_of

__all__ = ["Evaluation", "TestOptions", "evaluate"]

N_FRESH = 10_000  # exact samples whose distances to the training points are compared with those of the samples


@dataclass(frozen=True)
class TestOptions:
    """What is measured besides the standard metrics.

    Args:
        likelihood: the likelihood of exact samples under the denoiser's probability flow, and the forward KL.
        fields: curl, symmetry and straightness of the denoiser's field.
        budget: where the error comes from; see `error_budget`.
        papers: metrics that papers report: exact W2, MMD and the kernel Stein discrepancy.
        classifier: the classifier two-sample test.
    """

    __test__ = False  # tells pytest that this is no test

    likelihood: bool = False
    fields: bool = False
    budget: bool = False
    papers: bool = False
    classifier: bool = False

    @property
    def of_the_denoiser(self) -> list[str]:
        """Names of the chosen options that compare a denoiser with the exact one."""
        return [name for name in ("likelihood", "fields", "budget") if getattr(self, name)]


class Evaluation:
    """Compares samples with a reference, and a denoiser with the exact one.

    It counts: the memory does not grow with the samples. Several processes may each update an evaluation of their own;
    `report`, called by all of them, adds their counts up.

    Args:
        reference: what the samples should be: the exact distribution, or held-out points where only points are known.
        seeds: of the draws of samples; a draw is measured by itself, and the report averages over them.
        denoiser: the one that made the samples. With an exact reference its score error is measured, of a bridge the
            paths of its flow.
        training_points: the fixed set that it was trained on. If given, memorisation is measured. A reference of
            points needs them: the noise floors are those of as many training points.
        options: what else is measured.
        data_seed: of the exact samples that memorisation compares with.
        device: where samples and denoiser are.
        exact_bridge: the exact bridge for the coupling that a bridge was trained with; None if it is not known.

    Raises:
        ValueError: if an option needs the exact distribution or a denoiser and there is none, or if a reference of
            points comes without training points.
    """

    def __init__(
        self,
        reference: Distribution,
        seeds: Sequence[int] = (0,),
        denoiser: Denoiser | None = None,
        training_points: Points | None = None,
        options: TestOptions = TestOptions(),
        data_seed: int = 0,
        device: torch.device | str = "cpu",
        exact_bridge: KnownBridge | None = None,
    ):
        exact, needy = not isinstance(reference, Points), " and ".join(options.of_the_denoiser)
        if needy and not exact:
            raise ValueError(f"only points of the truth are known, not its density; leave out {needy}")
        if needy and isinstance(denoiser, Bridge):
            raise ValueError(f"{needy} compare a denoiser of Gaussian noise with the exact one; leave out {needy}")
        if needy and denoiser is None:
            raise ValueError(f"{needy} compare a denoiser with the exact one; give the denoiser as well")
        if not exact and training_points is None:
            raise ValueError("a reference of points needs training_points, whose noise floors are measured")
        self.reference, self.seeds, self.denoiser = reference, list(seeds), denoiser
        self.training_points, self.options, self.device = training_points, options, torch.device(device)
        self.truth: ExactDenoiser | None = None
        if exact and denoiser is not None and not isinstance(denoiser, Bridge):
            kind = ExactFlowMap if isinstance(denoiser, FlowMap) else ExactDenoiser
            self.truth = kind(reference, denoiser.schedule)
        metrics = sample_metrics(reference, options.papers, classifier=options.classifier).to(device)
        self._of_samples = {seed: metrics.clone() for seed in self.seeds}
        self._of_denoiser: _DenoiserErrors | BridgeErrors | None = None
        if self.truth is not None and denoiser is not None:
            self._of_denoiser = _DenoiserErrors(self.truth, denoiser, options, self.device)
        if isinstance(denoiser, Bridge):
            self._of_denoiser = BridgeErrors(denoiser, reference, exact_bridge, self.device)
        self._memorisation: Memorisation | None = None
        if training_points is not None:
            generator = torch.Generator().manual_seed(seed_of("fresh points", data_seed))
            fresh = reference.points if isinstance(reference, Points) else reference.sample(N_FRESH, generator)
            self._memorisation = Memorisation(training_points, fresh).to(device)

    @torch.no_grad()
    def update(self, samples: Tensor, request: SampleRequest) -> None:
        """Add samples `(n, 2)`, the answer to a request; the denoiser is compared at `n` points of the reference."""
        self._of_samples[request.seed].update(samples)
        if self._memorisation is not None:
            self._memorisation.update(samples)
        if self._of_denoiser is not None:
            self._of_denoiser.update(request)

    def report(self, title: str = "", floors: dict[str, Floor] | None = None) -> Report:
        """What the updates so far have measured.

        Args:
            title: the first line of the table.
            floors: those of `noise_floors`; measured, for as many samples as were finite, if None.
        """
        readings = [metrics.compute() for metrics in self._of_samples.values()]
        counts = [
            m.seen() for metrics in self._of_samples.values() for m in metrics.values() if isinstance(m, NonFinite)
        ]
        n = round(sum(counts) / len(readings))
        if floors is None:
            lost = sum(float(reading["nonfinite"]) for reading in readings) / len(readings)
            counted = max(round(n * (1.0 - lost)), 2)
            real = self.training_points if isinstance(self.reference, Points) else None
            further = {"papers": self.options.papers, "classifier": self.options.classifier}
            floors = noise_floors(self.reference, counted, real=real, **further)
        return Report(
            title=title,
            distribution=self.reference,
            n=n,
            readings=readings,
            floors=floors,
            memorisation=self._memorisation.summary() if self._memorisation else None,
            **(self._of_denoiser.results() if self._of_denoiser else {}),
        )

    def error_budget(
        self,
        report: Report,
        sampler: Sampler,
        guided: Denoiser | None = None,
        cause: str = "guidance",
        tell: Callable[[str], None] | None = None,
    ) -> ErrorBudget:
        """Where the error of the reported samples comes from; `error_budget` describes the arguments.

        Raises:
            ValueError: without an exact reference or without a denoiser.
        """
        if self.truth is None or self.denoiser is None:
            raise ValueError("an error budget needs an exact reference and a denoiser")
        return error_budget(
            self.truth,
            self.denoiser,
            sampler,
            points=None if self.training_points is None else self.training_points.points,
            guided=guided,
            cause=cause,
            n=report.n,
            seeds=self.seeds,
            floors=report.floors,
            readings=report.readings,
            title=report.title,
            device=self.device,
            tell=tell,
        )

    def reset(self) -> None:
        """Forget the updates: what follows is another set of samples for the same reference and denoiser."""
        for metrics in self._of_samples.values():
            metrics.reset()
        if self._memorisation is not None:
            self._memorisation.reset()
        if self._of_denoiser is not None:
            self._of_denoiser.reset()


class _DenoiserErrors:
    """Compares a denoiser with the exact one: its score, its map if it has one, and as asked its likelihood and
    field."""

    def __init__(self, truth: ExactDenoiser, denoiser: Denoiser, options: TestOptions, device: torch.device):
        self.truth, self.denoiser, self.device = truth, denoiser, device
        self.score = ScoreError(study_levels(self.truth.schedule)).to(device)
        self.likelihood = Likelihood(truth).to(device) if options.likelihood else None
        self.fields = Fields(truth).to(device) if options.fields else None
        self.maps = Maps(truth).to(device) if isinstance(truth, ExactFlowMap) else None

    def update(self, request: SampleRequest) -> None:
        """Compare at as many exact points as samples are requested; they depend on the request alone."""
        generator = torch.Generator(self.device)
        generator.manual_seed(seed_of("test points", request.seed, request.first))
        x0 = self.truth.distribution.sample(request.n, generator)
        self.score.update(self.denoiser, self.truth, x0, generator)
        if self.likelihood is not None:
            self.likelihood.update(ProbabilityFlow(self.denoiser), x0)
        if self.fields is not None:
            self.fields.update(self.denoiser, x0, generator)
        if self.maps is not None and isinstance(self.denoiser, FlowMap):
            self.maps.update(self.denoiser, request, x0, generator)

    def results(self) -> dict[str, Any]:
        """The fields of a `Report` that are about the denoiser."""
        return {
            "levels": self.score.levels,
            "score_error": self.score.compute().tolist(),
            "score_error_se": self.score.standard_error().tolist(),
            "likelihood": self.likelihood.summary() if self.likelihood else None,
            "fields": self.fields.summary() if self.fields else None,
            "maps": self.maps.summary() if self.maps else None,
        }

    def reset(self) -> None:
        """Forget the updates."""
        for metric in (self.score, self.likelihood, self.fields, self.maps):
            if metric is not None:
                metric.reset()


def evaluate(
    samples: Any,
    reference: Distribution,
    denoiser: Denoiser | None = None,
    training_points: Points | None = None,
    options: TestOptions = TestOptions(),
    seed: int = 0,
    title: str = "",
) -> Report:
    """The report of samples: `print(evaluate(samples, Heart()))` prints the table that `test` prints.

    Args:
        samples: `(n, 2)`, a tensor or an array, in the units of the reference; or `(draws, n, 2)` for several
            independent draws, over which the report averages.
        reference, denoiser, training_points, options: as in `Evaluation`. The error budget needs the sampler as well:
            `error_budget` measures it.
        seed: of the points at which the denoiser is compared, and of those that memorisation compares with.
        title: the first line of the table; the name of the reference if empty.

    Raises:
        ValueError: if samples have another shape, if there are fewer than two, for the option `budget`, and as
            `Evaluation` says.
        TypeError: if the reference is no distribution.

    Example:
        >>> x = Heart().sample(2000, torch.Generator().manual_seed(0))
        >>> good, poor = evaluate(x, Heart()), evaluate(x + 0.2, Heart())
        >>> [round(report.as_dict()["sliced_w1"]["ratio"], 1) for report in (good, poor)]  # 1 is the noise floor
        [1.0, 6.1]
    """
    if not isinstance(reference, Distribution):
        given = type(reference).__name__
        raise TypeError(f"the reference must be a distribution, got {given}; for points: Points(points)")
    x = torch.as_tensor(samples)
    if x.dim() not in (2, 3) or x.shape[-1] != 2 or x.shape[-2] < 2 or not len(x):
        raise ValueError(f"samples must be (n, 2) or (draws, n, 2) with n >= 2, got {tuple(x.shape)}")
    if options.budget:
        raise ValueError("the error budget needs the sampler as well; use error_budget(truth, denoiser, sampler)")
    draws = x if x.dim() == 3 else x[None]
    seeds = draw_seeds(seed, len(draws))
    evaluation = Evaluation(reference, seeds, denoiser, training_points, options, seed, x.device)
    draw_of = dict(zip(seeds, draws, strict=True))
    for request in sample_requests(draws.shape[1], seeds):
        evaluation.update(draw_of[request.seed][request.first : request.first + request.n], request)
    return evaluation.report(title or reference.name.replace("_", " ") or repr(reference))
