"""`validate`: loss and score error of a checkpoint on the validation points, and whether its settings can succeed."""

from toy_score.commands.arguments import Given
from toy_score.commands.build import Built, restoring, say, trainer_of
from toy_score.metrics import check_finite


def run(given: Given) -> None:
    """Print the figures, then the advice of the doctor."""
    built = Built(given)
    trainer = trainer_of(built.settings["trainer"], [], logger=False)
    with restoring(built.settings["ckpt_path"]):
        trainer.validate(built.model, datamodule=built.data, ckpt_path=built.settings["ckpt_path"], verbose=False)
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    for name, value in figures.items():
        say(f"{name:<32}{value:.6f}")
    say("\ndoctor: would the optimal network succeed?")
    for finding in built.model.doctor():
        say(finding)
    check_finite(figures)
