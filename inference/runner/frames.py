"""The runner's end of a connection: splits incoming data into frames, and writes frames (inference/wire.py).

An asyncio protocol instead of streams: a small model answers within microseconds, and a task, a lock and three awaits
per frame cost more than that. Lengths are checked before anything is allocated.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from inference import wire

logger = logging.getLogger("runner")

_BUFFER_BYTES = 2**18
_JOIN_BYTES = 2**18
"""Up to this size a frame's parts are joined before writing: cheaper than a second system call."""


class FrameConnection(asyncio.BufferedProtocol):
    """The connection of one client, which first gets a greeting. Frames that fit the buffer are copied out of it; a
    larger one is read into its own memory."""

    def __init__(
        self,
        on_frame: Callable[[FrameConnection, dict[str, Any], memoryview], None],
        on_lost: Callable[[FrameConnection], None],
        greeting: Mapping[str, Any],
    ) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._greeting = greeting
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._end = 0
        self._large: bytearray | None = None
        self._large_header_bytes = 0
        self._filled = 0
        self._transport: asyncio.Transport | None = None

    @property
    def unsent_bytes(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def send(self, header: Mapping[str, Any], body: Sequence[wire.Buffer] = ()) -> None:
        """Write a frame; does nothing if the client is gone."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        parts = wire.encode(header, body)
        if sum(map(len, parts)) <= _JOIN_BYTES:
            transport.write(b"".join(parts))
            return
        for part in parts:
            transport.write(part)

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.send(self._greeting)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_lost(self)

    def pause_writing(self) -> None:
        """The client does not read its answers: read no more of its requests until it does."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._large is not None:
            return memoryview(self._large)[self._filled :]
        return self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        try:
            if self._large is None:
                self._end += nbytes
                self._cut()
            else:
                self._filled += nbytes
                self._finish_large()
        except wire.WireError as error:
            logger.warning("connection closed: %s", error)
            if self._transport is not None:
                self._transport.abort()

    # ---- frames

    def _cut(self) -> None:
        """Pass on every complete frame in the buffer and move the rest to its front."""
        at = 0
        while self._end - at >= wire.PREFIX.size:
            head_at = at + wire.PREFIX.size
            header_bytes, body_bytes = wire.read_sizes(self._view[at:head_at])
            size = wire.PREFIX.size + header_bytes + body_bytes
            if self._end - at < size:
                if size > _BUFFER_BYTES:
                    self._begin_large(head_at, header_bytes, body_bytes)
                    return
                break
            body = memoryview(bytes(self._view[head_at + header_bytes : at + size]))
            self._deliver(self._view[head_at : head_at + header_bytes], body)
            at += size
        if at:
            left = self._end - at
            self._buffer[:left] = self._buffer[at : self._end]
            self._end = left

    def _begin_large(self, head_at: int, header_bytes: int, body_bytes: int) -> None:
        self._large = bytearray(header_bytes + body_bytes)
        self._large_header_bytes = header_bytes
        self._filled = self._end - head_at
        self._large[: self._filled] = self._view[head_at : self._end]
        self._end = 0

    def _finish_large(self) -> None:
        large = self._large
        if large is None or self._filled < len(large):
            return
        self._large = None
        whole = memoryview(large)
        self._deliver(whole[: self._large_header_bytes], whole[self._large_header_bytes :])

    def _deliver(self, head: memoryview, body: memoryview) -> None:
        self._on_frame(self, wire.read_header(head), body)
