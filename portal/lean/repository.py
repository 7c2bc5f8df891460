"""V2's repository calls: they take seconds and write to the database, so they call the services on a thread."""

from __future__ import annotations

import asyncio
from functools import partial

from django.contrib.auth.models import User

from inference.errors import NotFound, PermissionRefused
from inference.protocols import v2_repository
from inference.protocols.answer import Answer, json_answer
from inference.protocols.v2_repository import LoadRequest
from models_app.rights import ADD, ADD_MODEL, LOAD, UNLOAD
from models_app.services import find, repository
from models_app.services.keys import KnownKey
from models_app.services.unload import unload_model
from portal.lean.exchange import LARGE_BYTES, Exchange
from portal.lean.routes import Work
from portal.lean.threads import ThreadLender


class RepositoryCalls:
    def __init__(self, threads: ThreadLender) -> None:
        self._threads = threads

    def verb(self, verb: str, name: str) -> tuple[Work, str]:
        """What answers `load` or `unload` of a model, and the permission it needs."""
        if verb == "load":
            return partial(self._load, name), LOAD
        return partial(self._unload, name), UNLOAD

    async def index(self, exchange: Exchange, key: KnownKey | None) -> Answer:
        only_ready = v2_repository.read_index(await exchange.body())
        return json_answer(await self._threads.run(repository.index, only_ready=only_ready))

    async def _load(self, name: str, exchange: Exchange, key: KnownKey | None) -> Answer:
        body = await exchange.body()
        read = partial(v2_repository.read_load, body)
        request = read() if len(body) < LARGE_BYTES else await asyncio.to_thread(read)
        if request.files and (key is None or not (key.may(ADD) and key.may(ADD_MODEL))):
            raise PermissionRefused("A load with files is an upload: the user's rights do not allow it.")
        await self._threads.run(_load, name, request, key)
        return Answer(200, b"")

    async def _unload(self, name: str, exchange: Exchange, key: KnownKey | None) -> Answer:
        await exchange.body()
        await self._threads.run(_unload, name, key)
        return Answer(200, b"")


def _load(name: str, request: LoadRequest, key: KnownKey | None) -> None:
    if request.files and key is not None and not key.may(UNLOAD) and find.exists(name):
        raise PermissionRefused("A load with files unloads what serves now: the user's rights do not allow it.")
    try:
        repository.load_model(name, request, by=_user(key))
    except NotFound as error:
        raise NotFound(f"failed to load '{name[:100]}': {error.message}") from None


def _unload(name: str, key: KnownKey | None) -> None:
    unload_model(find.find_model(name), by=_user(key))


def _user(key: KnownKey | None) -> User | None:
    return User.objects.filter(pk=key.user_pk).first() if key is not None else None
