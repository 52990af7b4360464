"""The training loop that all models share.

A model is a choice of five things: a schedule, what the network predicts, how it is conditioned on the noise level, at
which times it is trained, and how it is customarily sampled. The subclasses of `ScoreModule` make that choice; the
loop is here. (Longer than other files: Lightning asks one class for the training, the validation and the checkpoint.)
"""

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import lightning.pytorch as pl
import torch
from torch import Tensor

from toy_score.backbones import MLP, Backbone
from toy_score.checks import check_positive
from toy_score.component import Described, to_config
from toy_score.data import ToyDataModule, data_module, typed
from toy_score.denoisers import NetworkDenoiser
from toy_score.distributions import LinearObservation
from toy_score.metrics import STUDY_LEVELS
from toy_score.modules.batches import batches_of, conditioned, in_float32
from toy_score.modules.checkpoints import check_weights, trained_units
from toy_score.modules.classes import class_number
from toy_score.modules.lr_schedules import Constant, LRSchedule, WarmupCosine
from toy_score.modules.plots import PlottingModule
from toy_score.modules.validation import Validation
from toy_score.objectives import Context, DenoisingScoreMatching, Loss, TrainingTimes
from toy_score.parameterisations import Conditioning, Parameterisation
from toy_score.posteriors import TMPD, PosteriorRule
from toy_score.samplers import Sampler
from toy_score.schedules import Schedule
from toy_score.seeds import seed_of
from toy_score.standardisation import Standardisation
from toy_score.version import __version__

__all__ = ["ScoreModule", "score_module"]

OptimizerCallable = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]
"""Makes an optimizer of parameters."""


