"""The user's own points: their exact noisy law, reading them, training on them, and whether they were memorised."""

import json
import math
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from scipy import special, stats

from toy_score import __main__ as entry
from toy_score.component import from_config, to_config
from toy_score.data import PointsDataModule
from toy_score.denoisers import ExactDenoiser
from toy_score.distributions import Moons, Points
from toy_score.metrics import Memorisation, SlicedWasserstein, noise_floors
from toy_score.modules import EDMModule, ScoreModule, read_checkpoint
from toy_score.samplers import Heun
from toy_score.schedules import EDM
from toy_score.seeds import seed_of
from toy_score.standardisation import Standardisation

f64 = torch.float64
ALPHA = 1e-6  # false-alarm rate of each statistical test
SIGMAS = [1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def cloud(n, seed=0):
    """Points on three arcs, about (3, -2), some of them twice, with classes."""
    g = generator(seed)
    labels = torch.randint(3, (n,), generator=g)
    angle = 2 * torch.rand(n, generator=g) + 2 * labels
    x = torch.stack([3 + angle.cos(), -2 + angle.sin()], dim=1)
    x[-5:], labels[-5:] = x[:5], labels[:5]
    return Points(x, labels)


def brute_force(p, x, sigma):
    """log p_sigma, score, posterior mean from all distances in numpy: (n,), (n, 2), (n, 2)."""
    difference = p.points.double().numpy()[None] - x.double().numpy()[:, None]
    e = -0.5 * (difference**2).sum(2) / sigma**2
    log_p = special.logsumexp(e, axis=1) - math.log(2 * math.pi * sigma**2 * len(p))
    r = special.softmax(e, axis=1)[:, :, None]
    return (torch.tensor(a) for a in (log_p, (r * difference).sum(1) / sigma**2, (r * p.points.numpy()).sum(1)))


@pytest.mark.parametrize("dtype", [torch.float32, f64])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_density_score_and_mean_of_points_are_those_of_all_distances(sigma, dtype):
    p = cloud(700)
    g = generator(1)
    near = p.sample(200, g) + sigma * torch.randn(200, 2, generator=g)
    far = (2 * torch.rand(200, 2, generator=g) - 1) * (p.bounds + 10 * sigma)
    x = torch.cat([near, far]).to(dtype)
    log_p, score, mean = brute_force(p, x, sigma)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-10
    size = score.norm(dim=1) + 1 / sigma
    assert ((p.score(x, sigma) - score).norm(dim=1) / size).max() < tolerance
    assert ((p.denoise(x, sigma) - mean).norm(dim=1) / (1 + mean.norm(dim=1))).max() < tolerance
    assert ((p.log_prob(x, sigma) - log_p).abs() / (1 + log_p.abs())).max() < tolerance
    assert p.score(x, sigma).dtype == p.denoise(x, sigma).dtype == p.log_prob(x, sigma).dtype == dtype


def test_ten_thousand_points_in_chunks_are_the_same_as_row_by_row():
    p = Points(torch.randn(10_000, 2, generator=generator()))
    x, sigma = torch.randn(40, 2, generator=generator(1), dtype=f64), torch.logspace(-2, 1, 40, dtype=f64)[:, None]
    for method in ("log_prob", "score", "denoise"):
        rows = torch.stack([getattr(p, method)(x[i : i + 1], sigma[i].item())[0] for i in range(40)])
        assert torch.allclose(getattr(p, method)(x, sigma), rows, rtol=1e-10)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_the_score_of_points_is_differentiable_in_forward_mode():
    p = cloud(100)
    x, direction = p.reference(50), torch.randn(50, 2, generator=generator(), dtype=f64)
    for f in (p.score, p.denoise, p.log_prob):
        slope = torch.func.jvp(lambda y: f(y, 0.3), (x,), (direction,))[1]  # noqa: B023
        h = 1e-5
        assert torch.allclose(slope, (f(x + h * direction, 0.3) - f(x - h * direction, 0.3)) / (2 * h), atol=1e-5)


def test_points_have_no_density_of_their_own():
    p = cloud(10)
    for f in (p.log_prob, p.score, p.denoise):
        with pytest.raises(ValueError, match="no density without noise; sigma must be positive"):
            f(p.points, 0.0)
    assert p.entropy() == -math.inf


def test_samples_of_points_are_points_each_as_often_as_any_other():
    """Counts of each point against chi squared, at 1e-6; and a sampler that leaves one out is found."""
    p, n = cloud(50), 20_000
    x, labels = p.sample_labelled(n, generator(3))
    assert torch.equal(x, p.sample(n, generator(3)))
    assert x.dtype == torch.float32
    distance, k = p.nearest(x)
    assert distance.max() == 0
    assert torch.equal(p.labels[k], labels)
    distinct = Points(torch.arange(100.0).view(50, 2))
    counts = distinct.nearest(distinct.sample(n, generator(4)))[1].bincount(minlength=50).numpy()
    assert stats.chisquare(counts).pvalue > ALPHA
    assert stats.chisquare(np.where(np.arange(50) == 7, counts[8], counts) * 1.0, None).pvalue > ALPHA
    assert stats.chisquare(np.append(counts[:49] + counts[49] / 49, 0)).pvalue < ALPHA


def test_nearest_finds_the_nearest_point():
    p = cloud(333)
    x = torch.randn(500, 2, generator=generator(2)) + torch.tensor([3.0, -2.0])
    distances = torch.cdist(x.double(), p.points.double(), compute_mode="donot_use_mm_for_euclid_dist")
    assert torch.allclose(p.nearest(x)[0], distances.amin(dim=1), rtol=1e-12)


def test_the_spacing_of_points_is_the_median_distance_of_neighbours():
    """Pairs of points on a line: 0.1 apart in two of three pairs and 0.4 in the third, the pairs 5 apart."""
    left = 5.0 * torch.arange(30, dtype=f64)
    x = torch.cat([left, left + torch.tensor([0.1, 0.1, 0.4], dtype=f64).repeat(10)])
    assert Points(torch.stack([x, torch.ones_like(x)], dim=1)).spacing() == pytest.approx(0.1)


def test_classes_of_points_add_up_to_the_whole():
    p = cloud(200)
    assert p.n_labels == 3
    x = p.reference(100) + 0.1
    log_w = torch.tensor(list(p.mode_weights.values()), dtype=f64).log()
    parts = torch.stack([p.conditioned_on(k).log_prob(x, 0.2) for k in range(3)], dim=1)
    assert torch.allclose(torch.logsumexp(parts + log_w, dim=1), p.log_prob(x, 0.2))
    assert torch.equal(p.modes(p.points), p.labels)
    names = Points(p.points, p.labels, ["red", "green", "blue"]).mode_weights
    assert list(names) == ["red", "green", "blue"]


def test_the_reference_of_points_is_the_points():
    p = cloud(64)
    assert torch.equal(p.reference(64), p.points.double())
    assert len(p.reference(1000).unique(dim=0)) == len(p.points.unique(dim=0))


def test_the_exact_flow_of_points_ends_on_the_points():
    p = Points(torch.randn(300, 2, generator=generator()))
    truth = ExactDenoiser(p, EDM(sigma_min=0.002, sigma_max=80.0))
    x = Heun(n_steps=40)(truth, 400, generator(1))
    assert p.nearest(x)[0].max() < 5 * 0.002  # the noise that the lowest level leaves


@pytest.mark.parametrize(
    ("x", "labels", "message"),
    [
        (torch.zeros(3, 3), None, r"points must be \(n, 2\), got \(3, 3\)"),
        (torch.zeros(0, 2), None, r"points must be \(n, 2\), got \(0, 2\)"),
        (torch.tensor([[0.0, 0.0], [math.nan, 1.0]]), None, r"point 1 is \[nan, 1.0\]"),
        (torch.zeros(3, 2), torch.tensor([0, 2, 2]), "labels must count from 0 without gaps"),
        (torch.zeros(3, 2), torch.tensor([0, 1]), "labels must be 3 whole numbers"),
    ],
)
def test_invalid_points_are_refused(x, labels, message):
    with pytest.raises(ValueError, match=message):
        Points(x, labels)


# Reading


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n3,4\n5,-6e1\n",
        "x,y\n1,2\n3,4\n5,-60\n",
        "\ufeffwidth;height\r\n1;2\r\n3;4\r\n5;-60\r\n",
        "# made by hand\n\n1\t2\n\n3\t4\n5\t-60",
        "1.0e0  2\n 3 4\n5   -60",
        '"x","y"\n"1","2"\n3,4\n5,-60\n',
    ],
    ids=["bare", "header", "semicolons", "tabs", "spaces", "quotes"],
)
def test_tables_are_read_as_people_write_them(text, tmp_path):
    p = Points.read(written(tmp_path / "my.csv", text))
    assert p.points.tolist() == [[1, 2], [3, 4], [5, -60]]
    assert p.n_labels == 0


