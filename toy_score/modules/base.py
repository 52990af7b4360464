"""The training loop that all models share.

A model is a choice of five things: a schedule, what the network predicts, how it is told the noise level, at which
times it is trained, and how it is customarily sampled. The kin of `ScoreModule` make that choice; the loop is here.
"""

import functools
import math
import re
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from toy_score.backbones import MLP, Backbone
from toy_score.component import Described, check_config, from_config, to_config
from toy_score.data import Batch, SampleRequest, ToyDataModule
from toy_score.denoisers import Denoiser, ExactDenoiser, Guided, NetworkDenoiser
from toy_score.distributions import Distribution, Points
from toy_score.evaluation import Finding, diagnose
from toy_score.likelihood import ProbabilityFlow
from toy_score.metrics import STUDY_LEVELS
from toy_score.modules.lr_schedules import Constant, LRSchedule, WarmupCosine
from toy_score.modules.validation import Validation
from toy_score.objectives import DenoisingScoreMatching, Objective, TrainingTimes
from toy_score.parameterisations import Conditioning, Parameterisation
from toy_score.samplers import Sampler, Trajectory
from toy_score.schedules import Schedule
from toy_score.seeds import seed_of
from toy_score.standardisation import Standardisation
from toy_score.version import __version__

__all__ = ["ScoreModule"]

OptimizerCallable = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]
"""Makes an optimizer of parameters."""