class ScoreModule(Described, PlottingModule):
    """Trains a network to denoise, by default with denoising score matching; samples as `SamplingModule` does.

    Args:
        schedule: signal and noise over time.
        parameterisation: what the network predicts.
        conditioning: the number that the network gets for the noise level.
        times: at which times a batch is perturbed.
        sampler: how samples are made, unless another is asked for.
        backbone: the network, or its class, from which one with default arguments is made.
        objective: the loss per row.
        optimizer: from parameters to an optimizer; by default Adam (Kingma & Ba 2015).
        lr_schedule: factor of the learning rate over the course of the training.
        gradient_clip: largest norm of the gradient, > 0; no clipping if None.
        noise_seed: seed of the training noise; step k of process r sees the same noise in every run.
        label_dropout: share of the points whose class label or condition is kept from the network in training, in [0,
            1], so that it learns the whole distribution as well.
        label: class of the samples, by its number or its name; of all classes if None.
        condition: what is observed with the samples, as many numbers as the network takes; samples without regard to
            that if None.
        guidance: `w` of `D = D_weak + w (D_strong - D_weak)` in sampling; 1 is no guidance. The strong denoiser is the
            network conditioned on the label; the weak one is the network without the label, or the guide.
        guide: checkpoint of a weaker model to be the weak one (autoguidance).
        observation: of the clean point, in the units of the data: samples are of the posterior. None for the prior.
        rule: how the denoiser is corrected for the observation.
        standardisation: between the units of the data and those of the model, in which the denoiser works; samples,
            trajectories and `log_prob` are in the units of the data. If None, `fit` takes it from the data module.
            If one is given, `PointsDataModule` uses it; `fit`, `validate` and `test` refuse a data module with another
            one or none. It belongs to the trained weights: that of a checkpoint always holds.
        class_names: of the classes that the network is conditioned on, in their order. If None, taken from the data.

    Raises:
        ValueError: if an argument is out of range, or guidance is asked for with neither label nor guide.
    """

    denoiser_type: ClassVar[type[NetworkDenoiser]] = NetworkDenoiser

    def __init__(
        self,
        schedule: Schedule,
        parameterisation: Parameterisation,
        conditioning: Conditioning,
        times: TrainingTimes,
        sampler: Sampler,
        backbone: Backbone | type[Backbone] = MLP,
        objective: Loss = DenoisingScoreMatching(),
        optimizer: OptimizerCallable = functools.partial(torch.optim.Adam, lr=1e-2, fused=True),
        lr_schedule: LRSchedule = WarmupCosine(),
        gradient_clip: float | None = None,
        noise_seed: int = 0,
        label_dropout: float = 0.1,
        label: int | str | None = None,
        condition: Sequence[float] | None = None,
        guidance: float = 1.0,
        guide: str | None = None,
        observation: LinearObservation | None = None,
        rule: PosteriorRule = TMPD(),
        standardisation: Standardisation | None = None,
        class_names: Sequence[str] | None = None,
    ):
        super().__init__()
        if not 0 <= label_dropout <= 1:
            raise ValueError(f"label_dropout is a share of the points in [0, 1], got {label_dropout}")
        if guidance != 1 and label is None and condition is None and guide is None:
            raise ValueError(f"guidance {guidance} needs a label to guide to or a guide to lead away from; add one")
        if label is not None and condition is not None:
            raise ValueError(f"samples have a label or a condition, got {label!r} and {list(condition)}; leave out one")
        if gradient_clip is not None:
            check_positive("leave it out for no clipping", gradient_clip=gradient_clip)
        self.automatic_optimization = False  # several steps in one training_step
        network = backbone() if isinstance(backbone, type) else backbone
        self.denoiser = self.denoiser_type(network, schedule, parameterisation, conditioning)
        sampler.check(self.denoiser)
        self.times, self.sampler, self.objective = times, sampler, objective
        self.optimizer, self.lr_schedule = optimizer, lr_schedule
        self.gradient_clip, self.noise_seed = gradient_clip, noise_seed
        self.label_dropout, self.label, self.guidance, self.guide = label_dropout, label, guidance, guide
        self.condition = condition if condition is None else tuple(map(float, condition))
        if self.condition is not None:
            self.denoiser.conditioned_on(self.condition)  # which says whether the network takes it
        self.observation, self.rule = observation, rule
        self.standardisation, self.class_names = standardisation, class_names
        if class_names is not None and label is not None:
            class_number(label, class_names)
        self._running: dict[str, Any] = {"loss": 0.0, "steps": 0}
        self.planned_steps: int | None = None  # of the run, once its optimizer is made; None if its end is open
        self._validation: Validation | None = None
        self._average: Callable[[], NetworkDenoiser] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning (2.6) notes the name of the running hook on the module forty times a step, and the __setattr__ of a
        # module looks for parameters each time: a tenth of a step for a network of this size.
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    # Training

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self._validation = None  # a run that failed left its own

    def on_fit_start(self) -> None:
        self.check_units(self.data)
        if not any(weight.requires_grad for weight in self.parameters()):
            raise ValueError("all weights are frozen, by BackboneFinetuning or a similar callback; leave it out")

    @in_float32()
    def training_step(self, batches: Any, batch_idx: int) -> None:
        """One optimizer step per batch of the group that the data module hands over, see `batches_of`."""
        optimizer, scheduler = self.optimizers(), self.lr_schedulers()
        if isinstance(optimizer, list) or isinstance(scheduler, list):
            raise TypeError("a ScoreModule has one optimizer and at most one learning-rate schedule, got several")
        for x0, labels in batches_of(batches, self._float):
            step = self.trainer.global_step
            seed = seed_of("training noise", self.noise_seed, self.global_rank, step)
            loss = self.loss(x0, labels, self._generator(seed), step)
            optimizer.zero_grad()
            self.manual_backward(loss)
            if self.gradient_clip is not None:
                self.clip_gradients(optimizer.optimizer, self.gradient_clip, "norm")
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            self._running["loss"] += loss.detach()
            self._running["steps"] += 1

    def loss(self, x0: Tensor, labels: Tensor | None, generator: torch.Generator, step: int) -> Tensor:
        """The mean loss of a batch of clean points `x0`, `(n, 2)`, at random times, in step `step` of the training."""
        t = self.times(len(x0), self.schedule, generator)
        x0, eps = self.ends(x0, generator)
        labels = self._with_dropout(labels, generator)
        average = None if self._average is None else conditioned(self._average(), labels)
        context = Context(x0, t, generator, eps, self.truth, average, step)
        return self.objective(conditioned(self.denoiser, labels), context).mean()

    def ends(self, x0: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """The clean points that a step trains on, `(n, 2)`, and what stands at the other ends of their paths.

        By default the batch itself, and None: independent noise, which the objective draws.
        """
        return x0, None

    def _with_dropout(self, labels: Tensor | None, generator: torch.Generator) -> Tensor | None:
        """The labels, a share `label_dropout` of which is replaced by -1, which stands for no class, or by nan."""
        if labels is None:
            return None
        dropped = torch.rand(len(labels), generator=generator, device=labels.device) < self.label_dropout
        if labels.is_floating_point():
            return torch.where(dropped[:, None], math.nan, labels)
        return torch.where(dropped, -1, labels)

    def use_average(self, average: Callable[[], NetworkDenoiser]) -> None:
        """Let the objective see averaged weights: `average` gives their denoiser in training."""
        self._average = average

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        # Logging every step would cost a third of a step; the sum stays on the device until it is wanted.
        if self._running["steps"] >= typed(self.trainer).log_every_n_steps:
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
        for logger in self.loggers:
            logger.log_metrics({"train/loss": loss, "train/learning_rate": self._learning_rate()}, step=step)

    def _learning_rate(self) -> float:
        return self.trainer.optimizers[0].param_groups[0]["lr"]

    def configure_optimizers(self) -> Any:
        self.planned_steps = steps = self.run_length(self.trainer, data_module(self.trainer))
        optimizer = self.new_optimizer(self.parameters())
        if steps is None or isinstance(self.lr_schedule, Constant):
            return optimizer
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: self.lr_schedule(min(k / steps, 1.0)))
        return [optimizer], [schedule]

    def new_optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of some parameters.

        Raises:
            ValueError: for one that evaluates the loss itself.
        """
        optimizer = self.optimizer(parameters)
        closure = inspect.signature(type(optimizer).step).parameters.get("closure")
        if closure is not None and closure.default is closure.empty:
            raise ValueError(
                f"{type(optimizer).__name__} evaluates the loss several times a step, which the training loop does not "
                "do; choose another, for example Adam"
            )
        return optimizer

    def check_choices(self) -> None:
        """Check, before a run, the choices that its samples depend on.

        Raises:
            ValueError: for a label or a condition that the network does not take.
        """
        if self.told is not None:
            self.denoiser.conditioned_on(self.told)

    def run_length(self, trainer: pl.Trainer, data: pl.LightningDataModule | None) -> int | None:
        """Optimizer steps of a run: `max_steps`, or those of `max_epochs` epochs of the data, whichever is less.

        It is None if nothing but a time limit, a callback or a signal ends the run, which only `Constant` allows.

        Raises:
            ValueError: if the learning-rate schedule needs the length and it is not known.
        """
        lengths = [] if trainer.max_steps == -1 else [trainer.max_steps]
        if trainer.max_epochs not in (None, -1) and isinstance(data, ToyDataModule):
            if trainer.limit_train_batches != 1.0 and not typed(trainer).fast_dev_run:
                raise ValueError(
                    f"trainer.limit_train_batches {trainer.limit_train_batches} cuts the epochs of trainer.max_epochs "
                    f"{trainer.max_epochs}; leave it out and set --trainer.max_steps"
                )
            lengths.append(trainer.max_epochs * math.ceil(data.batches_per_epoch / trainer.world_size))
        elif trainer.max_epochs not in (None, -1) and data is None:  # a loader of one's own: a batch is a step
            lengths.append(int(trainer.estimated_stepping_batches))
        if not lengths and not isinstance(self.lr_schedule, Constant):
            raise ValueError(
                f"{self.lr_schedule!r} needs the length of the run: set --trainer.max_steps, "
                "or --model.lr_schedule Constant"
            )
        return min(lengths, default=None)

    # Validation: the same points and the same noise every time, so that curves compare

    def on_validation_start(self) -> None:
        self.check_units(self.data)

    @in_float32()
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        ((x0, labels),) = batches_of(batch, self._float)
        denoiser = conditioned(self.denoiser, labels)
        generator = self._generator(seed_of("validation noise", self.noise_seed))
        t = self.times(len(x0), self.schedule, generator)
        loss = self.objective(denoiser, Context(x0, t, generator, truth=self.truth)).mean()
        if self._validation is None or not self._validation.is_of(x0):
            self._validation = Validation(x0, self.schedule, self.truth, self.noise_seed)
        noise = self._validation.noise(denoiser)
        errors = {"val/loss": loss} | _by_level("val_loss", self._validation.loss(noise))
        if denoiser is not self.denoiser:
            noise = self._validation.noise(self.denoiser)  # without the classes, like the truth
        error = self._validation.score_error(noise)
        if error is not None:
            errors |= {"val/score_error": error.mean()} | _by_level("val_score_error", error)
        errors |= self.further_errors(x0)
        metrics = {name: float(value) for name, value in errors.items()}
        self.log_dict(metrics, logger=False, batch_size=len(x0))
        curves = dict(metrics)
        if metrics.get("val/score_error", 0.0) > 0.0:  # on the scale on which runs differ at a glance
            curves["val/log10_score_error"] = math.log10(metrics["val/score_error"])
        for logger in self.loggers:  # by optimizer steps; Lightning itself would count calls of training_step
            logger.log_metrics(curves, step=self.trainer.global_step)

    def further_errors(self, x0: Tensor) -> dict[str, Tensor]:
        """What else is logged at a validation with clean points `x0`, `(n, 2)`; nothing unless a model adds it."""
        return {}

    def teardown(self, stage: str) -> None:
        self._validation = None

    # Checkpoints describe the model by plain values only, so that they load with weights_only=True

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.standardisation = trained_units(checkpoint.get("hyper_parameters") or {}, self.standardisation)
        if self._trainer is not None and self._trainer.precision == "64-true":
            self.double()  # Lightning does so after it has rounded the weights to float32
        check_weights(self, checkpoint["state_dict"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["toy_score_version"] = __version__
        checkpoint["hyper_parameters"] = to_config(self)
        checkpoint["run_length"] = self.planned_steps
        data = data_module(self.trainer)
        if data is not None:
            checkpoint["datamodule_hyper_parameters"] = to_config(data)


def score_module(module: torch.nn.Module) -> ScoreModule:
    """The module, if it is a model of this package.

    Raises:
        TypeError: otherwise.
    """
    if not isinstance(module, ScoreModule):
        raise TypeError(f"the model must be one of toy_score, a ScoreModule, got {type(module).__name__}")
    return module


def _by_level(name: str, values: Tensor) -> dict[str, Tensor]:
    """The values at the levels of the original study, named for charts."""
    return {f"{name}/sigma_{s:.3g}": value for s, value in zip(STUDY_LEVELS, values, strict=True)}
