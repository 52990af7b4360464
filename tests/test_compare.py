"""The comparison: every cell as if measured by hand, nothing lost, nothing mixed, a page to look at."""

import csv
import json
import math
import os
import statistics
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from matplotlib.colors import to_rgb

from toy_score import (
    EDM,
    AdaptiveDormandPrince,
    AnnealedLangevin,
    DDPMAncestral,
    Heart,
    Heun,
    Moons,
    NoPredictor,
    PredictorCorrector,
    ReverseDiffusion,
    ScoreModule,
    SplitNormal,
    __main__ as entry,
)
from toy_score.compare import command, grid, page
from toy_score.compare.contestants import unique_names, wide_schedule
from toy_score.compare.samplers import parse_samplers, short, with_steps
from toy_score.compare.store import locked_folder
from toy_score.compare.summary import best, mean_row
from toy_score.compare.tables import READING, number
from toy_score.evaluation.doctor import detail
from toy_score.evaluation.prior import GOOD_PRIOR_KL, prior_kl
from toy_score.metrics import noise_floors, sample_metrics
from toy_score.plotting import Line, Panel, comparison
from toy_score.plotting.style import darken
from toy_score.seeds import seed_of

N, SEEDS, STEPS = 400, 2, (2, 4)
SAMPLERS = "own,Heun,DDIM(eta=0.5)"
OPTIONS = ["--samplers", SAMPLERS, "--n_steps", "4,2", "--n_samples", str(N), "--seeds", str(SEEDS), "--device", "cpu"]


def compare(*argv):
    entry.main(["compare", *map(str, argv)])


def refused(capsys, *argv):
    """The one line by which a command was refused with exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        compare(*argv)
    said = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2, said
    assert len(said) == 1, said
    assert said[0].startswith("error: ")
    return said[0]


def results(folder):
    return json.loads((Path(folder) / "results.json").read_text())


def without_seconds(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs on the heart of ten steps, and one as if on the moons, in a folder like lightning_logs."""
    folder = tmp_path_factory.mktemp("logs")
    here = Path.cwd()
    os.chdir(folder)
    try:
        for config in ("edm_heart", "ddpm_heart"):
            few = ["--trainer.max_steps", "10", "--trainer.accelerator", "cpu", "--data.n_val", "64"]
            fast = ["--model.sampler", "RungeKutta4", "--model.sampler.n_steps", "2", "--pictures.n_samples", "20"]
            fast += ["--pictures.frames", "0"]
            fast += ["--model.sampler.grid", "Angular", "--model.sampler.grid.scale", "0.3"] * (config == "edm_heart")
            entry.main(["fit", "--config", config, *few, *fast, "--pictures.every_n_steps", "1000000"])
    finally:
        os.chdir(here)
    logs = folder / "lightning_logs"
    content = torch.load(logs / "edm_heart/version_0/checkpoints/last.ckpt", weights_only=True)
    content["datamodule_hyper_parameters"]["class_path"] = "toy_score.MoonsDataModule"
    other = logs / "edm_moons/version_0/checkpoints"
    other.mkdir(parents=True)
    torch.save(content, other / "last.ckpt")
    return logs


@pytest.fixture
def no_page(monkeypatch):
    """Leave out the pictures, which take longest, where they do not matter."""
    monkeypatch.setattr(page, "write_all", lambda *_: None)


@pytest.fixture(scope="module")
def heart(runs, tmp_path_factory):
    """The folder of a finished comparison of the two models on the heart."""
    folder = tmp_path_factory.mktemp("compared") / "heart"
    compare(
        "--output", folder, runs / "edm_heart/version_0", runs / "ddpm_heart/version_0/checkpoints/last.ckpt", *OPTIONS
    )
    return folder


