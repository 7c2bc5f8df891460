"""V2's repository of models: what its index says of each, and how a load is answered that cannot be."""

from __future__ import annotations

import hashlib
import json
import time

import pytest

from inference.errors import NoSlot, NotFound, PortalError, ValidationFailed
from inference.protocols.answer import error_answer
from inference.protocols.v2_repository import LoadRequest, read_load
from models_app.choices import FileStatus, InstanceState
from models_app.models import Node, RegisteredModel
from models_app.services import repository
from models_app.services.nodes import this_node
from models_app.services.unload import unload
from tests.interleaved import just_before
from tests.registry import make_version

pytestmark = pytest.mark.django_db


def test_each_row_of_the_index_has_a_state_and_a_reason() -> None:
    RegisteredModel.objects.create(name="empty")
    make_version("digits", InstanceState.READY)
    make_version("digits")

    assert repository.index(only_ready=False) == [
        {"name": "digits", "version": "1", "state": "READY", "reason": ""},
        {"name": "digits", "version": "2", "state": "UNAVAILABLE", "reason": "unloaded"},
        {"name": "empty", "state": "UNAVAILABLE", "reason": "no version"},
    ]
    assert [row["name"] for row in repository.index(only_ready=True)] == ["digits"]


def refusal(name: str) -> PortalError:
    with pytest.raises(PortalError) as raised:
        repository.load_model(name, LoadRequest(), by=None)
    return raised.value


@pytest.mark.parametrize("versions", [[], [FileStatus.REJECTED], [FileStatus.REJECTED, FileStatus.REJECTED]])
def test_a_load_of_what_will_never_be_ready_is_a_400_that_says_why(versions: list[FileStatus]) -> None:
    RegisteredModel.objects.create(name="bad")
    for status in versions:
        make_version("bad", status=status, status_detail="The file is no model.")

    error = refusal("bad")

    assert error_answer(error).status == 400
    assert error.message.startswith("failed to load 'bad': bad ")


def test_a_load_of_what_is_still_being_checked_is_to_be_tried_again() -> None:
    make_version("new", status=FileStatus.CHECKING)

    answer = error_answer(refusal("new"))

    assert (answer.status, b"still being checked" in answer.body) == (503, True)
    assert dict(answer.headers)[b"retry-after"] == b"2"


def test_a_load_of_what_does_not_exist_is_a_404() -> None:
    error = refusal("nobody")

    assert isinstance(error, NotFound)
    assert error_answer(error).status == 404


def test_a_load_without_a_slot_says_its_place_before_the_client_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "SLOT_LIMIT_S", 0.3)
    for number in range(this_node().slots):
        make_version(f"loaded{number}", InstanceState.READY)
    make_version("first", InstanceState.QUEUED)
    make_version("late")

    began = time.monotonic()
    answer = error_answer(refusal("late"))

    assert time.monotonic() - began < 10
    assert (answer.status, b"late v1 waits for a slot: place 2 of 2." in answer.body) == (503, True), answer.body
    (row,) = [row for row in repository.index(only_ready=False) if row["name"] == "late"]
    assert (row["state"], row["reason"]) == ("LOADING", "waits for a slot, place 2 of 2")
    assert repository.states("late", None) == [(1, "queued", "waits for a slot, place 2 of 2")]


def test_a_load_with_files_that_was_cancelled_during_their_check_is_not_to_be_tried_again() -> None:
    """A client that tried again would put these files in the place of what was loaded since."""
    version = make_version("digits", sha256=hashlib.sha256(b"x").hexdigest())
    request = LoadRequest({"model.keras": b"x"})

    cancelled = just_before('"instances_wanted" > ', lambda: unload([version], by=None))
    with cancelled, pytest.raises(ValidationFailed, match="cancelled"):
        repository.load_model("digits", request, by=None)


def test_where_nothing_can_be_loaded_no_version_is_made() -> None:
    Node.objects.filter(pk=this_node().pk).update(slots=0)
    request = LoadRequest({"model.onnx": b"x"}, 1, {})

    with pytest.raises(NoSlot):
        repository.load_model("new", request, by=None)

    assert not RegisteredModel.objects.exists()


@pytest.mark.parametrize(
    ("groups", "instances"),
    [([], 1), (None, 1), ([{"count": 2, "kind": "KIND_GPU"}, {"count": 1}], 3), ([{"count": "2"}, 7, {}], 1)],
)
def test_the_groups_of_a_configuration_say_how_many_instances(groups: object, instances: int) -> None:
    def wanted(**parameters: object) -> int:
        config = json.dumps({"instance_group": groups})
        return read_load(json.dumps({"parameters": {"config": config, **parameters}}).encode()).instances

    assert (wanted(), wanted(instances=5)) == (instances, 5)


@pytest.mark.parametrize("text", ["aGVsbG8=", "aGVsbG8", "aGVs\nbG8=\n"])
def test_a_file_may_come_in_lines_and_without_padding(text: str) -> None:
    body = json.dumps({"parameters": {"config": "{}", "file:3/model.onnx": text}}).encode()

    assert read_load(body) == LoadRequest({"model.onnx": b"hello"}, 3)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{x", "The body is not JSON: "),
        (b"[]", "The body is not a JSON object."),
        (b'{"parameters": {"config": "{x"}}', "The parameter config is not JSON: "),
        (b'{"parameters": {"config": "{NaN"}}', "The parameter config is not JSON: "),
        (b'{"parameters": {"config": "[]"}}', "The parameter config is not a JSON object."),
    ],
)
def test_what_of_a_load_is_no_json_is_named(body: bytes, sentence: str) -> None:
    with pytest.raises(ValidationFailed) as raised:
        read_load(body)

    assert raised.value.message.startswith(sentence)


def test_a_path_that_no_archive_can_hold_is_a_400() -> None:
    files = {f"file:1/{name}": "aGVsbG8=" for name in ("model.xml", "a" * 70_000)}

    with pytest.raises(ValidationFailed, match="has more than 1,000 characters"):
        read_load(json.dumps({"parameters": {"config": "{}", **files}}).encode())
