"""V2's classes of outputs: [batch, classes], also where the model gives each example one number."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from inference.postprocessing import Postprocessing
from inference.protocols.v2 import InferRequest, WantedOutput, write_answer
from inference.served import Served, Tensors
from inference.signature import Signature, TensorSpec


def answered(sizes: tuple[int | None, ...], values: Any) -> dict[str, Any]:
    """What is said of the best two of an output, of a model with such an input."""
    signature = Signature((TensorSpec("x", "float32", sizes),), (TensorSpec("y", "float32", sizes),))
    served = Served(
        model="m", number=1, format="onnx", engine="onnxruntime", signature=signature, labels=("a", "b"),
        postprocessing=Postprocessing(), answer=None, takes_pictures=False, max_batch=4, timeout_s=1.0, instances=(),
        paths=(),
    )  # fmt: skip
    request = InferRequest(Tensors({}), (WantedOutput("y", False, 2),))
    (output,) = orjson.loads(write_answer(request, served, {"y": np.array(values, np.float32)}).body)["outputs"]
    return {name: output[name] for name in ("shape", "data")}


@pytest.mark.parametrize(
    ("sizes", "values", "shape", "data"),
    [
        ((None, 3), [[1, 3, 2], [4, 0, 5]], [2, 2], ["3:1:b", "2:2:class_2", "5:2:class_2", "4:0:a"]),
        ((None,), [3, 5, 7], [3, 1], ["3:0:a", "5:0:a", "7:0:a"]),
        ((3,), [3, 5, 7], [2], ["7:2:class_2", "5:1:b"]),
    ],
    ids=["rows of scores", "a number each", "no batch"],
)
def test_each_example_has_its_own_classes(
    sizes: tuple[int | None, ...], values: Any, shape: list[int], data: list[str]
) -> None:
    told = answered(sizes, values)

    assert told["shape"] == shape
    assert [text.replace(".000000", "") for text in told["data"]] == data
