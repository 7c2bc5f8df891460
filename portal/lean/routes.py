"""Routes in front of Django: the permission that an address needs and what answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from inference.client import NotConnected
from inference.errors import NotLoaded, PortalError
from inference.protocols.answer import Answer
from inference.served import Served
from models_app.services.keys import KnownKey
from portal.lean.exchange import Exchange
from portal.lean.registry import Registry

T = TypeVar("T")
Work = Callable[[Exchange, KnownKey | None], Awaitable[Answer]]
MOST_REMEMBERED = 4096
LONGEST_REMEMBERED = 300
"""Characters. Anybody may ask for addresses of 60 kB, and 4096 of them would stay in memory for ever."""


@dataclass(frozen=True, slots=True)
class Route:
    """`permission` is what the caller needs, None for what is open to all. `render` formats errors."""

    work: Work
    permission: str | None
    render: Callable[[PortalError], Answer]


def remembered(find: Callable[[str, str], Route | None]) -> Callable[[str, str], Route | None]:
    """`find(method, path)` with its last results for short addresses cached."""
    kept = lru_cache(maxsize=MOST_REMEMBERED)(find)

    def route(method: str, path: str) -> Route | None:
        return (kept if len(method) + len(path) <= LONGEST_REMEMBERED else find)(method, path)

    return route


async def ask_served(registry: Registry, name: str, number: int | None, ask: Callable[[Served], Awaitable[T]]) -> T:
    """The result of `ask` for the version that answers for the model. Where its process has just ended (nothing was
    sent) or is about to (it refused), asks once more whatever answers then."""
    served = await registry.find(name, number)
    try:
        return await ask(served)
    except (NotConnected, NotLoaded):
        return await ask(await registry.find_again(name, number))
