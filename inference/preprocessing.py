"""Combines the owner's settings and the model's input into one plan of how pictures are prepared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, cast

from inference.errors import BadInput
from inference.json_object import JsonObject, given_fields, is_integer, is_number
from inference.signature import CHANNEL_COUNTS, ImageAxes, Layout, Signature, TensorSpec, image_axes

Resize = Literal["stretch", "fit", "crop"]
Interpolation = Literal["bilinear", "nearest", "bicubic", "lanczos"]
Color = Literal["rgb", "bgr", "gray", "rgba"]
Numbers = float | tuple[float, ...]

RESIZES = ("stretch", "fit", "crop")
INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "lanczos")
LAYOUTS = ("nhwc", "nchw")
CHANNELS: dict[str, int] = {"rgb": 3, "bgr": 3, "gray": 1, "rgba": 4}
COLOR_OF_CHANNELS: dict[int, Color] = {1: "gray", 3: "rgb", 4: "rgba"}

MAX_PIXELS = 40_000_000
MAX_SIDE = 4096
SCALES_ITSELF = "The model scales its inputs itself"
"""Beginning of the note about a file whose first layers already do what a preset would do."""
LARGEST = 1e12
SMALLEST = 1e-12

INTEGER_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
FLOAT_DTYPES = ("float16", "float32", "float64")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What the owner set; None means not set. `size` is (height, width).

    A pixel of 0–255 becomes (pixel × scale − mean) ÷ std, mean and std in the order after colour conversion.
    """

    preset: str | None = None
    resize: Resize | None = None
    size: tuple[int, int] | None = None
    short_side: int | None = None
    interpolation: Interpolation | None = None
    color: Color | None = None
    layout: Layout | None = None
    scale: float | None = None
    mean: Numbers | None = None
    std: Numbers | None = None
    per_image_standardize: bool | None = None
    background: str | None = None

    def as_json(self) -> dict[str, Any]:
        return given_fields(self)

    def resolved(self) -> Preprocessing:
        """The same, with fields that are not set filled in from the preset."""
        if self.preset is None:
            return self
        filling = PRESETS[self.preset]
        missing = {
            field.name: getattr(filling, field.name)
            for field in fields(self)
            if getattr(self, field.name) is None and getattr(filling, field.name) is not None
        }
        return replace(self, **missing)


