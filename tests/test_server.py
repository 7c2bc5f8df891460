"""A runner's server answers each request once, whatever its engine hands back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.client import Reply, Runners
from inference.errors import BadInput, EngineFailed, PortalError
from inference.runner.batch_rules import BatchRules
from inference.runner.config import RunnerConfig
from inference.runner.server import Server
from inference.signature import Signature, TensorSpec

Array = np.ndarray[Any, Any]
WITH_PHASE = Signature(
    (TensorSpec("x", "float32", (None, 2)), TensorSpec("phase", "bool", ())), (TensorSpec("y", "bool", ()),)
)
LONG = Signature((TensorSpec("x", "float32", (None, 2)),), (TensorSpec("y", "float32", (None, 2**26)),))


@dataclass
class Given:
    """An engine that answers with what it was given besides `x`, or with `answer` in its place."""

    answer: Array | None = None
    signature: Signature = WITH_PHASE
    callers: int = 1
    parallel: int = 1
    may_loop: bool = False
    device: str = "cpu"

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"y": inputs["phase"] if self.answer is None else self.answer}


FOUR_AT_ONCE = Signature((TensorSpec("pixels", "float32", (4, 2, 2, 1)),), (TensorSpec("y", "float32", (4, 2)),))


def asked(
    folder: Path,
    engine: Given,
    *,
    is_brief: bool,
    name: str = "tensorflow",
    given: dict[str, Array] | None = None,
    pictures: list[bytes] | None = None,
) -> Reply:
    async def ask() -> Reply:
        config = RunnerConfig("model", "keras", name)
        server = Server(engine, config, BatchRules(1, is_brief=is_brief))
        path = str(folder / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            await server.start(listener)
            if pictures is not None:
                return await Runners().ask_images([path], pictures, timeout_s=5.0, is_strict=True)
            inputs = given or {"x": np.zeros((1, 2), np.float32), "phase": np.array(True)}
            return await Runners().ask_tensors([path], inputs, timeout_s=5.0)

    return asyncio.run(ask())


@pytest.mark.parametrize("is_brief", [False, True])
def test_an_answer_that_cannot_be_sent_is_an_error_at_once(tmp_path: Path, is_brief: bool) -> None:
    with pytest.raises(PortalError) as refusal:
        asked(tmp_path, Given(np.array(["text"], object)), is_brief=is_brief)

    assert refusal.value.code == "internal"


@pytest.mark.parametrize("count", [1, 3, 5])
def test_other_numbers_of_pictures_than_the_model_takes_are_said_to_be(tmp_path: Path, count: int) -> None:
    picture = (Path(__file__).parent.parent / "samples" / "images" / "seven.png").read_bytes()
    engine = Given(np.zeros((4, 2), np.float32), FOUR_AT_ONCE)

    with pytest.raises(BadInput, match=f"The model takes 4 pictures at once; the request has {count}."):
        asked(tmp_path, engine, is_brief=True, pictures=[picture] * count)
    (tmp_path / "socket").unlink()
    assert asked(tmp_path, engine, is_brief=True, pictures=[picture] * 4).outputs["y"].shape == (4, 2)


@dataclass
class Wordy(Given):
    """An engine that answers a row with 256 MiB, which take no memory until somebody copies them."""

    signature: Signature = LONG
    calls: int = 0

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self.calls += 1
        return {"y": np.broadcast_to(np.float32(0), (len(inputs["x"]), 2**26))}


def test_a_request_is_computed_no_further_once_its_answer_is_too_large_to_be_sent(tmp_path: Path) -> None:
    engine = Wordy()

    with pytest.raises(EngineFailed) as refusal:
        asked(tmp_path, engine, is_brief=True, given={"x": np.zeros((8, 2), np.float32)})

    assert refusal.value.message == (
        "The answer cannot be sent: the tensors take 1,342,177,280 bytes, and at most 1,073,741,824 are sent."
    )
    assert engine.calls == 5


def test_openvino_is_asked_for_no_number_that_it_would_take_for_another(tmp_path: Path) -> None:
    ids = Signature((TensorSpec("ids", "int64", (None, 2)),), (TensorSpec("y", "float32", (None,)),))
    engine, given = Given(np.zeros(1, np.float32), ids), {"ids": np.array([[3, 2**33 + 5]])}

    with pytest.raises(BadInput, match=r"the input ids takes .* the request holds 8,589,934,597"):
        asked(tmp_path, engine, is_brief=False, name="openvino", given=given)
    (tmp_path / "socket").unlink()
    assert asked(tmp_path, engine, is_brief=False, name="onnxruntime", given=given).outputs["y"].tolist() == [0.0]


def test_a_scalar_goes_in_and_comes_out_as_one(tmp_path: Path) -> None:
    answer = asked(tmp_path, Given(), is_brief=False).outputs["y"]

    assert (answer.shape, answer.dtype, answer.item()) == ((), np.bool_, True)
