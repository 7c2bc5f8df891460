"""With the allow-list and safe mode off, the sandbox alone stops what files do; outside of it they do it (controls)."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from inference.checking import check_file
from inference.comparison.measurement import BRIEF, Candidate, measure
from inference.conversion import convert
from inference.refusal import FileRejected
from inference.workspace import Workspace
from tests.running_portal import RunningPortal, wait_for
from tests.this_host import available
from tests.threats.bad_files import LIVE_FILES
from tests.threats.conftest import Live, run_with_tensorflow
from tests.threats.live_files import ATTEMPTS
from tests.walled_in import Place, run_in

pytestmark = pytest.mark.skipif(available().name != "full", reason=f"this host: {available().missing}")

WRITERS = {"lambda_keras", "lambda_h5", "saved_write", "saved_init", "saved_print"}
READERS = {"vocabulary.keras": "[2]", "saved_read.zip": "a-secret-word"}

OPEN_AND_ASK = """
enter()
import numpy as np
from inference.engines import EngineSettings, open_engine
import tensorflow as tf
FORMATS = {".keras": "keras", ".h5": "hdf5", ".zip": "saved_model"}
def used(path):
    try:
        engine = open_engine("tensorflow", path, FORMATS[path.suffix], EngineSettings(is_trusted=True))
        spec = engine.signature.inputs[0]
        is_text = spec.dtype == "string"
        given = np.full((1, *spec.shape[1:]), b"another" if is_text else 1, object if is_text else spec.dtype)
        (answer,) = engine.run({spec.name: given}).values()
        return repr(answer.tolist())
    except Exception as error:
        return f"{type(error).__name__}: {error}"
say({name: used(workspace.model_directory / name) for name in NAMES})
"""


READ_HDF5 = """
enter()
import h5py
try:
    with h5py.File(workspace.model_directory / "model.h5") as file:
        say(file["numbers"][...].tolist())
except (OSError, KeyError) as error:
    say(type(error).__name__)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, live: Live) -> dict[str, Any]:
    """Mode → file → what came out of it; and the markers that it left."""
    found: dict[str, Any] = {}
    for mode in ("require", "off"):
        place = Place.beneath(tmp_path_factory.mktemp(mode))
        for name in LIVE_FILES:
            shutil.copyfile(live.folder / name, place.workspace.model_directory / name)
        found[mode] = run_in(place, f"NAMES = {list(LIVE_FILES)!r}\n{OPEN_AND_ASK}", mode)
        found[f"{mode} markers"] = live.markers()
        for marker in live.markers():
            (live.outside / marker).unlink()
    print(json.dumps(found, indent=1)[:6000])
    return found


def test_nothing_is_written_outside(outcomes: dict[str, Any]) -> None:
    assert set(outcomes["off markers"]) == WRITERS, "the control"
    assert outcomes["require markers"] == []


@pytest.mark.parametrize("name", sorted(READERS))
def test_nothing_is_read_outside(outcomes: dict[str, Any], name: str) -> None:
    seen = READERS[name]

    assert seen in outcomes["off"][name], "the control"
    assert seen not in outcomes["require"][name]
    assert "Error" in outcomes["require"][name] or "Unusable" in outcomes["require"][name]


@pytest.mark.parametrize("kind", ["link", "storage", "virtual"])
def test_hdf5_reads_nothing_from_another_file(tmp_path: Path, kind: str) -> None:
    """Keras refuses some of these itself; here HDF5 is asked directly."""
    found = {}
    for mode in ("require", "off"):
        (tmp_path / mode).mkdir()
        place = Place.beneath(tmp_path / mode)
        other, model = place.outside / "other.h5", place.workspace.model_directory / "model.h5"
        with h5py.File(other, "w") as file:
            file["numbers"] = np.arange(4, dtype=np.float32)
        (place.outside / "raw").write_bytes(np.arange(4, dtype=np.float32).tobytes())
        with h5py.File(model, "w") as file:
            if kind == "link":
                file["numbers"] = h5py.ExternalLink(str(other), "numbers")
            elif kind == "storage":
                file.create_dataset("numbers", (4,), "f4", external=[(str(place.outside / "raw"), 0, 16)])
            else:
                layout = h5py.VirtualLayout((4,), "f4")
                layout[:] = h5py.VirtualSource(str(other), "numbers", (4,))
                file.create_virtual_dataset("numbers", layout)
        found[mode] = run_in(place, READ_HDF5, mode)

    assert found["off"] == [0.0, 1.0, 2.0, 3.0], "the control"
    assert found["require"] != found["off"]


def _checked(path: Path, folder: Path, sandbox: str) -> None:
    try:
        check_file(path, workspace=Workspace(folder), is_trusted=True, sandbox=sandbox, progress=_quiet)
    except FileRejected:
        pass


