"""`test`: measure the samples of a checkpoint against the truth."""

import json
from pathlib import Path
from typing import Any

from toy_score.callbacks import TestReport
from toy_score.commands.arguments import Given
from toy_score.commands.build import Built, locked_output, restoring, say, trainer_of
from toy_score.evaluation import TestOptions
from toy_score.metrics.floors import ALL


def run(given: Given) -> None:
    """Measure, print a table and one sentence of verdict, and keep the figures as JSON."""
    built = Built(given)
    settings = built.settings
    names = ("likelihood", "fields", "budget", "papers", "classifier")
    options = TestOptions(**{name: settings[name] for name in names})
    report = TestReport(settings["output"], settings["overwrite"], settings["ckpt_path"], options)
    with locked_output(report.path):
        trainer = trainer_of(settings["trainer"], [report], logger=False)
        with restoring(settings["ckpt_path"]):
            trainer.test(built.model, datamodule=built.data, ckpt_path=settings["ckpt_path"], verbose=False)
        if trainer.is_global_zero:  # the file is written by the first process
            say(f"\n{verdict(report.path)}")


ALARM = 5.0
"""Beyond so many standard deviations a metric contradicts sliced W1; one of ten is beyond three by chance too often."""


def verdict(path: Path) -> str:
    """What the figures in a file say in one sentence: how far the samples are from exact ones."""
    metrics = json.loads(path.read_text(encoding="utf-8"))
    value, floor, z = (metrics["sliced_w1"][name] for name in ("value", "floor", "z"))
    if value is None or floor is None:
        return "Verdict: there are not enough finite samples to judge."
    if z is None:
        return f"Verdict: none, since exact samples do not scatter (distance {value:.4f}, noise floor {floor:.4f})."
    if z < 3.0:
        label, worst = _worst(metrics)
        other = f", but by the {label} they can: z = {worst:.1f}" if abs(worst) > ALARM else ""
        return (
            f"Verdict: by sliced W1, the samples cannot be told from exact ones (distance {value:.4f}, "
            f"noise floor {floor:.4f}){other}."
        )
    causes = "the error budget has the causes" if "error_budget" in metrics else "`test --budget` measures the causes"
    return (
        f"Verdict: the sliced W1 distance of the samples is {value / floor:.1f} times that of exact samples "
        f"({value:.4f}, noise floor {floor:.4f}){'' if 'bridge' in metrics else f'; {causes}'}."
    )


def _worst(metrics: dict[str, Any]) -> tuple[str, float]:
    """The metric that is farthest from its floor, in standard deviations, and how far; the share of a mode is one."""
    with_z = [name for name in ALL if isinstance(metrics.get(name), dict) and "z" in metrics[name]]
    measured = {ALL[name].label: metrics[name]["z"] for name in with_z}
    measured |= {f"share of the mode {name}": mode["z"] for name, mode in metrics["mode_weights"].items()}
    known = {label: z for label, z in measured.items() if z is not None}
    return max(known.items(), key=lambda item: abs(item[1]), default=("", 0.0))
