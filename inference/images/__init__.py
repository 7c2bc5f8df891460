"""Decodes one encoded picture into one array as an ImagePlan says; untrusted picture bytes are decoded only here.

Thread-safe: only read-only tables are shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from inference.images.opening import MODES, open_first
from inference.images.resizing import resize
from inference.images.values import to_values
from inference.preprocessing import ImagePlan

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Decoded:
    """`values` as decode_image returns them. `is_first`: the file holds several frames or pages; this is the first."""

    values: Array
    is_first: bool


def decode_image(data: bytes | memoryview, plan: ImagePlan) -> Array:
    """The picture in the plan's shape and dtype, C-contiguous, without a batch axis; see decode_picture."""
    return decode_picture(data, plan).values


def decode_picture(data: bytes | memoryview, plan: ImagePlan) -> Decoded:
    """The picture as the plan says.

    Raises BadImage for data that is no picture, damaged, too large or of an unsupported format. Of several frames or
    pages the first is used. Values without a defined white (float and 32-bit TIFF) are refused: any scaling would be a
    guess. Colour profiles are not applied.
    """
    picture, is_first = open_first(data, MODES[plan.color], plan.background)
    return Decoded(to_values(resize(picture, plan), plan), is_first)
