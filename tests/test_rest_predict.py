"""Asking over REST: pictures and tensors in every form, and a sentence for each that cannot be taken."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models_app.services.predict import FIRST_OF_SEVERAL
from tests.conftest import DIGIT_LABELS, SAMPLE
from tests.model_files import dense, keras_zip, sequential
from tests.picture_files import chunk, encoded, png
from tests.real_models import CIFAR_LABELS, FER_LABELS, astronaut_face, chelsea_crop, cifar_h5, fer_hdf5
from tests.running_portal import Api, RunningPortal
from tests.small_portal import SmallPortal

pytestmark = pytest.mark.portal

PICTURES, NUMBERS = "asked-pictures", "asked-numbers"


@pytest.fixture(scope="module", autouse=True)
def asked(portal: RunningPortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two loaded models: the sample, and four numbers → three sums of them (kernel of ones, no bias)."""
    api = portal.client("manage")
    small = keras_zip(tmp_path_factory.mktemp("sums") / "sums.keras", sequential(dense(activation="linear")))
    api.upload(PICTURES, SAMPLE, labels=DIGIT_LABELS, preprocessing='{"preset": "unit"}')
    api.upload(NUMBERS, small)
    for name in (PICTURES, NUMBERS):
        api.load(name)
    yield
    for name in (PICTURES, NUMBERS):
        api.delete(f"/api/models/{name}/", params={"unload": "true"})


def ask_json(api: Api, name: str, body: object, **query: Any) -> Any:
    return api.post(f"/api/models/{name}/predict/", json=body, params=query)


# ---- pictures


def test_pictures_come_as_files_or_in_base64_and_are_answered_in_order(api: Api, digit: Callable[[str], bytes]) -> None:
    seven, two = digit("seven"), digit("two")
    texts = [base64.b64encode(seven).decode(), f"data:image/png;base64,{base64.encodebytes(two).decode()}"]

    by_form = api.ask(PICTURES, seven, two, top=3).json()
    by_json = ask_json(api, PICTURES, {"images": texts}, top=3).json()
    by_version = api.post(f"/api/models/{PICTURES}/versions/1/predict/", json={"images": texts[:1]}).json()

    assert set(by_form) == {"model", "version", "engine", "predictions", "timing_ms"}
    assert (by_form["model"], by_form["version"], by_form["engine"]) == (PICTURES, 1, "tensorflow")
    assert set(by_form["timing_ms"]) == {"queue", "decode", "inference", "total"}
    assert [p["image"] for p in by_form["predictions"]] == ["0.png", "1.png"]
    assert [p["image"] for p in by_json["predictions"]] == [0, 1]
    assert [p["top"] for p in by_form["predictions"]] == [p["top"] for p in by_json["predictions"]]
    assert [p["top"][0]["label"] for p in by_json["predictions"]] == ["7", "2"]
    assert [set(row) for row in by_form["predictions"][0]["top"]] == [{"index", "label", "score"}] * 3
    assert len(by_version["predictions"][0]["top"]) == 5
    assert len(api.ask(PICTURES, seven, top=100).json()["predictions"][0]["top"]) == 10


def test_of_an_animation_the_first_picture_is_answered_and_said_to_be(
    portal: RunningPortal, api: Api, digit: Callable[[str], bytes]
) -> None:
    first, second = (Image.open(BytesIO(digit(name))).convert("L") for name in ("seven", "two"))
    moving = encoded(first, "GIF", save_all=True, append_images=[second])

    animation, still = api.ask(PICTURES, moving, digit("two")).json()["predictions"]

    assert (animation["top"][0]["label"], still["top"][0]["label"]) == ("7", "2")
    assert animation["note"] == FIRST_OF_SEVERAL and "note" not in still
    assert FIRST_OF_SEVERAL in _asked_by_the_form(portal, PICTURES, moving)


