"""Whatever is sent to V2 or V1, the answer is a value or a 4xx: seeded damage to good bodies and headers."""

from __future__ import annotations

import base64
import json
import os
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from inference.errors import PortalError, ValidationFailed
from inference.postprocessing import Postprocessing
from inference.protocols import json_text, tensorflow_serving, v2, v2_repository
from inference.protocols.answer import error_answer
from inference.protocols.content_coding import compress, decompress
from inference.served import Pictures, Served
from inference.signature import Signature, TensorSpec

CASES = int(500 * float(os.environ.get("PORTAL_TEST_SCALE", "1")))
MOST_BYTES = 2**20

IMAGES = Signature((TensorSpec("pixels", "float32", (None, 8, 8, 1)),), (TensorSpec("scores", "float32", (None, 3)),))
NUMBERS = Signature(
    (TensorSpec("a", "float32", (None, 4)), TensorSpec("b", "int32", (None, None))),
    (TensorSpec("sum", "float32", (None, 4)), TensorSpec("flag", "bool", (None,))),
)
WORDS: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**70, 1.5, float("nan"), float("inf"), "", "x", "é\ud800", "BYTES",
    10**400, "FP32", "BF16", "INT64", [], {}, [[]], [None], {"b64": "aGk="}, {"b64": 5}, {"b64": "%%"}, [1, [2]],
    "serving_default", "0" * 999,
]  # fmt: skip


def served(signature: Signature, *, takes_pictures: bool) -> Served:
    return Served(
        model="m", number=1, format="onnx", engine="onnxruntime", signature=signature, labels=("a",),
        postprocessing=Postprocessing(activation="softmax"), answer=signature.outputs[0],
        takes_pictures=takes_pictures, max_batch=4, timeout_s=1.0, instances=(), paths=(),
    )  # fmt: skip


MODELS = [served(IMAGES, takes_pictures=True), served(NUMBERS, takes_pictures=False)]


def good_bodies(generator: random.Random) -> tuple[Any, bytes]:
    """A V2 request that is right for one of the models, and the binary part behind it."""
    flat = [generator.random() for _ in range(8)]
    picture = generator.randbytes(20)
    binary = struct.pack("<I", len(picture)) + picture
    return generator.choice(
        [
            ({"id": "1", "inputs": [{"name": "pixels", "shape": [1, 8, 8, 1], "datatype": "FP32", "data": [0.5] * 64}],
              "outputs": [{"name": "scores", "parameters": {"classification": 2}}]}, b""),
            ({"inputs": [{"name": "pixels", "shape": [1], "datatype": "BYTES",
                          "parameters": {"binary_data_size": len(binary)}}],
              "parameters": {"binary_data_output": True}}, binary),
            ({"inputs": [{"name": "pixels", "shape": [1], "datatype": "BYTES",
                          "data": [base64.b64encode(picture).decode()]}]}, b""),
            ({"inputs": [{"name": "a", "shape": [2, 4], "datatype": "FP32", "data": flat},
                         {"name": "b", "shape": [2, 1], "datatype": "INT32", "parameters": {"binary_data_size": 8}}]},
             struct.pack("<ii", 1, 2)),
        ]
    )  # fmt: skip


def good_rows(generator: random.Random) -> Any:
    return generator.choice(
        [
            {"instances": [{"b64": "aGk="}]},
            {"inputs": {"pixels": {"b64": "aGk="}}},
            {"signature_name": "serving_default", "instances": [{"a": [1, 2, 3, 4], "b": [1]}]},
            {"inputs": {"a": [[1, 2, 3, 4]], "b": [[1]]}},
            {"examples": [{"a": [1, 2, 3, 4], "b": 1}], "context": {"c": 1}},
        ]
    )


def damaged(value: Any, generator: random.Random) -> Any:
    """A copy with one place changed, somewhere in it."""
    if isinstance(value, dict) and value and generator.random() < 0.8:
        key = generator.choice(list(value))
        changed = dict(value)
        if generator.random() < 0.2:
            changed.pop(key)
            return changed
        return changed | {key: damaged(value[key], generator)}
    if isinstance(value, list) and value and generator.random() < 0.8:
        at = generator.randrange(len(value))
        return [*value[:at], damaged(value[at], generator), *value[at + generator.choice([0, 1, 1, 1]) :]]
    return generator.choice(WORDS)


def perhaps_with_a_token(value: Any, generator: random.Random) -> Any:
    """Half of them with a member that nobody reads and only Python's reader takes."""
    return value | {"unread": float("nan")} if isinstance(value, dict) and generator.random() < 0.5 else value


def flipped(body: bytes, generator: random.Random) -> bytes:
    if not body or generator.random() < 0.7:
        return body
    at = generator.randrange(len(body))
    return generator.choice([body[:at], body + b"\x00", body[:at] + generator.randbytes(3) + body[at + 1 :]])


def outputs_of(model: Served, model_input: Any) -> dict[str, np.ndarray]:
    rows = len(model_input.data) if isinstance(model_input, Pictures) else len(next(iter(model_input.inputs.values())))
    return {
        spec.name: np.full([rows, *(n or 2 for n in spec.shape[1:])], np.nan if rows % 2 else 1).astype(spec.dtype)
        for spec in model.signature.outputs
    }


def is_client_error(work: Callable[[], Any]) -> bool:
    """Whether `work` refuses with a 4xx in the protocol's form. Anything else that it raises is the test's failure."""
    try:
        work()
    except PortalError as error:
        answer = error_answer(error)
        assert 400 <= answer.status < 500, (answer.status, error.message)
        assert json.loads(answer.body)["error"]
        assert len(answer.body) < 5000
        return True
    return False


