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


CONVOLUTION = layer("Conv2D", filters=3)
MEAN = [-103.939, -116.779, -123.68]


@pytest.mark.parametrize(
    ("config", "how"),
    [
        (model(layer("Rescaling", scale=1 / 255, offset=0.0), CONVOLUTION), "Rescaling 1/255"),
        (model(layer("RandomFlip"), layer("Rescaling", scale=1 / 127.5, offset=-1)), "Rescaling 1/127.5, −1"),
        (model(layer("Rescaling", scale=[1 / 255, 1 / 255, 1 / 255])), "Rescaling 1/255"),
        (model(layer("Normalization", axis=-1), CONVOLUTION), "Normalization"),
        (model({**model(layer("Rescaling", scale=1 / 255)), "class_name": "Sequential"}), "Rescaling 1/255"),
        (model({**layer("TrueDivide"), "inbound_nodes": [{"args": [{}, 127.5]}]}), "divided by 127.5"),
        (model(operation("cast", dtype="float32"), operation("math.truediv", y=127.5)), "divided by 127.5"),
        (model(operation("math.multiply", y=1 / 255)), "divided by 255"),
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
        model({**layer("TrueDivide"), "inbound_nodes": [{"args": [{}, {}]}]}),
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
