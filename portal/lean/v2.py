"""V2 / Open Inference Protocol: its routes, answered from memory and by the runners."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from inference.client import runners
from inference.errors import BadInput, MethodNotAllowed, NotFound, NotLoaded, PortalError, Unavailable
from inference.protocols import v2, v2_metadata, v2_statistics
from inference.protocols.answer import Answer, Unsupported, error_answer, json_answer
from inference.protocols.content_coding import chosen_coding, compress
from inference.served import Served
from models_app.rights import PREDICT
from models_app.services.keys import KnownKey
from portal.lean.asking import answer_prediction, ask_runner
from portal.lean.exchange import LARGE_BYTES, Exchange
from portal.lean.registry import Registry
from portal.lean.repository import RepositoryCalls
from portal.lean.routes import Route, Work, ask_served, remembered
from portal.lean.threads import ThreadLender
from portal.lean.v2_absent import absent_verbs

_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([0-9]{1,9}))?(?:/(ready|infer|config|stats))?\Z")
_REPOSITORY = re.compile(r"/v2/repository/models/([^/]+)/(load|unload)\Z")
_OTHER_REPOSITORY = re.compile(r"/v2/repository/[^/]+/(index|models/[^/]+/(load|unload))\Z")
VERSION = "0.1.0"
STATISTICS_LIMIT_S = 2.0


class V2Calls:
    def __init__(self, registry: Registry, threads: ThreadLender) -> None:
        self._registry = registry
        self._repository = RepositoryCalls(threads)
        self.route = remembered(self._route)

    def _route(self, method: str, path: str) -> Route | None:
        """None where only the path's first letters are V2's. Unknown V2 addresses and methods get 404 or 405 here."""
        if path != "/v2" and not path.startswith("/v2/"):
            return None
        verbs = self._verbs(path.rstrip("/"))
        if not verbs:
            return Route(_not_found, None, error_answer)
        found = verbs.get("GET" if method == "HEAD" else method)
        return Route(*found, error_answer) if found else Route(partial(_wrong_method, [*verbs]), None, error_answer)

    def _verbs(self, path: str) -> dict[str, tuple[Work, str | None]]:
        """Method → what answers it and the permission it needs."""
        plain: dict[str, dict[str, tuple[Work, str | None]]] = {
            "/v2": {"GET": (_server, PREDICT)},
            "/v2/health/live": {"GET": (_live, None)},
            "/v2/health/ready": {"GET": (self._ready, None)},
            "/v2/models": {"GET": (self._models, PREDICT)},
            "/v2/models/stats": {"GET": (self._all_statistics, PREDICT)},
            "/v2/repository/index": {"POST": (self._repository.index, PREDICT)},
        }
        if path in plain:
            return plain[path]
        if found := _MODEL.match(path):
            number = None if found[2] is None else int(found[2])
            works = {
                "ready": self._model_ready, "infer": self._infer, "config": self._config,
                "stats": self._statistics, None: self._metadata,
            }  # fmt: skip
            return {"POST" if found[3] == "infer" else "GET": (partial(works[found[3]], found[1], number), PREDICT)}
        if found := _REPOSITORY.match(path):
            return {"POST": self._repository.verb(found[2], found[1])}
        if _OTHER_REPOSITORY.match(path):
            return {"POST": (_other_repository, PREDICT)}
        return {method: (work, PREDICT) for method, work in absent_verbs(path).items()}

    # ---- inference

    async def _infer(self, name: str, number: int | None, exchange: Exchange, key: KnownKey | None) -> Answer:
        body = await exchange.body()
        length = exchange.header(v2.LENGTH_HEADER)

        async def ask(served: Served) -> Answer:
            answer = await answer_prediction(
                served,
                exchange,
                body,
                read=lambda: v2.read_request(body, length, served),
                ask=lambda request: ask_runner(served, request.model_input, request.timeout_s),
                write=lambda request, reply: v2.write_answer(request, served, reply.outputs),
            )
            return await _compressed(answer, exchange)

        return await self._named(name, number, ask)

    async def _named(self, name: str, number: int | None, ask: Callable[[Served], Awaitable[Answer]]) -> Answer:
        """`ask_served` with the error messages that clients of V2 look for."""
        try:
            return await ask_served(self._registry, name, number, ask)
        except NotFound as error:
            raise NotFound(f"Request for unknown model: '{name[:100]}' is not found. {error.message}") from None
        except NotLoaded as error:
            if error.retry_after_s is not None:  # it is being loaded
                raise
            sentence = f"Request for unknown model: '{name[:100]}' has no available versions. {error.message}"
            raise NotLoaded(sentence) from None

    # ---- what there is

    async def _ready(self, exchange: Exchange, key: KnownKey | None) -> Answer:
        return json_answer({"ready": True})

    async def _models(self, exchange: Exchange, key: KnownKey | None) -> Answer:
        return json_answer({"models": list(dict.fromkeys(s.model for s in await self._registry.all_served()))})

    async def _model_ready(self, name: str, number: int | None, exchange: Exchange, key: KnownKey | None) -> Answer:
        async def ready(served: Served) -> Answer:
            return json_answer({"name": served.model, "ready": True})

        try:
            return await self._named(name, number, ready)
        except NotLoaded:
            raise BadInput("Model version not ready") from None

    async def _metadata(self, name: str, number: int | None, exchange: Exchange, key: KnownKey | None) -> Answer:
        async def describe(served: Served) -> Answer:
            return json_answer(v2_metadata.model_metadata(served, await self._numbers(served)))

        return await self._named(name, number, describe)

    async def _config(self, name: str, number: int | None, exchange: Exchange, key: KnownKey | None) -> Answer:
        async def describe(served: Served) -> Answer:
            return json_answer(v2_metadata.model_config(served, await self._numbers(served)))

        return await self._named(name, number, describe)

    async def _numbers(self, served: Served) -> list[int]:
        """The numbers of its model's loaded versions."""
        return sorted({served.number, *(known.number for known in await self._of_model(served))})

    async def _statistics(self, name: str, number: int | None, exchange: Exchange, key: KnownKey | None) -> Answer:
        async def count(served: Served) -> Answer:
            every = [served] if number is not None else await self._of_model(served)
            return json_answer({"model_stats": list(await asyncio.gather(*map(statistics_of, every)))})

        return await self._named(name, number, count)

    async def _all_statistics(self, exchange: Exchange, key: KnownKey | None) -> Answer:
        """Of all versions; one that does not report its own is left out, as in `/metrics`."""

        async def told(served: Served) -> dict[str, Any] | None:
            try:
                return await statistics_of(served)
            except Unavailable:
                return None

        rows = await asyncio.gather(*map(told, await self._registry.all_served()))
        return json_answer({"model_stats": [row for row in rows if row is not None]})

    async def _of_model(self, served: Served) -> list[Served]:
        return [s for s in await self._registry.all_served() if s.model == served.model] or [served]


