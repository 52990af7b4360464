"""Numbers at the edges of their ranges: the last one that is allowed is taken, the first one that is not is refused."""

import dataclasses
import functools
import inspect

import pytest
import torch

import toy_score as ts
from toy_score import EDM, ExactDenoiser, GaussianBridge, GaussianMixture, Heart, LinearObservation, Tilt
from toy_score.component import Component
from toy_score.distributions import EightGaussians
from toy_score.likelihood import ProbabilityFlow
from toy_score.metrics import KernelSteinDiscrepancy
from toy_score.objectives import maps
from toy_score.parameterisations import EDMPreconditioning
from toy_score.samplers import LangevinCorrector
from toy_score.standardisation import Standardisation

NORMAL = GaussianMixture(means=[[0.0, 0.0]], stds=1.0)
DENOISER = ExactDenoiser(Heart(), EDM())
TINY = 1e-3  # above 0
INF = float("inf")


def stein(**arguments):
    return KernelSteinDiscrepancy(Heart(), **arguments)


def tilt(exponents):
    return Tilt([DENOISER] * len(exponents), exponents)


def observe(std=0.1, matrix=((1.0, 0.0),)):
    return LinearObservation(matrix, [0.0] * len(matrix), std)


NEAREST = [
    # What is made, its argument, the nearest values that are refused, and those that are taken.
    (ts.SplitNormal, "shift", [0.0, -TINY], [TINY]),
    (ts.NCSNMixture, "weight", [0.0, 1.0], [TINY, 1 - TINY]),
    (ts.NCSNMixture, "distance", [0.0], [TINY]),
    (ts.AnisotropicGaussians, "n_classes", [0, 7], [1, 6]),
    (ts.Circles, "factor", [0.0, 1.0], [TINY, 1 - TINY]),
    (ts.FractalTree, "jitter", [-TINY, INF], [0.0]),
    (ts.Pinwheel, "radial_std", [0.1], [0.1 + TINY]),
    (functools.partial(GaussianMixture, [[0.0, 0.0]]), "stds", [0.0], [TINY]),
    (functools.partial(GaussianMixture, [[0.0, 0.0]] * 2, 1.0), "weights", [[0.0, 1.0]], [[TINY, 1.0]]),
    (observe, "std", [0.0], [TINY]),
    (observe, "matrix", [((0.0, 0.0),), ((1.0, 0.0),) * 3, ((1.0, 0.0), (0.0, 0.0))], [((0.0, 1.0), (1.0, 0.0))]),
    (ts.VE, "sigma_min", [0.0, 20.0, INF], [TINY]),
    (ts.VE, "sigma_max", [0.01, INF], [0.02]),
    (ts.VE, "n_levels", [1], [2]),
    (ts.VP, "beta_min", [0.0, 20.0], [TINY, 19.9]),
    (ts.VP, "beta_max", [0.1, INF], [0.2]),
    (ts.Cosine, "s", [0.0], [TINY]),
    (ts.Cosine, "sigma_max", [0.01, 1.1e6], [1e6]),
    (ts.DDPM, "beta_min", [0.0, 0.03], [TINY, 0.02]),
    (functools.partial(ts.DDPM, n_steps=2, beta_min=0.5), "beta_max", [1.0, 0.4], [0.5, 0.99]),
    (functools.partial(ts.DDPM, beta_min=0.5, beta_max=0.9), "n_steps", [1], [2]),
    (EDMPreconditioning, "sigma_data", [0.0], [TINY]),
    (ts.LogNormalSigma, "std", [0.0], [TINY]),
    (ts.StableTarget, "n_points", [0], [1]),
    (functools.partial(ts.StableTarget, n_points=6), "every", [0, 4], [1, 6]),
    (ts.AnnealedLangevin, "eps", [0.0], [1e-9]),
    (ts.AnnealedLangevin, "n_levels", [1], [2, None]),
    (ts.AnnealedLangevin, "steps_per_level", [0], [1]),
    (ts.Langevin, "eps", [0.0], [1e-9]),
    (ts.Langevin, "sigma", [0.0], [TINY, None]),
    (ts.DDIM, "eta", [-TINY, 1 + TINY], [0.0, 1.0]),
    (ts.ConsistentAnnealedSampling, "power", [1 - TINY], [1.0]),
    (ts.ConsistentAnnealedSampling, "data_std", [-TINY], [0.0]),
    (ts.Karras, "rho", [0.0], [TINY]),
    (ts.Angular, "scale", [0.0], [TINY]),
    (ts.FeynmanKac, "threshold", [-TINY, 1 + TINY], [0.0, 1.0]),
    (ts.FeynmanKac, "per_sample", [0], [1]),
    (ts.FeynmanKacCorrector, "langevin", [-TINY, 1.0], [0.0, 1 - TINY]),
    (functools.partial(ts.Restart, high=1.0), "low", [0.0, 1.0], [TINY, 1 - TINY]),
    (ts.Restart, "repeats", [-1], [0]),
    (LangevinCorrector, "snr", [0.0, 1.0], [TINY, 1 - TINY]),
    (ts.AdaptiveDormandPrince, "tolerance", [0.0], [1e-9]),
    (ts.EDMStochastic, "S_churn", [-TINY], [0.0]),
    (ts.EDMStochastic, "S_noise", [0.0], [TINY]),
    (functools.partial(ts.EDMStochastic, S_tmax=1.0), "S_tmin", [-TINY, 1 + TINY], [0.0, 1.0]),
    (ts.Heun, "n_steps", [0], [1]),
    (stein, "sigma", [0.0], [TINY]),
    (stein, "n_points", [1, 10_001], [2, 10_000]),
    (functools.partial(GaussianBridge, NORMAL), "sigma", [-TINY, INF], [0.0, TINY]),
    (functools.partial(ProbabilityFlow, DENOISER), "tolerance", [0.0], [1e-9]),
    (tilt, "exponents", [[], [0.0], [1.0, -1.0]], [[TINY], [1.0, -0.5]]),
    (ts.OptimalTransport, "size", [1], [2]),
    (ts.EntropicTransport, "epsilon", [0.0], [TINY]),
    (ts.EntropicTransport, "tolerance", [0.0], [TINY]),
    (ts.EntropicTransport, "size", [1], [2]),
    (ts.DDPMAncestral, "n_steps", [0], [1, None]),
    (ts.Langevin, "n_steps", [0], [1]),
    (LangevinCorrector, "n_steps", [0], [1]),
    (maps.Consistency, "n_steps", [0], [1]),
    (maps.MeanFlow, "n_maps", [0], [1]),
    (maps.TrajectoryDistillation, "n_paths", [0], [1]),
    (maps.TrajectoryDistillation, "n_steps", [0], [1]),
    (maps.TrajectoryDistillation, "to_data", [-TINY, 1 + TINY], [0.0, 1.0]),
    (maps.EvenEnds, "to_data", [-TINY, 1 + TINY], [0.0, 1.0]),
    (ts.EntropicTransport, "max_iterations", [0], [1]),
]


