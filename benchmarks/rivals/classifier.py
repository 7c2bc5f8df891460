"""From an encoded picture to the best five, with Pillow and OpenVINO: all rivals share this, so only servers differ."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from PIL import Image

MATERIAL = Path(os.environ["BENCH_MATERIAL"])
SIDE = 224
TOP = 5

Top = list[tuple[int, float]]


def decode(picture: bytes) -> np.ndarray[Any, Any]:
    """(1, 224, 224, 3) float32 in −1…1, as MobileNetV2 takes it."""
    with Image.open(io.BytesIO(picture)) as image:
        small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    values = np.multiply(np.asarray(small), np.float32(1 / 127.5), dtype=np.float32)
    values -= np.float32(1)
    return values[None]


def best(scores: np.ndarray[Any, Any]) -> Top:
    """(index, score) of the best five of one row."""
    found = np.argpartition(scores, -TOP)[-TOP:]
    return [(int(i), float(scores[i])) for i in found[np.argsort(-scores[found])]]


class Classifier:
    """One compiled model; `classify` may be called from any thread, each has an infer request of its own.

    CPU pinning is off: with it, several processes would all bind to the same first cores.
    """

    def __init__(self, *, streams: int, threads: int) -> None:
        properties = {
            "PERFORMANCE_HINT": "THROUGHPUT" if streams > 1 else "LATENCY",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
        core = ov.Core()
        self._compiled = core.compile_model(core.read_model(MATERIAL / "mobilenet.xml"), "CPU", properties)
        self._own = threading.local()

    def classify(self, picture: bytes) -> Top:
        return self.classify_values(decode(picture))

    def classify_values(self, values: np.ndarray[Any, Any]) -> Top:
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._compiled.create_infer_request()
        return best(request.infer({0: values}, share_inputs=True, share_outputs=True)[0][0])
