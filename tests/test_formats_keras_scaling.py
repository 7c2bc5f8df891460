"""Whether a Keras model scales its own inputs is read from the description of its first layers."""

from __future__ import annotations

from typing import Any

import pytest

from inference.formats.keras_scaling import scaling_notes


def layer(class_name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": {"name": class_name.lower(), **config}}


def model(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Functional", "config": {"layers": [layer("InputLayer"), *layers]}}


def operation(function: str, **given: Any) -> dict[str, Any]:
    """A function of TensorFlow between two layers, as Keras 2 writes it."""
    return {**layer("TFOpLambda", function=function), "inbound_nodes": [["in", 0, 0, {**given, "name": None}]]}


def call(class_name: str, *arguments: Any) -> dict[str, Any]:
    """An operation between two layers, as Keras 3 writes it."""
    return {**layer(class_name), "inbound_nodes": [{"args": list(arguments), "kwargs": {}}]}


CONVOLUTION = layer("Conv2D", filters=3)
MEAN = [-103.939, -116.779, -123.68]
PIXELS = {"class_name": "__keras_tensor__", "config": {"shape": [None, 8, 8, 3], "keras_history": ["in", 0, 0]}}
LESS_MEAN = {"class_name": "__tensor__", "config": {"value": [[[MEAN]]], "dtype": "float32"}}


@pytest.mark.parametrize(
    ("config", "how"),
    [
        (model(layer("Rescaling", scale=1 / 255, offset=0.0), CONVOLUTION), "Rescaling 1/255"),
        (model(layer("RandomFlip"), layer("Rescaling", scale=1 / 127.5, offset=-1)), "Rescaling 1/127.5, −1"),
        (model(layer("Rescaling", scale=[1 / 255, 1 / 255, 1 / 255])), "Rescaling 1/255"),
        (model(layer("Normalization", axis=-1), CONVOLUTION), "Normalization"),
        (model({**model(layer("Rescaling", scale=1 / 255)), "class_name": "Sequential"}), "Rescaling 1/255"),
        (model(call("TrueDivide", PIXELS, 127.5)), "divided by 127.5"),
        (model(call("Multiply", PIXELS, 1 / 255)), "divided by 255"),
        (model(call("Multiply", 1 / 255, PIXELS)), "divided by 255"),
        (model(call("Subtract", PIXELS, 127.5), call("TrueDivide", PIXELS, 127.5)), "less 127.5"),
        (
            model(*[layer("GetItem")] * 3, layer("Stack"), call("Add", PIXELS, LESS_MEAN)),  # mode "caffe"
            "less the mean of each channel",
        ),
        (model(layer("RandAugment"), layer("RandomHue"), layer("Rescaling", scale=1 / 255)), "Rescaling 1/255"),
        (model(operation("cast", dtype="float32"), operation("math.truediv", y=127.5)), "divided by 127.5"),
        (model(operation("math.multiply", y=1 / 255)), "divided by 255"),
        (model(operation("math.subtract", y=127.5)), "less 127.5"),
        (model(layer("SlicingOpLambda"), operation("nn.bias_add", bias=MEAN)), "less the mean of each channel"),
        ({"class_name": "Sequential", "config": [layer("Rescaling", scale=1 / 255)]}, "Rescaling 1/255"),
    ],
)
def test_a_first_layer_that_scales_is_noted(config: dict[str, Any], how: str) -> None:
    assert scaling_notes(config) == (f"The model scales its inputs itself ({how}).",)


@pytest.mark.parametrize(
    "config",
    [
        model(CONVOLUTION, layer("Rescaling", scale=1 / 255)),
        model(layer("Rescaling", scale=2.0)),
        model(layer("Rescaling", scale="many")),
        model(call("TrueDivide", PIXELS, PIXELS)),
        model(call("Add", PIXELS, 127.5)),
        model(call("Subtract", PIXELS, PIXELS)),
        model(call("Multiply", [PIXELS, PIXELS])),
        model(operation("math.truediv", y=2.0)),
        model(operation("math.multiply", y=0)),
        model(operation("math.multiply", y=["in", 0, 0])),
        model(operation("nn.bias_add", bias=[0.1, 0.2, 0.3])),
        model(operation("math.add", y=127.5)),
        model(),
        {"class_name": "Sequential"},
    ],
)
def test_anything_else_is_not(config: dict[str, Any]) -> None:
    assert scaling_notes(config) == ()