def test_every_cell_is_evaluated_and_no_temporary_file_remains(heart):
    rows = results(heart)["cells"]
    models = {"edm_heart v0", "ddpm_heart v0"}
    grids = {"edm_heart": ", grid=Angular(scale=0.3)", "ddpm_heart": ""}  # of their own samplers, of two steps
    own = {name: [f"RungeKutta4(n_steps={n}{grid})" for n in STEPS] for name, grid in grids.items()}
    exact = {f"exact, schedule of {name}" for name in models}
    for name in models | exact:
        chosen = [row["sampler"] for row in rows if row["model"] == name]
        grid = [f"{s}n_steps={n}{t})" for s, t in (("Heun(", ""), ("DDIM(", ", eta=0.5")) for n in STEPS]
        assert sorted(chosen) == sorted([*own[name.split()[-2]], *grid])
    wide = [row["sampler"] for row in rows if row["model"] == "exact, wide schedule"]
    assert sorted(wide) == sorted([*own["edm_heart"], *own["ddpm_heart"], *grid])
    assert len(rows) == 4 * 6 + 8
    files = {"results.csv", "results.json", "results.md", "evaluations.png", "seconds.png", "index.html"}
    assert set(os.listdir(heart)) == files


def test_a_cell_equals_a_direct_evaluation(heart, runs):
    model = ScoreModule.load_from_checkpoint(runs / "ddpm_heart/version_0/checkpoints/last.ckpt")
    row = next(r for r in results(heart)["cells"] if (r["model"], r["sampler"]) == ("ddpm_heart v0", "Heun(n_steps=4)"))
    floors, readings = noise_floors(Heart(), N), []
    for k in range(SEEDS):
        metrics = sample_metrics(Heart())
        metrics.update(model.sample(N, seed_of("compare", 0, k), Heun(4)))
        readings.append(metrics.compute())
    for name, floor in floors.items():
        values = [r[name].item() for r in readings]
        assert row[name] == pytest.approx(statistics.mean(values), rel=1e-5)
        assert row[f"{name}_sd"] == pytest.approx(statistics.stdev(values), rel=1e-4)
        assert row[f"{name}_floor"] == pytest.approx(floor.mean)
        z = (statistics.mean(values) - floor.mean) / (floor.sd / math.sqrt(SEEDS))
        assert row[f"{name}_z"] == pytest.approx(z, rel=1e-4)
    assert row["sliced_w1_ratio"] == pytest.approx(row["sliced_w1"] / floors["sliced_w1"].mean, rel=1e-5)
    share = statistics.mean(r["mode_weights"][0].item() for r in readings)
    assert abs(row["mode_weights_worst_z"]) == pytest.approx(abs(share - 0.5) / math.sqrt(0.25 / (N * SEEDS)), rel=1e-4)
    assert row["nfe"] == 7
    assert row["nonfinite"] == 0
    assert row["seconds"] > 0


def test_a_repeated_command_measures_nothing_again(heart, runs, no_page, monkeypatch, capsys):
    before = results(heart)
    monkeypatch.setattr(grid, "measure", lambda *_: pytest.fail("a finished cell was evaluated again"))
    compare("--output", heart, runs / "edm_heart/version_0", runs / "ddpm_heart/version_0", *OPTIONS)
    assert "32 of them are there already" in capsys.readouterr().out
    assert results(heart) == before


