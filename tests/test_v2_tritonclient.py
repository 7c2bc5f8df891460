"""tritonclient[http], unmodified: every call of its HTTP client that the portal answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests import real_models
from tests.onnx_apart import in_two_files
from tests.running_portal import RunningPortal
from tests.served_models import LABELS, scores

pytestmark = pytest.mark.portal

Client = triton.InferenceServerClient
Headers = dict[str, str]
PIXELS = np.linspace(0, 1, 128, dtype=np.float32).reshape(2, 8, 8, 1)


@pytest.fixture
def key(served: RunningPortal) -> Headers:
    """To be copied for each call: the client writes its own headers into what it is given."""
    return {"Authorization": str(served.client("manage").headers["Authorization"])}


@pytest.fixture(scope="module")
def client(served: RunningPortal) -> Iterator[Client]:
    made = Client(f"127.0.0.1:{served.port}", connection_timeout=30, network_timeout=150)
    yield made
    made.close()


def seen_input(binary: bool = True, values: np.ndarray = PIXELS) -> triton.InferInput:
    made = triton.InferInput("pixels", list(values.shape), "FP32")
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def test_the_server_says_that_it_lives_and_what_it_can(client: Client, key: Headers) -> None:
    assert client.is_server_live() and client.is_server_ready()  # open to all

    metadata = client.get_server_metadata(headers=dict(key))

    assert {"binary_tensor_data", "classification", "statistics", "model_repository"} <= set(metadata["extensions"])


def test_a_model_says_what_it_takes(client: Client, key: Headers) -> None:
    metadata = client.get_model_metadata("seen", headers=dict(key))
    config = client.get_model_config("seen", "1", headers=dict(key))

    assert client.is_model_ready("seen", headers=dict(key)) and client.is_model_ready("seen", "1", headers=dict(key))
    assert not client.is_model_ready("seen", "9", headers=dict(key))
    assert not client.is_model_ready("nobody", headers=dict(key))
    assert (metadata["name"], metadata["versions"], metadata["platform"]) == ("seen", ["1"], "openvino_openvino")
    assert metadata["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": [-1, 8, 8, 1]}]
    assert metadata["outputs"] == [{"name": "scores", "datatype": "FP32", "shape": [-1, 3]}]
    assert config["max_batch_size"] > 0
    assert config["input"] == [{"name": "pixels", "data_type": "TYPE_FP32", "dims": [8, 8, 1], "format": "FORMAT_NHWC"}]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_tensors_come_in_binary_and_in_json(
    client: Client, key: Headers, binary_in: bool, binary_out: bool | None
) -> None:
    wanted = None if binary_out is None else [triton.InferRequestedOutput("scores", binary_data=binary_out)]

    result = client.infer("seen", [seen_input(binary_in)], outputs=wanted, request_id="mine", headers=dict(key))

    np.testing.assert_allclose(result.as_numpy("scores"), scores(PIXELS), atol=1e-5)
    assert result.get_response()["id"] == "mine"
    assert result.get_response()["model_version"] == "1"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bodies_are_compressed_both_ways(client: Client, key: Headers, coding: str) -> None:
    result = client.infer(
        "seen",
        [seen_input()],
        model_version="1",
        headers=dict(key),
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )

    np.testing.assert_allclose(result.as_numpy("scores"), scores(PIXELS), atol=1e-5)


def test_several_inputs_and_outputs_are_told_apart(client: Client, key: Headers) -> None:
    a, b = np.arange(8, dtype=np.float32).reshape(2, 4), np.full((2, 4), 0.5, np.float32)
    inputs = [triton.InferInput(name, [2, 4], "FP32") for name in ("b", "a")]
    inputs[0].set_data_from_numpy(b, binary_data=False)
    inputs[1].set_data_from_numpy(a)
    wanted = [triton.InferRequestedOutput("total"), triton.InferRequestedOutput("sum", binary_data=False)]

    result = client.infer("pair", inputs, outputs=wanted, headers=dict(key))

    np.testing.assert_allclose(result.as_numpy("sum"), a + b)
    np.testing.assert_allclose(result.as_numpy("total"), (a + b).sum(axis=1, keepdims=True))


def test_encoded_images_are_decoded_as_the_version_says(
    client: Client, key: Headers, served: RunningPortal, digit: Callable[[str], bytes]
) -> None:
    pictures = [digit("seven"), digit("two")]
    images = triton.InferInput("pixels", [2], "BYTES")
    images.set_data_from_numpy(np.array(pictures, dtype=np.object_))

    result = client.infer("seen", [images], headers=dict(key))

    told = served.client().ask("seen", *pictures, top=3).json()["predictions"]
    for row, prediction in zip(result.as_numpy("scores"), told, strict=True):
        assert [row[best["index"]] for best in prediction["top"]] == pytest.approx(
            [b["score"] for b in prediction["top"]]
        )


@pytest.mark.parametrize("binary", [True, False])
def test_classes_come_as_texts_with_labels(client: Client, key: Headers, binary: bool) -> None:
    wanted = [triton.InferRequestedOutput("scores", binary_data=binary, class_count=2)]

    answer = client.infer("seen", [seen_input()], outputs=wanted, headers=dict(key)).as_numpy("scores")

    assert answer.shape == (2, 2)
    for row, right in zip(answer, scores(PIXELS), strict=True):
        texts = [text.decode() if isinstance(text, bytes) else text for text in row]
        value, index, label = texts[0].split(":")
        assert (int(index), label) == (int(right.argmax()), LABELS[int(right.argmax())])
        assert float(value) == pytest.approx(float(right.max()), abs=1e-5)


def test_statistics_count_and_name_the_memory(client: Client, key: Headers) -> None:
    client.infer("seen", [seen_input()], headers=dict(key))

    (one,) = client.get_inference_statistics("seen", headers=dict(key))["model_stats"]
    every = client.get_inference_statistics(headers=dict(key))["model_stats"]

    assert (one["name"], one["version"]) == ("seen", "1")
    stats = one["inference_stats"]
    spans = [stats[name] for name in ("queue", "compute_input", "compute_infer", "compute_output")]
    assert {span["count"] for span in spans} == {stats["success"]["count"]}  # perf_analyzer ends where they differ
    assert sum(span["ns"] for span in spans) == pytest.approx(stats["success"]["ns"], rel=0.01)
    assert stats["fail"]["count"] >= 0
    for batch in one["batch_stats"]:
        names = ("compute_input", "compute_infer", "compute_output")
        assert len({batch[name]["count"] for name in names}) == 1
    assert one["memory_usage"][0]["type"] == "CPU" and one["memory_usage"][0]["byte_size"] > 10**6
    assert {"seen", "pair"} <= {row["name"] for row in every}


def test_what_is_not_offered_is_said_to_be_off_and_cannot_be_switched_on(client: Client, key: Headers) -> None:
    assert client.get_trace_settings(headers=dict(key))["trace_level"] == ["OFF"]
    assert client.get_trace_settings("seen", headers=dict(key))["trace_level"] == ["OFF"]
    assert client.get_log_settings(headers=dict(key))["log_verbose_level"] == 0
    for status in (client.get_system_shared_memory_status, client.get_cuda_shared_memory_status):
        assert status(headers=dict(key)) == []
    client.unregister_system_shared_memory(headers=dict(key))  # as its examples do first
    client.unregister_cuda_shared_memory("mine", headers=dict(key))

    with pytest.raises(InferenceServerException, match="not traced"):
        client.update_trace_settings("seen", {"trace_level": ["TIMESTAMPS"]}, headers=dict(key))
    with pytest.raises(InferenceServerException, match="not changed over HTTP"):
        client.update_log_settings({"log_verbose_level": 1}, headers=dict(key))
    with pytest.raises(InferenceServerException, match="not offered"):
        client.register_system_shared_memory("mine", "/mine", 64, headers=dict(key))


def states(client: Client, key: Headers, name: str) -> dict[str, str]:
    rows: list[dict[str, Any]] = client.get_model_repository_index(headers=dict(key))
    return {row["version"]: row["state"] for row in rows if row["name"] == name}


def test_a_model_is_unloaded_and_loaded_again(client: Client, key: Headers, served: RunningPortal) -> None:
    pid = served.client().pid("pair")

    client.unload_model("pair", headers=dict(key))

    assert pid not in {process.pid for process in served.runners()}
    assert states(client, key, "pair") == {"1": "UNAVAILABLE"}
    assert not client.is_model_ready("pair", headers=dict(key))
    with pytest.raises(InferenceServerException, match="unknown model: 'pair'"):
        client.infer("pair", [seen_input()], headers=dict(key))
    client.unload_model("pair", headers=dict(key))  # once more means nothing

    client.load_model("pair", headers=dict(key))

    assert states(client, key, "pair") == {"1": "READY"}
    assert client.is_model_ready("pair", headers=dict(key))


def test_a_model_is_loaded_from_files_that_come_with_the_call(
    client: Client, key: Headers, served: RunningPortal, served_files: Path
) -> None:
    files = {f"file:1/model{suffix}": (served_files / f"seen{suffix}").read_bytes() for suffix in (".xml", ".bin")}
    config = '{"backend": "openvino", "parameters": {"preprocessing": {"string_value": "{\\"preset\\": \\"unit\\"}"}}}'
    try:
        client.load_model("sent", headers=dict(key), config=config, files=files)
        first = client.infer("sent", [seen_input()], headers=dict(key))
        client.load_model("sent", headers=dict(key), config=config, files=files | {"file:1/labels.txt": b"a\nb\nc"})

        np.testing.assert_allclose(first.as_numpy("scores"), scores(PIXELS), atol=1e-5)
        assert states(client, key, "sent") == {"1": "UNAVAILABLE", "2": "READY"}
        assert served.client().version("sent", 2)["labels"] == ["a", "b", "c"]
        with pytest.raises(InferenceServerException):
            client.load_model("sent", headers=dict(key), config="{}", files={"file:1/model.onnx": b"nonsense"})
        assert client.is_model_ready("sent", "2", headers=dict(key))  # what served before serves on
    finally:
        served.client().delete("/api/models/sent/", params={"unload": "true"})


def test_the_batch_of_the_configuration_is_that_of_the_files(
    client: Client, key: Headers, served: RunningPortal, served_files: Path
) -> None:
    files = {f"file:1/model{suffix}": (served_files / f"seen{suffix}").read_bytes() for suffix in (".xml", ".bin")}
    options = {"options": {"string_value": '{"threads": 1}'}}
    given = {
        1: ({"max_batch_size": 8}, {"max_batch": 8}, 8),
        2: ({"max_batch_size": 8, "parameters": options}, {"max_batch": 8, "threads": 1}, 8),
        3: ({"max_batch_size": 16, "parameters": options}, {"threads": 1}, 16),
        4: ({"max_batch_size": 0}, {}, 16),
    }
    try:
        for number, (settings, kept, most) in given.items():
            config = json.dumps({"backend": "openvino", **settings})
            client.load_model("batched", headers=dict(key), config=config, files=files)
            client.load_model("batched", headers=dict(key), config=config)  # the same again is no other wish

            assert served.client().version("batched", number)["options"] == kept
            assert client.get_model_config("batched", headers=dict(key))["max_batch_size"] == most
        with pytest.raises(InferenceServerException, match="max_batch must be a whole number"):
            client.load_model("batched", headers=dict(key), config='{"max_batch_size": 2000}', files=files)
    finally:
        served.client().delete("/api/models/batched/", params={"unload": "true"})


def test_a_version_gets_the_number_of_its_folder_and_a_load_that_is_repeated_makes_no_other(
    client: Client, key: Headers, served: RunningPortal, served_files: Path
) -> None:
    def files(number: int) -> dict[str, bytes]:
        parts = {suffix: (served_files / f"seen{suffix}").read_bytes() for suffix in (".xml", ".bin")}
        return {f"file:{number}/model{suffix}": data for suffix, data in parts.items()}

    config = json.dumps({"backend": "openvino", "instance_group": [{"count": 2}]})
    try:
        for number, expected in [(7, {"7": "READY"}), (7, {"7": "READY"}), (1, {"7": "READY"})]:
            client.load_model("numbered", headers=dict(key), config=config, files=files(number))
            assert states(client, key, "numbered") == expected
        assert client.is_model_ready("numbered", "7", headers=dict(key))
        assert len(served.client().version("numbered", 7)["instances"]) == 2
        groups = client.get_model_config("numbered", headers=dict(key))["instance_group"]
        assert sum(group["count"] for group in groups) == 2

        client.unload_model("numbered", headers=dict(key))
        client.load_model("numbered", headers=dict(key), config=config, files=files(7))
        assert states(client, key, "numbered") == {"7": "READY"}

        client.load_model("numbered", headers=dict(key), config='{"backend": "openvino"}', files=files(9))
        assert states(client, key, "numbered") == {"7": "UNAVAILABLE", "9": "READY"}
        client.load_model("numbered", headers=dict(key), config=config, files=files(1_700_000_000))
        assert states(client, key, "numbered") == {"7": "UNAVAILABLE", "9": "READY"}
    finally:
        served.client().delete("/api/models/numbered/", params={"unload": "true"})


def test_onnx_weights_may_come_in_a_file_of_their_own(client: Client, key: Headers, served: RunningPortal) -> None:
    path = real_models.orientation_onnx()
    files = {f"file:1/{name}": content for name, content in in_two_files(path).items()}
    page = np.random.default_rng(1).random((1, 3, 224, 224), np.float32)
    given = triton.InferInput("x", list(page.shape), "FP32")
    given.set_data_from_numpy(page)
    try:
        client.load_model("apart", headers=dict(key), config='{"backend": "onnxruntime"}', files=files)
        found = client.infer("apart", [given], headers=dict(key))

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (wanted,) = session.run(None, {"x": page})
        np.testing.assert_allclose(found.as_numpy(session.get_outputs()[0].name), wanted, atol=1e-5)
    finally:
        served.client().delete("/api/models/apart/", params={"unload": "true"})


def test_files_for_two_versions_are_refused_and_none_is_lost(client: Client, key: Headers) -> None:
    files = {"file:1/model.onnx": b"one", "file:2/model.onnx": b"two"}

    with pytest.raises(InferenceServerException, match="Send the files of each in a load of its own"):
        client.load_model("two", headers=dict(key), config="{}", files=files)


def test_a_configuration_without_files_is_refused_where_it_asks_for_something_else(
    client: Client, key: Headers
) -> None:
    def config(**settings: str) -> str:
        return json.dumps({"parameters": {name: {"string_value": text} for name, text in settings.items()}})

    as_it_is = [
        "{}",
        json.dumps(client.get_model_config("seen", headers=dict(key))),
        json.dumps({"backend": "another-server", "max_batch_size": 0}),
        config(labels="\n".join(LABELS), preprocessing='{"preset": "unit"}'),
    ]
    otherwise = {
        "labels, preprocessing": config(labels="a\nb\nc", preprocessing='{"preset": "symmetric"}'),
        "options": config(options='{"threads": 1}'),
        "options.max_batch": '{"max_batch_size": 3}',
        "engine": '{"backend": "litert"}',
    }

    for given in as_it_is:
        client.load_model("seen", headers=dict(key), config=given)
    for names, given in otherwise.items():
        with pytest.raises(InferenceServerException, match=f"other {names} than seen v1 has.*PATCH") as refused:
            client.load_model("seen", headers=dict(key), config=given)
        assert refused.value.status() == "400"


def test_shared_memory_is_refused_and_not_passed_over(client: Client, key: Headers) -> None:
    """A client that had its answer in the body would read what its region held before."""
    there, output = triton.InferInput("pixels", [2, 8, 8, 1], "FP32"), triton.InferRequestedOutput("scores")
    there.set_shared_memory("region", PIXELS.nbytes)
    output.set_shared_memory("region", 24)

    with pytest.raises(InferenceServerException, match="Shared memory is not offered") as of_output:
        client.infer("seen", [seen_input()], outputs=[output], headers=dict(key))
    with pytest.raises(InferenceServerException, match="Shared memory is not offered"):
        client.infer("seen", [there], headers=dict(key))

    assert of_output.value.status() == "400"


def test_errors_are_the_clients_own(client: Client, key: Headers) -> None:
    with pytest.raises(InferenceServerException, match="is not found") as unknown:
        client.get_model_metadata("nobody", headers=dict(key))
    with pytest.raises(InferenceServerException, match="unexpected inference input"):
        client.infer("pair", [seen_input()], headers=dict(key))
    with pytest.raises(InferenceServerException) as anonymous:
        client.infer("seen", [seen_input()])
    with pytest.raises(InferenceServerException):
        client.load_model("nobody", headers=dict(key))

    assert unknown.value.status() == "404"
    assert anonymous.value.status() == "401"


def test_an_image_cannot_be_read_and_the_client_is_told_which(
    client: Client, key: Headers, digit: Callable[[str], bytes]
) -> None:
    images = triton.InferInput("pixels", [2], "BYTES")
    images.set_data_from_numpy(np.array([digit("seven"), base64.b64encode(b"no picture")], dtype=np.object_))

    with pytest.raises(InferenceServerException, match="Picture 1"):
        client.infer("seen", [images], headers=dict(key))
