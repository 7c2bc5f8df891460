"""Public files of other formats answer as expected through a portal, and so do files of the kinds they taught."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import real_models
from tests import test_formats_onnx as onnx
from tests.onnx_apart import packed_with_its_weights
from tests.picture_files import encoded
from tests.running_portal import Api

pytestmark = pytest.mark.portal

FER_PREPROCESSING = '{"preset":"symmetric","color":"gray","size":[64,64]}'
PAGE_PREPROCESSING = '{"preset":"imagenet-torch","resize":"crop","short_side":256,"size":[224,224]}'
TURNED = {0: "0", 90: "270", 180: "180", 270: "90"}
"""Degrees counter-clockwise → the answer."""


def best(answer: Any) -> list[tuple[str, float]]:
    assert answer.status_code == 200, answer.text
    winners = [prediction["top"][0] for prediction in answer.json()["predictions"]]
    return [(winner["label"], winner["score"]) for winner in winners]


def test_the_quantised_file_with_a_batch_of_one_sees_a_happy_face_in_each_picture(api: Api) -> None:
    name, labels = "fer-tflite", "\n".join(real_models.FER_LABELS)
    version = api.upload(
        name, real_models.fer_tflite(), labels=labels, preprocessing=FER_PREPROCESSING, engine="litert"
    )
    assert (version["status"], version["format"], version["inputs"][0]["shape"]) == ("ready", "tflite", [1, 64, 64, 1])
    api.load(name)

    found = best(api.ask(name, *[real_models.astronaut_face()] * 3))

    print(found)
    assert [label for label, _ in found] == ["happy"] * 3
    assert [score for _, score in found] == pytest.approx([0.999] * 3, abs=0.02)
    api.delete(f"/api/models/{name}/", params={"unload": "true"})


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("form", ["whole", "apart"])
def test_the_file_with_its_labels_inside_tells_which_way_up_a_page_is(
    api: Api, engine: str, form: str, tmp_path: Path
) -> None:
    name, path = f"orientation-{engine}-{form}", real_models.orientation_onnx()
    if form == "apart":
        path = packed_with_its_weights(path, tmp_path / "apart.zip")
    version = api.upload(name, path, preprocessing=PAGE_PREPROCESSING, engine=engine)
    assert version["status"] == "ready", version["status_detail"]
    assert tuple(version["labels"]) == real_models.ORIENTATION_LABELS
    api.load(name)
    with Image.open(io.BytesIO(real_models.page_png())) as page:
        pages = [encoded(page.convert("RGB").rotate(degrees, expand=True)) for degrees in TURNED]

    found = best(api.ask(name, *pages))

    print(found)
    assert [label for label, _ in found] == list(TURNED.values())
    assert found[0][1] == pytest.approx(0.925, abs=0.02)
    api.delete(f"/api/models/{name}/", params={"unload": "true"})


def test_free_height_and_width_need_a_size(api: Api, tmp_path: Path) -> None:
    name = "free-sizes"
    ends = [onnx.value(end, "n", 3, "h", "w") for end in "xy"]
    path = onnx.onnx_file(tmp_path, onnx.graph([onnx.node("Relu")], ends[:1], ends[1:]))
    version = api.upload(name, path, engine="onnxruntime")
    assert version["inputs"][0]["shape"] == [None, 3, None, None], version["status_detail"]
    picture = encoded(Image.fromarray(np.full((6, 5, 3), 100, np.uint8)))

    api.load(name)
    refused = api.ask(name, picture)
    api.unload(name)
    api.patch(f"/api/models/{name}/versions/1/", json={"preprocessing": {"size": [4, 3]}})
    api.load(name)
    (prediction,) = api.ask(name, picture).json()["predictions"]

    assert (refused.status_code, refused.json()["code"]) == (422, "bad_input")
    assert "size" in refused.json()["detail"]
    assert prediction["outputs"][0]["shape"] in ([3, 4, 3], [1, 3, 4, 3])
    api.delete(f"/api/models/{name}/", params={"unload": "true"})
