"""One real model in every format: each is uploaded, checked, loaded in a walled-in process, and answers the same."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import real_models
from tests.running_portal import Api, RunningPortal

pytestmark = pytest.mark.portal

FORMS = [
    ("saved_model", "tensorflow", "tensorflow"),
    ("frozen_graph", "tensorflow", "tensorflow"),
    ("onnx", "onnxruntime", "onnxruntime"),
    ("onnx", "openvino", "openvino"),
    ("openvino", "auto", "openvino"),
    ("tflite", "litert", "litert"),
    ("tflite", "openvino", "openvino"),
]
PREPROCESSING = '{"preset":"symmetric","color":"gray","size":[64,64]}'
LABELS = "\n".join(real_models.FER_LABELS)


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """Ten pictures: the face, and nine turned, mirrored or cut ones of it."""
    with Image.open(io.BytesIO(real_models.astronaut_face())) as face:
        face.load()
    width, height = face.size
    made = [face.rotate(30 * i) for i in range(5)]
    made += [face.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    made += [face.crop((10 * i, 5 * i, width, height - 5 * i)) for i in range(1, 5)]
    encoded = []
    for picture in made:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        encoded.append(buffer.getvalue())
    return encoded


@pytest.fixture(scope="module")
def original(portal: RunningPortal, pictures: list[bytes]) -> Iterator[np.ndarray]:
    api = portal.client()
    api.upload("fer-hdf5", real_models.fer_hdf5(), labels=LABELS, preprocessing=PREPROCESSING)
    api.load("fer-hdf5")
    yield _scores(api, "fer-hdf5", pictures)
    api.delete("/api/models/fer-hdf5/", params={"unload": "true"})


@pytest.mark.parametrize(("form", "asked", "engine"), FORMS, ids=[f"{f}-in-{e}" for f, _, e in FORMS])
def test_each_form_of_a_real_model_is_served_and_answers_as_the_original(
    portal: RunningPortal,
    api: Api,
    fer_forms: dict[str, Path],
    original: np.ndarray,
    pictures: list[bytes],
    form: str,
    asked: str,
    engine: str,
) -> None:
    name = f"fer-{form}-{engine}"
    version = api.upload(name, fer_forms[form], labels=LABELS, preprocessing=PREPROCESSING, engine=asked)
    assert (version["status"], version["format"]) == ("ready", form), version["status_detail"]

    [instance] = api.load(name)["instances"]
    scores = _scores(api, name, pictures)
    receipt = api.unload(name)

    print(
        f"{form} in {engine}: largest difference {np.abs(scores - original).max():.1g}, loaded in "
        f"{instance['load_seconds']} s, {receipt['memory_freed_bytes'] / 1e6:.0f} MB, sandbox {instance['sandbox']}"
    )
    assert (instance["engine"], instance["sandbox"]) == (engine, "full")
    assert np.abs(scores - original).max() < 1e-4
    assert (scores.argmax(1) == original.argmax(1)).all()
    api.delete(f"/api/models/{name}/")


def test_a_public_tensorflow_lite_file_sees_a_happy_face(portal: RunningPortal, api: Api) -> None:
    api.upload("fer-lite", real_models.fer_tflite(), labels=LABELS, preprocessing=PREPROCESSING)
    api.load("fer-lite")

    top = api.ask("fer-lite", real_models.astronaut_face()).json()["predictions"][0]["top"][0]

    assert top["label"] == "happy"
    assert top["score"] == pytest.approx(0.999, abs=0.02)
    api.delete("/api/models/fer-lite/", params={"unload": "true"})


def test_a_public_onnx_file_brings_its_labels_and_knows_which_way_a_page_stands(
    portal: RunningPortal, api: Api
) -> None:
    preprocessing = '{"preset":"imagenet-torch","resize":"crop","short_side":256,"size":[224,224]}'
    version = api.upload("orientation", real_models.orientation_onnx(), preprocessing=preprocessing)
    api.load("orientation")
    answers = []
    with Image.open(io.BytesIO(real_models.page_png())) as page:
        for turn in (0, 90, 180, 270):
            buffer = io.BytesIO()
            page.rotate(turn, expand=True).save(buffer, "PNG")
            answers.append(api.ask("orientation", buffer.getvalue()).json()["predictions"][0]["top"][0]["label"])

    assert version["labels"] == ["0", "90", "180", "270"]
    assert answers == ["0", "270", "180", "90"]
    api.delete("/api/models/orientation/", params={"unload": "true"})


def test_an_engine_that_does_not_open_the_file_is_refused_with_those_that_do(api: Api) -> None:
    version = api.upload("wrong-engine", real_models.orientation_onnx(), engine="litert")

    assert version["status"] == "rejected"
    assert "onnxruntime, openvino" in version["status_detail"]
    answer = api.patch("/api/models/wrong-engine/versions/1/", json={"engine": "openvino"})
    assert answer.status_code == 200, answer.text
    assert api.checked("wrong-engine")["engine_selected"] == "openvino"
    api.delete("/api/models/wrong-engine/")


def _scores(api: Api, name: str, pictures: list[bytes]) -> np.ndarray:
    """(10, 7), in the order of the model's scores."""
    answer = api.ask(name, *pictures, top=7)
    assert answer.status_code == 200, answer.text
    rows = [
        [entry["score"] for entry in sorted(prediction["top"], key=lambda entry: entry["index"])]
        for prediction in answer.json()["predictions"]
    ]
    return np.array(rows)
