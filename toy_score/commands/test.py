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
        if trainer.is_global_zero:  # the file is written by the first process
            say(f"\n{verdict(report.path)}")


OTHERS = {"energy": "energy distance", "gaussianised_ks": "Gaussianised KS", "cross_entropy_gap": "cross-entropy gap"}
FAR = 5.0
"""Standard deviations from which another metric contradicts the sliced W1: in one of 2000 draws by chance, for the KS,
whose law is skew."""


def verdict(path: Path) -> str:
    """What the figures in a file say in one sentence: how far the samples are from exact ones."""
    metrics = json.loads(path.read_text(encoding="utf-8"))
    value, floor, z = (metrics["sliced_w1"][name] for name in ("value", "floor", "z"))
    if value is None or floor is None:
        return "Verdict: there are not enough finite samples to judge."
    if z is None:
        return f"Verdict: none, since exact samples do not scatter (distance {value:.4f}, noise floor {floor:.4f})."
    causes = "the error budget has the causes" if "error_budget" in metrics else "`test --budget` measures the causes"
    advice = "" if "bridge" in metrics else f"; {causes}"
    if z >= 3.0:
        return (
            f"Verdict: the sliced W1 distance of the samples is {value / floor:.1f} times that of exact samples "
            f"({value:.4f}, noise floor {floor:.4f}){advice}."
        )
    figures = f"(distance {value:.4f}, noise floor {floor:.4f})"
    others = {said: metrics[name]["z"] for name, said in OTHERS.items() if metrics.get(name, {}).get("z") is not None}
    worst = max(others, key=lambda said: abs(others[said]), default="")
    if worst and abs(others[worst]) >= FAR:
        return (
            f"Verdict: the sliced W1 is that of exact samples {figures}, but the {worst} is "
            f"{abs(others[worst]):.1f} standard deviations away{advice}."
        )
    return f"Verdict: by sliced W1, the samples cannot be told from exact ones {figures}."
