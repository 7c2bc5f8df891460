"""Conversion, comparison and the choice of the engine, as a client sees them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import DIGIT_LABELS, SAMPLE
from tests.engine_fixtures import difference, model_data
from tests.running_portal import Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal

USE = {"labels": DIGIT_LABELS, "preprocessing": '{"preset":"unit"}'}
JOB_LIMIT_S = 400
OTHERS = ("onnxruntime", "litert", "tensorflow")


@pytest.fixture(scope="module")
def chosen(portal: RunningPortal) -> Iterator[dict[str, Any]]:
    """A version with the engine `auto`, right after its check."""
    api = portal.client()
    yield api.upload("chosen", SAMPLE, engine="auto", **USE)
    api.delete("/api/models/chosen/", params={"unload": "true"})


def test_auto_is_ready_with_the_engine_of_the_file_and_uses_the_measured_one_from_the_next_load(
    api: Api, chosen: dict[str, Any], digit: Callable[[str], bytes]
) -> None:
    assert (chosen["engine"], chosen["engine_selected"]) == ("auto", "tensorflow")
    first = api.load("chosen")["instances"][0]
    before = api.ask("chosen", digit("seven")).json()

    job = ended_job(api, "chosen", "choose")
    version = api.version("chosen")
    still = version["instances"][0]
    comparison = api.get("/api/models/chosen/versions/1/comparison/").json()
    api.unload("chosen")
    again = api.load("chosen")["instances"][0]
    after = api.ask("chosen", digit("seven")).json()

    rows = {row["engine"]: row for row in comparison["rows"]}
    for engine, row in rows.items():
        print(engine, {key: row[key] for key in ("max_abs_diff", "per_second", "p50_ms", "memory_bytes", "error")})
    assert job["state"] == "done", job["detail"]
    assert (still["pid"], still["engine"]) == (first["pid"], "tensorflow"), "what runs is left alone"
    assert version["engine_selected"] == comparison["recommended"] == again["engine"] == after["engine"]
    assert version["engine_selected"] != "tensorflow", version["engine_reason"]
    assert version["engine_selected"] in version["engine_reason"]
    assert comparison["reference"] == "tensorflow"
    assert set(rows) == {"tensorflow", "openvino", "onnxruntime", "litert"}
    for row in rows.values():
        assert not row["error"]
        assert row["max_rel_diff"] < 1e-3
        assert row["same_winner"] == 1
    assert before["predictions"][0]["top"][0]["label"] == after["predictions"][0]["top"][0]["label"] == "7"
    assert before["predictions"][0]["top"][0]["score"] == pytest.approx(
        after["predictions"][0]["top"][0]["score"], abs=1e-5
    )


@pytest.mark.parametrize("engine", ["openvino", *(pytest.param(name, marks=pytest.mark.long) for name in OTHERS)])
def test_a_word_beyond_the_vocabulary_is_refused_in_every_engine(api: Api, engine_models: Path, engine: str) -> None:
    name = f"words-{engine}"
    version = api.upload(name, engine_models / "vocabulary.keras", engine=engine)
    api.load(name)
    right = {"question": [0, 499, 7, 7, 3, 1], "answer": [5, 4, 3, 2, 1, 0], "kind": [2]}
    answers = [
        api.post(f"/api/models/{name}/predict/", json={"instances": [{**right, **wrong}]})
        for wrong in ({}, {"answer": [5, 4, 500, 2, 1, 0]}, {"kind": [3]}, {"question": [0, -1, 7, 7, 3, 1]})
    ]
    api.delete(f"/api/models/{name}/", params={"unload": "true"})

    assert {spec["name"]: spec["below"] for spec in version["inputs"]} == {"question": 500, "answer": 500, "kind": 3}
    assert [answer.status_code for answer in answers] == [200, 422, 422, 422]
    assert [answer.json()["detail"] for answer in answers[1:]] == [
        "The input answer takes numbers from 0 to 499; the request holds 500.",
        "The input kind takes numbers from 0 to 2; the request holds 3.",
        "The input question takes numbers from 0 to 499; the request holds -1.",
    ]


def test_an_engine_that_is_asked_for_is_converted_for_and_waited_for_at_the_load(
    api: Api, digit: Callable[[str], bytes]
) -> None:
    version = api.upload("asked-for", SAMPLE, engine="litert", **USE)
    [instance] = api.load("asked-for")["instances"]
    answer = api.ask("asked-for", digit("two")).json()

    assert (version["engine_selected"], version["engine_reason"]) == ("litert", "asked for")
    assert instance["engine"] == "litert"
    assert answer["predictions"][0]["top"][0]["label"] == "2"
    assert [job["kind"] for job in api.version("asked-for")["jobs"]] == ["check", "convert"]

    api.unload("asked-for")
    changed = api.patch("/api/models/asked-for/versions/1/", json={"engine": "onnxruntime"})
    assert changed.status_code == 200, changed.text
    [instance] = api.load("asked-for")["instances"]
    assert instance["engine"] == "onnxruntime"
    assert api.ask("asked-for", digit("two")).json()["predictions"][0]["top"][0]["label"] == "2"
    api.delete("/api/models/asked-for/", params={"unload": "true"})


def test_a_quantised_file_is_converted_for_openvino(api: Api, engine_models: Path) -> None:
    given, expected = model_data(engine_models, "int8")
    version = api.upload("quantised", engine_models / "int8.tflite", engine="openvino")
    [instance] = api.load("quantised")["instances"]
    answer = api.post("/api/models/quantised/predict/", json={"inputs": given["pixels"].tolist()}).json()
    kinds = [job["kind"] for job in api.version("quantised")["jobs"]]
    api.delete("/api/models/quantised/", params={"unload": "true"})

    assert (version["format"], instance["engine"], kinds) == ("tflite", "openvino", ["check", "convert"])
    [output] = answer["predictions"][0]["outputs"]
    assert difference({"answer": np.array(output["data"])}, expected) < 0.15


@pytest.mark.long
def test_every_format_can_be_had_and_a_frozen_graph_answers_the_same(
    api: Api, portal: RunningPortal, digit: Callable[[str], bytes], tmp_path: Path
) -> None:
    api.upload("taken-away", SAMPLE, **USE)
    sizes = {}
    for target in ("saved_model", "frozen_graph", "onnx", "openvino", "tflite"):
        answer = exported(api, "taken-away", target)
        assert answer.headers["Content-Disposition"].startswith("attachment"), target
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        sizes[target] = len(answer.content)
        (tmp_path / target).write_bytes(answer.content)
    print(sizes)
    back = api.upload("brought-back", _named(tmp_path / "frozen_graph", "graph.pb"), **USE)
    api.load("brought-back")
    api.load("taken-away")
    one, other = (api.ask(name, digit("nine"), top=10).json() for name in ("taken-away", "brought-back"))
    store = portal.data_dir / "models"
    folders = {path.parent.parent for path in store.rglob("converted/onnx.onnx")}
    for name in ("taken-away", "brought-back"):
        api.delete(f"/api/models/{name}/", params={"unload": "true"})

    assert back["format"] == "frozen_graph"
    assert [t["index"] for t in one["predictions"][0]["top"]] == [t["index"] for t in other["predictions"][0]["top"]]
    assert [t["score"] for t in one["predictions"][0]["top"]] == pytest.approx(
        [t["score"] for t in other["predictions"][0]["top"]], abs=1e-6
    )
    assert any(not folder.exists() for folder in folders), "what was made of a file goes with it"


def test_what_cannot_be_converted_says_which_operation_stands_in_the_way(api: Api, engine_models: Path) -> None:
    version = api.upload("stands-alone", engine_models / "digamma.pb")
    assert version["status"] == "ready", version["status_detail"]

    answer = exported(api, "stands-alone", "tflite", expected=422)
    changed = api.patch("/api/models/stands-alone/versions/1/", json={"engine": "litert"})
    [refused] = wait_for(lambda: _refusal(api), 60, "the load is refused")
    api.patch("/api/models/stands-alone/versions/1/", json={"engine": "tensorflow"})
    loaded = api.load("stands-alone")

    assert answer.json()["code"] == "bad_input"
    assert "Digamma" in answer.json()["detail"]
    assert changed.status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (502, "load_failed")
    assert "Digamma" in refused.json()["detail"]
    assert loaded["instances"][0]["engine"] == "tensorflow", "its own engine still runs it"
    api.delete("/api/models/stands-alone/", params={"unload": "true"})


@pytest.mark.long
def test_a_conversion_that_is_killed_fails_with_a_reason_and_the_version_stays_usable(
    api: Api, portal: RunningPortal, engine_models: Path, digit: Callable[[str], bytes]
) -> None:
    api.upload("interrupted", engine_models / "mobilenet.keras")
    job = api.get("/api/models/interrupted/versions/1/export/", params={"format": "onnx"}).json()
    child = wait_for(lambda: portal.children_at("inference.conversion"), 60, "the conversion runs")[0]
    child.kill()

    failed = wait_for(lambda: _ended(api, job["id"]), 60, "the job ended")
    api.load("interrupted")
    answer = api.ask("interrupted", digit("seven"))
    again = exported(api, "interrupted", "onnx")

    print(failed["detail"])
    assert failed["state"] == "failed"
    assert failed["detail"].startswith("The conversion to ONNX ended early.")
    assert answer.status_code == 200, answer.text
    assert again.status_code == 200
    api.delete("/api/models/interrupted/", params={"unload": "true"})


@pytest.mark.long
def test_a_full_comparison_measures_each_precision(api: Api, chosen: dict[str, Any]) -> None:
    asked = api.post("/api/models/chosen/versions/1/compare/")
    twice = api.post("/api/models/chosen/versions/1/compare/")

    assert (asked.status_code, twice.json()["id"]) == (202, asked.json()["id"]), asked.text
    ended_job(api, "chosen", "compare")
    rows = api.get("/api/models/chosen/versions/1/comparison/").json()["rows"]
    assert {(row["engine"], row["precision"]) for row in rows} >= {
        ("tensorflow", "f32"),
        ("openvino", "f32"),
        ("openvino", "bf16"),
        ("onnxruntime", "f32"),
        ("litert", "f32"),
    }


def test_a_precision_that_the_engine_does_not_compute_in_is_refused(api: Api) -> None:
    answer = api.patch("/api/models/digits/versions/1/", json={"engine": "litert", "options": {"precision": "bf16"}})

    assert answer.status_code == 400
    assert answer.json()["fields"]["options"] == ["litert does not compute in bf16. Leave the precision out."]


def test_what_was_never_measured_is_not_found_and_unknown_formats_are_named(api: Api) -> None:
    assert api.get("/api/models/digits/versions/1/comparison/").status_code == 404
    unknown = api.get("/api/models/digits/versions/1/export/", params={"format": "pickle"})
    assert unknown.status_code == 400
    assert "saved_model" in unknown.json()["fields"]["format"][0]


# ---- helpers


def ended_job(api: Api, name: str, kind: str) -> dict[str, Any]:
    """The newest job of this kind, once it has ended; its progress never went back."""

    def look() -> dict[str, Any] | None:
        jobs = [job for job in api.version(name)["jobs"] if job["kind"] == kind]
        return jobs[-1] if jobs and jobs[-1]["state"] in {"done", "failed"} else None

    return wait_for(look, JOB_LIMIT_S, f"the job {kind} of {name} ended")


def exported(api: Api, name: str, target: str, expected: int = 200) -> Any:
    """The answer to an export once it is no longer on its way."""

    def look() -> list[Any] | None:  # in a list, because an answer that is an error counts as false
        answer = api.get(f"/api/models/{name}/versions/1/export/", params={"format": target})
        return None if answer.status_code == 202 else [answer]

    [answer] = wait_for(look, JOB_LIMIT_S, f"{name} as {target}")
    assert answer.status_code == expected, answer.text[:500]
    return answer


def _refusal(api: Api) -> list[Any] | None:
    answer = api.post("/api/models/stands-alone/load/")
    return [answer] if answer.status_code == 502 else None


def _ended(api: Api, job_pk: int) -> dict[str, Any] | None:
    job = dict(api.get(f"/api/jobs/{job_pk}/").json())
    return job if job["state"] in {"done", "failed"} else None


def _named(path: Path, name: str) -> Path:
    return path.rename(path.with_name(name))


@pytest.mark.long
def test_a_file_of_a_gigabyte_is_checked_converted_and_answered(api: Api, tmp_path: Path) -> None:
    """Its check takes more than 4 GB of memory, and with the weights as TensorFlow's constants it could not be had."""
    subprocess.run([sys.executable, "-m", "tests.large_file", str(tmp_path)], check=True, timeout=300)
    given, expected = model_data(tmp_path, "large")
    path = tmp_path / "large.keras"

    began = time.monotonic()
    version = api.upload("large", path, engine="openvino")
    checked_s = time.monotonic() - began
    conversion = ended_job(api, "large", "convert")
    converted_s = time.monotonic() - began - checked_s
    loaded = api.load("large")
    answer = api.post("/api/models/large/predict/", json={"inputs": {"x": given["x"].tolist()}}).json()
    api.delete("/api/models/large/", params={"unload": "true"})

    print(f"{path.stat().st_size / 1e9:.2f} GB, checked {checked_s:.0f} s, converted {converted_s:.0f} s")
    assert version["status"] == "ready", version["status_detail"]
    assert conversion["state"] == "done", conversion["detail"]
    assert loaded["instances"][0]["engine"] == "openvino"
    found = np.array(answer["predictions"][0]["outputs"][0]["data"])
    assert difference({"answer": found}, expected) < 1e-4 * np.abs(expected["answer"]).max()
