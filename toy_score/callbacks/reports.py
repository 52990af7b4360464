"""What `fit` and `test` print and keep."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_only

from toy_score.callbacks.events import add_report
from toy_score.component import to_config, written
from toy_score.data import data_module, requests_of, typed
from toy_score.evaluation import Evaluation, TestOptions
from toy_score.files import digest, replacing, shown
from toy_score.metrics import check_finite, finite_or_null
from toy_score.modules import ScoreModule, read_checkpoint, score_module
from toy_score.modules.batches import in_float32
from toy_score.progress import is_watched
from toy_score.requests import SampleRequest
from toy_score.seeds import seed_of
from toy_score.version import __version__

__all__ = ["RunReport", "TestReport", "checkpoint_path", "run_folder"]

PICTURES = ("budget", "density", "fields", "map_error", "posterior")  # of `test`
PICTURED = 3000  # samples in the last


def run_folder(trainer: pl.Trainer) -> str | None:
    """The folder of the first logger that has one; without a logger, the trainer's. None if no logger has a folder.

    `trainer.log_dir` looks at the first logger alone, and one process that asks for it waits until all do.
    """
    if not trainer.loggers:
        return trainer.default_root_dir
    folders = (getattr(logger, "log_dir", None) or logger.save_dir for logger in trainer.loggers)
    return next((str(folder) for folder in folders if folder), None)


def checkpoint_path(trainer: pl.Trainer) -> str:
    """The path of the checkpoint that the run has saved; empty if there is none."""
    return getattr(trainer.checkpoint_callback, "best_model_path", "")


class RunReport(pl.Callback):
    """Prints the validation results where there is no progress bar, and at the end the paths of the run's files."""

    @rank_zero_only
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.ckpt_path is None:
            for finding in score_module(pl_module).doctor():
                if not finding.good:
                    print(f"doctor:      {finding.name}: {finding.text_with_advice()}", flush=True)
        self._start, self._first_step = time.monotonic(), 0  # before the first pictures

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._first_step = trainer.global_step
        if run_folder(trainer):
            print(f"run:         {run_folder(trainer)}", flush=True)

    @rank_zero_only
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.progress_bar_callback is None:
            seen = trainer.callback_metrics
            numbers = [
                f"{name} {float(seen[f'val/{name}']):.5f}" for name in ("loss", "score_error") if f"val/{name}" in seen
            ]
            print(f"step {trainer.global_step:>6}: {', '.join(numbers)}", flush=True)

    @rank_zero_only
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        seconds, steps = time.monotonic() - self._start, trainer.global_step - self._first_step
        for logger in trainer.loggers:
            logger.log_metrics({"time/training_seconds": seconds}, step=trainer.global_step)
            logger.save()
        print(f"training:    {seconds:.1f} s, {steps} steps, validation and pictures included")
        run = run_folder(trainer)
        if not run:
            return
        if checkpoint := checkpoint_path(trainer):
            print(f"checkpoint:  {shown(checkpoint)}")
        if (Path(run) / "pictures").is_dir():
            print(f"pictures:    {run}/pictures")
        print(f"dashboard:   tensorboard --logdir {Path(run).parent.parent}")


