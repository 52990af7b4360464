"""What the page needs of distributions, networks and samplers, as plain values.

Five families of closed forms hold all distributions of the package. A distribution becomes the numbers of its family;
schedules, parameterisations, grids and samplers become the descriptions that checkpoints have (`to_config`).
"""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toy_score.backbones import MLP, Fourier, PotentialMLP, Raw
from toy_score.component import to_config
from toy_score.denoisers import Denoiser, NetworkDenoiser
from toy_score.distributions import Distribution, HalfPlaneGaussians, Points
from toy_score.distributions.boxes import UniformBoxes
from toy_score.distributions.mixtures import Gaussians
from toy_score.distributions.rings import ConcentricRings
from toy_score.parameterisations import (
    DataPrediction,
    EDMPreconditioning,
    Energy,
    FlowPrediction,
    LogSigma,
    NoisePrediction,
    ScorePrediction,
    Sigma,
    Time,
    VelocityPrediction,
)
from toy_score.samplers import (
    DDIM,
    SRA1,
    AdamsBashforth,
    Angular,
    AnnealedLangevin,
    DDPMAncestral,
    DormandPrince,
    DPMSolver2M,
    EDMStochastic,
    Euler,
    EulerMaruyama,
    ExponentialAdams,
    Geometric,
    Heun,
    Karras,
    ReverseDiffusion,
    RungeKutta4,
    StochasticMidpoint,
    Trailing,
    Uniform,
)
from toy_score.schedules import DDPM, EDM, VE, VP, Cosine, LinearFlow, Schedule, SubVP

__all__ = ["GRIDS", "PARAMETERISATIONS", "SAMPLERS", "SCHEDULES", "describe", "export_distribution", "export_network"]

SCHEDULES = (VE, EDM, LinearFlow, VP, SubVP, Cosine, DDPM)
PARAMETERISATIONS = (
    ScorePrediction,
    NoisePrediction,
    DataPrediction,
    VelocityPrediction,
    FlowPrediction,
    EDMPreconditioning,
    Energy,
)
CONDITIONINGS = (Sigma, Time, LogSigma)
EMBEDDINGS = (Raw, Fourier)
GRIDS = (Karras, Angular, Geometric, Uniform, Trailing)
SAMPLERS = (
    RungeKutta4,
    Heun,
    Euler,
    DormandPrince,
    AdamsBashforth,
    DPMSolver2M,
    ExponentialAdams,
    DDIM,
    DDPMAncestral,
    EulerMaruyama,
    ReverseDiffusion,
    EDMStochastic,
    StochasticMidpoint,
    SRA1,
    AnnealedLangevin,
)
"""What the JavaScript has, under the same names."""


def describe(component: object, offered: tuple[type, ...], kind: str) -> dict[str, Any]:
    """`{"class_path": ..., "init_args": ...}` of a component that the page has, too.

    Raises:
        ValueError: for one of another class.
    """
    if type(component) not in offered:
        names = ", ".join(cls.__name__ for cls in offered)
        raise ValueError(f"the page has no {kind} {type(component).__name__}; it has {names}")
    described: dict[str, Any] = to_config(component)
    return described


def export_distribution(p: Distribution, label: str = "") -> dict[str, Any]:
    """The family of a distribution and its numbers, each array as base64 of little-endian float64.

    Args:
        label: what the page calls it; its name if empty.

    Raises:
        ValueError: for a distribution of none of the families.
    """
    family, numbers = _family(p)
    return {
        "label": label or p.name.replace("_", " "),
        "family": family,
        "bounds": p.bounds,
        **{name: value if isinstance(value, float) else _encoded(value, "<f8") for name, value in numbers.items()},
    }


def _family(p: Distribution) -> tuple[str, dict[str, Any]]:
    for base, family in FAMILIES:
        if isinstance(p, base):
            return family(p)
    raise ValueError(
        f"the page has no formulas for {p!r}; it has Gaussian mixtures, half-planes, boxes, rings and points"
    )