async def statistics_of(served: Served) -> dict[str, Any]:
    """One row of statistics. Raises Unavailable where one of its processes does not report: without its counts the sums
    would go backwards."""
    asked = (runners.ask_statistics(path, timeout_s=STATISTICS_LIMIT_S) for path in served.paths)
    try:
        told = await asyncio.gather(*asked)
    except PortalError:
        sentence = f"{served.model} v{served.number} does not tell its statistics now. Ask again in a second."
        raise Unavailable(sentence, retry_after_s=1) from None
    return v2_statistics.model_statistics(served, told)


async def _compressed(answer: Answer, exchange: Exchange) -> Answer:
    """The answer, compressed if the client asks for that."""
    coding = chosen_coding(exchange.header(b"accept-encoding") or "")
    if coding is None:
        return answer
    is_small = len(answer.body) < LARGE_BYTES
    body = compress(answer.body, coding) if is_small else await asyncio.to_thread(compress, answer.body, coding)
    more = ((b"content-encoding", coding.encode()), (b"vary", b"Accept-Encoding"))
    return replace(answer, body=body, headers=(*answer.headers, *more))


async def _server(exchange: Exchange, key: KnownKey | None) -> Answer:
    return json_answer(v2_metadata.server_metadata(VERSION))


async def _live(exchange: Exchange, key: KnownKey | None) -> Answer:
    return json_answer({"live": True})


async def _not_found(exchange: Exchange, key: KnownKey | None) -> Answer:
    raise NotFound("Not Found")


async def _wrong_method(allowed: Sequence[str], exchange: Exchange, key: KnownKey | None) -> Answer:
    raise MethodNotAllowed("Method Not Allowed", allowed)


async def _other_repository(exchange: Exchange, key: KnownKey | None) -> Answer:
    raise Unsupported("There is one repository, and its name is not part of addresses: /v2/repository/models/…")