def test_a_form_of_unknown_length_is_read_too(api: Api, digit: Callable[[str], bytes]) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="seven.png"\r\n\r\n'
    body = iter([head, digit("seven"), b"\r\n--b--\r\n"])

    answer = api.post(
        f"/api/models/{PICTURES}/predict/", data=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )

    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"][0]["image"] == "seven.png"


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("filename*=utf-8''%e6%97%a5.png", "日.png"),
        ("filename*=ISO-8859-1'en'gr%f6%dfer.png", "größer.png"),
        ("filename=\"=?utf-8?B?5pelLnBuZw==?=\"; filename*=utf-8''%e6%97%a5.png", "日.png"),
        ("filename*=no-charset''%e6%97%a5.png; filename=day.png", "day.png"),
        ('filename="C:\\pictures\\seven.png"', "seven.png"),
        ('filename="a%22b.png"', 'a"b.png'),
        ('filename="100%25.png"', "100%25.png"),
    ],
)
def test_a_picture_has_the_name_that_its_form_gives_it(
    api: Api, digit: Callable[[str], bytes], label: str, name: str
) -> None:
    model = f'--b\r\nContent-Disposition: form-data; name="model_id"\r\n\r\n{PICTURES}\r\n'
    head = f'--b\r\nContent-Disposition: form-data; name="image"; {label}\r\n\r\n'
    body = (model + head).encode() + digit("seven") + b"\r\n--b--\r\n"

    for address in (f"/api/models/{PICTURES}/predict/", "/api/image/"):
        answer = api.post(address, data=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"][0]["image"] == name


IMAGE = b'--b\r\nContent-Disposition: form-data; name="image"; filename="%s"\r\n\r\n'
FIELD = b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\nx\r\n'


@pytest.mark.parametrize(
    ("head", "end", "status", "said"),
    [
        (IMAGE % "grün.png".encode("latin-1"), b"\r\n--b--\r\n", 200, '"gr\ufffdn.png"'),
        (IMAGE % b"seven.png", b"\r\n", 400, "The form cannot be read: Unexpected end of multipart stream"),
        (FIELD * 1200 + IMAGE % b"seven.png", b"\r\n--b--\r\n", 413, "Maximum segment count exceeded"),
        (FIELD, b"--b--\r\n", 400, "Send one or more pictures in the field image."),
    ],
    ids=["latin-1 in a name", "cut off", "very many fields", "no picture"],
)
def test_a_form_means_the_same_with_a_key_with_a_session_and_at_the_origins_address(
    portal: RunningPortal, api: Api, digit: Callable[[str], bytes], head: bytes, end: bytes, status: int, said: str
) -> None:
    model = f'--b\r\nContent-Disposition: form-data; name="model_id"\r\n\r\n{PICTURES}\r\n'.encode()
    body = model + head + (digit("seven") if b"image" in head else b"") + end
    browser = portal.browser()
    browser.headers["X-CSRFToken"] = browser.cookies["csrftoken"]
    address = f"/api/models/{PICTURES}/predict/"

    for who, where in ((api, address), (browser, address), (api, "/api/image/"), (browser, "/api/image/")):
        answer = who.post(where, data=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
        assert (answer.status_code, said in answer.text) == (status, True), answer.text


def test_at_most_64_pictures_are_taken_at_once(api: Api, digit: Callable[[str], bytes]) -> None:
    seven = digit("seven")

    most = api.ask(PICTURES, *[seven] * 64)
    too_many = [api.ask(PICTURES, *[seven] * 65), api.ask(PICTURES, *[seven] * 80)]
    too_many.append(ask_json(api, PICTURES, {"images": [base64.b64encode(seven).decode()] * 65}))

    assert len(most.json()["predictions"]) == 64
    refusal = {"code": "too_large", "detail": "Send at most 64 pictures at once."}
    assert [(answer.status_code, answer.json()) for answer in too_many] == [(413, refusal)] * 3


@pytest.mark.parametrize("top", ["0", "-1", "x", "1.5", "", "1e3", "9" * 30, "0000000051", "100001"])
def test_a_top_that_is_no_number_is_a_400(api: Api, digit: Callable[[str], bytes], top: str) -> None:
    answer = api.ask(PICTURES, digit("seven"), top=top)

    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["top"])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"images": []},
        {"images": "text"},
        {"images": [5]},
        {"images": ["%%%"]},
        {"images": ["é"]},
        {"images": [None]},
        {"images": ["aGk="], "instances": [1]},
        {"instances": []},
        {"instances": 5},
        {"nothing": 1},
    ],
)
def test_a_body_without_something_to_ask_is_a_400(api: Api, body: object) -> None:
    answer = ask_json(api, PICTURES, body)

    assert (answer.status_code, answer.json()["code"]) == (400, "validation_error")


