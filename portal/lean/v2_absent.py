"""Extensions of V2 that this server does not have: reading their settings says so, changing them is refused.

Tracing, changing the log and shared memory are extensions that the server's metadata does not list.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from inference.protocols.answer import Answer, Unsupported, json_answer
from inference.protocols.v2 import NO_SHARED_MEMORY
from models_app.services.keys import KnownKey
from portal.lean.exchange import Exchange
from portal.lean.routes import Work

_TRACE = re.compile(r"/v2(?:/models/[^/]+)?/trace/setting\Z")
_SHARED_MEMORY = re.compile(r"/v2/(?:system|cuda)sharedmemory(?:/region/[^/]+)?/(status|register|unregister)\Z")
_NO_TRACE = {"trace_level": ["OFF"], "trace_rate": "1000", "trace_count": "-1", "log_frequency": "0", "trace_file": ""}
_LOG = {
    "log_file": "", "log_info": True, "log_warning": True, "log_error": True, "log_verbose_level": 0,
    "log_format": "default",
}  # fmt: skip


def absent_verbs(path: str) -> dict[str, Work]:
    """Method → what answers it; empty for all other addresses."""
    if _TRACE.match(path):
        return {"GET": _says(_NO_TRACE), "POST": _refuses("Requests are not traced; /metrics says where time goes.")}
    if path == "/v2/logging":
        return {"GET": _says(_LOG), "POST": _refuses("The log is not changed over HTTP.")}
    if found := _SHARED_MEMORY.match(path):
        if found[1] == "status":
            return {"GET": _says([])}
        return {"POST": _says({}) if found[1] == "unregister" else _refuses(NO_SHARED_MEMORY)}
    return {}


def _says(value: Any) -> Work:
    return partial(_say, value)


def _refuses(sentence: str) -> Work:
    return partial(_refuse, sentence)


async def _say(value: Any, exchange: Exchange, key: KnownKey | None) -> Answer:
    await exchange.body()
    return json_answer(value)


async def _refuse(sentence: str, exchange: Exchange, key: KnownKey | None) -> Answer:
    await exchange.body()
    raise Unsupported(sentence)
