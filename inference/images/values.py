"""A picture's pixels as the numbers that the model takes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.preprocessing import FLOAT_DTYPES, ImagePlan

Array = NDArray[Any]

ROWS_AT_ONCE = 64
STEPS_TOLERANCE = 5e-7


def to_values(picture: Image.Image, plan: ImagePlan) -> Array:
    """Convert pixels to the model's dtype and the plan's layout in a single pass."""
    pixels = np.asarray(picture).reshape(plan.height, plan.width, plan.channels)
    if plan.color == "bgr":
        pixels = pixels[:, :, ::-1]
    if plan.per_image_standardize:
        values = as_dtype(standardized(pixels), plan.dtype)
        return np.ascontiguousarray(values.transpose(2, 0, 1) if plan.layout == "nchw" else values)
    if (steps := float_steps(plan)) is not None:
        factor, offset = steps
        flat = np.multiply(pixels.reshape(plan.height, -1), factor, dtype=np.float32)
        flat += offset
        values = flat.reshape(pixels.shape)
        return np.ascontiguousarray(values.transpose(2, 0, 1)) if plan.layout == "nchw" else values
    table = value_table(plan)
    out = np.empty(plan.shape, plan.dtype)
    for start in range(0, plan.height, ROWS_AT_ONCE):  # blocks of rows: numpy widens the indices to 8 bytes each
        rows = slice(start, start + ROWS_AT_ONCE)
        if plan.layout == "nhwc" and len(set(zip(plan.mean, plan.std, strict=True))) == 1:
            out[rows] = table[0][pixels[rows]]
            continue
        for channel in range(plan.channels):
            target = out[channel, rows] if plan.layout == "nchw" else out[rows, :, channel]
            target[...] = table[channel][pixels[rows, :, channel]]
    return out


@lru_cache(maxsize=64)
def float_steps(plan: ImagePlan) -> tuple[Array, Array] | None:
    """Factor and offset of each value of a row of pixels, in float32; None if `value_table` has to be used instead.

    For 224×224 pixels multiplying and adding takes 0.08 ms, the table 0.22 ms. It is used only if every result is
    within STEPS_TOLERANCE of the table: not for other dtypes, nor for large values, which float32 rounds too coarsely.
    """
    if plan.dtype != "float32":
        return None
    std = np.array(plan.std)
    with np.errstate(over="ignore", invalid="ignore"):
        factor, offset = (values.astype(np.float32) for values in (plan.scale / std, -np.array(plan.mean) / std))
        steps = np.arange(256, dtype=np.float32) * factor[:, None] + offset[:, None]
        if not np.all(np.abs(steps - value_table(plan)) <= STEPS_TOLERANCE):
            return None
    return np.tile(factor, plan.width), np.tile(offset, plan.width)


def standardized(pixels: Array) -> Array:
    """(x − mean) ÷ max(standard deviation, 1e-6) over all values, in float32."""
    mean = pixels.mean(dtype=np.float64)
    spread = max(float(pixels.std(dtype=np.float64)), 1e-6)
    return ((pixels.astype(np.float32) - np.float32(mean)) / np.float32(spread)).astype(np.float32)


@lru_cache(maxsize=64)
def value_table(plan: ImagePlan) -> Array:
    """What each of the 256 pixel values becomes: (channels, 256) in the plan's dtype, computed in float64.

    Not valid for `per_image_standardize`.
    """
    mean, std = np.array(plan.mean)[:, None], np.array(plan.std)[:, None]
    table = as_dtype((np.arange(256) * plan.scale - mean) / std, plan.dtype)
    table.flags.writeable = False
    return table


def as_dtype(values: Array, dtype: str) -> Array:
    """The values in this dtype: clipped to its range; for integers rounded first, half to even."""
    if dtype in FLOAT_DTYPES:
        most = float(np.finfo(dtype).max)
        return np.clip(values, -most, most).astype(dtype, copy=False)
    bounds = np.iinfo(dtype)
    # float64 cannot hold the largest 64-bit integers: the next smaller float is taken.
    most = float(bounds.max) if bounds.bits < 64 else float(np.nextafter(float(bounds.max), 0))
    return np.clip(np.rint(values.astype(np.float64)), float(bounds.min), most).astype(dtype)
