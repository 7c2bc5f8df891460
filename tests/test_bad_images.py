"""Pictures that cannot be read: a sentence each, no memory, and never any other error."""

from __future__ import annotations

import os
import random
import resource
import struct
import time
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inference.errors import BadImage
from inference.images import decode_image
from inference.preprocessing import parse_preprocessing, plan_image
from inference.signature import TensorSpec
from tests.picture_files import chunk, encoded, png

MUTATIONS = 500 * int(os.environ.get("PORTAL_TEST_SCALE", "1"))
PLAN = plan_image(parse_preprocessing({"preset": "unit"}), TensorSpec("image", "float32", (None, 32, 48, 3)))


# The filters of inference.images hold in a runner; pytest puts its own in their place.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def noise(width: int = 64, height: int = 48, channels: int = 3) -> Image.Image:
    pixels = np.random.default_rng(3).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)


def peak_bytes() -> int:
    """The most memory that this process ever held, Pillow's own included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def refusal(data: bytes, plan: Any = PLAN) -> str:
    """The sentence, read within seconds and without memory for the pixels."""
    start, before_bytes = time.monotonic(), peak_bytes()
    with pytest.raises(BadImage) as caught:
        decode_image(data, plan)
    assert time.monotonic() - start < 10
    assert peak_bytes() - before_bytes < 200 * 2**20
    assert caught.value.message.endswith(".")
    return caught.value.message


def webp_header(kind: bytes, content: bytes) -> bytes:
    body = b"WEBP" + kind + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    "bomb",
    [
        png(60_000, 60_000),
        png(13_000, 13_000, rows=bytes(13_001 * 1000)),
        png(8_000, 8_000),
        png(6_400, 6_400),
        b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + b"\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;",
        b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 50_000, 50_000, 1, 24, *[0] * 6),
        webp_header(b"VP8X", b"\0\0\0\0" + (60_000).to_bytes(3, "little") + (60_000).to_bytes(3, "little")),
        webp_header(b"VP8L", b"\x2f" + (16_382 | 16_382 << 14).to_bytes(4, "little") + bytes(20)),
        webp_header(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 16_383, 16_383) + bytes(20)),
    ],
    ids=["png 60000", "png 13000", "png 8000", "png 6400", "gif", "bmp", "vp8x", "vp8l", "vp8"],
)
def test_more_than_40_megapixels_are_refused_on_the_header(bomb: bytes) -> None:
    assert "40 megapixels" in refusal(bomb)


def test_a_picture_below_the_limit_is_read_though_pillow_would_be_asked_for_much() -> None:
    data = encoded(Image.new("1", (6300, 6300), 1), "PNG")

    assert (decode_image(data, PLAN) == 1).all()


def test_a_small_tiff_in_one_huge_tile_is_refused() -> None:
    tags = {322: 60_000, 323: 60_000, 256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 277: 1, 324: 200, 325: 20}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))

    assert "40 megapixels" in refusal(b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(300))


@pytest.mark.parametrize("size", [(1, 39_000_000), (39_000_000, 1)])
@pytest.mark.parametrize("wish", [{"resize": "stretch"}, {"resize": "fit"}, {"resize": "crop"}])
def test_long_and_narrow_pictures_take_no_memory(size: tuple[int, int], wish: dict[str, Any]) -> None:
    data = encoded(Image.new("1", size), "PNG")
    plan = plan_image(parse_preprocessing(wish), TensorSpec("image", "float32", (None, 32, 48, 3)))

    before_bytes = peak_bytes()

    try:
        assert decode_image(data, plan).min() == 0
    except BadImage as refused:
        assert "too long and narrow" in refused.message

    assert peak_bytes() - before_bytes < 2**30


def test_text_chunk_bombs_are_refused() -> None:
    bomb = zlib.compress(bytes(100 * 2**20), 9)
    rows = bytes(49 * 32)

    for text in (chunk(b"zTXt", b"a\0\0" + bomb), chunk(b"iTXt", b"a\0\1\0\0\0" + bomb)):
        refusal(png(48, 32, text, rows=rows))
    assert not decode_image(png(48, 32, chunk(b"tEXt", b"a\0b"), rows=rows), PLAN).any()


@pytest.mark.parametrize("between", [b"", b"\xff\x01\xff\xff", b"\xff\x02\xff\xff"], ids=["scans", "TEM", "reserved"])
def test_a_progressive_jpeg_that_goes_over_its_pixels_thousands_of_times_is_refused(between: bytes) -> None:
    whole = encoded(Image.new("L", (6000, 6000), 128), "JPEG", progressive=True)
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00"

    assert "small pieces" in refusal(whole[:-2] + between + 10_000 * scan + whole[-2:])
    assert "small pieces" in refusal(whole[:-2] + 10_000_000 * b"\xff\xe5\x00\x02" + whole[-2:])


@pytest.mark.parametrize("before", [b"", b"\xff\xd9", b"\xff\xf0\xff\xff"], ids=["parts", "an end", "reserved"])
def test_a_jpeg_whose_exif_data_comes_in_thousands_of_parts_is_refused(before: bytes) -> None:
    whole = encoded(noise(), "JPEG")
    part = b"\xff\xe1" + (8 + 400).to_bytes(2, "big") + b"Exif\0\0" + bytes(400)

    assert "small pieces" in refusal(whole[:2] + part + before + 40_000 * part + whole[2:])
    assert decode_image(whole[:2] + 20 * part + whole[2:], PLAN).shape == (32, 48, 3)


def test_what_is_no_part_of_a_jpeg_counts_for_nothing() -> None:
    """A comment before the picture, and the film that a phone writes behind it."""
    scans = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00" * 500
    whole = encoded(noise(48, 32), "JPEG", progressive=True, comment=scans)

    assert np.array_equal(decode_image(whole + scans, PLAN), decode_image(whole, PLAN))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_a_picture_of_millions_of_empty_pieces_is_refused_soon(kind: str) -> None:
    whole = encoded(noise(8, 8), kind)
    piece, at = {
        "JPEG": (b"\xff\xe5\x00\x02", 2),  # behind the start
        "PNG": (chunk(b"vpAg", b""), 33),  # behind the header
        "GIF": (b"\x00", len(whole) - 1),  # where the next picture would begin
    }[kind]
    assert "small pieces" in refusal(whole[:at] + piece * (20_000_000 // len(piece)) + whole[at:])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
def test_cut_off_pictures_are_refused(kind: str, share: float) -> None:
    data = encoded(noise(), kind)

    assert "damaged or cut off" in refusal(data[: max(20, int(len(data) * share))])


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"\0" * 20, "not a picture"),
        (b"hello, this is text", "not a picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "an HEIC picture"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "an HEIC picture"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "an AVIF picture"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "a video"),
        (b'<?xml version="1.0"?>\n<!-- a --><svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"\xef\xbb\xbf  <svg width='1'>", "an SVG drawing"),
        (b"\n<!DOCTYPE html><html></html>", "an HTML page"),
        (b"<html><img src=x>", "an HTML page"),
        (b"%PDF-1.7\n", "a PDF file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "an EPS or PostScript file"),
        (b"\xc5\xd0\xd3\xc6" + bytes(40), "an EPS or PostScript file"),
        (b"P6 1 1 255\n\0\0\0", "not a picture"),
        (b"PK\x03\x04" + bytes(40), "a ZIP archive"),
    ],
)  # fmt: skip
def test_other_kinds_are_named(data: bytes, word: str) -> None:
    sentence = refusal(data)

    assert word in sentence
    assert sentence.endswith("Send JPEG, PNG, WebP, GIF, BMP or TIFF.")


def test_naming_a_kind_takes_no_time_whatever_the_text() -> None:
    for text in (b"<!---->" * 400, b"<!--" * 600, b" " * 4000, b"<!doctype svg>" * 200, b"<?xml" * 500):
        start = time.monotonic()
        refusal(text)
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("mode", ["F", "I"])
def test_numbers_without_a_fixed_white_are_refused(mode: str) -> None:
    assert "8 or 16 bits" in refusal(encoded(noise(channels=1).convert(mode), "TIFF"))


@pytest.mark.parametrize(
    ("tag", "value", "word"),
    [(258, 12, "12 bits"), (262, 0, "0 for white"), (258, 13, "in a way that is not read here")],
)
def test_greys_that_pillow_would_misread_are_refused(tag: int, value: int, word: str) -> None:
    data = bytearray(encoded(Image.fromarray(np.zeros((4, 4), np.uint16)), "TIFF"))
    struct.pack_into("<I", data, data.index(struct.pack("<HHI", tag, 3, 1)) + 8, value)

    assert word in refusal(bytes(data))


def test_formats_that_were_not_asked_for_are_not_even_tried() -> None:
    for kind in ("PPM", "ICO", "TGA", "PCX", "EPS", "JPEG2000", "SGI", "IM", "PDF"):
        refusal(encoded(noise(), kind))


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One to eight changes: a byte, a run, a cut, a piece twice, a length field of all ones."""
    new = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 8])):
        at = chance.randrange(min(len(new), chance.choice([40, 400, len(new)])) or 1)
        change = chance.randrange(6)
        if change == 0:
            new[at : at + 1] = bytes([chance.randrange(256)])
        elif change == 1:
            new[at : at + 1] = bytes([new[at] ^ (1 << chance.randrange(8))]) if at < len(new) else b""
        elif change == 2:
            new[at : at + 4] = chance.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0"])
        elif change == 3:
            del new[at : at + chance.randint(1, 16)]
        elif change == 4:
            new[at:at] = new[at : at + chance.randint(1, 64)]
        else:
            new[at : at + 8] = chance.randbytes(8)
    return bytes(new)


