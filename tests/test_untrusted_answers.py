"""What a process of a model says that makes no sense: an answer for who asked, and no error of the portal's own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference import wire
from inference.client import Connection, Runners
from inference.errors import EngineFailed, PortalError, RunnerDied
from inference.postprocessing import Postprocessing, tensor_prediction
from inference.protocols.answer import json_answer
from inference.protocols.v2_statistics import model_statistics
from inference.served import Pictures, Served, Tensors
from inference.signature import Signature
from portal.lean.asking import ask_runner

Ask = Callable[[Served], Awaitable[Any]]
SIGNATURE = Signature.from_json(
    {
        "inputs": [{"name": "x", "dtype": "float32", "shape": [None, 2]}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": [None, 2]}],
    }
)


def told(path: Path, header: dict[str, Any], body: bytes = b"", ask: Ask | None = None) -> Any:
    """What comes of it that the runner answers a picture with this header and body."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(wire.PREFIX.size)
        writer.write(wire.joined({"id": 1, **header}, [body]))

    async def serve() -> Any:
        async with await asyncio.start_unix_server(answer, path):
            if ask is not None:
                return await ask(served(path))
            return await Runners().ask_images([str(path)], [b"a picture"], timeout_s=5, is_strict=True)

    return asyncio.run(serve())


def served(*paths: Path) -> Served:
    return Served(
        model="cats", number=1, format="onnx", engine="onnxruntime", signature=SIGNATURE, labels=(),
        postprocessing=Postprocessing(), answer=None, takes_pictures=True, max_batch=1, timeout_s=5.0, instances=(),
        paths=tuple(map(str, paths)),
    )  # fmt: skip


@pytest.mark.parametrize("index", ["7", "-1", "first"])
def test_a_bad_picture_that_was_not_sent(tmp_path: Path, index: str) -> None:
    with pytest.raises(RunnerDied):
        told(tmp_path / "socket", {"tensors": [], "bad": {index: "It is damaged."}})


@pytest.mark.parametrize("after_s", [1e308, -1.5, "soon", None, True])
def test_a_time_to_come_again_that_is_none(tmp_path: Path, after_s: Any) -> None:
    with pytest.raises(PortalError) as raised:
        told(tmp_path / "socket", {"error": {"code": "busy", "message": "Full.", "retry_after_s": after_s}})

    assert raised.value.retry_after_s is None


def test_answers_that_nobody_asked_for_end_the_connection(tmp_path: Path) -> None:
    """Each costs the web process 4 µs of its only loop, which serves all models."""

    async def chatter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(wire.joined({"id": 0}) * 1000)
                await writer.drain()

    async def serve() -> float:
        async with await asyncio.start_unix_server(chatter, tmp_path / "socket"):
            began = time.monotonic()
            with pytest.raises(RunnerDied):
                await Runners().ask_images([str(tmp_path / "socket")], [b"a picture"], timeout_s=30, is_strict=True)
            return time.monotonic() - began

    assert asyncio.run(serve()) < 10


def test_answers_to_requests_that_were_given_up_are_passed_over(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The last request first, then all others, though they were cancelled meanwhile."""
        decoder, asked = wire.Decoder(), list[int]()
        writer.write(wire.joined({"places": 128, "queue_limit": 128}))
        while data := await reader.read(2**16):
            for frame in decoder.feed(data):
                if frame.header["kind"] == "seen":
                    asked.append(frame.header["id"])
            if len(asked) == 5:
                writer.write(b"".join(wire.joined({"id": number}) for number in [*asked[:4], asked.pop()]))

    async def serve() -> wire.Frame:
        async with await asyncio.start_unix_server(answer, tmp_path / "socket"):
            connection = Connection(str(tmp_path / "socket"))
            given_up = [asyncio.create_task(connection.ask({"kind": "seen"}, (), 30)) for _ in range(4)]
            while connection.in_flight < 4:
                await asyncio.sleep(0)
            for task in given_up:
                task.cancel()
            await asyncio.wait(given_up)
            return await connection.ask({"kind": "seen"}, (), 30)

    assert asyncio.run(serve()).header == {"id": 5}


@pytest.mark.parametrize(
    "ask",
    [
        lambda served: ask_runner(served, Pictures([b"a picture"])),
        lambda served: ask_runner(served, Tensors({"x": np.zeros((1, 2), np.float32)})),
    ],
    ids=["pictures", "tensors"],
)
@pytest.mark.parametrize(
    "outputs",
    [{}, {"z": np.zeros((1, 2), np.float32)}, {"y": np.array([[b"a", b"b"]], object)}],
    ids=["none", "another", "texts"],
)
def test_outputs_that_the_model_does_not_have(tmp_path: Path, ask: Ask, outputs: dict[str, Any]) -> None:
    described, buffers = wire.describe_tensors(outputs)

    with pytest.raises(RunnerDied):
        told(tmp_path / "socket", {"tensors": described}, b"".join(buffers), ask)


def test_an_output_that_is_missing() -> None:
    with pytest.raises(EngineFailed, match="output y"):
        tensor_prediction({"z": np.zeros((1, 2))}, SIGNATURE, Postprocessing(), (), None)


def test_sizes_of_batches_that_are_no_numbers() -> None:
    batches = {size: {"count": 1, "ns": 5} for size in ("²", "-1", "1" * 5000, "", "4")}

    row = model_statistics(served(), [{"batches": batches}])

    assert [batch["batch_size"] for batch in row["batch_stats"]] == [4]


def test_sizes_of_batches_without_end() -> None:
    batches = {str(size): {"count": 1, "ns": 5} for size in range(1, 100_001)}

    assert len(model_statistics(served(), [{"batches": batches}])["batch_stats"]) < 5000


@pytest.mark.parametrize("number", [2**64 - 1, -1, True, 1e300, "7", None])
def test_a_number_that_no_process_counts_to_is_none_in_v2s_statistics(number: Any) -> None:
    leaf = {"count": number, "ns": number}
    said = {"inference_count": number, "ns": {"success": leaf, "queue": leaf}, "batches": {"4": leaf}}

    row = model_statistics(served(), [said, said])

    assert json_answer(row).status == 200
    assert (
        row["inference_count"] == row["inference_stats"]["queue"]["ns"] == row["batch_stats"][0]["compute_infer"]["ns"]
    )
    assert row["inference_count"] == 0
