"""What a trained model is for: samples, trajectories and log densities, in the units of the data.

Longer than other files: these are the methods of one class, see there.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import lightning.pytorch as pl
import torch
from torch import Tensor

from toy_score.backbones import Backbone
from toy_score.bridges import KnownBridge
from toy_score.data import KnownData, data_module
from toy_score.denoisers import Denoiser, ExactDenoiser, Guided, NetworkDenoiser
from toy_score.distributions import Distribution, LinearObservation
from toy_score.evaluation import Finding, diagnose
from toy_score.likelihood import ProbabilityFlow
from toy_score.modules.batches import in_float32
from toy_score.modules.checkpoints import known_data, model_of, read_checkpoint
from toy_score.modules.classes import class_number
from toy_score.parameterisations import Conditioning, Parameterisation
from toy_score.posteriors import Posterior, PosteriorRule
from toy_score.requests import SampleRequest
from toy_score.samplers import Sampler, Trajectory
from toy_score.schedules import Schedule
from toy_score.standardisation import Standardisation
from toy_score.words import shown

__all__ = ["SamplingModule"]


class SamplingModule(pl.LightningModule):
    """A denoiser with a sampler: it answers `predict` and `test`, and calls from Python.

    `ScoreModule` adds the constructor, which describes the attributes, and the training. (Longer than other classes:
    most of its methods are properties and other answers of one or two lines.)
    """

    exact_type: ClassVar[type[ExactDenoiser]] = ExactDenoiser

    denoiser: NetworkDenoiser
    sampler: Sampler
    label: int | str | None
    condition: Sequence[float] | None
    class_names: Sequence[str] | None
    guidance: float
    guide: str | None
    observation: LinearObservation | None
    rule: PosteriorRule
    standardisation: Standardisation | None

    def __init__(self) -> None:
        super().__init__()
        self.data: KnownData | None = None  # see `setup` and `load_from_checkpoint`
        self._guides: dict[tuple[str, torch.device], NetworkDenoiser] = {}
        self._generators: dict[torch.device, torch.Generator] = {}

    # The parts of the denoiser, by the names of the constructor's arguments.

    @property
    def backbone(self) -> Backbone:
        return self.denoiser.backbone

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    @property
    def parameterisation(self) -> Parameterisation:
        return self.denoiser.parameterisation

    @property
    def conditioning(self) -> Conditioning:
        return self.denoiser.conditioning

    @property
    def _float(self) -> torch.dtype:
        """The dtype of points: that of the weights, but float32 for a network in a lower precision."""
        weights = cast(torch.dtype, self.dtype)  # Lightning annotates it as `str` or `dtype`; it is never a `str`
        return torch.promote_types(weights, torch.float32)

    @property
    def sampling_denoiser(self) -> Denoiser:
        """The denoiser that makes the samples: the network, with the label, guidance and observation as now set."""
        strong = self.denoiser if self.told is None else self.denoiser.conditioned_on(self.told)
        return self._adjusted(strong, self.denoiser)

    def _adjusted(self, strong: Denoiser, whole: Denoiser) -> Denoiser:
        """A denoiser, guided away from the guide or from that of all classes, and corrected for the observation."""
        observation = self.observation_in_units
        if self.guidance != 1:
            strong = Guided(strong, whole if self.guide is None else self._guide_denoiser(self.guide), self.guidance)
        return strong if observation is None else Posterior(strong, observation, self.rule)

    @property
    def observation_in_units(self) -> LinearObservation | None:
        """The observation, of a point in the units of the model."""
        units, given = self.standardisation, self.observation
        return given if given is None or units is None else given.rescaled(units.mean, units.scale)

    def _guide_denoiser(self, path: str) -> NetworkDenoiser:
        """The guide's network, read once for each device, and conditioned on the label if it has classes."""
        key = path, self.device
        if key not in self._guides:
            guide = SamplingModule.load_from_checkpoint(path, guide=None, guidance=1.0).to(self.device)
            if guide.standardisation != self.standardisation:
                raise ValueError(
                    f"the guide {path!r} was trained with standardisation {guide.standardisation}, the "
                    f"model with {self.standardisation}; train both on the same points"
                )
            own, its = self.class_names, guide.class_names
            if own is not None and its is not None and list(own) != list(its):
                raise ValueError(
                    f"the guide {path!r} knows the classes {shown(its)}, the model {shown(own)}; "
                    "train both on the same points"
                )
            self._guides[key] = guide.denoiser
        weak = self._guides[key]
        knows = weak.backbone.n_labels or weak.backbone.n_conditions
        return weak if self.told is None or not knows else weak.conditioned_on(self.told)

    @property
    def told(self) -> int | Sequence[float] | None:
        """What the network is told of the samples: the number of their class, or the condition; None if nothing.

        Raises:
            ValueError: if there is no class of that label.
        """
        return self.condition if self.label is None else class_number(self.label, self.class_names)

    @property
    def name(self) -> str:
        """The model's name for titles: the class without `Module`."""
        return type(self).__name__.removesuffix("Module")

    # What is known of the data: nothing before a trainer has set the model up or a checkpoint is loaded, and nothing of
    # foreign data modules

    @property
    def distribution(self) -> Distribution | None:
        """The exact distribution of the data, or the training points where only points are known; None if unknown."""
        return None if self.data is None else self.data.distribution

    @property
    def truth(self) -> ExactDenoiser | None:
        """The exact denoiser of the data; None if their exact distribution is not known."""
        exact = None if self.data is None else self.data.exact
        return None if exact is None else self.exact_type(exact, self.schedule)

    @property
    def target(self) -> KnownData | None:
        """What is known of the data that the samples should resemble: of the label's class, after the observation."""
        told, observation = self.told, self.observation_in_units
        target = self.data if self.data is None or told is None else self.data.of_class(told)
        return target if target is None or observation is None else target.after(observation)

    @property
    def reference_denoiser(self) -> ExactDenoiser | None:
        """The optimal denoiser without guidance: the exact one, of the label's class, after the observation."""
        strong, observation = self.exact_prior, self.observation_in_units
        if strong is None or observation is None:
            return strong
        return ExactDenoiser(strong.distribution.posterior(observation), self.schedule)

    @property
    def exact_prior(self) -> ExactDenoiser | None:
        """The exact denoiser of the data, of the label's class or given the condition, before any observation."""
        truth = self.truth
        return truth if truth is None or self.told is None else truth.conditioned_on(self.told)

    @property
    def guided_reference(self) -> Denoiser | None:
        """The optimal denoiser with the guidance and the rule; None without either, or without a known truth."""
        truth, strong, plain = self.truth, self.exact_prior, self.guidance == 1 and self.observation is None
        return None if truth is None or strong is None or plain else self._adjusted(strong, truth)

    @property
    def exact_bridge(self) -> KnownBridge | None:
        """The exact flow between source and data, of a model that learns one; None if it is not known."""
        return None

    def doctor(self) -> list[Finding]:
        """Whether the optimal denoiser would succeed with these choices, see `diagnose`; empty if no data are known."""
        p = self.distribution
        return [] if p is None else diagnose(p, self.schedule, self.sampler, self.parameterisation)

    def setup(self, stage: str) -> None:
        data = data_module(self.trainer)
        self.data = None if data is None else data.known(self.standardisation)
        if self.data is not None:
            self.adopt(self.data, units=stage == "fit")

    def adopt(self, data: KnownData, units: bool = True) -> None:
        """Take from the data what the model does not know yet: the names of their classes and, for `fit`, their units.

        Raises:
            ValueError: if the data have other classes than the model, or none of its label.
        """
        if units and self.standardisation in (None, data.standardisation):
            self.standardisation = data.standardisation  # if it is the same, perhaps with other names of the axes
        if not self.backbone.n_labels or data.class_names is None:
            return
        if self.class_names is None:
            self.class_names = data.class_names
        if tuple(self.class_names) != data.class_names:
            raise ValueError(
                f"the model knows the classes {shown(self.class_names)}, the points of {data.source} have "
                f"{shown(data.class_names)}; use the data that the model was trained on"
            )
        if self.label is not None:
            class_number(self.label, self.class_names)

    def check_units(self, data: KnownData | None) -> None:
        """Check that points come in the units of the model; nothing is known of those of foreign data modules.

        Raises:
            ValueError: if the points have another standardisation than the model.
        """
        if data is not None and data.standardisation != self.standardisation:
            raise ValueError(
                f"the model works with standardisation {self.standardisation}, the points of "
                f"{data.source} come with {data.standardisation}; use the data that the model was trained on, "
                "or leave out --model.standardisation"
            )

    # Sampling

    def sample(self, n: int, seed: int = 0, sampler: Sampler | None = None) -> Tensor:
        """`n` samples, `(n, 2)`, in the units of the data, on the module's device, by its own sampler or another."""
        generator = torch.Generator(self.device).manual_seed(seed)
        return self._in_units((sampler or self.sampler)(self.sampling_denoiser, n, generator))

    def trajectory(self, n: int, seed: int = 0, every: int = 1, skip: int = 0) -> Trajectory:
        """The paths of the first `n` of those samples, in the units of the data, by the module's own sampler.

        Noise levels stay in the units of the model.
        """
        generator = torch.Generator(self.device).manual_seed(seed)
        path = self.sampler.trajectory(self.sampling_denoiser, n, generator, every, skip)
        return Trajectory(self._in_units(path.x), path.ratio, path.alpha)

    def log_prob(self, x: Tensor, tolerance: float = 1e-4) -> Tensor:
        """Log density of the samples at points `x`, `(n, 2)`, in the units of the data: in nats, `(n,)`.

        The density `q` that the probability flow (Song et al. 2021, section 4.3) of the sampling denoiser, with its
        label and guidance, gives to the standardised points `z`, and the Jacobian of the standardisation:

            log p(x) = log q(z) - log scale_1 - log scale_2,    z = (x - mean) / scale.

        Samples keep the noise of the lowest level, so `p` is the density of the data with noise of standard deviation
        `sigma_min scale_i` along axis `i`.

        Args:
            x: the points, float64 where float32 has too few digits for them; standardised in float64.
            tolerance: of the steps of the flow, > 0, in the units of the model; see `ProbabilityFlow`.

        Raises:
            ValueError: if `tolerance` is not positive.
        """
        units, z = self.standardisation, x.double()
        z = (z if units is None else units(z)).to(self.device, self._float)
        log_jacobian = 0.0 if units is None else sum(map(math.log, units.scale))
        return ProbabilityFlow(self.sampling_denoiser, tolerance).log_prob(z) - log_jacobian

    @in_float32()
    def predict_step(self, request: SampleRequest, batch_idx: int) -> dict[str, Any]:
        return {"first": request.first, "samples": self._in_units(self._samples(request))}

    def _samples(self, request: SampleRequest) -> Tensor:
        """Samples in the units of the model."""
        return self.sampler(self.sampling_denoiser, request.n, self._generator(request.seed), request.first)

    def _in_units(self, z: Tensor) -> Tensor:
        return z if self.standardisation is None else self.standardisation.inverse(z)

    # Testing: the samples, which a callback feeds to an evaluation

    def on_test_start(self) -> None:
        self.check_units(self.data)

    @in_float32()
    def test_step(self, request: SampleRequest, batch_idx: int) -> Tensor:
        """The samples that are asked for, `(n, 2)`, in the units of the model."""
        return self._samples(request)

    def _generator(self, seed: int) -> torch.Generator:
        if self.device not in self._generators:
            self._generators[self.device] = torch.Generator(self.device)
        return self._generators[self.device].manual_seed(seed)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # a checkpoint is complete: no hparams_file, always strict
        cls, checkpoint_path: str | Path, map_location: Any = "cpu", **kwargs: Any
    ) -> Self:
        """The model that a checkpoint holds, with its averaged weights where it has any.

        Args:
            kwargs: constructor arguments that replace those of the checkpoint, e.g. `sampler=Heun(10)`.

        Raises:
            FileNotFoundError, ValueError: as `read_checkpoint` and `model_of` say.
            TypeError: if the checkpoint holds a model of another class than `cls`.
        """
        checkpoint = read_checkpoint(checkpoint_path, map_location)
        module = model_of(checkpoint, SamplingModule, str(checkpoint_path), kwargs)
        if not isinstance(module, cls):
            raise TypeError(f"{checkpoint_path} holds a {type(module).__name__}, not a {cls.__name__}")
        module.load_state_dict(checkpoint["state_dict"])
        module.data = known_data(checkpoint)
        return module.eval()
