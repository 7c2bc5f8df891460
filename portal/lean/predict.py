"""`/api/models/…/predict/` without Django's stack: the same services as the view, the same answer."""

from __future__ import annotations

import re
import time
from functools import partial
from io import BytesIO
from urllib.parse import parse_qs

import orjson
from django.conf import settings

from inference.client import Reply, runners
from inference.errors import PortalError
from inference.protocols.answer import Answer, encoded
from inference.served import ModelInput, Served
from models_app.api.errors import error_body
from models_app.api.parsing import JSONParser, as_object, parse_top, pictures_of
from models_app.api.picture_forms import read_pictures
from models_app.rights import PREDICT
from models_app.services.keys import KnownKey, secret_in
from models_app.services.predict import as_input, read_tensors, write_prediction
from portal.lean.asgi import Scope
from portal.lean.asking import answer_prediction
from portal.lean.exchange import Exchange
from portal.lean.registry import Registry
from portal.lean.routes import Route, ask_served

_PATH = re.compile(r"/api/models/([-\w]+)/(?:versions/([0-9]{1,9})/)?predict/\Z")
_JSON, _FORM = b"application/json", b"multipart/form-data"


class PredictCalls:
    """Takes JSON and forms with a key. A browser's session and other content types are left to Django's view."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def route(self, scope: Scope) -> Route | None:
        found = _PATH.match(scope["path"])
        if found is None or scope["method"] != "POST":
            return None
        headers = dict(scope["headers"])
        has_key = secret_in(headers.get(b"authorization", b"").decode("latin-1")) is not None
        is_open = settings.PORTAL_ANONYMOUS_PREDICT and b"cookie" not in headers
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind not in {_JSON, _FORM} or not (has_key or is_open):
            return None
        number = None if found[2] is None else int(found[2])
        return Route(partial(self._predict, found[1], number), PREDICT, render_error)

    async def _predict(self, name: str, number: int | None, exchange: Exchange, key: KnownKey | None) -> Answer:
        top = parse_top(_query_value(exchange.query, "top"))
        body = await exchange.body()
        content_type = exchange.header(b"content-type") or ""

        async def answer(served: Served) -> Answer:
            began = time.perf_counter()
            return await answer_prediction(
                served,
                exchange,
                body,
                read=lambda: _read(served, content_type, body),
                ask=lambda model_input: runners.ask(served, model_input),
                write=lambda model_input, reply: _write(served, model_input, reply, top, began),
            )

        return await ask_served(self._registry, name, number, answer)


def render_error(error: PortalError) -> Answer:
    return Answer(error.status, orjson.dumps(error_body(error)), headers=encoded(error.headers))


def _read(served: Served, content_type: str, body: bytes) -> ModelInput:
    if content_type.lower().lstrip().startswith("multipart"):
        return as_input(read_pictures(content_type, body))
    given = as_object(_json(body))
    pictures = pictures_of(given)
    return as_input(pictures) if pictures is not None else read_tensors(served, given)


def _write(served: Served, model_input: ModelInput, reply: Reply, top: int | None, began: float) -> Answer:
    prediction = write_prediction(served, model_input, reply, top, began)
    return Answer(200, orjson.dumps(prediction, default=str, option=orjson.OPT_NON_STR_KEYS))


def _json(body: bytes) -> object:
    return JSONParser().parse(BytesIO(body)) if body else {}


def _query_value(query: bytes, name: str) -> str | None:
    if not query:
        return None
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(name)
    return values[-1] if values else None
