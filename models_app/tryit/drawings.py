"""Small pictures for a page: thumbnails of what was sent, what a model sees, what a model draws, the line of a vector.

All are PNGs that this module has encoded, as `data:` addresses: nothing that a stranger sent is passed on as it came.
This process holds the secret key, so what strangers send is opened by the model's process; only the PNGs that it makes
are opened here.
"""

from __future__ import annotations

import base64
import io
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.client import Seen
from inference.errors import BadImage
from inference.images.opening import open_picture
from inference.images.rendering import THUMBNAIL_SIDE
from inference.preprocessing import shown

SEEN_SIDE = 256
DRAWN_SIDE = 512
PLOT_WIDTH, PLOT_HEIGHT = 300, 60
WHITE = (255, 255, 255)
PNG = b"\x89PNG\r\n\x1a\n"

_one_at_a_time = threading.Lock()
"""A picture of 40 megapixels takes 160 MB while it is open: a web process opens one at a time."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture as a `data:` address, and its size or range in words."""

    src: str
    words: str


def thumbnail(seen: Seen) -> Drawing:
    """A picture as it was sent; `words` is its full size, width first. Raises BadImage for what is no PNG."""
    return Drawing(_encoded_again(seen.thumbnail, "RGB", THUMBNAIL_SIDE), f"{seen.width} × {seen.height}")


def as_model(seen: Seen) -> str:
    """A picture as the model gets it. Raises BadImage for what is no PNG."""
    return _encoded_again(seen.as_model, "RGBA", SEEN_SIDE)


def _encoded_again(png: bytes, mode: str, side: int) -> str:
    """Decode and encode it: a runner is not trusted."""
    if not png.startswith(PNG):
        raise BadImage("The model's process has answered something that is no PNG.")
    with _one_at_a_time:
        opened = open_picture(png, mode, WHITE)
        opened.thumbnail((side, side))
    return _address(opened)


def drawn(values: NDArray[np.float64]) -> Drawing:
    """An output (H, W, 1 | 3 | 4): values in 0–1 and 0–255 as they are, all others from the least to the largest."""
    finite = values[np.isfinite(values)]
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    words = f"values {shown(least, 4)} to {shown(most, 4)}"
    if least >= 0 and most <= 1:
        scaled = values * 255
    elif least >= 0 and most <= 255:
        scaled = values
    else:
        scaled = (values - least) * (255 / (most - least) if most > least else 1)
        words += ", the least shown black and the largest white"
    pixels = np.clip(np.rint(np.nan_to_num(scaled)), 0, 255).astype(np.uint8)
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((DRAWN_SIDE, DRAWN_SIDE))
    return Drawing(_address(picture), f"{values.shape[1]} × {values.shape[0]}, {words}")


def plot_points(values: NDArray[np.float64]) -> str:
    """The points of a line in a box of 300 × 60. Of more than 300 values the one furthest from 0 in each column."""
    finite = np.where(np.isfinite(values), values, 0.0)
    columns = np.array_split(finite, min(PLOT_WIDTH, len(finite)))
    line = np.array([column[np.argmax(np.abs(column))] for column in columns])
    least, most = float(line.min()), float(line.max())
    heights = (line - least) / (most - least) if most > least else np.full(len(line), 0.5)
    step = PLOT_WIDTH / max(1, len(line) - 1)
    return " ".join(
        f"{i * step:.1f},{PLOT_HEIGHT - 2 - height * (PLOT_HEIGHT - 4):.1f}" for i, height in enumerate(heights)
    )


def _address(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
