"""Writes one model in three formats: python -m tests.remembering_models FOLDER

It adds what it is given to what it was given before, and answers the sum. `total.zip` (a SavedModel), `total.tflite`,
`total_ir.zip` (OpenVINO); `given` (1,2) → `total` (1,2), float32.
"""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import openvino as ov
import tensorflow as tf
from openvino import opset13 as ops


class Total(tf.Module):
    """As Keras' stateful layers are exported: what writes is a function within the signature's."""

    def __init__(self) -> None:
        self.factor = tf.Variable([[1.0, 1.0]])
        self.total = tf.Variable([[0.0, 0.0]])
        self.add = tf.function(lambda given: self.total.assign_add(given * self.factor))
        spec = tf.TensorSpec((1, 2), tf.float32, name="given")
        self.answer = tf.function(lambda given: {"total": self.add(given)}, input_signature=[spec])


def main(folder: Path) -> None:
    model = Total()
    tf.saved_model.save(model, str(folder / "total"), signatures=model.answer)
    _packed(folder / "total.zip", {path: path.relative_to(folder / "total") for path in (folder / "total").rglob("*")})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "total"))
    converter.experimental_enable_resource_variables = True
    (folder / "total.tflite").write_bytes(converter.convert())
    _write_openvino(folder)


def _write_openvino(folder: Path) -> None:
    given = ops.parameter([1, 2], np.float32, name="given")
    total = ops.add(ops.read_value(ops.constant(np.zeros((1, 2), np.float32)), "total"), given)
    total.output(0).get_tensor().set_names({"total"})
    ir = folder / "total.xml"
    ov.save_model(ov.Model([ops.result(total)], [ops.assign(total, "total")], [given], "total"), str(ir))
    _packed(folder / "total_ir.zip", {path: Path(path.name) for path in (ir, ir.with_suffix(".bin"))})


def _packed(archive: Path, files: dict[Path, Any]) -> None:
    with zipfile.ZipFile(archive, "w") as target:
        for path, name in files.items():
            if path.is_file():
                target.write(path, name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
