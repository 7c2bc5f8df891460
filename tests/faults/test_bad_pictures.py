"""Pictures that cannot be read, through every door of a running portal: 4xx with a sentence or the right pixels.

The kinds themselves are tried one by one in tests/test_bad_images.py; here it is seen that no door makes a 5xx of one,
that none costs a process, and that memory stays flat.
"""

from __future__ import annotations

import base64
import random
from collections import Counter
from collections.abc import Callable, Iterator

import psutil
import pytest
import requests
from PIL import Image

from tests.faults.conftest import BENCH, SCALE, Files
from tests.faults.figures import note
from tests.faults.invariants import watched
from tests.picture_files import encoded, png
from tests.running_portal import Api, RunningPortal
from tests.test_bad_images import mutated, noise, seeds

pytestmark = [pytest.mark.portal, pytest.mark.filterwarnings("ignore::UserWarning")]

SHORT, LONG = 200, 2000 // 10 * SCALE
GROWTH_BYTES = 60 * 10**6
NAME = "pictures"


def by_form(api: Api, browser: Api, data: bytes) -> requests.Response:
    return api.ask(NAME, data)


def by_json(api: Api, browser: Api, data: bytes) -> requests.Response:
    return api.post(f"/api/models/{NAME}/predict/", json={"images": [base64.b64encode(data).decode()]})


def by_origin(api: Api, browser: Api, data: bytes) -> requests.Response:
    return api.post("/api/image/", data={"model_id": NAME}, files={"image": ("picture.png", data)})


def by_try_form(api: Api, browser: Api, data: bytes) -> requests.Response:
    fields = {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    return browser.post(f"/try/{NAME}/?fragment=answers", data=fields, files={"image": ("picture.png", data)})


def by_v2(api: Api, browser: Api, data: bytes) -> requests.Response:
    headers = {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"}
    return api.post(f"/v2/models/{NAME}/infer", data=data, headers=headers)


def by_tf_serving(api: Api, browser: Api, data: bytes) -> requests.Response:
    return api.post(f"/v1/models/{NAME}:predict", json={"instances": [{"b64": base64.b64encode(data).decode()}]})


Door = Callable[[Api, Api, bytes], requests.Response]
DOORS: dict[str, Door] = {
    "form": by_form, "json": by_json, "origin": by_origin, "try": by_try_form, "v2": by_v2, "tf": by_tf_serving,
}  # fmt: skip
BAD = {
    "60,000 × 60,000 in its header": png(60_000, 60_000),
    "13,000 × 13,000": png(13_000, 13_000, rows=bytes(13_001 * 1000)),
    "half a JPEG": encoded(noise(), "JPEG")[: len(encoded(noise(), "JPEG")) // 2],
    "nothing": b"",
    "20 bytes": b"\0" * 20,
    "a drawing": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "a page": b"<!doctype html><script>alert(1)</script>",
    "a PostScript file": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "numbers without white": encoded(noise(channels=1).convert("F"), "TIFF"),
}
GOOD = {
    "CMYK": encoded(noise().convert("CMYK"), "JPEG"),
    "RGBA": encoded(noise(channels=4), "PNG"),
    "palette": encoded(noise().quantize(8), "PNG"),
    "one bit": encoded(noise().convert("1"), "PNG"),
    "gray with alpha": encoded(noise().convert("LA"), "PNG"),
    "a JPEG with a page behind it": encoded(noise(), "JPEG") + b"<html><script>alert(1)</script>",
    "an animation": encoded(Image.new("P", (8, 8)), "GIF", save_all=True, append_images=[Image.new("P", (8, 8), 3)]),
}


@pytest.fixture(scope="module")
def served(portal_of_faults: RunningPortal, small_files: Files) -> Iterator[RunningPortal]:
    if not portal_of_faults.is_running:
        portal_of_faults.start()
    api = portal_of_faults.client()
    api.upload(NAME, small_files.pictures, **BENCH)
    api.load(NAME)
    yield portal_of_faults
    api.delete(f"/api/models/{NAME}/", params={"unload": "true"})


def opened(served: RunningPortal, api: Api, browser: Api, door: str) -> Door:
    """The door, if this portal has it: a good picture goes through."""
    answer = DOORS[door](api, browser, GOOD["RGBA"])
    if answer.status_code == 404 and door in {"v2", "tf"}:
        pytest.skip(f"this portal does not speak {door}")
    assert answer.status_code == 200, answer.text
    return DOORS[door]


@pytest.mark.parametrize("door", DOORS)
def test_every_kind_of_picture_is_refused_with_a_sentence_or_read(served: RunningPortal, door: str) -> None:
    api, browser = served.client(), served.browser()
    send, pid = opened(served, api, browser, door), api.pid(NAME)

    bad = {kind: send(api, browser, data) for kind, data in BAD.items()}
    good = {kind: send(api, browser, data) for kind, data in GOOD.items()}

    statuses = {kind: answer.status_code for kind, answer in bad.items()}
    if door == "try":  # the page answers, and says beside each picture why it was not read
        assert set(statuses.values()) <= {200, 400, 422}, statuses
    else:
        assert all(400 <= status < 500 for status in statuses.values()), statuses
    assert all("Traceback" not in answer.text and "/tmp" not in answer.text for answer in bad.values())
    assert {kind: answer.status_code for kind, answer in good.items()} == dict.fromkeys(GOOD, 200)
    assert all("<script>alert" not in answer.text for answer in (*bad.values(), *good.values()))
    assert api.pid(NAME) == pid


@pytest.mark.parametrize("count", [SHORT, pytest.param(LONG, marks=pytest.mark.long)])
def test_damaged_pictures_cost_no_process_and_no_memory(
    served: RunningPortal, faulty: RunningPortal, count: int
) -> None:
    api, browser = served.client(), served.browser()
    doors = []
    for door in DOORS:
        try:
            doors.append(opened(served, api, browser, door))
        except pytest.skip.Exception:
            continue
    chance, pictures = random.Random(11), seeds()
    runner = psutil.Process(api.pid(NAME))
    statuses: Counter[int] = Counter()

    with watched(served, "steady"):
        for number in range(count):
            if number == count // 4:
                before = runner.memory_info().rss
            answer = doors[number % len(doors)](api, browser, mutated(pictures[number % len(pictures)], chance))
            statuses[answer.status_code] += 1
            assert answer.status_code < 500, answer.text
    grown = runner.memory_info().rss - before

    note("F14", f"{count} damaged pictures", lost=0, remark=f"{dict(statuses)}, runner {grown / 1e6:+.1f} MB")
    assert api.pid(NAME) == runner.pid
    assert grown < GROWTH_BYTES
