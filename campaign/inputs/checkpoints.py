"""Checkpoints with other entries, other tensors, other bytes, and in other archives."""

import random
import zipfile
from pathlib import Path
from typing import Any

import torch

from campaign.inputs.settings import prepare
from campaign.inputs.trial import EVIL, HOSTILE, Kind, Trial, damaged, replaced

__all__ = ["CHECKPOINTS"]


def _content(folder: Path) -> Any:
    prepare(folder)
    (folder / "good/checkpoints/last.ckpt").rename(folder / "good.ckpt")
    return torch.load(folder / "good.ckpt", weights_only=True)


def _checkpoint(chance: random.Random, good: dict[str, Any], folder: Path) -> Trial:
    (folder / "evil.py").write_text(EVIL)
    path, how = folder / "odd.ckpt", chance.randrange(10)
    if how < 4:
        what = "description"
        part = chance.choice(["hyper_parameters", "hyper_parameters", "datamodule_hyper_parameters"])
        torch.save(good | {part: replaced(chance, good[part])}, path)
    elif how < 6:
        what = "other entries"
        keys = [key for key in good if not key.endswith("hyper_parameters")]
        torch.save(_other(chance, good, chance.choice(keys)), path)
    elif how == 6:
        what = "tensors"
        name = chance.choice(list(good["state_dict"]))
        torch.save(good | {"state_dict": good["state_dict"] | {name: _tensor(chance, good["state_dict"][name])}}, path)
    elif how < 9:
        what = "bytes"
        path.write_bytes(damaged(chance, (folder / "good.ckpt").read_bytes()))
    else:
        what = "archive"
        _archive(chance, folder / "good.ckpt", path)
    samples = ["predict", "--output", "x.npy", "--n_samples", "20"]
    more = ["--trainer.max_steps", "4", "--trainer.logger", "false"]
    command = chance.choice([samples, samples, ["validate"], ["fit", "--config", "good.yaml", *more]])
    return Trial(what, [*command, "--ckpt_path", "odd.ckpt"])


def _other(chance: random.Random, good: dict[str, Any], key: str) -> dict[str, Any]:
    made = dict(good)
    if chance.random() < 0.2:
        del made[key]
    elif chance.random() < 0.3:
        made[key] = chance.choice(HOSTILE)
    elif isinstance(made[key], (dict, list)) and made[key]:
        made[key] = replaced(chance, made[key])
    else:
        made[key] = chance.choice(HOSTILE)
    return made


def _tensor(chance: random.Random, x: torch.Tensor) -> Any:
    return chance.choice(
        [
            lambda: x.double(),
            lambda: x.to(torch.complex64),
            lambda: x.bool(),
            lambda: x.half(),
            lambda: x.flatten(),
            lambda: x[:0],
            lambda: x.mT if x.dim() > 1 else x[None],
            lambda: torch.full_like(x, chance.choice([float("nan"), float("inf"), 3e38])),
            lambda: torch.zeros(1).expand(10**12),
            lambda: torch.zeros(1).as_strided(x.shape, (0,) * x.dim()),
            lambda: x.to_sparse(),
            lambda: x.tolist(),
            lambda: None,
            lambda: torch.tensor(0.0),
            lambda: torch.empty(x.shape, device="meta"),
        ]
    )()


def _archive(chance: random.Random, good: Path, path: Path) -> None:
    """The records of a checkpoint in another archive: without one, with another name, twice, compressed, or a bomb."""
    how = chance.randrange(7)
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w") as new:
        records = old.infolist()
        odd = chance.choice(records)
        for record in records:
            content = old.read(record)
            if record is not odd:
                new.writestr(record.filename, content)
            elif how == 1:
                new.writestr(chance.choice(["../x", "/etc/x", "x/", "archive/data.pkl", "x" * 3000]), content)
            elif how == 2:
                new.writestr(record.filename, content, zipfile.ZIP_DEFLATED)
            elif how == 3:
                with new.open(zipfile.ZipInfo(record.filename), "w", force_zip64=True) as file:
                    file.write(content)
            elif how == 4:
                new.writestr(record.filename, bytes(1 << 28), zipfile.ZIP_DEFLATED)
            elif how == 5:
                new.writestr(record.filename, damaged(chance, content))
            elif how == 6:
                new.writestr(record.filename, _pickled(chance))


def _pickled(chance: random.Random) -> bytes:
    laughs = b"\x80\x02]q\x00" + b"".join(
        b"]q" + bytes([i]) + b"(h" + bytes([i - 1]) + b"h" + bytes([i - 1]) + b"e" for i in range(1, 40)
    )
    return chance.choice(
        [
            b"cos\nsystem\n(S'true'\ntR.",
            b"\x80\x02cevil\nEvil\n)\x81.",
            b"\x80\x02" + b"(" * 10**5 + b"t" * 10**5 + b".",
            b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".",
            b"\x80\x02}X\x10\x00\x00\x00hyper_parameters" + laughs[2:] + b"s.",
            b"\x80\x02X\xff\xff\xff\x7f.",
            b"",
        ]
    )


CHECKPOINTS = Kind(_content, _checkpoint)
