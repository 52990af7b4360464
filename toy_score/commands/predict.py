"""`predict`: sample from a checkpoint into a file."""

from toy_score.callbacks import SampleWriter
from toy_score.commands.arguments import Given
from toy_score.commands.build import Built, locked_output, restoring, say, trainer_of


def run(given: Given) -> None:
    """Sample, and say where the samples are."""
    built = Built(given)
    settings, path = built.settings, built.settings["ckpt_path"]
    output = settings["output"]
    with locked_output(output):
        writer = SampleWriter(output, settings["overwrite"], path)
        trainer = trainer_of(settings["trainer"], [writer], logger=False)
        with restoring(path):
            trainer.predict(built.model, datamodule=built.data, ckpt_path=path, return_predictions=False)
        say(f"{built.data.n_samples} samples of {built.model.sampler!r} in {output}")