@pytest.mark.parametrize(("make", "name", "refused", "taken"), NEAREST, ids=lambda v: v if isinstance(v, str) else "")
def test_a_number_at_the_edge_of_its_range_is_taken_and_the_next_is_refused(make, name, refused, taken):
    for value in taken:
        make(**{name: value})
    for value in [*refused, *([float("nan")] if all(isinstance(v, float) for v in refused) else [])]:
        with pytest.raises(ValueError, match=r"must|betas|below|between|finite|one of|hold|share"):
            make(**{name: value})


def components(cls=Component):
    """All public components of the package."""
    for subclass in cls.__subclasses__():
        if subclass.__module__.startswith("toy_score.") and not subclass.__name__.startswith("_"):
            yield subclass
        yield from components(subclass)


WITHOUT_END = [(ts.EDMStochastic, "S_tmax"), (ts.Restart, "high")]  # the upper end of a range may be infinite


def test_no_argument_is_infinite_or_no_number():
    """Of every component whose arguments have defaults, those that are real numbers."""
    tried = 0
    for cls in {c for c in components() if dataclasses.is_dataclass(c) and not inspect.isabstract(c)}:
        fields = [f for f in dataclasses.fields(cls) if f.init]
        if any(f.default is f.default_factory is dataclasses.MISSING for f in fields):
            continue
        for name in [f.name for f in fields if type(f.default) is float]:
            for value in (float("nan"),) if (cls, name) in WITHOUT_END else (float("nan"), INF, -INF):
                tried += 1
                with pytest.raises(ValueError, match=name):
                    cls(**{name: value})
    assert tried > 150


@pytest.mark.parametrize(
    ("make", "name"),
    [(stein, "sigma"), (functools.partial(ProbabilityFlow, DENOISER), "tolerance"), (ts.EDMModule, "gradient_clip")],
)
def test_nor_is_an_argument_of_metrics_models_and_likelihoods(make, name):
    for value in (float("nan"), INF):
        with pytest.raises(ValueError, match=f"^{name} must be positive"):
            make(**{name: value})
    with pytest.raises(ValueError, match=r"^rho must be positive and finite, got inf; the paper uses 7$"):
        ts.Karras(rho=INF)
    with pytest.raises(ValueError, match=r"^power must be at least 1 and finite, got inf; 1 is deterministic"):
        ts.ConsistentAnnealedSampling(power=INF)
    with pytest.raises(ValueError, match=r"scale of an axis must be positive and finite, got \[1.0, inf\]"):
        Standardisation([0.0, 0.0], [1.0, INF])


def test_the_first_and_the_last_class_exist_and_none_beyond():
    p = EightGaussians()
    for label in (0, p.n_labels - 1):
        assert p.conditioned_on(label).sample(2, torch.Generator().manual_seed(0)).shape == (2, 2)
    for label in (-1, p.n_labels):
        with pytest.raises(ValueError, match="labels are 0 to"):
            p.conditioned_on(label)


def test_one_sample_is_the_fewest():
    sampler = ts.Heun(n_steps=1)
    assert sampler(DENOISER, 1, torch.Generator().manual_seed(0)).shape == (1, 2)
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        sampler(DENOISER, 0)