class ScoreModule(Described, pl.LightningModule):
    """Trains a network to denoise, by default with denoising score matching; sampling and testing come with it.

    Args:
        schedule: signal and noise over time.
        parameterisation: what the network predicts.
        conditioning: the number that tells it the noise level.
        times: at which times a batch is perturbed.
        sampler: how samples are made, unless another is asked for.
        backbone: the network, or its class, from which one with default arguments is made.
        objective: the loss per row.
        optimizer: from parameters to an optimizer; by default Adam (Kingma & Ba 2015).
        lr_schedule: factor of the learning rate over the course of the training.
        gradient_clip: largest norm of the gradient, > 0; no clipping if None.
        noise_seed: seed of the training noise; step k of process r sees the same noise in every run.
        label_dropout: share of the points whose class label is kept from the network in training, in [0, 1], so that it
            learns the whole distribution as well.
        label: class of the samples; of all classes if None.
        guidance: `w` of `D = D_weak + w (D_strong - D_weak)` in sampling; 1 is no guidance. The strong denoiser is the
            network, told the label; the weak one is the network that is not told it, or the guide.
        guide: checkpoint of a weaker model to be the weak one (autoguidance).
        standardisation: between the units of the data and those of the model, in which the denoiser works; samples,
            trajectories and `log_prob` are in the units of the data. If None, `fit` takes it from the data module.
            If one is given, `PointsDataModule` uses it; `fit`, `validate` and `test` refuse a data module with another
            one or none. It belongs to the trained weights: that of a checkpoint always holds.

    Raises:
        ValueError: if an argument is out of range, or guidance is asked for with neither label nor guide.
    """

    def __init__(
        self,
        schedule: Schedule,
        parameterisation: Parameterisation,
        conditioning: Conditioning,
        times: TrainingTimes,
        sampler: Sampler,
        backbone: Backbone | type[Backbone] = MLP,
        objective: Objective = DenoisingScoreMatching(),
        optimizer: OptimizerCallable = functools.partial(torch.optim.Adam, lr=1e-2, fused=True),
        lr_schedule: LRSchedule = WarmupCosine(),
        gradient_clip: float | None = None,
        noise_seed: int = 0,
        label_dropout: float = 0.1,
        label: int | None = None,
        guidance: float = 1.0,
        guide: str | None = None,
        standardisation: Standardisation | None = None,
    ):
        super().__init__()
        if not 0 <= label_dropout <= 1:
            raise ValueError(f"label_dropout is a share of the points in [0, 1], got {label_dropout}")
        if guidance != 1 and label is None and guide is None:
            raise ValueError(f"guidance {guidance} needs a label to guide to or a guide to lead away from; add one")
        if gradient_clip is not None and not gradient_clip > 0:
            raise ValueError(f"gradient_clip must be positive, got {gradient_clip}; leave it out for no clipping")
        self.automatic_optimization = False  # several steps in one training_step
        network = backbone() if isinstance(backbone, type) else backbone
        self.denoiser = NetworkDenoiser(network, schedule, parameterisation, conditioning)
        self.times, self.sampler, self.objective = times, sampler, objective
        self.optimizer, self.lr_schedule = optimizer, lr_schedule
        self.gradient_clip, self.noise_seed = gradient_clip, noise_seed
        self.label_dropout, self.label, self.guidance, self.guide = label_dropout, label, guidance, guide
        self.standardisation = standardisation
        self._generators: dict[torch.device, torch.Generator] = {}
        self._running: dict[str, Any] = {"loss": 0.0, "steps": 0}
        self._run_length: int | None = None
        self._validation: Validation | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the running hook's name on the module forty times a step, and a module's own __setattr__ looks
        # for parameters each time: a tenth of a step for a network of this size.
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

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

    @functools.cached_property
    def sampled(self) -> Denoiser:
        """The denoiser that samples are made with: the network, told the label, and guided, if that is asked for."""
        strong = self.denoiser if self.label is None else self.denoiser.given(self.label)
        if self.guidance == 1:
            return strong
        weak = self.denoiser
        if self.guide is not None:
            guide = ScoreModule.load_from_checkpoint(self.guide, guide=None, guidance=1.0).to(self.device)
            if guide.standardisation != self.standardisation:
                raise ValueError(
                    f"the guide {str(self.guide)!r} was trained with standardisation {guide.standardisation}, the "
                    f"model with {self.standardisation}; train both on the same points"
                )
            weak = guide.denoiser
            weak = weak if self.label is None or not weak.backbone.n_labels else weak.given(self.label)
        return Guided(strong, weak, self.guidance)

    @property
    def name(self) -> str:
        """The model's name for titles: the class without `Module`."""
        return type(self).__name__.removesuffix("Module")

    @property
    def distribution(self) -> Distribution | None:
        """That of the data at hand, or the training points where that is all there is; None for foreign data."""
        return getattr(getattr(self.trainer, "datamodule", None), "distribution", None)

    @property
    def truth(self) -> ExactDenoiser | None:
        """The exact denoiser of the data at hand; None where only points of it are known, or not even those."""
        known = self.distribution is not None and not isinstance(self.distribution, Points)
        return ExactDenoiser(self.distribution, self.schedule) if known else None

    @property
    def sampled_truth(self) -> ExactDenoiser | None:
        """What the samples are measured against: the truth, of the label's class if there is one."""
        return self.truth if self.truth is None or self.label is None else self.truth.given(self.label)

    @property
    def judge(self) -> Distribution | None:
        """What samples are compared with: the exact law, or held-out points where only points are known."""
        if self.sampled_truth is not None:
            return self.sampled_truth.distribution
        held_out = getattr(getattr(self.trainer, "datamodule", None), "held_out_points", None)
        return held_out if held_out is None or self.label is None else held_out.given(self.label)

    @property
    def training_points(self) -> Points | None:
        """The fixed set that the model was trained on, of the label's class if there is one; None if there is none."""
        batch = self.trainer.datamodule.training_points()
        if batch is None:
            return None
        return Points(batch.x if self.label is None else batch.x[batch.labels == self.label])

    @property
    def guided_truth(self) -> Denoiser | None:
        """What a perfect network would make of the guidance asked for; None without guidance."""
        if self.guidance == 1 or self.truth is None:
            return None
        return Guided(self.sampled_truth, self.truth if self.guide is None else self.sampled.weak, self.guidance)

    def doctor(self) -> list[Finding]:
        """Whether a perfect network would succeed with this schedule and sampler on these data; see `diagnose`."""
        if self.distribution is None:
            return []
        return diagnose(self.distribution, self.schedule, self.sampler, self.parameterisation)

    # Training

    def setup(self, stage: str) -> None:
        self._validation = None  # a run that failed left its own
        if stage == "fit" and self.standardisation is None:
            self.standardisation = getattr(self.trainer.datamodule, "standardisation", None)

    def on_fit_start(self) -> None:
        self.check_units(self.trainer.datamodule)

    def check_units(self, datamodule: Any) -> None:
        """Check that the points of a data module are in the units of the model; foreign ones need not declare theirs.

        Raises:
            ValueError: if the data module has another standardisation than the model.
        """
        units = getattr(datamodule, "standardisation", self.standardisation)
        if units != self.standardisation:
            raise ValueError(
                f"the model works with standardisation {self.standardisation}, the points of "
                f"{type(datamodule).__name__} come with {units}; use the data that the model was trained on, "
                "or leave out --model.standardisation"
            )

    def training_step(self, batches: list[Batch], batch_idx: int) -> None:
        """One optimizer step per batch of the group that the data module hands over."""
        optimizer, scheduler, truth = self.optimizers(), self.lr_schedulers(), self.truth
        for x0, labels in batches:
            seed = seed_of("training noise", self.noise_seed, self.global_rank, self.trainer.global_step)
            generator = self._generator(seed)
            t = self.times(len(x0), self.schedule, generator)
            loss = self.objective(self._told(labels, generator), x0, t, generator, truth).mean()
            optimizer.zero_grad()
            self.manual_backward(loss)
            if self.gradient_clip is not None:
                self.clip_gradients(optimizer, self.gradient_clip, "norm")
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            self._running["loss"] += loss.detach()
            self._running["steps"] += 1

    def _told(self, labels: Tensor | None, generator: torch.Generator | None = None) -> NetworkDenoiser:
        """The network, told the labels, but for a share of them that is dropped where there is a generator."""
        if labels is None:
            if self.backbone.n_labels:
                raise ValueError("the network knows labels but the data come without; add --data.labels true")
            return self.denoiser
        if generator is not None:
            dropped = torch.rand(len(labels), generator=generator, device=labels.device) < self.label_dropout
            labels = torch.where(dropped, -1, labels)
        return self.denoiser.given(labels)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        # Logging every step would cost a third of a step; the sum stays on the device until it is wanted.
        if self._running["steps"] >= self.trainer.log_every_n_steps:
            self._log_running()
        trainer = self.trainer
        last_epoch = trainer.is_last_batch and trainer.current_epoch + 1 == trainer.max_epochs
        if last_epoch or trainer.global_step == trainer.max_steps:
            trainer.should_stop = True  # which makes Lightning validate once more before it stops

    def on_train_end(self) -> None:
        self._log_running()

    def _log_running(self) -> None:
        if not self._running["steps"]:
            return
        loss = float(self._running["loss"]) / self._running["steps"]
        step = self.trainer.global_step
        if not torch.isfinite(torch.tensor(loss)):
            raise ValueError(
                f"the training loss became {loss} between steps {step - self._running['steps']} and {step}; "
                f"lower the learning rate (now {self._learning_rate():.3g}) or set --model.gradient_clip 1.0"
            )
        self._running.update(loss=0.0, steps=0)
        if self.logger is not None:
            self.logger.log_metrics({"train/loss": loss, "train/learning_rate": self._learning_rate()}, step=step)

    def _learning_rate(self) -> float:
        return self.trainer.optimizers[0].param_groups[0]["lr"]

    def _generator(self, seed: int) -> torch.Generator:
        if self.device not in self._generators:
            self._generators[self.device] = torch.Generator(self.device)
        return self._generators[self.device].manual_seed(seed)

    def configure_optimizers(self) -> Any:
        self._run_length = steps = self.run_length(self.trainer, self.trainer.datamodule)
        optimizer = self.optimizer(self.parameters())
        if isinstance(self.lr_schedule, Constant):
            return optimizer
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: self.lr_schedule(min(k / steps, 1.0)))
        return [optimizer], [schedule]

    def run_length(self, trainer: pl.Trainer, data: pl.LightningDataModule | None) -> int | None:
        """Optimizer steps of a run: `max_steps`, or those of `max_epochs` epochs of the data, whichever is less.

        It is None if nothing but a time limit, a callback or a signal ends the run, which only `Constant` allows.

        Raises:
            ValueError: if the learning-rate schedule needs the length and it is not known.
        """
        lengths = [] if trainer.max_steps == -1 else [trainer.max_steps]
        if trainer.max_epochs not in (None, -1) and isinstance(data, ToyDataModule):
            if trainer.limit_train_batches != 1.0 and not trainer.fast_dev_run:
                raise ValueError(
                    f"trainer.limit_train_batches {trainer.limit_train_batches} cuts the epochs of trainer.max_epochs "
                    f"{trainer.max_epochs}; leave it out and set --trainer.max_steps"
                )
            lengths.append(trainer.max_epochs * math.ceil(data.batches_per_epoch / trainer.world_size))
        if not lengths and not isinstance(self.lr_schedule, Constant):
            raise ValueError(
                f"{self.lr_schedule!r} needs the length of the run: set --trainer.max_steps, "
                "or --model.lr_schedule Constant"
            )
        return min(lengths, default=None)

    # Validation: the same points and the same noise every time, so that curves compare

    def on_validation_start(self) -> None:
        self.check_units(self.trainer.datamodule)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        x0, labels = batch
        denoiser = self._told(labels)
        generator = self._generator(seed_of("validation noise", self.noise_seed))
        t = self.times(len(x0), self.schedule, generator)
        loss = self.objective(denoiser, x0, t, generator, self.truth).mean()
        if self._validation is None or not self._validation.is_of(x0):
            self._validation = Validation(x0, self.schedule, self.truth, self.noise_seed)
        noise = self._validation.noise(denoiser)
        found = {"val/loss": loss} | _by_level("val_loss", self._validation.loss(noise))
        if denoiser is not self.denoiser:
            noise = self._validation.noise(self.denoiser)  # not told the classes, as the truth is not
        error = self._validation.score_error(noise)
        if error is not None:
            found |= {"val/score_error": error.mean()} | _by_level("val_score_error", error)
        found = {name: float(value) for name, value in found.items()}
        self.log_dict(found, logger=False, batch_size=len(x0))
        if self.logger is not None:  # by optimizer steps; Lightning itself would count calls of training_step
            self.logger.log_metrics(found, step=self.trainer.global_step)

    def teardown(self, stage: str) -> None:
        self._validation = None

    # Sampling

    def sample(self, n: int, seed: int = 0, sampler: Sampler | None = None) -> Tensor:
        """`n` samples, `(n, 2)`, in the units of the data, on the module's device, by its own sampler or another."""
        generator = torch.Generator(self.device).manual_seed(seed)
        return self._in_units((sampler or self.sampler)(self.sampled, n, generator))

    def trajectory(self, n: int, seed: int = 0, every: int = 1, skip: int = 0) -> Trajectory:
        """The paths of the first `n` of those samples, in the units of the data, by the module's own sampler.

        Noise levels stay in the units of the model.
        """
        generator = torch.Generator(self.device).manual_seed(seed)
        path = self.sampler.trajectory(self.sampled, n, generator, every, skip)
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
        z = (z if units is None else units(z)).to(self.device, self.dtype)
        log_jacobian = 0.0 if units is None else sum(map(math.log, units.scale))
        return ProbabilityFlow(self.sampled, tolerance).log_prob(z) - log_jacobian

    def predict_step(self, request: SampleRequest, batch_idx: int) -> dict[str, Any]:
        return {"first": request.first, "samples": self._in_units(self._samples(request))}

    def _samples(self, request: SampleRequest) -> Tensor:
        """Samples in the units of the model."""
        return self.sampler(self.sampled, request.n, self._generator(request.seed), request.first)

    def _in_units(self, z: Tensor) -> Tensor:
        return z if self.standardisation is None else self.standardisation.undo(z)

    # Testing: the samples, which a callback feeds to an evaluation

    def on_test_start(self) -> None:
        self.check_units(self.trainer.datamodule)

    def test_step(self, request: SampleRequest, batch_idx: int) -> Tensor:
        """The samples that are asked for, `(n, 2)`, in the units of the model."""
        return self._samples(request)

    # Checkpoints describe the model by plain values only, so that they load with weights_only=True

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.standardisation = trained_units(checkpoint.get("hyper_parameters") or {}, self.standardisation)
        self._check_weights(checkpoint["state_dict"])

    def _check_weights(self, weights: dict[str, Tensor]) -> None:
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in self.state_dict().items()}:
            name = type(self.backbone).__name__
            raise ValueError(f"the weights in the checkpoint do not fit this {name}; leave out --model.backbone")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["toy_score_version"] = __version__
        checkpoint["hyper_parameters"] = to_config(self)
        checkpoint["run_length"] = self._run_length
        datamodule = getattr(self.trainer, "datamodule", None)
        if isinstance(datamodule, ToyDataModule):
            checkpoint["datamodule_hyper_parameters"] = to_config(datamodule)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path, map_location: Any = "cpu", **kwargs: Any) -> Any:
        """The model that a checkpoint holds, with its averaged weights where it has any.

        Args:
            kwargs: constructor arguments that replace those of the checkpoint, e.g. `sampler=Heun(10)`.

        Raises:
            FileNotFoundError, ValueError: as `read_checkpoint` and `component.check_config` say.
            ValueError: if its samples need a guide and `kwargs` names none, for another `standardisation` than that of
                the training, or if the weights do not fit the model.
            TypeError: if the checkpoint holds a model of another class than `cls`.
        """
        checkpoint = read_checkpoint(checkpoint_path, map_location)
        config = checkpoint.get("hyper_parameters")
        check_config(config, ScoreModule, "model")
        trained_units(config, kwargs.pop("standardisation", None))
        arguments = {**(config.get("init_args") or {}), **{k: to_config(v) for k, v in kwargs.items()}}
        module = from_config({**config, "init_args": arguments}, ScoreModule, "model")
        if not isinstance(module, cls):
            raise TypeError(f"{checkpoint_path} holds a {type(module).__name__}, not a {cls.__name__}")
        if module.guide is not None and module.guidance != 1 and "guide" not in kwargs:
            raise ValueError(
                f"{str(checkpoint_path)!r} names the guide {module.guide!r}, and a path in a checkpoint is not opened "
                f"unasked: name it again, as guide={module.guide!r} in Python or among the models of compare"
            )
        module._check_weights(checkpoint["state_dict"])
        module.load_state_dict(checkpoint["state_dict"])
        return module.eval()