def test_numbers_keep_their_digits(tmp_path):
    x = torch.rand(50, 2, generator=generator(), dtype=f64) + 1e6
    np.savetxt(tmp_path / "my.csv", x.numpy(), delimiter=",")
    np.save(tmp_path / "my.npy", x.numpy())
    assert torch.equal(Points.read(tmp_path / "my.csv").points, x)
    assert torch.equal(Points.read(tmp_path / "my.npy").points, x)


def test_classes_are_words_or_numbers_in_their_order(tmp_path):
    words = Points.read(written(tmp_path / "a.csv", "x,y,kind\n0,0,sea\n1,1,land\n2,2,sea\n"))
    assert words.labels.tolist() == [1, 0, 1]
    assert list(words.mode_weights) == ["land", "sea"]
    numbers = Points.read(written(tmp_path / "b.csv", "0,0,10\n1,1,9.0\n2,2,-1\n"))
    assert numbers.labels.tolist() == [2, 1, 0]
    assert list(numbers.mode_weights) == ["-1", "9", "10"]


def test_arrays_are_read_with_their_labels(tmp_path):
    x, labels = np.array([[0.0, 1], [2, 3], [4, 5]]), np.array(["b", "a", "b"])
    np.save(tmp_path / "three.npy", np.c_[x, [1, 0, 1]])
    np.savez(tmp_path / "x.npz", other=np.zeros(7), x=x.astype("f2"), labels=labels)
    np.savez(tmp_path / "only.npz", anything=x.astype(int))
    assert Points.read(tmp_path / "three.npy").labels.tolist() == [1, 0, 1]
    assert list(Points.read(tmp_path / "x.npz").mode_weights) == ["a", "b"]
    assert Points.read(tmp_path / "only.npz").points.tolist() == x.tolist()


