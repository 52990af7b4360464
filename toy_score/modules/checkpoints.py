"""Checkpoints: plain values and tensors that describe a model and its data completely."""

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from toy_score.checks import check_extent
from toy_score.component import check_config, from_config, to_config
from toy_score.data import KnownData, ToyDataModule
from toy_score.standardisation import Standardisation
from toy_score.version import __version__

VERSIONS = ("toy_score_version", "pytorch-lightning_version")
PARTS: dict[str, type] = dict.fromkeys(VERSIONS, str) | {"state_dict": dict, "global_step": int, "loops": dict}
"""What every checkpoint has; what a training needs to go on, `fit` checks."""
VERSION = re.compile(r"\d{1,6}\.\d{1,6}([.+a-z].*)?")

__all__ = ["check_weights", "known_data", "model_of", "read_checkpoint", "trained_units"]


def model_of(checkpoint: dict[str, Any], expected: type, path: str, arguments: dict[str, Any]) -> Any:
    """The model that a checkpoint describes, still without its weights, which fit it.

    Args:
        checkpoint: the contents of a checkpoint, as `read_checkpoint` returns them.
        expected: a base class of all models.
        path: of the checkpoint, for messages.
        arguments: constructor arguments that replace those of the checkpoint.

    Raises:
        ValueError: as `component.check_config` says; if its samples need a guide and `arguments` names none; for
            another `standardisation` than that of the training; or if the weights do not fit the model.
    """
    config: Any = checkpoint.get("hyper_parameters")  # checked next
    arguments = dict(arguments)
    check_config(config, expected, "model")
    trained_units(config, arguments.pop("standardisation", None))
    init_args = {**(config.get("init_args") or {}), **{name: to_config(value) for name, value in arguments.items()}}
    module = from_config({**config, "init_args": init_args}, expected, "model")
    if module.guide is not None and module.guidance != 1 and "guide" not in arguments:
        raise ValueError(
            f"{path!r} names the guide {module.guide!r}, and a path in a checkpoint is not opened "
            f"unasked: name it again, as guide={module.guide!r} in Python or among the models of compare"
        )
    check_weights(module, checkpoint["state_dict"])
    return module


def known_data(checkpoint: dict[str, Any]) -> KnownData | None:
    """The exact distribution that a checkpoint says its model was trained on; None for points, and if it says none."""
    described: Any = checkpoint.get("datamodule_hyper_parameters")
    try:
        check_config(described, ToyDataModule, "data")
        data = from_config(described, ToyDataModule, "data")
        return KnownData(data.distribution, source=type(data).__name__)
    except (ValueError, RuntimeError):  # a class that is not imported; points that have not been read
        return None


