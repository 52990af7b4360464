"""Many runs at once: a search for the best learning rate and EMA, by Optuna (`pip install -e '.[sweep]'`).

    python examples/sweep.py --trials 20 --study sqlite:///sweep.db [--steps 1500]

Each trial trains in this process; its score is the mean normalised score error on the validation points. Optuna calls
the search a study and keeps it in a file or a database. Start the same command once per core, or on several machines
that see the database: all work on one study. An interrupted search continues with the same command. Optuna's own
dashboard and plots read the study.
"""

import argparse
import functools
import logging
import warnings

import lightning.pytorch as pl
import torch

from toy_score import (
    VE,
    DenoisingScoreMatching,
    EDMPreconditioning,
    HeartDataModule,
    LogSigma,
    NCSNModule,
    UniformTimes,
)
from toy_score.callbacks import EMA


def train(lr: float, decay: float, batch_size: int, steps: int) -> float:
    """Mean normalised score error on the validation points after a training with these settings."""
    torch.manual_seed(0)
    model = NCSNModule(
        VE(0.01, 20.0),
        EDMPreconditioning(0.8),
        LogSigma(),
        UniformTimes(),
        objective=DenoisingScoreMatching(antithetic=True),
        optimizer=functools.partial(torch.optim.Adam, lr=lr, fused=True),
    )
    trainer = pl.Trainer(
        max_steps=steps,
        max_epochs=-1,
        callbacks=[EMA(decay)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=1,
        accelerator="cpu",
    )
    data = HeartDataModule(batch_size=batch_size)
    trainer.fit(model, data)
    trainer.validate(model, data, verbose=False)
    return trainer.callback_metrics["val/score_error"].item()


def main(argv: list[str] | None = None) -> None:
    """Search, and print the best trial."""
    import optuna

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--study", default=None, help="where the study is kept, e.g. sqlite:///sweep.db")
    options = parser.parse_args(argv)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")

    def objective(trial: optuna.Trial) -> float:
        return train(
            lr=trial.suggest_float("lr", 1e-3, 1e-1, log=True),
            decay=1.0 - trial.suggest_float("one minus decay", 1e-3, 1e-1, log=True),
            batch_size=trial.suggest_categorical("batch_size", [256, 512]),
            steps=options.steps,
        )

    study = optuna.create_study(storage=options.study, study_name="ncsn_heart", load_if_exists=True)
    study.optimize(objective, n_trials=options.trials)
    print(f"best of {len(study.trials)}: score error {study.best_value:.5f} with {study.best_params}")


if __name__ == "__main__":
    main()