BAD = {
    "a word among numbers": ("x,y\n1,2\n3,b\n", "row 3 of my.csv is '3,b': 'b' is not a number"),
    "nan": ("1,2\n\nnan,2\n", "row 3 of my.csv is 'nan,2': a coordinate is not finite"),
    "inf": ("1,2\n1,-inf\n", "row 2 of my.csv is '1,-inf': a coordinate is not finite"),
    "a row too short": ("x,y\n1,2\n3\n", "row 3 of my.csv is '3': it has 1 columns where the rows above have 2"),
    "a gap": ("1,2\n,2\n", "row 2 of my.csv is ',2': '' is not a number"),
    "too many columns": ("a,b,c,d\n1,2,3,4\n", "row 1 of my.csv is 'a,b,c,d': it has 4 columns; give x, y and"),
    "half a header": ("x,2\n1,2\n", "row 1 of my.csv is 'x,2': 'x' is not a number"),
    "a class that is no class": ("1,2,0\n1,2,0.5\n", "row 2 of my.csv is '1,2,0.5': '0.5' is not a class"),
    "a class that is missing": ("1,2,a\n1,2,\n", "row 2 of my.csv is '1,2,': '' is not a class"),
    "a header alone": ("x,y\n", "my.csv holds no points"),
    "nothing": ("", "my.csv holds no points"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_a_bad_row_is_named_by_its_number(text, message, tmp_path):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        Points.read(written(tmp_path / "my.csv", text))


def test_bad_arrays_are_refused(tmp_path):
    def refused(message, name, **arrays):
        path = tmp_path / name
        np.savez(path, **arrays) if arrays else None
        with pytest.raises(ValueError, match=message):
            Points.read(path)

    np.save(tmp_path / "t.npy", np.zeros((2, 50)))
    refused(r"t.npy must hold numbers \(n, 2\).*not float64 \(2, 50\)", "t.npy")
    np.save(tmp_path / "n.npy", np.array([[0, 1], [np.nan, 2]]))
    refused(r"row 2 of n.npy is \[nan, 2.0\]", "n.npy")
    np.save(tmp_path / "o.npy", np.array([[object(), 1]]), allow_pickle=True)
    refused("o.npy cannot be read", "o.npy")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "t.npy").read_bytes()[:100])
    refused("cut.npy cannot be read", "cut.npy")
    refused("has the arrays a, b; name the points 'x'", "two.npz", a=np.zeros((3, 2)), b=np.zeros((3, 2)))
    refused(r"the labels in l.npz are \(4,\), not one for each of 3", "l.npz", x=np.zeros((3, 2)), labels=np.zeros(4))
    refused(r"row 2 of c.npz is .*: '0.5' is not a class", "c.npz", x=np.zeros((2, 2)), labels=np.array([0, 0.5]))
    with pytest.raises(ValueError, match=re.escape("the name must end in .csv, .npy, .npz, .png or .jpg")):
        Points.read(written(tmp_path / "my.xlsx", ""))
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ValueError, match=re.escape("b.csv is not a text file")):
        Points.read(tmp_path / "b.csv")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        Points.read(tmp_path / "nothing.csv")


