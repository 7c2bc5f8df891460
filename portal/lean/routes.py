"""What an address in front of Django means: what it needs, what answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Route:
    """`permission` is what the caller needs, None for what is open to all. `render` is the form of errors."""

    work: Work
    permission: str | None
    render: Callable[[PortalError], Answer]


async def ask_served(registry: Registry, name: str, number: int | None, ask: Callable[[Served], Awaitable[T]]) -> T:
    """What `ask` gets from who answers for the model. Where it has just ended or is about to, whoever answers now is
    asked instead: nothing was sent to the one, and the other refused."""
    served = await registry.find(name, number)
    try:
        return await ask(served)
    except (NotConnected, NotLoaded):
        return await ask(await registry.find_again(name, number))
