"""Noise floors that were kept on disk are those that would be measured, and nothing else is believed."""

import dataclasses
import json
import math
import os
import shutil
import sys

import pytest
import torch

from toy_score import Circles, GaussianMixture, Heart, Points, SplitNormal
from toy_score.metrics import floor_cache, floors
from toy_score.metrics.floors import noise_floors

N, DRAWS, HEART = 100, 2, Heart()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_SCORE_CACHE", str(tmp_path))
    return tmp_path / "floors"


@pytest.fixture
def measured(monkeypatch):
    """The distributions whose floors were measured; each measurement has other values, as no real one would."""
    seen = []

    def measure(distribution, *rest):
        seen.append(distribution)
        return {"sliced_w1": (float(len(seen)), 0.1)}

    monkeypatch.setattr(floors, "_measured", measure)
    return seen


def points(*, seed=0, labels=None):
    return Points(torch.randn(300, 2, generator=torch.Generator().manual_seed(seed)), labels)


def ask(p=HEART, n=N, draws=DRAWS, **options):
    return noise_floors(p, n, draws, **options)["sliced_w1"].mean


def test_kept_floors_are_the_measured_ones_bit_for_bit(folder, monkeypatch, nothing_kept):
    alone = noise_floors(Heart(), N, DRAWS)
    monkeypatch.setenv("TOY_SCORE_CACHE", str(folder.parent))
    first = noise_floors(Heart(), N, DRAWS)
    monkeypatch.setattr(floors, "_measured", lambda *_: pytest.fail("a floor that is kept was measured again"))
    again = noise_floors(Heart(), N, DRAWS)
    assert alone == first == again
    assert list(alone) == list(again)


def test_numbers_that_are_not_finite_are_kept(folder):
    key = floor_cache.key_of(Heart(), None, n=1)
    floor_cache.keep(key, {"a": (math.inf, math.nan), "b": (5e-324, 0.1 + 0.2)})
    assert str(floor_cache.kept(key)) == "{'a': (inf, nan), 'b': (5e-324, 0.30000000000000004)}"


def test_floors_of_anything_else_are_measured(folder, measured):
    x, y, named = points(), points(seed=1), points(labels=torch.arange(300) % 2)
    a, b = GaussianMixture([[0.0, 0.0]], stds=1.0), GaussianMixture([[0.0, 1e-15]], stds=1.0)
    questions = [
        *(
            dict(p=p)
            for p in (
                Heart(),
                SplitNormal(),
                SplitNormal(shift=1.5),
                Heart().conditioned_on(0),
                Heart().conditioned_on(1),
            )
        ),
        *(dict(p=p) for p in (a, b, Circles(std=0.2), x, y, named)),
        dict(n=N + 1),
        dict(draws=DRAWS + 1),
        dict(papers=True),
        dict(classifier=True),
        dict(p=x, real=x),
        dict(p=x, real=y),
    ]
    answers = [ask(**question) for question in questions]
    assert answers == [float(k + 1) for k in range(len(questions))]
    assert [ask(**question) for question in questions] == answers
    assert len(measured) == len(questions)


@pytest.mark.parametrize("what", ["version", "torch", "source", "processor", "threads"])
def test_floors_of_other_code_or_another_processor_are_measured(what, folder, measured, monkeypatch):
    assert (ask(), ask()) == (1.0, 1.0)
    changes = {
        "version": (floor_cache, "__version__", "0.0.1"),
        "torch": (torch, "__version__", "2.0.1"),
        "source": (floor_cache, "_digest_of_sources", lambda: "other"),
        "processor": (torch.backends.cpu, "get_cpu_capability", lambda: "other"),
        "threads": (torch, "get_num_threads", lambda: 7),
    }
    monkeypatch.setattr(*changes[what])
    assert ask() == 2.0


