"""A config from Python."""

from pathlib import Path

from toy_score.commands.arguments import parse
from toy_score.commands.build import Built
from toy_score.data import ToyDataModule
from toy_score.modules import ScoreModule

__all__ = ["load_config"]


def load_config(config: str | Path, *flags: str) -> tuple[ScoreModule, ToyDataModule, int]:
    """Model, data and number of optimizer steps of a config, as the command `fit` builds them.

    They are the first arguments of `fit`: `model = fit(*load_config("ncsn_heart"))`. The model is untrained and has the
    weights with which the command begins: the random generators are seeded by the config's `seed_everything`. What a
    config says of averages, checkpoints and pictures is left to the command.

    Args:
        config: a path, or a name as `list configs` prints it.
        flags: as after `fit` on the command line, such as `"--model.optimizer.lr", "0.005"`.

    Raises:
        FileNotFoundError: if there is no such config.
        ValueError: if the config or a flag is refused, in the words of the command line, or sets no number of steps.

    Example:
        >>> model, data, steps = load_config("quick/ncsn_heart", "--data.batch_size", "256")
        >>> type(model).__name__, data.batch_size, steps
        ('NCSNModule', 256, 1500)
    """
    built = Built(parse("fit", ["--config", str(config), *flags]))
    trainer = built.settings["trainer"]
    epochs = (trainer["max_epochs"] or -1) * built.data.batches_per_epoch
    lengths = [length for length in (trainer["max_steps"], epochs) if length > 0]
    if not lengths:
        raise ValueError(f"the config {str(config)!r} sets no number of steps; add '--trainer.max_steps', '2500' or so")
    return built.model, built.data, min(lengths)