def test_an_interrupted_comparison_continues_where_it_stopped(heart, runs, no_page, tmp_path, monkeypatch, capsys):
    argv = ["--output", tmp_path, runs / "edm_heart/version_0", runs / "ddpm_heart/version_0", *OPTIONS]
    measure, seen = grid.measure, []

    def stopping(cell, *rest):
        if len(seen) == 7:
            raise KeyboardInterrupt
        seen.append(cell.key)
        return measure(cell, *rest)

    monkeypatch.setattr(grid, "measure", stopping)
    with pytest.raises(SystemExit) as stop:
        compare(*argv)
    assert stop.value.code == 130
    assert "stopped after 7 of 32 cells; the same command goes on" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["results.json.part"]  # no half of a result
    (tmp_path / "results.json.part.new").write_text('{"settings": {')  # as if killed while writing

    monkeypatch.setattr(grid, "measure", lambda cell, *rest: seen.append(cell.key) or measure(cell, *rest))
    compare(*argv)
    assert len(seen) == len(set(seen)) == 32
    assert without_seconds(results(tmp_path)["cells"]) == without_seconds(results(heart)["cells"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--n_samples", 500], ["n_samples = 400, not 500"]),
        (["--seeds", 3], ["seeds = 2, not 3"]),
        (["--seed", 1], ["seed = 0, not 1"]),
        (["--n_steps", "2,4,8"], ["n_steps = [2, 4], not [2, 4, 8]"]),
        (["--samplers", "Heun"], ["samplers"]),
    ],
)
def test_a_comparison_with_other_settings_is_not_mixed_in(change, words, heart, runs, capsys):
    before = {path.name: path.read_bytes() for path in heart.iterdir()}
    argv = ["--output", heart, runs / "edm_heart/version_0", runs / "ddpm_heart/version_0", *OPTIONS, *change]
    line = refused(capsys, *argv)
    assert all(word in line for word in [*words, "--overwrite"]), line
    assert {path.name: path.read_bytes() for path in heart.iterdir()} == before


def test_another_checkpoint_of_the_same_name_is_another_setting(runs, no_page, tmp_path, capsys):
    ckpt = runs / "edm_heart/version_0/checkpoints/last.ckpt"
    copy = tmp_path / "model.ckpt"
    copy.write_bytes(ckpt.read_bytes())
    few = ["--samplers", "DDIM(n_steps=2)", "--n_samples", 100, "--seeds", 1, "--device", "cpu"]
    compare("--output", tmp_path / "out", copy, *few)
    content = torch.load(ckpt, weights_only=True)
    content["state_dict"] = {k: v * 1.01 if v.is_floating_point() else v for k, v in content["state_dict"].items()}
    torch.save(content, copy)
    assert "models" in refused(capsys, "--output", tmp_path / "out", copy, *few)
    old = results(tmp_path / "out")["cells"][0]["sliced_w1"]
    compare("--output", tmp_path / "out", copy, *few, "--overwrite", "true")
    assert results(tmp_path / "out")["cells"][0]["sliced_w1"] != old


def test_each_distribution_has_its_own_noise_floor_and_exact_denoisers(runs, tmp_path, capsys):
    few = ["--samplers", "Heun", "--n_steps", 3, "--n_samples", 200, "--seeds", 1, "--device", "cpu"]
    compare("--output", tmp_path, str(runs / "edm_*/version_0"), *few)  # a pattern
    rows = results(tmp_path)["cells"]
    for p in (Heart(), Moons()):
        its = [row for row in rows if row["distribution"] == repr(p)]
        assert [row["kind"] for row in its] == ["network", "exact, own schedule", "exact, wide schedule"]
        assert {row["sliced_w1_floor"] for row in its} == {noise_floors(p, 200)["sliced_w1"].mean}
    assert len({frozenset(row) for row in rows}) == 2  # some figures are of one distribution alone
    with open(tmp_path / "results.csv", newline="") as file:
        for line, row in zip(csv.DictReader(file), rows, strict=True):
            assert {k: v for k, v in line.items() if v} == {
                k: str(v) for k, v in row.items() if v is not None and k != "key"
            }
    text = (tmp_path / "index.html").read_text()
    assert "One model on the heart, one model on the moons" in text
    said = capsys.readouterr().out
    assert "heart: sliced W1" in said
    assert "moons: sliced W1" in said


