"""Opens untrusted picture bytes with Pillow: upright, in one mode, or a sentence that says why not."""

from __future__ import annotations

import io
import re
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from inference.errors import BadImage
from inference.images.kinds import DAMAGED, KINDS, kind_sentence
from inference.preprocessing import MAX_PIXELS

Array = NDArray[Any]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SEVERAL = frozenset({"GIF", "PNG", "WEBP", "TIFF"})

# Loaded now: Pillow would otherwise import them at the first picture, on whichever thread decodes it.
PLUGINS = (
    BmpImagePlugin, GifImagePlugin, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin,
)  # fmt: skip
Image.preinit()

# Set only here at import: warning filters belong to the whole process, and changing them is not thread-safe.
# Image.open then refuses a picture above the limit. Pillow's other warnings would fill the runner's log.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

MODES = {"rgb": "RGB", "bgr": "RGB", "gray": "L", "rgba": "RGBA"}
READABLE_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION_TAG = 0x0112
TILE_WIDTH_TAG, TILE_HEIGHT_TAG = 322, 323
BITS_TAG, PHOTOMETRIC_TAG, WHITE_IS_ZERO = 258, 262, 0
MOST_READS = 500_000
"""The most reads of one picture, each of some bytes. A large GIF takes two per 255 bytes, other formats far fewer."""
MOST_SCANS = 100
"""Of a JPEG, as many as libtiff takes of one inside a TIFF; progressive pictures have about ten. Each goes over all
pixels and may have ten bytes: 1 MB of them keeps a decoder busy for 220 s, and nothing can interrupt it."""
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""Of a segment of a JPEG (ITU-T T.81, table B.1); in the data of pictures other bytes follow an FF."""
END, SCAN, EXIF = 0xD9, 0xDA, b"Exif\0\0"
HAVE_LENGTH = frozenset({*range(0xC0, 0xF0), 0xFE}) - {0xC8, *range(0xD0, END + 1)}
"""Neither Pillow nor libjpeg passes over what stands behind another marker."""
TOO_LARGE = f"This picture has more than {MAX_PIXELS // 10**6} megapixels. Make it smaller, then send it again."
UNUSUAL_GRAY = (
    "This TIFF keeps its greys with 12 bits each, or with 0 for white. Save it with 8 bits, then send it again."
)
IN_PIECES = "This picture is made of far too many small pieces. Save it anew, then send it again."


class BoundedBytes(io.BytesIO):
    """Limits the number of reads. Pillow reads markers and chunks one by one: 20 MB of empty ones would take 30 s."""

    def __init__(self, data: bytes | memoryview) -> None:
        super().__init__(data)
        self._left = MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise BadImage(IN_PIECES)
        return super().read(size)


def as_file(data: bytes | memoryview) -> io.BytesIO:
    """The data as a file. Reads are counted only in long data: each piece has at least one byte."""
    return io.BytesIO(data) if len(data) <= MOST_READS else BoundedBytes(data)


def open_picture(data: bytes | memoryview, mode: str, background: tuple[int, int, int]) -> Image.Image:
    """The full picture, upright, as mode "L", "RGB" or "RGBA"; alpha is flattened but for RGBA. Raises BadImage."""
    return open_first(data, mode, background)[0]


def open_first(data: bytes | memoryview, mode: str, background: tuple[int, int, int]) -> tuple[Image.Image, bool]:
    """As open_picture, and whether it is the first of several frames or pages."""
    if not len(data):
        raise BadImage(f"The file is empty. Send {KINDS}.")
    if (webp_pixels(data) or 0) > MAX_PIXELS:
        raise BadImage(TOO_LARGE)
    if bytes(data[:2]) == b"\xff\xd8":
        check_segments(data)
    try:
        with Image.open(as_file(data), formats=FORMATS) as picture:
            check_size(picture)
            is_first = has_several(picture)
            picture.load()
            return to_mode(upright(picture), mode, background), is_first
    except BadImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(TOO_LARGE) from error
    except UnidentifiedImageError as error:
        raise BadImage(kind_sentence(data)) from error
    except MemoryError as error:
        raise BadImage("This picture needs more memory than there is. Send a smaller one.") from error
    # Pillow raises ValueError, OSError, SyntaxError, struct.error, zlib.error and more for damaged pictures.
    except Exception as error:
        raise BadImage(DAMAGED) from error


def webp_pixels(data: bytes | memoryview) -> int | None:
    """The number of pixels that a WebP header declares, None for other data; libwebp allocates them in Image.open.

    Source: RFC 9649, sections 2.5 to 2.7.
    """
    head = bytes(data[:30])
    if len(head) < 30 or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        return (int.from_bytes(head[24:27], "little") + 1) * (int.from_bytes(head[27:30], "little") + 1)
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return ((bits & 0x3FFF) + 1) * ((bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 ":
        return (int.from_bytes(head[26:28], "little") & 0x3FFF) * (int.from_bytes(head[28:30], "little") & 0x3FFF)
    return None


def has_several(picture: Image.Image) -> bool:
    """Whether more frames or pages follow. Never for JPEG: what phones append to one is not another picture."""
    try:
        return picture.format in SEVERAL and bool(getattr(picture, "is_animated", False))
    except Exception:  # the first may be whole where a later one is damaged
        return False


def check_size(picture: Image.Image) -> None:
    """Runs on the header, before anything is decoded."""
    width, height = picture.size
    if width < 1 or height < 1:
        raise BadImage(DAMAGED)
    if width * height > MAX_PIXELS:
        raise BadImage(TOO_LARGE)
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        # A small picture may sit in one huge tile, which libtiff would unpack as a whole.
        tile = [picture.tag_v2.get(tag, 1) for tag in (TILE_WIDTH_TAG, TILE_HEIGHT_TAG)]
        if not all(isinstance(side, int) for side in tile) or tile[0] * tile[1] > MAX_PIXELS:
            raise BadImage(TOO_LARGE)
        check_gray(picture)


def check_gray(picture: TiffImagePlugin.TiffImageFile) -> None:
    """Raises BadImage where Pillow gives other shades of 16 bits than the file has: 12 bits nearly black, those with 0
    for white inverted."""
    if picture.mode.startswith("I;16"):
        tags = picture.tag_v2
        if tags.get(BITS_TAG) != (16,) or tags.get(PHOTOMETRIC_TAG) == WHITE_IS_ZERO:
            raise BadImage(UNUSUAL_GRAY)


def check_segments(data: bytes | memoryview) -> None:
    """Raises BadImage for a JPEG with more than MOST_SCANS, or as many parts of its Exif data: Pillow adds each to
    those before, and 16 MB of small ones took 71 s."""
    at = scans = parts = 0
    for _ in range(MOST_READS):
        found = MARKER.search(data, at)
        if found is None:
            return
        at, marker = found.end(), data[found.end() - 1]
        if marker == END and scans:  # what follows is no part of it, such as a film
            return
        scans += marker == SCAN
        parts += data[at + 2 : at + 8] == EXIF
        if max(scans, parts) > MOST_SCANS:
            break
        if marker in HAVE_LENGTH:
            at += int.from_bytes(data[at : at + 2], "big")
    raise BadImage(IN_PIECES)


def upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF orientation says. Broken EXIF data is ignored."""
    try:
        orientation = picture.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # as many kinds of errors as for damaged pictures
        return picture
    turn = TURNS.get(orientation) if isinstance(orientation, int) else None
    return picture if turn is None else picture.transpose(turn)


