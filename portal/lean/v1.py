"""TensorFlow Serving's REST addresses and KServe V1's, which are the same ones and more."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from inference.errors import NotFound, NotLoaded, NotReady, ValidationFailed
from inference.protocols import tensorflow_metadata, tensorflow_serving
from inference.protocols.answer import Answer, Unsupported, error_answer, json_answer
from inference.served import Served
from models_app.rights import PREDICT
from models_app.services import repository
from models_app.services.keys import KnownKey
from portal.lean.asking import answer_prediction, ask_runner
from portal.lean.exchange import Exchange
from portal.lean.registry import Registry
from portal.lean.routes import Route, Work, ask_served, remembered
from portal.lean.threads import ThreadLender

_MODEL = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/([0-9]{1,18})|/labels/([^/:]+))?"
    r"(?:(/metadata)|:(predict|classify|regress|explain))?\Z",
    re.IGNORECASE,
)
_READERS: dict[str, Callable[[bytes, Served], tensorflow_serving.PredictRequest]] = {
    "predict": tensorflow_serving.read_predict,
    "classify": partial(tensorflow_serving.read_examples, verb="classify"),
    "regress": partial(tensorflow_serving.read_examples, verb="regress"),
}


class V1Calls:
    def __init__(self, registry: Registry, threads: ThreadLender) -> None:
        self._registry = registry
        self._threads = threads
        self.route = remembered(self._route)

    def _route(self, method: str, path: str) -> Route | None:
        """None where only the path's first letters are V1's. An unknown V1 address is a malformed request."""
        if path.lower() != "/v1" and not path.lower().startswith("/v1/"):
            return None
        work = self._work("GET" if method == "HEAD" else method, path.rstrip("/"))
        if work is None:
            return Route(partial(_malformed, method, path), PREDICT, error_answer)
        return Route(work, PREDICT, error_answer)

    def _work(self, method: str, path: str) -> Work | None:
        if path.lower() == "/v1/models" and method == "GET":
            return self._list
        found = _MODEL.match(path)
        if found is None:
            return None
        name, number, label, metadata, verb = found.groups()
        if label is not None:
            return partial(_no_label, name, label)
        which = int(number or 0) or None  # 0 is the newest to OpenVINO's clients; no version has this number
        if verb is not None:
            if method != "POST":
                return None
            return _explain if verb.lower() == "explain" else partial(self._ask, verb.lower(), name, which)
        if method != "GET":
            return None
        return partial(self._metadata if metadata else self._status, name, which)

    async def _ask(self, verb: str, name: str, number: int | None, exchange: Exchange, key: KnownKey | None) -> Answer:
        body, read = await exchange.body(), _READERS[verb]

        async def ask(served: Served) -> Answer:
            return await answer_prediction(
                served,
                exchange,
                body,
                read=lambda: read(body, served),
                ask=lambda request: ask_runner(served, request.model_input),
                write=lambda request, reply: tensorflow_serving.write_answer(request, served, reply.outputs),
            )

        return await self._named(name, number, ask)

    async def _named(self, name: str, number: int | None, ask: Callable[[Served], Awaitable[Answer]]) -> Answer:
        """`ask_served` with the error messages of TensorFlow Serving."""
        try:
            return await ask_served(self._registry, name, number, ask)
        except (NotFound, NotLoaded, NotReady) as error:
            if error.retry_after_s is not None:  # it is being loaded
                raise
            raise tensorflow_serving.not_found(name, number, error.message) from None

    async def _metadata(self, name: str, number: int | None, exchange: Exchange, key: KnownKey | None) -> Answer:
        async def describe(served: Served) -> Answer:
            return json_answer(tensorflow_metadata.model_metadata(served))

        return await self._named(name, number, describe)

    async def _status(self, name: str, number: int | None, exchange: Exchange, key: KnownKey | None) -> Answer:
        """The states of all versions, loaded or not: clients poll this to wait for a load."""
        try:
            states = await self._threads.run(repository.states, name, number)
        except NotFound as error:
            raise NotFound(f"Could not find any versions of model {name[:100]}. {error.message}") from None
        rows: list[dict[str, Any]] = [tensorflow_metadata.version_status(*state) for state in states]
        return json_answer(tensorflow_metadata.model_status(name, rows))

    async def _list(self, exchange: Exchange, key: KnownKey | None) -> Answer:
        names = dict.fromkeys(served.model for served in await self._registry.all_served())
        return json_answer(tensorflow_metadata.model_list(list(names)))


async def _malformed(method: str, path: str, exchange: Exchange, key: KnownKey | None) -> Answer:
    raise ValidationFailed(f"Malformed request: {method} {path[:200]}")


async def _explain(exchange: Exchange, key: KnownKey | None) -> Answer:
    raise Unsupported("Explanations are not made here.")


async def _no_label(name: str, label: str, exchange: Exchange, key: KnownKey | None) -> Answer:
    raise ValidationFailed(f"Unrecognized servable version label: {label[:100]}. Ask {name[:100]} by its number.")
