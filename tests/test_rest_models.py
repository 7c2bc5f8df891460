"""Models and versions over REST: reading, searching, describing, changing, deleting. Nothing here is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model_files import dense, keras_zip, sequential
from tests.running_portal import Api, RunningPortal
from tests.test_checking import with_labels

pytestmark = pytest.mark.portal

MODEL_KEYS = {"name", "description", "owner", "created_at", "versions"}
VERSION_KEYS = {
    "model", "version", "format", "engine", "engine_selected", "engine_reason", "size_bytes", "sha256", "created_at",
    "status", "status_detail", "state", "state_detail", "inputs", "outputs", "labels", "preprocessing",
    "postprocessing", "options", "jobs", "instances",
}  # fmt: skip
JOB_KEYS = {"id", "kind", "state", "progress", "detail", "result"}


def junk(api: Api, name: str, **fields: str) -> dict[str, object]:
    """A model whose file is none: it ends rejected, fast. Returns the MODEL as it was created."""
    answer = api.post("/api/models/", data={"name": name, **fields}, files={"file": ("x.keras", b"no model")})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def stored(portal: RunningPortal) -> int:
    return len(list((portal.data_dir / "models").iterdir()))


def test_a_model_and_its_version_have_the_shapes_of_the_contract(api: Api) -> None:
    model = api.get("/api/models/digits/").json()
    version = api.version("digits")
    listed = api.get("/api/models/digits/versions/").json()

    assert set(model) == MODEL_KEYS
    assert set(version) == VERSION_KEYS
    assert listed == [version] == model["versions"]
    assert (version["format"], version["engine"], version["engine_selected"]) == ("keras", "tensorflow", "tensorflow")
    assert version["inputs"][0]["shape"][0] is None
    assert version["labels"] == [str(n) for n in range(10)]
    assert version["status"] == "ready"
    assert set(version["jobs"][0]) == JOB_KEYS
    assert api.get(f"/api/jobs/{version['jobs'][0]['id']}/").json() == version["jobs"][0]


def test_models_are_found_by_words_and_states_page_by_page(api: Api) -> None:
    for number in range(2):
        junk(api, f"needle-{number}", description="in a haystack")

    by_name = api.get("/api/models/", params={"search": "NEEDLE"}).json()
    by_text = api.get("/api/models/", params={"search": "haystack", "page": 1}).json()
    by_state = api.get("/api/models/", params={"search": "needle", "state": "loaded"}).json()

    assert set(by_name) == {"count", "next", "previous", "results"}
    assert [model["name"] for model in by_name["results"]] == ["needle-0", "needle-1"]
    assert by_text["count"] == 2
    assert by_state["count"] == 0
    for number in range(2):
        assert api.delete(f"/api/models/needle-{number}/").status_code == 204


def test_a_description_is_changed_and_nothing_else_of_a_model(api: Api) -> None:
    junk(api, "described")

    changed = api.patch("/api/models/described/", json={"description": "<img onerror=x> ünï"})
    refused = [
        api.patch("/api/models/described/", json=body)
        for body in ({"name": "other"}, {"description": 5}, {"description": "x" * 10_001}, {"description": "a\x00b"})
    ]

    assert changed.json()["description"] == "<img onerror=x> ünï"
    assert [answer.status_code for answer in refused] == [400] * 4
    assert [list(answer.json()["fields"]) for answer in refused] == [["name"], *[["description"]] * 3]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"labels": ["only one"]}, "labels"),
        ({"labels": 5}, "labels"),
        ({"labels": 0}, "labels"),
        ({"labels": False}, "labels"),
        ({"preprocessing": {"unknown": 1}}, "preprocessing"),
        ({"preprocessing": "unit"}, "preprocessing"),
        ({"preprocessing": {"size": [64, 64]}}, "preprocessing"),
        ({"postprocessing": {"output": "no-such"}}, "postprocessing"),
        ({"options": {"precision": "f8"}}, "options"),
        ({"options": {"unknown": 1}}, "options"),
        ({"engine": "pytorch"}, "engine"),
        ({"engine": ["tensorflow"]}, "engine"),
        ({"engine": None}, "engine"),
        ({"status": "ready"}, "status"),
    ],
)
def test_a_change_that_does_not_fit_names_the_field(api: Api, body: dict[str, object], field: str) -> None:
    before = api.version("digits")

    answer = api.patch("/api/models/digits/versions/1/", json=body)

    assert answer.status_code == 400, answer.text
    assert list(answer.json()["fields"]) == [field]
    assert api.version("digits") == before


def test_a_rejected_version_is_checked_again_with_new_labels(api: Api, tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "small.keras", sequential(dense()))
    rejected = api.upload("relabelled", path, labels="one\ntwo")

    not_ready = api.post("/api/models/relabelled/load/")
    changed = api.patch("/api/models/relabelled/versions/1/", json={"labels": ["a", "b", "c"]})
    ready = api.checked("relabelled")
    refused = api.patch("/api/models/relabelled/versions/1/", json={"labels": ["a", "b"]})

    assert rejected["status"] == "rejected"
    assert "2 labels were given" in str(rejected["status_detail"])
    assert (not_ready.status_code, not_ready.json()["code"]) == (409, "not_ready")
    assert (changed.status_code, changed.json()["status"]) == (200, "checking")
    assert (ready["status"], ready["labels"]) == ("ready", ["a", "b", "c"])
    assert (refused.status_code, list(refused.json()["fields"])) == (400, ["labels"])
    assert api.delete("/api/models/relabelled/").status_code == 204


def test_labels_in_the_file_that_name_no_scores_are_left_out(api: Api, tmp_path: Path) -> None:
    """As those of a detector, which are what its boxes may hold."""
    path = with_labels(tmp_path, str({number: f"kind {number}" for number in range(80)}))

    alone = api.upload("detector", path)
    given = api.post("/api/models/detector/versions/", data={"labels": "a\nb"}, files={"file": path.open("rb")})
    rejected = api.checked("detector", 2)

    assert (alone["status"], alone["labels"]) == ("ready", [])
    assert str(alone["status_detail"]).startswith("The labels inside the file were left out. 80 labels were given")
    assert given.status_code == 201
    assert rejected["status"] == "rejected"
    assert api.delete("/api/models/detector/").status_code == 204


def test_numbers_are_never_used_again_and_history_survives(portal: RunningPortal, api: Api) -> None:
    folders = stored(portal)
    junk(api, "counted")
    files = {"file": ("y.keras", b"no model either")}
    second = api.post("/api/models/counted/versions/", files=files).json()

    api.checked("counted", 2)
    deleted = api.delete("/api/models/counted/versions/2/")
    third = api.post("/api/models/counted/versions/", files=files).json()
    history = api.get("/api/models/counted/versions/2/history/").json()["results"]

    assert (second["version"], deleted.status_code, third["version"]) == (2, 204, 3)
    assert api.get("/api/models/counted/versions/2/").status_code == 404
    assert set(history[0]) == {"at", "before", "after", "reason", "by"}
    assert [event["after"] for event in history] == ["deleted", "rejected", "uploaded"]
    assert [event["by"] for event in history] == ["admin", "", "admin"]
    assert api.delete("/api/models/counted/").status_code == 204
    assert api.get("/api/models/counted/").status_code == 404
    assert len(api.get("/api/models/counted/versions/1/history/").json()["results"]) >= 2
    assert stored(portal) == folders


def test_the_file_comes_back_as_an_attachment(api: Api) -> None:
    answer = api.get("/api/models/digits/versions/1/file/")

    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="digits.keras"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert len(answer.content) == int(answer.headers["Content-Length"]) == api.version("digits")["size_bytes"]


def test_trust_has_a_rejected_file_checked_again(api: Api) -> None:
    junk(api, "trusted")
    api.checked("trusted")

    for body in ({}, {"reason": ""}, {"reason": 5}, {"reason": "a\x00b"}, {"reason": "x" * 1001}):
        assert api.post("/api/models/trusted/versions/1/trust/", json=body).status_code == 400
    answer = api.post("/api/models/trusted/versions/1/trust/", json={"reason": "I made it."})

    assert (answer.status_code, answer.json()["status"]) == (200, "checking")
    assert api.checked("trusted")["status"] == "rejected"
    assert api.delete("/api/models/trusted/").status_code == 204


def test_status_names_the_node_and_what_is_loaded(api: Api) -> None:
    status = api.get("/api/status/").json()

    assert set(status) == {"nodes", "loaded"}
    assert set(status["nodes"][0]) == {"name", "slots", "slots_free", "devices", "last_seen"}
    assert set(status["nodes"][0]["devices"][0]) == {"id", "kind", "memory_bytes", "free_bytes"}
