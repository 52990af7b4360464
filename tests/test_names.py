"""The words of a table, its columns and its classes, stay with the model; a class is measured by its own floor."""

import json
import sys

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from toy_score import MLP, EDMModule, Heun, PointsDataModule, ScoreModule, __main__ as entry
from toy_score.distributions import Moons, Points
from toy_score.metrics import Floor, floors, noise_floors
from toy_score.metrics.base import SampleMetric
from toy_score.plotting import in_units, samples
from toy_score.standardisation import Standardisation

CLASSES = ("land", "lake", "sea")


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A table with the header lon,lat,kind, and the checkpoint of a step of training on it with its classes."""
    folder = tmp_path_factory.mktemp("table")
    g = np.random.default_rng(0)
    kinds = np.arange(300) % 3
    x = g.normal(size=(300, 2)) + 5.0 * kinds[:, None]
    rows = [f"{a},{b},{CLASSES[k]}" for (a, b), k in zip(x, kinds, strict=True)]
    (folder / "my.csv").write_text("\n".join(["lon,lat,kind", *rows]))
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "limit_val_batches": 0}
    trainer = pl.Trainer(max_steps=1, logger=False, enable_checkpointing=False, accelerator="cpu", **quiet)
    data = PointsDataModule(str(folder / "my.csv"), batch_size=64, steps_at_once=1, labels=True, held_out=0.2)
    trainer.fit(EDMModule(sampler=Heun(2), backbone=MLP((8,), n_labels=3)), data)
    trainer.save_checkpoint(folder / "last.ckpt")
    return torch.load(folder / "last.ckpt", weights_only=True)


@pytest.fixture
def command(content, tmp_path, monkeypatch, capsys):
    """A command with that checkpoint, in an empty folder: its exit code, what it printed, and its errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["toy_score"])
    torch.save(content, "good.ckpt")

    def run(name, *argv, ckpt="good.ckpt"):
        capsys.readouterr()
        code = 0
        try:
            entry.main([name, "--ckpt_path", ckpt, "--trainer.accelerator", "cpu", *argv])
        except SystemExit as stop:
            code = stop.code
        return (code, *capsys.readouterr())

    return run


def test_samples_have_the_columns_of_the_file_that_was_trained_on(command, tmp_path):
    assert command("predict", "--n_samples", "60", "--output", "s.csv")[0] == 0
    assert (tmp_path / "s.csv").read_text().splitlines()[0] == "lon,lat"
    data = PointsDataModule("s.csv")
    data.setup()
    assert data.known().standardisation.columns == ("lon", "lat")


@pytest.mark.parametrize("columns", [("#a", "b"), ('a "b"', "c,d"), ("Länge", "緯度"), ("a", "price $1 to $2")])
def test_any_names_of_columns_are_written_so_that_they_are_read_again(columns, content, command, tmp_path):
    arguments = content["hyper_parameters"]["init_args"]
    units = arguments["standardisation"]["init_args"] | {"columns": columns}
    described = {"class_path": "toy_score.standardisation.Standardisation", "init_args": units}
    odd = {"class_path": "toy_score.EDMModule", "init_args": arguments | {"standardisation": described}}
    torch.save(content | {"hyper_parameters": odd}, "odd.ckpt")
    assert command("predict", "--n_samples", "60", "--output", "s.csv", ckpt="odd.ckpt")[0] == 0
    data = PointsDataModule("s.csv")
    data.setup()
    assert data.known().standardisation.columns == columns


def test_the_axes_of_pictures_have_the_names_of_the_columns():
    p, x = Points(torch.randn(9, 2)), torch.randn(9, 2)
    for columns in (("lon", "lat"), ("price $1 to $2", "$\\frac$")):
        figure = in_units(samples(x, x, p, "title of $5 \\frac$"), Standardisation((0.0, 0.0), (1.0, 1e7), columns))
        figure.draw_without_rendering()  # what is no formula is not read as one
        texts = [text.get_text().replace("\\$", "$") for text in figure.axes[0].texts]
        assert columns[0] in texts
        assert f"{columns[1]} (1e7)" in texts


def test_a_class_may_be_called_by_its_name_or_its_number(command, content):
    model = content["hyper_parameters"]["init_args"]
    assert model["class_names"] == ["lake", "land", "sea"]
    files = {}
    for label in ("sea", "2", "land"):
        assert command("predict", "--n_samples", "50", "--output", f"{label}.npy", "--model.label", label)[0] == 0
        files[label] = np.load(f"{label}.npy")
    assert np.array_equal(files["sea"], files["2"])
    assert not np.array_equal(files["sea"], files["land"])
    assert "class: 2 is sea" in command("predict", "--output", "b.npy", "--model.label", "2")[1]
    loaded = ScoreModule.load_from_checkpoint("good.ckpt", label="sea")
    assert (loaded.label, loaded.told) == ("sea", 2)


