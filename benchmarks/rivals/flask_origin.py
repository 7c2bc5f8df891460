"""The original Flask design: the threaded development server, with `model.predict` behind a semaphore."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from flask import Flask, request
from PIL import Image

MODEL = keras.models.load_model(Path(os.environ["BENCH_MATERIAL"]) / "mobilenet.keras", compile=False)
ONE_AT_A_TIME = threading.Semaphore(1)
app = Flask(__name__)


@app.post("/classify")
def classify() -> dict[str, Any]:
    with Image.open(io.BytesIO(request.get_data())) as image:
        small = image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    values = np.asarray(small, np.float32) / 127.5 - 1
    with ONE_AT_A_TIME:
        scores = MODEL.predict(values[None], verbose=0)[0]
    return {"top": [(int(i), float(scores[i])) for i in np.argsort(-scores)[:5]]}


if __name__ == "__main__":
    app.run("127.0.0.1", int(os.environ["BENCH_PORT"]), threaded=True, debug=False)
