"""The limit: decode and infer in a loop on all cores, in one process, without any server.

Obeys lines on standard input: {"clients": 16, "seconds": 5} → a line with what was measured. Each
answer is kept, and judged after the window.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

from classifier import MATERIAL, SIDE, Classifier, Top, best, decode

CORES = len(os.sched_getaffinity(0))
THREADS = {"openvino": 2 * CORES, "tensorflow": 2 * CORES}


class TensorFlowClassifier:
    """The Keras file as one traced function; its calls use all cores."""

    def __init__(self) -> None:
        import keras
        import tensorflow as tf

        model = keras.models.load_model(MATERIAL / "mobilenet.keras", compile=False)
        spec = tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32)
        self._function = tf.function(lambda values: model(values, training=False), input_signature=[spec])

    def classify(self, picture: bytes) -> Top:
        return best(self._function(decode(picture)).numpy()[0])


def main() -> None:
    engine = sys.argv[1]
    classifier = TensorFlowClassifier() if engine == "tensorflow" else Classifier(streams=CORES, threads=CORES)
    alone = classifier if engine == "tensorflow" else Classifier(streams=1, threads=CORES)
    pictures = [path.read_bytes() for path in sorted(MATERIAL.glob("*.jpg"))]
    right = json.loads((MATERIAL / "answers.json").read_text())["pictures"]
    for chosen in (classifier, alone):
        chosen.classify(pictures[0])
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        is_alone = order["clients"] == 1
        threads = 1 if is_alone else THREADS[engine]
        measured = loop(alone if is_alone else classifier, pictures, threads, order["seconds"])
        answers = measured.pop("answers")
        measured["failures"] = sum(not agrees(top, right[number]) for number, top in answers)
        print(json.dumps(measured), flush=True)


def loop(classifier: Any, pictures: list[bytes], threads: int, seconds: float) -> dict[str, Any]:
    """Threads that classify one picture after the other until the time is over."""
    numbers = itertools.count()
    answers: list[tuple[int, Top]] = []
    times: list[float] = []
    began = time.perf_counter()
    until = began + seconds

    def work() -> None:
        while (start := time.perf_counter()) < until:
            number = next(numbers) % len(pictures)
            top = classifier.classify(pictures[number])
            end = time.perf_counter()
            if end <= until:
                times.append(end - start)
                answers.append((number, top))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    times.sort()
    count = len(times)
    return {
        "requests": count,
        "seconds": seconds,
        "p50_ms": times[count // 2] * 1000 if times else 0.0,
        "p99_ms": times[int(0.99 * count)] * 1000 if times else 0.0,
        "client_cpu_s": 0.0,
        "answers": answers,
    }


def agrees(top: Top, right: list[list[float]]) -> bool:
    return all(i == wanted and abs(score - s) < 1e-3 for (i, score), (wanted, s) in zip(top, right, strict=True))


if __name__ == "__main__":
    main()