def test_a_class_that_there_is_not_is_answered_with_those_that_there_are(command):
    for name in ("predict", "test"):
        code, _, error = command(name, "--model.label", "see")
        assert code == 2
        known = "the classes are 0 = lake, 1 = land, 2 = sea"
        assert error == f"error: there is no class 'see'; did you mean sea? {known}\n"
    assert command("predict", "--model.label", "3")[2] == f"error: there is no class 3; {known}\n"


def test_a_checkpoint_without_names_is_read_and_takes_numbers(command, content):
    arguments = {k: v for k, v in content["hyper_parameters"]["init_args"].items() if k != "class_names"}
    units = arguments["standardisation"]["init_args"]
    arguments["standardisation"] = {
        "class_path": "toy_score.standardisation.Standardisation",
        "init_args": {k: v for k, v in units.items() if k != "columns"},
    }
    torch.save(content | {"hyper_parameters": content["hyper_parameters"] | {"init_args": arguments}}, "old.ckpt")
    assert command("predict", "--n_samples", "50", "--output", "a.csv", "--model.label", "2", ckpt="old.ckpt")[0] == 0
    code, _, error = command("predict", "--output", "b.npy", "--model.label", "sea", ckpt="old.ckpt")
    assert (code, error) == (
        2,
        "error: the names of the classes are not known here, so no class 'sea'; give its number\n",
    )
    assert command("test", "--output", "m.json", "--model.label", "sea", ckpt="old.ckpt")[0] == 0  # it has the file


def test_points_with_other_classes_than_those_of_the_model_are_refused(command, tmp_path):
    table = ["lon,lat,kind", *(f"{k % 5},{k % 7},{'sky' if k % 2 else 'sea'}" for k in range(60))]
    (tmp_path / "other.csv").write_text("\n".join(table))
    code, _, error = command("test", "--data.path", "other.csv", "--model.label", "sea")
    assert code == 2
    assert "the model knows the classes lake, land, sea, the points of PointsDataModule have sea, sky" in error


def test_a_class_is_measured_by_the_floor_of_its_own_points(command, tmp_path):
    """With more samples than half of them, all draws of the floor would share most points, and z would mean nothing."""
    code, said, _ = command("test", "--output", "m.json", "--model.label", "sea")
    assert code == 0
    figures = json.loads((tmp_path / "m.json").read_text())
    points = int(said.split("the nearest of ")[1].split()[0])
    assert figures["n"] == points // 2 < 45
    assert "points of my.csv, sea" in figures["title"].replace("EDM on ", "")
    for name in ("sliced_w1", "energy"):
        assert figures[name]["floor_sd"] > 0.01 * figures[name]["floor"] > 0


def test_a_floor_takes_twice_as_many_real_points_as_samples():
    x = Moons().sample(300, torch.Generator().manual_seed(0))
    held_out, train = Points(x[:100]), Points(x[100:])
    with pytest.raises(
        ValueError, match="the noise floor of 101 samples takes at least 202 real points, there are 200"
    ):
        noise_floors(held_out, 101, real=train)
    assert noise_floors(held_out, 100, draws=3, real=train)["sliced_w1"].sd > 0


def test_where_exact_samples_do_not_scatter_there_is_no_z():
    same = Points(torch.ones(50, 2))
    floor = noise_floors(same, 10, draws=4, real=Points(torch.ones(40, 2)))["sliced_w1"]
    assert floor.z(0.5) is None
    assert Floor(3.0, 1e-12).z(4.0) is None  # rounding
    assert Floor(3.0, 1e-3).z(4.0) == pytest.approx(1e3)


class MeanOfX(SampleMetric):
    """The mean of the first coordinate, whose law is known."""

    def __init__(self, distribution, **kwargs):
        super().__init__(distribution, **kwargs)
        self.add_state("total", torch.zeros(2, dtype=torch.float64), "sum")

    def _add(self, x):
        self.total += torch.tensor([x[:, 0].sum(), len(x)])

    def compute(self):
        return self.total[0] / self.total[1]


def test_z_of_exact_samples_is_standard_where_the_floor_has_few_real_points(monkeypatch):
    """40 sets of real points, and four draws of half as many exact samples each. The sum of z^2 is, but for the
    24 draws of a floor, chi squared of 40 degrees of freedom: below 95 but in 1e-5 of all cases. If the draws of the
    floor are taken for independent ones, it is six times as large."""
    monkeypatch.setattr(floors, "MINIMAL", {"sliced_w1": MeanOfX})
    g, z, taken_for_independent = torch.Generator().manual_seed(1), [], []
    for _ in range(40):
        real, samples = Points(torch.randn(100, 2, generator=g)), torch.randn(4, 50, 2, generator=g)
        floor = noise_floors(real, 50, draws=24, real=real)["sliced_w1"]
        value = samples[..., 0].mean().item()
        z.append(floor.of_mean(4).z(value))
        taken_for_independent.append(Floor(floor.mean, floor.sd * 0.5**0.5).of_mean(4).z(value))
    assert np.square(z).sum() < 95
    assert np.square(taken_for_independent).sum() > 150