def seeds() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    small = noise(20, 14)
    frames = [noise(16, 16).quantize(8), noise(16, 16).quantize(8)]
    return [
        encoded(small, "JPEG", exif=exif),
        encoded(small, "JPEG", progressive=True),
        encoded(small.convert("CMYK"), "JPEG"),
        encoded(small, "PNG", exif=exif),
        encoded(small.quantize(8), "PNG", transparency=1),
        encoded(noise(20, 14, 4), "PNG"),
        encoded(Image.fromarray(np.arange(280, dtype=np.uint16).reshape(14, 20)), "PNG"),
        encoded(small, "WEBP", exif=exif),
        encoded(noise(20, 14, 4), "WEBP", lossless=True),
        encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        encoded(small, "BMP"),
        encoded(small.convert("1"), "BMP"),
        encoded(small, "TIFF", exif=exif),
        encoded(small, "TIFF", compression="tiff_lzw"),
        encoded(small, "TIFF", compression="jpeg"),
        encoded(small.convert("1"), "TIFF", compression="group4"),
        encoded(small.convert("LA"), "TIFF", compression="tiff_deflate"),
        encoded(small.convert("LAB"), "TIFF"),
    ]


@pytest.mark.long
def test_of_damaged_pictures_only_bad_image_comes_out() -> None:
    pictures = seeds()
    chance = random.Random(20)
    read = 0

    for number in range(MUTATIONS):
        data = mutated(pictures[number % len(pictures)], chance)
        try:
            array = decode_image(data, PLAN)
        except BadImage as refused:
            assert refused.message.endswith(".")
        else:
            assert array.shape == (32, 48, 3) and np.isfinite(array).all()
            read += 1

    print(f"{MUTATIONS} damaged pictures: {read} read, {MUTATIONS - read} refused")
    assert 0 < read < MUTATIONS
