"""`test`: measure the samples of a checkpoint against the truth."""

import json
from pathlib import Path

from toy_score.callbacks import TestReport
from toy_score.commands.arguments import Given
from toy_score.commands.build import Built, locked_output, restoring, say, trainer_of
from toy_score.evaluation import TestOptions


def run(given: Given) -> None:
    """Measure, print a table and one sentence of verdict, and keep the figures as JSON."""
    built = Built(given)
    settings = built.settings
    options = TestOptions(settings["likelihood"], settings["fields"], settings["budget"], settings["papers"])
    report = TestReport(settings["output"], settings["overwrite"], settings["ckpt_path"], options)
    with locked_output(report.path):
        trainer = trainer_of(settings["trainer"], [report], logger=False)
        with restoring(settings["ckpt_path"]):
            trainer.test(built.model, datamodule=built.data, ckpt_path=settings["ckpt_path"], verbose=False)
        say(f"\n{verdict(report.path)}")


def verdict(path: Path) -> str:
    """What the figures in a file say in one sentence: how far the samples are from exact ones."""
    measured = json.loads(path.read_text(encoding="utf-8"))
    figures, advice = measured["sliced_w1"], "" if "bridge" in measured else "; `test --budget` measures the causes"
    value, floor, z = figures["value"], figures["floor"], figures["z"]
    if value is None or floor is None:
        return "Verdict: there are not enough finite samples to judge."
    if z is None:
        return f"Verdict: none, since exact samples do not scatter (distance {value:.4f}, noise floor {floor:.4f})."
    if z < 3.0:
        return (
            f"Verdict: by sliced W1, the samples cannot be told from exact ones (distance {value:.4f}, "
            f"noise floor {floor:.4f})."
        )
    return (
        f"Verdict: the sliced W1 distance of the samples is {value / floor:.1f} times that of exact samples "
        f"({value:.4f}, noise floor {floor:.4f}){advice}."
    )
