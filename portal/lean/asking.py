"""A prediction in front of Django, the same way for every protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from inference.client import Reply, runners
from inference.errors import BadImage
from inference.protocols.answer import Answer
from inference.served import ModelInput, Pictures, Served
from portal.lean.exchange import LARGE_BYTES, Exchange

T = TypeVar("T")


async def answer_prediction(
    served: Served,
    exchange: Exchange,
    body: bytes,
    *,
    read: Callable[[], T],
    ask: Callable[[T], Coroutine[Any, Any, Reply]],
    write: Callable[[T, Reply], Answer],
) -> Answer:
    """Read the request, ask a runner, write the answer. What is large is read and written in a thread, so that other
    requests are not kept waiting. Raises Busy before the body is read where no runner has room."""
    runners.check_room(served.paths)
    request = read() if len(body) < LARGE_BYTES else await asyncio.to_thread(read)
    reply = await exchange.while_client_stays(ask(request))
    is_large = sum(array.nbytes for array in reply.outputs.values()) >= LARGE_BYTES
    return await asyncio.to_thread(write, request, reply) if is_large else write(request, reply)


async def ask_runner(served: Served, model_input: ModelInput, timeout_s: float | None = None) -> Reply:
    """The runner's reply. Raises BadImage for the first unreadable picture. `timeout_s` only shortens the limit."""
    reply = await runners.ask(served, model_input, timeout_s=timeout_s)
    if isinstance(model_input, Pictures) and reply.bad_images:
        index, sentence = min(reply.bad_images.items())
        raise BadImage(sentence if len(model_input.data) == 1 else f"Picture {index}: {sentence}")
    return reply