def test_a_picture_is_points_on_its_dark_pixels(tmp_path):
    """A black pixel lower left, a grey one upper right: counts within their binomial law at 1e-6, uniform within."""
    pixels = np.full((20, 40, 4), 255, np.uint8)
    pixels[19, 0, :3] = 0
    pixels[0, 39, :3] = 128
    pixels[5, 5] = [0, 0, 0, 0]  # transparent
    pixels[9, 9, :3] = 250  # nearly white: paper
    Image.fromarray(pixels).save(tmp_path / "my.png")
    x = Points.read(tmp_path / "my.png").points
    n, low = len(x), x[:, 0] < 20
    assert ((x[low] >= 0) & (x[low] < 1)).all()
    assert ((x[~low] >= torch.tensor([39.0, 19.0])) & (x[~low] < torch.tensor([40.0, 20.0]))).all()
    share = 1 / (1 + 127 / 255)
    assert abs(low.double().mean().item() - share) < stats.norm.isf(ALPHA / 2) * math.sqrt(share * (1 - share) / n)
    for axis in (0, 1):
        assert stats.kstest(x[low, axis].numpy(), "uniform").pvalue > ALPHA
        assert stats.kstest(x[low, axis].numpy() ** 1.1, "uniform").pvalue < ALPHA
    assert torch.equal(Points.read(tmp_path / "my.png").points, x)
    for name, message in (("white.jpg", "no dark pixels"), ("my.jpg", "cannot be read as a picture")):
        Image.fromarray(np.full((9, 9), 255, np.uint8)).save(tmp_path / "white.jpg")
        (tmp_path / "my.jpg").write_bytes(b"no picture")
        with pytest.raises(ValueError, match=message):
            Points.read(tmp_path / name)


# The data module, and the command line


def saved(path, x, labels=None):
    np.savetxt(path, x if labels is None else np.c_[x, labels], delimiter=",")
    return str(path)


def set_up(path, **settings):
    data = PointsDataModule(path, **settings)
    data.setup()
    return data


def test_points_are_split_once_and_standardised_by_the_training_points(tmp_path):
    x = np.random.default_rng(0).normal(size=(1000, 2)) * [3.0, 1e-3] + [1e4, 5.0]
    path = saved(tmp_path / "my.csv", x)
    data = set_up(path, held_out=0.2)
    known = data.known()
    train, held_out = known.distribution.points, known.held_out.points
    assert (len(train), len(held_out)) == (800, 200)
    assert train.dtype == torch.float32
    assert torch.allclose(train.mean(0), torch.zeros(2), atol=1e-5)
    assert torch.allclose(train.std(0), torch.ones(2), atol=1e-4)
    back = known.standardisation.inverse(torch.cat([train, held_out]).double()).numpy()
    assert np.allclose(np.sort(back, axis=0), np.sort(x, axis=0), rtol=1e-9, atol=1e-9)
    again, other = set_up(path, held_out=0.2), set_up(path, held_out=0.2, data_seed=1)
    assert torch.equal(again.known().held_out.points, held_out)
    assert not torch.equal(other.known().held_out.points, held_out)
    assert known.distribution.nearest(data.batch(3).x)[0].max() < 1e-6
    assert len(data.validation_points().x) == 200


def test_classes_reach_the_batches_and_a_class_may_be_missing_from_a_part(tmp_path):
    x = np.random.default_rng(0).normal(size=(100, 2))
    path = saved(tmp_path / "my.csv", x, [7, *[3] * 49, *[5] * 50])
    data = set_up(path, labels=True)
    assert list(data.distribution.mode_weights) == ["3", "5", "7"]
    x, labels = data.batch(0)
    assert torch.equal(data.distribution.labels[data.distribution.nearest(x)[1]], labels)
    unlabelled = set_up(saved(tmp_path / "no.csv", np.random.default_rng(0).normal(size=(60, 2))), labels=True)
    with pytest.raises(ValueError, match=re.escape("has no labels; leave out --data.labels")):
        unlabelled.batch(0)


