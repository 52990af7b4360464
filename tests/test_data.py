"""What a run sees is decided by seeds and numbers, not by history."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

import toy_score.data
from toy_score.catalog import entries
from toy_score.component import from_config, to_config
from toy_score.data import GaussianGridDataModule, HeartDataModule, SplitNormalDataModule, ToyDataModule
from toy_score.data.base import SampleRequests
from toy_score.requests import chunk_size

MODULES = [HeartDataModule, SplitNormalDataModule]


def test_every_distribution_has_its_data_module():
    names = {entry.name.split("(")[0] for entry in entries("distributions")} - {"GridDensity", "Points"}
    assert all(hasattr(toy_score.data, f"{name}DataModule") for name in names)


def test_a_data_module_has_the_arguments_of_its_distribution_then_the_common_ones():
    data = GaussianGridDataModule(3, std=0.1, n_train=100)
    assert repr(data.distribution) == "GaussianGrid(side=3, spacing=2.0, std=0.1, scale=1.0)"
    assert (data.side, data.std, data.n_train, data.batch_size) == (3, 0.1, 100, 1024)
    described = to_config(data)
    assert described["class_path"] == "toy_score.GaussianGridDataModule"
    assert list(described["init_args"])[:5] == ["side", "spacing", "std", "scale", "n_train"]
    assert to_config(from_config(described)) == described
    with pytest.raises(TypeError, match="stdd"):
        GaussianGridDataModule(stdd=0.1)


def test_a_distribution_whose_arguments_clash_with_the_data_modules_is_refused():
    @dataclass(frozen=True)
    class Clash(toy_score.distributions.Gaussians):
        labels: int = 2

    with pytest.raises(TypeError, match="Clash and ToyDataModule both have an argument 'labels'"):

        class ClashDataModule(ToyDataModule, of=Clash):
            pass


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("fresh", [True, False])
def test_batch_k_is_a_function_of_k_alone(module, fresh):
    settings = {"n_train": 1000, "batch_size": 128, "fresh": fresh}
    one, other = module(**settings), module(**settings)
    for k in (17, 3, 9, 17):
        assert torch.equal(one.batch(k).x, other.batch(k).x)
    assert not torch.equal(one.batch(0).x, one.batch(8).x)
    assert not torch.equal(one.batch(0).x, module(**settings, data_seed=1).batch(0).x)


def test_an_epoch_over_a_fixed_set_holds_every_point_once():
    data = HeartDataModule(n_train=1000, batch_size=128, fresh=False)
    epochs = [torch.cat([data.batch(8 * epoch + k).x for k in range(8)]) for epoch in range(2)]
    assert [len(e) for e in epochs] == [1000, 1000]
    assert not torch.equal(*epochs)
    assert torch.equal(*(e[e[:, 0].argsort()] for e in epochs))


def test_fresh_points_never_come_twice():
    data = HeartDataModule(n_train=256, batch_size=128, fresh=True)
    points = torch.cat([data.batch(k).x for k in range(8)])
    assert len(points.unique(dim=0)) == 8 * 128


def test_a_loader_continues_where_it_was_interrupted():
    data = HeartDataModule(n_train=1000, batch_size=128, fresh=False, steps_at_once=3)
    whole = data.train_dataloader()
    assert len(whole) == 3
    whole = [*whole, *whole]
    assert [len(group) for group in whole] == [3, 3, 2] * 2
    loader = data.train_dataloader()
    begun = iter(loader)
    seen = [next(begun), next(begun)]
    resumed = data.train_dataloader()
    resumed.load_state_dict(loader.state_dict())
    again = [*seen, *resumed, *resumed]

    def rows(groups):
        return [torch.cat([x for x, _ in group]) for group in groups]

    assert all(torch.equal(a, b) for a, b in zip(rows(whole), rows(again), strict=True))


def test_training_noise_and_training_points_are_independent():
    """Streams that share a seed would be the same numbers; correlation below 5 / sqrt(n): false alarm 6e-7."""
    from toy_score.seeds import seed_of

    n = 100_000
    points = HeartDataModule(batch_size=n, n_train=n).batch(0).x
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed_of("training noise", 0, 0, 0)))
    for shift in (0, 1, 2):
        products = points[shift:] * noise[: n - shift]
        assert (products.mean(0).abs() < 5 * products.std(0) / n**0.5).all()


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("total", [1, 4096, 20_000, 1_000_001])
def test_requests_cover_every_row_once(total, device):
    device = torch.device(device)
    requests = SampleRequests(total, seeds=[0], device=device)
    rows = [(r.first, r.n) for r in (requests[i] for i in range(len(requests)))]
    assert sum(n for _, n in rows) == total
    assert [first for first, _ in rows] == [chunk_size(total, device) * i for i in range(len(requests))]


@pytest.mark.parametrize(("device", "sizes"), [("cpu", [4096] * 4 + [3616]), ("meta", [20_000])])
def test_every_request_is_of_whole_blocks_of_the_device_that_the_trainer_has(device, sizes):
    """So a GPU draws no noise of a block twice."""
    data = HeartDataModule(n_samples=20_000)
    data.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device(device)))
    for loader, draws in ((data.predict_dataloader(), 1), (data.test_dataloader(), data.repeats)):
        assert [request.n for request in loader] == sizes * draws


def test_requests_of_several_draws_differ_by_their_seed_alone():
    one, three = SampleRequests(20_000, [7]), SampleRequests(20_000, [7, 8, 9])
    asked = [three[i] for i in range(len(three))]
    assert asked[: len(one)] == [one[i] for i in range(len(one))]
    assert [(r.first, r.n) for r in asked] == 3 * [(r.first, r.n) for r in asked[: len(one)]]
    assert [r.seed for r in asked[:: len(one)]] == [7, 8, 9]


def test_points_that_are_nan_are_named(monkeypatch):
    data = HeartDataModule(n_train=10, batch_size=10)
    monkeypatch.setattr(
        toy_score.Heart, "sample_labelled", lambda self, n, generator: (torch.full((n, 2), torch.nan), None)
    )
    with pytest.raises(ValueError, match="point 0 of the data is \\[nan, nan\\]"):
        data.batch(0)


@pytest.mark.parametrize("name", ["n_train", "batch_size", "n_val", "n_samples", "repeats"])
def test_numbers_below_one_are_refused_by_name(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        HeartDataModule(**{name: 0})


@pytest.mark.parametrize("fresh", [True, False])
def test_labels_come_with_the_points_and_do_not_change_them(fresh):
    plain = HeartDataModule(n_train=500, batch_size=128, fresh=fresh)
    labelled = HeartDataModule(n_train=500, batch_size=128, fresh=fresh, labels=True)
    for k in (0, 5):
        x, labels = labelled.batch(k)
        assert torch.equal(x, plain.batch(k).x)
        assert torch.equal(labels, (x[:, 0] > 0).long())
    assert plain.batch(0).labels is None
