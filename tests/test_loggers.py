"""All loggers of a run get its figures, those that can show pictures get the pictures, and a run has one folder."""

import csv
import os
import sys
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from toy_score import __main__ as entry
from toy_score.callbacks import pictures

TINY = """
model: {class_path: EDMModule, init_args: {backbone: {class_path: MLP, init_args: {hidden: [8]}}, sampler: Heun}}
data: {class_path: HeartDataModule, init_args: {n_val: 64, batch_size: 32, steps_at_once: 1}}
pictures: {n_samples: 20, frames: 0, sigmas: [0.5]}
trainer: {max_steps: 2, accelerator: cpu, log_every_n_steps: 1}
"""
CSV = "class_path: CSVLogger, init_args: {save_dir: tables, name: a}"
BOARD = "class_path: TensorBoardLogger, init_args: {save_dir: boards, name: b}"


@pytest.fixture
def fit(tmp_path, monkeypatch):
    """Train two steps with these options, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["toy_score"])
    Path("tiny.yaml").write_text(TINY)

    def run(*options):
        entry.main(["fit", "--config", "tiny.yaml", *options])

    return run


def tags_of(folder):
    events = EventAccumulator(folder)
    events.Reload()
    return {kind: set(tags) for kind, tags in events.Tags().items() if isinstance(tags, list)}


def columns_of(file):
    with open(file) as lines:
        return set(next(csv.reader(lines)))


FIGURES = {
    *("train/loss", "train/learning_rate", "val/loss", "val/score_error", "val/log10_score_error"),
    *("time/pictures_seconds", "time/training_seconds"),
}
KEPT = {"config.yaml", "checkpoints", "pictures"}


def test_all_loggers_get_the_figures_and_the_run_has_the_folder_of_the_first(fit):
    fit("--trainer.logger", f"[{{{CSV}}}, {{{BOARD}}}]")
    tags = tags_of("boards/b/version_0")
    assert tags["scalars"] >= FIGURES <= columns_of("tables/a/version_0/metrics.csv")
    assert tags["images"] >= {"samples_and_trajectories", "vector_field", "score_error"}
    for kept in KEPT:
        assert [str(path) for path in Path().glob(f"*/*/*/{kept}")] == [f"tables/a/version_0/{kept}"]


def test_a_table_alone_is_enough(fit, recwarn):
    fit("--trainer.logger", f"{{{CSV}}}")
    assert columns_of("tables/a/version_0/metrics.csv") >= FIGURES
    assert {*os.listdir("tables/a/version_0")} >= KEPT
    assert not [w for w in recwarn if "will be deleted" in str(w.message)]


def test_runs_go_to_the_root_folder_of_the_trainer(fit):
    fit("--trainer.default_root_dir", "elsewhere", "--name", "run")
    assert {*os.listdir("elsewhere/lightning_logs/run/version_0")} >= KEPT
    assert not Path("lightning_logs").exists()


def test_without_a_logger_the_checkpoint_and_the_settings_are_kept(fit, capsys):
    fit("--trainer.logger", "false", "--trainer.default_root_dir", "here")
    assert sorted(os.listdir("here")) == ["checkpoints", "config.yaml"]
    assert "checkpoint:  here/checkpoints/last.ckpt" in capsys.readouterr().out


class Gallery(CSVLogger):
    """A logger that takes pictures, as those of W&B and others do."""

    shown: list[tuple[str, int, tuple[int, int]]] = []

    def log_image(self, key, images, step=None):
        self.shown.append((key, step, images[0].size))


def test_loggers_that_take_pictures_get_them(tmp_path):
    gallery = Gallery(tmp_path)
    assert pictures.takes_pictures(gallery)
    assert not pictures.takes_pictures(CSVLogger(tmp_path))
    from matplotlib.figure import Figure

    from toy_score.plotting.style import to_png

    pictures.show(gallery, "samples.png", to_png(Figure(figsize=(3, 2), dpi=10)), 7)
    assert gallery.shown == [("samples", 7, (30, 20))]
