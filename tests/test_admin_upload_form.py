"""The upload form without a script: an ordinary form whose file becomes a version."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from models_app.choices import FileStatus
from models_app.models import ModelVersion, RegisteredModel
from tests.admin_rows import make_staff, make_superuser, make_version

pytestmark = pytest.mark.django_db
ADD = "/admin/models_app/modelversion/add/"


@pytest.fixture
def folders(settings: Any, tmp_path: Path) -> Path:
    settings.PORTAL_FILES_DIR = tmp_path / "models"
    settings.PORTAL_UPLOADS_DIR = tmp_path / "uploads"
    return tmp_path


@pytest.fixture
def client(folders: Path) -> Client:
    client = Client()
    client.force_login(make_superuser())
    return client


def form(**fields: Any) -> dict[str, Any]:
    file = SimpleUploadedFile("..\\dir\\plankton.keras", b"bytes of a model")
    return {"file": file, "name": "plankton", "engine": "auto", "preset": "unit", "labels": "a\nb", **fields}


def test_every_kind_of_file_that_is_taken_is_named(client: Client) -> None:
    page = client.get(ADD).content.decode()

    kinds = (".keras", ".h5", ".pb", ".onnx", ".tflite", "SavedModel", "OpenVINO", ".onnx with its weights")
    assert not [kind for kind in kinds if kind not in page]


def test_a_new_name_makes_a_model(client: Client) -> None:
    response = client.post(ADD, form(size="224 × 200", resize="fit", activation="softmax"))

    version = ModelVersion.objects.get()
    assert response.headers["Location"].endswith("/open/plankton/1/")
    assert version.path.read_bytes() == b"bytes of a model"
    assert version.sha256 == hashlib.sha256(b"bytes of a model").hexdigest()
    assert (version.file_name, version.labels) == ("plankton.keras", ["a", "b"])
    assert version.preprocessing_json == {"preset": "unit", "resize": "fit", "size": [224, 200]}
    assert version.postprocessing_json == {"activation": "softmax"}


def test_precision_and_the_ends_of_a_graph_become_options(client: Client) -> None:
    ends = {"graph_inputs": "image:0", "graph_outputs": "probs, aux/add:1"}
    client.post(ADD, form(engine="openvino", precision="bf16", **ends))

    version = ModelVersion.objects.get()
    assert version.engine == "openvino"
    assert version.options_json == {
        "precision": "bf16", "graph_inputs": ["image:0"], "graph_outputs": ["probs", "aux/add:1"],
    }  # fmt: skip


def test_a_precision_that_the_engine_does_not_have_is_refused_at_its_field(client: Client) -> None:
    response = client.post(ADD, form(engine="litert", precision="bf16"))

    assert response.status_code == 400 and not ModelVersion.objects.exists()
    assert "litert computes in f32 only. Choose openvino for bf16." in response.content.decode()


def test_an_engine_that_there_is_not_is_refused_at_its_field(client: Client) -> None:
    response = client.post(ADD, form(engine="abacus", precision="bf16"))

    assert response.status_code == 400 and not ModelVersion.objects.exists()
    assert "abacus" in response.content.decode()


def test_a_name_that_exists_makes_its_next_version(client: Client) -> None:
    make_version("plankton")

    hint = client.get(f"{ADD}?name=plankton").content.decode()
    client.post(ADD, form())

    assert "this becomes version 2" in hint
    assert RegisteredModel.objects.get().versions.count() == 2


@pytest.mark.parametrize(("more", "said"), [({}, False), ({"threads": 2}, True)])
def test_the_form_for_a_next_version_is_filled_in_as_the_newest_good_one(
    client: Client, more: dict[str, Any], said: bool
) -> None:
    make_version(
        "plankton", labels=["copepod", "diatom"], engine="openvino",
        preprocessing_json={"preset": "unit", "size": [24, 32]}, postprocessing_json={"activation": "softmax"},
        options_json={"precision": "bf16", **more},
    )  # fmt: skip
    make_version("plankton", status=FileStatus.REJECTED)

    response = client.get(f"{ADD}?name=plankton")

    initial = response.context["form"].initial
    page = response.content.decode()
    assert (initial["labels"], initial["preset"], initial["size"]) == ("copepod\ndiatom", "unit", "24 × 32")
    assert (initial["activation"], initial["engine"], initial["precision"]) == ("softmax", "openvino", "bf16")
    assert "The form is filled in as version 1 is set up." in page and "copepod\ndiatom</textarea>" in page
    assert ("Its other settings are not taken over" in page) == said
    assert client.get(f"{ADD}?name=other").context["form"].initial == {"name": "other"}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "two words"}, "letters, digits, hyphens"),
        ({"file": ""}, "Choose a file."),
        ({"size": "big"}, "two numbers"),
        ({"labels": '["a", {}]'}, "label"),
    ],
)
def test_errors_stand_at_their_field_and_what_was_typed_is_kept(
    client: Client, folders: Path, fields: dict[str, Any], sentence: str
) -> None:
    response = client.post(ADD, form(**{"labels": "kept label", **fields}))

    page = response.content.decode()
    assert response.status_code == 400
    assert sentence in page and "choose the file again" in page
    assert "kept label" in page or "labels" in fields
    assert not ModelVersion.objects.exists()
    assert not [path for path in folders.rglob("*") if path.is_file()]


def test_a_file_above_the_limit_is_refused(client: Client, settings: Any) -> None:
    settings.PORTAL_FORM_UPLOAD_BYTES = 10

    response = client.post(ADD, form())

    assert response.status_code == 400
    assert "Without JavaScript" in response.content.decode()


def test_the_limit_of_all_uploads_holds_for_the_form_too(client: Client, settings: Any) -> None:
    settings.PORTAL_MAX_UPLOAD_BYTES = 10

    response = client.post(ADD, form())

    assert response.status_code == 400 and not ModelVersion.objects.exists()
    assert "A file may hold at most 10 bytes." in response.content.decode()


@pytest.mark.parametrize(("most_bytes", "is_said"), [(2 * 10**8, True), (10**8, False), (3 * 10**7, False)])
def test_the_limit_of_the_form_is_said_only_where_it_is_the_smaller_one(
    client: Client, settings: Any, most_bytes: int, is_said: bool
) -> None:
    settings.PORTAL_MAX_UPLOAD_BYTES = most_bytes

    assert ("Without JavaScript the limit is 100 MB." in client.get(ADD).content.decode()) == is_said


def test_a_version_may_be_added_without_the_right_to_make_models(folders: Path) -> None:
    make_version("plankton")
    client = Client()
    client.force_login(make_staff("view", "add"))

    assert client.post(ADD, form(name="new-one")).status_code == 403
    assert client.post(ADD, form()).status_code == 302
