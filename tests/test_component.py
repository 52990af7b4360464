"""Components are what their plain-value description says, in both directions."""

import functools

import pytest
import torch

import toy_score
from toy_score import (
    DDPM,
    MLP,
    VE,
    AllLevels,
    AnnealedLangevin,
    BridgeSDE,
    ConditionalFlowMatching,
    Consistency,
    DataPrediction,
    DDPMAncestral,
    DenoisingScoreMatching,
    EDMPreconditioning,
    EntropicTransport,
    Eulerian,
    EvenEnds,
    ExactBridge,
    ExactDenoiser,
    ExactFlowMap,
    Fourier,
    GaussianBridge,
    GaussianMixture,
    Heart,
    Heun,
    IndependentCoupling,
    Karras,
    Lagrangian,
    Langevin,
    LinearFlow,
    LinearObservation,
    LogSigma,
    MapRegression,
    MapSteps,
    MeanFlow,
    Moons,
    NoisePrediction,
    OptimalTransport,
    Progressive,
    RandomLevels,
    Raw,
    ScoreAndFlowMatching,
    ScorePrediction,
    Sigma,
    SplitNormal,
    Time,
    Trailing,
    TrajectoryDistillation,
    UniformAngles,
    UniformTimes,
    WarmupCosine,
)
from toy_score.component import check_config, defaults, from_config, to_config

COMPONENTS = [
    Heart(),
    SplitNormal(shift=0.5),
    VE(0.02, 7.0, 12),
    DDPM(1e-3, 0.1, 100),
    Raw(),
    Fourier(3, 2.0),
    ScorePrediction(),
    NoisePrediction(),
    DataPrediction(),
    EDMPreconditioning(0.7),
    Sigma(),
    Time(),
    LogSigma(),
    AllLevels(),
    RandomLevels(),
    UniformTimes(),
    DenoisingScoreMatching(),
    AnnealedLangevin(5, 2e-4, 7, 1.5),
    Langevin(10, 1e-3, 0.3),
    DDPMAncestral("forward", 50),
    Heun(7, Karras(5.0)),
    WarmupCosine(0.2, 0.1),
    ExactDenoiser(Heart(), VE()),
    ExactFlowMap(Heart(), VE(), 1e-6),
    MapSteps(4, 0.5, Karras(5.0)),
    UniformAngles(0.4, 0.2),
    EvenEnds(0.4, 0.2),
    Consistency(n_steps=32, distill=True),
    Eulerian(ends=EvenEnds(to_data=1.0)),
    Lagrangian(),
    MeanFlow(),
    Progressive(starts=UniformAngles(from_noise=0.5)),
    MapRegression(n_paths=100),
    TrajectoryDistillation(n_paths=16),
    LinearObservation([[1.0, 0.0]], [1.0], 0.3),
    IndependentCoupling(),
    OptimalTransport(128),
    EntropicTransport(0.5, 64, 1e-4, 500),
    ExactBridge(Heart(), Moons(), LinearFlow(1e-3, 1e3)),
    GaussianBridge(GaussianMixture([[1.0, 2.0]], 0.5), sigma=0.3),
    ConditionalFlowMatching(),
    ScoreAndFlowMatching(0.5),
    BridgeSDE(20, Trailing()),
]


@pytest.mark.parametrize("component", COMPONENTS, ids=repr)
def test_a_component_equals_the_one_built_from_its_description(component):
    config = to_config(component)
    assert_plain(config)
    assert from_config(config) == component
    assert eval(repr(component), vars(toy_score) | {n: getattr(toy_score, n) for n in toy_score.__all__}) == component
    check_config(config)


def assert_plain(value):
    if isinstance(value, dict):
        assert all(isinstance(key, str) for key in value)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            assert_plain(item)
    else:
        assert value is None or type(value) in (bool, int, float, str)


def test_every_public_name_can_be_imported():
    for name in toy_score.__all__:
        assert getattr(toy_score, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = toy_score.Nothing


def test_a_network_and_an_optimizer_are_described_too():
    net = from_config(to_config(MLP((8, 9), "tanh", Fourier(2))))
    assert (net.hidden, net.activation, net.embedding) == ((8, 9), "tanh", Fourier(2))
    optimizer = from_config(to_config(functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)))
    assert isinstance(optimizer, functools.partial)
    assert optimizer.func is torch.optim.SGD
    assert optimizer.keywords == {"lr": 0.1, "momentum": 0.9}


@pytest.mark.parametrize("argument", [{"hidden": [128, 10**30]}, {"n_labels": -(10**30)}])
def test_whole_numbers_beyond_64_bits_are_refused_by_their_place(argument):
    (name,) = argument
    with pytest.raises(ValueError, match=rf"model.backbone.{name}.* must be a whole number of 64 bits, got -?10+$"):
        check_config({"class_path": "toy_score.MLP", "init_args": argument}, where="model.backbone")


def test_foreign_classes_are_refused_before_they_are_imported(tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for config in (
        {"class_path": "evil.Sampler"},
        {"class_path": "toy_score.Heun", "init_args": {"grid": {"class_path": "evil.Grid"}}},
    ):
        with pytest.raises(ValueError, match="refusing the class path"):
            check_config(config)
    with pytest.raises(ValueError, match="refusing the class path"):
        from_config({"class_path": "evil.Sampler"})
    with pytest.raises(ValueError, match=r"no class 'toy_score\.Gone'"):
        from_config({"class_path": "toy_score.Gone"})


def test_objects_without_a_plain_description_are_refused():
    with pytest.raises(TypeError, match="cannot be described by plain values"):
        to_config(object())


BUILT = [name for name in toy_score.__all__ if name.endswith("Module")]
REQUIRED = {
    "DistributionDataModule": {"distribution": to_config(toy_score.Heart())},
    "GaussianMixtureDataModule": {"means": [[0.0, 1.0]], "stds": 0.5},
    "ScoreModule": {
        name: to_config(value)
        for name, value in {
            "schedule": VE(),
            "parameterisation": NoisePrediction(),
            "conditioning": Sigma(),
            "times": UniformTimes(),
            "sampler": Heun(),
        }.items()
    },
}


@pytest.mark.parametrize("name", BUILT)
def test_the_defaults_of_a_module_describe_what_it_is_without_arguments(name):
    cls = getattr(toy_score, name)
    required = REQUIRED.get(name, {})
    described = defaults(cls)
    assert_plain(described)
    described["init_args"] |= required
    check_config(described)
    built = cls(**{name: from_config(value) for name, value in required.items()})
    assert to_config(from_config(described)) == to_config(built) == described


def test_network_and_optimizer_of_a_model_are_visible_defaults():
    arguments = defaults(toy_score.EDMModule)["init_args"]
    assert arguments["backbone"] == to_config(MLP())
    assert arguments["optimizer"] == {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.01, "fused": True}}
    first, second = toy_score.EDMModule(), toy_score.EDMModule()
    assert first.backbone is not second.backbone
