"""From encoded pictures to arrays, against the formulas written out with plain Pillow and numpy."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from inference.images import decode_image, decode_picture
from inference.images.rendering import render_seen
from inference.preprocessing import ImagePlan, parse_preprocessing, plan_image
from inference.signature import TensorSpec
from tests.picture_files import encoded

PILLOW_FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}


def photo(width: int = 97, height: int = 61, mode: str = "RGB") -> Image.Image:
    """Smooth enough for JPEG, with some noise, never symmetric."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(7).integers(0, 40, (height, width))
    bands = [
        (x * 255 / width + noise) % 256,
        (y * 255 / height + noise) % 256,
        (x + 2 * y + noise) % 256,
        (x * 3) % 256,
    ]
    rgba = Image.fromarray(np.stack(bands, axis=-1).astype(np.uint8))
    return rgba if mode == "RGBA" else rgba.convert("RGB").convert(mode)


def plan(
    wish: dict[str, Any] | None = None, shape: tuple[int | None, ...] = (None, 32, 48, 3), dtype: str = "float32"
) -> ImagePlan:
    return plan_image(parse_preprocessing(wish), TensorSpec("image", dtype, shape))


def raw(data: bytes, mode: str = "RGB", size: tuple[int, int] = (48, 32)) -> np.ndarray[Any, Any]:
    """What plain Pillow makes of it: converted, then stretched with the bilinear filter."""
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert(mode).resize(size, Image.Resampling.BILINEAR))
    return pixels.astype(np.float32).reshape(size[1], size[0], -1)


@pytest.mark.parametrize("interpolation", list(PILLOW_FILTERS))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_stretch_is_pillows_resize(interpolation: str, kind: str) -> None:
    data = encoded(photo(), kind)

    array = decode_image(data, plan({"interpolation": interpolation}))

    expected = Image.open(io.BytesIO(data)).resize((48, 32), PILLOW_FILTERS[interpolation])
    np.testing.assert_array_equal(array, np.asarray(expected, dtype=np.float32))
    assert array.dtype == np.float32 and array.flags.c_contiguous


@pytest.mark.parametrize("size", [(97, 61), (61, 97), (300, 20), (20, 300), (48, 32), (640, 1), (1, 640)])
@pytest.mark.parametrize("background", ["#ffffff", "#000", "#204060"])
def test_fit_is_pillows_pad(size: tuple[int, int], background: str) -> None:
    picture = photo(*size)

    array = decode_image(encoded(picture), plan({"resize": "fit", "background": background}))

    if 1 in size:
        inner = picture.resize((48, 1) if size[1] == 1 else (1, 32), Image.Resampling.BILINEAR)
        expected = Image.new("RGB", (48, 32), background)
        expected.paste(inner, (round((48 - inner.width) / 2), round((32 - inner.height) / 2)))
    else:
        expected = ImageOps.pad(picture, (48, 32), Image.Resampling.BILINEAR, color=background)
    np.testing.assert_array_equal(array, np.asarray(expected, dtype=np.float32))


@pytest.mark.parametrize("size", [(97, 61), (61, 97), (60, 60)])
@pytest.mark.parametrize("short_side", [None, 40, 55])
def test_crop_resizes_the_short_side_and_cuts_the_centre(size: tuple[int, int], short_side: int | None) -> None:
    picture = photo(*size)
    wish: dict[str, Any] = {"resize": "crop"} | ({"short_side": short_side} if short_side else {})

    array = decode_image(encoded(picture), plan(wish, (None, 32, 32, 3)))

    side = short_side or 32
    width, height = (
        (side, round(size[1] * side / size[0])) if size[0] < size[1] else (round(size[0] * side / size[1]), side)
    )
    large = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)
    top, left = (height - 32) // 2, (width - 32) // 2
    np.testing.assert_array_equal(array, large[top : top + 32, left : left + 32])


@pytest.mark.parametrize(
    ("color", "mode", "channels"), [("rgb", "RGB", 3), ("bgr", "RGB", 3), ("gray", "L", 1), ("rgba", "RGBA", 4)]
)
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_colours_and_layouts(color: str, mode: str, channels: int, layout: str) -> None:
    data = encoded(photo(mode="RGBA" if color == "rgba" else "RGB"))
    shape = (None, 32, 48, channels) if layout == "nhwc" else (None, channels, 32, 48)

    array = decode_image(data, plan({"color": color, "preset": "unit"}, shape))

    expected = raw(data, mode) / np.float32(255)
    if color == "bgr":
        expected = expected[:, :, ::-1]
    if layout == "nchw":
        expected = expected.transpose(2, 0, 1)
    assert array.shape == shape[1:] and array.flags.c_contiguous
    np.testing.assert_allclose(array, expected, rtol=0, atol=1e-6)


TORCH_MEAN, TORCH_STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
PRESET_FORMULAS = {
    "none": lambda x: x,
    "unit": lambda x: x / 255,
    "symmetric": lambda x: x / 127.5 - 1,
    "imagenet-torch": lambda x: (x / 255 - TORCH_MEAN) / TORCH_STD,
    "imagenet-caffe": lambda x: x[:, :, ::-1] - np.array([103.939, 116.779, 123.68]),
}