def test_a_form_without_pictures_is_a_400(api: Api, digit: Callable[[str], bytes]) -> None:
    address = f"/api/models/{PICTURES}/predict/"

    for answer in (
        api.post(address),
        api.post(address, data={"image": "text"}),
        api.post(address, files={"file": ("a.png", digit("seven"))}),
        api.post(address, files={"image": ("", b"")}),
    ):
        assert answer.status_code == 400, answer.text
        assert list(answer.json()["fields"]) == ["image"]


def test_tensors_that_come_as_a_form_are_told_to_be_json(api: Api) -> None:
    """As plain `curl -d` sends them."""
    answer = api.post(
        f"/api/models/{NUMBERS}/predict/",
        data=b'{"instances": [[1, 2, 3, 4]]}',
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )

    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["image"])
    assert answer.json()["detail"].endswith(", or JSON with Content-Type: application/json.")


BAD_PICTURES = {
    "empty": b"",
    "20 bytes": bytes(20),
    "60000 squared": png(60_000, 60_000),
    "13000 squared": png(13_000, 13_000),
    "zTXt bomb": png(8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50 * 2**20), 9))),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "html": b"<html><img src=x></html>",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "text": b"hello",
}


@pytest.mark.parametrize("kind", BAD_PICTURES)
def test_a_bad_picture_is_a_422_that_names_its_file(api: Api, digit: Callable[[str], bytes], kind: str) -> None:
    bad = BAD_PICTURES[kind]
    files = [("image", ("good.png", digit("seven"))), ("image", ("the-bad.png", bad))]

    among_others = api.post(f"/api/models/{PICTURES}/predict/", files=files)
    in_json = ask_json(api, PICTURES, {"images": [base64.b64encode(bad).decode()]})

    for answer in (among_others, in_json):
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_image")
        assert answer.json()["detail"].endswith(".")
    assert "the-bad.png" in among_others.json()["detail"]


def test_half_a_picture_is_a_422(api: Api, digit: Callable[[str], bytes]) -> None:
    seven = digit("seven")

    assert api.ask(PICTURES, seven[: len(seven) // 2]).status_code == 422


# ---- tensors


def test_tensors_keep_their_batch_and_come_by_rows_or_by_names(api: Api) -> None:
    rows = ask_json(api, NUMBERS, {"instances": [[1, 2, 3, 4], [0.5, 0, 0, 0]]}).json()
    (named,) = api.version(NUMBERS)["inputs"]
    columns = ask_json(api, NUMBERS, {"inputs": {named["name"]: [[1, 2, 3, 4]]}}).json()
    objects = ask_json(api, NUMBERS, {"instances": [{named["name"]: [1, 2, 3, 4]}]}).json()
    best = ask_json(api, NUMBERS, {"instances": [[1, 2, 3, 4]]}, top=1).json()

    (element,) = rows["predictions"]
    (output,) = element["outputs"]
    assert set(output) == {"name", "dtype", "shape", "data"}
    assert (output["dtype"], output["shape"]) == ("float32", [2, 3])
    assert output["data"] == [[10.0, 10.0, 10.0], [0.5, 0.5, 0.5]]
    assert columns["predictions"][0]["outputs"][0]["data"] == [[10.0, 10.0, 10.0]]
    assert objects["predictions"] == columns["predictions"]
    assert "top" in str(best["predictions"])


def test_what_json_has_no_number_for_is_a_text(api: Api) -> None:
    answer = ask_json(api, NUMBERS, {"instances": [[3e38, 3e38, 0, 0], [-3e38, -3e38, 0, 0]]})

    data = answer.json()["predictions"][0]["outputs"][0]["data"]
    assert data == [["Infinity"] * 3, ["-Infinity"] * 3]


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [1, 2]},
        {"instances": [[1, 2, 3]]},
        {"instances": [[1e39, 0, 0, 0]]},
        {"instances": [[[1, 2, 3, 4]]]},
        {"instances": [[1, 2, 3, 4], [1]]},
        {"instances": [["a", "b", "c", "d"]]},
        {"instances": [[None, 1, 2, 3]]},
        {"instances": [[True, True, True, True]]},
        {"instances": [{"no-such": [1, 2, 3, 4]}]},
        {"instances": [[], []]},
        {"inputs": {"no-such": [[1, 2, 3, 4]]}},
        {"inputs": {}},
        {"inputs": None},
        {"inputs": "text"},
        {"inputs": []},
        {"inputs": [["x" * 100_000, *[""] * 100_000]]},
    ],
)
def test_tensors_that_the_model_does_not_take_are_a_422(api: Api, body: object) -> None:
    answer = ask_json(api, NUMBERS, body)

    assert (answer.status_code, answer.json()["code"]) == (422, "bad_input")
    assert len(answer.json()["detail"]) < 500


