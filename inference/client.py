"""The web's side of the runners' sockets: one multiplexed connection to each runner and event loop."""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inference import wire
from inference.errors import ERRORS_BY_CODE, DeadlinePassed, PortalError, RunnerDied

Array = np.ndarray[Any, Any]

CONNECT_LIMIT_S = 5.0
ANSWER_MARGIN_S = 0.5
"""The runner keeps the deadline itself; this much later the web stops waiting for it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a runner answered: outputs by name, the pictures that could not be read, the time in milliseconds."""

    outputs: dict[str, Array]
    bad_images: dict[int, str]
    timing_ms: dict[str, float]


class Connection:
    """One stream to one runner, shared by all requests of an event loop."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._pending: dict[int, asyncio.Future[wire.Frame]] = {}
        self._numbers = itertools.count(1)
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()

    @property
    def in_flight(self) -> int:
        return len(self._pending)

    @property
    def is_open(self) -> bool:
        return self._writer is not None and not self._writer.is_closing()

    async def ask(self, header: Mapping[str, Any], body: Sequence[wire.Buffer], timeout_s: float) -> wire.Frame:
        """The runner's answer. Raises RunnerDied where it is gone, DeadlinePassed after `timeout_s`."""
        writer = await self._open()
        number = next(self._numbers)
        future: asyncio.Future[wire.Frame] = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        is_answered = False
        try:
            async with asyncio.timeout(timeout_s + ANSWER_MARGIN_S):
                for part in wire.encode({"id": number, "timeout_s": timeout_s, **header}, body):
                    writer.write(part)
                await writer.drain()
                frame = await future
            is_answered = True
            return frame
        except ConnectionError:
            raise _died() from None
        except TimeoutError:
            raise DeadlinePassed(f"The model did not answer within {timeout_s:g} s.") from None
        finally:
            self._pending.pop(number, None)
            if not is_answered and not writer.is_closing():  # nobody waits any more: free the place in the queue
                for part in wire.encode({"id": number, "kind": "cancel"}):
                    writer.write(part)

    async def _open(self) -> asyncio.StreamWriter:
        async with self._opening:
            if self._writer is not None and not self._writer.is_closing():
                return self._writer
            try:
                async with asyncio.timeout(CONNECT_LIMIT_S):
                    reader, self._writer = await asyncio.open_unix_connection(self.path, limit=2**20)
            except (OSError, TimeoutError):
                raise _died() from None
            self._listening = asyncio.create_task(self._listen(reader, self._writer))
            return self._writer

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (frame := await wire.read(reader, wire.Limits())) is not None:
                number = frame.header.get("id")
                future = self._pending.get(number) if isinstance(number, int) else None
                if future is not None and not future.done():
                    future.set_result(frame)
        except (wire.WireError, OSError):
            pass
        finally:
            writer.close()
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(_died())


class Runners:
    """All connections of this process, made when they are needed and dropped when they break."""

    def __init__(self) -> None:
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Connection]] = (
            weakref.WeakKeyDictionary()
        )

    def connection(self, path: str) -> Connection:
        connections = self._by_loop.setdefault(asyncio.get_running_loop(), {})
        if path not in connections:
            for gone in [key for key, known in connections.items() if not known.is_open and not known.in_flight]:
                del connections[gone]
            connections[path] = Connection(path)
        return connections[path]

    def least_busy(self, paths: Sequence[str]) -> Connection:
        return min((self.connection(path) for path in paths), key=lambda connection: connection.in_flight)

    async def ask_images(
        self, paths: Sequence[str], pictures: Sequence[bytes], *, timeout_s: float, is_strict: bool
    ) -> Reply:
        """Outputs for encoded pictures. Strict: one bad picture and nothing is run; else the good ones are."""
        header = {"kind": "images", "sizes": [len(picture) for picture in pictures], "strict": is_strict}
        return _reply(await self.least_busy(paths).ask(header, pictures, timeout_s))

    async def ask_tensors(self, paths: Sequence[str], inputs: Mapping[str, Array], *, timeout_s: float) -> Reply:
        described, buffers = wire.describe_tensors(inputs)
        return _reply(await self.least_busy(paths).ask({"kind": "tensors", "tensors": described}, buffers, timeout_s))

    async def ask_seen(self, paths: Sequence[str], picture: bytes, *, timeout_s: float) -> bytes:
        """The picture as the model gets it, as a PNG."""
        frame = await self.least_busy(paths).ask({"kind": "seen"}, [picture], timeout_s)
        _raise_error(frame)
        return bytes(frame.body)

    async def ask_statistics(self, path: str, *, timeout_s: float) -> dict[str, Any]:
        """What one runner counts of itself (inference/runner/statistics.py). It is untrusted: look first."""
        frame = await self.connection(path).ask({"kind": "statistics"}, (), timeout_s)
        _raise_error(frame)
        figures = frame.header.get("statistics")
        if not isinstance(figures, dict):
            raise RunnerDied("The process of the model answered something that makes no sense.")
        return figures


def _reply(frame: wire.Frame) -> Reply:
    """A frame as a Reply. The runner is untrusted: what makes no sense counts as a dead runner."""
    _raise_error(frame)
    try:
        outputs = wire.read_tensors(frame.header["tensors"], frame.body)
        bad = {int(i): str(message) for i, message in frame.header.get("bad", {}).items()}
        timing = {str(name): float(value) for name, value in frame.header.get("timing_ms", {}).items()}
    except (wire.WireError, KeyError, TypeError, ValueError, AttributeError):
        raise RunnerDied("The process of the model answered something that makes no sense.") from None
    return Reply(outputs, bad, timing)


def _raise_error(frame: wire.Frame) -> None:
    error = frame.header.get("error")
    if not isinstance(error, dict):
        return
    kind = ERRORS_BY_CODE.get(str(error.get("code")), PortalError)
    message = str(error.get("message", ""))[:2000] if kind is not PortalError else "The model met an internal error."
    retry_after_s = error.get("retry_after_s")
    raise kind(message, retry_after_s=int(retry_after_s) if isinstance(retry_after_s, (int, float)) else None)


def _died() -> RunnerDied:
    return RunnerDied("The process of the model ended before it answered. It is started again by itself.")


runners = Runners()