# The constants are those of keras.applications' "tf", "torch" and "caffe" modes.
PRESETS: dict[str, Preprocessing] = {
    "none": Preprocessing(scale=1, mean=0, std=1),
    "unit": Preprocessing(scale=1 / 255, mean=0, std=1),
    "symmetric": Preprocessing(scale=1 / 127.5, mean=1, std=1),
    "imagenet-torch": Preprocessing(scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "imagenet-caffe": Preprocessing(color="bgr", scale=1, mean=(103.939, 116.779, 123.68), std=1),
}


class Contradiction(BadInput):
    """The settings can never fit the model's input; `fields` names the wrong one, such as "preprocessing.size"."""


class SizeMissing(BadInput):
    """The model leaves the size of its pictures free, and the owner has set none."""


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """How one picture becomes one array, completely specified.

    `mean` and `std` hold one number a channel. `short_side` counts for crop only. `background` is RGB.
    """

    height: int
    width: int
    layout: Layout
    color: Color
    resize: Resize
    short_side: int
    interpolation: Interpolation
    background: tuple[int, int, int]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    per_image_standardize: bool
    dtype: str

    @property
    def channels(self) -> int:
        return CHANNELS[self.color]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one picture, without the batch axis."""
        if self.layout == "nchw":
            return self.channels, self.height, self.width
        return self.height, self.width, self.channels

    @property
    def black_and_white(self) -> tuple[list[float], list[float]]:
        """What the pixels 0 and 255 become, in each channel. Not valid for `per_image_standardize`."""
        black, white = (
            [(pixel * self.scale - mean) / std for mean, std in zip(self.mean, self.std, strict=True)]
            for pixel in (0, 255)
        )
        return black, white


def parse_preprocessing(value: object) -> Preprocessing:
    """Preprocessing from decoded JSON. Raises ValidationFailed on "preprocessing"."""
    given = JsonObject.read("preprocessing", value, [field.name for field in fields(Preprocessing)])
    scale = given.number("scale", -LARGEST, LARGEST)
    if scale is not None and abs(scale) < SMALLEST:
        given.refuse("scale", "a number other than 0")
    return Preprocessing(
        preset=given.choice("preset", tuple(PRESETS)),
        resize=cast(Resize | None, given.choice("resize", RESIZES)),
        size=_size(given),
        short_side=given.integer("short_side", 1, MAX_SIDE),
        interpolation=cast(Interpolation | None, given.choice("interpolation", INTERPOLATIONS)),
        color=cast(Color | None, given.choice("color", tuple(CHANNELS))),
        layout=cast(Layout | None, given.choice("layout", LAYOUTS)),
        scale=scale,
        mean=_numbers(given, "mean", -LARGEST, "a number, or a list with one number for each colour channel"),
        std=_numbers(given, "std", SMALLEST, "a number above 0, or a list with one for each colour channel"),
        per_image_standardize=given.boolean("per_image_standardize"),
        background=_background(given),
    )


def _size(given: JsonObject) -> tuple[int, int] | None:
    value = given.values.get("size")
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(is_integer(n, 1, MAX_SIDE) for n in value):
        given.refuse("size", f"[height, width], two whole numbers from 1 to {MAX_SIDE:,}")
    return value[0], value[1]


def _numbers(given: JsonObject, key: str, least: float, wanted: str) -> Numbers | None:
    value = given.values.get(key)
    if value is None or is_number(value, least, LARGEST):
        return cast(float | None, value)
    if not isinstance(value, list | tuple) or len(value) not in CHANNEL_COUNTS:
        given.refuse(key, wanted)
    if not all(is_number(n, least, LARGEST) for n in value):
        given.refuse(key, wanted)
    return tuple(value)


def _background(given: JsonObject) -> str | None:
    value = given.values.get("background")
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})", value):
        given.refuse("background", "a colour like #ffffff")
    return str(value)


def plan_image(preprocessing: Preprocessing, spec: TensorSpec) -> ImagePlan:
    """The owner's settings, completed from the model's input and defaults.

    Raises BadInput if the input takes no pictures or too large ones, SizeMissing if it leaves the size free and none is
    set, Contradiction if settings and input contradict each other.
    """
    wish = preprocessing.resolved()
    dtype = _dtype(spec)
    axes = _axes(wish, spec)
    height, width = _height_width(wish, axes)
    color: Color = wish.color or COLOR_OF_CHANNELS[axes.channels]
    if CHANNELS[color] != axes.channels:
        raise _conflict(
            "color",
            f"is {color}, {_channels(CHANNELS[color])}, and the model takes {_channels(axes.channels)}. "
            f"Set it to {COLOR_OF_CHANNELS[axes.channels]}, or leave it out.",
        )
    short_side = wish.short_side or max(height, width)
    if wish.resize == "crop" and short_side < max(height, width):
        raise _conflict(
            "short_side", f"is {short_side} and {max(height, width)} are cut out. Set it to at least that much."
        )
    return ImagePlan(
        height=height,
        width=width,
        layout=axes.layout,
        color=color,
        resize=wish.resize or "stretch",
        short_side=short_side,
        interpolation=wish.interpolation or "bilinear",
        background=_rgb(wish.background or "#ffffff"),
        scale=1.0 if wish.scale is None else float(wish.scale),
        mean=_for_channels("mean", 0.0 if wish.mean is None else wish.mean, axes.channels),
        std=_for_channels("std", 1.0 if wish.std is None else wish.std, axes.channels),
        per_image_standardize=bool(wish.per_image_standardize),
        dtype=dtype,
    )


def check_preprocessing(preprocessing: Preprocessing, signature: Signature) -> str | None:
    """What to say if these settings can never fit the model; None if they can, or if it takes no pictures."""
    try:
        if len(signature.inputs) == 1:
            plan_image(preprocessing, signature.inputs[0])
    except Contradiction as error:
        return error.message
    except BadInput:  # it takes no pictures, or the size is missing: tensors can still be sent
        pass
    return None


def _conflict(key: str, sentence: str) -> Contradiction:
    message = f"preprocessing.{key} {sentence}"
    return Contradiction(message, fields={f"preprocessing.{key}": [message]})


def _channels(count: int) -> str:
    return "1 colour channel" if count == 1 else f"{count} colour channels"


def _no_pictures(spec: TensorSpec) -> BadInput:
    shape = " × ".join("any" if n is None else str(n) for n in spec.shape)
    return BadInput(f"The model's input ({shape or 'one value'}, {spec.dtype}) takes no pictures. Send `instances`.")


def _dtype(spec: TensorSpec) -> str:
    if spec.dtype in INTEGER_DTYPES or spec.dtype in FLOAT_DTYPES:
        return spec.dtype
    raise _no_pictures(spec)


def _axes(wish: Preprocessing, spec: TensorSpec) -> ImageAxes:
    """The input's axes. A set layout has precedence; a set colour decides the number of channels if that is free."""
    found = image_axes(spec)
    if wish.layout is None or (found is not None and found.layout == wish.layout):
        if found is None:
            raise _no_pictures(spec)
        return found
    if len(spec.shape) != 4:
        raise _no_pictures(spec)
    _, a, b, c = spec.shape
    height, width, channels = (a, b, c) if wish.layout == "nhwc" else (b, c, a)
    if channels is None and wish.color is not None:
        channels = CHANNELS[wish.color]
    if channels not in CHANNEL_COUNTS:
        if found is None:
            raise _no_pictures(spec)
        raise _conflict(
            "layout", f"is {wish.layout} and the model's input is {found.layout}. Set it so, or leave it out."
        )
    return ImageAxes(wish.layout, height, width, channels)


def _height_width(wish: Preprocessing, axes: ImageAxes) -> tuple[int, int]:
    height, width = wish.size or (axes.height, axes.width)
    if height is None or width is None:
        message = "The model takes pictures of any size. Set preprocessing.size to [height, width]."
        raise SizeMissing(message, fields={"preprocessing.size": [message]})
    if axes.height not in (None, height) or axes.width not in (None, width):
        taken = " × ".join("any" if n is None else str(n) for n in (axes.height, axes.width))
        raise _conflict("size", f"is {height} × {width} and the model takes {taken}. Set it to that, or leave it out.")
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise BadInput(
            f"The model takes pictures of {height} × {width}; up to {MAX_PIXELS // 10**6} megapixels can be prepared. "
            "Send `instances`."
        )
    return height, width


def _rgb(background: str) -> tuple[int, int, int]:
    digits = background[1:]
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def _for_channels(key: str, numbers: Numbers, channels: int) -> tuple[float, ...]:
    if not isinstance(numbers, tuple):
        return (float(numbers),) * channels
    if len(numbers) != channels:
        raise _conflict(
            key, f"has {len(numbers)} numbers and the model takes {_channels(channels)}. Give one number for each."
        )
    return tuple(float(n) for n in numbers)


def describe(preprocessing: Preprocessing, spec: TensorSpec) -> str:
    """A description of the plan for people, with its numbers. Raises BadInput as plan_image does."""
    plan = plan_image(preprocessing, spec)
    return f"{_resize_words(plan, preprocessing.resolved())} {_value_words(plan)}"


def _resize_words(plan: ImagePlan, wish: Preprocessing) -> str:
    size = f"{plan.height} × {plan.width}"
    if plan.height != plan.width:
        size += " (height × width)"
    border = "white" if plan.background == (255, 255, 255) else "black" if plan.background == (0, 0, 0) else None
    ways = {
        "stretch": f"is stretched to {size}",
        "fit": f"is fitted into {size} with {border or wish.background} borders",
        "crop": f"is resized until its short side is {plan.short_side}, then {size} is cut from its centre",
    }
    filters = {"nearest": " by nearest neighbour", "bicubic": " (bicubic)", "lanczos": " (Lanczos)"}
    color = "in grey" if plan.color == "gray" else f"as {plan.color.upper()}"
    return f"The picture {ways[plan.resize]}{filters.get(plan.interpolation, '')}, {color}."


def _value_words(plan: ImagePlan) -> str:
    rounded = f" The values are rounded to {plan.dtype}." if plan.dtype in INTEGER_DTYPES else ""
    if plan.per_image_standardize:
        return (
            "The mean of all its values is taken away, then they are divided by their standard deviation: what black "
            f"and white become depends on the picture.{rounded}"
        )
    steps = _scale_words(plan.scale) + _mean_words(plan.mean)
    if set(plan.std) != {1.0}:
        steps.append(f"it is divided by {_listed(plan.std)}")
    black, white = plan.black_and_white
    how = "Each pixel stays as it is" if not steps else _sentence(steps)
    return f"{how}: black becomes {_range(black)}, white {_range(white)}.{rounded}"


def value_range(plan: ImagePlan) -> tuple[float, float]:
    """The lowest and highest possible value of a prepared picture; with standardisation, the range of most values."""
    if plan.per_image_standardize:
        return -2.0, 2.0
    black, white = plan.black_and_white
    return min(*black, *white), max(*black, *white)


def _scale_words(scale: float) -> list[str]:
    if scale == 1:
        return []
    divisor = 1 / scale
    if abs(divisor - round(divisor, 3)) < 1e-9 * abs(divisor):
        return [f"it is divided by {shown(divisor)}"]
    return [f"it is multiplied by {shown(scale)}"]


def _mean_words(mean: Sequence[float]) -> list[str]:
    if not any(mean):
        return []
    is_added = all(m <= 0 for m in mean)
    amounts = [-m if is_added else m for m in mean]
    verb = "is" if len(set(amounts)) == 1 else "are"
    return [f"{_listed(amounts)} {verb} {'added' if is_added else 'taken away'}"]


def _sentence(steps: Sequence[str]) -> str:
    first, *others = steps
    if first.startswith("it is"):
        first = f"Each pixel {first.removeprefix('it ')}"
    else:
        first = f"From each pixel {first}" if "taken away" in first else f"To each pixel {first}"
    return ", then ".join([first, *others])


def _listed(numbers: Sequence[float]) -> str:
    if len(set(numbers)) == 1:
        return shown(numbers[0])
    return ", ".join(shown(n) for n in numbers[:-1]) + f" and {shown(numbers[-1])}"


def _range(numbers: Sequence[float]) -> str:
    least, most = shown(min(numbers), 4), shown(max(numbers), 4)
    return least if least == most else f"{least} to {most}"


def shown(number: float, digits: int = 6) -> str:
    """With a true minus sign and no trailing zeros: −1, 127.5, 0.00392157."""
    return f"{number + 0.0:.{digits}g}".replace("-", "−")
