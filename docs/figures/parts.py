"""What the scripts share: where figures and tables go, a seeded generator, and a trained model of a config."""

from pathlib import Path

import torch

from benchmarks.timing import command
from toy_score import ScoreModule

__all__ = ["IMAGES", "SEED", "TABLES", "generator", "model", "trained"]

DOCS = Path(__file__).resolve().parents[1]
IMAGES, TABLES = DOCS / "images", DOCS / "tables"
SEED = 3


def generator() -> torch.Generator:
    """A new generator with the seed of the figures."""
    return torch.Generator().manual_seed(SEED)


def trained(config: str, runs: Path, *flags: str) -> Path:
    """The checkpoint of a config, trained with these flags unless a run of it is in `runs` already."""
    name = "_".join([config, *flags[1::2]])
    pattern = f"lightning_logs/{name}/version_*/checkpoints/last.ckpt"
    if not list(runs.glob(pattern)):
        runs.mkdir(parents=True, exist_ok=True)
        logger = ["--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir", "lightning_logs"]
        command(runs, "fit", "--config", config, *logger, "--trainer.logger.name", name, *flags)
    return sorted(runs.glob(pattern))[-1]


def model(config: str, runs: Path) -> ScoreModule:
    """The trained model of a config."""
    return ScoreModule.load_from_checkpoint(trained(config, runs))