@pytest.mark.parametrize("name", ["metrics/projections.py", "distributions/halfplanes.py", "seeds.py"])
def test_every_source_counts(name, tmp_path, monkeypatch):
    """A line added to a copy of the sources changes what stands for them."""
    copy = tmp_path / "toy_score"
    shutil.copytree(floor_cache.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    digests = [floor_cache._digest_of_sources()]
    monkeypatch.setattr(floor_cache, "PACKAGE", copy)
    for line in ("", "# another line\n"):
        (copy / name).write_text((copy / name).read_text() + line)
        digests.append(floor_cache._digest_of_sources.__wrapped__())
    assert digests[0] == digests[1] != digests[2]


def test_sources_are_all_that_the_metrics_of_floors_import():
    """What is left out of `SOURCES` cannot change a floor: the likelihood and denoisers, and what they are made of."""
    used = {type(p).__module__ for p in (Heart(), Circles(), points())} | {
        cls.__module__ for cls in floors.ALL.values()
    }
    imported = {
        value.__module__ if hasattr(value, "__module__") else value.__name__
        for module in used
        for value in vars(sys.modules[module]).values()
        if str(getattr(value, "__module__", getattr(value, "__name__", ""))).startswith("toy_score.")
    }
    rooms = {name.removesuffix(".py") for name in floor_cache.SOURCES}
    assert {module.split(".")[1] for module in imported} <= rooms


@pytest.mark.parametrize("damage", ["cut", "digit", "empty", "other key", "binary", "folder"])
def test_a_damaged_or_foreign_entry_is_measured_anew_and_replaced(damage, folder, measured):
    ask()
    (entry,) = folder.iterdir()
    whole = entry.read_bytes()
    if damage == "other key":
        ask(SplitNormal())
        other = next(path for path in folder.iterdir() if path != entry)
        os.replace(other, entry)
    elif damage == "folder":
        entry.unlink()
        entry.mkdir()
    else:
        digit = whole.replace(b"[1.0, 0.1]", b"[1.0, 0.2]")
        change = {"cut": whole[:-5], "digit": digit, "empty": b"", "binary": b"\xff\xfe\x00"}
        entry.write_bytes(change[damage])
        assert change[damage] != whole
    n = len(measured)
    assert ask() == n + 1.0
    if damage != "folder":
        assert ask() == n + 1.0
        assert [path for path in folder.iterdir() if path.suffix != ".json"] == []


def test_a_class_of_ones_own_is_always_measured(folder, measured):
    @dataclasses.dataclass(frozen=True)
    class Own(Heart):
        pass

    for p in (Own(), Own().conditioned_on(0)):
        assert ask(p) < ask(p)
    assert not folder.exists()


def test_nothing_is_kept_where_nothing_can_be_or_shall_be(folder, measured, monkeypatch):
    folder.parent.joinpath("floors").write_text("a file where the folder should be")
    assert (ask(), ask()) == (1.0, 2.0)
    monkeypatch.setenv("TOY_SCORE_CACHE", "off")
    assert (ask(), ask()) == (3.0, 4.0)


def test_the_users_cache_folder_is_the_default(tmp_path, measured, monkeypatch):
    monkeypatch.delenv("TOY_SCORE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    ask()
    (entry,) = (tmp_path / "caches" / "toy_score" / "floors").iterdir()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(floor_cache.Path, "home", lambda: tmp_path)
    assert floor_cache._folder() == tmp_path / ".cache" / "toy_score" / "floors"
    assert json.loads(entry.read_text().partition("\n")[2])["floors"] == {"sliced_w1": [1.0, 0.1]}


def test_an_entry_that_another_process_is_writing_is_left_to_it(folder, measured):
    key = floor_cache.key_of(Heart(), None, n=N, draws=DRAWS, papers=False, classifier=False)
    path = floor_cache._file(folder, key)
    folder.mkdir()
    with floor_cache.locked(path):
        assert ask() == 1.0
        assert not path.exists()
    assert (ask(), ask()) == (2.0, 2.0)


def test_the_tests_keep_floors_in_a_folder_of_their_own():
    assert "toy_score_tests_" in os.environ["TOY_SCORE_CACHE"]
    assert floor_cache._folder().is_relative_to(os.environ["TOY_SCORE_CACHE"])
