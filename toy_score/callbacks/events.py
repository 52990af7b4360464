"""A report of `test` in the events of the run that was tested."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["add_report", "verbatim"]

EVENTS = "events.out.tfevents.*"


def add_report(run: Path, report: str, metrics: Mapping[str, Any], step: int) -> None:
    """Add a report of `test`, and its figures, to the events of a run that TensorBoard shows; not to other folders."""
    if not any(run.glob(EVENTS)):
        return
    from torch.utils.tensorboard import SummaryWriter  # imported where there is something to write

    figures = {
        "sliced_w1_over_floor": metrics.get("sliced_w1", {}).get("ratio"),
        "gaussianised_ks_p": metrics.get("gaussianised_ks", {}).get("p_value"),
        "cross_entropy_gap_z": metrics.get("cross_entropy_gap", {}).get("z"),
    }
    with SummaryWriter(str(run), filename_suffix=".test") as board:
        board.add_text("report", verbatim(report), step)
        for name, value in figures.items():
            if value is not None:
                board.add_scalar(f"test/{name}", value, step)


def verbatim(text: str) -> str:
    """A text in Markdown that is shown as it is."""
    return "\n".join(f"    {line}" for line in text.splitlines())
