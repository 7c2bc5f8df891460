"""Who sends much keeps nobody else waiting: large bodies are read, and large answers written, beside the event loop."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from models_app.choices import InstanceState
from models_app.models import Instance
from portal.lean.inference import InferencePath
from portal.lean.threads import ThreadLender
from tests.registry import make_version

LARGE_BYTES = 60_000_000
LONGEST_WAIT_S = 60.0
"""orjson lets nobody else in until it has read all: seconds, twenty on a busy machine."""
FEWEST_ANSWERS = 20
"""Two to four where everything but the JSON is read on the loop, hundreds where it is not."""
EXAMPLE = b'{"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]},'
WRONG = b'{"c": 0}'


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
