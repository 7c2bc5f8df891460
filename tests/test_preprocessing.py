"""What the owner wishes, what the model takes, and what follows from both."""

from __future__ import annotations

from typing import Any

import pytest

from inference.errors import BadInput, ValidationFailed
from inference.preprocessing import Preprocessing, check_preprocessing, describe, parse_preprocessing, plan_image
from inference.signature import Signature, TensorSpec


def spec(*shape: int | None, dtype: str = "float32") -> TensorSpec:
    return TensorSpec("image", dtype, shape)


RGB_224 = spec(None, 224, 224, 3)


def test_everything_is_optional() -> None:
    assert parse_preprocessing({}) == Preprocessing() == parse_preprocessing(None)
    assert Preprocessing().as_json() == {}


def test_what_was_given_comes_back_without_the_presets_fields() -> None:
    given = {
        "preset": "imagenet-torch",
        "resize": "crop",
        "size": [224, 192],
        "short_side": 256,
        "interpolation": "lanczos",
        "color": "bgr",
        "layout": "nchw",
        "mean": [0.5, 0.5, 0.5],
        "std": 2,
        "per_image_standardize": False,
        "background": "#00ff7F",
    }

    parsed = parse_preprocessing(given)

    assert parsed.as_json() == given
    assert parse_preprocessing(parsed.as_json()) == parsed


