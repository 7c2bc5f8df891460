"""A model that remembers what it was asked before answers each call as its first: the one before may have been another
client's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.formats import inspect_file
from inference.formats.facts import BEGINS_ANEW
from tests.engine_fixtures import Task, run_engines, write_models

FILES = {"tensorflow": ("saved_model", "total.zip"), "litert": ("tflite", "total.tflite"),
         "openvino": ("openvino", "total_ir.zip")}  # fmt: skip
GIVEN = np.arange(400, dtype=np.float32).reshape(200, 2)


@pytest.fixture(scope="module")
def remembering_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models("tests.remembering_models", tmp_path_factory.mktemp("remembering"), 120)


@pytest.mark.parametrize(("engine", "threads"), [("tensorflow", 1), ("litert", 4), ("openvino", 4)])
def test_each_call_begins_anew(tmp_path: Path, remembering_models: Path, engine: str, threads: int) -> None:
    file_format, name = FILES[engine]
    settings = (("threads_at_once", threads), ("streams", 2))

    (ran,) = run_engines(tmp_path, Task(engine, file_format, remembering_models / name, {"given": GIVEN}, settings))

    (answers,) = ran.outputs.values()
    assert answers.tolist() == GIVEN.tolist()
    assert ran.facts["callers"] <= threads, "two of TensorFlow's would write into one variable"


@pytest.mark.parametrize("engine", FILES)
def test_the_check_says_so(remembering_models: Path, engine: str) -> None:
    assert BEGINS_ANEW in inspect_file(remembering_models / FILES[engine][1]).notes


def test_the_check_says_so_of_a_stateful_layer(engine_models: Path) -> None:
    assert BEGINS_ANEW in inspect_file(engine_models / "stateful.keras").notes
    assert BEGINS_ANEW not in inspect_file(engine_models / "time_major.h5").notes


def test_a_model_without_memory_is_not_said_to_have_one(engine_models: Path) -> None:
    assert BEGINS_ANEW not in inspect_file(engine_models / "wide.zip").notes
