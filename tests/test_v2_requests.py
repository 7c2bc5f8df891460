"""Requests of V2 become tensors: raw bodies and their sizes, texts as clients shape them."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from inference import texts
from inference.errors import PortalError
from inference.postprocessing import Postprocessing
from inference.protocols.datatypes import datatype_of
from inference.protocols.v2 import read_request
from inference.served import Served, Tensors
from inference.signature import Signature, TensorSpec


def asked(spec: TensorSpec, body: bytes, header_length: int | None = None) -> np.ndarray[Any, Any]:
    """The tensor that a model with this input is asked with."""
    served = Served(
        model="m", number=1, format="onnx", engine="onnxruntime", signature=Signature((spec,), ()), labels=(),
        postprocessing=Postprocessing(), answer=None, takes_pictures=False, max_batch=4, timeout_s=1.0, instances=(),
        paths=(),
    )  # fmt: skip
    model_input = read_request(body, None if header_length is None else str(header_length), served).model_input
    assert isinstance(model_input, Tensors)
    return model_input.inputs[spec.name]


def test_a_raw_body_of_another_size_is_told_in_words_that_fit_it() -> None:
    with pytest.raises(PortalError) as refusal:
        asked(TensorSpec("x", "float32", (None, 4)), bytes(10), 0)

    assert refusal.value.message == "The input x needs 16 bytes for its shape; the request holds 10."


@pytest.mark.parametrize(
    ("of_model", "sent", "taken"),
    [((None,), [2, 1], (2,)), ((None, 1), [2, 1], (2, 1)), ((None, 1), [2, 1, 1], (2, 1)), ((2,), [2, 1], (2,))],
)
def test_texts_may_have_an_axis_of_one_more_than_the_model(
    of_model: tuple[int | None, ...], sent: list[int], taken: tuple[int, ...]
) -> None:
    """MLServer's codec of texts makes [N, 1] of all that it sends."""
    spec = TensorSpec("x", "string", of_model)
    tensor = {"name": "x", "shape": sent, "datatype": "BYTES"}
    packed = texts.pack([b"a", b"b"])
    header = orjson.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(packed)}}]})
    deep = np.array(["a", "b"]).reshape(sent).tolist()

    for found in (
        asked(spec, orjson.dumps({"inputs": [tensor | {"data": ["a", "b"]}]})),
        asked(spec, orjson.dumps({"inputs": [tensor | {"data": deep}]})),
        asked(spec, header + packed, len(header)),
    ):
        assert (found.shape, found.ravel().tolist()) == (taken, [b"a", b"b"])


@pytest.mark.parametrize(
    ("spec", "sent"),
    [(TensorSpec("x", "string", (None,)), {"datatype": "BYTES", "shape": [1, 2], "data": ["a", "b"]}),
     (TensorSpec("x", "string", (None,)), {"datatype": "BYTES", "shape": [2, 1, 1], "data": ["a", "b"]}),
     (TensorSpec("x", "float32", (None,)), {"datatype": "FP32", "shape": [2, 1], "data": [1, 2]})],
)  # fmt: skip
def test_no_other_axis_is_too_much(spec: TensorSpec, sent: dict[str, Any]) -> None:
    with pytest.raises(PortalError, match="takes the shape"):
        asked(spec, orjson.dumps({"inputs": [{"name": "x", **sent}]}))


@pytest.mark.parametrize("dtype", ["float32", "int64", "string"])
@pytest.mark.parametrize("shape", [[1, 0, 4], [2, 0, 4], [1, 4, 0], [2, 0, 0]])
def test_a_tensor_without_values_comes_nested_as_far_as_lists_go_or_flat(shape: list[int], dtype: str) -> None:
    spec = TensorSpec("x", dtype, (None, None, None))
    tensor = {"name": "x", "shape": shape, "datatype": datatype_of(dtype)}

    for data in (np.zeros(shape).tolist(), []):
        assert asked(spec, orjson.dumps({"inputs": [tensor | {"data": data}]})).shape == tuple(shape)


@pytest.mark.parametrize(
    ("shape", "data"),
    [([2, 2, 2], [[1, 2, 3, 4], [5, 6, 7, 8]]), ([2, 4], [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]),
     ([8], [[1, 2, 3, 4, 5, 6, 7, 8]]),
     ([1, 8], [[[1, 2, 3, 4, 5, 6, 7, 8]]]), ([2, 4, 1], [[1, 2, 3, 4], [5, 6, 7, 8]])],
)  # fmt: skip
def test_lists_may_join_axes_or_part_them(shape: list[int], data: list[Any]) -> None:
    """As Triton's server, which counts the values only; rows must stay rows here."""
    tensor = {"name": "x", "shape": shape, "datatype": "FP32", "data": data}

    found = asked(TensorSpec("x", "float32", (None,) * len(shape)), orjson.dumps({"inputs": [tensor]}))

    assert np.array_equal(found, np.arange(1, 9, dtype=np.float32).reshape(shape))


@pytest.mark.parametrize(
    ("shape", "data"),
    [([1, 0, 4], [[], []]), ([1, 0, 4], [[[]]]), ([1, 4, 0], [[], [], [], []]), ([0], [[]]), ([1, 2, 2], [[]]),
     ([1, 0, 4], [0]), ([3, 2], [[1, 2, 3], [4, 5, 6]]), ([2, 2], [[1, 2, 3, 4, 5]])],
)  # fmt: skip
def test_lists_that_contradict_the_shape_are_refused(shape: list[int], data: list[Any]) -> None:
    tensor = {"name": "x", "shape": shape, "datatype": "FP32", "data": data}

    with pytest.raises(PortalError, match="has the shape"):
        asked(TensorSpec("x", "float32", (None,) * len(shape)), orjson.dumps({"inputs": [tensor]}))