def test_damaged_requests_of_v2_are_4xx_and_good_ones_are_answered() -> None:
    generator = random.Random(20)
    refused = 0
    for _ in range(CASES):
        header, binary = good_bodies(generator)
        for _ in range(generator.choice([0, 1, 1, 2])):
            header = damaged(header, generator)
        header = perhaps_with_a_token(header, generator)
        text = json.dumps(header).encode("utf-8", "replace")
        body = flipped(text + binary, generator)
        length = generator.choice(
            [str(len(text))] * 6 + [None, "0", "-1", "x", "9" * 30, str(len(text) + 1), "1e3", "²"]
        )

        for model in MODELS:

            def ask(model: Served = model, body: bytes = body, length: str | None = length) -> None:
                request = v2.read_request(body, length, model)
                answer = v2.write_answer(request, model, outputs_of(model, request.model_input))
                assert answer.status == 200

            refused += is_client_error(ask)

    print(f"{refused} of {2 * CASES} refused")
    assert CASES / 2 < refused < 2 * CASES


def test_damaged_requests_of_tensorflow_serving_are_4xx() -> None:
    generator = random.Random(21)
    refused = 0
    for _ in range(CASES):
        value = good_rows(generator)
        for _ in range(generator.choice([0, 1, 1, 2])):
            value = damaged(value, generator)
        value = perhaps_with_a_token(value, generator)
        body = flipped(json.dumps(value).encode("utf-8", "replace"), generator)

        for model in MODELS:

            def ask(model: Served = model, body: bytes = body) -> None:
                request = tensorflow_serving.read_predict(body, model)
                answer = tensorflow_serving.write_answer(request, model, outputs_of(model, request.model_input))
                assert answer.status == 200

            def classify(model: Served = model, body: bytes = body) -> None:
                request = tensorflow_serving.read_examples(body, model, "classify")
                tensorflow_serving.write_answer(request, model, outputs_of(model, request.model_input))

            refused += is_client_error(ask)
            is_client_error(classify)

    print(f"{refused} of {2 * CASES} refused")
    assert CASES / 2 < refused < 2 * CASES


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_damaged_codings_are_4xx_and_bombs_are_too_large(coding: Any) -> None:
    generator = random.Random(22)
    whole = compress(b"x" * 5000, coding)
    for _ in range(CASES // 2):
        at = generator.randrange(len(whole))
        broken = generator.choice([whole[:at], whole + b"more", whole[:at] + generator.randbytes(2) + whole[at + 2 :]])
        is_client_error(lambda broken=broken: decompress(broken, coding, MOST_BYTES))  # type: ignore[misc]

    bomb = compress(bytes(64 * MOST_BYTES), coding)
    with pytest.raises(PortalError) as caught:
        decompress(bomb, coding, MOST_BYTES)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":' + b"9" * 100_000 + b"}",
        b"NaN" + b"[" * 9999,
        b'[NaN, "' + b'\\"' * 999_999,
    ],
)
def test_json_that_is_deep_or_endless_is_a_400(text: bytes) -> None:
    assert is_client_error(lambda: json_text.read_object(text))


LINE = {"name": "a", "shape": [1, 4], "datatype": "FP32", "data": [float("nan"), 2, 3, 4]}
ROW = {"instances": [{"a": [float("nan"), 2, 3, 4], "b": [1]}]}


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [LINE | {"name": "\ud800"}]},
        {"inputs": [LINE], "outputs": [{"name": "\udfff"}]},
        {"inputs": [LINE], "parameters": {"\ud800": []}},
        {"inputs": [LINE], "parameters": {"timeout": 10**400}},
        {"inputs": [LINE], "id": "\ud800"},
        ROW | {"signature_name": "\ud800"},
        {"parameters": {"\ud800": float("nan")}},
        {"parameters": {"file:\ud800": float("nan"), "config": "{}"}},
        {"parameters": {"file:1/\ud800.keras": "YWJj", "config": '{"a":NaN}'}, "x": float("nan")},
    ],
)
def test_no_text_that_is_no_unicode_comes_in_with_a_token(body: Any) -> None:
    text = json.dumps(body).encode()

    assert is_client_error(lambda: v2.read_request(text, None, MODELS[1]))
    assert is_client_error(lambda: tensorflow_serving.read_predict(text, MODELS[1]))
    assert is_client_error(lambda: v2_repository.read_load(text))
    assert is_client_error(lambda: json_text.read(text))


@pytest.mark.parametrize(
    "text",
    ["0", "-5", "18446744073709551615", "-9223372036854775808", "18446744073709551616", "-9223372036854775809", "1e5",
     "1" + "0" * 400, "1e400", "-1e400", "01", "+1", "1.", "tru", '"NaN"', '"\\"NaN\\\\"', '"\\ud800"', '"\ufeff"',
     "\ufeff1", "{NaN: 1}", '{"NaN": "Infinity"}'],
)  # fmt: skip
def test_beside_a_token_everything_is_read_as_without(text: str) -> None:
    def read(body: str) -> Any:
        try:
            return json_text.read(body.encode())
        except ValidationFailed:
            return "refused"

    alone, beside = read(f"[{text}]"), read(f"[{text}, NaN]")

    assert beside == "refused" if alone == "refused" else beside[:1] == alone and type(beside[0]) is type(alone[0])


@pytest.mark.parametrize("text", ["-NaN", "1NaN", "NaN1", "NaNNaN", "+Infinity", "Inf", "nan", '["NaN', "NaN 1"])
def test_what_only_looks_like_a_token_is_a_400(text: str) -> None:
    assert is_client_error(lambda: json_text.read(f"[{text}, NaN]".encode()))
