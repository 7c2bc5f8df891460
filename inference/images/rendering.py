"""Pictures for people: a thumbnail, and what the model sees."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.images.opening import open_picture
from inference.preprocessing import ImagePlan

Array = NDArray[Any]

THUMBNAIL_SIDE = 192


def render_thumbnail(data: bytes | memoryview) -> tuple[bytes, tuple[int, int]]:
    """A small PNG of the encoded picture, and its full width and height in pixels. Raises BadImage."""
    picture = open_picture(data, "RGB", (255, 255, 255))
    size = picture.size
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue(), size


def render_seen(array: Array, plan: ImagePlan) -> bytes:
    """A PNG of what the model sees: an array of `decode_image` turned back into pixels, clipped to 0–255.

    With `per_image_standardize` the lowest value is shown black and the highest white.
    """
    values = np.asarray(array, dtype=np.float64).reshape(plan.shape)
    if plan.layout == "nchw":
        values = values.transpose(1, 2, 0)
    if plan.per_image_standardize:
        least, most = float(values.min()), float(values.max())
        values = (values - least) * (255 / (most - least) if most > least else 1)
    else:
        values = (values * np.array(plan.std) + np.array(plan.mean)) / plan.scale
    if plan.color == "bgr":
        values = values[:, :, ::-1]
    pixels = np.clip(np.rint(np.nan_to_num(values)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if plan.channels == 1 else pixels).save(file, "PNG")
    return file.getvalue()
