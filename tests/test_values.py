"""What every public component promises as a value; a new one is found by its public name."""

import copy
import dataclasses
import inspect
import io
import pickle

import pytest
import torch
import yaml

import toy_score
from toy_score import (
    VE,
    DDPMAncestral,
    ExactBridge,
    ExactDenoiser,
    ExactFlowMap,
    GaussianBridge,
    GaussianMixture,
    GridDensity,
    Guided,
    Heart,
    Heun,
    Karras,
    LinearObservation,
    LinearReward,
    MixtureBridge,
    Points,
    Posterior,
    Rescheduled,
    Rewarded,
    ScaledScore,
    SplitNormal,
    Standardisation,
    Tilt,
)
from toy_score.component import Component, from_config, to_config

CLASSES = [getattr(toy_score, name) for name in toy_score.__all__ if name != "__version__"]
CLASSES = [c for c in CLASSES if isinstance(c, type) and issubclass(c, Component) and not inspect.isabstract(c)]

EXACT = ExactDenoiser(Heart(), VE())
FIRST = LinearObservation([[1.0, 0.0]], [1.0], 0.3)
ARGUMENTS = {
    ExactDenoiser: (Heart(), VE()),
    ExactFlowMap: (Heart(), VE()),
    ExactBridge: (Heart(), GaussianMixture([[0.0, 1.0]], 0.5)),
    GaussianBridge: (GaussianMixture([[0.0, 1.0]], 0.5),),
    MixtureBridge: (GaussianMixture([[-2.0, 0.0], [2.0, 0.0]], 0.5), GaussianMixture([[0.0, 0.0]], 1.0)),
    GridDensity: ([Heart(), SplitNormal()], [2.0, -1.0]),
    LinearObservation: ([[1.0, 0.0]], [1.0], 0.3),
    LinearReward: ([1.0, -0.5],),
    Posterior: (EXACT, FIRST),
    Rewarded: (EXACT, LinearReward([1.0, -0.5])),
    ScaledScore: (EXACT, 0.5),
    Tilt: ([EXACT, ExactDenoiser(SplitNormal(), VE())], [2.0, -1.0]),
    GaussianMixture: ([[0.0, 1.0], [2.0, 0.0]], [0.2, 0.3]),
    Guided: (ExactDenoiser(Heart(), VE()), ExactDenoiser(SplitNormal(), VE()), 2.0),
    Points: (torch.tensor([[0.0, 1.0], [2.0, 0.5]]), torch.tensor([0, 1]), ["a", "b"]),
    Rescheduled: (ExactDenoiser(Heart(), VE()), VE(0.1, 1.0)),
    Standardisation: ([0.0, 1.0], [2.0, 3.0]),
}
"""Of the classes that need arguments."""

every = pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
described = pytest.mark.parametrize("cls", [c for c in CLASSES if c is not Points], ids=lambda c: c.__name__)
"""The points of a set are no plain values: they are described by the path of their file, in the data module."""


def made(cls):
    return cls(*ARGUMENTS.get(cls, ()))


@every
def test_a_component_is_a_frozen_dataclass(cls):
    component = made(cls)
    assert cls.__dataclass_params__.frozen
    for name in ["new", *(field.name for field in dataclasses.fields(cls))]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(component, name, 1)


@every
def test_a_component_is_equal_and_hashed_by_value(cls):
    first, second = made(cls), made(cls)
    assert first == second
    assert {first: "found"}[second] == "found"
    assert len({first, second}) == 1
    assert first != "another"
    assert repr(first) == repr(second)


@every
def test_a_component_survives_pickle_copy_and_replace(cls):
    component = made(cls)
    for twin in (
        pickle.loads(pickle.dumps(component)),
        copy.copy(component),
        copy.deepcopy(component),
        dataclasses.replace(component),
    ):
        assert type(twin) is cls
        assert twin == component
        assert hash(twin) == hash(component)


@described
def test_a_component_survives_a_checkpoint_and_yaml(cls):
    component = made(cls)
    file = io.BytesIO()
    torch.save(to_config(component), file)
    file.seek(0)
    for description in (torch.load(file, weights_only=True), yaml.safe_load(yaml.safe_dump(to_config(component)))):
        twin = from_config(description)
        assert twin == component
        assert hash(twin) == hash(component)
        assert to_config(twin) == to_config(component)


@pytest.mark.parametrize(
    ("component", "changes"),
    [
        (Heun(), {"n_steps": 5}),
        (Karras(), {"rho": 3.0}),
        (DDPMAncestral(), {"n_steps": 7}),
        (SplitNormal(), {"shift": 2.0}),
    ],
    ids=repr,
)
def test_a_variant_differs_and_leaves_the_original(component, changes):
    before = repr(component)
    variant = dataclasses.replace(component, **changes)
    assert variant != component
    assert vars(variant).items() >= changes.items()
    assert repr(component) == before


def test_a_replaced_argument_is_checked_and_derived_values_are_computed_again():
    with pytest.raises(ValueError, match="shift must be positive"):
        dataclasses.replace(SplitNormal(), shift=-1.0)
    x = torch.tensor([[1.5, 0.0]])
    assert torch.equal(
        dataclasses.replace(SplitNormal(), shift=2.0).log_prob(x, 0.5), SplitNormal(2.0).log_prob(x, 0.5)
    )


def test_one_class_of_a_distribution_is_a_value_too():
    p = Heart()
    assert {p.conditioned_on(0): 1}[Heart().conditioned_on(0)] == 1
    assert p.conditioned_on(0) != p.conditioned_on(1)
    assert pickle.loads(pickle.dumps(p.conditioned_on(1))) == p.conditioned_on(1)
