"""The options of the commands and the sections of their settings. Nothing heavy is imported."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["COMMANDS", "OPTIONS", "SECTIONS", "Option"]

SECTIONS = {
    "model": "the model: its class, and `--model.ARGUMENT` for each argument; `list modules`",
    "data": "the data: PointsDataModule, or XDataModule for an X of `list distributions`, and `--data.ARGUMENT`",
    "ema": "the average of the weights: `--ema.ARGUMENT`",
    "checkpoint": "when the run is saved: `--checkpoint.ARGUMENT`",
    "pictures": "when pictures are drawn: `--pictures.ARGUMENT`",
    "trainer": "Lightning's Trainer: `--trainer.ARGUMENT`",
}
"""The parts of a config, and what each is."""

COMMANDS = ("fit", "validate", "test", "predict")
SAMPLING = ("test", "predict")


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes:
        type: int, str or bool; one of type bool may stand alone, which means true.
        help: what it does; `{default}` is its default.
        commands: those that have it.
        default: without the option; a dict has one for each command.
    """

    type: type
    help: str
    commands: Sequence[str] = COMMANDS
    default: Any = None

    def default_of(self, command: str) -> Any:
        return self.default.get(command) if isinstance(self.default, dict) else self.default


OPTIONS = {
    "name": Option(str, "name of the run, lightning_logs/NAME/version_N; that of the config by default", ("fit",)),
    "ckpt_path": Option(
        str,
        "a checkpoint, the folder of a run, or `latest` for the newest run in lightning_logs; fit continues that run",
    ),
    "init_from": Option(str, "a checkpoint, likewise: fit starts a new run from its weights, at step 0", ("fit",)),
    "n_samples": Option(int, "number of samples; data.n_samples by default", SAMPLING),
    "seed": Option(int, "seed of the samples; data.sample_seed by default", SAMPLING),
    "output": Option(
        str,
        "the file to write: .npy, .npz, .csv, .gif or .png for predict (default samples.npy); "
        ".json for test (default metrics.json in the folder of the run)",
        SAMPLING,
        {"predict": "samples.npy"},
    ),
    "overwrite": Option(bool, "replace an existing output", SAMPLING, False),
    "likelihood": Option(bool, "measure the likelihood as well", ("test",), False),
    "fields": Option(bool, "measure curl, symmetry and straightness as well", ("test",), False),
    "budget": Option(bool, "measure how much each cause adds to the error as well", ("test",), False),
    "papers": Option(bool, "measure exact W2, MMD and KSD as well", ("test",), False),
    "classifier": Option(bool, "measure C2ST as well, as is done where a condition is given", ("test",), False),
    "seed_everything": Option(int, "seed of the initial weights (default 0)", COMMANDS, 0),
}