def to_mode(picture: Image.Image, mode: str, background: tuple[int, int, int]) -> Image.Image:
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray(sixteen_to_eight(picture))
    if picture.mode not in READABLE_MODES:
        raise BadImage(
            f"The values of this picture ({picture.mode}) have no fixed black and white, or are colours that cannot be "
            "converted. Save it with 8 or 16 bits a channel, then send it again."
        )
    if picture.has_transparency_data and mode != "RGBA":
        picture = flatten(picture, background)
    if picture.mode in ("La", "RGBa", "PA", "RGBX") and picture.mode != mode:
        picture = picture.convert({"La": "LA", "RGBX": "RGB"}.get(picture.mode, "RGBA"))
    return picture if picture.mode == mode else picture.convert(mode)


def sixteen_to_eight(picture: Image.Image) -> Array:
    """Values divided by 257 (65,535 ÷ 257 = 255), rounded."""
    values = np.asarray(picture).astype(np.uint32)
    return ((values + 128) // 257).astype(np.uint8)


def flatten(picture: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    if picture.mode == "La":
        picture = picture.convert("LA")
    opaque = Image.new("RGB", picture.size, background)
    clear = picture if picture.mode == "RGBA" else picture.convert("RGBA")
    opaque.paste(clear, mask=clear.getchannel("A"))
    return opaque
