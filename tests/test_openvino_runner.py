"""A runner with OpenVINO: no TensorFlow in it, as small as a bare process, ready in a moment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inference.host.processes import memory_bytes
from tests.engine_fixtures import converted
from tests.running_portal import ROOT, Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal

OTHER_LIBRARIES = ("tensorflow", "keras", "onnxruntime", "ai_edge_litert", "h5py")
BARE = """
import sys
from pathlib import Path
import numpy as np
from inference.engines import EngineSettings, open_engine
engines = [open_engine("openvino", Path(sys.argv[1]), "openvino", EngineSettings(streams=int(n))) for n in sys.argv[2:]]
for engine in engines:
    (spec,) = engine.signature.inputs
    for _ in range(3):
        engine.run({spec.name: np.zeros((1, *spec.shape[1:]), np.float32)})
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def mobilenet(engine_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted(tmp_path_factory.mktemp("openvino"), engine_models / "mobilenet.keras", "keras", "openvino").path


@pytest.fixture(scope="module")
def loaded(portal: RunningPortal, mobilenet: Path) -> Iterator[Api]:
    """Loaded for the second time, as every time but the first."""
    api = portal.client("manage")
    api.upload("mobilenet", mobilenet, engine="openvino", preprocessing='{"preset":"symmetric"}')
    before = api.load("mobilenet")["instances"][0]["load_seconds"]
    wait_for(lambda: _kept(portal), 20, "what was compiled is kept")
    api.unload("mobilenet")
    after = api.load("mobilenet")["instances"][0]["load_seconds"]
    print(f"MobileNetV2 in OpenVINO: ready after {before:.2f} s, {after:.2f} s when it was loaded before")
    yield api
    api.delete("/api/models/mobilenet/", params={"unload": "true"})


def _kept(portal: RunningPortal) -> list[Path]:
    return [path for path in portal.data_dir.glob("models/*/compiled/*.blob") if path.stat().st_size > 10**7]


def test_no_other_engine_is_mapped(loaded: Api) -> None:
    maps = Path(f"/proc/{loaded.pid('mobilenet')}/maps").read_text().lower()

    assert "openvino" in maps, "the control"
    assert [name for name in OTHER_LIBRARIES if f"site-packages/{name}" in maps] == [], (
        "OpenVINO has frontends so called"
    )


def test_it_is_ready_soon_and_compiled_once(portal: RunningPortal, loaded: Api) -> None:
    instance = loaded.version("mobilenet")["instances"][0]
    log = "\n".join(loaded.get("/api/models/mobilenet/versions/1/log/").json()["lines"])

    assert instance["load_seconds"] < 15
    assert len(_kept(portal)) == 1
    assert log.count("loaded in") == 2


def test_it_takes_hardly_more_memory_than_a_bare_process(loaded: Api, mobilenet: Path) -> None:
    log = loaded.get("/api/models/mobilenet/versions/1/log/").json()["lines"]
    how = next(line for line in reversed(log) if "at a time" in line).split("; ")[1]
    streams = [how.split()[0], *(["1"] if "a lone one on all cores" in how else [])]
    pid = loaded.pid("mobilenet")
    with subprocess.Popen(
        [sys.executable, "-c", BARE, str(mobilenet), *streams],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as bare:  # fmt: skip
        assert bare.stdin is not None and bare.stdout is not None
        assert bare.stdout.readline() == b"ready\n"
        of_runner, of_bare = memory_bytes(pid), memory_bytes(bare.pid)
        bare.stdin.close()
        bare.wait(30)

    assert of_runner is not None and of_bare is not None
    print(f"runner {of_runner / 1e6:.0f} MB, bare process {of_bare / 1e6:.0f} MB: {of_runner / of_bare:.2f}")
    assert of_runner < 1.5 * of_bare


def test_a_picture_alone_and_one_in_a_crowd_are_answered_alike(loaded: Api, digit: Callable[[str], bytes]) -> None:
    picture = digit("seven")

    alone = loaded.ask("mobilenet", picture).json()["predictions"][0]["top"]
    with ThreadPoolExecutor(8) as pool:
        crowd = list(pool.map(lambda _: loaded.ask("mobilenet", picture).json()["predictions"][0]["top"], range(24)))

    for top in crowd:
        assert [best["index"] for best in top] == [best["index"] for best in alone]
        assert [best["score"] for best in top] == pytest.approx([best["score"] for best in alone], abs=1e-5)
