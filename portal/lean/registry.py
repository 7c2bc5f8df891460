"""What a web process holds in memory: what is loaded, and the keys that were used lately.

A request looks here, and in the database only for what is not here: a version loaded or a key made a moment ago. When
an instance changes state there is a notification (services/notify.py), and the next request for its model waits until
the database was read again; requests for other models do not wait. Changes that notify nobody, such as a deleted key or
a row edited by hand, are found by a check four times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import Error, connection

from inference.errors import Throttled
from inference.served import Served
from models_app.outage import Outage
from models_app.services import find
from models_app.services.keys import KnownKey, hash_of_secret, note_uses, read_known_keys
from models_app.services.notify import ALL, Listener, Snapshot
from models_app.services.served import Routes, read_routes, served_version

logger = logging.getLogger("portal.registry")

LOOK_EVERY_S = 0.25
PAUSE_S = 1.0
"""After an unexpected error."""
LONGEST_WAIT_S = 1.0
"""A database that does not answer must not stop predictions: after this time they use what is known."""
NOTE_USES_EVERY_S = 10.0
MOST_KEYS = 10_000
UNKNOWN_KEY_S = 1.0
MOST_LOOKUPS_WAITING = 100

P = ParamSpec("P")
T = TypeVar("T")


class Registry:
    """One for each web process, used by its event loop. All reading happens on one thread of its own."""

    def __init__(self) -> None:
        self._routes: Routes = {}
        self._keys: OrderedDict[str, KnownKey] = OrderedDict()
        self._unknown_until: dict[str, float] = {}
        self._used: set[int] = set()
        self._listener = Listener()
        self._outage = Outage(
            logger,
            "what is loaded cannot be read; going on with what is known",
            "what is loaded can be read again",
        )
        self._seen: Snapshot | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="registry")
        self._lookups = 0
        self._data_version: int | None = None
        self._reading: asyncio.Task[None] | None = None
        self._reading_since = 0.0
        self._keeping: asyncio.Task[None] | None = None
        self._noted_at = time.monotonic()
        self._wake = asyncio.Event()

    def start(self) -> None:
        """Start the task that keeps it fresh, unless it runs; to be called on the event loop."""
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep_fresh())

    # ---- what is loaded

    async def find(self, name: str, number: int | None) -> Served:
        """The version that answers for this model (without a number: the newest loaded). Raises PortalError."""
        if not self._is_read():
            await self._catch_up(name)
        served = self._known(name, number)
        if served is None:
            served = await self._look_up(_find_now, name, number)
            self._wake.set()
        return served

    async def find_again(self, name: str, number: int | None) -> Served:
        """`find` after reading again, where the process found before has ended."""
        await self._read_once()
        return await self.find(name, number)

    async def all_served(self) -> list[Served]:
        """Everything that is loaded, by name and number."""
        await self._catch_up(ALL)
        return [versions[number] for _, versions in sorted(self._routes.items()) for number in sorted(versions)]

    def _known(self, name: str, number: int | None) -> Served | None:
        versions = self._routes.get(name)
        if not versions:
            return None
        return versions[max(versions)] if number is None else versions.get(number)

    # ---- keys

    async def find_key(self, secret: str) -> KnownKey | None:
        """The valid key with this secret, or None. A secret that is not in memory is looked up in the database."""
        secret_hash = hash_of_secret(secret)
        if secret_hash is None:
            return None
        key = self._keys.get(secret_hash)
        if key is not None:
            self._keys.move_to_end(secret_hash)  # the least recently used key is dropped first
        else:
            key = await self._look_up_key(secret_hash)
        if key is None or not key.is_alive:
            return None
        self._used.add(key.pk)
        return key

    async def _look_up_key(self, secret_hash: str) -> KnownKey | None:
        """Look in the database, for the same unknown secret once a second at most."""
        now = time.monotonic()
        if self._unknown_until.get(secret_hash, 0.0) > now:
            return None
        key = (await self._look_up(read_known_keys, [secret_hash])).get(secret_hash)
        if key is None:
            if len(self._unknown_until) >= MOST_KEYS:
                self._unknown_until.clear()
            self._unknown_until[secret_hash] = now + UNKNOWN_KEY_S
            return None
        self._keys[secret_hash] = key
        while len(self._keys) > MOST_KEYS:
            self._keys.popitem(last=False)
        return key

    # ---- reading

    async def _look_up(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask the database for what is not in memory. Raises Throttled where too many requests wait for that."""
        if self._lookups >= MOST_LOOKUPS_WAITING:
            raise Throttled("Too many requests name a key or a model that is not known. Try again in a second.")
        self._lookups += 1
        try:
            return await self._on_thread(read, *args, **kwargs)
        finally:
            self._lookups -= 1

    async def _on_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def guarded() -> T:
            try:
                return work(*args, **kwargs)
            except Error:
                connection.close()
                self._data_version = None
                raise

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    async def _catch_up(self, subject: str) -> None:
        """If there was a notification for `subject`, wait for a reading that began afterwards; briefly where the
        database does not answer. Other notifications wait for the next look: a load changes state six times, and each
        reading takes milliseconds."""
        for _ in range(2):
            if self._is_read(subject):
                break
            await self._read_once()

    def _is_read(self, subject: str = ALL) -> bool:
        """Whether the last reading began after the last notification for `subject`."""
        return self._seen is not None and self._listener.token(subject) == self._seen.token(subject)

    async def _read_once(self) -> None:
        """Read the database; callers at the same time share one reading."""
        if self._reading is None:
            self._reading_since = time.monotonic()
            self._reading = asyncio.create_task(self._read())
        left = self._reading_since + LONGEST_WAIT_S - time.monotonic()
        if left > 0:
            await asyncio.wait({self._reading}, timeout=left)

    async def _read(self) -> None:
        try:
            seen, keys = self._listener.snapshot(), list(self._keys)
            routes, living = await self._on_thread(_read_all, self._routes, keys)
            self._routes, self._seen = routes, seen
            for secret_hash in keys:
                if secret_hash in living:
                    self._keys[secret_hash] = living[secret_hash]
                else:
                    self._keys.pop(secret_hash, None)
        except Error as error:
            self._outage.goes_on(error)
        except Exception:
            logger.exception("what is loaded cannot be read; going on with what is known")
        else:
            self._outage.is_over()
        finally:
            self._reading = None

    async def _keep_fresh(self) -> None:
        while True:
            try:
                await self._look()
            except Exception:
                logger.exception("what is loaded is not looked at for %g s", PAUSE_S)
                await asyncio.sleep(PAUSE_S)

    async def _look(self) -> None:
        """Wait for the interval or until woken; then read if something has changed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), LOOK_EVERY_S)
        is_woken = self._wake.is_set()
        self._wake.clear()
        with contextlib.suppress(Error):
            if await self._on_thread(self._has_changed) or is_woken or not self._is_read():
                await self._read_once()
        if self._used and time.monotonic() - self._noted_at > NOTE_USES_EVERY_S:
            self._noted_at, used, self._used = time.monotonic(), self._used, set()
            # A thread of its own: a write may wait for the database as long as another process holds it.
            threading.Thread(target=_note_uses, args=(used,), daemon=True).start()

    def _has_changed(self) -> bool:
        """Whether another connection has written since the last look; known only of SQLite, else assumed."""
        if connection.vendor != "sqlite":
            return True
        with connection.cursor() as cursor:
            data_version = int(cursor.execute("PRAGMA data_version").fetchone()[0])
        before, self._data_version = self._data_version, data_version
        return before != data_version


def _find_now(name: str, number: int | None) -> Served:
    return served_version(*find.loaded_version(name, number))


def _read_all(routes: Routes, secret_hashes: list[str]) -> tuple[Routes, dict[str, KnownKey]]:
    return read_routes(routes), read_known_keys(secret_hashes) if secret_hashes else {}


def _note_uses(pks: set[int]) -> None:
    try:
        with contextlib.suppress(Error):  # the next use says it again, and the registry tells of an outage
            note_uses(pks)
    finally:
        connection.close()