class TestReport(pl.Callback):
    """Prints the measurements of `test` as a table and keeps them as JSON, in which null stands for what is not finite.

    Its `settings` identify what was measured: the contents of the checkpoint, the model, the data, the number of
    samples and their seed. Later measurements with the same settings are merged into it. The pictures lie beside it,
    `STEM_budget.png` and so on. If they are those of a run, TensorBoard shows the table and the main figures with it.

    Args:
        output: a `.json` file; if None, that of `metrics_path`.
        overwrite: begin `output` anew, and remove its pictures.
        ckpt_path: the checkpoint.
        options: what is measured besides the standard metrics; the error budget is drawn, and kept in the same JSON.

    Raises:
        FileExistsError: if `output` or a picture exists and is of other settings, before anything is measured.
        ValueError: if its name does not end in `.json`; if no truth is known to compare with, or not enough of it for
            the options.
        FloatingPointError: at the end of the test, if figures are not finite.
    """

    __test__ = False  # tells pytest that this is no test

    def __init__(self, output: str | None, overwrite: bool, ckpt_path: str, options: TestOptions = TestOptions()):
        if output is not None and not output.endswith(".json"):
            raise ValueError(f"cannot write {output!r}: the name must end in .json")
        self.path = Path(output) if output is not None else metrics_path(ckpt_path)
        self.of_run = output is None
        if self.path.is_dir():
            raise IsADirectoryError(f"{str(self.path)!r} is a folder; choose another --output")
        self.overwrite, self.ckpt_path, self.options = overwrite, ckpt_path, options

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        model, data = score_module(pl_module), typed(trainer).datamodule
        files = {"checkpoint": self.ckpt_path, "guide": model.guide, "points": getattr(data, "path", None)}
        settings = {"toy_score": __version__, **{name: digest(path or None) for name, path in files.items()}}
        for part, component in (("data", data), ("model", model)):
            config = to_config(component)
            settings[part] = config["class_path"]
            settings |= {f"{part}.{name}": value for name, value in config["init_args"].items()}
        settings = json.loads(json.dumps(settings))  # as they are read: lists for tuples
        self._contents = {"settings": settings} | ({} if self.overwrite else self._kept(settings))

    def _kept(self, settings: dict[str, Any]) -> dict[str, Any]:
        """What the file holds already, of the same settings."""
        advice = "choose another --output, as --output other.json, or add --overwrite"
        if not self.path.exists():
            if pictures := [p for p in map(self._picture, PICTURES) if p.exists()]:
                raise FileExistsError(f"{shown(pictures[0])!r} exists without its metrics; {advice}")
            return {}
        path = shown(self.path)
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            old = dict(kept["settings"])
        except (ValueError, KeyError, TypeError):
            raise FileExistsError(f"{path!r} does not tell what it is of; {advice}") from None
        for name in {**settings, **old}:
            if old.get(name) != settings.get(name):
                was, now = written(old.get(name)), written(settings.get(name))
                raise FileExistsError(f"{path!r} holds metrics with {name} = {was}, not {now}; {advice}")
        return kept

    def _picture(self, name: str) -> Path:
        return self.path.with_name(f"{self.path.stem}_{name}.png")

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        model, data = score_module(pl_module), data_module(trainer)
        target = model.target
        if data is None or target is None or target.reference is None:
            raise ValueError("test compares with the truth, which is known for the data modules of toy_score only")
        if model.condition is not None:  # by which the benchmark of inference measures
            self.options = replace(self.options, classifier=True)
        self._evaluation = Evaluation(
            target.reference,
            requests_of(trainer.test_dataloaders).seeds,
            model.sampling_denoiser,
            target.training_points,
            self.options,
            data.data_seed,
            model.device,
            model.exact_bridge,
        )

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: SampleRequest,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        # Lightning gives all processes equally many requests; the last ones may repeat the first.
        if batch_idx * trainer.world_size + trainer.global_rank >= len(requests_of(trainer.test_dataloaders)):
            return
        with trainer.precision_plugin.test_step_context(), in_float32():  # the precision of the samples
            self._evaluation.update(outputs, batch)
        if batch_idx == 0:
            self._some = outputs[:PICTURED].cpu()

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        model, name = score_module(pl_module), self._evaluation.reference.name.replace("_", " ")
        nfe = model.sampler.nfe(model.schedule)
        self._title = f"{model.name} on {name}"
        self._report = self._evaluation.report(f"{self._title}, {model.sampler!r}, {nfe} evaluations a sample")

    @rank_zero_only
    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        print(self._report, flush=True)
        metrics = self._report.as_dict()
        self._keep(metrics)
        if self.overwrite:
            for name in PICTURES:
                self._picture(name).unlink(missing_ok=True)
        if self.options.budget:  # it takes a while: the other metrics are kept by then
            model = score_module(pl_module)
            cause = "guidance" if model.observation is None else "rule"
            budget = self._evaluation.error_budget(
                self._report, model.sampler, model.guided_reference, cause, _progress(trainer)
            )
            print(f"\n{budget}")
            metrics = {**metrics, "error_budget": budget.as_dict()}
            self._keep(metrics)
        if self.of_run:
            add_report(self.path.parent, str(self._report), metrics, read_checkpoint(self.ckpt_path)["global_step"])
        print(f"\nmetrics:     {shown(self.path)}")
        if self.options.budget:
            self._draw("budget", budget)
        if self.options.likelihood:
            self._draw("density", self._evaluation.denoiser, self._evaluation.truth)
        if (maps := self._report.maps) is not None:
            self._draw("map_error", maps["levels"], maps["map_error"])
        if self.options.fields:
            self._draw("fields", self._evaluation.denoiser, self._evaluation.truth, self._report.fields)
        self._draw_posterior(score_module(pl_module))
        check_finite(metrics)  # when all is printed and kept

    def _keep(self, metrics: dict[str, Any]) -> None:
        """Add to the file; what was measured again is replaced."""
        self._contents |= finite_or_null(metrics)
        with replacing(self.path) as file:
            file.write((json.dumps(self._contents, indent=2, allow_nan=False) + "\n").encode("utf-8"))

    def _draw(self, name: str, *drawn: Any) -> None:
        from toy_score import plotting  # matplotlib is imported when the first picture is drawn

        with replacing(self._picture(name)) as file:
            file.write(plotting.to_png(getattr(plotting, name)(*drawn, self._title)))
        print(f"{name + ':':<13}{shown(self._picture(name))}")

    def _draw_posterior(self, model: ScoreModule) -> None:
        """Samples after an observation beside exact ones."""
        observation, prior = model.observation_in_units, model.exact_prior
        if observation is not None and prior is not None:
            x = self._evaluation.reference.sample(PICTURED, torch.Generator().manual_seed(seed_of("pictured points")))
            self._draw("posterior", {type(model.rule).__name__: self._some}, x, prior.distribution, observation)


def metrics_path(ckpt_path: str) -> Path:
    """Where the metrics of a checkpoint belong: `metrics.json` of its run, or beside a checkpoint that is in none."""
    checkpoint = Path(ckpt_path).resolve()
    run = checkpoint.parent.parent
    if checkpoint.parent.name == "checkpoints" and (run / "config.yaml").is_file():
        return run / "metrics.json"
    return checkpoint.with_name(f"{checkpoint.stem}_metrics.json")


def _progress(trainer: pl.Trainer) -> Callable[[str], None] | None:
    """How the rows of a budget are announced: by a bar where there is one, else each in a line with the time so far."""
    if trainer.progress_bar_callback is not None and is_watched():
        return None
    begin, printed = time.monotonic(), set()

    def tell(progress: str) -> None:
        row = progress.split(",")[0]
        if row not in printed:
            print(f"error budget: {row} ... ({time.monotonic() - begin:.0f} s)", flush=True)
        printed.add(row)

    return tell
