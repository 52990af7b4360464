"""Files of points with other bytes, and with declarations that are not true."""

import io
import random
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from campaign.inputs.trial import Kind, Trial, damaged

__all__ = ["POINTS"]


def _points(folder: Path) -> Any:
    x = np.random.default_rng(0).normal(size=(60, 2))
    kind = np.array(["land", "sea", "sky"] * 20)
    arrays, picture = io.BytesIO(), io.BytesIO()
    np.savez(arrays, x=x, labels=np.arange(60) % 3)
    Image.fromarray((np.random.default_rng(1).random((20, 30)) * 255).astype(np.uint8)).save(picture, "png")
    texts = {
        "a.csv": "x,y\n" + "".join(f"{a},{b}\n" for a, b in x),
        "b.csv": ";".join(["", "lon", "lat", "kind"])
        + "\n"
        + "".join(f"{i};{a};{b};{k}\n" for i, ((a, b), k) in enumerate(zip(x, kind, strict=True))),
        "c.txt": "60\n" + "".join(f"{a:.3f} {b:.3f}\n".replace(".", ",") for a, b in x),
        "d.tsv": "".join(f"{a}\t{b}\n" for a, b in x),
    }
    return (
        {name: text.encode() for name, text in texts.items()}
        | {"e.npy": _npy(x), "f.npy": _npy(np.rec.fromarrays([x[:, 0], kind], names="x,k")), "g.npz": arrays.getvalue()}
        | {"h.png": picture.getvalue()}
    )


def _npy(x: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(x))
    return file.getvalue()


def _file(chance: random.Random, good: dict[str, bytes], folder: Path) -> Trial:
    name = chance.choice(list(good))
    ending = name[1:]
    if chance.random() < 0.25:
        what, content = f"{ending}, structure", _structure(chance, ending, good[name])
    else:
        what, content = f"{ending}, bytes", damaged(chance, good[name])
    if chance.random() < 0.05:
        ending = chance.choice([".csv", ".npy", ".npz", ".png", ".jpg", ".txt"])
    (folder / f"odd{ending}").write_bytes(content)
    argv = ["fit", "--model", "EDMModule", "--data", "PointsDataModule", "--data.path", f"odd{ending}"]
    argv += ["--trainer.logger", "false", "--trainer.accelerator", "cpu"]
    for _ in range(chance.choice([0, 0, 0, 0, 0, 0, 1, 2])):
        option = chance.choice(["columns", "label_column", "group_column", "group", "held_out"])
        argv += [
            f"--data.{option}",
            chance.choice(["[1,2]", "[x,y]", "[1,1]", "[lon,lat]", "3", "kind", "0", "-1", "land", "[]"]),
        ]
    return Trial(what, argv)


def _structure(chance: random.Random, ending: str, content: bytes) -> bytes:
    """The same format with declarations that are not true, and with more than fits into memory."""
    if ending == ".png":
        return _png(chance, content)
    if ending in (".npy", ".npz"):
        shapes = ["(1000000000000, 2)", "(-1, 2)", "(60, 1000000)", "()", "(0, 2)", "(60, 2, 1)", "(2, 60)", "(60,)"]
        types = [
            "'<f8'",
            "'|O'",
            "'>f4'",
            "'<c16'",
            "'<U9'",
            "'|V0'",
            "'<M8[s]'",
            "'|b1'",
            "[('a','<f8'),('b','<f4')]",
            "'x'",
        ]
        header = f"{{'descr': {chance.choice(types)}, 'fortran_order': {chance.choice(['True', 'False', '3'])}, "
        header += f"'shape': {chance.choice(shapes)}, }}" + chance.choice(["", " " * 20, "\n", "(" * 500])
        array = b"\x93NUMPY" + chance.choice([b"\1\0", b"\2\0"])
        array += (
            struct.pack("<H" if array[6] == 1 else "<I", len(header)) + header.encode() + bytes(chance.choice([0, 960]))
        )
        if ending == ".npy":
            return array
        file = io.BytesIO()
        with zipfile.ZipFile(
            file, "w", chance.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
        ) as made:
            for member in chance.choice(
                [["x.npy"], ["x.npy", "x.npy"], ["x.npy", "labels.npy"], ["../x.npy"], ["x"], []]
            ):
                made.writestr(member, array)
            if chance.random() < 0.2:
                made.writestr("z.npy", _npy(np.zeros(1)) + bytes(1 << 29), zipfile.ZIP_DEFLATED)
        return file.getvalue()
    lines = content.decode().splitlines()
    row = chance.randrange(len(lines))
    odd = [
        "nan,nan",
        "1e999;1",
        '"',
        '"a\n',
        "," * 2000,
        "1," * 30000,
        "#",
        "1,2,3,4",
        "\0",
        "\u0661,\u0662",
        "0x10,1",
        "1_0,2",
        "∞,1",
    ]
    odd += ["9" * 5000 + ",1", "1e-320,1", "\x85", "\x0c", "-", "=1+1,2", "\ufeff1,2", "1,2\r3,4", "True,False"]
    lines[row : row + chance.choice([0, 1])] = [chance.choice(odd)] * chance.choice([1, 1, 60])
    return (
        chance.choice(["\n", "\r\n", "\r"]).join(lines).encode(chance.choice(["utf-8", "utf-8", "utf-16", "utf-8-sig"]))
    )


def _png(chance: random.Random, content: bytes) -> bytes:
    """A picture with one chunk changed or added, whose checksum is right."""
    chunks, at = [], 8
    while at < len(content):
        (n,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + n]))
        at += 12 + n
    how = chance.randrange(5)
    if how == 0:
        size = struct.pack(">II", *(chance.choice([0, 1, 30, 20000, 2**31 - 1]) for _ in range(2)))
        chunks[0] = (b"IHDR", size + chunks[0][1][8:])
    elif how == 1:
        depth = bytes(chance.choice([0, 1, 2, 3, 4, 6, 8, 16]) for _ in range(2))
        chunks[0] = (b"IHDR", chunks[0][1][:8] + depth + chunks[0][1][10:])
    elif how == 2:
        kind = chance.choice([b"iCCP", b"zTXt", b"iTXt"])
        chunks.insert(1, (kind, b"n\0\0" + zlib.compress(bytes(chance.choice([10, 1 << 27])))))
    elif how == 3:
        kind = chance.choice([b"gAMA", b"tRNS", b"PLTE", b"eXIf", b"acTL", b"sRGB", b"cHRM"])
        chunks.insert(1, (kind, chance.randbytes(chance.choice([0, 1, 4, 8, 32]))))
    else:
        chunks[-2] = (b"IDAT", zlib.compress(bytes(chance.choice([0, 10, 1 << 28]))))
    return content[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


POINTS = Kind(_points, _file)