@pytest.mark.parametrize(
    "value",
    [
        [], "unit", 7, False,
        {"prest": "unit"}, {"preset": "imagenet"}, {"preset": 1}, {"preset": []},
        {"resize": "pad"}, {"interpolation": "area"}, {"color": "hsv"}, {"layout": "hwc"},
        {"size": 224}, {"size": [224]}, {"size": [224, 224, 3]}, {"size": [224.0, 224]}, {"size": [True, 224]},
        {"size": [0, 224]}, {"size": [-1, 224]}, {"size": [10**9, 1]}, {"size": "224"}, {"size": [None, 224]},
        {"short_side": 0}, {"short_side": True}, {"short_side": "256"},
        {"scale": 0}, {"scale": "1/255"}, {"scale": float("nan")}, {"scale": float("inf")}, {"scale": 10**400},
        {"scale": True}, {"mean": [1, 2]}, {"mean": [1, 2, "3"]}, {"mean": []}, {"mean": {"r": 1}}, {"mean": True},
        {"std": 0}, {"std": -1}, {"std": [1, 0, 1]}, {"std": [1, float("nan"), 1]},
        {"per_image_standardize": 1}, {"per_image_standardize": "true"},
        {"background": "white"}, {"background": "#ffff"}, {"background": "#fffffg"}, {"background": 0},
        {"background": "#ffffff\n"},
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_a_sentence(value: Any) -> None:
    with pytest.raises(ValidationFailed) as caught:
        parse_preprocessing(value)

    assert list(caught.value.fields) == ["preprocessing"]
    assert caught.value.message.endswith(".")


def test_the_defaults_come_from_the_input() -> None:
    plan = plan_image(Preprocessing(), spec(None, 48, 64, 3))

    assert (plan.height, plan.width, plan.layout, plan.color, plan.shape) == (48, 64, "nhwc", "rgb", (48, 64, 3))
    assert (plan.resize, plan.interpolation, plan.background) == ("stretch", "bilinear", (255, 255, 255))
    assert (plan.scale, plan.mean, plan.std, plan.dtype) == (1.0, (0.0,) * 3, (1.0,) * 3, "float32")


@pytest.mark.parametrize(("channels", "color"), [(1, "gray"), (3, "rgb"), (4, "rgba")])
def test_the_colour_follows_the_channels(channels: int, color: str) -> None:
    assert plan_image(Preprocessing(), spec(None, 8, 8, channels)).color == color
    assert plan_image(Preprocessing(), spec(1, channels, 8, 8)).layout == "nchw"


def test_explicit_fields_win_over_the_preset() -> None:
    wish = parse_preprocessing({"preset": "imagenet-caffe", "color": "rgb", "mean": [1, 2, 3]})

    plan = plan_image(wish, RGB_224)

    assert (plan.color, plan.mean, plan.std) == ("rgb", (1.0, 2.0, 3.0), (1.0,) * 3)


def test_an_explicit_layout_wins_where_both_readings_are_possible() -> None:
    both = spec(None, 3, 32, 3)

    assert plan_image(Preprocessing(), both).shape == (3, 32, 3)
    plan = plan_image(parse_preprocessing({"layout": "nchw"}), both)
    assert (plan.shape, plan.height, plan.width) == ((3, 32, 3), 32, 3)


def test_colour_and_layout_stand_in_for_a_free_channel_axis() -> None:
    wish = parse_preprocessing({"layout": "nchw", "color": "rgb", "size": [32, 32]})

    assert plan_image(wish, spec(None, None, None, None)).shape == (3, 32, 32)


@pytest.mark.parametrize("free", [(None, None), (None, 32), (32, None)])
def test_a_free_size_needs_a_size(free: tuple[int | None, int | None]) -> None:
    with pytest.raises(BadInput, match=r"preprocessing\.size") as caught:
        plan_image(Preprocessing(), spec(None, *free, 3))
    assert list(caught.value.fields) == ["preprocessing.size"]

    assert plan_image(parse_preprocessing({"size": [32, 32]}), spec(None, *free, 3)).shape == (32, 32, 3)


@pytest.mark.parametrize(
    "no_pictures",
    [spec(None, 10), spec(None), spec(), spec(None, 8, 8), spec(None, 8, 8, 7), spec(None, 8, 8, 3, dtype="string")],
)
def test_an_input_without_pictures_points_to_instances(no_pictures: TensorSpec) -> None:
    for wish in ({}, {"layout": "nchw"}, {"layout": "nhwc", "size": [8, 8]}):
        with pytest.raises(BadInput, match="Send `instances`"):
            plan_image(parse_preprocessing(wish), no_pictures)


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"color": "gray"}, "color"),
        ({"color": "rgba"}, "color"),
        ({"layout": "nchw"}, "layout"),
        ({"size": [100, 224]}, "size"),
        ({"mean": [1]}, "mean"),
        ({"std": [1, 1, 1, 1]}, "std"),
        ({"resize": "crop", "short_side": 200}, "short_side"),
    ],
)
def test_what_contradicts_the_model_is_named(wish: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        plan_image(parse_preprocessing(wish), RGB_224)

    assert list(caught.value.fields) == [f"preprocessing.{field}"]
    assert caught.value.message.startswith(f"preprocessing.{field} ")
    assert check_preprocessing(parse_preprocessing(wish), Signature((RGB_224,), ())) == caught.value.message


@pytest.mark.parametrize(
    ("wish", "inputs"),
    [
        ({"size": [224, 224]}, (RGB_224,)),
        ({}, (spec(None, None, None, 3),)),
        ({"size": [8, 8]}, (spec(None, 10),)),
        ({"size": [8, 8]}, (RGB_224, RGB_224)),
    ],
    ids=["it fits", "the size is still to come", "no pictures are taken", "two inputs"],
)
def test_what_may_still_work_is_left_alone(wish: dict[str, Any], inputs: tuple[TensorSpec, ...]) -> None:
    assert check_preprocessing(parse_preprocessing(wish), Signature(inputs, ())) is None


def test_a_huge_input_is_refused() -> None:
    with pytest.raises(BadInput, match="40 megapixels"):
        plan_image(Preprocessing(), spec(None, 20_000, 20_000, 3))


def test_the_choice_is_told_in_words_with_numbers() -> None:
    def words(wish: dict[str, Any], model: TensorSpec = RGB_224) -> str:
        return describe(parse_preprocessing(wish), model)

    assert words({"preset": "symmetric", "resize": "fit"}) == (
        "The picture is fitted into 224 × 224 with white borders, as RGB. "
        "Each pixel is divided by 127.5, then 1 is taken away: black becomes −1, white 1."
    )
    assert words({}) == (
        "The picture is stretched to 224 × 224, as RGB. Each pixel stays as it is: black becomes 0, white 255."
    )
    assert words({"preset": "unit", "resize": "crop", "short_side": 256, "interpolation": "bicubic"}) == (
        "The picture is resized until its short side is 256, then 224 × 224 is cut from its centre (bicubic), as RGB. "
        "Each pixel is divided by 255: black becomes 0, white 1."
    )
    assert words({"preset": "imagenet-caffe"}).endswith(
        "as BGR. From each pixel 103.939, 116.779 and 123.68 are taken away: "
        "black becomes −123.7 to −103.9, white 131.3 to 151.1."
    )
    assert words({"preset": "imagenet-torch"}).endswith(
        "Each pixel is divided by 255, then 0.485, 0.456 and 0.406 are taken away, then it is divided by 0.229, 0.224 "
        "and 0.225: black becomes −2.118 to −1.804, white 2.249 to 2.64."
    )
    assert words({"mean": 128, "std": 128}, spec(None, 64, 96, 1)) == (
        "The picture is stretched to 64 × 96 (height × width), in grey. "
        "From each pixel 128 is taken away, then it is divided by 128: black becomes −1, white 0.9922."
    )
    assert "depends on the picture" in words({"per_image_standardize": True})
    assert words({"mean": 128}, spec(1, 8, 8, 3, dtype="int8")).endswith("The values are rounded to int8.")
