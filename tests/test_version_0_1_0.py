"""A run of version 0.1.0: `fit --config quick/ncsn_heart --trainer.max_steps 100 --model.backbone.hidden [16]`."""

from pathlib import Path

import numpy as np

from toy_score import __main__ as entry
from toy_score.modules import read_checkpoint

RUN = Path(__file__).parent / "version_0_1_0"
SAMPLES = [[1.96833742, 1.49269712], [-0.920775235, 1.59862697], [1.10853052, -0.342199415]]
"""The first samples that version 0.1.0 drew from its checkpoint, with seed 0."""


def test_a_checkpoint_of_version_0_1_0_gives_the_samples_that_it_gave_then(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cpu = ["--trainer.accelerator", "cpu"]
    entry.main(["predict", "--ckpt_path", str(RUN / "last.ckpt"), "--n_samples", "500", "--output", "x.npy", *cpu])
    assert np.allclose(np.load("x.npy")[:3], SAMPLES, atol=1e-4)


def test_a_run_of_version_0_1_0_is_continued_with_its_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = [
        "--trainer.max_steps",
        "120",
        "--trainer.accelerator",
        "cpu",
        "--data.n_val",
        "64",
        "--pictures.frames",
        "0",
    ]
    entry.main(["fit", "--config", str(RUN / "config.yaml"), "--ckpt_path", str(RUN / "last.ckpt"), *more])
    saved = read_checkpoint("lightning_logs/quick_ncsn_heart/version_0/checkpoints/last.ckpt")
    assert saved["global_step"] == 120
