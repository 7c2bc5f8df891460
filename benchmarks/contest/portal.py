"""The portal as a contestant: the same model in two engines and a tiny one, asked over V2 and the portal's own API."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.client import DIGITS
from benchmarks.contest.contestants import Post, Served, multipart
from tests.running_portal import ROOT, Api, RunningPortal, running_portal, wait_for

LENGTH_HEADER = "Inference-Header-Content-Length"
CONVERTED_WITHIN_S = 120.0
V2_OPENVINO = "the portal, V2 (BYTES, classes)"
RAW_OPENVINO = "the portal, V2 (raw body)"
API_OPENVINO = "the portal, /api/…/predict/"
V2_TENSORFLOW = f"{V2_OPENVINO}, TensorFlow"
API_TENSORFLOW = f"{API_OPENVINO}, TensorFlow"
TINY_JSON = "8×8 digits, V2 (JSON tensor)"
TINY_PICTURE = "8×8 digits, V2 (picture, raw body)"


@contextmanager
def started(material: Path, folder: Path) -> Iterator[list[Served]]:
    """A portal as `make run` starts it, with all models loaded and each request answered rightly once."""
    with running_portal(folder / "portal", PORTAL_SAMPLE="0") as portal:
        api = portal.client()
        for name, engine in (("mobilenet", "openvino"), ("mobilenet-tf", "tensorflow")):
            _upload(api, name, material / "mobilenet.keras", "symmetric", engine)
        _upload(api, "digits", ROOT / "samples" / "digits.keras", "unit", "openvino")
        served = _contestants(portal, material)
        for one in served:
            one.await_right_answers()
        yield served


def _upload(api: Api, name: str, path: Path, preset: str, engine: str) -> None:
    api.upload(name, path, engine=engine, preprocessing=json.dumps({"preset": preset}))

    def loaded() -> bool:
        return api.post(f"/api/models/{name}/load/", params={"wait": 60}).status_code == 200

    wait_for(loaded, CONVERTED_WITHIN_S, f"{name} loaded")
    (instance,) = api.version(name)["instances"]
    assert (instance["engine"], instance["precision"]) == (engine, "f32"), instance


def _contestants(portal: RunningPortal, material: Path) -> list[Served]:
    answers = json.loads((material / "answers.json").read_text())
    pictures = [path.read_bytes() for path in sorted(material.glob("*.jpg"))]
    digits = [(ROOT / "samples" / "images" / f"{name}.png").read_bytes() for name in DIGITS]
    api = portal.client("predict")
    key = ("Authorization", str(api.headers["Authorization"]))

    def served(name: str, post: Post) -> Served:
        return Served(name, portal.port, post, portal.pid)

    def infer(model: str, bodies: Sequence[bytes], form: str, *headers: tuple[str, str]) -> Post:
        right = answers["digits" if model == "digits" else "pictures"]
        return Post(f"/v2/models/{model}/infer", bodies, right, form, (key, *headers))

    def predict(model: str) -> Post:
        forms = [multipart(picture) for picture in pictures]
        headers = (key, ("Content-Type", forms[0][0]))
        path = f"/api/models/{model}/predict/?top=5"
        return Post(path, [body for _, body in forms], answers["pictures"], "prediction", headers)

    def binary(model: str) -> Post:
        version = api.version(model)
        head = _binary_head(version["inputs"][0]["name"], version["outputs"][0]["name"], pictures)
        sizes = {len(text) for text in head}
        assert len(sizes) == 1, "one header goes with all requests"
        bodies = [
            text + struct.pack("<I", len(picture)) + picture for text, picture in zip(head, pictures, strict=True)
        ]
        return infer(model, bodies, "classes", (LENGTH_HEADER, str(sizes.pop())))

    name = api.version("digits")["inputs"][0]["name"]
    tensors = [
        json.dumps({"inputs": [{"name": name, "shape": [1, 8, 8, 1], "datatype": "FP32", "data": row}]}).encode()
        for row in answers["values"]
    ]
    raw = (LENGTH_HEADER, "0")
    return [
        served(V2_OPENVINO, binary("mobilenet")),
        served(RAW_OPENVINO, infer("mobilenet", pictures, "binary", raw)),
        served(API_OPENVINO, predict("mobilenet")),
        served(V2_TENSORFLOW, binary("mobilenet-tf")),
        served(API_TENSORFLOW, predict("mobilenet-tf")),
        served(TINY_JSON, infer("digits", tensors, "numbers", ("Content-Type", "application/json"))),
        served(TINY_PICTURE, infer("digits", digits, "binary", raw)),
    ]


def _binary_head(name: str, output: str, pictures: Sequence[bytes]) -> list[bytes]:
    """V2's JSON in front of one picture each, as tritonclient would send it, padded to the same length."""
    heads = [
        json.dumps(
            {
                "inputs": [
                    {
                        "name": name,
                        "shape": [1],
                        "datatype": "BYTES",
                        "parameters": {"binary_data_size": len(picture) + 4},
                    }
                ],
                "outputs": [{"name": output, "parameters": {"classification": 5, "binary_data": False}}],
            }
        ).encode()
        for picture in pictures
    ]
    longest = max(map(len, heads))
    return [head.ljust(longest) for head in heads]