def check_weights(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Check that the weights of a checkpoint fit a model, name by name and shape by shape.

    Raises:
        ValueError: if they do not.
    """
    own = module.state_dict()
    if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in own.items()}:
        name = type(module.backbone).__name__
        missing = next((f", without {key!r}" for key in own if key not in weights), "")
        more = next((f", with {key!r}" for key in weights if key not in own), "")
        raise ValueError(
            f"the weights in the checkpoint{missing or more} do not fit this {name}; leave out --model.backbone"
        )


def trained_units(config: dict[str, Any], chosen: Standardisation | None = None) -> Standardisation | None:
    """The standardisation with which the weights of a checkpoint were trained, from the description of its model.

    Raises:
        ValueError: if another one is `chosen`: the network would be evaluated in units that it was not trained in.
    """
    stored = (config.get("init_args") or {}).get("standardisation")
    trained = from_config(stored, Standardisation | None, "model.standardisation")
    if chosen is not None and chosen != trained:
        raise ValueError(f"the network was trained with standardisation {trained}, not {chosen}; leave out the latter")
    return trained


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """The contents of a checkpoint of this project: plain values and tensors, whose checksums are right.

    Nothing in it is executed or imported. What it describes is not checked here but where it is built, by
    `component.check_config`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, no checkpoint of toy_score, or written by a newer version, if a weight is not
            finite, or if it does not say in which units its network works.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint {str(path)!r}; fit writes lightning_logs/RUN/checkpoints/last.ckpt"
        )
    try:
        with zipfile.ZipFile(path) as file:
            records = file.infolist()
            if sum(record.file_size for record in records) > path.stat().st_size:
                raise ValueError("it unpacks to more than it is")  # torch compresses nothing
            # torch does not compare the checksums, and leaves the weights in a record marked as a folder uninitialised.
            if file.testzip() is not None or any(record.external_attr & 0x10 for record in records):
                raise ValueError("a checksum or a mark is wrong")
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
        check_extent(checkpoint, _parts)
        for name in ("state_dict", "current_model_state"):
            if not all(isinstance(weights, Tensor) for weights in checkpoint.get(name, {}).values()):
                raise ValueError("a weight is no tensor")
    except Exception:  # zipfile and torch raise whatever the damaged bytes happen to provoke
        raise ValueError(f"{str(path)!r} cannot be read as a checkpoint: it is damaged or incomplete") from None
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{str(path)!r} is not a checkpoint of toy_score")
    for name, kind in PARTS.items():
        if not isinstance(checkpoint.get(name), kind):
            raise ValueError(f"{str(path)!r} is not a checkpoint of toy_score: it has no {name}")
    version = checkpoint["toy_score_version"]
    for name in VERSIONS:
        if not VERSION.fullmatch(checkpoint[name]):
            said = checkpoint[name][:30]
            raise ValueError(f"{str(path)!r} is not a checkpoint of toy_score: its {name} is {said!r}, no version")
    if _release(version) > _release(__version__):
        raise ValueError(f"{str(path)!r} was written by toy_score {version}, this is {__version__}; upgrade toy_score")
    averaged = checkpoint["state_dict"]
    current = checkpoint.get("current_model_state", averaged)  # those that are trained, if others are averages
    if not isinstance(current, dict) or current.keys() != averaged.keys():
        raise ValueError(f"the averaged and the trained weights in {str(path)!r} differ in their names; it is damaged")
    for key, weights in [*averaged.items(), *current.items()]:
        if not (isinstance(weights, Tensor) and weights.is_floating_point() and weights.shape == averaged[key].shape):
            raise ValueError(f"the weights {key!r} in {str(path)!r} are not such of a network; it is damaged")
        if not weights.isfinite().all():
            raise ValueError(f"the weights {key!r} in {str(path)!r} are not finite; use an earlier checkpoint")
    _check_units(checkpoint, str(path))
    return checkpoint


def _check_units(checkpoint: dict[str, Any], path: str) -> None:
    """A description without a standardisation would silently mean none, and samples in other units.

    Raises:
        ValueError: if the entry is missing, or is None for a network that was trained on a file of points.
    """
    model, data = (checkpoint.get(f"{part}hyper_parameters") for part in ("", "datamodule_"))
    if not isinstance(model, dict):
        return  # it is checked where it is built
    init_args, ours = model.get("init_args") or {}, str(model.get("class_path")).startswith("toy_score.")
    if not isinstance(init_args, dict) or not (init_args or ours):
        return  # a class of one's own, whose constructor has no arguments
    if "standardisation" not in init_args:
        raise ValueError(f"{path!r} does not say in which units its network works: it has no standardisation")
    points = isinstance(data, dict) and str(data.get("class_path")).rpartition(".")[2] == "PointsDataModule"
    if points and init_args["standardisation"] is None:
        raise ValueError(f"{path!r} was trained on a file of points, and lacks their standardisation")


def _parts(value: Any) -> Iterable[Any]:
    """The parts of what a checkpoint holds.

    Raises:
        ValueError: for a tensor that is larger than the numbers it is stored with, or holds other things than those.
    """
    if isinstance(value, Tensor):
        dense = value.layout is torch.strided and value.device.type != "meta" and not value.is_quantized
        if not dense or value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError("a tensor has not all of its numbers")
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, (list, tuple)) else ()


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
