"""Who sends much keeps nobody else waiting: large bodies are read, and large answers written, beside the event loop."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from inference.errors import ValidationFailed
from inference.protocols.answer import error_answer
from inference.protocols.v2_repository import read_load
from models_app.choices import InstanceState
from models_app.models import Instance
from portal.lean.exchange import Exchange
from portal.lean.inference import InferencePath
from portal.lean.pace import Pace
from portal.lean.repository import RepositoryCalls
from portal.lean.threads import ThreadLender
from portal.lean.uploads import FormReceiver
from tests.registry import make_version

LARGE_BYTES = 60_000_000
LONGEST_WAIT_S = 60.0
"""orjson lets nobody else in until it has read all: seconds, twenty on a busy machine."""
FEWEST_ANSWERS = 20
"""Two to four where everything but the JSON is read on the loop, hundreds where it is not."""
EXAMPLE = b'{"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]},'
WRONG = b'{"c": 0}'


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
def test_others_are_answered_while_sixty_megabytes_are_read(settings: Any, tmp_path: Any) -> None:
    settings.PORTAL_DATA_DIR, settings.PORTAL_ANONYMOUS_PREDICT = tmp_path, True
    inputs = [{"name": name, "dtype": "float32", "shape": [None, 4]} for name in "ab"]
    outputs = [{"name": "sum", "dtype": "float32", "shape": [None, 4]}]
    make_version("pair", InstanceState.READY, signature_json={"inputs": inputs, "outputs": outputs})
    Instance.objects.update(socket="somewhere")
    body = b'{"instances": [' + EXAMPLE * (LARGE_BYTES // len(EXAMPLE)) + WRONG + b"]}"

    async def ask() -> tuple[int, bytes, list[float]]:
        path = InferencePath(ThreadLender())
        await exchange(path, "GET", "/v2/health/live")
        large = asyncio.create_task(exchange(path, "POST", "/api/models/pair/predict/", body))
        waits = []
        while not large.done():
            began = time.monotonic()
            assert (await exchange(path, "GET", "/v2/health/live"))[0] == 200
            await asyncio.sleep(0.005)
            waits.append(time.monotonic() - began)
        return *(await large), waits

    began = time.monotonic()
    status, answer, waits = asyncio.run(ask())

    print(
        f"{len(body) / 1e6:.0f} MB read in {time.monotonic() - began:.1f} s; "
        f"{len(waits)} others answered meanwhile, the slowest after {max(waits):.2f} s"
    )
    assert status == 422 and b"names exactly these inputs" in answer
    assert len(waits) >= FEWEST_ANSWERS
    assert max(waits) < LONGEST_WAIT_S


FEWEST_TURNS_A_MESSAGE = 4
"""One where all is done on the loop, between two messages; a hundred where it is not."""
MESSAGE_BYTES = 262_144
"""As the server has them where a client sends at full speed."""


def messages(body: bytes) -> Any:
    """A client that sends this body at once."""
    starts = iter(range(0, len(body), MESSAGE_BYTES))

    async def receive() -> Any:
        await asyncio.sleep(0)
        start = next(starts)
        more_body = start + MESSAGE_BYTES < len(body)
        return {"type": "http.request", "body": body[start : start + MESSAGE_BYTES], "more_body": more_body}

    return receive


async def turns_beside(work: Coroutine[Any, Any, Any]) -> tuple[Any, list[float]]:
    """What becomes of the work, and how long each turn of the others on the same loop took meanwhile."""
    task = asyncio.create_task(work)
    turns = []
    while not task.done():
        began = time.monotonic()
        await asyncio.sleep(0)
        turns.append(time.monotonic() - began)
    return (await asyncio.gather(task, return_exceptions=True))[0], turns


def test_others_have_their_turns_while_an_upload_is_hashed_and_written(settings: Any, tmp_path: Any) -> None:
    settings.PORTAL_UPLOADS_DIR = tmp_path
    head = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="x.keras"\r\n\r\n'
    body = head + bytes(4 * LARGE_BYTES) + b"\r\n--edge--\r\n"
    receiver = FormReceiver("edge")

    upload, turns = asyncio.run(turns_beside(receiver.run(Pace(messages(body)))))
    receiver.discard()

    count = len(body) // MESSAGE_BYTES
    print(f"{len(turns)} turns beside {count} messages, the longest {max(turns) * 1000:.0f} ms, of {sum(turns):.2f} s")
    assert upload.file.size_bytes == 4 * LARGE_BYTES
    assert len(turns) > FEWEST_TURNS_A_MESSAGE * count
    assert max(turns) < LONGEST_WAIT_S


def test_others_have_their_turns_while_a_load_with_files_is_read() -> None:
    text = base64.b64encode(bytes(LARGE_BYTES * 3 // 4)).decode()
    body = json.dumps({"parameters": {"config": "{}", "file:1/x.keras": f"{text}!"}}).encode()
    scope = {"method": "POST", "path": "/", "query_string": b"", "headers": []}
    work, _ = RepositoryCalls(ThreadLender()).verb("load", "x")

    async def send(message: Any) -> None:
        pass

    outcome, turns = asyncio.run(turns_beside(work(Exchange(scope, messages(body), send, error_answer), None)))

    count = len(body) // MESSAGE_BYTES
    print(f"{len(turns)} turns beside {count} messages, the longest {max(turns) * 1000:.0f} ms, of {sum(turns):.2f} s")
    assert isinstance(outcome, ValidationFailed) and "is not base64" in outcome.message
    assert len(turns) > FEWEST_TURNS_A_MESSAGE * count
    assert max(turns) < LONGEST_WAIT_S


@pytest.mark.parametrize("length", [0, 1, 2, 3, 2**20 * 3 // 4, 2**20 * 3 // 4 + 1, 2**21])
def test_the_files_of_a_load_are_read_in_slices_as_in_one(length: int) -> None:
    content = random.Random(length).randbytes(length)
    text = base64.b64encode(content).decode()

    assert loaded_file(text) == content
    for wrong in (f"{text}=", f"QQ=={text}" if text else "Q", f"{text[:-4]}Q", f"{text}ä"):
        with pytest.raises(ValidationFailed, match="is not base64"):
            loaded_file(wrong)


def loaded_file(text: str) -> bytes:
    body = json.dumps({"parameters": {"config": "{}", "file:1/x.keras": text}}).encode()
    return read_load(body).files["x.keras"]


async def exchange(path: InferencePath, method: str, address: str, body: bytes = b"") -> tuple[int, bytes]:
    """Status and body of the answer."""
    sent: list[Any] = []
    received = [{"type": "http.request", "body": body, "more_body": False}]
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    headers.append((b"content-length", str(len(body)).encode()))
    scope = {"type": "http", "method": method, "path": address, "query_string": b"", "headers": headers}

    async def receive() -> Any:
        return received.pop() if received else await asyncio.sleep(3600)

    async def send(message: Any) -> None:
        sent.append(message)

    route = path.route(scope)
    assert route is not None
    await path.answer(route, scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])