def test_files_that_cannot_be_trained_on_are_refused(tmp_path):
    few = saved(tmp_path / "few.csv", np.random.default_rng(0).normal(size=(49, 2)))
    with pytest.raises(ValueError, match=re.escape("few.csv holds 49 points; at least 50 are needed")):
        set_up(few)
    flat = saved(tmp_path / "flat.csv", np.c_[np.arange(60), np.full(60, 0.1)])
    with pytest.raises(ValueError, match=re.escape("all points have y = 0.1")):
        set_up(flat)
    with pytest.raises(ValueError, match=r"whose points\? add --data.path my.csv"):
        set_up("")
    with pytest.raises(ValueError, match=r"held_out is a share of the points in \(0, 1\), got 1.0"):
        PointsDataModule("my.csv", held_out=1.0)


def test_the_inverse_standardisation_is_exact_and_its_description_is_plain():
    x = 1e6 + torch.rand(100, 2, generator=generator(), dtype=f64)
    units = Standardisation.of(x)
    assert torch.allclose(units.inverse(units(x)), x, rtol=1e-15)
    assert from_config(to_config(units)) == units
    with pytest.raises(ValueError, match="the scale of an axis must be positive"):
        Standardisation([0.0, 0.0], [1.0, 0.0])


TINY = ["--trainer.accelerator", "cpu", "--pictures.n_samples", "50", "--trainer.val_check_interval", "2"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The run of a tiny fit to a file in units far from those of the model; the file is gone afterwards."""
    folder = tmp_path_factory.mktemp("points")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["toy_score"])
        x = np.random.default_rng(0).normal(size=(300, 2)) * [0.2, 40.0] + [7.0, -1000.0]
        saved("my.csv", x, np.arange(300) % 2)
        short = ["--trainer.max_steps", "40", "--pictures.frames", "2", *TINY]
        entry.main(["fit", "--config", "edm_points", "--data.path", "my.csv", *short])
    os.rename(folder / "my.csv", folder / "gone.csv")
    return folder


@pytest.fixture
def run(fitted, monkeypatch, capsys):
    """A command in the folder of that run, with its checkpoint; what it printed."""
    monkeypatch.chdir(fitted)
    monkeypatch.setattr(sys, "argv", ["toy_score"])
    capsys.readouterr()

    def command(name, *argv):
        checkpoint = "lightning_logs/edm_points/version_0/checkpoints/last.ckpt"
        entry.main([name, "--ckpt_path", checkpoint, "--trainer.accelerator", "cpu", *argv])
        return capsys.readouterr().out

    return command


def in_the_units_of_the_file(x):
    """Near the mean and within the spread of the file of `fitted`, as even 40 steps of training can say."""
    x = torch.as_tensor(x).double().reshape(-1, 2)
    assert ((x.median(dim=0).values - torch.tensor([7.0, -1000.0])).abs() < torch.tensor([0.2, 40.0])).all()
    assert (x.std(dim=0) > torch.tensor([0.05, 10.0])).all()


def test_samples_are_in_the_units_of_the_file_and_predict_does_not_need_the_file(run, fitted, tmp_path):
    for ending in ("npy", "csv", "npz"):
        run("predict", "--n_samples", "400", "--output", str(tmp_path / f"s.{ending}"))
    x = np.load(tmp_path / "s.npy")
    in_the_units_of_the_file(x)
    assert np.allclose(np.loadtxt(tmp_path / "s.csv", delimiter=",", skiprows=1), x)
    arrays = np.load(tmp_path / "s.npz")
    assert np.array_equal(arrays["samples"], x)
    assert np.allclose(arrays["trajectory"][-1], x[:64], rtol=1e-5)
    model = ScoreModule.load_from_checkpoint("lightning_logs/edm_points/version_0/checkpoints/last.ckpt")
    in_the_units_of_the_file(model.sample(400))
    assert {f.name for f in (fitted / "lightning_logs/edm_points/version_0/pictures").iterdir()} == {
        "noise_to_data.gif",
        "samples.png",
        "samples_and_trajectories.png",
        "trajectory.png",
        "vector_field.png",
        "summary.png",
    }


RUN = "lightning_logs/edm_points/version_0"
OTHER_UNITS = [
    *("--model.standardisation", "Standardisation"),
    *("--model.standardisation.mean", "[0,0]", "--model.standardisation.scale", "[1,2]"),
]
TRAINED_IN = (
    r"the network was trained with standardisation (None|Standardisation\(mean=\(.*), not Standardisation\(mean"
)


def refused(capsys, command, *argv):
    """The one line by which a command was refused with exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        command(*argv)
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2
    return line


def test_the_config_of_a_run_beside_its_checkpoint_changes_nothing(run, tmp_path):
    """The config says `standardisation: null`, since the units were known only after the file was read."""
    config = ["--config", f"{RUN}/config.yaml"]
    for name, extra in {"a": [], "b": config, "c": ["--model.standardisation", "null"]}.items():
        said = run("predict", "--n_samples", "100", "--output", str(tmp_path / f"{name}.npy"), *extra)
        assert "the checkpoint has" not in said
    for name in "bc":
        assert (tmp_path / f"{name}.npy").read_bytes() == (tmp_path / "a.npy").read_bytes()
    moved = ["--data.path", "gone.csv"]
    for name, extra in {"a": moved, "b": [*config, *moved]}.items():
        run("test", "--n_samples", "40", "--output", str(tmp_path / f"{name}.json"), *extra)
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()


def test_a_checkpoint_refuses_another_standardisation(run, capsys, tmp_path):
    Path("other.yaml").write_text(
        "model: {class_path: EDMModule, init_args: {standardisation: "
        "{class_path: Standardisation, init_args: {mean: [0, 0], scale: [1, 2]}}}}"
    )
    for extra in (OTHER_UNITS, ["--config", "other.yaml"]):
        line = refused(capsys, run, "predict", "--output", str(tmp_path / "x.npy"), *extra)
        assert re.match(f"error: {TRAINED_IN}", line)
    assert not (tmp_path / "x.npy").exists()
    with pytest.raises(ValueError, match=TRAINED_IN):
        ScoreModule.load_from_checkpoint(
            f"{RUN}/checkpoints/last.ckpt", standardisation=Standardisation([0, 0], [1, 2])
        )


def test_the_units_of_the_weights_reach_a_model_that_was_built_without_them(run):
    checkpoint = f"{RUN}/checkpoints/last.ckpt"
    trained = ScoreModule.load_from_checkpoint(checkpoint)
    assert trained.standardisation.mean == pytest.approx([7, -1000], abs=10)
    assert ScoreModule.load_from_checkpoint(checkpoint, standardisation=None).standardisation == trained.standardisation
    for chosen in (None, trained.standardisation):
        model = EDMModule(trained.schedule, backbone=trained.backbone, standardisation=chosen)
        model.on_load_checkpoint(read_checkpoint(checkpoint))
        assert model.standardisation == trained.standardisation
    with pytest.raises(ValueError, match=TRAINED_IN):
        EDMModule(standardisation=Standardisation([0, 0], [1, 2])).on_load_checkpoint(read_checkpoint(checkpoint))


def test_a_guide_in_other_units_is_refused(run):
    guided = EDMModule(guide=f"{RUN}/checkpoints/last.ckpt", guidance=2.0)
    with pytest.raises(ValueError, match=r"last.ckpt' was trained with standardisation .*, the model with None"):
        guided.sample(1)


def test_data_in_other_units_than_those_of_the_model_are_refused(run, fitted, capsys, tmp_path):
    for command in ("validate", "test", "fit"):
        steps = ["--trainer.max_steps", "50"] if command == "fit" else []
        line = refused(capsys, run, command, "--data", "HeartDataModule", *steps)
        assert re.match(r"error: the model works with .*, the points of HeartDataModule come with None", line)
    assert os.listdir("lightning_logs/edm_points") == ["version_0"]
    assert not Path("lightning_logs/default").exists()


def test_fit_uses_a_given_standardisation_or_refuses_it(fitted, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["toy_score"])
    few = ["--trainer.max_steps", "2", "--pictures.frames", "0", *TINY, *OTHER_UNITS]
    line = refused(capsys, entry.main, ["fit", "--config", "edm_heart", *few])
    assert "the model works with standardisation Standardisation(mean=(0.0, 0.0), scale=(1.0, 2.0), " in line
    assert os.listdir() == []
    entry.main(["fit", "--config", "edm_points", "--data.path", str(fitted / "gone.csv"), *few])
    assert ScoreModule.load_from_checkpoint(f"{RUN}/checkpoints/last.ckpt").standardisation.scale == (1, 2)


def test_a_resumed_run_keeps_its_units_and_writes_them_to_its_config(fitted, monkeypatch, tmp_path):
    """Resumed with a file in other units, from a config that says null: the network goes on in those of the first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["toy_score"])
    other = saved("other.csv", 2 * np.loadtxt(fitted / "gone.csv", delimiter=",")[:, :2])
    first = fitted / RUN / "checkpoints/last.ckpt"
    argv = ["--config", str(fitted / RUN / "config.yaml"), "--ckpt_path", str(first), "--data.path", other]
    entry.main(["fit", *argv, "--trainer.max_steps", "50", "--pictures.frames", "0", *TINY])
    resumed = Path(RUN)
    units = ScoreModule.load_from_checkpoint(first).standardisation
    assert ScoreModule.load_from_checkpoint(resumed / "checkpoints/last.ckpt").standardisation == units
    config = yaml.safe_load((resumed / "config.yaml").read_text())
    assert config["model"]["init_args"]["standardisation"] == to_config(units)


def test_commands_report_a_missing_file_and_accept_another(run, capsys):
    for command in ("validate", "test"):
        with pytest.raises(SystemExit) as stop:
            run(command)
        assert stop.value.code == 2
        assert capsys.readouterr().err == "error: there is no file 'my.csv'; --data.path says where the points are\n"
    said = run("validate", "--data.path", "gone.csv")
    assert "val/loss" in said
    assert "the median distance to the nearest point" in said
    assert "score_error" not in said


# Memorisation


def judged(samples):
    """The metric for samples of the moons, after 1000 training points and as many fresh ones."""
    points = Points(Moons().sample(1000, generator(1)))
    metric = Memorisation(points, Moons().sample(1000, generator(2)))
    for part in samples(points).split(700):
        metric.update(part)
    return metric


def test_memorisation_is_total_for_the_optimal_denoiser_of_the_training_points_and_zero_for_exact_samples():
    """False alarms 1e-6, by the law of the one-sided statistic."""

    def flow(p):
        schedule = EDM(sigma_min=0.002, sigma_max=80.0)
        return lambda points: Heun(n_steps=18)(ExactDenoiser(p or points, schedule), 1000, generator(5))

    memorised, exact = judged(flow(None)), judged(flow(Moons()))
    assert memorised.compute() > 0.95
    assert memorised.p_value() < ALPHA
    assert memorised.summary()["near"]["share"] > 0.95
    assert exact.p_value() > ALPHA
    assert exact.compute() < 0.1


def test_fresh_samples_are_not_called_memorised_and_one_copy_in_five_is():
    """Fresh samples over 10 draws, at 1e-6 in all; one sample in five a training point is found in all of them."""
    for seed in range(10):
        fresh = Moons().sample(2000, generator(100 + seed))
        assert judged(lambda points: fresh).p_value() > ALPHA / 10  # noqa: B023
        copied = judged(lambda points: torch.cat([fresh[:1600], points.sample(400, generator(seed))]))  # noqa: B023
        assert copied.p_value() < ALPHA


def test_the_excess_has_the_stated_distribution():
    """Mean over 400 draws of the true law, at 1e-6; without the share of the fresh points it would not be."""
    points = Points(torch.rand(200, 2, generator=generator(0)))
    n, m, draws = 1000, 800, 400
    excess = []
    for k in range(draws):
        g = generator(1000 + k)
        metric = Memorisation(points, torch.rand(m, 2, generator=g))
        metric.update(torch.rand(n, 2, generator=g))
        excess.append(metric.compute().item())
    said = metric.summary()
    scatter = stats.norm.isf(ALPHA / 2) * said["excess_floor_sd"] / math.sqrt(draws)
    shortfall = 0.06 * said["excess_floor"] + 0.5 / n  # between edges, and of the limit: known to be below
    assert -scatter - shortfall < np.mean(excess) - said["excess_floor"] < scatter
    without = math.sqrt(math.pi / 8 / n)
    assert abs(np.mean(excess) - without) > scatter + shortfall


def test_memorisation_adds_up_over_pieces_and_its_summary_equals_the_definitions():
    x = Moons().sample(1000, generator(9))
    whole, parts = judged(lambda _: x), judged(lambda _: x[:400])
    parts.merge_state(judged(lambda _: torch.cat([x[400:], torch.tensor([[math.nan, 0.0]])])))
    assert torch.equal(whole.counts, parts.counts)
    said = whole.summary()
    assert sum(said["histogram"]["samples"]) == pytest.approx(1, abs=1e-3)
    distance, share = said["near"]["distance"], said["near"]["share"]
    assert (whole.points.nearest(x)[0] <= distance).double().mean() == pytest.approx(share)
    assert said["near"]["fresh"] == pytest.approx(0.05)
    fresh, n = said["fresh_points"], whole.counts.sum().item()
    assert said["near"]["fresh_sd"] == pytest.approx(math.sqrt(0.05 * 0.95 * (1 / n + 1 / fresh)))
    assert said["p_value"] == pytest.approx(math.exp(-2 * said["excess"] ** 2 * n * fresh / (n + fresh)))


def test_repeated_points_in_the_data_are_not_memorisation():
    """Data on a grid: half of the fresh points are training points too, and so are half of the samples."""
    x = torch.randint(20, (1500, 2), generator=generator(0)).float()
    metric = Memorisation(Points(x[:500]), x[500:1000])
    metric.update(x[1000:])
    assert metric.p_value() > ALPHA


def test_test_compares_with_held_out_points_and_reports_no_exact_values(run, capsys, tmp_path):
    said = run("test", "--data.path", "gone.csv", "--data.held_out", "0.2", "--output", str(tmp_path / "m.json"))
    assert "120 samples, means over 4 draws, compared with 60 held-out points" in said
    assert "memorisation: distances to the nearest of 240 training points, beside those of 60 fresh points" in said
    assert "normalised score error" not in said
    found = json.loads((tmp_path / "m.json").read_text())
    assert found["score_error"]["mean"] is None
    assert found["sliced_w1"]["floor_sd"] > 0
    assert found["memorisation"]["excess"] < 0.5
    for flag in ("--likelihood", "--fields"):
        with pytest.raises(SystemExit) as stop:
            run("test", "--data.path", "gone.csv", flag, "true", "--output", str(tmp_path / "n.json"))
        assert stop.value.code == 2
        assert "only points of the truth are known" in capsys.readouterr().err


def test_test_reports_memorisation_if_known_data_are_a_fixed_set(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["toy_score"])
    small = ["--data.fresh", "false", "--data.n_train", "256", "--data.n_val", "64", "--pictures.frames", "0"]
    entry.main(["fit", "--config", "edm_heart", "--trainer.max_steps", "20", *small, *TINY])
    checkpoint = "lightning_logs/edm_heart/version_0/checkpoints/last.ckpt"
    entry.main(["test", "--ckpt_path", checkpoint, "--n_samples", "500", "--trainer.accelerator", "cpu"])
    assert "the nearest of 256 training points, beside those of 10000 fresh points" in capsys.readouterr().out


def test_the_noise_floor_of_points_is_that_of_equally_many_real_points():
    """Real points against held-out ones; the held-out points drawn again would lie below, by their own scatter."""
    x = Moons().sample(3000, generator(3))
    train, held_out = Points(x[:2000]), Points(x[2000:])
    real = noise_floors(held_out, 1000, draws=8, real=train)["sliced_w1"].mean
    again = noise_floors(held_out, 1000, draws=8)["sliced_w1"].mean
    assert real > 1.2 * again


def test_draws_of_real_points_that_share_some_scatter_as_if_they_shared_none():
    """Draws of a quarter of the points scatter by `sqrt(3 / 4)` of that; their own part is half of it."""
    train, held_out = (Points(Moons().sample(n, generator(n))) for n in (80, 60))
    floor = noise_floors(held_out, 20, draws=4, real=train)["sliced_w1"]
    values = []
    for draw in range(4):
        metric = SlicedWasserstein(held_out)
        metric.update(train.subset(20, generator(seed_of("noise floor", draw))).points)
        values.append(metric.compute().double())
    assert floor.mean == pytest.approx(torch.stack(values).mean().item())
    assert floor.sd == pytest.approx(torch.stack(values).std().item() / math.sqrt(0.75))
    assert floor.error == pytest.approx(0.5 * floor.sd)
