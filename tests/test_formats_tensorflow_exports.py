"""What TensorFlow, Keras and OpenVINO themselves write is accepted, and what does harm is found in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference.formats import FileFacts, FileRejected, inspect_file

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("openvino")
    folder = tmp_path_factory.mktemp("exports")
    subprocess.run(
        [sys.executable, "-m", "tests.tensorflow_exports", str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        check=True,
        capture_output=True,
        timeout=240,
    )
    assert not (folder / "marker").exists()
    return folder


@pytest.mark.parametrize(
    ("file", "format_name"),
    [
        ("mobilenet.zip", "saved_model"),
        ("lstm.zip", "saved_model"),
        ("text.zip", "saved_model"),
        ("tf1.tar.gz", "saved_model"),
        ("mobilenet.pb", "frozen_graph"),
        ("tf1.pb", "frozen_graph"),
        ("mobilenet.tflite", "tflite"),
        ("openvino.zip", "openvino"),
    ],
)
def test_a_real_file_is_accepted(exports: Path, file: str, format_name: str) -> None:
    assert inspect_file(exports / file) == FileFacts(format_name)


@pytest.mark.parametrize(
    ("name", "op"),
    [
        ("bad_write", "WriteFile"),
        ("bad_read", "ReadFile"),
        ("bad_print", "PrintV2"),
        ("bad_python", "EagerPyFunc"),
        ("bad_init", "WriteFile"),
    ],
)
def test_what_does_more_than_calculate_is_found(exports: Path, name: str, op: str) -> None:
    with pytest.raises(FileRejected) as caught:
        inspect_file(exports / f"{name}.zip")

    assert caught.value.message.startswith(f"The operation '{op}' (at ")
    assert not (exports / "marker").exists()
