"""The origin's own calls: register and load in one, ask by a form, remove just that one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from inference.errors import ValidationFailed
from models_app.api.views.origin import copied, importable
from tests.conftest import DIGIT_LABELS, SAMPLE
from tests.running_portal import Api, wait_for
from tests.small_portal import SmallPortal

pytestmark = pytest.mark.portal


def test_a_model_is_put_asked_replaced_kept_and_removed(
    small_portal: SmallPortal, digit: Callable[[str], bytes]
) -> None:
    api = small_portal.portal.client()
    use = {"model_id": "origin", "labels": DIGIT_LABELS, "preprocessing": '{"preset": "unit"}', "engine": "tensorflow"}
    (small_portal.imports / "newer.keras").write_bytes(SAMPLE.read_bytes())

    first = api.put("/api/model/", data=use, files={"file": ("m.keras", SAMPLE.read_bytes())})
    answer = api.post("/api/image/", data={"model_id": "origin"}, files={"image": ("seven.png", digit("seven"))})
    second = api.put("/api/model/", data={**use, "model_path": "newer.keras"})
    rejected = api.put("/api/model/", data={"model_id": "origin"}, files={"file": ("m.keras", b"no model")})
    versions = {version["version"]: version for version in api.get("/api/models/origin/").json()["versions"]}
    still = api.post("/api/image/", data={"model_id": "origin"}, files={"image": ("two.png", digit("two"))})

    assert (first.status_code, first.json()["state"], first.json()["version"]) == (200, "loaded", 1), first.text
    assert answer.json()["predictions"][0]["top"][0]["label"] == "7"
    assert answer.json()["predictions"][0]["image"] == "seven.png"
    assert (second.status_code, second.json()["state"], second.json()["version"]) == (200, "loaded", 2), second.text
    assert [versions[n]["state"] for n in (1, 2, 3)] == ["unloaded", "loaded", "unloaded"]
    assert (rejected.status_code, list(rejected.json()["fields"])) == (400, ["file"])
    assert versions[3]["status"] == "rejected"
    assert (still.json()["version"], still.json()["predictions"][0]["top"][0]["label"]) == (2, "2")

    pid = versions[2]["instances"][0]["pid"]
    kept = api.delete("/api/model/", data={"model_id": "origin"}, params={"keep": "true"})
    assert (kept.status_code, kept.json()["pids"], kept.json()["state"]) == (200, [pid], "unloaded")
    assert api.version("origin", 2)["state"] == "unloaded"
    kept_again = api.delete("/api/model/", data={"model_id": "origin", "keep": "true"})
    assert (kept_again.status_code, len(api.get("/api/models/origin/").json()["versions"])) == (200, 3)
    removed = api.delete("/api/model/", params={"model_id": "origin"})
    assert (removed.status_code, removed.json()["pids"]) == (200, [])
    assert api.get("/api/models/origin/").status_code == 404
    assert api.delete("/api/model/", params={"model_id": "origin"}).status_code == 404


@pytest.mark.long
def test_a_replacement_comes_true_although_nobody_waits_for_it(
    small_portal: SmallPortal, digit: Callable[[str], bytes]
) -> None:
    api = small_portal.portal.client()
    use = {"model_id": "hurried", "labels": DIGIT_LABELS, "preprocessing": '{"preset": "unit"}', "engine": "tensorflow"}
    put = {"data": use, "files": {"file": ("m.keras", SAMPLE.read_bytes())}}
    api.put("/api/model/", **put)

    with pytest.raises(requests.ReadTimeout):
        api.put("/api/model/", **put, timeout=1)

    def states() -> bool:
        versions = {v["version"]: v["state"] for v in api.get("/api/models/hurried/").json()["versions"]}
        return versions == {1: "unloaded", 2: "loaded"}

    wait_for(states, 90, "the second version serves alone")
    answer = api.post("/api/image/", data={"model_id": "hurried"}, files={"image": ("two.png", digit("two"))})
    assert (answer.json()["version"], answer.json()["predictions"][0]["top"][0]["label"]) == (2, "2")
    api.delete("/api/model/", params={"model_id": "hurried"})


@pytest.mark.parametrize("kind", ["multipart", "urlencoded", "json"])
@pytest.mark.parametrize("outside", ["dots", "absolute", "link", "folder", "nothing", "zero", "long", "loop"])
def test_a_path_that_leads_out_of_the_import_folder_is_a_400(
    small_portal: SmallPortal, tmp_path: Path, outside: str, kind: str
) -> None:
    api = small_portal.portal.client()
    secret = tmp_path / "secret.keras"
    secret.write_bytes(SAMPLE.read_bytes())
    folder = small_portal.imports
    link = folder / f"link-{kind}-{outside}"
    if not link.is_symlink():
        link.symlink_to(link if outside == "loop" else secret)
    path = {
        "dots": f"../{'../' * 10}{str(secret).lstrip('/')}",
        "absolute": str(secret),
        "link": link.name,
        "loop": link.name,
        "folder": ".",
        "nothing": "no-such.keras",
        "zero": "a\0b",
        "long": "x" * 5000,
    }[outside]
    use = {"model_id": "smuggled", "model_path": path}

    if kind == "json":
        answer = api.put("/api/model/", json=use)
    elif kind == "urlencoded":
        answer = api.put("/api/model/", data=use)
    else:
        answer = api.put("/api/model/", files={name: (None, text) for name, text in use.items()})

    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["model_path"]), answer.text
    assert api.get("/api/models/smuggled/").status_code == 404
    if outside == "folder":
        assert "Pack it as .zip" in answer.json()["detail"]


def test_a_file_beside_a_path_is_a_400(small_portal: SmallPortal) -> None:
    use = {"model_id": (None, "both"), "model_path": (None, "a.keras"), "file": ("b.keras", SAMPLE.read_bytes())}

    answer = small_portal.portal.client().put("/api/model/", files=use)

    assert (answer.status_code, answer.json()["detail"]) == (400, "Send one of file or model_path.")


@pytest.mark.parametrize("path", ["var/secret_key", "outside/../var/secret_key", "link", "folder/secret_key"])
def test_nothing_is_imported_from_the_data_directory_also_where_the_import_folder_holds_it(
    settings: Any, tmp_path: Path, path: str
) -> None:
    data, kept_elsewhere = tmp_path / "var", tmp_path / "kept"
    kept_elsewhere.mkdir()
    data.symlink_to(kept_elsewhere)
    (data / "secret_key").write_text("secret")
    (tmp_path / "link").symlink_to(data / "secret_key")
    (tmp_path / "folder").symlink_to(data)
    (tmp_path / "outside").mkdir()
    (tmp_path / "mine.keras").write_text("a model")
    settings.PORTAL_IMPORT_DIR, settings.PORTAL_DATA_DIR = tmp_path, data

    with pytest.raises(ValidationFailed, match="no such file"):
        importable(path)

    assert importable("mine.keras") == tmp_path / "mine.keras"


@pytest.mark.parametrize("put", ["a link", "a folder that is a link", "a pipe"])
def test_what_was_put_in_the_place_of_a_file_after_it_was_looked_at_is_not_imported(
    settings: Any, tmp_path: Path, put: str
) -> None:
    imports, elsewhere = tmp_path / "imports", tmp_path / "elsewhere"
    settings.PORTAL_IMPORT_DIR, settings.PORTAL_UPLOADS_DIR = imports, tmp_path / "uploads"
    for folder in (imports / "inner", elsewhere):
        folder.mkdir(parents=True)
        (folder / "mine.keras").write_text("a model")
    path = importable("inner/mine.keras")
    copied(path).discard()

    if put == "a folder that is a link":
        path.parent.rename(imports / "moved")
        path.parent.symlink_to(elsewhere)
    else:
        path.unlink()
        path.symlink_to(elsewhere / "mine.keras") if put == "a link" else os.mkfifo(path)

    with pytest.raises(ValidationFailed, match="no such file"):
        copied(path)


def test_json_says_how_the_model_is_used_as_a_form_does(small_portal: SmallPortal) -> None:
    api = small_portal.portal.client()
    (small_portal.imports / "json.keras").write_bytes(SAMPLE.read_bytes())
    use = {
        "labels": [f"digit {n}" for n in range(10)],
        "preprocessing": {"preset": "unit"},
        "postprocessing": {"top": 3},
        "options": {"threads": 1},
        "engine": "tensorflow",
    }

    answer = api.put("/api/model/", json={"model_id": "by-json", "model_path": "json.keras", **use})
    api.delete("/api/model/", params={"model_id": "by-json"})

    assert (answer.status_code, answer.json()["state"]) == (200, "loaded"), answer.text
    assert {name: answer.json()[name] for name in use} == use


def test_json_of_a_wrong_kind_names_the_field(small_portal: SmallPortal) -> None:
    api = small_portal.portal.client()
    (small_portal.imports / "json.keras").write_bytes(SAMPLE.read_bytes())
    good = {"model_id": "by-json", "model_path": "json.keras"}

    for field, value in [
        ("model_id", 5),
        ("model_path", 5),
        ("model_path", False),
        ("model_path", ["json.keras"]),
        ("labels", {"a": 1}),
        ("preprocessing", [1]),
        ("options", {"threads": "many"}),
        ("engine", 5),
    ]:
        answer = api.put("/api/model/", json={**good, field: value})
        assert (answer.status_code, list(answer.json()["fields"])) == (400, [field]), answer.text
    assert api.get("/api/models/by-json/").status_code == 404


def test_an_unreadable_wish_names_the_field(small_portal: SmallPortal, digit: Callable[[str], bytes]) -> None:
    api = small_portal.portal.client()
    picture = {"image": ("seven.png", digit("seven"))}
    cases = [
        (api.put("/api/model/"), "model_id"),
        (api.put("/api/model/", data={"model_id": "not a slug"}), "model_id"),
        (api.put("/api/model/", data={"model_id": "new"}), "file"),
        (api.put("/api/model/", files={"file": b"x"}), "model_id"),
        (api.delete("/api/model/"), "model_id"),
        (api.delete("/api/model/", params={"model_id": "digits", "keep": "perhaps"}), "keep"),
        (api.post("/api/image/", files=picture), "model_id"),
    ]

    for answer, field in cases:
        assert (answer.status_code, list(answer.json()["fields"])) == (400, [field])
    assert api.post("/api/image/", data={"model_id": "no-such"}, files=picture).status_code == 404
    assert api.post("/api/image/", data={"model_id": "digits"}, files=picture).json()["code"] == "not_loaded"


def test_paths_are_not_taken_where_no_import_folder_is_set(api: Api) -> None:
    answer = api.put("/api/model/", data={"model_id": "x", "model_path": "m.keras"})

    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["model_path"])
    assert "PORTAL_IMPORT_DIR" in answer.json()["detail"]
