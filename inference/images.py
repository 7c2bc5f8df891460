"""Decodes one encoded picture into one array as an ImagePlan says; untrusted picture bytes are decoded only here.

Thread-safe: only read-only tables are shared.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
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
from inference.preprocessing import FLOAT_DTYPES, MAX_PIXELS, ImagePlan

Array = NDArray[Any]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
THUMBNAIL_SIDE = 192
SEVERAL = frozenset({"GIF", "PNG", "WEBP", "TIFF"})
KINDS = "JPEG, PNG, WebP, GIF, BMP or TIFF"

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

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
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
MOST_READS = 500_000
"""The most reads of one picture, each of some bytes. A large GIF takes two per 255 bytes, other formats far fewer."""
ROWS_AT_ONCE = 64
STEPS_TOLERANCE = 5e-7

TOO_LARGE = f"This picture has more than {MAX_PIXELS // 10**6} megapixels. Make it smaller, then send it again."
TOO_LONG = "This picture is too long and narrow to be resized. Cut it, then send it again."
IN_PIECES = "This picture is made of far too many small pieces. Save it anew, then send it again."
DAMAGED = "This picture is damaged or cut off and cannot be read to its end. Send the whole file."


@dataclass(frozen=True, slots=True)
class Decoded:
    """`values` as decode_image returns them. `is_first`: the file holds several frames or pages; this is the first."""

    values: Array
    is_first: bool


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


def decode_image(data: bytes | memoryview, plan: ImagePlan) -> Array:
    """The picture in the plan's shape and dtype, C-contiguous, without a batch axis; see decode_picture."""
    return decode_picture(data, plan).values


def decode_picture(data: bytes | memoryview, plan: ImagePlan) -> Decoded:
    """The picture as the plan says.

    Raises BadImage for data that is no picture, damaged, too large or of an unsupported format. Of several frames or
    pages the first is used. Values without a defined white (float and 32-bit TIFF) are refused: any scaling would be a
    guess. Colour profiles are not applied.
    """
    picture, is_first = _open(data, MODES[plan.color], plan.background)
    return Decoded(to_values(resize(picture, plan), plan), is_first)


def open_picture(data: bytes | memoryview, mode: str, background: tuple[int, int, int]) -> Image.Image:
    """The full picture, upright, as mode "L", "RGB" or "RGBA"; alpha is flattened but for RGBA. Raises BadImage."""
    return _open(data, mode, background)[0]


def _open(data: bytes | memoryview, mode: str, background: tuple[int, int, int]) -> tuple[Image.Image, bool]:
    """As open_picture, and whether it is the first of several frames or pages."""
    if not len(data):
        raise BadImage(f"The file is empty. Send {KINDS}.")
    if (webp_pixels(data) or 0) > MAX_PIXELS:
        raise BadImage(TOO_LARGE)
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


def resize(picture: Image.Image, plan: ImagePlan) -> Image.Image:
    """The picture at the plan's height and width, using Pillow's filters on the full picture."""
    width, height = picture.size
    if plan.resize == "stretch":
        return scaled(picture, plan.width, plan.height, plan)
    if plan.resize == "crop":
        factor = plan.short_side / min(width, height)
        large = scaled(picture, max(plan.width, round(width * factor)), max(plan.height, round(height * factor)), plan)
        left, top = (large.width - plan.width) // 2, (large.height - plan.height) // 2
        return large.crop((left, top, left + plan.width, top + plan.height))
    # The sizes and offsets are those of PIL.ImageOps.pad.
    if width * plan.height > plan.width * height:
        inner = scaled(picture, plan.width, max(1, round(height / width * plan.width)), plan)
    else:
        inner = scaled(picture, max(1, round(width / height * plan.height)), plan.height, plan)
    color = plan.background if picture.mode != "RGBA" else (*plan.background, 255)
    whole = Image.new("RGB" if picture.mode == "L" else picture.mode, (plan.width, plan.height), color)
    whole = whole.convert(picture.mode)
    whole.paste(inner, (round((plan.width - inner.width) * 0.5), round((plan.height - inner.height) * 0.5)))
    return whole


def scaled(picture: Image.Image, width: int, height: int, plan: ImagePlan) -> Image.Image:
    if picture.size == (width, height):
        return picture
    # Pillow resizes the rows first, so its intermediate picture has the new width and the old height.
    if width * max(height, picture.height) > MAX_PIXELS:
        raise BadImage(TOO_LONG)
    return picture.resize((width, height), FILTERS[plan.interpolation])


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


# Repetitions are possessive: an untrusted file must not make the matching slow.
MARKS = (
    (rb"\s*+(<\?xml[^>]*>\s*+)?(?><!--.*?-->\s*+|<!doctype svg[^>]*>\s*+)*+<svg[\s>]", "an SVG drawing"),
    (rb"\s*+(?><!--.*?-->\s*+)*+<(!doctype html|html|head|body)\b", "an HTML page"),
    (rb"\s*<\?xml", "an XML file"),
    (rb"%PDF-", "a PDF file"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "an EPS or PostScript file"),
    (rb"....ftypavi[fs]", "an AVIF picture"),
    (rb"....ftyp(hei|hev|hex|mif1|msf1)", "an HEIC picture"),
    (rb"....ftyp", "a video"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (rb"8BPS", "a Photoshop file"),
    (rb"\0\0\x01\0", "an icon file"),
    (rb"PK\x03\x04", "a ZIP archive"),
)
TAKEN_MARKS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def kind_sentence(data: bytes | memoryview) -> str:
    """The sentence about a file that Pillow cannot open, chosen by its first bytes."""
    head = bytes(data[:2048])
    if head.startswith(TAKEN_MARKS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return DAMAGED
    text = head.removeprefix(b"\xef\xbb\xbf")
    for pattern, kind in MARKS:
        if re.match(pattern, text, re.IGNORECASE | re.DOTALL):
            return f"This is {kind}, which cannot be read here. Send {KINDS}."
    return f"This is not a picture that can be read here. Send {KINDS}."
