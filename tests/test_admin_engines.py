"""The buttons of the engines: who may, what they start, and that nothing that runs is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import Client

from models_app.choices import FileStatus, InstanceState, JobKind, JobState
from models_app.models import Conversion, Job, ModelVersion, Transition
from models_app.services import choose, files
from tests.admin_client import client_with, text_of, words
from tests.admin_rows import make_instance, make_staff, make_superuser, make_version
from tests.engine_rows import make_comparison

pytestmark = pytest.mark.django_db
LIST = "/admin/models_app/modelversion/"


@pytest.fixture(autouse=True)
def _folders(settings: Any, tmp_path: Path) -> None:
    settings.PORTAL_FILES_DIR = tmp_path / "models"


def page_of(version: ModelVersion, *verbs: str) -> str:
    return text_of(client_with(*verbs).get(f"{LIST}{version.pk}/change/"))


@pytest.mark.parametrize("verb", ["compare/", "choose/", "use/?engine=openvino&precision=f32"])
def test_measuring_and_choosing_are_post_only_and_need_the_right_to_change(verb: str) -> None:
    version = make_version()
    address = f"{LIST}{version.pk}/{verb}"

    assert client_with("change").get(address).status_code == 302
    assert not Job.objects.exists() and ModelVersion.objects.get().engine == version.engine
    assert client_with("load", "add", "delete").post(address).status_code == 403
    assert client_with("change", is_strict=True).post(address).status_code == 403
    assert client_with("change").post(address).status_code == 302


def test_making_a_format_is_post_only_and_taking_one_away_needs_the_right_to_look() -> None:
    version = make_version()
    stranger = Client()
    stranger.force_login(make_staff())

    assert client_with().get(f"{LIST}{version.pk}/make/?format=onnx").status_code == 302
    assert not Job.objects.exists()
    assert stranger.post(f"{LIST}{version.pk}/make/?format=onnx").status_code == 403
    assert stranger.get(f"{LIST}{version.pk}/export/?format=onnx").status_code == 403
    assert client_with().post(f"{LIST}{version.pk}/export/?format=onnx").status_code == 405
    assert client_with().get(f"{LIST}{version.pk}/export/?format=../x").status_code == 404


def test_compare_starts_one_job_however_often_it_is_pressed() -> None:
    version = make_version()
    client = client_with("change")

    for _ in range(2):
        client.post(f"{LIST}{version.pk}/compare/")

    job = Job.objects.get()
    assert (job.kind, job.state, job.version) == (JobKind.COMPARE, JobState.QUEUED, version)
    page = page_of(version, "change")
    assert "Comparison of the engines" in page and "waiting" in page and "data-moving" in page
    assert "Not measured yet" not in page


def test_before_the_first_measurement_the_page_offers_it() -> None:
    version = make_version()

    assert "Not measured yet. It takes about a minute and disturbs nothing that runs." in page_of(version)
    assert "Compare engines" not in page_of(version) and "Compare engines" in page_of(version, "change")


def test_a_loaded_version_says_what_can_be_changed_meanwhile() -> None:
    version = make_version()
    make_instance(version)
    before = page_of(version, "change")
    make_comparison(version)

    assert "can be changed here only while nothing runs" in before and "“Use it”" not in before
    assert "“Use it” beside a measured engine chooses that of the next load meanwhile." in page_of(version, "change")


def test_the_table_recommends_and_offers_the_others_to_those_who_may_change() -> None:
    version = make_version()
    make_comparison(version)

    page, without_right = page_of(version, "change"), page_of(version)

    assert page.count("Use it<") == 3, "all that can run but the one in use"
    assert "Use it<" not in without_right and "recommended" in without_right
    assert "Not possible: The operation ResizeBicubic stands in the way." in without_right
    assert "it is yours to choose." in without_right


def test_using_an_engine_on_a_loaded_version_counts_from_the_next_load() -> None:
    version = make_version()
    make_comparison(version)
    instance = make_instance(version, precision="f32")
    Conversion.objects.create(version=version, format="openvino")

    response = client_with("change").post(f"{LIST}{version.pk}/use/?engine=openvino&precision=bf16")

    version.refresh_from_db()
    instance.refresh_from_db()
    assert (version.engine, version.engine_selected, version.precision) == ("openvino", "openvino", "bf16")
    assert (instance.engine, instance.precision, instance.state) == ("tensorflow", "f32", "ready")
    assert words(response) == "openvino bf16 is used from the next load. cats v1 runs on undisturbed."
    assert "Changed: openvino bf16 from the next load." in Transition.objects.latest("pk").reason
    page = page_of(version)
    assert "runs in <b>tensorflow f32</b>" in page
    assert "<b>openvino bf16</b> from the next load: asked for" in page
    assert not Job.objects.exists(), "the file was made already"


def test_using_an_engine_whose_file_is_missing_has_it_made() -> None:
    version = make_version(options_json={"threads": 2})

    client_with("change").post(f"{LIST}{version.pk}/use/?engine=onnxruntime&precision=f32")

    version.refresh_from_db()
    assert version.options_json == {"threads": 2}
    assert [(job.kind, job.target) for job in Job.objects.all()] == [("convert", "onnx")]


def test_the_choice_can_be_left_to_the_portal_again() -> None:
    version = make_version(engine="litert", options_json={"precision": "f32"})
    make_comparison(version)

    client_with("change").post(f"{LIST}{version.pk}/use/?engine=auto")

    version.refresh_from_db()
    assert (version.engine, version.engine_selected) == ("auto", "openvino")


@pytest.mark.parametrize(
    ("engine", "precision", "sentence"),
    [
        ("onnx", "f32", "The Keras file runs in"),
        ("litert", "bf16", "litert does not compute in bf16. Leave the precision out."),
        ("openvino", "f64", "openvino does not compute in f64. Leave the precision out."),
        ("litert", "f32", "cannot run in litert: The operation X cannot be had."),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(engine: str, precision: str, sentence: str) -> None:
    version = make_version()
    Conversion.objects.create(version=version, format="tflite", sentence="The operation X cannot be had.")

    response = client_with("change").post(f"{LIST}{version.pk}/use/?engine={engine}&precision={precision}")

    version.refresh_from_db()
    assert sentence in words(response) and version.engine == "auto"


def test_an_engine_that_there_is_not_is_refused_by_the_form() -> None:
    version = make_version()

    response = client_with("change").post(f"{LIST}{version.pk}/change/?edit=engine", {"engine": "abacus"})

    version.refresh_from_db()
    assert response.status_code == 400 and version.engine == "auto"
    assert "The engine is auto or one of" in text_of(response)


def test_what_is_in_use_already_leaves_no_line_in_the_history() -> None:
    version = make_version(engine="tensorflow")

    assert not choose.use_engine(version, "tensorflow", "f32", by="ada")
    assert not Transition.objects.exists()


def test_a_failed_job_shows_its_reason_and_can_be_tried_again() -> None:
    version = make_version()
    Job.objects.create(version=version, kind=JobKind.CONVERT, target="onnx", state=JobState.FAILED, detail="Too large.")
    client = client_with("change")

    page = text_of(client.get(f"{LIST}{version.pk}/change/"))
    client.post(f"{LIST}{version.pk}/make/?format=onnx")

    assert "Too large." in page and "Try again" in page
    assert Job.objects.latest("pk").state == JobState.QUEUED


def test_a_file_in_another_format_comes_as_an_attachment() -> None:
    version = make_version(with_file=True)
    made = Conversion(version=version, format="onnx", size_bytes=4)
    made.path.parent.mkdir()
    made.path.write_bytes(b"onnx")
    made.sha256 = files.hash_of(made.path)
    made.save()
    client = client_with()

    response = client.get(f"{LIST}{version.pk}/export/?format=onnx")
    content = async_to_sync(_read)(response)
    missing = client.get(f"{LIST}{version.pk}/export/?format=openvino")
    made.path.write_bytes(b"rust")
    damaged = client.get(f"{LIST}{version.pk}/export/?format=onnx")

    assert content == b"onnx"
    assert 'filename="cats-v1.onnx"' in response.headers["Content-Disposition"]
    assert "was not made as OpenVINO yet" in words(missing)
    assert "damaged on disk" in words(damaged) and Job.objects.get().target == "onnx"


def test_a_format_that_cannot_be_made_is_named_as_on_the_page() -> None:
    version = make_version(format="frozen_graph", file_name="model.pb")
    client = client_with()

    page, shown = text_of(client.get(f"{LIST}{version.pk}/change/")), text_of(client.get(LIST))
    Conversion.objects.create(version=version, format="tflite", sentence="The operation X cannot be had.")
    refused = client.post(f"{LIST}{version.pk}/make/?format=tflite")
    version.format = "tflite"
    version.save()
    refused_at_once = client.post(f"{LIST}{version.pk}/make/?format=onnx")

    assert "<b>Frozen .pb</b> file" in page and "Frozen .pb file, " in shown
    assert "The operation X cannot be had." in words(refused)
    assert "The TensorFlow Lite file cannot be converted to ONNX." in words(refused_at_once)
    assert not Job.objects.exists()


async def _read(response: Any) -> bytes:
    return b"".join([part async for part in response])


def test_the_page_looks_again_without_a_script_while_a_job_runs() -> None:
    version = make_version()
    quiet = page_of(version)
    Job.objects.create(version=version, kind=JobKind.CHOOSE, state=JobState.RUNNING, progress=55, detail="Measuring.")

    busy = page_of(version)

    assert 'http-equiv="refresh"' in busy and "The engines are measured" in busy and 'value="55"' in busy
    assert 'http-equiv="refresh"' not in quiet


def test_the_ends_of_a_rejected_graph_can_be_chosen_at_once() -> None:
    version = make_version(
        "graph", FileStatus.REJECTED, file_name="net.pb",
        candidates_json={"graph_outputs": ["probs", "aux/add:1"]},
    )  # fmt: skip
    client = client_with("change")

    page = text_of(client.get(f"{LIST}{version.pk}/change/"))
    client.post(
        f"{LIST}{version.pk}/change/?edit=ends",
        {"pick_outputs": ["probs", "aux/add:1"], "graph_outputs": "probs\nother", "graph_inputs": "x"},
    )

    version.refresh_from_db()
    assert 'value="aux/add:1" form="row-actions"' in page
    assert version.options_json == {"graph_inputs": ["x"], "graph_outputs": ["probs", "aux/add:1", "other"]}
    assert version.status == FileStatus.CHECKING


def test_engine_and_precision_are_changed_together() -> None:
    version = make_version(options_json={"threads": 2})
    client = client_with("change")
    address = f"{LIST}{version.pk}/change/?edit=engine"

    shown = text_of(client.get(address))
    refused = client.post(address, {"engine": "litert", "precision": "bf16"})
    client.post(address, {"engine": "openvino", "precision": "bf16"})

    version.refresh_from_db()
    assert all(f'value="{name}"' in shown for name in ("auto", "tensorflow", "openvino", "onnxruntime", "litert"))
    assert refused.status_code == 400 and "litert computes in f32 only" in text_of(refused)
    assert (version.engine, version.options_json) == ("openvino", {"threads": 2, "precision": "bf16"})


def test_scaling_hints_stand_on_the_page_and_in_the_try_form() -> None:
    version = make_version(
        notes=["The model scales its inputs itself (Rescaling 1/255)."], preprocessing_json={"preset": "unit"}
    )
    client = Client()
    client.force_login(make_superuser())

    for address in (f"{LIST}{version.pk}/change/", "/try/cats/"):
        assert "with the preset unit they are scaled twice." in text_of(client.get(address))


@pytest.mark.parametrize(
    ("verbs", "state", "words"),
    [
        (("change", "predict"), InstanceState.STOPPED, '?edit=preprocessing">Change it</a>'),
        (("change", "predict"), InstanceState.READY, "It can be changed as soon as it is unloaded."),
        (("view", "predict"), InstanceState.STOPPED, "Somebody who may change models can change it."),
    ],
)
def test_a_model_of_pictures_of_any_size_says_who_may_set_one(
    verbs: tuple[str, ...], state: InstanceState, words: str
) -> None:
    free = {"name": "image", "dtype": "float32", "shape": [None, None, None, 3]}
    version = make_version(signature_json={"inputs": [free], "outputs": []}, preprocessing_json={})
    make_instance(version, state)

    pages = [text_of(client_with(*verbs).get(path)) for path in (f"{LIST}{version.pk}/change/", "/try/cats/")]

    for page in pages:
        assert "The model takes pictures of any size, and none is set. Until one is, it takes tensors" in page
        assert words in page
        assert page.count("Change it</a>") == words.count("Change it</a>")
    assert "any number × any height × any width × 3 colours, RGB" in pages[1]