def _by_level(name: str, values: Tensor) -> dict[str, Tensor]:
    """The values at the levels of the original study, named for charts."""
    return {f"{name}/sigma_{s:.3g}": value for s, value in zip(STUDY_LEVELS, values, strict=True)}


def trained_units(config: dict[str, Any], chosen: Standardisation | None = None) -> Standardisation | None:
    """The standardisation with which the weights of a checkpoint were trained, from the description of its model.

    Raises:
        ValueError: if another one is `chosen`: the network would be evaluated in units that it was not trained in.
    """
    stored = (config.get("init_args") or {}).get("standardisation")
    trained = from_config(stored, Standardisation | None, "model.standardisation")
    if chosen is not None and chosen != trained:
        raise ValueError(f"the network was trained with standardisation {trained}, not {chosen}; leave out the latter")
    return trained


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """The contents of a checkpoint of this project: plain values and tensors, whose checksums are right.

    Nothing in it is executed or imported. What it describes is not checked here but where it is built, by
    `component.check_config`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, no checkpoint of toy_score, or written by a newer version, or if a weight is not
            finite.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint {str(path)!r}; fit writes lightning_logs/RUN/checkpoints/last.ckpt"
        )
    try:
        with zipfile.ZipFile(path) as file:
            # torch does not compare the checksums, and leaves the weights in a record marked as a folder uninitialised.
            if file.testzip() is not None or any(record.external_attr & 0x10 for record in file.infolist()):
                raise ValueError("a checksum or a mark is wrong")
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception:  # zipfile and torch raise whatever the damaged bytes happen to provoke
        raise ValueError(f"{str(path)!r} cannot be read as a checkpoint: it is damaged or incomplete") from None
    version = checkpoint.get("toy_score_version") if isinstance(checkpoint, dict) else None
    if not re.match(r"\d+\.\d+", str(version)) or not isinstance(checkpoint.get("state_dict"), dict):
        raise ValueError(f"{str(path)!r} is not a checkpoint of toy_score")
    if _release(version) > _release(__version__):
        raise ValueError(f"{str(path)!r} was written by toy_score {version}, this is {__version__}; upgrade toy_score")
    for name in ("state_dict", "current_model_state"):  # the averaged weights, if there are any, and the others
        for key, weights in checkpoint.get(name, {}).items():
            if not weights.isfinite().all():
                raise ValueError(f"the weights {key!r} in {str(path)!r} are not finite; use an earlier checkpoint")
    return checkpoint


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