def _gaussians(p: Gaussians) -> tuple[str, dict[str, Any]]:
    mixture = p.mixture()
    w = torch.ones(len(mixture.means)) if mixture.weights is None else mixture.weights
    numbers = {"mean": mixture.means, "covariance": _triangle(mixture.covariances), "weight": w.double() / w.sum()}
    return "gaussians", numbers


def _half_planes(p: HalfPlaneGaussians) -> tuple[str, dict[str, Any]]:
    mu, S, a, c, w = (torch.tensor(values, dtype=torch.float64) for values in p.parts())
    return "halfPlanes", {"mean": mu, "covariance": _triangle(S), "normal": a, "edge": c, "weight": w}


def _boxes(p: UniformBoxes) -> tuple[str, dict[str, Any]]:
    middles, half = p.boxes()
    return "boxes", {"mean": middles, "half": float(half)}


def _rings(p: ConcentricRings) -> tuple[str, dict[str, Any]]:
    radii, std, _ = p.rings()
    return "rings", {"radius": radii, "std": float(std)}


def _points(p: Points) -> tuple[str, dict[str, Any]]:
    return "points", {"mean": p.points}


FAMILIES: tuple[tuple[type, Callable[[Any], tuple[str, dict[str, Any]]]], ...] = (
    (Gaussians, _gaussians),
    (HalfPlaneGaussians, _half_planes),
    (UniformBoxes, _boxes),
    (ConcentricRings, _rings),
    (Points, _points),
)


def _triangle(S: Tensor) -> Tensor:
    """`(K, 2, 2)` to the three different entries, `(K, 3)`."""
    return torch.stack([S[:, 0, 0], S[:, 0, 1], S[:, 1, 1]], dim=-1)


def export_network(denoiser: Denoiser) -> dict[str, Any]:
    """A network: its parts by name, and its weights, layer by layer, as base64 of little-endian float32.

    A class label adds a vector to the first layer, which comes last.

    Raises:
        ValueError: for a denoiser that the page cannot evaluate.
    """
    if not isinstance(denoiser, NetworkDenoiser):
        raise ValueError("the page shows one network; leave out the guidance: train or choose a model without a guide")
    if denoiser.source is not None:
        raise ValueError("the page shows models that remove Gaussian noise; a bridge begins at points of a source")
    mlp = denoiser.backbone
    if not isinstance(mlp, MLP) or type(mlp) not in (MLP, PotentialMLP):
        raise ValueError(f"the page has no backbone {type(mlp).__name__}; it has MLP")
    parameters = [values for layer in mlp.layers for values in (layer.weight, layer.bias)]
    if mlp.edges:
        parameters += [mlp.lines.weight, mlp.lines.bias, mlp.from_lines.weight]
        parameters += [mlp.shifts] if isinstance(mlp, PotentialMLP) else []
    if denoiser.labels is not None:
        parameters += [mlp.label_vectors.weight[denoiser.labels[0]]]
    weights = [values.detach().flatten() for values in parameters]
    return {
        "schedule": export_schedule(denoiser.schedule),
        "parameterisation": describe(denoiser.parameterisation, PARAMETERISATIONS, "parameterisation"),
        "conditioning": describe(denoiser.conditioning, CONDITIONINGS, "conditioning"),
        "backbone": {
            "widths": [2 + mlp.embedding.n_features, *mlp.hidden, 2],
            "edges": mlp.edges,
            "edge_shape": mlp.edge_shape,
            "potential": isinstance(mlp, PotentialMLP),
            "labelled": denoiser.labels is not None,
            "activation": mlp.activation,
            "embedding": describe(mlp.embedding, EMBEDDINGS, "embedding"),
        },
        "weights": _encoded(torch.cat(weights).cpu(), "<f4"),
    }


def export_schedule(schedule: Schedule) -> dict[str, Any]:
    """A schedule by its name and arguments.

    Raises:
        ValueError: for one that the page does not have.
    """
    return describe(schedule, SCHEDULES, "schedule")


def _encoded(values: Any, dtype: str) -> str:
    numbers = np.asarray(values.numpy() if isinstance(values, Tensor) else values)
    return b64encode(numbers.astype(dtype).tobytes()).decode()