def _converted(path: Path, folder: Path, sandbox: str) -> None:
    convert(path, "keras", ["onnx"], Workspace(folder), progress=_quiet, sandbox=sandbox, is_trusted=True)


def _measured(path: Path, folder: Path, sandbox: str) -> None:
    candidate = Candidate("tensorflow", path, "keras", is_trusted=True)
    given = {"x": np.zeros((1, 2), np.float32)}
    measure(candidate, given, Workspace(folder), sandbox=sandbox, effort=BRIEF)


def _quiet(percent: int, detail: str) -> None:
    pass


@pytest.mark.parametrize("work", [_checked, _converted, _measured])
def test_a_trusted_file_writes_nothing_while_it_is_checked_converted_or_measured(
    tmp_path: Path, live: Live, work: Callable[[Path, Path, str], None]
) -> None:
    path = live.folder / "lambda_keras.keras"

    work(path, tmp_path / "walled", "require")
    assert live.markers() == []
    work(path, tmp_path / "open", "off")
    assert live.markers() == ["lambda_keras"], "the control"
    (live.outside / "lambda_keras").unlink()


# ---- M10 inside of predict

ASK = """
enter()
import numpy as np
from inference.engines import EngineSettings, open_engine
engine = open_engine("tensorflow", workspace.model_directory / "model.keras", "keras", EngineSettings(is_trusted=True))
name = engine.signature.inputs[0].name
(answer,) = engine.run({name: np.arange(6, dtype=np.float32)[:, None]}).values()
say(answer[:, 0].tolist())
"""


@pytest.fixture(scope="module")
def asked(portal: RunningPortal, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    """What each attempt came to, in predict of a portal and, as the control, outside of the sandbox."""
    folder = tmp_path_factory.mktemp("attacker")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        targets = {
            "secret": str(portal.data_dir / "secret_key"),
            "database": str(next(portal.data_dir.glob("*.sqlite3"))),
            "marker": str(folder / "marker"),
            "port": listener.getsockname()[1],
        }
        run_with_tensorflow("tests.threats.live_files", str(folder), str(folder), json.dumps(targets))
        path = folder / "attacker.keras"
        place = Place.beneath(tmp_path_factory.mktemp("place"))
        shutil.copyfile(path, place.workspace.model_directory / "model.keras")
        outside = run_in(place, ASK, "off")
        (folder / "marker").unlink()
        inside = _ask_portal(portal, path)
    assert not (folder / "marker").exists()
    return {"outside": outside, "inside": inside}


def _ask_portal(portal: RunningPortal, path: Path) -> list[float]:
    api = portal.client("manage")
    version = api.upload("attacker", path, engine="tensorflow")
    assert (version["status"], "is a Lambda" in version["status_detail"]) == ("rejected", True)
    answer = api.post("/api/models/attacker/versions/1/trust/", json={"reason": "A test of the sandbox."})
    assert answer.status_code == 200, answer.text
    version = api.checked("attacker")
    assert version["status"] == "ready", version["status_detail"]
    assert api.load("attacker")["instances"][0]["sandbox"] == "full"
    answer = api.post("/api/models/attacker/predict/", json={"instances": [[n] for n in range(len(ATTEMPTS))]})
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["predictions"][0]["outputs"]
    api.delete("/api/models/attacker/", params={"unload": "true"})
    return [row[0] for row in output["data"]]


@pytest.mark.portal
@pytest.mark.parametrize("attempt", range(len(ATTEMPTS)), ids=ATTEMPTS)
def test_code_in_a_model_gets_nowhere_in_predict(asked: dict[str, list[float]], attempt: int) -> None:
    assert asked["outside"][attempt] == 1.0, "the control"
    assert asked["inside"][attempt] == 0.0


@pytest.mark.portal
def test_a_loop_without_end_costs_504_and_the_next_question_is_answered(portal: RunningPortal, live: Live) -> None:
    """M11: while-loops are plain calculations; the limit of a prediction ends the process, and another one comes."""
    api = portal.client("manage")
    version = api.upload("endless", live.folder / "saved_loop.zip", engine="tensorflow",
                         options='{"predict_timeout_s": 2}')  # fmt: skip
    assert version["status"] == "ready", version["status_detail"]
    pid = api.load("endless")["instances"][0]["pid"]

    address = "/api/models/endless/predict/"

    answer = api.post(address, json={"instances": [[1.0, 2.0]]})

    assert (answer.status_code, answer.json()["code"]) == (504, "timeout")
    wait_for(lambda: api.post(address, json={"instances": [[0.0, 2.0]]}).status_code == 200, 120, "it answers again")
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), 120, "the process that calculates is ended")
    wait_for(lambda: api.post(address, json={"instances": [[0.0, 2.0]]}).status_code == 200, 120, "another one answers")
    assert api.pid("endless") != pid
    api.delete("/api/models/endless/", params={"unload": "true"})
