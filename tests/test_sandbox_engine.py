"""Inside the sandbox an engine loads and predicts as fast as outside, and code in a model gets nowhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import SAMPLE
from tests.running_portal import Api, RunningPortal
from tests.this_host import available
from tests.walled_in import Place, run_in

pytestmark = pytest.mark.skipif(available().name != "full", reason=f"this host: {available().missing}")

MEASURE = """
level = enter()
import numpy as np
from inference.engines import EngineSettings, open_engine
from inference.images import decode_image
from inference.preprocessing import parse_preprocessing, plan_image
engine = open_engine("tensorflow", model, "keras", EngineSettings())
plan = plan_image(parse_preprocessing(json.loads(PREPROCESSING)), engine.signature.inputs[0])
picture = decode_image(memoryview(bytes.fromhex(PICTURE)), plan)[None]
name = engine.signature.inputs[0].name
answer = next(iter(engine.run({name: picture}).values()))
def rate(batch):
    inputs = {name: np.repeat(picture, batch, 0)}
    for _ in range(20):
        engine.run(inputs)
    return max(count(inputs, batch) for _ in range(8))  # the best of many short spans: the host has other work
def count(inputs, batch):
    done, began = 0, time.monotonic()
    while time.monotonic() - began < 0.12:
        engine.run(inputs)
        done += batch
    return done / (time.monotonic() - began)
rates = [rate(1), rate(64)]

import tensorflow as tf
def outcome(attempt):
    try:
        attempt()
        return "done"
    except Exception as error:
        return type(error).__name__
read = outcome(lambda: tf.io.read_file(str(OUTSIDE / "secret")))
write = outcome(lambda: tf.io.write_file(str(OUTSIDE / "marker"), "x"))
printed = outcome(lambda: tf.print("x", output_stream="file://" + str(OUTSIDE / "printed")))
say({"level": level.name, "digit": int(answer.argmax()), "rates": rates, "read": read, "write": write})
"""


@pytest.mark.long
def test_tensorflow_runs_as_fast_inside_and_its_file_operations_get_nowhere(
    tmp_path: Path, digit: Callable[[str], bytes]
) -> None:
    said = {}
    for mode in ("off", "require"):
        directory = tmp_path / mode
        directory.mkdir()
        place = Place.beneath(directory)
        path = place.workspace.model_directory / "model"
        path.unlink()
        shutil.copyfile(SAMPLE, path.with_name("model.keras"))
        preprocessing = json.dumps(json.loads(SAMPLE.with_suffix(".json").read_text())["preprocessing"])
        given = f'PREPROCESSING, PICTURE = {preprocessing!r}, "{digit("seven").hex()}"\n'
        code = f'{given}model = model.with_name("model.keras")\n{MEASURE}'
        said[mode] = run_in(place, code, mode)
        left = {path.name for path in place.outside.iterdir()} - {"secret"}
        assert left == ({"marker", "printed"} if mode == "off" else set())

    inside, outside = said["require"], said["off"]
    ratios = [a / b for a, b in zip(inside["rates"], outside["rates"], strict=True)]
    for batch, ratio, rate in zip((1, 64), ratios, inside["rates"], strict=True):
        print(f"digits, batch {batch}: {rate:.0f} pictures a second inside, {ratio:.2f} of outside")
    assert (inside["level"], outside["level"]) == ("full", "none")
    assert inside["digit"] == outside["digit"] == 7
    assert (outside["read"], outside["write"]) == ("done", "done"), "the control"
    assert (inside["read"], inside["write"]) == ("PermissionDeniedError", "PermissionDeniedError")
    assert min(ratios) > 0.5


@pytest.mark.portal
def test_a_loaded_model_says_that_it_is_walled_in(
    new_portal: Callable[..., RunningPortal], digit: Callable[[str], bytes]
) -> None:
    portal = new_portal(PORTAL_SANDBOX="require")
    api: Api = portal.client("manage")
    assert api.checked("digits")["status"] == "ready"

    api.load("digits")

    (instance,) = api.version("digits")["instances"]
    status = Path(f"/proc/{instance['pid']}/status").read_text()
    assert instance["sandbox"] == "full"
    assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status
    assert api.ask("digits", digit("two")).status_code == 200