@pytest.mark.parametrize("preset", list(PRESET_FORMULAS))
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_presets_are_their_formulas(preset: str, layout: str) -> None:
    data = encoded(photo())
    shape = (None, 32, 48, 3) if layout == "nhwc" else (None, 3, 32, 48)

    array = decode_image(data, plan({"preset": preset}, shape))

    expected = PRESET_FORMULAS[preset](raw(data).astype(np.float64))
    np.testing.assert_allclose(
        array, expected.transpose(2, 0, 1) if layout == "nchw" else expected, rtol=1e-6, atol=1e-6
    )


def test_black_and_white_come_out_exactly() -> None:
    half = Image.new("RGB", (48, 32))
    half.paste((255, 255, 255), (24, 0, 48, 32))

    array = decode_image(encoded(half), plan({"preset": "symmetric"}))

    assert set(np.unique(array)) == {-1.0, 1.0}


def test_own_scale_mean_and_std_a_channel() -> None:
    data = encoded(photo())

    array = decode_image(data, plan({"color": "bgr", "scale": 0.5, "mean": [1, 2, 3], "std": [4, 5, 6]}))

    expected = (raw(data)[:, :, ::-1] * 0.5 - np.array([1, 2, 3])) / np.array([4, 5, 6])
    np.testing.assert_allclose(array, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_per_image_standardize_replaces_scale_mean_and_std(layout: str) -> None:
    data = encoded(photo())
    shape = (None, 32, 48, 3) if layout == "nhwc" else (None, 3, 32, 48)

    array = decode_image(data, plan({"per_image_standardize": True, "preset": "imagenet-torch"}, shape))

    x = raw(data).astype(np.float64)
    expected = (x - x.mean()) / max(x.std(), 1e-6)
    assert array.flags.c_contiguous and array.dtype == np.float32
    np.testing.assert_allclose(array, expected.transpose(2, 0, 1) if layout == "nchw" else expected, atol=1e-5)
    flat = decode_image(encoded(Image.new("RGB", (9, 9), "#808080")), plan({"per_image_standardize": True}))
    assert not flat.any()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64", "uint64"])
def test_whole_number_inputs_are_rounded_and_clipped(dtype: str) -> None:
    data = encoded(photo())

    array = decode_image(data, plan({"scale": 1.3, "mean": 40}, dtype=dtype))

    bounds = np.iinfo(dtype)
    expected = np.clip(np.rint(raw(data).astype(np.float64) * 1.3 - 40), max(bounds.min, -1000), min(bounds.max, 1000))
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, expected.astype(dtype))


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats_are_what_the_model_takes(dtype: str) -> None:
    data = encoded(photo())

    array = decode_image(data, plan({"preset": "unit"}, dtype=dtype))

    assert array.dtype == dtype
    np.testing.assert_allclose(array, raw(data) / 255, atol=1e-3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied_once(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo(), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))

    array = decode_image(data, plan())

    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    expected = turned.convert("RGB").resize((48, 32), Image.Resampling.BILINEAR)
    assert turned.size == ((61, 97) if orientation > 4 else (97, 61))
    np.testing.assert_array_equal(array, np.asarray(expected, dtype=np.float32))


