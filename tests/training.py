"""One way to train a model in a test."""

import lightning.pytorch as pl

from toy_score import HeartDataModule
from toy_score.callbacks import Checkpoint


def fit(model, folder, steps, ckpt_path=None, callbacks=(), options=None, **data):
    """Train on the heart for some steps; `options` are the trainer's, `data` the data module's."""
    data = {"n_train": 64 * 15, "batch_size": 64, "n_val": 256, "steps_at_once": 5} | data
    trainer = pl.Trainer(
        max_steps=steps,
        max_epochs=-1,
        default_root_dir=folder,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=any(isinstance(c, Checkpoint) for c in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=5,
        accelerator="cpu",
        **(options or {}),
    )
    trainer.fit(model, HeartDataModule(**data), ckpt_path=ckpt_path)
    return trainer
