"""What the scripts share: where figures and tables go, small files, a seeded generator, a trained model of a config."""

import io
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.timing import command
from toy_score import ScoreModule
from toy_score.modules.checkpoints import read_checkpoint

__all__ = ["DOCS", "IMAGES", "SEED", "TABLES", "generator", "model", "small_png", "trained"]

DOCS = Path(__file__).resolve().parents[1]
IMAGES, TABLES = DOCS / "images", DOCS / "tables"
SEED = 3


def generator() -> torch.Generator:
    """A new generator with the seed of the figures."""
    return torch.Generator().manual_seed(SEED)


def small_png(figure: Figure, colours: int = 128) -> bytes:
    """The figure as the contents of a PNG file of few colours, which is a third as large for it."""
    whole, small = io.BytesIO(), io.BytesIO()
    figure.savefig(whole, format="png")
    Image.open(whole).convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


def trained(config: str, runs: Path, *flags: str) -> Path:
    """The checkpoint of a config, trained with these flags unless `runs` has a run of it; that goes on to its end."""
    name = "_".join([config, *flags[1::2]])
    pattern = f"lightning_logs/{name}/version_*/checkpoints/last.ckpt"
    found = sorted(runs.glob(pattern))
    start = ["--ckpt_path", str(found[-1].resolve())] if found else []
    if not found or not is_finished(found[-1]):
        runs.mkdir(parents=True, exist_ok=True)
        logger = ["--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir", "lightning_logs"]
        command(runs, "fit", "--config", config, *logger, "--trainer.logger.name", name, *flags, *start)
    return sorted(runs.glob(pattern))[-1]


def is_finished(path: Path) -> bool:
    """Whether the run of a checkpoint has made all of its steps."""
    checkpoint = read_checkpoint(path)
    return checkpoint["global_step"] >= (checkpoint.get("run_length") or 0)


def model(config: str, runs: Path) -> ScoreModule:
    """The trained model of a config."""
    return ScoreModule.load_from_checkpoint(trained(config, runs))
