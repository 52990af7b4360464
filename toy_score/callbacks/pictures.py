"""Pictures during and after training."""

import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary

from toy_score.bridges import Bridge
from toy_score.callbacks.ema import averaged_model
from toy_score.callbacks.reports import run_folder
from toy_score.data import typed
from toy_score.denoisers import Denoiser, ExactDenoiser
from toy_score.distributions import LinearObservation
from toy_score.files import replacing
from toy_score.flow_maps import ExactFlowMap, FlowMap
from toy_score.metrics import STUDY_LEVELS, ExactPaths, MapError, ScoreError
from toy_score.modules import ScoreModule, score_module
from toy_score.samplers import Heun, Sampler
from toy_score.seeds import seed_of
from toy_score.standardisation import Standardisation

__all__ = ["Pictures", "animation"]

ON_BOARD = ("samples_and_trajectories", "vector_field", "velocity_field", "score_error", "noise_to_data")
"""The pictures of a dashboard: they fill the width of a card, and have all that the others have."""

N_SHOWN, N_REAL = 600, 1500  # points of an animation
N_MAPPED = 512  # of the error of a flow map


class Pictures(pl.Callback):
    """Draws the original study's three pictures and the score error to TensorBoard, at the end also to files.

    These are the vector field, learned beside exact; samples over real points; the last part of some trajectories (of a
    sampler with few steps along the flow: the flow itself); and the score error by noise level, now and at all earlier
    drawings. Of a flow map, the error between all pairs of noise levels is drawn as well; of a bridge, the velocity in
    the place of the score, and pairs, but no animation. Axes and seeds are fixed, so TensorBoard's slider compares
    steps. During training the samples come from a quick solver, at the end from the
    model's own sampler. If there are averaged weights, they are used. If only points of the data are known, nothing
    exact is drawn, and the axes are in the units of the data.

    Args:
        every_n_steps: steps between drawings, >= 1; the first and the last step are always drawn.
        n_samples: points in a scatter, >= 1.
        sigmas: noise levels of the vector fields.
        skip: number of positions that are left out at the beginning of a random trajectory, >= 0; at most those whose
            noise would fill the picture, above a quarter of its half width.
        frames: of the animation from noise to data at the end, >= 2; 0 for no animation.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        every_n_steps: int = 2500,
        n_samples: int = 2000,
        sigmas: Sequence[float] = (0.05, 0.5, 2.0),
        skip: int = 250,
        frames: int = 32,
    ):
        for name, value, least in (("every_n_steps", every_n_steps, 1), ("n_samples", n_samples, 1), ("skip", skip, 0)):
            if value < least:
                raise ValueError(f"pictures.{name} must be at least {least}, got {value}")
        if not sigmas or min(sigmas) <= 0:
            raise ValueError(f"pictures.sigmas must be positive noise levels, got {list(sigmas)}")
        if frames < 0 or frames == 1:
            raise ValueError(f"pictures.frames must be at least 2, or 0 for no animation, got {frames}")
        self.every_n_steps, self.n_samples, self.sigmas, self.skip = every_n_steps, n_samples, list(sigmas), skip
        self.frames = frames
        self.seconds = 0.0
        self.errors: dict[int, list[float]] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"errors": dict(self.errors)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.errors = dict(state_dict["errors"])

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._drawn = trainer.global_step // self.every_n_steps
        if trainer.global_step == 0:
            self._draw(trainer, averaged(trainer, pl_module))

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        due = trainer.global_step // self.every_n_steps
        if due > self._drawn and trainer.global_step != trainer.max_steps:
            self._drawn = due
            self._draw(trainer, averaged(trainer, pl_module))

    @rank_zero_only
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        folder = run_folder(trainer) if trainer.loggers else None
        self._draw(trainer, averaged(trainer, pl_module), Path(folder) / "pictures" if folder else None)
        print(f"drawing:     {self.seconds:.1f} s of the training")
        for logger in trainer.loggers:
            logger.log_metrics({"time/pictures_seconds": self.seconds}, step=trainer.global_step)

    def _draw(self, trainer: pl.Trainer, model: ScoreModule, folder: Path | None = None) -> None:
        boards = [logger for logger in trainer.loggers if takes_pictures(logger)]
        owner = score_module(trainer.lightning_module)  # an averaged copy of the module has no trainer
        distribution, exact = owner.distribution, owner.truth
        if distribution is None or (not boards and folder is None):
            return
        from toy_score import plotting  # matplotlib is imported when the first picture is drawn

        begun, was_training = time.monotonic(), model.training
        model.eval()
        step = trainer.global_step
        title = f"{model.name} on the {distribution.name.replace('_', ' ')}, step {step}"
        real = distribution.sample(self.n_samples, torch.Generator().manual_seed(seed_of("pictured points")))
        final = folder is not None
        sampler = model.sampler if final else Heun(n_steps=18)
        generated = self._sample(model, sampler)
        bounds = distribution.bounds
        paths = plotting.visible_paths(model.sampler, model.denoiser, 4, self._generator(model), bounds, self.skip)
        figures = {
            "samples_and_trajectories": plotting.samples_and_trajectories(generated, paths, real, distribution, title)
        }
        if final:
            figures["samples"] = plotting.samples(generated, real, distribution, title)
            figures["trajectory"] = plotting.trajectories(paths, real, distribution, title)
        if isinstance(model.denoiser, Bridge):
            figures |= owner.bridge_figures(model.denoiser, real, title, final)
        else:
            figures["vector_field"] = plotting.vector_field(
                model.denoiser, exact, self.sigmas, bounds, title, real=real, difference=False
            )
            if final:
                figures["summary"] = plotting.summary(
                    model.denoiser, exact, self.sigmas[0], generated, real, paths, distribution, title
                )
        if owner.standardisation is not None:
            for figure in figures.values():
                plotting.in_units(figure, owner.standardisation)
        if exact is not None:
            self.errors[step] = self._errors(model, exact, real)
            levels = [exact.schedule.level_at(sigma).ratio for sigma in STUDY_LEVELS]  # the nearest that it has
            figures["score_error"] = plotting.score_errors(levels, self.errors, title)
            if isinstance(exact, ExactFlowMap) and isinstance(model.denoiser, FlowMap):
                error = self._map_error(model.denoiser, exact, real[:N_MAPPED].to(model.device), self._generator(model))
                figures["map_error"] = plotting.map_error(error.levels, error.compute().tolist(), title)
        files = {f"{name}.png": plotting.to_png(figure) for name, figure in figures.items()}
        if final and self.frames and not isinstance(model.denoiser, Bridge):
            moving = title if owner.standardisation is None else title + standardised(owner.standardisation)
            files["noise_to_data.gif"] = animation(
                model.sampler, model.denoiser, self._generator(model), moving, exact, real, self.frames
            )
        for name, content in files.items():
            for board in boards if name.partition(".")[0] in ON_BOARD else ():
                show(board, name, content, step)
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                with replacing(folder / name) as file:
                    file.write(content)
        model.train(was_training)
        self.seconds += time.monotonic() - begun

    def _generator(self, model: ScoreModule) -> torch.Generator:
        return torch.Generator(model.device).manual_seed(seed_of("pictured samples"))

    def _sample(self, model: ScoreModule, sampler: Sampler) -> torch.Tensor:
        return sampler(model.denoiser, self.n_samples, self._generator(model)).cpu()

    def _errors(self, model: ScoreModule, exact: ExactDenoiser, real: torch.Tensor) -> list[float]:
        metric = ScoreError(sync_on_compute=False).to(model.device)  # drawn by one process, without the others
        metric.update(model.denoiser, exact, real.to(model.device), self._generator(model))
        return metric.compute().tolist()

    @staticmethod
    def _map_error(flow_map: FlowMap, exact: ExactFlowMap, x0: torch.Tensor, generator: torch.Generator) -> MapError:
        metric = MapError(exact.schedule, sync_on_compute=False).to(x0.device)
        metric.update(flow_map, ExactPaths(exact, x0, generator))
        return metric


def animation(
    sampler: Sampler,
    denoiser: Denoiser,
    generator: torch.Generator,
    title: str,
    exact: ExactDenoiser | None,
    real: torch.Tensor | None,
    frames: int = 32,
    n: int = N_SHOWN,
    observation: LinearObservation | None = None,
) -> bytes:
    """A GIF of `n` samples on their way from noise to data, in the units of the denoiser; long walks are thinned.

    An observation, in these units, is drawn as in `plotting.posterior`.
    """
    from toy_score import plotting

    every = max(len(sampler.times(denoiser.schedule)) // (4 * frames), 1)
    paths = sampler.trajectory(denoiser, n, generator, every)
    real = None if real is None else real[:N_REAL]
    return plotting.to_gif(plotting.noise_to_data(denoiser, paths, title, exact, real, frames, observation))


def takes_pictures(logger: Logger) -> bool:
    """Whether a logger shows pictures: TensorBoard's, or one with Lightning's `log_image`, such as that of W&B."""
    return isinstance(logger, TensorBoardLogger) or hasattr(logger, "log_image")


def show(logger: Any, name: str, content: bytes, step: int) -> None:
    """Hand a picture, the contents of the file `name`, to a logger that takes pictures."""
    tag, _, kind = name.rpartition(".")
    if isinstance(logger, TensorBoardLogger):
        # `add_image` would decode and encode the picture again, and does not support animations.
        image = Summary.Image(colorspace=3, encoded_image_string=content)
        logger.experiment.file_writer.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)
    elif kind == "png":
        logger.log_image(key=tag, images=[Image.open(io.BytesIO(content))], step=step)


def standardised(units: Standardisation) -> str:
    """What the title of a picture in the coordinates of the model adds: the noise level that it shows is theirs."""
    return f", standardised {units.columns[0]} and {units.columns[1]}"


def averaged(trainer: pl.Trainer, pl_module: pl.LightningModule) -> ScoreModule:
    """The module with the averaged weights, if a callback keeps any."""
    averages = (averaged_model(callback) for callback in typed(trainer).callbacks)
    return next((model for model in averages if model is not None), score_module(pl_module))