def test_broken_exif_data_says_nothing() -> None:
    data = encoded(photo(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")

    np.testing.assert_array_equal(decode_image(data, plan()), raw(data))


@pytest.mark.parametrize("background", [(255, 255, 255), (32, 64, 96)])
def test_alpha_is_flattened_on_the_background(background: tuple[int, int, int]) -> None:
    picture = photo(48, 32, "RGBA")

    array = decode_image(encoded(picture), plan({"background": "#{:02x}{:02x}{:02x}".format(*background)}))

    pixels = np.asarray(picture, dtype=np.float64)
    alpha = pixels[:, :, 3:] / 255
    np.testing.assert_allclose(array, pixels[:, :, :3] * alpha + np.array(background) * (1 - alpha), atol=0.51)


def test_gray_with_alpha_is_flattened() -> None:
    picture = Image.merge("LA", (photo(48, 32, "L"), Image.new("L", (48, 32), 0)))

    assert (decode_image(encoded(picture), plan({}, (None, 32, 48, 1))) == 255).all()


def test_palettes_are_looked_up_and_their_clear_entry_is_background() -> None:
    palette = photo(48, 32).quantize(16)

    np.testing.assert_array_equal(decode_image(encoded(palette), plan()), np.asarray(palette.convert("RGB")))
    clear = decode_image(encoded(palette, transparency=3), plan({"background": "#ff0000"}))
    assert (clear[np.asarray(palette) == 3] == (255, 0, 0)).all()
    assert (clear[np.asarray(palette) != 3] == np.asarray(palette.convert("RGB"))[np.asarray(palette) != 3]).all()


@pytest.mark.parametrize("mode", ["1", "L"])
def test_one_bit_and_gray_become_what_the_model_takes(mode: str) -> None:
    picture = photo(48, 32, mode)

    for channels, wanted in ((3, "RGB"), (1, "L"), (4, "RGBA")):
        array = decode_image(encoded(picture), plan({}, (None, 32, 48, channels)))
        np.testing.assert_array_equal(array, np.asarray(picture.convert(wanted)).reshape(32, 48, channels))


@pytest.mark.parametrize(("channels", "mode"), [(3, "RGB"), (1, "L"), (4, "RGBA")])
def test_cmyk_is_converted(channels: int, mode: str) -> None:
    data = encoded(photo(mode="CMYK"), "JPEG")

    array = decode_image(data, plan({}, (None, 32, 48, channels)))

    expected = Image.open(io.BytesIO(data)).convert("RGB").convert(mode).resize((48, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(array, np.asarray(expected).reshape(32, 48, channels))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_gray_is_divided_by_257(kind: str) -> None:
    values = np.linspace(0, 65535, 32 * 48).astype(np.uint16).reshape(32, 48)

    array = decode_image(encoded(Image.fromarray(values), kind), plan({}, (None, 32, 48, 1)))

    assert (array.min(), array.max()) == (0, 255)
    np.testing.assert_allclose(array[:, :, 0], values / 257, atol=0.5)


@pytest.mark.parametrize(("kind", "settings"), [("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("PNG", {})])
def test_an_animation_or_several_pages_give_the_first(kind: str, settings: dict[str, Any]) -> None:
    frames = [Image.new("RGB", (48, 32), color) for color in ("#ff0000", "#00ff00", "#0000ff")]

    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **settings)

    assert (decode_image(data, plan()) == (255, 0, 0)).all()
    assert decode_picture(data, plan()).is_first
    assert not decode_picture(encoded(frames[0], kind, **settings), plan()).is_first


def test_the_first_of_an_animation_is_read_where_the_next_is_damaged() -> None:
    frames = [Image.fromarray(np.full((32, 48), shade, np.uint8)) for shade in (255, 100)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    cut = data[: data.rindex(b"\x21\xf9\x04") + 12]

    assert (decode_image(cut, plan()) == 255).all()


def test_a_jpeg_with_a_page_behind_it_is_the_jpeg() -> None:
    data = encoded(photo(), "JPEG")

    np.testing.assert_array_equal(decode_image(data + b"<html><script>", plan()), raw(data))


def test_a_memoryview_is_as_good_as_bytes() -> None:
    data = encoded(photo(), "JPEG")

    np.testing.assert_array_equal(decode_image(memoryview(data), plan()), decode_image(data, plan()))


def test_threads_get_the_same_pixels() -> None:
    pictures = [encoded(photo(60 + i, 50), kind) for i in range(8) for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF")]
    alone = [decode_image(data, plan()) for data in pictures]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: decode_image(data, plan()), pictures * 3))

    assert all(np.array_equal(a, b) for a, b in zip(alone * 3, together, strict=True))


@pytest.mark.parametrize(
    "wish",
    [{}, {"preset": "symmetric"}, {"preset": "imagenet-torch", "color": "rgb"}, {"preset": "imagenet-caffe"}],
)
@pytest.mark.parametrize("shape", [(None, 32, 48, 3), (None, 3, 32, 48)])
def test_what_the_model_sees_is_the_picture_again(wish: dict[str, Any], shape: tuple[int | None, ...]) -> None:
    data = encoded(photo())
    chosen = plan(wish, shape)

    seen = Image.open(io.BytesIO(render_seen(decode_image(data, chosen), chosen)))

    assert (seen.format, seen.mode) == ("PNG", "RGB")
    np.testing.assert_array_equal(np.asarray(seen, dtype=np.float32), raw(data))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (4, "RGBA")])
def test_what_the_model_sees_in_other_colours(channels: int, mode: str) -> None:
    data = encoded(photo(mode="RGBA"))
    chosen = plan({"per_image_standardize": channels == 1}, (None, 32, 48, channels))

    seen = np.asarray(Image.open(io.BytesIO(render_seen(decode_image(data, chosen), chosen))).convert(mode))

    if channels == 4:
        np.testing.assert_array_equal(seen, raw(data, "RGBA"))
    assert (seen.min(), seen.max()) == (0, 255) or channels == 4


def test_decoding_a_photo_is_quick() -> None:
    data = encoded(photo(1024, 768).resize((1024, 768)), "JPEG", quality=90)
    chosen = plan({"preset": "symmetric"}, (None, 224, 224, 3))

    times_s = []
    for _ in range(20):
        start = time.perf_counter()
        decode_image(data, chosen)
        times_s.append(time.perf_counter() - start)

    print(f"JPEG 1024 × 768, {len(data) // 1024} KiB, to 224 × 224: {sorted(times_s)[10] * 1000:.1f} ms")
    assert sorted(times_s)[10] < 5
