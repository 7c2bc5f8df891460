"""What the buttons do: by POST, for those who may, and with a sentence afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import Client

from models_app.choices import FileStatus, InstanceState
from models_app.models import Instance, ModelVersion
from models_app.services.change import change_version
from models_app.services.choose import use_engine
from models_app.services.move import record
from tests.admin_client import client_with, text_of, words
from tests.admin_rows import make_instance, make_node, make_staff, make_superuser, make_version

pytestmark = pytest.mark.django_db
LIST = "/admin/models_app/modelversion/"


@pytest.fixture(autouse=True)
def _folders(settings: Any, tmp_path: Path) -> None:
    settings.PORTAL_FILES_DIR = tmp_path / "models"
    settings.PORTAL_UPLOADS_DIR = tmp_path / "uploads"


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_a_verb_is_post_only_and_needs_its_own_permission(verb: str) -> None:
    version = make_version()
    other = {"load": "unload", "unload": "load"}[verb]

    assert client_with(verb).get(f"{LIST}{version.pk}/{verb}/").status_code == 302
    assert not Instance.objects.exists()
    assert client_with(other, "change", "add").post(f"{LIST}{version.pk}/{verb}/").status_code == 403
    assert client_with(verb, is_strict=True).post(f"{LIST}{version.pk}/{verb}/").status_code == 403
    assert client_with(verb).post(f"{LIST}{version.pk}/{verb}/").status_code == 302


@pytest.mark.parametrize("verb", ["load", "unload", "delete", "trust", "compare", "choose", "use", "make"])
def test_a_button_of_a_version_that_is_gone_leads_to_the_list(verb: str) -> None:
    client = Client()
    client.force_login(make_superuser())

    response = client.post(f"{LIST}999/{verb}/")

    assert (response.status_code, response.headers["Location"]) == (302, LIST)
    assert words(response) == "This version is gone: somebody deleted it meanwhile. Nothing was done."


@pytest.mark.parametrize("verb", ["load", "unload", "compare", "choose", "use", "make"])
def test_who_had_to_log_in_after_pressing_is_told_that_nothing_was_done(verb: str) -> None:
    version = make_version()
    address = f"{LIST}{version.pk}/{verb}/"
    client = Client()

    to_the_login = client.post(address)
    client.force_login(make_superuser())
    after = client.get(address)

    assert to_the_login.headers["Location"] == f"/admin/login/?next={address}"
    assert (after.status_code, after.headers["Location"]) == (302, f"{LIST}{version.pk}/change/")
    assert words(after) == "Nothing was done. Press the button again."
    assert not Instance.objects.exists() and not version.jobs.exists()


def test_load_queues_one_instance_and_goes_back_to_the_page() -> None:
    make_node()
    version = make_version()
    here = f"http://testserver{LIST}?state=unloaded"

    response = client_with("load").post(f"{LIST}{version.pk}/load/", headers={"Referer": here})

    assert version.instances.get().state == InstanceState.QUEUED
    assert response.headers["Location"] == here
    assert words(response) == "cats v1 is loading."


def test_a_load_that_finds_no_slot_is_said_to_wait() -> None:
    make_node(slots=1)
    make_instance(make_version("first"))
    version = make_version()

    response = client_with("load").post(f"{LIST}{version.pk}/load/")

    assert words(response) == "cats v1 was put into the queue."


def test_a_foreign_referer_is_not_followed() -> None:
    version = make_version()

    response = client_with("load").post(f"{LIST}{version.pk}/load/", headers={"Referer": "http://elsewhere.example/x"})

    assert response.headers["Location"] == LIST


def test_load_of_a_rejected_version_says_why_not() -> None:
    version = make_version("vgg", FileStatus.REJECTED, status_detail="The file holds weights only.")

    response = client_with("load").post(f"{LIST}{version.pk}/load/")

    assert words(response) == "vgg v1 cannot be loaded: it was rejected: The file holds weights only."
    assert not Instance.objects.exists()


def test_unload_cancels_a_queued_load() -> None:
    version = make_version()
    instance = make_instance(version, InstanceState.QUEUED)

    response = client_with("unload").post(f"{LIST}{version.pk}/unload/")

    instance.refresh_from_db()
    assert instance.state == InstanceState.STOPPED
    assert words(response) == "cats v1 was taken out of the queue."


def test_unload_of_what_is_not_loaded_says_so() -> None:
    version = make_version()

    response = client_with("unload").post(f"{LIST}{version.pk}/unload/")

    assert words(response) == "cats v1 is not loaded; no process had to end."


@pytest.mark.parametrize("state", [InstanceState.QUEUED, InstanceState.LOADING])
def test_cancel_says_that_it_means_the_load_only(state: InstanceState) -> None:
    version = make_version()
    make_instance(version, state)

    pages = [client_with("unload").get(address) for address in (LIST, f"{LIST}{version.pk}/change/")]

    assert all('name="only_waiting" value="1">Cancel' in text_of(page) for page in pages)


def test_cancel_unloads_nothing_that_was_loaded_meanwhile() -> None:
    version = make_version()
    instance = make_instance(version)

    response = client_with("unload").post(f"{LIST}{version.pk}/unload/", {"only_waiting": "1"})

    instance.refresh_from_db()
    assert instance.state == InstanceState.READY
    assert words(response) == "cats v1 was loaded meanwhile and answers; nothing was unloaded."


def test_cancel_of_a_queued_load_ends_it() -> None:
    instance = make_instance(make_version(), InstanceState.QUEUED)

    client_with("unload").post(f"{LIST}{instance.version_id}/unload/", {"only_waiting": "1"})

    instance.refresh_from_db()
    assert instance.state == InstanceState.STOPPED


def test_bulk_load_counts_what_begins_and_names_what_cannot() -> None:
    make_node()
    bad = make_version("vgg-old", FileStatus.REJECTED, status_detail="Weights only.")
    chosen = [bad, *(make_version(name) for name in ("new", "loaded", "loaded-too", "queued"))]
    for version in chosen[2:4]:
        make_instance(version)
    make_instance(chosen[4], InstanceState.QUEUED)

    response = client_with("load").post(
        LIST, {"action": "load_selected", "_selected_action": [version.pk for version in chosen], "index": 0}
    )

    assert words(response) == (
        "1 model is loading. 2 models are loaded already. 1 model is on the way already. "
        "vgg-old v1 cannot be loaded: it was rejected."
    )


def test_words_about_what_is_under_way_name_whose_change_ends_them() -> None:
    make_node(slots=1)
    bad = make_version("vgg-old", FileStatus.REJECTED, status_detail="Weights only.")
    chosen = [bad, *(make_version(name) for name in ("a", "b", "c"))]

    client = client_with("load")
    client.post(LIST, {"action": "load_selected", "_selected_action": [v.pk for v in chosen], "index": 0})
    message = text_of(client.get(LIST)).partition('class="messagelist"')[2].partition("</ul>")[0]

    assert '<span class="passing" data-of="a v1">1 model is loading.</span>' in message
    assert '<span class="passing" data-of="b v1, c v1">2 models are waiting for a slot.</span>' in message
    assert message.endswith("</span> vgg-old v1 cannot be loaded: it was rejected.</li>")


def test_bulk_load_tells_what_waits_for_a_slot() -> None:
    make_node(slots=2)
    chosen = [make_version(name).pk for name in ("a", "b", "c")]

    response = client_with("load").post(LIST, {"action": "load_selected", "_selected_action": chosen, "index": 0})

    assert words(response) == "2 models are loading. 1 model is waiting for a slot."


def test_bulk_unload_tells_what_was_taken_out_of_the_queue() -> None:
    make_node()
    chosen = [make_version(name) for name in ("unloaded", "queued", "queued-too")]
    for version in chosen[1:]:
        make_instance(version, InstanceState.QUEUED)

    response = client_with("unload").post(
        LIST, {"action": "unload_selected", "_selected_action": [version.pk for version in chosen], "index": 0}
    )

    assert words(response) == "2 models were taken out of the queue. 1 model had no process to end."


@pytest.mark.parametrize("action", ["load_selected", "unload_selected", "ask_selected", "delete_selected"])
def test_a_bulk_action_is_not_there_for_those_who_may_not(action: str) -> None:
    version = make_version()
    client = client_with()

    client.post(LIST, {"action": action, "_selected_action": [version.pk], "index": 0, "post": "yes"})

    assert f'value="{action}"' not in client.get(LIST).content.decode()
    assert ModelVersion.objects.filter(pk=version.pk).exists()
    assert not Instance.objects.exists()


def test_delete_asks_first_and_then_takes_row_and_file(django_capture_on_commit_callbacks: Any) -> None:
    version = make_version(with_file=True)
    client = client_with("delete")

    asked = client.get(f"{LIST}{version.pk}/delete/")
    with django_capture_on_commit_callbacks(execute=True):
        client.post(f"{LIST}{version.pk}/delete/")

    assert "Delete cats v1?" in asked.content.decode()
    assert not ModelVersion.objects.filter(pk=version.pk).exists()
    assert not version.directory.exists()


def test_the_deletion_of_the_last_version_says_that_its_name_stays() -> None:
    first, last = make_version(), make_version()
    client = Client()
    client.force_login(make_superuser())
    link = f"/admin/models_app/registeredmodel/{last.model.pk}/delete/"

    not_yet = words(client.post(f"{LIST}{first.pk}/delete/"))
    by_itself = words(client.post(f"{LIST}{last.pk}/delete/"))
    other = make_version("dogs")
    chosen = {"action": "delete_selected", "_selected_action": [other.pk], "post": "yes"}
    in_bulk = words(client.post(LIST, chosen))

    assert "no version any more" not in not_yet
    assert "cats has no version any more" in by_itself and link in by_itself
    assert "dogs has no version any more" in in_bulk


def test_who_may_not_delete_a_name_gets_no_link_to_it() -> None:
    told = words(client_with("delete").post(f"{LIST}{make_version().pk}/delete/"))

    assert "cats has no version any more" in told and "<a " not in told


def test_delete_refuses_what_is_loaded() -> None:
    version = make_version(with_file=True)
    make_instance(version)

    response = client_with("delete").post(f"{LIST}{version.pk}/delete/")

    assert "cats v1 is in use" in words(response)
    assert version.path.exists()


def test_the_page_that_refuses_a_deletion_unloads_for_those_who_may() -> None:
    version = make_version()
    make_instance(version, InstanceState.QUEUED)
    here, button = f"{LIST}{version.pk}/delete/", f'formaction="{LIST}{version.pk}/unload/"'
    client = client_with("delete", "unload")

    refused, without_right = text_of(client.get(here)), text_of(client_with("delete").get(here))
    pressed = client.post(f"{LIST}{version.pk}/unload/", headers={"Referer": f"http://testserver{here}"})

    assert button in refused and button not in without_right
    assert pressed.headers["Location"] == f"http://testserver{here}"
    assert "Delete cats v1</button>" in text_of(client.get(here))


def test_bulk_delete_leaves_no_file_and_names_what_is_loaded(django_capture_on_commit_callbacks: Any) -> None:
    gone = [make_version("gone", with_file=True), make_version("gone", with_file=True)]
    kept = make_version("kept", with_file=True)
    make_instance(kept)
    chosen = {"action": "delete_selected", "_selected_action": [v.pk for v in [*gone, kept]]}
    client = client_with("delete")

    asked = client.post(LIST, {**chosen, "index": 0}).content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        response = client.post(LIST, {**chosen, "post": "yes"})

    assert "Delete 2 versions?" in asked and "kept v1" in asked
    assert "2 versions were deleted" in words(response) and "kept v1 was not deleted" in words(response)
    assert not any(version.directory.exists() for version in gone)
    assert list(ModelVersion.objects.all()) == [kept] and kept.path.exists()


def test_bulk_ask_says_of_each_version_why_it_does_not_answer() -> None:
    version = make_version()
    sample = Path(__file__).parent.parent / "samples" / "images" / "seven.png"
    client = client_with("predict")
    chosen = {"action": "ask_selected", "_selected_action": [version.pk]}

    with sample.open("rb") as picture:
        answered = client.post(LIST, {**chosen, "ask": 1, "image": picture})
    without_picture = client.post(LIST, {**chosen, "ask": 1})

    assert "cats v1 is not loaded. Load it first." in answered.content.decode()
    assert without_picture.status_code == 400


def test_the_page_before_a_bulk_ask_says_who_will_not_answer() -> None:
    versions = make_version("bad", FileStatus.REJECTED), make_version("idle"), make_version("up")
    make_instance(versions[-1])
    chosen = {"action": "ask_selected", "_selected_action": [version.pk for version in versions]}

    page = text_of(client_with("predict").post(LIST, chosen))

    assert "No answer now from bad v1 (rejected), idle v1 (unloaded)." in page


def test_an_action_on_nothing_says_what_to_tick() -> None:
    make_version()
    address = f"{LIST}?state=unloaded"

    response = client_with("load").post(address, {"action": "load_selected", "index": 0})

    assert words(response) == "Tick one or more models first."
    assert response.headers["Location"] == address


def test_the_tab_of_the_list_says_models() -> None:
    assert "<title>Models | Model portal</title>" in text_of(client_with().get(LIST))


def test_the_list_of_names_is_called_otherwise_than_that_of_the_versions() -> None:
    client = Client()
    client.force_login(make_superuser())

    assert "<h1>Names</h1>" in text_of(client.get("/admin/models_app/registeredmodel/"))


def test_deleting_a_name_goes_through_the_service(django_capture_on_commit_callbacks: Any) -> None:
    version = make_version(with_file=True)
    loaded = make_version("dogs", with_file=True)
    make_instance(loaded)
    client = Client()
    client.force_login(make_superuser())

    asked = text_of(client.get(f"/admin/models_app/registeredmodel/{loaded.model.pk}/delete/"))
    with django_capture_on_commit_callbacks(execute=True):
        client.post(f"/admin/models_app/registeredmodel/{version.model.pk}/delete/")
        refused = client.post(f"/admin/models_app/registeredmodel/{loaded.model.pk}/delete/")

    assert not version.directory.exists()
    assert loaded.path.exists() and "dogs v1 is in use" in words(refused)
    assert "dogs v1 is in use. Unload first." in asked and "Delete dogs</button>" not in asked


def test_labels_are_changed_through_the_service() -> None:
    version = make_version()
    client = client_with("change")
    address = f"{LIST}{version.pk}/change/?edit=labels"

    refused = client.post(address, {"labels": "only one"})
    accepted = client.post(address, {"labels": "x\ny\nz"})

    version.refresh_from_db()
    assert refused.status_code == 400 and "only one" in refused.content.decode()
    assert accepted.status_code == 302 and version.labels == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("what", "first", "second"),
    [
        ("labels", {"labels": "x\ny\nz"}, {"labels": "1\n2\n3"}),
        ("preprocessing", {"preset": "unit"}, {"preset": "symmetric"}),
        ("postprocessing", {"rest": '{"top": 1}'}, {"rest": '{"top": 2}'}),
        ("options", {"rest": '{"threads": 1}'}, {"rest": '{"threads": 2}'}),
        ("engine", {"engine": "tensorflow"}, {"engine": "openvino"}),
    ],
)
def test_what_another_saved_meanwhile_is_shown_before_it_is_overwritten(
    what: str, first: dict[str, str], second: dict[str, str]
) -> None:
    version = make_version()
    ada, address = Client(), f"{LIST}{version.pk}/change/?edit={what}"
    ada.force_login(make_staff("view", "change", name="ada"))
    bob = client_with("change")
    seen = bob.get(address).context["seen"]

    saved = ada.post(address, {**first, "seen": ada.get(address).context["seen"]})
    refused = bob.post(address, {**second, "seen": seen})
    kept = bob.get(address).context["seen"]
    again = bob.post(address, {**second, "seen": refused.context["seen"]})

    assert (saved.status_code, refused.status_code, again.status_code) == (302, 409, 302)
    assert "ada changed this meanwhile." in text_of(refused) and 'id="id_now"' in text_of(refused)
    assert f'name="seen" value="{kept}"' in text_of(refused)
    assert all(refused.context["typed"][name] == value for name, value in second.items())
    assert bob.get(address).context["seen"] != kept


def test_ends_that_another_chose_meanwhile_are_shown_before_they_are_overwritten() -> None:
    version = make_version(format="frozen_graph", options_json={"threads": 1})
    bob, address = client_with("change"), f"{LIST}{version.pk}/change/?edit=ends"
    form = {"graph_outputs": "bobs", "seen": seen_by(bob, address)}
    change_version(version, {"options": {"graph_outputs": ["adas"]}}, by=make_staff("change", name="ada"))
    ModelVersion.objects.filter(pk=version.pk).update(status=FileStatus.READY)  # it was checked again

    refused = bob.post(address, form)
    again = bob.post(address, {**form, "seen": refused.context["seen"]})

    assert (refused.status_code, again.status_code) == (409, 302)
    assert "ada changed this meanwhile." in text_of(refused) and "adas" in refused.context["now"]
    assert refused.context["ends"].other_outputs == "bobs"


@pytest.mark.parametrize(
    ("what", "change", "said"),
    [
        ("engine", lambda version, ada: use_engine(version, "openvino", "f32", by=ada), "ada changed this meanwhile."),
        ("options", lambda version, ada: use_engine(version, "openvino", "f16", by=ada), "ada changed this meanwhile."),
        (
            "engine",
            lambda version, ada: change_version(version, {"options": {"precision": "f16"}}, by=ada),
            "ada changed this meanwhile.",
        ),
        ("labels", lambda version, ada: ModelVersion.objects.update(labels=["x"]), "This was changed meanwhile."),
    ],
    ids=["used", "used-at-a-precision", "precision", "labels-of-the-file"],
)
def test_it_is_said_who_changed_it_meanwhile(what: str, change: Callable[[Any, Any], object], said: str) -> None:
    version = make_version(engine="auto")
    change_version(version, {"engine": "auto", "postprocessing": {}}, by=make_staff("change", name="carol"))
    bob, address = client_with("change"), f"{LIST}{version.pk}/change/?edit={what}"
    seen = seen_by(bob, address)

    change(version, make_staff("change", name="ada"))
    record(version, "ready", "ready", reason="Changed: litert from the next load. It is the fastest engine of all.")
    refused = bob.post(address, {"engine": "litert", "rest": "{}", "labels": "y", "seen": seen})

    assert refused.status_code == 409 and said in text_of(refused)


def seen_by(client: Client, address: str) -> str:
    """What the form sends along."""
    [seen] = re.findall(r'name="seen" value="(\w+)"', text_of(client.get(address)))
    return seen


def test_preprocessing_keeps_the_keys_that_have_no_field() -> None:
    version = make_version(preprocessing_json={"preset": "unit", "background": "#000000"})
    client = client_with("change")
    address = f"{LIST}{version.pk}/change/?edit=preprocessing"

    shown = client.get(address).context["typed"]
    client.post(address, {**shown, "resize": "fit"})

    version.refresh_from_db()
    assert version.preprocessing_json == {"preset": "unit", "resize": "fit", "background": "#000000"}


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"size": "64 × 64"}, "preprocessing.size is 64 × 64 and the model takes 8 × 8."),
        ({"preset": "imagenet-caffe"}, "preprocessing.color is bgr"),
        ({"rest": "{"}, 'Write it like {"background": "#000000"}.'),
    ],
)
def test_preprocessing_that_cannot_work_is_refused_with_the_reason(typed: dict[str, str], sentence: str) -> None:
    version = make_version()

    response = client_with("change").post(f"{LIST}{version.pk}/change/?edit=preprocessing", typed)

    version.refresh_from_db()
    assert response.status_code == 400 and sentence in unescape(text_of(response))
    assert version.preprocessing_json == {}


def test_a_saved_change_says_when_it_counts() -> None:
    version = make_version()

    response = client_with("change").post(f"{LIST}{version.pk}/change/?edit=labels", {"labels": "x\ny\nz"})

    assert words(response) == "Labels of cats v1 saved. The change counts from the next load."


def test_nothing_is_changed_while_it_is_loaded_or_without_the_right() -> None:
    version = make_version()
    make_instance(version)

    loaded = client_with("change").post(f"{LIST}{version.pk}/change/?edit=engine", {"engine": "tensorflow"})
    refused = client_with("load").post(f"{LIST}{version.pk}/change/?edit=engine", {"engine": "tensorflow"})

    assert loaded.status_code == 409 and refused.status_code == 403


def test_only_a_superuser_trusts_and_says_why() -> None:
    version = make_version("odd", FileStatus.REJECTED, status_detail="A Lambda layer.")
    root = Client()
    root.force_login(make_superuser())
    address = f"{LIST}{version.pk}/trust/"

    assert client_with("change", "add", "delete").post(address, {"reason": "mine"}).status_code == 403
    assert root.post(address, {"reason": " "}).status_code == 400
    assert root.post(address, {"reason": "I made it."}).status_code == 302
    version.refresh_from_db()
    assert (version.status, version.trusted_by, version.trusted_reason) == ("checking", "root", "I made it.")


def test_the_file_comes_as_an_attachment() -> None:
    version = make_version(with_file=True)

    response = client_with().get(f"{LIST}{version.pk}/file/")

    assert async_to_sync(_read)(response) == b"weights"
    assert response.headers["Content-Disposition"].startswith("attachment")


async def _read(response: Any) -> bytes:
    """All of an answer that is streamed, as under ASGI."""
    return b"".join([part async for part in response.streaming_content])