def test_a_network_that_returns_nan_is_reported_and_stops_nothing(runs, tmp_path, capsys):
    content = torch.load(runs / "edm_heart/version_0/checkpoints/last.ckpt", weights_only=True)
    content["state_dict"] = {k: torch.full_like(v, 3e38) for k, v in content["state_dict"].items()}
    torch.save(content, tmp_path / "broken.ckpt")
    few = ["--samplers", "own,Heun(n_steps=3)", "--n_steps", 2, "--n_samples", 100, "--seeds", 2, "--device", "cpu"]
    with pytest.raises(SystemExit) as stop:
        compare("--output", tmp_path, tmp_path / "broken.ckpt", *few)
    assert stop.value.code == 1
    broken = [row for row in results(tmp_path)["cells"] if row["model"] == "broken"]
    assert [row["nonfinite"] for row in broken] == [200, 200]
    assert {row["sliced_w1"] for row in broken} == {None}
    said = capsys.readouterr()
    assert "no finite samples" in said.out
    assert "error: not finite: broken by " in said.err
    for name in ("index.html", "results.md"):
        assert "no finite samples" in (tmp_path / name).read_text()


class Page(HTMLParser):
    """Checks that tags close in order; collects what a page loads, and the values of its tables."""

    VOID = {"meta", "source", "img", "br", "link", "input", "hr", "wbr"}

    def __init__(self):
        super().__init__()
        self.open, self.loads, self.rows, self.text = [], [], [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.loads += [attributes[key] for key in ("src", "srcset", "href", "data") if key in attributes]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append(attributes["data-v"])

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        assert tag in self.VOID

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_well_formed_self_contained_and_has_the_numbers_of_the_results(heart):
    text = (heart / "index.html").read_text(encoding="utf-8")
    seen = Page()
    seen.feed(text)
    assert seen.open == []
    assert len(seen.loads) == 2 * (3 + 1 + 2)  # for light and dark: evaluations, seconds, samples
    assert all(address.startswith("data:image/png;base64,") for address in seen.loads)
    for outside in ("http:", "https:", "url(", "@import", "$"):
        assert outside not in text
    keys = ("model", "sampler", "nfe", "seconds", "sliced_w1", "sliced_w1_ratio", "energy", "cross_entropy_gap")
    expected = [[str(row[key]) for key in keys] for row in results(heart)["cells"]]
    assert [row[: len(keys)] for row in seen.rows if row] == expected
    said = " ".join(seen.text)
    found = results(heart)
    for word in ("Two models on the heart", "400 samples", found["about"]["command"], found["about"]["machine"]):
        assert word in said
    for name, digest in found["settings"]["models"].items():
        assert name in said
        assert digest[:12] in said


def test_the_tables_have_the_numbers_of_the_results(heart):
    rows = results(heart)["cells"]
    with open(heart / "results.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == [key for key in rows[0] if key != "key"]
    for line, row in zip(table, rows, strict=True):
        assert line == {k: "" if v is None else str(v) for k, v in row.items() if k != "key"}
    markdown = (heart / "results.md").read_text()
    for row in rows:
        assert f"| {row['model']} | `{row['sampler']}` | {row['nfe']} |" in markdown
        assert f"| {number(row['sliced_w1_ratio'], 2)} |" in markdown


MISTAKES = {
    "a missing checkpoint": (["nowhere.ckpt"], ["nowhere.ckpt"]),
    "a pattern that nothing fits": (["nowhere_*.ckpt"], ["nowhere_*"]),
    "no checkpoint": ([], ["RUN"]),
    "a misspelt sampler": (["RUN", "--samplers", "Huen"], ["Huen", "did you mean Heun"]),
    "a misspelt argument": (["RUN", "--samplers", "Heun(n_stesp=3)"], ["n_stesp", "did you mean n_steps"]),
    "a misspelt grid": (["RUN", "--samplers", "Heun(grid=Karas())"], ["Karas", "did you mean Karras"]),
    "code in the samplers": (["RUN", "--samplers", "Heun(n_steps=open('x'))"], ["open"]),
    "a bad list of samplers": (["RUN", "--samplers", "Heun,,"], ["Heun,,"]),
    "an impossible argument": (["RUN", "--samplers", "DDIM(eta=2)"], ["eta", "2"]),
    "a predictor with a memory": (["RUN", "--samplers", "PredictorCorrector(predictor=DPMSolver2M)"], ["DPMSolver2M"]),
    "a sampler that does nothing": (["RUN", "--samplers", "NoPredictor"], ["PredictorCorrector"]),
    "diverging steps": (["RUN", "--samplers", "AnnealedLangevin(eps=0.1)"], ["diverges", "eps = 0.1", "edm_heart v0"]),
    "an unknown kind of figure": (["RUN", "--figures", "jpg"], ["jpg", "pdf"]),
    "no steps": (["RUN", "--n_steps", "0"], ["n_steps", "0"]),
    "steps that are no numbers": (["RUN", "--n_steps", "5,many"], ["5,many"]),
    "too few samples": (["RUN", "--n_samples", "1"], ["n_samples", "1"]),
    "no seeds": (["RUN", "--seeds", "0"], ["seeds", "0"]),
    "a word for a number": (["RUN", "--seeds", "many"], ["seeds", "many"]),
    "a misspelt flag": (["RUN", "--n_step", "5"], ["n_step", "did you mean n_steps"]),
    "a device that is not there": (["RUN", "--device", "cuda:99"], ["cuda:99"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_line_before_anything_runs(name, runs, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv, words = MISTAKES[name]
    argv = [str(runs / "edm_heart/version_0") if word == "RUN" else word for word in argv]
    line = refused(capsys, "--output", "out", *argv)
    assert all(word in line for word in words), line
    assert os.listdir() == []


def test_a_folder_that_cannot_be_written_or_is_not_a_comparison_is_named(runs, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = runs / "edm_heart/version_0"
    Path("file").write_text("precious")
    assert "'file'" in refused(capsys, "--output", "file", run)
    assert "'file/out'" in refused(capsys, "--output", "file/out", run)
    Path("other").mkdir()
    Path("other/results.json").write_text('{"mine": 1}')
    assert "other/results.json" in refused(capsys, "--output", "other", run)
    assert Path("file").read_text() == "precious"
    assert Path("other/results.json").read_text() == '{"mine": 1}'
    assert "--output" in refused(capsys, run)


def test_other_files_are_replaced_only_with_overwrite(runs, no_page, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = ["--samplers", "Heun", "--n_steps", "2", "--n_samples", "100", "--seeds", "2", "--device", "cpu"]
    argv = ["--output", "out", runs / "edm_heart/version_0", *few]
    Path("out").mkdir()
    Path("out/results.csv").write_text("precious")
    assert "'out/results.csv' exists and is not of a comparison; choose another --output" in refused(capsys, *argv)
    assert os.listdir("out") == ["results.csv"]
    compare(*argv, "--overwrite", "true")
    assert sorted(os.listdir("out")) == ["results.csv", "results.json"]


def test_two_comparisons_do_not_write_into_one_folder(runs, capsys, tmp_path):
    out = tmp_path / "out"
    with locked_folder(out):
        line = refused(capsys, "--output", out, runs / "edm_heart/version_0", "--samplers", "Heun", "--n_steps", "2")
    assert f"another command is writing {str(out / 'results.json')!r}; wait for it" in line
    assert os.listdir(out) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "not known"),
        ({"class_path": "toy_score.PointsDataModule", "init_args": {"path": "x.csv"}}, "lacks their standardisation"),
    ],
)
def test_a_model_whose_truth_is_not_known_is_refused(data, words, runs, capsys, tmp_path):
    content = torch.load(runs / "edm_heart/version_0/checkpoints/last.ckpt", weights_only=True)
    content["datamodule_hyper_parameters"] = data
    torch.save(content, tmp_path / "alone.ckpt")
    line = refused(capsys, "--output", tmp_path / "out", tmp_path / "alone.ckpt")
    assert "alone.ckpt" in line
    assert words in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Heun", [Heun(3), Heun(9)]),
        ("Heun(n_steps=7)", [Heun(7)]),
        ("AnnealedLangevin(n_levels=5)", [AnnealedLangevin(3, n_levels=5), AnnealedLangevin(9, n_levels=5)]),
        ("DDPMAncestral", [DDPMAncestral(n_steps=3), DDPMAncestral(n_steps=9)]),
        ("AdaptiveDormandPrince(tolerance=0.1)", [AdaptiveDormandPrince(0.1)]),
        ("PredictorCorrector", [PredictorCorrector(ReverseDiffusion(3)), PredictorCorrector(ReverseDiffusion(9))]),
        ("PredictorCorrector(predictor=NoPredictor(n_steps=4))", [PredictorCorrector(NoPredictor(4))]),
    ],
)
def test_n_steps_sets_the_steps_of_a_sampler_unless_they_are_written_out(text, expected):
    written = parse_samplers(text)
    assert len(written) == 1
    assert written[0].at([3, 9]) == expected
    assert all(parse_samplers(short(sampler))[0].sampler == sampler for sampler in expected)  # written as it is read


@pytest.mark.parametrize("text", ["Heun] + [DDIM", "Heun(", "Heun] if 1 else [DDIM"])
def test_an_invalid_list_of_samplers_is_refused(text):
    with pytest.raises(ValueError, match="cannot read the samplers"):
        parse_samplers(text)


def test_a_sampler_without_a_number_of_steps_takes_none():
    with pytest.raises(ValueError, match="AdaptiveDormandPrince takes no number of steps"):
        with_steps(AdaptiveDormandPrince(), 5)


def row(nfe, w1, sd=0.001, nonfinite=0):
    return {"nfe": nfe, "sliced_w1": w1, "sliced_w1_floor_sd": sd, "nonfinite": nonfinite}


def test_by_default_a_model_is_compared_by_its_own_sampler_at_a_few_numbers_of_steps(runs, no_page, tmp_path, capsys):
    few = ["--n_samples", 100, "--seeds", 1, "--device", "cpu"]
    compare("--output", tmp_path, runs / "edm_heart/version_0", *few)
    rows = results(tmp_path)["cells"]
    assert {row["line"] for row in rows} == {"own"}
    assert [row["n_steps"] for row in rows] == 3 * [2, 5, 10, 20]  # model, exact on its schedule and on a wide one
    assert "12 cells; about " in capsys.readouterr().out


def test_the_full_grid_has_five_samplers_at_four_numbers_of_steps(runs, no_page, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "_measure", lambda cells, *_: seen.extend(cells))
    seen = []
    compare("--output", tmp_path, runs / "edm_heart/version_0", "--full", "--device", "cpu")
    model = [cell for cell in seen if cell.contestant.name == "edm_heart v0"]
    assert {cell.label for cell in model} == {"own", "Heun", "DDIM", "RungeKutta4", "DPMSolver2M"}
    assert len(model) == 1 + 5 * 4


@pytest.fixture(scope="module")
def seeds(runs):
    """Two more trainings of one config, that differ in their seeds and weights alone."""
    checkpoint = torch.load(runs / "edm_heart/version_0/checkpoints/last.ckpt", weights_only=True)
    for k, shift in ((1, 0.02), (2, -0.03)):
        checkpoint["hyper_parameters"]["init_args"]["noise_seed"] = k
        checkpoint["datamodule_hyper_parameters"]["init_args"]["data_seed"] = k
        weights = {n: w + shift if w.is_floating_point() else w for n, w in checkpoint["state_dict"].items()}
        folder = runs / f"seed_{k}/version_0/checkpoints"
        folder.mkdir(parents=True)
        torch.save({**checkpoint, "state_dict": weights}, folder / "last.ckpt")
    return [runs / f"seed_{k}/version_0" for k in (1, 2)]


def test_runs_that_differ_only_in_their_seeds_are_one_row_with_mean_and_spread(seeds, runs, tmp_path, capsys):
    few = ["--samplers", "Heun(n_steps=3)", "--n_samples", 200, "--seeds", 1, "--device", "cpu"]
    compare("--output", tmp_path, *seeds, runs / "ddpm_heart/version_0", *few)
    ratio = {row["model"]: row["sliced_w1_ratio"] for row in results(tmp_path)["cells"]}
    two = [ratio["seed_1 v0"], ratio["seed_2 v0"]]
    shown = f"{statistics.mean(two):.2f} ± {abs(two[0] - two[1]) / math.sqrt(2):.2f} (2 trainings)"
    markdown = (tmp_path / "results.md").read_text()
    assert f"| seed_1 v0 and 1 of other seeds | {shown} |" in markdown
    assert "| ddpm_heart v0 | " in markdown
    assert "| seed_2 v0 | `Heun(n_steps=3)` |" in markdown  # each is among all cells
    said = capsys.readouterr().out
    assert "Two models on the heart" in markdown
    assert "seed_1 v0 and 1 of other seeds" in said
    assert f" +- {shown.partition('± ')[2]}" in said
    assert f"mean ± {shown.partition('± ')[2]}" in (tmp_path / "index.html").read_text()


def test_the_mean_over_trainings_has_no_figure_that_one_of_them_lacks_and_the_worst_alarm():
    one = {"model": "a", "sliced_w1": 0.01, "energy_z": -7.0, "nonfinite": 0, "nfe": 5, "own": True}
    other = {"model": "b", "sliced_w1": 0.03, "energy_z": 2.0, "nonfinite": 3, "nfe": 5, "own": True}
    mean = mean_row([one, other], "both")
    assert mean == {"model": "both", "sliced_w1": 0.02, "energy_z": -7.0, "nonfinite": 3, "nfe": 5, "own": True}
    assert mean_row([one, {**other, "sliced_w1": None}], "both")["sliced_w1"] is None


def test_an_exact_denoiser_far_from_the_floor_is_said_to_be_the_fault_of_sampler_grid_or_schedule(
    runs, no_page, tmp_path, capsys
):
    few = ["--n_samples", 1000, "--seeds", 2, "--device", "cpu"]
    compare("--output", tmp_path / "coarse", runs / "edm_heart/version_0", "--samplers", "Euler(n_steps=2)", *few)
    said = capsys.readouterr().out
    assert "edm_heart v0: the exact denoiser with Euler(n_steps=2) is itself at " in said
    assert "noise floors: the sampler, its grid or the schedule is at fault there" in said
    compare("--output", tmp_path / "fine", runs / "edm_heart/version_0", "--samplers", "RungeKutta4(n_steps=5)", *few)
    assert "at fault" not in capsys.readouterr().out


@pytest.mark.parametrize(("kind", "begins"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_figures_of_a_finished_comparison_are_written_for_a_paper_without_measuring_again(
    kind, begins, heart, runs, monkeypatch, capsys
):
    monkeypatch.setattr(page, "_page", lambda *_: "")
    monkeypatch.setattr(grid, "measure", lambda *_: pytest.fail("a finished cell was evaluated again"))
    kept = (heart / "index.html").read_text()
    compare("--output", heart, runs / "edm_heart/version_0", runs / "ddpm_heart/version_0", *OPTIONS, "--figures", kind)
    (heart / "index.html").write_text(kept)
    for name in ("evaluations", "seconds"):
        assert (heart / f"{name}.{kind}").read_bytes().startswith(begins)
        (heart / f"{name}.{kind}").unlink()
    assert f"evaluations.{kind}, seconds.{kind}" in capsys.readouterr().out


def test_the_best_cell_is_the_cheapest_that_is_not_significantly_worse_than_the_minimum():
    cheap, least, bad, broken = row(9, 0.0120), row(99, 0.0100), row(5, 0.0200), row(1, 0.001, nonfinite=1)
    assert best([bad, least, cheap, broken]) is cheap
    assert best([bad, least, row(9, 0.0129), broken]) is least  # 2.9 sd away; 2.83 is where the noise ends
    assert best([row(1, None)]) is None


@pytest.mark.parametrize("name", ["energy_z", "cross_entropy_gap_z", "mode_weights_worst_z"])
def test_the_best_cell_is_none_in_which_another_metric_raises_an_alarm_if_there_is_another(name):
    alarming, dearer, unknown = (
        {**row(9, 0.0100), name: -5.1},
        {**row(19, 0.0110), name: 4.9},
        {**row(29, 0.01), name: None},
    )
    assert best([alarming, dearer, unknown]) is dearer
    assert best([alarming]) is alarming


def test_names_come_from_runs_and_are_unique():
    paths = ["a/heart/version_3/checkpoints/last.ckpt", "b/heart/version_3/checkpoints/last.ckpt", "x/model.ckpt"]
    assert unique_names(list(map(Path, paths))) == ["heart v3", "heart v3 #2", "model"]


@pytest.mark.parametrize("p", [Heart(), SplitNormal()], ids=repr)
def test_the_wide_schedule_has_no_visible_error(p):
    schedule = wide_schedule(p)
    assert prior_kl(p, schedule.ratios[1]) < GOOD_PRIOR_KL
    assert detail(p, schedule).good
    assert not prior_kl(p, EDM(0.02, 5.0).ratios[1]) < GOOD_PRIOR_KL  # what a schedule that does show is found by


def test_the_figures_show_every_point_on_common_axes():
    lines = [Line("Heun", [9, 19], [8.0, 1.1], "#123456"), Line("DDIM", [5, 10], [None, 30.0], "#654321", "dashed")]
    figure = comparison([Panel("a", lines, 0.1), Panel("b", lines[:1], 0.1)], "evaluations", "title")
    a, b = figure.axes
    assert a.get_xlim() == b.get_xlim()
    assert a.get_ylim() == b.get_ylim()
    drawn = {tuple(map(tuple, line.get_xydata())) for line in a.lines if line.get_marker() == "o"}
    assert drawn == {((9, 8.0), (19, 1.1)), ((10, 30.0),)}
    assert a.get_ylim()[0] < 1.0 < 30.0 < a.get_ylim()[1]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["Heun", "exact denoiser, same schedule", "exact samples"]


def test_a_dark_figure_is_legible_and_keeps_the_colours_of_what_is_drawn():
    figure = comparison([Panel("a", [Line("Heun", [9, 19], [8.0, 1.1], "#123456")], 0.1)], "evaluations", "title")
    dark = darken(figure)
    ax = dark.axes[0]
    assert [line.get_color() for line in ax.lines if line.get_marker() == "o"] == ["#123456"]
    for background in (dark.get_facecolor(), ax.get_facecolor()):
        assert sum(background[:3]) < 0.5
    writing = [ax.title, ax.xaxis.label, *ax.get_xticklabels(), *dark.legends[0].get_texts()]
    assert all(sum(to_rgb(text.get_color())) > 2.0 for text in writing)


def test_help_needs_nothing_heavy():
    code = """
import sys
from toy_score.__main__ import main
try:
    main(["compare", "--help"])
finally:
    print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--samplers" in done.stdout
    assert done.stdout.strip().endswith("False")


@pytest.mark.parametrize("panels", [1, 2, 3])
def test_the_key_of_the_figure_lies_within_it_however_long_the_names_are(panels):
    names = ["RungeKutta4(grid=Angular(scale=0.3))", "DPMSolver2M(grid=Trailing())", "mine.TwoStep", "Heun", "its own"]
    lines = [Line(name, [9, 19], [8.0, 1.1], "#123456", "star" if name == "its own" else "line") for name in names]
    figure = comparison([Panel("a", lines, 0.1)] * panels, "evaluations", "title")
    figure.draw_without_rendering()
    key = figure.legends[0].get_window_extent()
    assert key.x0 >= 0
    assert key.x1 <= figure.bbox.width
    assert key.y0 >= figure.axes[0].get_window_extent().y1


def test_how_to_read_the_ranking_is_the_same_plain_text_in_markdown_and_on_the_page():
    assert not set("*_`") & set(READING)
