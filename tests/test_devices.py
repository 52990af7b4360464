"""What a GPU asks of the code, tested where there is none.

Tensors on torch's `meta` device hold no numbers. Mixed with tensors of the CPU they raise, as a GPU's do, and nothing
can be read back from them: what works there never lets the host wait for the device.
"""

import dataclasses
import inspect
import itertools
import reprlib
from types import SimpleNamespace

import pytest
import torch
from torch.overrides import TorchFunctionMode

import toy_score
from toy_score import objectives
from toy_score.catalog import entries
from toy_score.data import HeartDataModule
from toy_score.denoisers import ExactDenoiser, Guided
from toy_score.distributions import Heart
from toy_score.samplers import MapSteps, Sampler

META = torch.device("meta")
GENERATOR = SimpleNamespace(device=META)  # torch makes none for this device


def made(kind):
    """One of each of a kind that needs no arguments."""
    classes = [getattr(toy_score, entry.name.split("(")[0]) for entry in entries(kind)]
    return [of() for of in classes if not any(map(is_required, inspect.signature(of).parameters.values()))]


def is_required(parameter):
    return parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is parameter.empty


MODELS = made("modules")
DISTRIBUTIONS = made("distributions")
ASKS = toy_score.AdaptiveDormandPrince  # which rows have arrived
FEW = {"n_steps": 6, "n_levels": 4, "steps_per_level": 2}  # every step does what the first ones do


def short(sampler):
    """The sampler with few steps, as a predictor within another too."""
    fields = {field.name: getattr(sampler, field.name) for field in dataclasses.fields(sampler)}
    few = {name: FEW[name] for name in fields.keys() & FEW.keys()}
    return dataclasses.replace(
        sampler, **few, **{name: short(part) for name, part in fields.items() if isinstance(part, Sampler)}
    )


SAMPLERS = [short(sampler) for sampler in made("samplers") if not isinstance(sampler, ASKS)]
KINDS = {"Heun", "EulerMaruyama", "DDPMAncestral"}


def can_use(sampler, denoiser):
    """Whether the sampler does not refuse the denoiser."""
    try:
        sampler.check(denoiser)
    except ValueError:
        return False
    return True


NOISE = [model for model in MODELS if model.denoiser.source is None]  # those that remove Gaussian noise
WALKS = [
    *((sampler, model) for sampler, model in zip(SAMPLERS, itertools.cycle(NOISE)) if can_use(sampler, model.denoiser)),
    (MapSteps(n_steps=3), toy_score.FlowMapModule()),
    (toy_score.BridgeSDE(n_steps=3), toy_score.SchrodingerBridgeModule()),
    *(
        (short(kind()), module)
        for kind in (toy_score.Heun, toy_score.EulerMaruyama, toy_score.DDPMAncestral)
        for module in MODELS
        if can_use(kind(), module.denoiser)
    ),
]
"""Every sampler with one model, and every model with a solver of the flow, one of the SDE and an ancestral sampler."""
OF_BRIDGES = {"ConditionalFlowMatching", "ScoreAndFlowMatching"}
model = pytest.mark.parametrize("module", MODELS, ids=lambda m: m.name)


class Elsewhere(TorchFunctionMode):
    """Refuses what makes the host wait until the device has done all that it was given: to send it something, and see
    that it has arrived."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        sends = func is torch.Tensor.to and args[0].device != META and not kwargs.get("non_blocking")
        if (sends or func in (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor)) and result.device == META:
            raise AssertionError(f"the host sends {reprlib.repr(args[0])} and waits until it has arrived")
        return result


def without_generator(law):
    return lambda *args, generator=None, **kwargs: law(*args, **kwargs)


class Noise:
    """As much of a `NoiseStream` as there can be."""

    def normal(self):
        return torch.randn(64, 2, device=META)

    uniform = normal


def test_a_number_that_is_sent_to_the_device_is_detected():
    with Elsewhere(), pytest.raises(AssertionError, match="the host sends"):
        torch.as_tensor(0.5, device=META)
    with Elsewhere(), pytest.raises(AssertionError, match="the host sends"):
        torch.zeros(3).to(META)


@pytest.mark.parametrize(("sampler", "module"), WALKS, ids=lambda part: type(part).__name__)
def test_a_walk_stays_on_the_device_and_never_waits_for_it(sampler, module):
    denoiser = module.to(META).denoiser
    with Elsewhere():
        start = sampler.start(denoiser.schedule, Noise())
        assert sampler.walk(denoiser, start, Noise()).device == META


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("each", [False, True], ids=["one level", "a level for each"])
def test_exact_scores_are_computed_on_the_device(distribution, each):
    x = torch.randn(50, 2, device=META)
    sigma = torch.rand(50, 1, device=META) if each else 0.5
    distribution.score(x, sigma)  # its constants are sent once
    with Elsewhere():
        for answer in (distribution.score(x, sigma), distribution.denoise(x, sigma), distribution.log_prob(x, sigma)):
            assert answer.device == META
            assert len(answer) == 50


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (module, name)
        for name in objectives.__all__
        if name.endswith("Matching")
        for module in MODELS
        if (module.denoiser.source is not None) == (name in OF_BRIDGES)
        and (name != "ScoreAndFlowMatching" or isinstance(module, toy_score.SchrodingerBridgeModule))
    ],
    ids=lambda part: part if isinstance(part, str) else part.name,
)
def test_a_step_of_training_stays_on_the_device_and_never_waits_for_it(name, module, monkeypatch):
    for law in ("rand", "randn", "randint"):
        monkeypatch.setattr(torch, law, without_generator(getattr(torch, law)))
    x0, truth = torch.randn(32, 2, device=META), ExactDenoiser(Heart(), module.schedule)
    denoiser = module.to(META).denoiser
    truth.denoise(x0, 0.5)  # its constants are sent once
    with Elsewhere():
        t = module.times(len(x0), module.schedule, GENERATOR)
        context = objectives.Context(x0, t, GENERATOR, x0.flip(0) if name in OF_BRIDGES else None, truth)
        getattr(objectives, name)()(denoiser, context).mean().backward()
    assert all(p.grad.device == META for p in module.backbone.parameters())


@pytest.mark.parametrize("fresh", [True, False])
def test_a_batch_is_sent_without_waiting(fresh):
    data = HeartDataModule(batch_size=8, n_train=64, fresh=fresh, labels=True)
    data.batch(0, META)  # a fixed set is sent once
    with Elsewhere():
        for k in range(8):
            x0, labels = data.batch(k, META)
            assert x0.device == labels.device == META


def test_guidance_stays_on_the_device():
    strong, weak = (m.to(META).denoiser for m in NOISE[:2])
    with Elsewhere():
        assert toy_score.Heun(4).walk(Guided(strong, weak, 2.0), Noise().normal(), Noise()).device == META