def test_numbers_are_not_a_picture(api: Api, digit: Callable[[str], bytes]) -> None:
    answer = api.ask(NUMBERS, digit("seven"))

    assert answer.status_code in {400, 422}
    assert answer.json()["code"] in {"bad_input", "validation_error"}


# ---- files that nobody here made


@pytest.mark.parametrize(
    ("name", "file", "labels", "preprocessing", "picture", "expected", "score"),
    [
        (
            "fer", fer_hdf5, FER_LABELS,
            '{"color": "gray", "size": [64, 64], "scale": 0.00784313725490196, "mean": 1}',
            astronaut_face, "happy", 0.998,
        ),
        ("cifar", cifar_h5, CIFAR_LABELS, '{"scale": 0.0078125, "mean": 1}', chelsea_crop, "cat", 0.966),
    ],
    ids=["fer", "cifar"],
)  # fmt: skip
def test_two_real_keras_files_give_their_known_answers(
    portal: RunningPortal,
    api: Api,
    name: str,
    file: Callable[[], Path],
    labels: tuple[str, ...],
    preprocessing: str,
    picture: Callable[[], bytes],
    expected: str,
    score: float,
) -> None:
    version = api.upload(name, file(), labels="\n".join(labels), preprocessing=preprocessing)
    assert (version["status"], version["format"]) == ("ready", "hdf5"), version["status_detail"]
    api.load(name)

    (prediction,) = api.ask(name, picture()).json()["predictions"]

    page = _asked_by_the_form(portal, name, picture())
    best = prediction["top"][0]
    print(f"{name}: {best['label']} {best['score']:.4f}, expected {expected} {score}")
    assert best["label"] == expected
    assert best["score"] == pytest.approx(score, abs=0.02)
    assert re.search(rf'<p class="winner">\s*{expected}\s*<small[^>]*>{100 * best["score"]:.1f} %', page), page
    assert api.unload(name)["process_exited"] is True
    assert api.delete(f"/api/models/{name}/").status_code == 204


def _asked_by_the_form(portal: RunningPortal, name: str, picture: bytes) -> str:
    """The page that the try form answers with, without a script."""
    browser = portal.browser()
    browser.get(f"/try/{name}/")
    fields = {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    answer = browser.post(f"/try/{name}/", data=fields, files={"image": ("picture.png", picture)})
    assert answer.status_code == 200, answer.text
    return answer.text


# ---- questions without a key


def test_the_anonymous_may_ask_where_the_portal_says_so_and_nothing_else(
    small_portal: SmallPortal, digit: Callable[[str], bytes]
) -> None:
    anonymous = small_portal.portal.client(None)

    asked = anonymous.ask("digits", digit("seven"))

    assert (asked.status_code, asked.json()["code"]) == (409, "not_loaded")
    assert anonymous.get("/api/models/").status_code == 401
    assert anonymous.post("/api/models/digits/load/").status_code == 401
