"""Models that answer a row otherwise beside others: scores of pairs, statistics over the batch. Each request is then
run by itself and whole, so that nobody gets numbers of strangers' rows."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import requests
from onnx import TensorProto, helper

from tests.running_portal import Api, RunningPortal

pytestmark = pytest.mark.portal
ENGINES = ("onnxruntime", "openvino")


def write(path: Path, nodes: list[Any], inputs: list[str], output: list[Any]) -> None:
    def value(name: str, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(nodes, "g", [value(name, ["n", 4]) for name in inputs], [value("y", output)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))


def normalised() -> list[Any]:
    """sigmoid(BatchNorm as in training(x / 255) / 3)."""
    constants = {"pixel": 255.0, "least": 1e-3, "three": 3.0}
    nodes = [helper.make_node("Constant", [], [name], value_float=value) for name, value in constants.items()]
    for operation, inputs, output in (
        ("Div", ["x", "pixel"], "shares"),
        ("ReduceMean", ["shares"], "mean"),
        ("Sub", ["shares", "mean"], "apart"),
        ("Mul", ["apart", "apart"], "squares"),
        ("ReduceMean", ["squares"], "variance"),
        ("Add", ["variance", "least"], "enough"),
        ("Sqrt", ["enough"], "spread"),
        ("Div", ["apart", "spread"], "scores"),
        ("Div", ["scores", "three"], "less"),
        ("Sigmoid", ["less"], "y"),
    ):
        nodes.append(helper.make_node(operation, inputs, [output]))
    return nodes


@pytest.fixture(scope="module")
def api(portal: RunningPortal, tmp_path_factory: pytest.TempPathFactory, engine_models: Path) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("rows")
    pairs = [helper.make_node("Transpose", ["b"], ["t"]), helper.make_node("MatMul", ["a", "t"], ["y"])]
    write(folder / "pairs.onnx", pairs, ["a", "b"], ["n", "m"])
    centred = [helper.make_node("ReduceMean", ["a"], ["mean"], axes=[0]), helper.make_node("Sub", ["a", "mean"], ["y"])]
    write(folder / "sums.onnx", [helper.make_node("Add", ["a", "b"], ["y"])], ["a", "b"], ["n", 4])
    write(folder / "centred.onnx", centred, ["a"], ["n", 4])
    write(folder / "normalised.onnx", normalised(), ["x"], ["n", 4])
    client = portal.client("manage")
    names = [f"{kind}-{engine}" for kind in ("pairs", "sums", "centred") for engine in ENGINES]
    for name in names:
        kind, engine = name.split("-")
        client.upload(name, folder / f"{kind}.onnx", engine=engine)
        client.load(name)
    client.upload("over-the-batch", engine_models / "over_the_batch.pb", engine="tensorflow")
    client.load("over-the-batch")
    client.upload("normalised", folder / "normalised.onnx", engine="onnxruntime")
    client.load("normalised")
    yield client
    for name in (*names, "over-the-batch", "normalised"):
        client.delete(f"/api/models/{name}/", params={"unload": "true"})


def ask(api: Api, name: str, rows: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What the portal answers, and what is right."""
    a, b = np.random.default_rng(rows).random((2, rows, 4), np.float32)
    if name.startswith("pairs"):
        return predict(api, name, a=a, b=b), a @ b.T
    return predict(api, name, a=a), a - a.mean(axis=0)


def predict(api: Api, name: str, **inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    answer = send(api, name, **inputs)
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["predictions"][0]["outputs"]
    return np.reshape(output["data"], output["shape"])


def send(api: Api, name: str, **inputs: np.ndarray[Any, Any]) -> requests.Response:
    lists = {key: array.tolist() for key, array in inputs.items()}
    return api.post(f"/api/models/{name}/predict/", json={"inputs": lists})


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["pairs", "centred"])
def test_many_rows_are_answered_as_the_file_says(api: Api, kind: str, engine: str) -> None:
    for rows in (1, 2, 40, 300):
        found, right = ask(api, f"{kind}-{engine}", rows)

        np.testing.assert_allclose(found, right, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["pairs", "centred"])
def test_nobody_gets_anything_of_others_rows(api: Api, kind: str, engine: str) -> None:
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda n: ask(api, f"{kind}-{engine}", 2 + n % 3), range(160)))

    for found, right in answers:
        np.testing.assert_allclose(found, right, atol=1e-5)


@pytest.mark.parametrize("name", ["over-the-batch", "normalised"])
def test_pixels_that_are_normalised_over_the_batch_are_not_cut(api: Api, name: str) -> None:
    for rows in (2, 1000):
        x = np.sort(255 * np.random.default_rng(rows).random((rows, 4), np.float32), axis=0)
        scores = (x / 255 - (x / 255).mean()) / np.sqrt((x / 255).var() + 1e-3)

        found = predict(api, name, x=x)

        np.testing.assert_allclose(found, 1 / (1 + np.exp(-scores / 3)), atol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_inputs_may_hold_different_numbers_of_rows_where_the_model_takes_them(api: Api, engine: str) -> None:
    a, b = np.random.default_rng(7).random((2, 5, 4), np.float32)

    found = predict(api, f"pairs-{engine}", a=a[:2], b=b)

    np.testing.assert_allclose(found, a[:2] @ b.T, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_where_it_answers_row_by_row_they_may_not(api: Api, engine: str) -> None:
    a, b = np.random.default_rng(7).random((2, 5, 4), np.float32)

    answer = send(api, f"sums-{engine}", a=a[:2], b=b)

    assert answer.status_code == 422
    assert "different numbers of examples" in answer.text
