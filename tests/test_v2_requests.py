"""Requests of V2 become tensors: raw bodies and their sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inference.errors import PortalError
from inference.postprocessing import Postprocessing
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
    question = read_request(body, None if header_length is None else str(header_length), served).question
    assert isinstance(question, Tensors)
    return question.inputs[spec.name]


def test_a_raw_body_of_another_size_is_told_in_words_that_fit_it() -> None:
    with pytest.raises(PortalError) as refusal:
        asked(TensorSpec("x", "float32", (None, 4)), bytes(10), 0)

    assert refusal.value.message == "The input x needs 16 bytes for its shape; the request holds 10."
