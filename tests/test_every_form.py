"""One real model in every format: each is uploaded, checked, loaded in a walled-in process, and answers the same."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import real_models
from tests.picture_files import encoded
from tests.running_portal import Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal

DIRECTLY = {
    "saved_model": ("tensorflow",),
    "frozen_graph": ("tensorflow",),
    "onnx": ("onnxruntime", "openvino"),
    "tflite": ("litert", "openvino"),
    "openvino": ("openvino",),
}
"""Form → the engines that open the file itself; of TensorFlow Lite's, OpenVINO opens a converted one."""
CONVERTED = ("tensorflow", "openvino", "onnxruntime", "litert")
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
    return [encoded(picture) for picture in made]


@pytest.fixture(scope="module")
def original(portal: RunningPortal, pictures: list[bytes]) -> Iterator[np.ndarray]:
    api = portal.client()
    api.upload("fer-hdf5", real_models.fer_hdf5(), labels=LABELS, preprocessing=PREPROCESSING)
    api.load("fer-hdf5")
    yield _scores(api, "fer-hdf5", pictures)
    api.delete("/api/models/fer-hdf5/", params={"unload": "true"})


@pytest.mark.parametrize("form", DIRECTLY)
def test_each_form_of_a_real_model_is_served_and_answers_as_the_original(
    api: Api, fer_forms: dict[str, Path], original: np.ndarray, pictures: list[bytes], form: str
) -> None:
    first, *_ = DIRECTLY[form]
    version = api.upload(f"fer-{form}", fer_forms[form], labels=LABELS, preprocessing=PREPROCESSING, engine=first)
    assert (version["status"], version["format"]) == ("ready", form), version["status_detail"]

    answers = _answers_of_engines(api, f"fer-{form}", DIRECTLY[form], pictures)

    _expect_the_same(answers, original, form)


@pytest.mark.long
@pytest.mark.parametrize("form", ["hdf5", "keras", "saved_model", "frozen_graph"])
def test_what_tensorflow_reads_answers_the_same_in_every_engine(
    api: Api, fer_forms: dict[str, Path], original: np.ndarray, pictures: list[bytes], tmp_path: Path, form: str
) -> None:
    paths = {**fer_forms, "hdf5": real_models.fer_hdf5()}
    path = paths[form] if form in paths else _saved_as_keras(real_models.fer_hdf5(), tmp_path / "fer.keras")
    name = f"fer-{form}-everywhere"
    version = api.upload(name, path, labels=LABELS, preprocessing=PREPROCESSING, engine="auto")
    assert (version["status"], version["format"]) == ("ready", form), version["status_detail"]
    wait_for(lambda: _has_chosen(api, name), 300, "the engines were measured")  # and the file converted for them

    answers = _answers_of_engines(api, name, CONVERTED, pictures)

    _expect_the_same(answers, original, form)


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
            answer = api.ask("orientation", encoded(page.rotate(turn, expand=True)))
            answers.append(answer.json()["predictions"][0]["top"][0]["label"])

    assert version["labels"] == ["0", "90", "180", "270"]
    assert answers == ["0", "270", "180", "90"]
    api.delete("/api/models/orientation/", params={"unload": "true"})


def test_an_engine_that_cannot_run_the_format_is_refused_with_those_that_can(api: Api) -> None:
    version = api.upload("wrong-engine", real_models.orientation_onnx(), engine="litert")

    assert version["status"] == "rejected"
    assert "onnxruntime, openvino" in version["status_detail"]
    answer = api.patch("/api/models/wrong-engine/versions/1/", json={"engine": "openvino"})
    assert answer.status_code == 200, answer.text
    assert api.checked("wrong-engine")["engine_selected"] == "openvino"
    api.delete("/api/models/wrong-engine/")


def _answers_of_engines(
    api: Api, name: str, engines: Sequence[str], pictures: list[bytes]
) -> dict[str, tuple[dict[str, Any], np.ndarray]]:
    """Engine → its instance and its scores. The model is deleted afterwards."""
    answers = {}
    for engine in engines:
        changed = api.patch(f"/api/models/{name}/versions/1/", json={"engine": engine})
        assert changed.status_code == 200, changed.text
        [instance] = api.load(name)["instances"]
        answers[engine] = instance, _scores(api, name, pictures)
        api.unload(name)
    api.delete(f"/api/models/{name}/")
    return answers


def _expect_the_same(answers: dict[str, tuple[dict[str, Any], np.ndarray]], original: np.ndarray, form: str) -> None:
    for engine, (instance, scores) in answers.items():
        megabytes = (instance["memory_bytes"] or 0) / 1e6
        print(
            f"{form} in {engine}: largest difference {np.abs(scores - original).max():.1g}, loaded in "
            f"{instance['load_seconds']} s, {megabytes:.0f} MB, sandbox {instance['sandbox']}"
        )
        assert (instance["engine"], instance["sandbox"]) == (engine, "full")
        assert np.abs(scores - original).max() < 1e-4
        assert (scores.argmax(1) == original.argmax(1)).all()


def _has_chosen(api: Api, name: str) -> bool:
    [job] = [job for job in api.version(name)["jobs"] if job["kind"] == "choose"]
    assert job["state"] != "failed", job["detail"]
    return bool(job["state"] == "done")


def _saved_as_keras(source: Path, target: Path) -> Path:
    program = "import sys, keras; keras.models.load_model(sys.argv[1], compile=False).save(sys.argv[2])"
    subprocess.run([sys.executable, "-c", program, str(source), str(target)], check=True, timeout=120)
    return target


def _scores(api: Api, name: str, pictures: list[bytes]) -> np.ndarray:
    """(10, 7), in the order of the model's scores."""
    answer = api.ask(name, *pictures, top=7)
    assert answer.status_code == 200, answer.text
    rows = [
        [entry["score"] for entry in sorted(prediction["top"], key=lambda entry: entry["index"])]
        for prediction in answer.json()["predictions"]
    ]
    return np.array(rows)
