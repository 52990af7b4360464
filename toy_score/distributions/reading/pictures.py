"""Points on the dark pixels of a picture, as a viewer shows it.

Besides the pixel values, a file can have an orientation, a depth of 16 bits, transparency, a palette, a colour profile
and a gamma. All of them are applied before the darkness is computed.
"""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toy_score.distributions.reading.sheet import Table
from toy_score.seeds import seed_of

__all__ = ["read_picture"]

PICTURE_POINTS = 50_000
PAPER = 0.05  # darkness below which a pixel is background: in compressed pictures it is not exactly white
LARGEST_PICTURE = 25_000_000  # pixels; each takes about 40 bytes while it is read


def read_picture(path: Path) -> Table:
    """50 000 points, each uniform within a pixel that is chosen with a probability proportional to its darkness.

    The unit is a pixel, y points up, and transparent pixels are white.

    Raises:
        ValueError: if the file is not a picture, has more than 25 million pixels, or no dark pixel.
    """
    from PIL import Image, ImageOps  # comes with matplotlib

    too_large = ValueError(f"{path.name} has more than {LARGEST_PICTURE // 10**6} million pixels; make it smaller")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG", "JPEG", "MPO"]) as file:
                if file.width * file.height > LARGEST_PICTURE:
                    raise too_large
                lightness = _lightness(ImageOps.exif_transpose(file))
    except Image.DecompressionBombError:
        raise too_large from None
    except Exception as error:  # damaged bytes can make Pillow raise any exception
        if error is too_large:
            raise
        raise ValueError(f"{path.name} cannot be read as a picture: it is damaged or of another kind") from None
    darkness = 1.0 - lightness[::-1]
    darkness = np.where(darkness < PAPER, 0.0, darkness)
    if not darkness.any():
        raise ValueError(f"{path.name} has no dark pixels, so there are no points")
    generator = torch.Generator().manual_seed(seed_of("points of a picture"))
    u = torch.rand(PICTURE_POINTS, 3, generator=generator, dtype=torch.float64).numpy()
    edges = darkness.cumsum()
    pixel = np.searchsorted(edges[:-1], u[:, 0] * edges[-1], side="right")
    rows, columns = np.divmod(pixel, darkness.shape[1])
    share = np.count_nonzero(darkness) / darkness.size
    notes = [
        f"drawn from the dark pixels, {share:.2%} of {darkness.shape[1]} x {darkness.shape[0]}; the unit is a pixel"
    ]
    if share > 0.5:
        notes.append("note: most pixels are dark; if the points are light, invert the picture")
    x = torch.tensor(np.stack([columns, rows], axis=1) + u[:, 1:])
    return Table(x, source=path.name, notes=tuple(notes))


def _lightness(picture: Any) -> np.ndarray:
    """Lightness from 0, black, to 1, white, `(rows, columns)` float64, on a white background."""
    from PIL import Image

    info = picture.info
    if picture.mode.startswith("I"):  # 16 bits: Pillow would clip values above 255
        values = np.asarray(picture).astype(np.float64)
        lightness = values / 65535.0
        if isinstance(info.get("transparency"), int):
            lightness[values == info["transparency"]] = 1.0
    else:
        picture = _in_srgb(picture).convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        lightness = np.asarray(Image.alpha_composite(paper, picture).convert("L"), dtype=np.float64) / 255.0
    gamma = info.get("gamma")  # of the file, 1 / 2.2 for screens
    if gamma and abs(gamma * 2.2 - 1.0) > 0.02 and not info.get("icc_profile") and "srgb" not in info:
        lightness = lightness ** (1.0 / (2.2 * gamma))
    return lightness


def _in_srgb(picture: Any) -> Any:
    """The picture with its colour profile applied, if it has one that can be read."""
    from PIL import ImageCms

    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return picture
    mode = "RGB" if picture.mode in ("CMYK", "L") else picture.mode
    try:
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), srgb, outputMode=mode)
    except (ImageCms.PyCMSError, OSError):  # viewers ignore a broken profile too
        return picture
