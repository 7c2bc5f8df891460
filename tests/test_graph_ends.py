"""A frozen graph does not say what goes in and comes out; its owner can."""

from __future__ import annotations

import struct
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from inference.checking import Checked, check_file
from inference.options import GraphEnds
from inference.refusal import FileRejected
from inference.workspace import Workspace
from tests.conftest import SAMPLE
from tests.graph_files import FLOAT, graph_def, node, of_type, placeholder, shape
from tests.running_portal import Api
from tests.wire_bytes import pb

SCORES = (0.1, 0.7, 0.2)


def two_heads(folder: Path) -> Path:
    """Four numbers go in, and a second tensor that only one of two heads needs; a head adds a constant."""
    values = struct.pack("<3f", *SCORES)
    tensor = pb((1, FLOAT), (2, shape(1, 3)), (4, values))
    nodes = [
        placeholder("image", -1, 3),
        placeholder("weight", -1, 3),
        node("bias", "Const", dtype=of_type(FLOAT), value=pb((8, tensor))),
        node("scores", "AddV2", "image", "bias", T=of_type(FLOAT)),
        node("weighted", "Mul", "scores", "weight", T=of_type(FLOAT)),
        node("loss", "Neg", "scores", T=of_type(FLOAT)),
    ]
    path = folder / "two-heads.pb"
    path.write_bytes(graph_def(nodes))
    return path


def checked(folder: Path, path: Path, **ends: Any) -> Checked:
    workspace = Workspace(folder / "work")
    return check_file(
        path, workspace=workspace, is_trusted=False, sandbox="auto", progress=lambda percent, detail: None, **ends
    )


def test_without_a_choice_all_ends_are_taken_and_said(tmp_path: Path) -> None:
    found = checked(tmp_path, two_heads(tmp_path))

    assert [spec.name for spec in found.signature.inputs] == ["image", "weight"]
    assert [spec.name for spec in found.signature.outputs] == ["weighted", "loss"]
    assert [note.split(":")[0] for note in found.notes] == [
        "The graph does not say which inputs are meant; all were taken",
        "The graph does not say which outputs are meant; all were taken",
    ]


def test_the_chosen_ends_are_those_of_the_engine(tmp_path: Path) -> None:
    found = checked(tmp_path, two_heads(tmp_path), graph_inputs=["image"], graph_outputs=["scores"])

    assert [(spec.name, spec.shape) for spec in found.signature.inputs] == [("image", (None, 3))]
    assert [(spec.name, spec.shape) for spec in found.signature.outputs] == [("scores", (None, 3))]
    assert found.notes == ()


@pytest.mark.parametrize("chosen", [{}, {"graph_outputs": ["nothing"]}, {"graph_inputs": ["image"]}])
def test_what_may_be_chosen_is_told_of_rejected_files_too(tmp_path: Path, chosen: dict[str, list[str]]) -> None:
    told: list[GraphEnds] = []

    with pytest.raises(FileRejected) if chosen else nullcontext():
        checked(tmp_path, two_heads(tmp_path), on_candidates=told.append, **chosen)

    assert told == [{"graph_inputs": ("image", "weight"), "graph_outputs": ("weighted", "loss")}]


def test_a_choice_for_a_file_that_needs_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileRejected, match="for frozen graphs only, not for Keras files"):
        checked(tmp_path, SAMPLE, graph_outputs=["scores"])


@pytest.mark.portal
def test_a_wrong_choice_is_put_right_over_rest_and_the_model_answers(api: Api, tmp_path: Path) -> None:
    address = "/api/models/two-heads/versions/1/"

    version = api.upload(
        "two-heads", two_heads(tmp_path), engine="tensorflow", options='{"graph_outputs": ["nothing"]}'
    )
    assert version["status"] == "rejected"
    assert "it has 'weighted', 'loss'" in version["status_detail"]

    assert api.patch(address, json={"options": {}}).status_code == 200
    version = api.checked("two-heads")
    assert (version["status"], len(version["inputs"])) == ("ready", 2)
    assert "all were taken: 'weighted', 'loss'" in version["status_detail"]
    assert "all were taken" in api.get(f"{address}history/").json()["results"][0]["reason"]

    chosen = {"graph_inputs": ["image"], "graph_outputs": ["scores"]}
    answer = api.patch(address, json={"options": chosen})
    assert (answer.status_code, answer.json()["options"]) == (200, chosen)
    version = api.checked("two-heads")
    assert (version["status"], version["status_detail"]) == ("ready", "")
    assert [spec["name"] for spec in version["outputs"]] == ["scores"]

    api.load("two-heads")
    answer = api.post("/api/models/two-heads/predict/", json={"instances": [[0.0, 1.0, 2.0]]})
    (output,) = answer.json()["predictions"][0]["outputs"]
    assert output["name"] == "scores"
    assert output["data"][0] == pytest.approx([0.1, 1.7, 2.2])
    api.delete("/api/models/two-heads/", params={"unload": "true"})


@pytest.mark.portal
def test_a_keras_file_takes_no_choice_of_ends(api: Api) -> None:
    answer = api.patch("/api/models/digits/versions/1/", json={"options": {"graph_outputs": ["x"]}})

    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["options"])
