"""The number of samples from which each metric detects a known error.

    python -m benchmarks.power

For each distribution, known errors are added to samples, to a score and to a sampler, and all metrics measure the first
1000, 3162, ... of the same samples. An error is detected if a metric is five standard deviations from its noise floor
(16 draws of exact samples, the same n), or if the p-value of the one-sample test is below 1e-6, at this n and all
larger ones. The same samplers without the error are controls: what is detected in them is their discretisation. Writes
`benchmarks/results/power.json`, `power.md` and `docs/images/power.png`.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor
from torchmetrics import Metric, MetricCollection

from benchmarks.planted import ERRORS, SCHEDULE, ScaledScore
from toy_score import Distribution, EightGaussians, ExactDenoiser, Heart, SplitNormal
from toy_score.metrics import GaussianisedTest, ScoreError, noise_floors, sample_metrics
from toy_score.metrics.floors import ALL, PAPER, Floor
from toy_score.plotting.style import LABEL, TICK, TITLE
from toy_score.seeds import seed_of

TOYS: list[Distribution] = [SplitNormal(), Heart(), EightGaussians()]
SIZES = [round(10 ** (k / 2)) for k in range(6, 13)]  # 1e3, 3162, ..., 1e6
DRAWS, Z, P = 16, 5.0, 1e-6
FOR_PAPERS = 10_000  # samples, at which the metrics of papers are shown
SHOWN = ["sliced_w1", "energy", "gaussianised_ks", "cross_entropy_gap", "mode_total_variation", "near_modes"]
MARKS = "osD^vX"
LABELS = {name: ALL[name].label.split(",")[0] for name in SHOWN}


def metrics_for(p: Distribution) -> MetricCollection:
    """The metrics in `SHOWN` that apply to the distribution."""
    applicable = sample_metrics(p)
    shown = [name for name in SHOWN if name in applicable]
    groups = [["sliced_w1", "energy"], *([name] for name in shown[2:])]
    return MetricCollection({name: ALL[name](p) for name in shown}, compute_groups=groups)


def growing(metrics: MetricCollection, x: Tensor) -> Iterator[tuple[int, dict[str, float]]]:
    """The metrics of the first 1000, 3162, ... samples."""
    metrics.reset()
    seen = 0
    for n in SIZES:
        if n <= len(x):
            metrics.update(x[seen:n])
            seen = n
            yield n, {name: value.item() for name, value in metrics.compute().items()}


def floors_of(p: Distribution, metrics: MetricCollection) -> dict[int, dict[str, Floor]]:
    """The noise floors for every number of samples."""
    values: dict[int, list[dict[str, float]]] = {n: [] for n in SIZES}
    for draw in range(DRAWS):
        x = p.sample(SIZES[-1], Generator().manual_seed(seed_of("power: floor", draw)))
        for n, readings in growing(metrics, x):
            values[n].append(readings)
    floors = {}
    for n, rows in values.items():
        columns = {name: torch.tensor([row[name] for row in rows], dtype=torch.float64) for name in rows[0]}
        floors[n] = {name: Floor(v.mean().item(), v.std().item()) for name, v in columns.items()}
    return floors


def z_scores(p: Distribution, metrics: MetricCollection, floors: dict[int, dict[str, Floor]], x: Tensor) -> dict:
    """For each metric `[n, |z|]` for every n, and the p-values of the one-sample test."""
    z: dict[str, list] = {name: [] for name in metrics}
    p_values = []
    for n, readings in growing(metrics, x):
        for name, value in readings.items():
            z[name].append([n, abs(floors[n][name].z(value))])
        p_values.append([n, GaussianisedTest.p_value_of(readings["gaussianised_ks"], n)])
    return {"z": z, "p": p_values}


def detected_from(result: dict, name: str) -> int | None:
    """The smallest n from which on a metric detects the error at every size; None if there is none."""
    detected = [n for n, z in result["z"][name] if z > Z]
    if name == "gaussianised_ks":
        detected = [n for n, p in result["p"] if p < P]
    sizes = [n for n, _ in result["z"][name]]
    for i, n in enumerate(sizes):
        if set(sizes[i:]) <= set(detected):
            return n
    return None


def score_error_from(p: Distribution) -> int:
    """The number of points from which on the score error of the scaled score is five standard errors above zero."""
    truth = ExactDenoiser(p, SCHEDULE)
    for n in (10, 32, 100, 316, 1000, 3162):
        metric = ScoreError()
        metric.update(
            ScaledScore(truth, 0.99), truth, p.sample(n, Generator().manual_seed(0)), Generator().manual_seed(1)
        )
        if metric.compute().sum() > Z * metric.standard_error().norm():
            return n
    raise AssertionError("the score error did not detect a score scaled by 0.99")


def papers_z(p: Distribution, floors: dict[str, Floor], x: Tensor) -> dict[str, float]:
    """`|z|` of the metrics of papers for the first few samples."""
    return {name: abs(floors[name].z(metric_value(cls(p), x[:FOR_PAPERS]))) for name, cls in PAPER.items()}


def metric_value(metric: Metric, x: Tensor) -> float:
    """The value of a metric for samples."""
    metric.update(x)
    return metric.compute().item()


def main() -> None:
    """Measure, and write table and picture."""
    here = Path(__file__).parent
    results: dict[str, dict] = {}
    for p in TOYS:
        metrics = metrics_for(p)
        print(f"{p!r}: floors ...", flush=True)
        floors, for_papers = floors_of(p, metrics), noise_floors(p, FOR_PAPERS, DRAWS, papers=True)
        results[p.name] = {"score error": score_error_from(p)}
        for error, (plant, most) in ERRORS.items():
            x = plant(p, most, Generator().manual_seed(seed_of(f"power: {error}")))
            result = z_scores(p, metrics, floors, x) | {"papers": papers_z(p, for_papers, x)}
            results[p.name][error] = result
            detected = {name: n for name in metrics if (n := detected_from(result, name))}
            print(f"  {error:<32}{detected}", flush=True)
        (here / "results/power.json").write_text(json.dumps(results) + "\n")
    (here / "results/power.md").write_text(table(results) + "\n" + papers_table(results))
    picture(results).savefig(here.parent / "docs/images/power.png")


def table(results: dict[str, dict]) -> str:
    """For each error and distribution, the metrics that detect it with the fewest samples, and how many they need."""
    names = [p.name.replace("_", " ") for p in TOYS]
    lines = [f"| planted error | {' | '.join(names)} |", "|---|" + "---|" * len(TOYS)]
    for error in ERRORS:
        cells = []
        for p in TOYS:
            needed = {name: detected_from(results[p.name][error], name) for name in results[p.name][error]["z"]}
            quickest = sorted((n, name) for name, n in needed.items() if n)
            cell = [f"{LABELS[name]} {count(n)}" for n, name in quickest[:3]]
            if error.startswith("score"):
                cell.insert(0, f"score error {results[p.name]['score error']}")
            cells.append(", ".join(cell) or "none")
        lines.append(f"| {error} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def papers_table(results: dict[str, dict]) -> str:
    """For each error and distribution, `|z|` of the metrics of papers at one number of samples."""
    names = [p.name.replace("_", " ") for p in TOYS]
    labels = ", ".join(ALL[name].label for name in PAPER)
    lines = [f"| planted error: {labels} | {' | '.join(names)} |", "|---|" + "---|" * len(TOYS)]
    for error in ERRORS:
        cells = [", ".join(f"{results[p.name][error]['papers'][name]:.1f}" for name in PAPER) for p in TOYS]
        lines.append(f"| {error} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def count(n: int) -> str:
    """A number with two significant digits: `3 200`, `100 000`."""
    digits = 10 ** (len(str(n)) - 2)
    return f"{round(n / digits) * digits:,}".replace(",", " ")


def picture(results: dict[str, dict]) -> Figure:
    """`|z|` against the number of samples: a row per error, a column per distribution, a line per metric."""
    errors = [error for error in ERRORS if error == "none: exact samples" or not error.startswith("none")]
    figure = Figure(figsize=(9.4, 1.5 * len(errors) + 1.3), dpi=90)
    axes = figure.subplots(len(errors), len(TOYS), sharex=True, sharey=True)
    for row, error in zip(axes, errors, strict=True):
        for ax, p in zip(row, TOYS, strict=True):
            for i, name in enumerate(SHOWN):
                points = results[p.name][error]["z"].get(name, [])
                n, z = [n for n, _ in points], [max(z, 0.1) for _, z in points]
                ax.loglog(n, z, MARKS[i] + "-", color=f"C{i}", markersize=3, linewidth=1, label=LABELS[name])
            ax.axhspan(0.1, Z, color="#f0f0f0", zorder=0)
            ax.set(xlim=(700, 1.4e6), ylim=(0.1, 3000))
            ax.tick_params(labelsize=TICK, length=2, which="both")
            ax.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel("|z|", fontsize=LABEL)
        row[0].text(
            *(0.03, 0.95, error),
            fontsize=LABEL,
            fontweight="bold",
            va="top",
            transform=row[0].transAxes,
            bbox={"color": "white", "alpha": 0.8, "pad": 1},
        )
    for ax, p in zip(axes[0], TOYS, strict=True):
        ax.set_title(p.name.replace("_", " "), fontsize=TITLE)
    for ax in axes[-1]:
        ax.set_xlabel("samples", fontsize=LABEL)
    handles, labels = axes[-1, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=3, fontsize=LABEL, frameon=False)
    height = figure.get_figheight()
    title = "Planted errors: standard deviations from the noise floor (shaded: not detected)"
    figure.suptitle(title, fontsize=TITLE + 1, fontweight="bold", y=1 - 0.1 / height, va="top")
    figure.subplots_adjust(
        left=0.065, right=0.99, bottom=0.95 / height, top=1 - 0.65 / height, wspace=0.06, hspace=0.12
    )
    return figure


if __name__ == "__main__":
    main()
